package dwarf

import "fmt"

// A lookupForm is a table by which debuggers find units. body reads what follows the
// length; units are below infoSize.
type lookupForm struct {
	name string
	body func(w *walker, h *tableHead, infoSize uint64) error
}

var lookupForms = []lookupForm{{"aranges", (*walker).addressRanges}, {"names", (*walker).nameIndex}}

// lookups reads the headers of the tables by which debuggers find a unit for an
// address or a name, .debug_aranges and .debug_names. A debugger that distrusts them
// reads the units instead: what is wrong with them wraps ErrUnjudged.
func (w *walker) lookups() error {
	info, ok := w.find("info")
	if !ok || w.suffix != "" || info.Unrelocated {
		return nil
	}
	for _, form := range lookupForms {
		s, ok := w.find(form.name)
		if !ok || s.Unrelocated {
			continue
		}
		if err := w.through(s, func() error { return w.lookupChain(form, info.Size) }); err != nil {
			return err
		}
	}
	return nil
}

// lookupChain walks the contributions of one table.
func (w *walker) lookupChain(form lookupForm, infoSize uint64) error {
	r := w.in
	for {
		more, err := w.padding()
		if !more {
			return err
		}
		h := tableHead{off: r.at()}
		length, offSize := r.length()
		h.end, h.offSize = r.at()+length, offSize
		if !r.ok() || offSize == 0 || length > r.size-r.at() {
			return w.oddTable(&h, fmt.Sprintf("a length of %#x", length), fmt.Sprintf("at most the %#x bytes left", r.size-min(r.at(), r.size)))
		}
		if err := form.body(w, &h, infoSize); err != nil {
			return err
		}
		r.move(h.end)
	}
}

// addressRanges reads a header of .debug_aranges: DWARF 5, section 6.1.2.
func (w *walker) addressRanges(h *tableHead, infoSize uint64) error {
	r := w.in
	version, unit, addrSize := r.u16(), r.fixed(h.offSize), r.u8()
	switch {
	case version != 2 && version != 3:
		return w.oddTable(h, fmt.Sprintf("version %d", version), "2 or 3")
	case unit >= infoSize:
		return w.oddTable(h, fmt.Sprintf("a unit at %#x", unit), fmt.Sprintf("it below the %#x bytes of the units", infoSize))
	case addrSize != 2 && addrSize != 4 && addrSize != 8:
		return w.oddTable(h, fmt.Sprintf("address size %d", addrSize), "2, 4 or 8")
	}
	return nil
}

// nameIndex reads a header of .debug_names and its list of units: DWARF 5, section
// 6.1.1.4.
func (w *walker) nameIndex(h *tableHead, infoSize uint64) error {
	r := w.in
	version := r.u16()
	r.u16()
	var n [7]uint64 // units, local and foreign type units, buckets, names, bytes of abbreviations, of augmentation
	for i := range n {
		n[i] = uint64(r.u32())
	}
	hashes := n[4]
	if n[3] == 0 {
		hashes = 0
	}
	need := (n[6]+3)&^3 + (n[0]+n[1])*uint64(h.offSize) + 8*n[2] + 4*(n[3]+hashes) + 2*n[4]*uint64(h.offSize) + n[5]
	switch {
	case version != 5:
		return w.oddTable(h, fmt.Sprintf("version %d", version), "5")
	case !r.ok() || r.at() > h.end || need > h.end-r.at():
		return w.oddTable(h, fmt.Sprintf("tables of %#x bytes", need), fmt.Sprintf("an end before %#x", h.end))
	}
	r.skip((n[6] + 3) &^ 3)
	for range n[0] {
		if v := r.fixed(h.offSize); v >= infoSize {
			return w.oddTable(h, fmt.Sprintf("a unit at %#x", v), fmt.Sprintf("it below the %#x bytes of the units", infoSize))
		}
	}
	return nil
}

// oddTable is about a contribution that debuggers can do without.
func (w *walker) oddTable(h *tableHead, found, want string) error {
	return fault(ErrUnjudged, &w.section, "table", h.off, found, want)
}
