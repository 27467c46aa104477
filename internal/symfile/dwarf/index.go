package dwarf

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// maxIndex bounds the index of a package: bytes, of some million units.
const maxIndex = 256 << 20

// Columns of an index, DWARF 5 section 7.3.5.3. Version 2, of GNU, has other
// sections behind the numbers from 5 on.
const (
	columnInfo   = 1
	columnTypes  = 2
	columnAbbrev = 3
)

// names of the columns' sections by version.
var columnNames = map[uint32][9]string{
	2: {1: "info", 2: "types", 3: "abbrev", 4: "line", 5: "loc", 6: "str_offsets", 7: "macinfo", 8: "macro"},
	5: {1: "info", 3: "abbrev", 4: "line", 5: "loclists", 6: "str_offsets", 7: "macro", 8: "rnglists"},
}

// A contribution is what one unit of a package has of the sections of entries and
// of abbreviations.
type contribution struct {
	off, size uint64 // in the section of entries
	abbrevs   uint64
	abbrevLen uint64
}

// A packageIndex is one decoded .debug_cu_index or .debug_tu_index.
type packageIndex struct {
	section Section
	version uint32
	columns []uint32 // section numbers
	ids     []uint64 // by row
	rows    []uint32 // of the table of sizes; offsets precede it
	sizes   []uint32
}

// PackageIDs returns the ids of the compilation units that a package of split DWARF
// holds, after checking that every row of its two indexes lies inside the sections.
// Errors wrap ErrDamaged, ErrUnjudged, or are the reader's.
func PackageIDs(f File) ([]uint64, error) {
	w := &walker{file: f, order: f.ByteOrder(), suffix: ".dwo"}
	cu, err := w.readIndex("cu_index")
	if err != nil || cu == nil {
		return nil, err
	}
	ids := cu.ids
	for _, name := range []string{"cu_index", "tu_index"} {
		x, err := w.readIndex(name)
		switch {
		case err != nil:
			return ids, err
		case x == nil:
		default:
			if err := w.checkRows(x); err != nil {
				return ids, err
			}
		}
	}
	return ids, nil
}

// checkRows compares every contribution with the size of its section. Indexes count
// in 32 bits: those of larger packages have wrapped.
func (w *walker) checkRows(x *packageIndex) error {
	for c, number := range x.columns {
		name := columnNames[x.version][min(number, 8)]
		s, ok := w.find(name + ".dwo")
		if name == "" || number > 8 || ok && s.Size > 1<<32 {
			continue
		}
		for row := range len(x.ids) {
			i := row*len(x.columns) + c
			off, size := uint64(x.rows[i]), uint64(x.sizes[i])
			if off+size > s.Size {
				return fault(ErrDamaged, &x.section, fmt.Sprintf("unit %016x", x.ids[row]), 0,
					fmt.Sprintf("%d bytes at %#x of .debug_%s.dwo", size, off, name), fmt.Sprintf("them inside its %#x bytes", s.Size))
			}
		}
	}
	return nil
}

// contributions lists what the units of a package's section have, in the order of
// their offsets; nil for a file that is no package.
func (w *walker) contributions(name string) ([]contribution, error) {
	var all []contribution
	for _, index := range []string{"cu_index", "tu_index"} {
		x, err := w.readIndex(index)
		if err != nil || x == nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		entries, abbrevs := slices.Index(x.columns, columnInfo), slices.Index(x.columns, columnAbbrev)
		if name == "types" {
			entries = slices.Index(x.columns, columnTypes)
		}
		if entries < 0 || abbrevs < 0 {
			continue
		}
		for row := range len(x.ids) {
			i := row * len(x.columns)
			all = append(all, contribution{uint64(x.rows[i+entries]), uint64(x.sizes[i+entries]), uint64(x.rows[i+abbrevs]), uint64(x.sizes[i+abbrevs])})
		}
	}
	slices.SortFunc(all, func(a, b contribution) int { return cmp.Compare(a.off, b.off) })
	return all, nil
}

// abbrevOffset returns where in the section of abbreviations the table of u is: in a
// package its offset counts from the unit's contribution.
func (w *walker) abbrevOffset(u *unit) (uint64, error) {
	if w.index == nil {
		return u.abbrevOff, nil
	}
	if w.section.Size > 1<<32 {
		return 0, errSkip // offsets of the index have wrapped
	}
	i, found := slices.BinarySearchFunc(w.index, u.off, func(c contribution, off uint64) int { return cmp.Compare(c.off, off) })
	if !found {
		i--
	}
	if i < 0 || u.end > w.index[i].off+w.index[i].size {
		return 0, w.bad(u.off, "a unit that no row of the index covers", "a row of .debug_cu_index or .debug_tu_index")
	}
	c := w.index[i]
	if u.abbrevOff >= c.abbrevLen {
		return 0, w.bad(u.off, fmt.Sprintf("abbreviation offset %#x", u.abbrevOff), fmt.Sprintf("below the %#x bytes that the index gives the unit", c.abbrevLen))
	}
	return c.abbrevs + u.abbrevOff, nil
}

// readIndex decodes an index; nil if the file has none. DWARF 5, section 7.3.5.3.
func (w *walker) readIndex(name string) (*packageIndex, error) {
	s, ok := w.find(name)
	if !ok {
		return nil, nil
	}
	if s.Size > maxIndex {
		return nil, fault(ErrUnjudged, &s, "index", 0, bytesText(s.Size), fmt.Sprintf("at most %d", maxIndex))
	}
	b, err := s.all()
	if err != nil {
		return nil, err
	}
	x := &packageIndex{section: s}
	if err := x.decode(b, w); err != nil {
		return nil, fault(ErrDamaged, &s, "index", 0, err.Error(), "an index of version 2 or 5")
	}
	return x, nil
}

// decode reads the header, the hash table, the columns, and the two tables.
func (x *packageIndex) decode(b []byte, w *walker) error {
	if len(b) < 16 {
		return errors.New(bytesText(uint64(len(b))))
	}
	u32 := func(i int) uint32 { return w.order.Uint32(b[4*i:]) }
	x.version = u32(0)
	if w.order.Uint16(b) == 5 {
		x.version = 5
	}
	columns, units, slots := uint64(u32(1)), uint64(u32(2)), uint64(u32(3))
	need := 16 + 12*slots + 4*columns + 8*columns*units
	switch {
	case columnNames[x.version][columnInfo] == "":
		return fmt.Errorf("version %d", x.version)
	case columns > 16 || units > slots || need > uint64(len(b)):
		return fmt.Errorf("%d columns, %d units and %d slots in %d bytes", columns, units, slots, len(b))
	}
	x.ids = make([]uint64, units)
	for i := range slots {
		id, row := w.order.Uint64(b[16+8*i:]), uint64(w.order.Uint32(b[16+8*slots+4*i:]))
		if row > units {
			return fmt.Errorf("row %d in slot %d, of %d rows", row, i, units)
		}
		if row > 0 {
			x.ids[row-1] = id
		}
	}
	at := int(16+12*slots) / 4
	words := func(n uint64) []uint32 {
		all := make([]uint32, n)
		for i := range all {
			all[i] = u32(at + i)
		}
		at += int(n)
		return all
	}
	x.columns = words(columns)
	x.rows, x.sizes = words(columns*units), words(columns*units)
	return nil
}
