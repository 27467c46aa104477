package pe_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"symkeep/internal/symfile"
	"symkeep/internal/symfile/pe"
	"symkeep/internal/symfile/symfiletest"
)

// Where withTables puts them: RVA 0x1000 is PETextOff in the file.
const (
	exportsAt = 0x1040 // directory, then functions, names and ordinals
	importsAt = 0x1080
	configAt  = 0x10c0
	textAt    = 0x11f0 // a name
)

// withTables is an image with one export of two functions, one import and a load
// configuration.
func withTables() []byte {
	le := binary.LittleEndian
	b := symfiletest.PE{Timestamp: 1}.Bytes()
	put := func(rva uint32, words ...uint32) {
		for i, w := range words {
			le.PutUint32(b[symfiletest.PETextOff+int(rva-0x1000)+4*i:], w)
		}
	}
	dir := func(i int, rva, size uint32) {
		at := symfiletest.PEHeaderOff + 24 + 112 + 8*i
		le.PutUint32(b[at:], rva)
		le.PutUint32(b[at+4:], size)
	}
	copy(b[symfiletest.PETextOff+textAt-0x1000:], "a.dll\x00")
	put(exportsAt, 0, 0, 0, textAt, 1, 2, 1, exportsAt+40, exportsAt+48, exportsAt+52, 0x1000, 0x1004, textAt, 1)
	put(importsAt, 0x1000, 0, 0, textAt, 0x1008, 0, 0, 0, 0, 0)
	put(configAt, 208)
	base := le.Uint64(b[symfiletest.PEHeaderOff+24+24:])
	for _, off := range []uint32{88, 128, 200} {
		le.PutUint64(b[symfiletest.PETextOff+configAt-0x1000+off:], base+0x1000)
	}
	dir(pe.DirExport, exportsAt, 40)
	dir(pe.DirImport, importsAt, 40)
	dir(pe.DirLoadConfig, configAt, 208)
	return b
}

func TestCheckTables(t *testing.T) {
	const far = 0x7fff0000
	for _, tt := range []struct {
		name string
		rva  int // of a word that is set to value
		to   uint32
		want string // in the error; empty for none
	}{
		{"good", textAt, 0x41414141, ""},
		{"exporting image", exportsAt + 12, far, "name of the exporting image: found RVA 0x7fff0000"},
		{"export count", exportsAt + 20, far, "export directory: found 2147418112 functions"},
		{"functions", exportsAt + 28, far, "exported functions: found 2 at RVA 0x7fff0000"},
		{"function", exportsAt + 40, far, "exported function: found RVA 0x7fff0000"},
		{"names", exportsAt + 32, far, "exported names: found 1"},
		{"name", exportsAt + 48, far, "exported name: found RVA 0x7fff0000"},
		{"no name", exportsAt + 48, 0, "exported name: found RVA 0x0"},
		{"ordinals", exportsAt + 36, far, "ordinals of exports: found 2 bytes at RVA 0x7fff0000"},
		{"ordinal", exportsAt + 52, 2, "ordinal of the export named 0: found 2"},
		{"DLL", importsAt + 12, far, "name of import 0: found RVA 0x7fff0000"},
		{"addresses", importsAt + 16, far, "addresses of import 0"},
		{"no lookup table", importsAt, 0, ""},
		{"no DLL", importsAt + 12, 0, ""},
		{"cookie", configAt + 88 + 4, 1, "address in the load configuration"},
		{"hybrid", configAt + 200, far, "address in the load configuration"},
		{"configuration without it", configAt, 200, ""},
		{"old configuration", configAt, 0, ""},
	} {
		b := withTables()
		binary.LittleEndian.PutUint32(b[symfiletest.PETextOff+tt.rva-0x1000:], tt.to)
		f, err := pe.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		var fe *symfile.FormatError
		if err := f.CheckTables(); errors.As(err, &fe) && errors.Is(err, pe.ErrTables) {
			got = fe.What + ": found " + fe.Found
		} else if err != nil {
			t.Errorf("%s: CheckTables() = %v, want ErrTables", tt.name, err)
		}
		if (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: CheckTables() = %q, want %q", tt.name, got, tt.want)
		}
	}
	// Ten bytes that came into the file move the tables away from their addresses.
	b := withTables()
	b = append(append(bytes.Clone(b[:symfiletest.PETextOff+0x10]), bytes.Repeat([]byte{0xcc}, 10)...), b[symfiletest.PETextOff+0x10:]...)
	if f, err := pe.Open(bytes.NewReader(b), int64(len(b))); err != nil || !errors.Is(f.CheckTables(), pe.ErrTables) {
		t.Errorf("moved tables: Open = %v, CheckTables = %v, want ErrTables", err, f.CheckTables())
	}
}
