package pdb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"symkeep/internal/symfile/pdb"
	"symkeep/internal/symfile/symfiletest"
)

// TestWholePDB wants nothing to be wrong with a PDB as a linker writes it.
func TestWholePDB(t *testing.T) {
	f := open(t, private().Bytes())
	for name, err := range readAll(f) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := f.CheckModules()
	if err != nil {
		t.Fatal(err)
	}
	for m := range f.Modules() {
		if err := c.Check(m); err != nil {
			t.Error(err)
		}
	}
	if c.Procs != 1 || c.Vars != 1 || !c.Lines || c.Frames {
		t.Errorf("module facts %d procs, %d variables, lines %v, frames %v; want 1, 1, true, false", c.Procs, c.Vars, c.Lines, c.Frames)
	}
	if g, err := f.CheckGlobals(); err != nil || g != (pdb.Globals{Records: 2, Publics: 1}) {
		t.Errorf("CheckGlobals() = %+v, %v; want 2 records, 1 public", g, err)
	}
}

// Offsets in the streams of private().
const (
	procAt   = 4            // the signature comes first
	localAt  = procAt + 44  // after S_GPROC32
	endAt    = localAt + 12 // after S_LOCAL
	udtAt    = endAt + 4    // the first S_UDT
	hashAt   = 28           // in the stream of public symbols
	bucketAt = hashAt + 16 + 8
)

