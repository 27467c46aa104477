package dwarf

import (
	"fmt"
	"slices"
)

// maxOldLists bounds the lists of each kind that are followed.
const maxOldLists = 1 << 20

// oldLists are the lists of ranges and locations that entries of units before version 5
// name, by their offsets in .debug_ranges and .debug_loc.
type oldLists struct {
	ranges, locations []uint64
	addrSize          byte // of the units; 0 before the first
	mixed             bool // units differ in it, so that nothing can be told
}

// note remembers a list that an entry of u names.
func (l *oldLists) note(u *unit, to target, off uint64) {
	into := &l.ranges
	if to == toLoc {
		into = &l.locations
	}
	l.mixed = l.mixed || l.addrSize != 0 && l.addrSize != u.addrSize
	l.addrSize = u.addrSize
	if n := len(*into); n < maxOldLists && (n == 0 || (*into)[n-1] != off) {
		*into = append(*into, off)
	}
}

// walkOldLists follows those lists to their ends. The lists of split units have another
// form, and what they share with their skeletons is in another file.
func (w *walker) walkOldLists() error {
	if w.old.mixed || w.suffix != "" {
		return nil
	}
	for _, lists := range []struct {
		to      target
		offsets []uint64
		entry   func(w *walker) bool
	}{
		{toRanges, w.old.ranges, (*walker).oldRange},
		{toLoc, w.old.locations, (*walker).oldLocation},
	} {
		s, ok := w.find(targetNames[lists.to])
		if !ok || s.Unrelocated || len(lists.offsets) == 0 {
			continue
		}
		slices.Sort(lists.offsets)
		err := w.through(s, func() error {
			for _, off := range lists.offsets {
				if err := w.oldList(off, lists.entry); err != nil {
					return err
				}
			}
			return w.in.finish()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// oldList reads entries up to one that ends the list. An offset behind those that were
// read is new; another one is that of a list or of the tail of one.
func (w *walker) oldList(off uint64, entry func(w *walker) bool) error {
	r := w.in
	if off < r.at() || off >= r.size {
		return nil
	}
	r.move(off)
	for entry(w) {
		if !r.ok() {
			return fault(ErrDamaged, &w.section, "list", off, "no end of it in the section", fmt.Sprintf("two zeros of %d bytes before %#x", w.old.addrSize, r.size))
		}
	}
	return nil
}

// oldRange reads a pair of addresses, and reports whether more may follow. DWARF 4,
// section 7.25.
func (w *walker) oldRange() bool {
	r, size := w.in, int(w.old.addrSize)
	begin, end := r.fixed(size), r.fixed(size)
	return !r.ok() || begin != 0 || end != 0
}

// oldLocation reads a pair of addresses and the expression behind it, which none follows
// that sets the base. DWARF 4, section 7.7.3.
func (w *walker) oldLocation() bool {
	r, size := w.in, int(w.old.addrSize)
	begin, end := r.fixed(size), r.fixed(size)
	if !r.ok() || begin == 0 && end == 0 {
		return !r.ok()
	}
	if begin != 1<<(8*size)-1 {
		r.skip(uint64(r.u16()))
	}
	return true
}
