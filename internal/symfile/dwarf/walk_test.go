package dwarf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/symfile/dwarf"
)

// TestFixtures compares with what llvm-dwarfdump and readelf print.
func TestFixtures(t *testing.T) {
	for _, tt := range []struct {
		name, suffix string
		entries      uint64
		skeletons    int
		ids          []uint64
		types, lines bool
	}{
		{"tiny.so", "", 22, 0, nil, true, true},
		{"tiny.debug", "", 22, 0, nil, true, true},
		{"tiny.zlib.debug", "", 22, 0, nil, true, true},
		{"tiny.zlib-gnu.debug", "", 22, 0, nil, true, true},
		{"tiny.zstd.debug", "", 22, 0, nil, true, true},
		{"tiny.mips", "", 22, 0, nil, true, true},
		{"split5.so", "", 1, 1, []uint64{0x4f268446686eae5}, false, true},
		{"split4.so", "", 1, 1, []uint64{0xc6a02d690ea6f237}, false, true},
		{"split5.dwo", ".dwo", 15, 0, []uint64{0x4f268446686eae5}, true, false},
		{"split4.dwo", ".dwo", 22, 0, []uint64{0xc6a02d690ea6f237}, true, false},
		{"split5.dwp", ".dwo", 15, 0, []uint64{0x4f268446686eae5}, true, false},
	} {
		f := fixture(t, tt.name)
		got, err := dwarf.Walk(f, tt.suffix)
		if err != nil || got.Units != 1 || got.Entries != tt.entries || got.Skeletons != tt.skeletons || !slices.Equal(got.DWOIDs, tt.ids) ||
			got.Types != tt.types || got.Lines != tt.lines || len(got.Faults) > 0 {
			t.Errorf("%s: Walk = %+v, %v; want 1 unit, %+v", tt.name, got, err, tt)
		}
		if is, err := dwarf.Skeleton(f); tt.suffix == "" && (err != nil || is != (tt.skeletons > 0)) {
			t.Errorf("%s: Skeleton = %t, %v; want %t", tt.name, is, err, tt.skeletons > 0)
		}
	}
}

