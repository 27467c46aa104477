package elf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"symkeep/internal/symfile"
	"symkeep/internal/symfile/elf"
	"symkeep/internal/symid"
)

// The ids are what readelf prints for the fixtures.
const (
	tinyID = "73a9d786065a824045e602818939a32deb15d8a7"
	mipsID = "e9b648c66e4806fbd2eb2d36d994fee34ba0bb56"
)

func TestFixtures(t *testing.T) {
	for _, tt := range []struct {
		name                    string
		id                      string
		arch                    string
		exe, debug, dwarf, half bool
	}{
		{"tiny.so", tinyID, "x64", true, true, true, false},
		{"tiny.debug", tinyID, "x64", false, true, true, true},
		{"tiny.zlib.debug", tinyID, "x64", false, true, true, true},
		{"tiny.zlib-gnu.debug", tinyID, "x64", false, true, true, true},
		{"tiny.zstd.debug", tinyID, "x64", false, true, true, true},
		{"tiny.stripped", tinyID, "x64", true, false, false, false},
		{"tiny.symtab", tinyID, "x64", true, true, false, false},
		{"tiny.empty.debug", tinyID, "x64", false, false, false, true},
		{"tiny.mips", mipsID, "mips", true, true, true, false},
	} {
		f := parse(t, fixture(t, tt.name))
		id, err := f.Identity()
		if err != nil || len(id.BuildIDs) != 1 || id.BuildIDs[0].String() != tt.id || id.Damage != nil {
			t.Errorf("%s: Identity = %v, %v, want %s", tt.name, id, err, tt.id)
		}
		if f.Arch() != tt.arch {
			t.Errorf("%s: Arch = %s, want %s", tt.name, f.Arch(), tt.arch)
		}
		if f.Executable() != tt.exe || f.Debuginfo() != tt.debug || (f.DebugInfo() != nil) != tt.dwarf || f.SplitDebug() != tt.half {
			t.Errorf("%s: executable %t, debuginfo %t, dwarf %t, half %t; want %t, %t, %t, %t", tt.name,
				f.Executable(), f.Debuginfo(), f.DebugInfo() != nil, f.SplitDebug(), tt.exe, tt.debug, tt.dwarf, tt.half)
		}
		if f.Object() || f.KernelModule() || f.GoProgram() || f.DWP() {
			t.Errorf("%s: taken for an object, a module, a Go program or a .dwp", tt.name)
		}
		if err := f.CheckBounds(); err != nil {
			t.Errorf("%s: CheckBounds = %v", tt.name, err)
		}
	}
	if f := parse(t, fixture(t, "tiny.mips")); !f.BigEndian() || f.Class != elf.Class32 {
		t.Errorf("tiny.mips: class %d, big-endian %t", f.Class, f.BigEndian())
	}
}

func TestRoles(t *testing.T) {
	text := sect{name: ".text", flags: 6, data: []byte{0xc3}}
	symtab := sect{name: ".symtab", kind: 2, data: make([]byte, 24)}
	info := sect{name: ".debug_info", data: make([]byte, 16)}
	for _, tt := range []struct {
		name               string
		im                 image
		exe, debug, object bool
	}{
		{"object", image{kind: 1, sects: []sect{text, symtab}}, false, true, true},
		{"module", image{kind: 1, sects: []sect{text, symtab, {name: ".modinfo", data: []byte("a")}}}, true, true, false},
		{"module debug", image{kind: 1, sects: []sect{{name: ".text", kind: 8, flags: 6, size: 9}, info, {name: ".gnu.linkonce.this_module", kind: 8, size: 64}}}, false, true, false},
		{"dwz", image{kind: 1, sects: []sect{info}}, false, true, false},
		{"dwo", image{kind: 1, sects: []sect{{name: ".debug_info.dwo", data: []byte{1}}}}, false, false, false},
		{"data only", image{sects: []sect{{name: ".data", flags: 3, data: []byte{1}}}}, true, false, false},
		{"data only, half", image{sects: []sect{{name: ".data", kind: 8, flags: 3, size: 1}}}, false, false, false},
	} {
		f := parse(t, tt.im.bytes())
		if f.Executable() != tt.exe || f.Debuginfo() != tt.debug || f.Object() != tt.object {
			t.Errorf("%s: executable %t, debuginfo %t, object %t; want %t, %t, %t", tt.name,
				f.Executable(), f.Debuginfo(), f.Object(), tt.exe, tt.debug, tt.object)
		}
	}
}

