package dwarf_test

import (
	"slices"
	"testing"

	"symkeep/internal/symfile/dwarf"
)

// table5 puts a length and version 5 before a contribution.
func table5(b ...byte) []byte {
	return append(append(le.AppendUint32(nil, uint32(2+len(b))), 5, 0), b...)
}

func TestTables(t *testing.T) {
	ranges := table5(8, 0, 1, 0, 0, 0, 4, 0, 0, 0, 4, 1, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0)
	for _, tt := range []struct {
		name, section string
		b             []byte
		want          string
	}{
		{"strings", "str_offsets", table5(0, 0, 0, 0, 0, 0, 2, 0, 0, 0), "ok"},
		{"two tables", "str_offsets", slices.Concat(table5(0, 0, 0, 0, 0, 0), table5(0, 0, 2, 0, 0, 0)), "ok"},
		{"string outside", "str_offsets", table5(0, 0, 4, 0, 0, 0), "damaged a string at 0x4 of .debug_str"},
		{"no string", "str_offsets", table5(0, 0, 0xff, 0xff, 0xff, 0xff), "ok"},
		{"version", "str_offsets", append(le.AppendUint32(nil, 4), 6, 0, 0, 0), "damaged version 6"},
		{"length", "str_offsets", le.AppendUint32(nil, 4), "damaged a length of 0x4"},
		{"addresses", "addr", table5(8, 0, 1, 2, 3, 4, 5, 6, 7, 8), "ok"},
		{"address size", "addr", table5(3, 0), "damaged address size 3"},
		{"ranges", "rnglists", ranges, "ok"},
		{"kind of range", "rnglists", table5(8, 0, 0, 0, 0, 0, 8, 0), "damaged a range of kind 8"},
		{"open list", "rnglists", table5(8, 0, 0, 0, 0, 0, 4, 1, 1), "damaged a last list without end"},
		{"cut range", "rnglists", table5(8, 0, 0, 0, 0, 0, 5, 1, 2), "damaged a range that ends at"},
		{"offset outside", "rnglists", table5(8, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0), "damaged a list at"},
		{"number of offsets", "loclists", table5(8, 0, 9, 0, 0, 0, 9, 0), "damaged 9 offsets"},
		{"locations", "loclists", table5(8, 0, 0, 0, 0, 0, 0xff, 0xff), "ok"},
		{"list of locations", "loclists", table5(8, 0, 1, 0, 0, 0, 4, 0, 0, 0, 9, 1, 1, 4, 1, 2, 1, 0x50, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), "ok"},
		{"kind of location", "loclists", table5(8, 0, 1, 0, 0, 0, 4, 0, 0, 0, 10), "damaged a location of kind 10"},
		{"cut location", "loclists", table5(8, 0, 1, 0, 0, 0, 4, 0, 0, 0, 5, 9, 0), "damaged a location that ends at"},
	} {
		got, err := dwarf.Walk(file(unit5(1, nil, 1), plain).with(tt.section, tt.b), "")
		expect(t, tt.name, outcome(got, err), tt.want)
		got, err = dwarf.Walk(file(slices.Concat(unit5(1, nil, 1), unit4(1)), plain).with(tt.section, tt.b), "")
		expect(t, tt.name+" beside version 4", outcome(got, err), "ok")
	}
}

// TestLocations follows an entry to a list behind other data.
func TestLocations(t *testing.T) {
	abbrev := append(declare(1, 0x11, 0, 2, 0x17), 0)
	f := file(unit5(1, nil, 1, 14, 0, 0, 0), abbrev)
	got, err := dwarf.Walk(f.with("loclists", table5(8, 0, 0, 0, 0, 0, 0xff, 0xff, 5, 1, 0x50, 0)), "")
	expect(t, "location", outcome(got, err), "ok")
	got, err = dwarf.Walk(f.with("loclists", table5(8, 0, 0, 0, 0, 0, 0xff, 0xff, 0xfe, 1, 0x50, 0)), "")
	expect(t, "kind", outcome(got, err), "damaged a location of kind 254")
}

func TestLookups(t *testing.T) {
	ranges := append(le.AppendUint32(nil, 8), 2, 0, 0, 0, 0, 0, 8, 0)
	edit := func(b []byte, at int, v byte) []byte { b = slices.Clone(b); b[at] = v; return b }
	names := append([]byte{5, 0, 0, 0}, make([]byte, 28)...)
	names[4] = 1 // one unit
	names = append(le.AppendUint32(nil, uint32(len(names)+4)), append(names, 0, 0, 0, 0)...)
	for _, tt := range []struct {
		name, section string
		b             []byte
		want          string
	}{
		{"ranges", "aranges", slices.Concat(ranges, ranges), "ok"},
		{"version", "aranges", edit(ranges, 4, 9), "unjudged version 9"},
		{"unit", "aranges", edit(ranges, 6, 99), "unjudged a unit at 0x63"},
		{"address size", "aranges", edit(ranges, 10, 3), "unjudged address size 3"},
		{"length", "aranges", edit(ranges, 0, 9), "unjudged a length of 0x9"},
		{"names", "names", names, "ok"},
		{"names version", "names", edit(names, 4, 4), "unjudged version 4"},
		{"names unit", "names", edit(names, 36, 99), "unjudged a unit at 0x63"},
		{"names sizes", "names", edit(names, 24, 99), "unjudged tables of"},
	} {
		got, err := dwarf.Walk(file(unit5(1, nil, 1), plain).with(tt.section, tt.b), "")
		expect(t, tt.name, outcome(got, err), tt.want)
	}
}