func TestUnitHeaders(t *testing.T) {
	good := unit4(1)
	edit := func(i int, v byte) []byte { b := bytes.Clone(good); b[i] = v; return b }
	long := append([]byte{0xff, 0xff, 0xff, 0xff, 12, 0, 0, 0, 0, 0, 0, 0}, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 1)
	id := make([]byte, 8)
	for _, tt := range []struct {
		name  string
		info  []byte
		units int
		want  string
	}{
		{"one", good, 1, "ok"},
		{"two", slices.Concat(good, good), 2, "ok"},
		{"64-bit", slices.Concat(long, good), 2, "ok"},
		{"padding between", slices.Concat(good, make([]byte, 12), good), 2, "ok"},
		{"padding behind", slices.Concat(good, make([]byte, 3)), 1, "ok"},
		{"5", unit5(1, nil, 1), 1, "ok"},
		{"5 skeleton", unit5(4, id, 1), 1, "ok"},
		{"5 partial", unit5(3, nil, 1), 1, "ok"},
		{"5 type", unit5(2, append(id, 24, 0, 0, 0), 2, 3, 0), 1, "ok"},
		{"5 vendor", unit5(0x80, nil, 9, 9, 9), 1, "ok"},
		{"unit of zeros", unit4(0, 0, 0, 0), 1, "ok"},
		{"lost part", slices.Concat(good, make([]byte, 5000), good), 1, "damaged zero bytes"},
		{"other padding", slices.Concat(good, []byte{0, 1}), 1, "damaged 2 bytes left"},
		{"nothing but padding", make([]byte, 8), 0, "damaged no unit"},
		{"version 1", edit(4, 1), 0, "damaged version 1"},
		{"version 6", edit(4, 6), 0, "damaged version 6"},
		{"past the end", edit(0, 9), 0, "damaged unit length 0x9"},
		{"shorter", edit(0, 1), 0, "damaged "},
		{"address size", edit(10, 3), 0, "damaged address size 3"},
		{"abbreviation offset", edit(6, 60), 1, "damaged abbreviation offset 0x3c"},
		{"abbreviation code", edit(11, 9), 1, "damaged abbreviation code 9"},
		{"reserved length", []byte{0xf0, 0xff, 0xff, 0xff, 0, 0, 0, 0}, 0, "damaged 0xfffffff0"},
		{"second header damaged", slices.Concat(good, edit(4, 9)), 1, "damaged version 9"},
		{"second unit damaged", slices.Concat(good, edit(11, 9), good), 3, "damaged abbreviation code 9"},
		{"5 type 0", unit5(0, nil, 1), 0, "damaged unit type 0"},
		{"5 type outside", unit5(2, append(id, 99, 0, 0, 0), 1), 0, "damaged a type at 0x63"},
		{"5 cut id", unit5(4, id[:2]), 0, "damaged a unit of 14 bytes"},
		{"no entry", unit4(), 1, "damaged no entry"},
	} {
		for _, unpacks := range []bool{false, true} {
			f := file(tt.info, plain)
			f.unpacks = unpacks
			got, err := dwarf.Walk(f, "")
			expect(t, tt.name, outcome(got, err), tt.want)
			if got.Units != tt.units {
				t.Errorf("%s: %d units, want %d", tt.name, got.Units, tt.units)
			}
		}
	}
	f := file(edit(11, 9), plain)
	f.unrelocated = true
	got, err := dwarf.Walk(f, "")
	expect(t, "object", outcome(got, err), "ok") // its abbreviations wait for relocation
	got, err = dwarf.Walk(file(good, nil).with("abbrev", nil), "")
	expect(t, "no abbreviations", outcome(got, err), "damaged no abbreviations")
}

func TestTree(t *testing.T) {
	for _, tt := range []struct {
		name string
		unit []byte
		want string
	}{
		{"children", unit4(2, 3, 3, 0), "ok"},
		{"no children", unit4(2, 0), "ok"},
		{"zeros at the end", unit4(2, 3, 0, 0, 0, 0), "ok"},
		{"nested", unit4(2, 2, 3, 0, 0), "ok"},
		{"open", unit4(2, 3), "unjudged 1 open lists"},
		{"closed early", unit4(2, 0, 3, 0), "damaged bytes behind the last entry"},
		{"code", unit4(2, 7, 0), "damaged abbreviation code 7"},
		{"large code", unit4(2, 0xff, 0xff, 3, 0), "damaged abbreviation code 65535"},
	} {
		got, err := dwarf.Walk(file(slices.Concat(tt.unit, unit4(1)), plain), "")
		expect(t, tt.name, outcome(got, err), tt.want)
		if got.Units != 2 {
			t.Errorf("%s: %d units, want 2: one is found behind a damaged one", tt.name, got.Units)
		}
	}
}