// TestDamage flips one field at a time of a good file.
func TestDamage(t *testing.T) {
	le := binary.LittleEndian
	size := len(fixture(t, "tiny.so"))
	for _, tt := range []struct {
		name string
		edit func([]byte) []byte
		want error
		text string // of the message
	}{
		{"magic", func(b []byte) []byte { b[0] = 0; return b }, elf.ErrHeader, "magic"},
		{"class", func(b []byte) []byte { b[4] = 7; return b }, elf.ErrHeader, "found 7, wanted 1 or 2"},
		{"data", func(b []byte) []byte { b[5] = 3; return b }, elf.ErrHeader, "data encoding"},
		{"version", func(b []byte) []byte { b[6] = 0; return b }, elf.ErrHeader, "version"},
		{"e_version", func(b []byte) []byte { b[20] = 2; return b }, elf.ErrHeader, "version"},
		{"ehsize", func(b []byte) []byte { le.PutUint16(b[52:], 52); return b }, elf.ErrHeader, "e_ehsize"},
		{"phentsize", func(b []byte) []byte { le.PutUint16(b[54:], 1); return b }, elf.ErrHeader, "e_phentsize"},
		{"shentsize", func(b []byte) []byte { le.PutUint16(b[58:], 0); return b }, elf.ErrHeader, "e_shentsize"},
		{"shstrndx", func(b []byte) []byte { le.PutUint16(b[62:], 999); return b }, elf.ErrHeader, "e_shstrndx"},
		{"shoff", func(b []byte) []byte { le.PutUint64(b[40:], uint64(size)); return b }, elf.ErrTruncated, "section header table"},
		{"shoff overflow", func(b []byte) []byte { le.PutUint64(b[40:], math.MaxUint64-8); return b }, elf.ErrTruncated, "section header table"},
		{"phoff", func(b []byte) []byte { le.PutUint64(b[32:], math.MaxUint64); return b }, elf.ErrTruncated, "program header table"},
		{"section count", func(b []byte) []byte {
			le.PutUint16(b[60:], 0)
			le.PutUint64(b[le.Uint64(b[40:])+32:], 1<<40)
			return b
		}, elf.ErrHeader, "number of sections"},
		{"half", func(b []byte) []byte { return b[:size/2] }, elf.ErrTruncated, "section header table"},
		{"40 bytes", func(b []byte) []byte { return b[:40] }, elf.ErrTruncated, "ELF header"},
		{"60 bytes", func(b []byte) []byte { return b[:60] }, elf.ErrTruncated, "ELF header"},
	} {
		b := tt.edit(bytes.Clone(fixture(t, "tiny.so")))
		_, err := elf.Parse(bytes.NewReader(b), int64(len(b)))
		var fe *symfile.FormatError
		if !errors.Is(err, tt.want) || !errors.As(err, &fe) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: Parse error = %v, want %v with %q", tt.name, err, tt.want, tt.text)
		}
	}
}

// TestExtendedNumbering moves the counts to section 0, as files with 65280
// sections and more have them.
func TestExtendedNumbering(t *testing.T) {
	b := bytes.Clone(fixture(t, "tiny.so"))
	le := binary.LittleEndian
	shoff := le.Uint64(b[40:])
	want := parse(t, fixture(t, "tiny.so"))
	le.PutUint64(b[shoff+32:], uint64(le.Uint16(b[60:]))) // sh_size: sections
	le.PutUint32(b[shoff+40:], uint32(le.Uint16(b[62:]))) // sh_link: names
	le.PutUint32(b[shoff+44:], uint32(le.Uint16(b[56:]))) // sh_info: segments
	le.PutUint16(b[60:], 0)
	le.PutUint16(b[62:], 0xffff)
	le.PutUint16(b[56:], 0xffff)
	f := parse(t, b)
	if len(f.Sections) != len(want.Sections) || len(f.Segments) != len(want.Segments) || f.Section(".text") == nil {
		t.Errorf("got %d sections, %d segments; want %d, %d", len(f.Sections), len(f.Segments), len(want.Sections), len(want.Segments))
	}
}

