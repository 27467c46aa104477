package dwarf

import (
	"fmt"
	"math"
)

// A tableForm is one of the sections that version 5 made of contributions with
// headers, DWARF 5 sections 7.26 to 7.29.
type tableForm struct {
	name    string
	offsets bool // an array of offsets follows the header
	body    func(w *walker, h *tableHead) error
}

// What is in location lists is not decoded: compilers put other data between them.
var tableForms = []tableForm{
	{"str_offsets", false, (*walker).stringOffsets},
	{"addr", false, nil},
	{"rnglists", true, (*walker).rangeLists},
	{"loclists", true, nil},
}

// A tableHead is the header of one contribution.
type tableHead struct {
	off, end uint64
	offSize  int
	addrSize int
}

// tables walks the contributions of the sections that units index. Earlier versions
// have sections of some of these names without headers, so that nothing can be told
// where a unit of those was seen.
func (w *walker) tables() error {
	if w.oldest < 5 || w.facts.Units == 0 || w.index != nil {
		return nil
	}
	for _, form := range tableForms {
		s, ok := w.find(form.name + w.suffix)
		if !ok || s.Unrelocated {
			continue
		}
		w.section = s
		var err error
		if w.in, err = newReader(&s, w.order); err != nil {
			return err
		}
		err = w.tableChain(form)
		if w.in.err == nil && err == nil {
			err = w.in.finish()
		}
		w.in.close()
		switch {
		case w.in.err != nil:
			return w.in.err
		case isFault(err):
			w.facts.fault(err)
		case err != nil:
			return err
		}
	}
	return nil
}

func (w *walker) tableChain(form tableForm) error {
	for {
		more, err := w.padding()
		if !more {
			return err
		}
		h, err := w.tableHead(form)
		if err != nil {
			return err
		}
		if form.body != nil {
			if err := form.body(w, &h); err != nil {
				return err
			}
		}
		w.in.move(h.end)
	}
}

// tableHead reads a header, and the offsets behind it, which count from their own
// start.
func (w *walker) tableHead(form tableForm) (tableHead, error) {
	r := w.in
	h := tableHead{off: r.at()}
	length, offSize := r.length()
	h.end, h.offSize = r.at()+length, offSize
	if !r.ok() || offSize == 0 || length > r.size-r.at() {
		return h, w.badTable(h.off, fmt.Sprintf("a length of %#x", length), fmt.Sprintf("at most the %#x bytes left in the section", r.size-min(r.at(), r.size)))
	}
	if v := r.u16(); v != 5 {
		return h, w.badTable(h.off, fmt.Sprintf("version %d", v), "5")
	}
	h.addrSize = int(r.u8())
	r.u8() // the size of segments; padding in string offsets
	if form.name != "str_offsets" && h.addrSize != 2 && h.addrSize != 4 && h.addrSize != 8 {
		return h, w.badTable(h.off, fmt.Sprintf("address size %d", h.addrSize), "2, 4 or 8")
	}
	if !form.offsets {
		return h, nil
	}
	count, base := uint64(r.u32()), r.at()
	if base > h.end || count*uint64(offSize) > h.end-base {
		return h, w.badTable(h.off, fmt.Sprintf("%d offsets", count), "as many as fit its length")
	}
	for range count {
		if v := r.fixed(offSize); v >= h.end-base {
			return h, w.badTable(h.off, fmt.Sprintf("a list at %#x", base+v), fmt.Sprintf("it before the end at %#x", h.end))
		}
	}
	return h, nil
}

// stringOffsets compares every entry with the section of strings.
func (w *walker) stringOffsets(h *tableHead) error {
	r := w.in
	l := &w.limits[toStr]
	for r.at()+uint64(h.offSize) <= h.end && r.err == nil {
		off := r.at()
		if v := r.fixed(h.offSize); v >= l.end && v != math.MaxUint32 && v != math.MaxUint64 {
			return w.badTable(off, fmt.Sprintf("a string at %#x of %s", v, l.name), fmt.Sprintf("it before the end at %#x", l.end))
		}
	}
	return nil
}

// rangeOperands says what follows each kind of entry of a range list: L for a LEB128
// number, A for an address. DWARF 5, section 7.25.
var rangeOperands = []string{"", "L", "LL", "LL", "LL", "A", "AA", "AL"}

// rangeLists decodes lists, one after the other, to the end.
func (w *walker) rangeLists(h *tableHead) error {
	r := w.in
	open := false
	for r.at() < h.end {
		off := r.at()
		kind := r.u8()
		if int(kind) >= len(rangeOperands) {
			return w.badTable(off, fmt.Sprintf("a range of kind %d", kind), fmt.Sprintf("0 to %d", len(rangeOperands)-1))
		}
		for _, operand := range rangeOperands[kind] {
			if operand == 'A' {
				r.skip(uint64(h.addrSize))
			} else {
				r.uleb()
			}
		}
		if open = kind != 0; !r.ok() || r.at() > h.end {
			return w.badTable(off, fmt.Sprintf("a range that ends at %#x", r.at()), fmt.Sprintf("an end within the table, at %#x", h.end))
		}
	}
	if open {
		return w.badTable(h.off, "a last list without end", "an entry of kind 0")
	}
	return nil
}

// badTable is damage of the contribution at off, or of an entry there.
func (w *walker) badTable(off uint64, found, want string) error {
	return fault(ErrDamaged, &w.section, "table", off, found, want)
}
