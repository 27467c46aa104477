package dwarf

import (
	"fmt"
	"math"
	"slices"
)

// A tableForm is one of the sections that version 5 made of contributions with
// headers, DWARF 5 sections 7.26 to 7.29.
type tableForm struct {
	name    string
	offsets bool // an array of offsets follows the header
	body    func(w *walker, h *tableHead) error
}

var tableForms = []tableForm{
	{"str_offsets", false, (*walker).stringOffsets},
	{"addr", false, nil},
	{"rnglists", true, (*walker).rangeLists},
	{"loclists", true, (*walker).locationLists},
}

// A tableHead is the header of one contribution.
type tableHead struct {
	off, end uint64
	offSize  int
	addrSize int
	lists    []uint64 // that the header names, from the start of the section
}

// tables walks the contributions of the sections that units index. Earlier versions
// have sections of some of these names without headers, so that nothing can be told
// where a unit of those was seen.
func (w *walker) tables() error {
	if w.oldest < 5 || w.facts.Units == 0 {
		return nil
	}
	slices.Sort(w.locations)
	w.locations = slices.Compact(w.locations)
	for _, form := range tableForms {
		s, ok := w.find(form.name + w.suffix)
		if !ok || s.Unrelocated {
			continue
		}
		err := w.through(s, func() error {
			if err := w.tableChain(form); err != nil {
				return err
			}
			return w.in.finish()
		})
		if err != nil {
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
		v := r.fixed(offSize)
		if v >= h.end-base {
			return h, w.badTable(h.off, fmt.Sprintf("a list at %#x", base+v), fmt.Sprintf("it before the end at %#x", h.end))
		}
		if len(h.lists) < maxOffsets {
			h.lists = append(h.lists, base+v)
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

// What follows each kind of entry of a list: L stands for a LEB128 number, A for an
// address, X for an expression after its size. DWARF 5, sections 7.25 and 7.29; the
// last kind of a location is an extension of GCC.
var (
	rangeOperands    = []string{"", "L", "LL", "LL", "LL", "A", "AA", "AL"}
	locationOperands = []string{"", "L", "LLX", "LLX", "LLX", "X", "A", "AAX", "ALX", "LL"}
)

// rangeLists decodes lists, one after the other, to the end.
func (w *walker) rangeLists(h *tableHead) error {
	open := false
	for w.in.at() < h.end {
		kind, err := w.listEntry(h, "range", rangeOperands)
		if err != nil {
			return err
		}
		open = kind != 0
	}
	if open {
		return w.badTable(h.off, "a last list without end", "an entry of kind 0")
	}
	return nil
}

// locationLists decodes those lists that the header or an entry leads to. Compilers
// put other data between them.
func (w *walker) locationLists(h *tableHead) error {
	r := w.in
	lists := h.lists
	for len(w.locations) > 0 && w.locations[0] < h.end {
		lists = append(lists, w.locations[0])
		w.locations = w.locations[1:]
	}
	slices.Sort(lists)
	for _, off := range lists {
		if off < r.at() {
			continue // inside the list before: the tail of a list can serve as another
		}
		r.move(off)
		for kind := byte(1); kind != 0; {
			var err error
			if kind, err = w.listEntry(h, "location", locationOperands); err != nil {
				return err
			}
		}
	}
	return nil
}

// listEntry passes over one entry and returns its kind.
func (w *walker) listEntry(h *tableHead, what string, operands []string) (byte, error) {
	r := w.in
	r.fill(ahead)
	off := r.at()
	kind := r.u8()
	if int(kind) >= len(operands) {
		return kind, w.badTable(off, fmt.Sprintf("a %s of kind %d", what, kind), fmt.Sprintf("0 to %d", len(operands)-1))
	}
	for _, operand := range operands[kind] {
		switch operand {
		case 'A':
			r.skip(uint64(h.addrSize))
		case 'X':
			r.skip(r.uleb())
		default:
			r.uleb()
		}
	}
	if !r.ok() || r.at() > h.end {
		return kind, w.badTable(off, fmt.Sprintf("a %s that ends at %#x", what, r.at()), fmt.Sprintf("an end within the table, at %#x", h.end))
	}
	return kind, nil
}

// badTable is damage of the contribution at off, or of an entry there.
func (w *walker) badTable(off uint64, found, want string) error {
	return fault(ErrDamaged, &w.section, "table", off, found, want)
}
