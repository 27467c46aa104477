package pe_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"symkeep/internal/symfile"
	"symkeep/internal/symfile/pe"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/symid"
)

var guid = symid.GUID{0x6f, 0xfc, 0xf7, 0x88, 0xf6, 0x5e, 0x95, 0x18, 1, 2, 3, 4, 5, 6, 7, 8}

func open(t *testing.T, b []byte) *pe.File {
	t.Helper()
	f, err := pe.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return f
}

func TestOpen(t *testing.T) {
	f := open(t, symfiletest.PE{Timestamp: 0x6553f100, SizeOfImage: 0x6000, CheckSum: 7}.Bytes())
	if got := f.CodeID().String(); got != "6553F1006000" {
		t.Errorf("CodeID() = %s, want 6553F1006000", got)
	}
	if f.Arch() != symfile.ArchX64 || !f.PE32Plus || f.CheckSum != 7 || len(f.Sections) != 2 {
		t.Errorf("Open = %+v", f)
	}
	if s := f.Section(".rdata"); s == nil || s.End() != 0x800 {
		t.Errorf("Section(.rdata) = %+v, want an end at 0x800", s)
	}
	f = open(t, symfiletest.PE{PE32: true, Machine: 0x14c, ILOnly: true}.Bytes())
	if f.Arch() != symfile.ArchAnyCPU || f.PE32Plus {
		t.Errorf("Arch() of IL in PE32 = %s, want anycpu", f.Arch())
	}
	f = open(t, symfiletest.PE{Machine: 0x8664 ^ 0x7b79, ILOnly: true}.Bytes())
	if f.Arch() != symfile.ArchX64 {
		t.Errorf("Arch() of ready-to-run for Linux = %s, want x64", f.Arch())
	}
}

func TestOpenDamaged(t *testing.T) {
	const h = symfiletest.PEHeaderOff
	put := func(off int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[off:], v); return b }
	}
	for name, damage := range map[string]func([]byte) []byte{
		"no MZ":            func(b []byte) []byte { b[0] = 'X'; return b },
		"cut in DOS":       func(b []byte) []byte { return b[:0x3f] },
		"e_lfanew far":     put(0x3c, 0xfffffff0),
		"no PE":            put(h, 0),
		"cut in COFF":      func(b []byte) []byte { return b[:h+20] },
		"no sections":      func(b []byte) []byte { b[h+6] = 0; return b },
		"many sections":    func(b []byte) []byte { b[h+6], b[h+7] = 0xff, 0xff; return b },
		"small optional":   func(b []byte) []byte { b[h+20] = 60; return b },
		"no optional":      func(b []byte) []byte { b[h+20] = 0; return b },
		"magic":            put(h+24, 0x1111),
		"SizeOfImage 0":    put(h+24+56, 0),
		"SizeOfImage less": put(h+24+56, 0x3ff),
		"directories":      func(b []byte) []byte { b[h+20] = 120; return b },
		"cut in sections":  func(b []byte) []byte { return b[:symfiletest.PESectionsOff+50] },
	} {
		b := damage(symfiletest.PE{}.Bytes())
		_, err := pe.Open(bytes.NewReader(b), int64(len(b)))
		var fe *symfile.FormatError
		if !errors.Is(err, pe.ErrHeader) || !errors.As(err, &fe) {
			t.Errorf("Open(%s) error = %v, want a FormatError of kind ErrHeader", name, err)
		}
	}
}

// Debuggers read a section up to its size in memory; the file pads it.
func TestContent(t *testing.T) {
	b := symfiletest.PE{}.Bytes()
	binary.LittleEndian.PutUint32(b[symfiletest.PESectionsOff+8:], 100)
	f := open(t, b)
	text := f.Content(f.Section(".text"))
	if _, off, n := text.Outer(); off != symfiletest.PETextOff || n != 100 {
		t.Errorf("content of .text = %d bytes at %#x, want 100 at %#x", n, off, symfiletest.PETextOff)
	}
	f = open(t, b[:symfiletest.PETextOff+50])
	if n := f.Content(f.Section(".text")).Size(); n != 50 {
		t.Errorf("content of a cut .text = %d bytes, want 50", n)
	}
	if n := f.Content(f.Section(".rdata")).Size(); n != 0 {
		t.Errorf("content of a section past the end = %d bytes, want 0", n)
	}
}

