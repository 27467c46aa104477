package dwarf_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"symkeep/internal/symfile/dwarf"
)

// eights are numbers of 8 bytes.
func eights(vs ...uint64) []byte {
	var b []byte
	for _, v := range vs {
		b = le.AppendUint64(b, v)
	}
	return b
}

// TestOldLists has one entry that names a list at an offset.
func TestOldLists(t *testing.T) {
	const ranges, location = 0x55, 2
	expr := []byte{1, 0, 0x50}
	for _, tt := range []struct {
		name    string
		attr    uint64
		off     byte
		section []byte
		want    string
	}{
		{"ranges", ranges, 0, eights(1, 2, 0, 0), "ok"},
		{"ranges with a base", ranges, 0, eights(^uint64(0), 0x1000, 1, 2, 0, 0), "ok"},
		{"ranges behind others", ranges, 16, eights(1, 2, 1, 2, 0, 0), "ok"},
		{"tail without an end that none names", ranges, 0, eights(1, 2, 0, 0, 1, 2), "ok"},
		{"empty ranges at the end", ranges, 16, eights(0, 0), "ok"},
		{"ranges without end", ranges, 0, eights(1, 2, 3, 4), "damaged no end of it"},
		{"ranges cut", ranges, 0, eights(1, 2, 0), "damaged no end of it"},
		{"locations", location, 0, slices.Concat(eights(1, 2), expr, eights(0, 0)), "ok"},
		{"locations with a base", location, 0, slices.Concat(eights(^uint64(0), 0x1000), eights(1, 2), expr, eights(0, 0)), "ok"},
		{"location without expression", location, 0, slices.Concat(eights(1, 2), []byte{0, 0}, eights(0, 0)), "ok"},
		{"locations without end", location, 0, slices.Concat(eights(1, 2), expr), "damaged no end of it"},
		{"expression past the end", location, 0, slices.Concat(eights(1, 2), []byte{0xff, 0xff, 0x50}, eights(0, 0)), "damaged no end of it"},
	} {
		f := file(unit4(1, tt.off, 0, 0, 0), append(declare(1, 0x11, 0, tt.attr, 0x17), 0)).with(map[uint64]string{ranges: "ranges", location: "loc"}[tt.attr], tt.section)
		for _, unpacks := range []bool{false, true} {
			f.unpacks = unpacks
			got, err := dwarf.Walk(f, "")
			expect(t, tt.name, outcome(got, err), tt.want)
		}
		f.unrelocated = true
		got, err := dwarf.Walk(f, "")
		expect(t, tt.name+" before relocation", outcome(got, err), "ok")
	}
}

// TestOldListsOfTwoKinds wants no judgement where units have addresses of two sizes.
func TestOldListsOfTwoKinds(t *testing.T) {
	abbrev := append(declare(1, 0x11, 0, 0x55, 0x17), 0)
	wide := unit4(1, 0, 0, 0, 0)
	narrow := bytes.Clone(wide)
	narrow[10] = 4
	lists := binary.LittleEndian.AppendUint64(nil, 1)
	got, err := dwarf.Walk(file(slices.Concat(wide, narrow), abbrev).with("ranges", lists), "")
	expect(t, "both", outcome(got, err), "ok")
	got, err = dwarf.Walk(file(slices.Concat(narrow, narrow), abbrev).with("ranges", lists), "")
	expect(t, "one", outcome(got, err), "damaged no end of it")
}
