package dwarf

// Skeleton reports whether the debug information of the first unit of a file is in
// another one, so that this one holds a skeleton of it. It is a cheap look: it reads the
// unit's header, the code of its root entry, and declarations of abbreviations up to that
// code. What makes no sense is no skeleton; Walk says what is wrong with it. The error is
// one of the sections' readers.
func Skeleton(f File) (bool, error) {
	for _, s := range f.DebugSections("info") {
		w := &walker{file: f, order: f.ByteOrder(), section: s}
		var err error
		if w.in, err = newReader(&s, w.order, ahead); err != nil {
			return false, err
		}
		defer w.in.close()
		is, err := w.skeleton()
		if w.in.err != nil {
			err = w.in.err
		}
		return is && err == nil, err
	}
	return false, nil
}

// skeleton looks at the unit at the reader.
func (w *walker) skeleton() (bool, error) {
	more, err := w.padding()
	if err == nil && !more {
		return false, nil
	}
	var u unit
	if err == nil {
		u, err = w.header()
	}
	switch {
	case isFault(err):
		return false, nil
	case err != nil:
		return false, err
	case u.hasDWOID || u.kind == unitSkeleton:
		return true, nil
	case u.offSize == 0 || w.section.Unrelocated:
		return false, nil
	}
	return w.namesDWO(&u, w.in.uleb())
}

// namesDWO reports whether the root entry of u, whose abbreviation code it is given,
// names another file.
func (w *walker) namesDWO(u *unit, code uint64) (bool, error) {
	s, ok := w.find("abbrev")
	if !ok || s.At == nil && u.abbrevOff > maxMemory {
		return false, nil
	}
	s.Size = min(s.Size, u.abbrevOff+maxMemory) // no table is larger
	r, err := newReader(&s, w.order, ahead)
	if err != nil {
		return false, err
	}
	defer r.close()
	r.skip(u.abbrevOff)
	for _, a := range declared(r, code) {
		if a.attr == attrDWOName || a.attr == attrGNUDWOName {
			return true, nil
		}
	}
	return false, r.err
}