func TestAbbreviations(t *testing.T) {
	for _, tt := range []struct {
		name   string
		abbrev []byte
		want   string
	}{
		{"no last zero", declare(1, 0x11, 0), "ok"},
		{"code twice", slices.Concat(declare(1, 0x11, 0), declare(1, 0x11, 0, 3, 8), []byte{0}), "ok"},
		{"codes out of order", slices.Concat(declare(9, 0x34, 0), declare(1, 0x11, 0), []byte{0}), "ok"},
		{"cut", []byte{1, 0x11, 0, 3}, "damaged the end of the section inside a declaration"},
		{"children flag", declare(1, 0x11, 7), "damaged a children flag of 7"},
		{"unknown form", append(declare(1, 0x11, 0, 3, 0x7f), 0), "unjudged of form 0x7f"},
		{"no form", slices.Concat(declare(1, 0x11, 0), declare(2, 0x34, 0, 3, 0), []byte{0}), "damaged attribute 0x3 of form 0x0"},
		{"no attribute", slices.Concat(declare(1, 0x11, 0), declare(2, 0x34, 0, 0, 8), []byte{0}), "damaged attribute 0x0 of form 0x8"},
		{"no tag", slices.Concat(declare(1, 0x11, 0), declare(2, 0, 0), []byte{0}), "damaged a tag of 0"},
		{"constant of -1 in ten bytes", slices.Concat([]byte{1, 0x11, 0, 3, 0x21}, bytes.Repeat([]byte{0xff}, 9), []byte{0x7f, 0, 0}, declare(2, 0x34, 0), []byte{0}), "ok"},
		{"code in ten bytes", slices.Concat(declare(1, 0x11, 0), []byte{0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0}, declare(2, 0x34, 0)[1:], []byte{0}), "ok"},
		{"wide code", slices.Concat(declare(1, 0x11, 0), bytes.Repeat([]byte{0xff}, 9), []byte{0x02}, declare(2, 0x34, 0)[1:], []byte{0}), "damaged a number of more than 64 bits"},
	} {
		got, err := dwarf.Walk(file(unit4(1), tt.abbrev), "")
		expect(t, tt.name, outcome(got, err), tt.want)
	}
}

// TestForms gives a root one attribute and a value of exactly its size.
func TestForms(t *testing.T) {
	for _, tt := range []struct {
		form  uint64
		value []byte
	}{
		{0x01, make([]byte, 8)}, {0x03, []byte{2, 0, 1, 1}}, {0x04, []byte{1, 0, 0, 0, 9}}, {0x05, make([]byte, 2)},
		{0x06, make([]byte, 4)}, {0x07, make([]byte, 8)}, {0x08, []byte("text\x00")}, {0x09, []byte{2, 1, 1}},
		{0x0a, []byte{1, 9}}, {0x0b, []byte{1}}, {0x0c, []byte{1}}, {0x0d, []byte{0x80, 1}}, {0x0e, []byte{2, 0, 0, 0}},
		{0x0f, []byte{0xff, 0x7f}}, {0x10, make([]byte, 4)}, {0x11, []byte{11}}, {0x12, []byte{11, 0}},
		{0x13, []byte{11, 0, 0, 0}}, {0x14, []byte{11, 0, 0, 0, 0, 0, 0, 0}}, {0x15, []byte{11}}, {0x16, []byte{0x0b, 7}},
		{0x17, make([]byte, 4)}, {0x18, []byte{1, 0x50}}, {0x19, nil}, {0x1a, []byte{1}}, {0x1b, []byte{5}},
		{0x1c, make([]byte, 4)}, {0x1d, make([]byte, 4)}, {0x1e, make([]byte, 16)}, {0x1f, []byte{1, 0, 0, 0}},
		{0x20, make([]byte, 8)}, {0x22, []byte{3}}, {0x23, []byte{3}}, {0x24, make([]byte, 8)}, {0x25, []byte{1}},
		{0x26, []byte{1, 0}}, {0x27, []byte{1, 0, 0}}, {0x28, []byte{1, 0, 0, 0}}, {0x29, []byte{1}}, {0x2a, []byte{1, 0}},
		{0x2b, []byte{1, 0, 0}}, {0x2c, []byte{1, 0, 0, 0}}, {0x1f01, []byte{1}}, {0x1f02, []byte{1}},
		{0x1f20, make([]byte, 4)}, {0x1f21, make([]byte, 4)},
	} {
		name := fmt.Sprintf("form %#x", tt.form)
		abbrev := append(declare(1, 0x11, 0, 0x3e, tt.form), 0)
		f := file(unit4(append([]byte{1}, tt.value...)...), abbrev).with("str_offsets", make([]byte, 8))
		got, err := dwarf.Walk(f, "")
		expect(t, name, outcome(got, err), "ok")
		if len(tt.value) == 0 {
			continue
		}
		value := tt.value[:len(tt.value)-1]
		got, err = dwarf.Walk(f.with("info", unit4(append([]byte{1}, value...)...)), "")
		expect(t, name+" cut", outcome(got, err), "damaged an end within its unit")
	}
	constant := append([]byte{1, 0x11, 0, 0x3e, 0x21, 0x85, 1, 0, 0}, 0) // implicit_const 133
	got, err := dwarf.Walk(file(unit4(1), constant), "")
	expect(t, "implicit_const", outcome(got, err), "ok")
}