func TestSections(t *testing.T) {
	f := parse(t, fixture(t, "tiny.so"))
	s := f.Section(".text")
	if s == nil || s.Offset != 0x2b0 || s.Size != 0x50 || s.Addr != 0x2b0 || !s.Executable() || !s.Allocated() {
		t.Fatalf("Section(.text) = %+v", s)
	}
	raw := make([]byte, s.Size)
	if n, _ := f.Raw(s).ReadAt(raw, 0); n != len(raw) || !bytes.Equal(raw, fixture(t, "tiny.so")[0x2b0:0x300]) {
		t.Errorf("Raw(.text) gave %d bytes, or others than the file has", n)
	}
	if f.Section(".tex") != nil || f.Section("") != nil {
		t.Error("a section was found under a name it does not have")
	}
	half := parse(t, fixture(t, "tiny.debug"))
	if s := half.Section(".text"); s == nil || s.Type != elf.SectionNoBits || s.HasContent() || half.Raw(s).Size() != 0 {
		t.Errorf("tiny.debug: Section(.text) = %+v, want one without content", s)
	}
	packed := parse(t, fixture(t, "tiny.zlib.debug"))
	s = packed.DebugInfo()
	head := make([]byte, 4)
	if packed.Raw(s).ReadAt(head, 0); head[0] != 1 || packed.Raw(s).Size() != int64(s.Size) {
		t.Errorf("Raw of a compressed section starts with % x, want its compression header", head)
	}
}

func TestCheckBounds(t *testing.T) {
	im := image{sects: []sect{{name: ".text", data: []byte{1}}, {name: ".bss", kind: 8, size: 1 << 60}}}
	if err := parse(t, im.bytes()).CheckBounds(); err != nil {
		t.Errorf("CheckBounds = %v for a large section without content", err)
	}
	im.sects = append(im.sects, sect{name: ".data", data: []byte{1}, size: math.MaxUint64 - 3})
	if err := parse(t, im.bytes()).CheckBounds(); !errors.Is(err, elf.ErrTruncated) || !strings.Contains(err.Error(), ".data") {
		t.Errorf("CheckBounds = %v, want ErrTruncated for .data", err)
	}
}

func TestLinks(t *testing.T) {
	l, err := parse(t, fixture(t, "tiny.stripped")).DebugLink()
	if err != nil || l == nil || l.Name != "tiny.debug" || l.CRC != 0xb356104c {
		t.Errorf("DebugLink = %+v, %v, want tiny.debug b356104c", l, err)
	}
	a, err := parse(t, fixture(t, "alt.so")).AltLink()
	if err != nil || a == nil || a.Name != "dwz/tiny.debug" || a.BuildID.String() != tinyID {
		t.Errorf("AltLink = %+v, %v, want dwz/tiny.debug %s", a, err, tinyID)
	}
	be := image{order: binary.BigEndian, sects: []sect{{name: ".gnu_debuglink", data: []byte("a.debug\x00\x01\x02\x03\x04")}}}
	if l, err := parse(t, be.bytes()).DebugLink(); err != nil || l.CRC != 0x01020304 {
		t.Errorf("big-endian DebugLink = %+v, %v", l, err)
	}
	for _, data := range []string{"\x00\x00\x00\x00abcd", "name", "name\x00", "name\x00\x00\x00\x00\x01\x02", strings.Repeat("a", 9000)} {
		im := image{sects: []sect{{name: ".gnu_debuglink", data: []byte(data)}, {name: ".gnu_debugaltlink", data: []byte(data)}}}
		if _, err := parse(t, im.bytes()).DebugLink(); !errors.Is(err, elf.ErrLink) {
			t.Errorf("DebugLink(%.20q) error = %v, want ErrLink", data, err)
		}
	}
	if l, err := parse(t, fixture(t, "tiny.so")).DebugLink(); l != nil || err != nil {
		t.Errorf("DebugLink of a file without one = %v, %v", l, err)
	}
}

func TestDebugIDForms(t *testing.T) {
	id, _ := parse(t, fixture(t, "tiny.mips")).Identity()
	b := id.BuildIDs[0]
	if got := b.DebugID(binary.BigEndian).String(); got != "E9B648C66E4806FBD2EB2D36D994FEE30" {
		t.Errorf("DebugID = %s", got)
	}
	if symid.BuildID("").String() != "" {
		t.Error("an empty id prints")
	}
}
