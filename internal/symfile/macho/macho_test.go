package macho_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"symkeep/internal/symfile"
	"symkeep/internal/symfile/dwarf"
	"symkeep/internal/symfile/macho"
)

const demoUUID = "4C4C44A655553144A1727565C1B60D2A"

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parse(t testing.TB, b []byte) *macho.File {
	t.Helper()
	f, err := macho.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return f
}

// byteOrder reads and appends; both of encoding/binary's are one.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// thin builds a thin file from load commands without their size field.
func thin(o byteOrder, is64 bool, cpu, sub, kind uint32, cmds ...[]byte) []byte {
	magic := uint32(0xfeedface)
	if is64 {
		magic = 0xfeedfacf
	}
	all := bytes.Join(cmds, nil)
	b := o.AppendUint32(nil, magic)
	for _, v := range []uint32{cpu, sub, kind, uint32(len(cmds)), uint32(len(all)), 0} {
		b = o.AppendUint32(b, v)
	}
	if is64 {
		b = o.AppendUint32(b, 0)
	}
	return append(b, all...)
}

func command(o byteOrder, kind uint32, body ...[]byte) []byte {
	all := bytes.Join(body, nil)
	return append(o.AppendUint32(o.AppendUint32(nil, kind), uint32(8+len(all))), all...)
}

func uuid(o byteOrder, s string) []byte { return command(o, 0x1b, []byte(s)) }

func name16(s string) []byte { return append([]byte(s), make([]byte, 16-len(s))...) }

func u32s(o byteOrder, vs ...uint32) []byte {
	var b []byte
	for _, v := range vs {
		b = o.AppendUint32(b, v)
	}
	return b
}

// segment32 is an LC_SEGMENT with one section, all of it at off.
func segment32(o byteOrder, seg, section string, off, size uint32) []byte {
	return command(o, 1, name16(seg), u32s(o, 0, size, off, size, 7, 7, 1, 0),
		name16(section), name16(seg), u32s(o, 0, size, off, 0, 0, 0, 0, 0, 0))
}

func fat(magic uint32, slices ...[]byte) []byte {
	be := binary.BigEndian
	b := be.AppendUint32(be.AppendUint32(nil, magic), uint32(len(slices)))
	off := 1024
	for _, s := range slices {
		b = append(b, reversed(s[4:8])...)
		b = be.AppendUint32(b, 3)
		if magic == 0xcafebabf {
			b = be.AppendUint64(be.AppendUint64(b, uint64(off)), uint64(len(s)))
			b = be.AppendUint64(b, 0)
		} else {
			b = be.AppendUint32(be.AppendUint32(b, uint32(off)), uint32(len(s)))
			b = be.AppendUint32(b, 0)
		}
		off += len(s)
	}
	b = append(b, make([]byte, 1024-len(b))...)
	return append(b, bytes.Join(slices, nil)...)
}

func reversed(b []byte) []byte { return []byte{b[3], b[2], b[1], b[0]} }

func TestFixtures(t *testing.T) {
	f := parse(t, fixture(t, "demo"))
	if len(f.Slices) != 1 || f.Fat {
		t.Fatalf("demo: %d slices, fat %t", len(f.Slices), f.Fat)
	}
	s := &f.Slices[0]
	sym, err := s.Symbols()
	if s.UUID.String() != demoUUID || s.Type != macho.TypeExecute || s.Arch() != "x64" || s.Dwarf() != nil || !sym.DebugMap || !sym.Defined || sym.Damage != nil || err != nil || !s.HasLocals() || s.Encrypted {
		t.Errorf("demo: uuid %s, type %d, arch %s, dwarf %v, debug map %t, %v", s.UUID, s.Type, s.Arch(), s.Dwarf(), sym.DebugMap, err)
	}
	d := &parse(t, fixture(t, "demo.dwarf")).Slices[0]
	if d.UUID.String() != demoUUID || d.Type != macho.TypeDSYM || d.Dwarf() == nil {
		t.Errorf("demo.dwarf: uuid %s, type %d, dwarf %v", d.UUID, d.Type, d.Dwarf())
	}
	for _, s := range []*macho.Slice{s, d} {
		if err := s.CheckBounds(); err != nil {
			t.Errorf("CheckBounds = %v", err)
		}
	}
}