func TestDepth(t *testing.T) {
	streams := private().Streams()
	module := streams[symfiletest.PDBModules]
	linesAt := len(module) - 4 - 40 - 16
	put32, put16 := binary.LittleEndian.PutUint32, binary.LittleEndian.PutUint16
	dbi := streams[symfiletest.PDBDBI]
	modules := int(binary.LittleEndian.Uint32(dbi[24:]))
	contributions := 64 + modules
	files := contributions + 8
	further := len(dbi) - 22
	for _, tt := range []struct {
		name   string
		stream int
		edit   func(b []byte)
		kind   error
		text   string // in the error
	}{
		{"type version", symfiletest.PDBTypes, func(b []byte) { put32(b, 12) }, pdb.ErrTypes, "version"},
		{"type header", symfiletest.PDBTypes, func(b []byte) { put32(b[4:], 8) }, pdb.ErrTypes, "header size"},
		{"type range", symfiletest.PDBTypes, func(b []byte) { put32(b[8:], 5) }, pdb.ErrTypes, "index range"},
		{"type count", symfiletest.PDBTypes, func(b []byte) { put32(b[12:], 0x1009) }, pdb.ErrTypes, "found 10, wanted 9"},
		{"type bytes", symfiletest.PDBTypes, func(b []byte) { put32(b[16:], 500) }, pdb.ErrTypes, "record bytes"},
		{"type hash stream", symfiletest.PDBTypes, func(b []byte) { put16(b[20:], 99) }, pdb.ErrTypes, "hash stream"},
		{"type hash buffer", symfiletest.PDBTypes, func(b []byte) { put32(b[36:], 1<<20) }, pdb.ErrTypes, "hash buffer"},
		{"type hash key", symfiletest.PDBTypes, func(b []byte) { put32(b[24:], 9) }, pdb.ErrTypes, "hash key"},
		{"type buckets", symfiletest.PDBTypes, func(b []byte) { put32(b[28:], 9) }, pdb.ErrTypes, "buckets"},
		{"type record length", symfiletest.PDBTypes, func(b []byte) { put16(b[56:], 0xFFF0) }, pdb.ErrTypes, "length"},
		{"type record of 1 byte", symfiletest.PDBTypes, func(b []byte) { put16(b[56:], 1) }, pdb.ErrTypes, "length"},
		{"type too short", symfiletest.PDBTypes, func(b []byte) { put16(b[58:], 0x1009) }, pdb.ErrTypes, "at least 24"},
		{"type list", symfiletest.PDBTypes, func(b []byte) { put16(b[58:], 0x1201) }, pdb.ErrTypes, "elements"},
		{"type start", symfiletest.PDBTypeHash, func(b []byte) { put32(b[44:], 4) }, pdb.ErrTypes, "start of a type record"},
		{"type start index", symfiletest.PDBTypeHash, func(b []byte) { put32(b[40:], 0x1001) }, pdb.ErrTypes, "start of a type record"},
		{"type start past the end", symfiletest.PDBTypeHash, func(b []byte) { put32(b[40:], 0x2000); put32(b[44:], 4000) }, pdb.ErrTypes, "after the last"},
		{"type bucket", symfiletest.PDBTypeHash, func(b []byte) { put32(b[8:], 0x40000) }, pdb.ErrTypes, "hash bucket"},
		{"type bucket count", symfiletest.PDBTypes, func(b []byte) { put32(b[36:], 8) }, pdb.ErrTypes, "4 for each record"},
		{"id version", symfiletest.PDBIDs, func(b []byte) { put32(b, 12) }, pdb.ErrTypes, "id stream"},
		{"names signature", symfiletest.PDBNames, func(b []byte) { put32(b, 0) }, pdb.ErrLines, "/names signature"},
		{"names version", symfiletest.PDBNames, func(b []byte) { put32(b[4:], 7) }, pdb.ErrLines, "hash version"},
		{"names size", symfiletest.PDBNames, func(b []byte) { put32(b[8:], 1000) }, pdb.ErrLines, "/names size"},
		{"names end", symfiletest.PDBNames, func(b []byte) { b[12+8] = 'x' }, pdb.ErrLines, "NUL"},
		{"names buckets", symfiletest.PDBNames, func(b []byte) { put32(b[12+9:], 1000) }, pdb.ErrLines, "buckets"},
		{"shared record", symfiletest.PDBRecords, func(b []byte) { put16(b, 100) }, pdb.ErrSymbols, "length"},
		{"shared name", symfiletest.PDBRecords, func(b []byte) { copy(b[14:20], "mainly") }, pdb.ErrSymbols, "NUL"},
		{"publics hash", symfiletest.PDBPublics, func(b []byte) { put32(b, 4000) }, pdb.ErrSymbols, "public symbols"},
		{"publics signature", symfiletest.PDBPublics, func(b []byte) { put32(b[hashAt:], 0) }, pdb.ErrSymbols, "signature"},
		{"publics rows", symfiletest.PDBPublics, func(b []byte) { put32(b[hashAt+8:], 9) }, pdb.ErrSymbols, "rows"},
		{"publics row", symfiletest.PDBPublics, func(b []byte) { put32(b[hashAt+16:], 3) }, pdb.ErrSymbols, "the start of one"},
		{"publics buckets", symfiletest.PDBPublics, func(b []byte) { put32(b[bucketAt:], 0xFFFF) }, pdb.ErrSymbols, "16 buckets"},
		{"publics by address", symfiletest.PDBPublics, func(b []byte) { put32(b[len(b)-4:], 4) }, pdb.ErrSymbols, "by address"},
		{"globals row", symfiletest.PDBGlobals, func(b []byte) { put32(b[16:], 1000) }, pdb.ErrSymbols, "global symbols"},
		{"global stream", symfiletest.PDBDBI, func(b []byte) { put16(b[12:], 99) }, pdb.ErrSymbols, "shared symbols"},
		{"signature", symfiletest.PDBModules, func(b []byte) { put32(b, 9) }, pdb.ErrSymbols, "signature"},
		{"symbol length", symfiletest.PDBModules, func(b []byte) { put16(b[udtAt:], 0x7000) }, pdb.ErrSymbols, "length"},
		{"symbol without end", symfiletest.PDBModules, func(b []byte) { b[localAt+2] = 0x08; copy(b[localAt+8:], "abcd") }, pdb.ErrSymbols, "NUL"},
		{"symbol too short", symfiletest.PDBModules, func(b []byte) { put16(b[localAt+2:], 0x1012) }, pdb.ErrSymbols, "at least 26"},
		{"callees", symfiletest.PDBModules, func(b []byte) { put16(b[udtAt+2:], 0x115a) }, pdb.ErrSymbols, "functions"},
		{"constant", symfiletest.PDBModules, func(b []byte) { put16(b[localAt+2:], 0x1107); put16(b[localAt+8:], 0x8003) }, pdb.ErrSymbols, "NUL"},
		{"end missing", symfiletest.PDBModules, func(b []byte) { put16(b[endAt+2:], 0x1124) }, pdb.ErrSymbols, "no end"},
		{"end alone", symfiletest.PDBModules, func(b []byte) { put16(b[procAt+2:], 0x110d) }, pdb.ErrSymbols, "no open one"},
		{"end elsewhere", symfiletest.PDBModules, func(b []byte) { put32(b[procAt+8:], 8) }, pdb.ErrSymbols, "its end record"},
		{"parent", symfiletest.PDBModules, func(b []byte) { put32(b[procAt+4:], 8) }, pdb.ErrSymbols, "parent"},
		{"subsection size", symfiletest.PDBModules, func(b []byte) { put32(b[linesAt+4:], 1000) }, pdb.ErrLines, "size of a subsection"},
		{"checksum name", symfiletest.PDBModules, func(b []byte) { put32(b[linesAt+8:], 1000) }, pdb.ErrLines, "source file name"},
		{"checksum size", symfiletest.PDBModules, func(b []byte) { b[linesAt+12] = 32 }, pdb.ErrLines, "checksum"},
		{"checksums twice", symfiletest.PDBModules, func(b []byte) { put32(b[linesAt+16:], 0xF4) }, pdb.ErrLines, ""},
		{"line block size", symfiletest.PDBModules, func(b []byte) { put32(b[linesAt+16+8+12+8:], 30) }, pdb.ErrLines, "block of line numbers"},
		{"line count", symfiletest.PDBModules, func(b []byte) { put32(b[linesAt+16+8+12+4:], 3) }, pdb.ErrLines, "3 lines"},
		{"line file", symfiletest.PDBModules, func(b []byte) { put32(b[linesAt+16+8+12:], 4) }, pdb.ErrLines, "source file of a block"},
		{"inlinees", symfiletest.PDBModules, func(b []byte) { put32(b[linesAt+16:], 0xF6) }, pdb.ErrLines, "inlined"},
		{"contributions", symfiletest.PDBDBI, func(b []byte) { put32(b[contributions:], 1) }, pdb.ErrDBI, "contributions"},
		{"section map", symfiletest.PDBDBI, func(b []byte) { put16(b[contributions+4:], 9) }, pdb.ErrDBI, "section map"},
		{"file modules", symfiletest.PDBDBI, func(b []byte) { put16(b[files:], 9) }, pdb.ErrDBI, "modules of the source file table"},
		{"file count", symfiletest.PDBDBI, func(b []byte) { put16(b[files+8:], 999) }, pdb.ErrDBI, "999 files"},
		{"file name", symfiletest.PDBDBI, func(b []byte) { put32(b[files+12:], 999) }, pdb.ErrDBI, "source file name"},
		{"debug stream", symfiletest.PDBDBI, func(b []byte) { put16(b[further:], 999) }, pdb.ErrDBI, "debug stream"},
		{"section headers", symfiletest.PDBDBI, func(b []byte) { put16(b[further+10:], symfiletest.PDBNames) }, pdb.ErrDBI, "multiple of 40"},
	} {
		s := private().Streams()
		tt.edit(s[tt.stream])
		f := open(t, symfiletest.MSF{Streams: s}.Bytes())
		found := false
		for _, err := range readAll(f) {
			found = found || errors.Is(err, tt.kind) && strings.Contains(err.Error(), tt.text)
		}
		if !found {
			t.Errorf("%s: errors %v, want one of kind %q with %q", tt.name, readAll(f), tt.kind, tt.text)
		}
	}
}