// The tables of symbols and of strings follow each other, and the second has a size.
func TestSymbolsEnd(t *testing.T) {
	b := symfiletest.PE{}.Bytes()
	if end := open(t, b).SymbolsEnd(); end != 0 {
		t.Errorf("SymbolsEnd() without symbols = %d, want 0", end)
	}
	at := len(b)
	binary.LittleEndian.PutUint32(b[symfiletest.PEHeaderOff+12:], uint32(at))
	binary.LittleEndian.PutUint32(b[symfiletest.PEHeaderOff+16:], 2)
	if end := open(t, b).SymbolsEnd(); end != int64(at)+36+4 {
		t.Errorf("SymbolsEnd() of a cut table = %d, want %d", end, at+40)
	}
	b = append(b, make([]byte, 36)...)
	b = append(b, 20, 0, 0, 0)
	if end := open(t, b).SymbolsEnd(); end != int64(at)+36+20 {
		t.Errorf("SymbolsEnd() = %d, want %d", end, at+56)
	}
}

// symbols appends a symbol table of one symbol with a long name, and names a section by
// the string table.
func symbols() []byte {
	b := symfiletest.PE{TextName: "/4"}.Bytes()
	le := binary.LittleEndian
	le.PutUint32(b[symfiletest.PEHeaderOff+12:], uint32(len(b)))
	le.PutUint32(b[symfiletest.PEHeaderOff+16:], 2)
	row := make([]byte, 36)
	le.PutUint32(row[4:], 4)
	le.PutUint16(row[12:], 1)
	row[17] = 1 // one row more belongs to it
	row[18+13] = 0x7f
	b = append(b, row...)
	return append(b, "\x10\x00\x00\x00.debug_info\x00"...)
}

func TestCheckSymbols(t *testing.T) {
	good := symbols()
	f := open(t, good)
	if err := f.CheckSymbols(); err != nil || !f.LongNames() || f.Section(".debug_info") == nil {
		t.Errorf("CheckSymbols() = %v, long names %v, sections %v", err, f.LongNames(), f.Sections)
	}
	at := len(good) - 16 - 36
	for name, edit := range map[string]func(b []byte) []byte{
		"name":          func(b []byte) []byte { b[at+4] = 16; return b },
		"section":       func(b []byte) []byte { b[at+12] = 3; return b },
		"section below": func(b []byte) []byte { b[at+12], b[at+13] = 0xfd, 0xff; return b },
		"string size":   func(b []byte) []byte { b[at+36] = 17; return b },
		"section name":  func(b []byte) []byte { copy(b[symfiletest.PESectionsOff:], "/99"); return b },
		"no strings":    func(b []byte) []byte { clear(b[at+36:]); return b },
		"cut":           func(b []byte) []byte { return b[:at+38] },
	} {
		if err := open(t, edit(bytes.Clone(good))).CheckSymbols(); !errors.Is(err, pe.ErrSymbols) {
			t.Errorf("CheckSymbols(%s) = %v, want ErrSymbols", name, err)
		}
	}
}

func TestCheckUnwind(t *testing.T) {
	good := symfiletest.PE{Unwind: true}.Bytes()
	if f := open(t, good); f.CheckUnwind() != nil || !f.HasUnwind() {
		t.Errorf("CheckUnwind() = %v, HasUnwind() = %v; want no error and a table", f.CheckUnwind(), f.HasUnwind())
	}
	at := symfiletest.PERdataOff
	for name, edit := range map[string]func(b []byte){
		"end before the beginning": func(b []byte) { b[at+4] = 0; b[at+5] = 0 },
		"end outside":              func(b []byte) { b[at+6] = 1 },
		"information":              func(b []byte) { b[at+10] = 1 },
		"table outside":            func(b []byte) { b[symfiletest.PEHeaderOff+24+112+24+1] = 0x40 },
	} {
		b := bytes.Clone(good)
		edit(b)
		if err := open(t, b).CheckUnwind(); !errors.Is(err, pe.ErrUnwind) {
			t.Errorf("CheckUnwind(%s) = %v, want ErrUnwind", name, err)
		}
	}
}