func TestByteOrdersAndWidths(t *testing.T) {
	for _, o := range []byteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, is64 := range []bool{false, true} {
			s := parse(t, thin(o, is64, 18, 0, 2, uuid(o, "0123456789abcdef"))).Slices[0]
			if s.Is64 != is64 || s.Order != binary.ByteOrder(o) || !s.HasUUID || string(s.UUID[:]) != "0123456789abcdef" || s.Arch() != "ppc" {
				t.Errorf("%v, 64-bit %t: slice %+v", o, is64, s)
			}
		}
	}
	le := binary.LittleEndian
	s := parse(t, thin(le, false, 7, 3, 10, segment32(le, "__DWARF", "__debug_info", 28, 40))).Slices[0]
	if s.Dwarf() == nil || s.HasUUID || s.Arch() != "x86" {
		t.Errorf("32-bit dSYM: %+v", s)
	}
	s = parse(t, thin(le, true, 0x0100000c, 0x80000002, 2, command(le, 0x2c, u32s(le, 0, 0, 1, 0)))).Slices[0]
	if s.Arch() != "arm64e" || !s.Encrypted {
		t.Errorf("encrypted arm64e: arch %s, encrypted %t", s.Arch(), s.Encrypted)
	}
}

func TestFat(t *testing.T) {
	le := binary.LittleEndian
	a, b := thin(le, true, 0x01000007, 3, 6, uuid(le, "aaaaaaaaaaaaaaaa")), thin(le, true, 0x0100000c, 0, 6, uuid(le, "bbbbbbbbbbbbbbbb"))
	for _, magic := range []uint32{0xcafebabe, 0xcafebabf} {
		f := parse(t, fat(magic, a, b))
		if !f.Fat || len(f.Slices) != 2 || f.Slices[0].UUID[0] != 'a' || f.Slices[1].UUID[0] != 'b' || f.Slices[1].Offset != int64(1024+len(a)) {
			t.Errorf("%x: %+v", magic, f)
		}
	}
	put := func(at int, v uint32) []byte {
		x := fat(0xcafebabe, a, b)
		binary.BigEndian.PutUint32(x[at:], v)
		return x
	}
	for _, tt := range []struct {
		name string
		b    []byte
		want error
	}{
		{"count", put(4, 0x40000000), macho.ErrFat},
		{"no slices", put(4, 0), macho.ErrFat},
		{"outside", put(36, 1<<20), macho.ErrFat},
		{"overflow", put(40, math.MaxUint32), macho.ErrFat},
		{"over the table", put(16, 8), macho.ErrFat},
		{"overlap", put(36, 1024), macho.ErrFat},
		{"other cpu", put(8, 7), macho.ErrFat},
		{"cut", fat(0xcafebabe, a, b)[:1100], macho.ErrFat},
		{"head only", fat(0xcafebabe, a, b)[:6], macho.ErrFat},
		{"no Mach-O inside", put(1024, 0), macho.ErrHeader},
	} {
		_, err := macho.Parse(bytes.NewReader(tt.b), int64(len(tt.b)))
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: Parse error = %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestDamage(t *testing.T) {
	le := binary.LittleEndian
	for _, tt := range []struct {
		name string
		b    []byte
		want error
		text string
	}{
		{"empty", nil, macho.ErrTruncated, "magic"},
		{"magic", make([]byte, 40), macho.ErrHeader, "magic"},
		{"20 bytes", fixture(t, "demo")[:20], macho.ErrTruncated, "header"},
		{"commands cut", fixture(t, "demo")[:200], macho.ErrTruncated, "load commands"},
		{"ncmds", edit(fixture(t, "demo"), 16, 1<<30), macho.ErrHeader, "ncmds"},
		{"more commands", edit(fixture(t, "demo"), 16, 60), macho.ErrHeader, "bytes left"},
		{"sizeofcmds", edit(fixture(t, "demo"), 20, 1<<31), macho.ErrTruncated, "load commands"},
		{"size 0", edit(fixture(t, "demo"), 36, 0), macho.ErrHeader, "size of load command 0"},
		{"size odd", edit(fixture(t, "demo"), 36, 71), macho.ErrHeader, "multiple of 4"},
		{"size huge", edit(fixture(t, "demo"), 36, 0xfffffff0), macho.ErrHeader, "size of load command 0"},
		{"short uuid", thin(le, true, 7, 3, 2, command(le, 0x1b, []byte("1234"))), macho.ErrHeader, "at least 24"},
		{"sections", thin(le, true, 7, 3, 2, command(le, 0x19, make([]byte, 56), u32s(le, 0xffffffff, 0))), macho.ErrHeader, "number of sections"},
	} {
		_, err := macho.Parse(bytes.NewReader(tt.b), int64(len(tt.b)))
		var fe *symfile.FormatError
		if !errors.Is(err, tt.want) || !errors.As(err, &fe) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: Parse error = %v, want %v with %q", tt.name, err, tt.want, tt.text)
		}
	}
}

func edit(b []byte, at int, v uint32) []byte {
	b = bytes.Clone(b)
	binary.LittleEndian.PutUint32(b[at:], v)
	return b
}

func TestCheckBounds(t *testing.T) {
	le := binary.LittleEndian
	demo, dsym := fixture(t, "demo"), fixture(t, "demo.dwarf")
	for _, tt := range []struct {
		name string
		b    []byte
	}{
		{"half an image", demo[:len(demo)/2]},
		{"most of a dSYM", dsym[:len(dsym)*3/4]},
		{"symbol table", thin(le, true, 7, 3, 2, command(le, 2, u32s(le, 0, math.MaxUint32, 0, 0)))},
		{"function starts", thin(le, true, 7, 3, 2, command(le, 0x26, u32s(le, 100, 1<<20)))},
		{"string table", thin(le, true, 7, 3, 2, command(le, 2, u32s(le, 0, 0, 8, 1<<20)))},
	} {
		s := parse(t, tt.b).Slices[0]
		if err := s.CheckBounds(); !errors.Is(err, macho.ErrTruncated) {
			t.Errorf("%s: CheckBounds = %v, want ErrTruncated", tt.name, err)
		}
		if _, err := s.Symbols(); err != nil {
			t.Errorf("%s: Symbols = %v; a cut table counts up to its end", tt.name, err)
		}
	}
}

// TestDebug walks the fixture's DWARF, plain and as Go's linker packs it.
func TestDebug(t *testing.T) {
	d := &parse(t, fixture(t, "demo.dwarf")).Slices[0]
	facts, err := dwarf.Walk(d, "")
	if err != nil || facts.Units != 3 || facts.Entries != 50 || len(facts.Faults) > 0 || !facts.Lines || !facts.Types || !facts.Functions {
		t.Errorf("Walk = %+v, %v", facts, err)
	}
	le := binary.LittleEndian
	var z bytes.Buffer
	z.Write(append([]byte("ZLIB"), binary.BigEndian.AppendUint64(nil, 5)...))
	w := zlib.NewWriter(&z)
	w.Write([]byte("hello"))
	w.Close()
	head := len(thin(le, false, 7, 3, 2, segment32(le, "__DWARF", "__zdebug_str", 0, 0)))
	packed := func(data []byte) *macho.Slice {
		b := thin(le, false, 7, 3, 2, segment32(le, "__DWARF", "__zdebug_str", uint32(head), uint32(len(data))))
		return &parse(t, append(b, data...)).Slices[0]
	}
	s := packed(z.Bytes())
	all := s.DebugSections("str")
	if len(all) != 1 || all[0].Size != 5 || s.CheckPacked() != nil {
		t.Errorf("packed section: %+v, %v", all, s.CheckPacked())
	}
	for _, data := range [][]byte{z.Bytes()[:z.Len()-3], []byte("ZLIX00000000"), []byte("ZL"), append([]byte("ZLIB"), binary.BigEndian.AppendUint64(nil, 1<<40)...)} {
		if err := packed(data).CheckPacked(); !errors.Is(err, dwarf.ErrCompressed) {
			t.Errorf("CheckPacked of %q = %v, want ErrCompressed", data, err)
		}
	}
}

func TestUnwind(t *testing.T) {
	if ok, err := parse(t, fixture(t, "demo")).Slices[0].HasUnwind(); !ok || err != nil {
		t.Errorf("demo: HasUnwind = %t, %v", ok, err)
	}
	if ok, err := parse(t, fixture(t, "demo.dwarf")).Slices[0].HasUnwind(); ok || err != nil {
		t.Errorf("demo.dwarf: HasUnwind = %t, %v", ok, err)
	}
	le := binary.LittleEndian
	head := len(thin(le, false, 7, 3, 2, segment32(le, "__TEXT", "__unwind_info", 0, 0)))
	for version, want := range map[uint32]bool{1: true, 2: false} {
		info := u32s(le, version, 28, 0, 28, 0, 28, 2)
		b := append(thin(le, false, 7, 3, 2, segment32(le, "__TEXT", "__unwind_info", uint32(head), uint32(len(info)))), info...)
		if ok, err := parse(t, b).Slices[0].HasUnwind(); ok != want || (err == nil) != want {
			t.Errorf("version %d: HasUnwind = %t, %v", version, ok, err)
		}
	}
}

// TestSymbolTable has one symbol, of a slice with one section.
func TestSymbolTable(t *testing.T) {
	le := binary.LittleEndian
	slice := func(symbol, names uint32) []byte {
		return thin(le, false, 7, 3, 2, segment32(le, "__TEXT", "__text", 0, 0), command(le, 2, u32s(le, symbol, 1, names, 4)))
	}
	head := uint32(len(slice(0, 0)))
	for _, tt := range []struct {
		what          string
		name          uint32
		kind, section byte
		want          string
	}{
		{"name", 1, 0x0f, 1, ""},
		{"end of the names", 3, 0x0f, 1, ""},
		{"name outside", 4, 0x0f, 1, "name of a symbol"},
		{"no section", 1, 0x0f, 0, "section of a symbol"},
		{"section outside", 1, 0x0e, 2, "section of a symbol"},
		{"import", 1, 0x01, 0, ""},
		{"import from a section", 1, 0x01, 2, "section of a symbol"},
		{"stab", 1, 0x64, 9, ""},
	} {
		b := append(slice(head, head+12), u32s(le, tt.name, uint32(tt.kind)|uint32(tt.section)<<8, 0)...)
		got, err := parse(t, append(b, "\x00ab\x00"...)).Slices[0].Symbols()
		if err != nil || (got.Damage == nil) != (tt.want == "") || got.Damage != nil && !strings.HasPrefix(got.Damage.Error(), tt.want) {
			t.Errorf("%s: %+v, %v, want %q", tt.what, got, err, tt.want)
		}
		if placed := tt.kind&0xe0 == 0 && tt.kind&0x0e == 0x0e; got.Defined != placed {
			t.Errorf("%s: defined %t, want %t", tt.what, got.Defined, placed)
		}
	}
}

func TestSectionBounds(t *testing.T) {
	le := binary.LittleEndian
	// A segment of 0x40 bytes at address 0x1000, with one section, in a slice of 0x100 bytes.
	slice := func(fileType, address, size, off, kind uint32) *macho.Slice {
		b := thin(le, false, 7, 0, fileType, command(le, 1, name16("__DATA"), u32s(le, 0x1000, 0x40, 0, 0x40, 7, 7, 1, 0),
			name16("__data"), name16("__DATA"), u32s(le, address, size, off, 0, 0, 0, kind, 0, 0)))
		return &parse(t, append(b, make([]byte, 0x100-len(b))...)).Slices[0]
	}
	for _, tt := range []struct {
		name string
		in   *macho.Slice
		want error
	}{
		{"inside", slice(2, 0x1000, 0x40, 0xc0, 0), nil},
		{"in the load commands", slice(2, 0x1000, 0x40, 0x20, 0), macho.ErrHeader},
		{"in the load commands of its image", slice(10, 0x1000, 0x40, 0x20, 0), nil},
		{"past the slice", slice(2, 0x1000, 0x40, 0xc1, 0), macho.ErrTruncated},
		{"past the slice, of zeros", slice(2, 0x1000, 0x40, 0xc1, 1), nil},
		{"past the slice, in a dSYM", slice(10, 0x1000, 0x40, 0xc1, 0), nil},
		{"before its segment", slice(2, 0xfff, 0x40, 0xc0, 0), macho.ErrHeader},
		{"past its segment", slice(2, 0x1001, 0x40, 0xc0, 0), macho.ErrHeader},
		{"far past its segment", slice(2, 0x2000, 1, 0xc0, 0), macho.ErrHeader},
		{"at the end without content", slice(2, 0x2000, 0, 0, 0), nil},
	} {
		if err := tt.in.CheckBounds(); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: CheckBounds = %v, want %v", tt.name, err, tt.want)
		}
	}
	// Relocations of a section of a dSYM without content; the slice ends with its load commands.
	for _, tt := range []struct {
		off, count uint32
		want       error
	}{{0, 0, nil}, {0x40, 0x100, macho.ErrTruncated}, {0x1000, 0, macho.ErrTruncated}, {0, 1, macho.ErrHeader}} {
		b := thin(le, false, 7, 0, 10, command(le, 1, name16("__DATA"), u32s(le, 0, 0x40, 0, 0, 7, 7, 1, 0),
			name16("__data"), name16("__DATA"), u32s(le, 0, 0x40, 0, 0, tt.off, tt.count, 0, 0, 0)))
		if err := parse(t, b).Slices[0].CheckBounds(); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%d relocations at %#x: CheckBounds = %v, want %v", tt.count, tt.off, err, tt.want)
		}
	}
	info := parse(t, append(thin(le, false, 7, 3, 2, command(le, 0x80000022, u32s(le, 0, 0, 0, 0, 0, 0, 0, 0, 70, 20))), make([]byte, 10)...))
	if err := info.Slices[0].CheckBounds(); !errors.Is(err, macho.ErrTruncated) || !strings.HasPrefix(err.Error(), "export information") {
		t.Errorf("export information past the end: CheckBounds = %v", err)
	}
}