func TestTargets(t *testing.T) {
	four := func(v byte) []byte { return []byte{1, v, 0, 0, 0} }
	for _, tt := range []struct {
		name       string
		attr, form uint64
		entry      []byte
		section    string // beside those of file
		size       int
		want       string
	}{
		{"strp at the end", 3, 0x0e, four(4), "", 0, "damaged leads to 0x4 of .debug_str"},
		{"line_strp", 3, 0x1f, four(2), "", 0, "damaged leads to 0x2 of .debug_line_str"},
		{"strx", 3, 0x25, []byte{1, 1}, "str_offsets", 8, "ok"},
		{"strx outside", 3, 0x25, []byte{1, 2}, "str_offsets", 8, "damaged .debug_str_offsets"},
		{"strx without", 3, 0x25, []byte{1, 2}, "", 0, "damaged leads into .debug_str_offsets"},
		{"ref4", 0x49, 0x13, four(16), "", 0, "damaged to 0x10 of the unit"},
		{"ref_addr", 0x49, 0x10, four(16), "", 0, "damaged leads to 0x10 of .debug_info"},
		{"ranges", 0x55, 0x17, four(8), "ranges", 8, "ok"},
		{"ranges outside", 0x55, 0x17, four(9), "ranges", 8, "damaged leads to 0x9 of .debug_ranges"},
		{"ranges without", 0x55, 0x17, four(9), "", 0, "unjudged leads into .debug_ranges"},
		{"location", 2, 0x17, four(9), "loc", 8, "damaged .debug_loc"},
		{"macros", 0x2119, 0x17, four(9), "macro", 8, "damaged .debug_macro"},
		{"none", 0x55, 0x17, []byte{1, 0xff, 0xff, 0xff, 0xff}, "ranges", 8, "ok"},
		{"line outside", 0x10, 0x17, four(9), "line", 9, "damaged leads to 0x9 of .debug_line"},
	} {
		f := file(unit4(tt.entry...), append(declare(1, 0x11, 0, tt.attr, tt.form), 0))
		if tt.section != "" {
			f = f.with(tt.section, make([]byte, tt.size))
		}
		got, err := dwarf.Walk(f, "")
		expect(t, tt.name, outcome(got, err), tt.want)
	}
	got, err := dwarf.Walk(file(unit4(four(0)...), append(declare(1, 0x11, 0, 3, 0x0e), 0)).with("str", nil), "")
	expect(t, "no strings", outcome(got, err), "damaged leads into .debug_str")
}

// TestLargeUnit walks a unit far larger than any buffer, both ways of reading it,
// and wants a block of it unread where it is stored.
func TestLargeUnit(t *testing.T) {
	const block = 3 << 20
	abbrev := slices.Concat(declare(1, 0x11, 1), declare(2, 0x34, 0, 2, 4), declare(3, 0x34, 0, 3, 8), []byte{0})
	entries := []byte{1, 2}
	entries = append(le.AppendUint32(entries, block), make([]byte, block)...)
	for range 200_000 {
		entries = append(entries, 3, 'n', 'a', 'm', 'e', 0)
	}
	info := unit4(append(entries, 0)...)
	for _, unpacks := range []bool{false, true} {
		f := file(info, abbrev)
		f.unpacks = unpacks
		got, err := dwarf.Walk(f, "")
		if err != nil || got.Entries != 200_002 || len(got.Faults) > 0 {
			t.Errorf("Walk = %+v, %v, want 200002 entries", got, err)
		}
	}
	got, err := dwarf.Walk(file(info[:len(info)-1], abbrev), "")
	expect(t, "cut", outcome(got, err), "damaged unit length")
}