// A compiler newer than this package writes kinds that it does not know: no damage.
func TestUnknownKinds(t *testing.T) {
	s := private().Streams()
	binary.LittleEndian.PutUint16(s[symfiletest.PDBModules][localAt+2:], 0x11f0)
	binary.LittleEndian.PutUint16(s[symfiletest.PDBModules][endAt+2:], 0x11f1)
	binary.LittleEndian.PutUint16(s[symfiletest.PDBTypes][58:], 0x1700)
	binary.LittleEndian.PutUint16(s[symfiletest.PDBRecords][2:], 0x11f2)
	lines := s[symfiletest.PDBModules]
	binary.LittleEndian.PutUint32(lines[len(lines)-4-40:], 0x800000F2) // readers skip it
	for name, err := range readAll(open(t, symfiletest.MSF{Streams: s}.Bytes())) {
		if err != nil {
			t.Errorf("%s: %v, want no error", name, err)
		}
	}
}

func TestMarkedFree(t *testing.T) {
	b := private().Bytes()
	if n, _, err := open(t, b).MarkedFree(); n != 0 || err != nil {
		t.Errorf("MarkedFree() = %d, %v; want none", n, err)
	}
	b[4096] = 0xf0 // the map is block 1: blocks 4 to 7 are free
	if n, first, err := open(t, b).MarkedFree(); n != 4 || first != 4*4096 || err != nil {
		t.Errorf("MarkedFree() = %d from %#x, %v; want 4 from 0x4000", n, first, err)
	}
	small := private()
	small.BlockSize = 512
	s := small.Streams()
	s = append(s, bytes.Repeat([]byte{1}, 512*5000)) // several parts of the map
	if n, _, err := open(t, symfiletest.MSF{BlockSize: 512, Streams: s}.Bytes()).MarkedFree(); n != 0 || err != nil {
		t.Errorf("MarkedFree() of a map in parts = %d, %v; want none", n, err)
	}
}

func TestNamedStreams(t *testing.T) {
	p := private()
	p.Named = []string{"sourcelink$1", "srcsrv"}
	f := open(t, p.Bytes())
	if f.Info.NamesErr != nil || len(f.Info.Streams) != 3 || f.Stream(int(f.Info.Streams["srcsrv"])).Size() != 6 {
		t.Errorf("named streams %v, %v", f.Info.Streams, f.Info.NamesErr)
	}
	s := private().Streams()
	binary.LittleEndian.PutUint32(s[1][len(s[1])-8:], 99) // the number of /names; features follow
	if f := open(t, symfiletest.MSF{Streams: s}.Bytes()); !errors.Is(f.Info.NamesErr, pdb.ErrDirectory) {
		t.Errorf("stream 99: NamesErr = %v, want ErrDirectory", f.Info.NamesErr)
	}
}