func TestMetadata(t *testing.T) {
	if m, err := open(t, symfiletest.PE{}.Bytes()).Metadata(); m != nil || err != nil {
		t.Errorf("Metadata() of a native image = %v, %v; want none", m, err)
	}
	good := symfiletest.PE{ILOnly: true}.Bytes()
	at := bytes.Index(good, []byte("BSJB"))
	m, err := open(t, good).Metadata()
	if err != nil {
		t.Fatal(err)
	}
	if _, off, n := m.Outer(); off != int64(at) || n != 68 {
		t.Errorf("Metadata() = %d bytes at %#x, want 68 at %#x", n, off, at)
	}
	for name, off := range map[string]int{"header size": at - 72, "address": at - 72 + 10, "size": at - 72 + 14} {
		b := bytes.Clone(good)
		b[off] ^= 0x48
		if _, err := open(t, b).Metadata(); !errors.Is(err, pe.ErrCLR) {
			t.Errorf("Metadata() with a damaged %s: error = %v, want ErrCLR", name, err)
		}
	}
}

func TestCodeView(t *testing.T) {
	f := open(t, symfiletest.PE{Records: []symfiletest.CodeView{
		{GUID: guid, Age: 20, Path: `C:\build\agent 7\app.pdb`},
		{GUID: guid, Age: 1, Path: "/src/il.pdb", Portable: true, Stamp: 0xfc9c5a76},
		{NB10: true, Stamp: 0x37a8f40e, Age: 2, Path: "old.pdb"},
		{GUID: guid, Age: 1},
	}, Repro: true}.Bytes())
	entries, err := f.Debug()
	if err != nil || len(entries) != 5 || entries[4].Type != pe.DebugRepro {
		t.Fatalf("Debug() = %+v, %v; want five, the last Repro", entries, err)
	}
	for i, want := range []struct {
		name     string
		id       symid.DebugID
		portable bool
		nb10     bool
	}{
		{"app.pdb", symid.DebugID{GUID: guid, Age: 20}, false, false},
		{"il.pdb", symid.DebugID{GUID: guid, Age: symid.PortableAge}, true, false},
		{"old.pdb", symid.DebugID{Age: 2}, false, true},
		{"", symid.DebugID{GUID: guid, Age: 1}, false, false},
	} {
		cv, err := f.CodeView(entries[i])
		if err != nil || cv.Name() != want.name || cv.DebugID() != want.id || cv.Portable != want.portable || cv.NB10 != want.nb10 || !cv.Terminated {
			t.Errorf("CodeView(%d) = %+v, %v; want %+v", i, cv, err, want)
		}
		if f.Misplaced(entries[i]) {
			t.Errorf("Misplaced(%d) = true, want false", i)
		}
	}
	if cv, _ := f.CodeView(entries[2]); cv.Signature != 0x37a8f40e {
		t.Errorf("NB10 signature = %#x, want 0x37a8f40e", cv.Signature)
	}
	// Data that is only in memory by RVA, and data whose two places differ.
	e := entries[0]
	e.Ptr = 0
	if cv, err := f.CodeView(e); err != nil || cv.Age != 20 {
		t.Errorf("CodeView by RVA = %+v, %v; want age 20", cv, err)
	}
	e.Ptr = entries[1].Ptr
	if !f.Misplaced(e) {
		t.Error("Misplaced of two places = false, want true")
	}
}

