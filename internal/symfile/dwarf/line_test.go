package dwarf_test

import (
	"bytes"
	"slices"
	"testing"

	"symkeep/internal/symfile/dwarf"
)

// lineTable puts lengths before a table: head is what precedes the header length,
// names what follows the opcode lengths.
func lineTable(head, names, program []byte) []byte {
	if head[0] >= 4 {
		names = slices.Concat([]byte{1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1}, names)
	} else {
		names = slices.Concat([]byte{1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1}, names)
	}
	b := append(bytes.Clone(head), le.AppendUint32(nil, uint32(len(names)))...)
	b = slices.Concat(b, names, program)
	return append(le.AppendUint32(nil, uint32(len(b))), b...)
}

var (
	setAddress  = []byte{0, 9, 2, 0, 0, 0, 0, 0, 0, 0, 0}
	endSequence = []byte{0, 1, 1}
	program     = slices.Concat(setAddress, []byte{2, 5, 3, 1, 1, 0x4b}, endSequence)
	names4      = []byte("dir\x00\x00a.c\x00\x01\x00\x00\x00")
	names5      = []byte{1, 1, 0x08, 1, 'd', 0, 2, 1, 0x1f, 2, 0x0b, 1, 0, 0, 0, 0, 0}
	source5     = []byte{1, 1, 0x08, 1, 'd', 0, 2, 1, 0x08, 0x81, 0x40, 0x08, 1, 'a', 0, 'x', 0}
	line4       = lineTable([]byte{4, 0}, names4, program)
	line5       = lineTable([]byte{5, 0, 8, 0}, names5, program)
)

func TestLineTables(t *testing.T) {
	edit := func(b []byte, i int, v byte) []byte { b = bytes.Clone(b); b[i] = v; return b }
	for _, tt := range []struct {
		name  string
		line  []byte
		want  string
		lines bool
	}{
		{"2", lineTable([]byte{2, 0}, names4, program), "ok", true},
		{"4", line4, "ok", true},
		{"5", line5, "ok", true},
		{"no rows", lineTable([]byte{4, 0}, names4, nil), "ok", false},
		{"bytes before the program", lineTable([]byte{4, 0}, append(bytes.Clone(names4), 7, 7), program), "unjudged 2 bytes between", true},
		{"open sequence", lineTable([]byte{4, 0}, names4, []byte{1}), "unjudged rows at its end", true},
		{"opcode of no bytes", lineTable([]byte{4, 0}, names4, []byte{0, 0}), "damaged an opcode of 0x0 bytes", false},
		{"vendor opcode", lineTable([]byte{4, 0}, names4, []byte{0, 3, 0x80, 1, 2, 1, 0, 1, 1}), "ok", true},
		{"past the end", edit(line4, 0, 200), "damaged a table of 0xc8 bytes", false},
		{"version", edit(line4, 4, 9), "damaged version 9", false},
		{"header past the table", edit(line4, 6, 200), "damaged a header of 0xc8 bytes", false},
		{"header too short", edit(line4, 6, 20), "damaged names of files that end at", false},
		{"line range", edit(line4, 14, 0), "damaged a line range of 0", true},
		{"opcode past the end", lineTable([]byte{4, 0}, names4, []byte{1, 0, 9, 2}), "damaged an opcode of 0x9 bytes", true},
		{"operand past the end", lineTable([]byte{4, 0}, names4, []byte{1, 2, 0x80}), "damaged opcode 2", true},
		{"count of files", lineTable([]byte{5, 0, 8, 0}, []byte{1, 1, 0x08, 0xff, 0xff, 3}, program), "damaged 65535 directories or files", false},
		{"name", lineTable([]byte{5, 0, 8, 0}, edit(names5, 12, 9), program), "damaged .debug_line_str", false},
		{"form", lineTable([]byte{5, 0, 8, 0}, edit(names5, 2, 0x7f), program), "unjudged names of form 0x7f", false},
	} {
		f := file(unit4(1, 0, 0, 0, 0), append(declare(1, 0x11, 0, 0x10, 0x17), 0)).with("line", tt.line)
		for _, unpacks := range []bool{false, true} {
			f.unpacks = unpacks
			got, err := dwarf.Walk(f, "")
			expect(t, tt.name, outcome(got, err), tt.want)
			if got.Lines != tt.lines {
				t.Errorf("%s: rows %t, want %t", tt.name, got.Lines, tt.lines)
			}
		}
	}
}

func TestLineTablesShared(t *testing.T) {
	abbrev := append(declare(1, 0x11, 0, 0x10, 0x17), 0)
	second := byte(len(line4))
	f := file(slices.Concat(unit4(1, second, 0, 0, 0), unit4(1, 0, 0, 0, 0), unit4(1, second, 0, 0, 0)), abbrev).with("line", slices.Concat(line4, line5))
	got, err := dwarf.Walk(f, "")
	expect(t, "out of order and shared", outcome(got, err), "ok")
	got, err = dwarf.Walk(f.with("info", slices.Concat(unit4(1, 0, 0, 0, 0), unit4(1, 3, 0, 0, 0))), "")
	expect(t, "inside", outcome(got, err), "damaged a table inside the one at 0x0")
}

func TestSources(t *testing.T) {
	f := file(unit4(1, 0, 0, 0, 0), append(declare(1, 0x11, 0, 0x10, 0x17), 0)).with("line", lineTable([]byte{5, 0, 8, 0}, source5, program))
	if got, err := dwarf.Walk(f, ""); err != nil || !got.Sources || len(got.Faults) > 0 {
		t.Errorf("Walk = %+v, %v, want sources", got, err)
	}
	if got, _ := dwarf.Walk(f.with("line", line5), ""); got.Sources {
		t.Error("sources found where there are none")
	}
}
