package dwarf

import "encoding/binary"

// Content types of the names of a line table, DWARF 5 section 6.2.4.1.
const (
	contentPath   = 1
	contentFolder = 2
	contentMD5    = 5
)

// lines visits the names of the line tables that units have, in the order of the
// section.
func (l *lister) lines() error {
	s, ok := l.find("line")
	if !ok || s.Unrelocated || len(l.uses) == 0 {
		return nil
	}
	var wrong error
	err := l.through(s, func() error {
		for _, use := range l.sortedUses() {
			if use.off >= s.Size || use.off < l.in.at() || !l.in.move(use.off) {
				continue
			}
			h := &lineHeader{off: use.off}
			if l.lineHead(h) != nil {
				continue
			}
			if h.version == 5 {
				wrong = l.names5(h, use.folder)
			} else {
				wrong = l.names(h, use.folder)
			}
			if wrong != nil {
				return wrong
			}
			if l.in.err != nil || !l.in.move(h.end) {
				return l.in.err
			}
		}
		return nil
	})
	if wrong != nil {
		return wrong
	}
	return err
}

// folders are those of one line table, as far as maxFolder goes.
type folders struct {
	list  []string
	bytes int
}

func (f *folders) add(name string) {
	if f.bytes += len(name) + 16; f.bytes <= maxFolder {
		f.list = append(f.list, name)
	}
}

// at returns folder number i.
func (f *folders) at(i uint64) (string, bool) {
	if i >= uint64(len(f.list)) {
		return "", false
	}
	return f.list[i], true
}

// names visits the files of versions 2 to 4. Folder 0 is that of the compilation.
func (l *lister) names(h *lineHeader, folder string) error {
	r := l.in
	known := &folders{}
	known.add(folder)
	for r.ok() && r.at() < h.program {
		start := r.at()
		name := r.name()
		if r.at() == start+1 {
			break
		}
		known.add(under(folder, name))
	}
	for r.ok() && r.at() < h.program {
		start := r.at()
		name := r.name()
		if r.at() == start+1 {
			break
		}
		in, ok := known.at(r.uleb())
		r.uleb()
		r.uleb()
		if !ok || name == "" || !r.ok() {
			continue
		}
		if err := l.visit(SourceFile{Path: under(in, name)}); err != nil {
			return err
		}
	}
	return nil
}

// names5 visits the files of version 5. Folder 0 is that of the compilation again, which
// stays relative where both are.
func (l *lister) names5(h *lineHeader, folder string) error {
	known := &folders{}
	err := l.entries5(h, func(e entry5) error {
		switch {
		case len(known.list) > 0:
			e.path = under(known.list[0], e.path)
		case folder != "" && !rooted(e.path):
			e.path = folder
		}
		known.add(e.path)
		return nil
	})
	if err != nil || !l.in.ok() {
		return err
	}
	return l.entries5(h, func(e entry5) error {
		in, ok := known.at(e.folder)
		if !ok || e.path == "" {
			return nil
		}
		return l.visit(SourceFile{Path: under(in, e.path), MD5: e.md5})
	})
}

// An entry5 is one folder or file.
type entry5 struct {
	path   string
	folder uint64
	md5    string
}

// entries5 reads one of the two lists of version 5. What it cannot read ends it.
func (l *lister) entries5(h *lineHeader, visit func(entry5) error) error {
	r := l.in
	var format []rootAttr
	for range r.u8() {
		format = append(format, rootAttr{r.uleb(), r.uleb()})
	}
	count := r.uleb()
	u := &unit{shape: h.shape, off: h.off, end: h.end}
	for i := uint64(0); i < count && len(format) > 0 && r.ok() && r.at() < h.program; i++ {
		var e entry5
		for _, f := range format {
			l.content(u, f, &e)
		}
		if l.lost || !r.ok() {
			l.lost = false
			return nil
		}
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

// content reads one value of an entry.
func (l *lister) content(u *unit, f rootAttr, e *entry5) {
	o := u.compile(0, f.form)
	switch {
	case f.attr == contentPath:
		var t label
		_ = l.labelValue(u, o, &t)
		e.path = l.label(u, 2*uint64(u.offSize), t)
	case f.attr == contentFolder && o.code == opLEB:
		e.folder = l.in.uleb()
	case f.attr == contentFolder && o.plain():
		e.folder = l.in.fixed(int(o.n))
	case f.attr == contentMD5 && f.form == 0x1e:
		if b := l.in.take(16); b != nil && binary.BigEndian.Uint64(b)|binary.BigEndian.Uint64(b[8:]) != 0 {
			e.md5 = string(b)
		}
	default:
		l.lost = l.lost || o.code == opIndirect
		_ = l.pass(u, o)
	}
}