func FuzzParse(f *testing.F) {
	le := binary.LittleEndian
	f.Add(fixture(f, "demo"))
	f.Add(fixture(f, "demo.dwarf"))
	a := thin(le, true, 0x01000007, 3, 6, uuid(le, "aaaaaaaaaaaaaaaa"))
	f.Add(fat(0xcafebabe, a, thin(le, false, 7, 0, 6, segment32(le, "__DWARF", "__debug_info", 28, 40))))
	f.Add(fat(0xcafebabf, a))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := macho.Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for i := range file.Slices {
			s := &file.Slices[i]
			if s.Offset < 0 || s.Size < 0 || s.Offset+s.Size > int64(len(b)) {
				t.Fatalf("slice %d at %d+%d of %d bytes", i, s.Offset, s.Size, len(b))
			}
			if len(s.Sections)*68 > len(b) {
				t.Fatalf("%d sections from %d bytes", len(s.Sections), len(b))
			}
			s.CheckBounds()
			s.Symbols()
			s.HasUnwind()
			s.CheckPacked()
			if facts, err := dwarf.Walk(s, ""); err == nil && facts.Units == 0 && len(facts.Faults) == 0 && len(s.DebugSections("info")) > 0 {
				t.Fatal("no units and no fault")
			}
			s.Dwarf()
		}
	})
}