// TestManyFaults wants the list bounded.
func TestManyFaults(t *testing.T) {
	got, err := dwarf.Walk(file(bytes.Repeat(unit4(9), 100), plain), "")
	if err != nil || got.Units != 100 || len(got.Faults) != 20 || got.More != 80 || !got.Damaged() {
		t.Errorf("Walk found %d units, lists %d faults and counts %d more, %v", got.Units, len(got.Faults), got.More, err)
	}
}

type failing struct{ sections }

var errDisk = errors.New("disk")

func (f failing) DebugSections(name string) []dwarf.Section {
	all := f.sections.DebugSections(name)
	for i := range all {
		all[i].At = nil
		all[i].Open = func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(f.data[name][:1]), iotest{})), nil
		}
	}
	return all
}

type iotest struct{}

func (iotest) Read([]byte) (int, error) { return 0, errDisk }

func TestReadError(t *testing.T) {
	if got, err := dwarf.Walk(failing{file(unit4(1), plain)}, ""); !errors.Is(err, errDisk) || len(got.Faults) > 0 {
		t.Errorf("Walk = %+v, %v, want the reader's error and no fault", got, err)
	}
}

func TestBigEndian(t *testing.T) {
	info := append(binary.BigEndian.AppendUint32(nil, 12), 0, 4, 0, 0, 0, 0, 8, 1, 0, 0, 0, 2)
	f := file(info, append(declare(1, 0x11, 0, 3, 0x0e), 0))
	f.order = binary.BigEndian
	got, err := dwarf.Walk(f, "")
	expect(t, "big-endian", outcome(got, err), "ok")
	if !strings.Contains(outcome(dwarf.Walk(f.with("str", []byte{0, 0}), "")), "leads to 0x2") {
		t.Error("a big-endian offset was not compared")
	}
}

func FuzzWalk(f *testing.F) {
	f.Add(unit4(2, 3, 0), plain, []byte{0}, byte(0))
	f.Add(unit5(4, make([]byte, 8), 1), append(declare(1, 0x11, 0, 0x10, 0x17, 3, 0x16), 0), line5, byte(1))
	f.Add(slices.Concat(unit4(1, 0, 0, 0, 0), make([]byte, 5)), append(declare(1, 0x11, 0, 0x10, 0x17), 0), line4, byte(3))
	f.Add(unit4([]byte("\x01m.c\x00\x00\x00\x00\x00/s\x00")...), append(declare(1, 0x11, 0, 3, 8, 0x10, 0x17, 0x1b, 8), 0), line5, byte(0))
	f.Fuzz(func(t *testing.T, info, abbrev, line []byte, how byte) {
		s := file(info, abbrev).with("line", line).with("line.dwo", line).with("types", info).with("cu_index", line).with("tu_index", abbrev).
			with("info.dwo", info).with("abbrev.dwo", abbrev).with("aranges", line).with("names", abbrev).with("rnglists", line).with("loclists", info).with("str_offsets", line)
		s.unpacks = how&1 != 0
		if how&2 != 0 {
			s.order = binary.BigEndian
		}
		for _, suffix := range []string{"", ".dwo"} {
			got, err := dwarf.Walk(s, suffix)
			if err != nil || len(got.Faults) > 20 {
				t.Fatalf("%d faults, %v", len(got.Faults), err)
			}
			if got.Entries > uint64(2*len(info)) {
				t.Fatalf("%d entries in %d bytes", got.Entries, len(info))
			}
		}
		if _, err := dwarf.Skeleton(s); err != nil {
			t.Fatal(err)
		}
		dwarf.PackageIDs(s)
		if err := dwarf.SourceFiles(s, func(dwarf.SourceFile) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}
