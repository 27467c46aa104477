package dwarf_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/symfile/dwarf"
)

// indexOf builds an index of version 5 with one slot per row. Rows give offset and
// size in .debug_info.dwo, then in .debug_abbrev.dwo.
func indexOf(version uint32, rows ...[4]uint32) []byte {
	b := le.AppendUint32(nil, version)
	for _, v := range []int{2, len(rows), len(rows)} {
		b = le.AppendUint32(b, uint32(v))
	}
	for i := range rows {
		b = le.AppendUint64(b, uint64(0x100+i))
	}
	for i := range rows {
		b = le.AppendUint32(b, uint32(i+1))
	}
	b = le.AppendUint32(le.AppendUint32(b, 1), 3)
	for _, r := range rows {
		b = le.AppendUint32(le.AppendUint32(b, r[0]), r[2])
	}
	for _, r := range rows {
		b = le.AppendUint32(le.AppendUint32(b, r[1]), r[3])
	}
	return b
}

func TestPackage(t *testing.T) {
	one, two := unit5(5, make([]byte, 8), 1), unit5(5, make([]byte, 8), 2, 3, 0)
	other := slices.Concat(declare(2, 0x11, 1), declare(3, 0x24, 0), []byte{0})
	a, b := uint32(len(one)), uint32(len(two))
	n, m := uint32(len(plain)), uint32(len(other))
	rows := [][4]uint32{{a, b, n, m}, {0, a, 0, n}}
	pack := sections{data: map[string][]byte{"info.dwo": slices.Concat(one, two), "abbrev.dwo": slices.Concat(plain, other)}}
	for _, tt := range []struct {
		name  string
		index []byte
		walk  string
		ids   string
	}{
		{"version 5", indexOf(5, rows...), "ok", ""},
		{"version 2", indexOf(2, rows...), "ok", ""},
		{"unit without a row", indexOf(5, rows[0]), "damaged no row of the index covers", ""},
		{"abbreviations of another", indexOf(5, [4]uint32{a, b, 1, m}, rows[1]), "damaged ", ""},
		{"row outside", indexOf(5, [4]uint32{a, b + 1, n, m}, rows[1]), "ok", "24 bytes at 0x15 of .debug_info.dwo"},
		{"version 3", indexOf(3, rows...), "damaged version 3", "version 3"},
		{"cut", indexOf(5, rows...)[:40], "damaged in 40 bytes", "2 units and 2 slots in 40 bytes"},
		{"short", []byte{5, 0, 0, 0}, "damaged 4 bytes", "4 bytes"},
	} {
		f := pack.with("cu_index", tt.index)
		got, err := dwarf.Walk(f, ".dwo")
		expect(t, tt.name, outcome(got, err), tt.walk)
		ids, err := dwarf.PackageIDs(f)
		switch {
		case tt.ids == "" && (err != nil || !slices.Contains(ids, 0x100)):
			t.Errorf("%s: PackageIDs = %x, %v", tt.name, ids, err)
		case tt.ids != "" && (!errors.Is(err, dwarf.ErrDamaged) || !strings.Contains(err.Error(), tt.ids)):
			t.Errorf("%s: PackageIDs error = %v, want ErrDamaged with %q", tt.name, err, tt.ids)
		}
	}
	if ids, err := dwarf.PackageIDs(pack); ids != nil || err != nil {
		t.Errorf("PackageIDs without an index = %x, %v", ids, err)
	}
	ids, err := dwarf.PackageIDs(fixture(t, "split5.dwp"))
	if err != nil || !slices.Equal(ids, []uint64{0x4f268446686eae5}) {
		t.Errorf("PackageIDs of split5.dwp = %x, %v", ids, err)
	}
}