func TestDebugDamaged(t *testing.T) {
	image := symfiletest.PE{Records: []symfiletest.CodeView{{GUID: guid, Age: 1, Path: "a.pdb"}}}
	const dir = symfiletest.PERdataOff
	put := func(off int, v uint32) []byte {
		b := image.Bytes()
		binary.LittleEndian.PutUint32(b[off:], v)
		return b
	}
	for name, b := range map[string][]byte{
		"signature":           put(dir+28, 0x58585858),
		"size under a record": put(dir+16, 24),
		"size past the end":   put(dir+16, 0x7fffffff),
		"pointer past":        put(dir+24, 0xffffff00),
		"directory RVA":       put(symfiletest.PEHeaderOff+24+112+48, 0x7fff0000),
		"directory size":      put(symfiletest.PEHeaderOff+24+112+52, 0x7fff0000),
	} {
		f := open(t, b)
		entries, err := f.Debug()
		if err == nil {
			_, err = f.CodeView(entries[0])
		}
		if !errors.Is(err, pe.ErrDebug) {
			t.Errorf("%s: error = %v, want ErrDebug", name, err)
		}
	}
}

func TestEmbedded(t *testing.T) {
	pdb := bytes.Repeat([]byte("portable pdb "), 1000)
	b := symfiletest.PE{Embedded: pdb}.Bytes()
	read := func(b []byte) ([]byte, error) {
		f := open(t, b)
		entries, err := f.Debug()
		if err != nil {
			t.Fatal(err)
		}
		m, err := f.Embedded(entries[0])
		if err != nil {
			return nil, err
		}
		return io.ReadAll(m.Reader())
	}
	if got, err := read(b); err != nil || !bytes.Equal(got, pdb) {
		t.Errorf("embedded PDB = %d bytes, %v; want the %d that went in", len(got), err, len(pdb))
	}
	data := bytes.Index(b, []byte("MPDB"))
	for name, v := range map[string]uint32{"shorter": 100, "longer": 1 << 20, "huge": 0xffffffff, "nothing": 0} {
		x := bytes.Clone(b)
		binary.LittleEndian.PutUint32(x[data+4:], v)
		if got, err := read(x); !errors.Is(err, pe.ErrEmbedded) || len(got) > len(pdb) {
			t.Errorf("declared %s: %d bytes, error %v; want ErrEmbedded", name, len(got), err)
		}
	}
	for name, off := range map[string]int{"magic": data, "deflate": data + 12} {
		x := bytes.Clone(b)
		for i := range 8 {
			x[off+i] ^= 0xa5
		}
		if _, err := read(x); !errors.Is(err, pe.ErrEmbedded) {
			t.Errorf("damaged %s: error = %v, want ErrEmbedded", name, err)
		}
	}
}

// The sum that a linker wrote into an image must be the one computed. Reference:
// adding the little-endian words of a file by hand.
func TestComputeCheckSum(t *testing.T) {
	b := append(symfiletest.PE{CheckSum: 0xdeadbeef}.Bytes(), 0x7f) // an odd size
	f := open(t, b)
	got, err := f.ComputeCheckSum()
	if err != nil {
		t.Fatal(err)
	}
	clear(b[f.CheckSumOff : f.CheckSumOff+4])
	var want uint32
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i])
		if i+1 < len(b) {
			w |= uint32(b[i+1]) << 8
		}
		want += w
		want = want&0xffff + want>>16
	}
	if want += uint32(len(b)); got != want {
		t.Errorf("ComputeCheckSum() = %#x, want %#x", got, want)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(symfiletest.PE{Records: []symfiletest.CodeView{{GUID: guid, Age: 1, Path: "a.pdb"}}, Repro: true}.Bytes())
	f.Add(symfiletest.PE{PE32: true, Machine: 0x14c, ILOnly: true, Embedded: []byte("x"), Checksum: make([]byte, 32)}.Bytes())
	f.Add(withTables())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := pe.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		p.Arch()
		p.Certificate()
		p.HasDWARF()
		p.DebugLink()
		p.CheckTables()
		if _, err := p.ComputeCheckSum(); err != nil {
			t.Errorf("ComputeCheckSum: %v", err)
		}
		entries, _ := p.Debug()
		for _, e := range entries {
			p.Misplaced(e)
			p.CodeView(e)
			p.Checksum(e)
			if m, err := p.Embedded(e); err == nil {
				io.Copy(io.Discard, io.LimitReader(m.Reader(), 1<<20))
			}
		}
	})
}
