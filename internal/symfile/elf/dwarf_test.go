package elf_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"symkeep/internal/symfile/elf"
)

func TestUnitsOfFixtures(t *testing.T) {
	for _, tt := range []struct {
		name      string
		skeletons int
		ids       []uint64 // as readelf prints them
	}{
		{"tiny.so", 0, nil},
		{"tiny.debug", 0, nil},
		{"tiny.zlib.debug", 0, nil},
		{"tiny.zlib-gnu.debug", 0, nil},
		{"tiny.zstd.debug", 0, nil},
		{"tiny.mips", 0, nil},
		{"split5.so", 1, []uint64{0x4f268446686eae5}},
		{"split4.so", 1, []uint64{0xc6a02d690ea6f237}},
		{"split5.dwo", 0, []uint64{0x4f268446686eae5}},
		{"split4.dwo", 0, []uint64{0xc6a02d690ea6f237}},
	} {
		f := parse(t, fixture(t, tt.name))
		info := f.DebugInfo()
		if info == nil {
			info = f.SplitUnits()
		}
		u, err := f.Units(info)
		if err != nil || u.Count != 1 || u.Skeletons != tt.skeletons || !slices.Equal(u.DWOIDs, tt.ids) {
			t.Errorf("%s: Units = %+v, %v; want 1 unit, %d skeletons, ids %x", tt.name, u, err, tt.skeletons, tt.ids)
		}
		if first, err := f.FirstUnit(info); err != nil || first.Count != 1 {
			t.Errorf("%s: FirstUnit = %+v, %v", tt.name, first, err)
		}
	}
	dwp := parse(t, fixture(t, "split5.dwp"))
	ids, err := dwp.DWPUnits()
	if err != nil || !slices.Equal(ids, []uint64{0x4f268446686eae5}) || !dwp.DWP() {
		t.Errorf("DWPUnits = %x, %v, want the id of split5.so", ids, err)
	}
}

// unit4 is a unit of DWARF 4 whose root has abbreviation code, and no attributes.
func unit4(code byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 8)
	return append(b, 4, 0, 0, 0, 0, 0, 8, code)
}

// abbrev1 declares code 1 without attributes.
var abbrev1 = []byte{1, 0x11, 0, 0, 0, 0}

func withDWARF(info, abbrev []byte) image {
	return image{sects: []sect{{name: ".debug_info", data: info}, {name: ".debug_abbrev", data: abbrev}}}
}

func TestUnits(t *testing.T) {
	good := unit4(1)
	edit := func(i int, v byte) []byte { b := bytes.Clone(good); b[i] = v; return b }
	long := append([]byte{0xff, 0xff, 0xff, 0xff, 12, 0, 0, 0, 0, 0, 0, 0}, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 1)
	for _, tt := range []struct {
		name string
		info []byte
		want int // units, or -1 for ErrDWARF
		text string
	}{
		{"one", good, 1, ""},
		{"two", slices.Concat(good, good), 2, ""},
		{"64-bit", slices.Concat(long, good), 2, ""},
		{"zero padding", slices.Concat(good, make([]byte, 3)), 1, ""},
		{"other padding", slices.Concat(good, []byte{0, 1}), -1, "2 bytes left"},
		{"version 1", edit(4, 1), -1, "version 1"},
		{"version 6", edit(4, 6), -1, "version 6"},
		{"past the end", edit(0, 9), -1, "unit length 0x9"},
		{"shorter", edit(0, 1), -1, "unit length 0x1"},
		{"address size", edit(10, 3), -1, "address size 3"},
		{"abbreviation offset", edit(6, 6), -1, "abbreviation offset 0x6"},
		{"abbreviation code", edit(11, 9), -1, "abbreviation code 9"},
		{"reserved length", []byte{0xf0, 0xff, 0xff, 0xff, 0, 0, 0, 0}, -1, "0xfffffff0"},
		{"second unit damaged", slices.Concat(good, edit(4, 9)), -1, "version 9"},
		{"second unit's code is not looked at", slices.Concat(good, edit(11, 9)), 2, ""},
	} {
		f := parse(t, withDWARF(tt.info, abbrev1).bytes())
		u, err := f.Units(f.DebugInfo())
		switch {
		case tt.want < 0 && (!errors.Is(err, elf.ErrDWARF) || !strings.Contains(err.Error(), tt.text)):
			t.Errorf("%s: Units error = %v, want ErrDWARF with %q", tt.name, err, tt.text)
		case tt.want >= 0 && (err != nil || u.Count != tt.want):
			t.Errorf("%s: Units = %+v, %v, want %d units", tt.name, u, err, tt.want)
		}
	}
	f := parse(t, image{sects: []sect{{name: ".debug_info", data: good}}}.bytes())
	if _, err := f.Units(f.DebugInfo()); !errors.Is(err, elf.ErrDWARF) {
		t.Errorf("Units without abbreviations: error = %v, want ErrDWARF", err)
	}
	rel := withDWARF(edit(11, 9), abbrev1)
	rel.kind = 1
	rel.sects = append(rel.sects, sect{name: ".rela.debug_info", kind: 4, data: make([]byte, 24)})
	f = parse(t, rel.bytes())
	if u, err := f.Units(f.DebugInfo()); err != nil || u.Count != 1 {
		t.Errorf("Units of an object = %+v, %v; its abbreviations wait for relocation", u, err)
	}
}

// TestUnitsSkip walks units far larger than any buffer, and wants most bytes
// unread.
func TestUnitsSkip(t *testing.T) {
	const body = 3 << 20
	head := binary.LittleEndian.AppendUint32(nil, 8+body)
	one := append(append(head, unit4(1)[4:]...), make([]byte, body)...)
	b := withDWARF(slices.Concat(one, one, one), abbrev1).bytes()
	r := &counter{r: bytes.NewReader(b)}
	f, err := elf.Parse(r, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	u, err := f.Units(f.DebugInfo())
	if err != nil || u.Count != 3 {
		t.Fatalf("Units = %+v, %v, want 3 units", u, err)
	}
	if r.n > 4<<20 {
		t.Errorf("read %d of %d bytes, want at most 4 MiB", r.n, len(b))
	}
}

type counter struct {
	r io.ReaderAt
	n int
}

func (c *counter) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.n += n
	return n, err
}

func zlibOf(b []byte) []byte {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// chdr is an Elf64_Chdr.
func chdr(kind uint32, size int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(kind))
	b = binary.LittleEndian.AppendUint64(b, uint64(size))
	return binary.LittleEndian.AppendUint64(b, 1)
}

func TestOpen(t *testing.T) {
	data := bytes.Repeat([]byte("some debug data "), 100)
	enc, _ := zstd.NewWriter(nil)
	zs := enc.EncodeAll(data, nil)
	z := zlibOf(data)
	n := len(data)
	gnu := binary.BigEndian.AppendUint64([]byte("ZLIB"), uint64(n))
	chdr32 := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32([]byte{1, 0, 0, 0}, uint32(n)), 1)
	flip := func(b []byte, i int) []byte { c := bytes.Clone(b); c[i] ^= 0xff; return c }
	for _, tt := range []struct {
		name  string
		class byte
		s     sect
		ok    bool
		text  string
	}{
		{"stored", 2, sect{name: ".debug_str", data: data}, true, ""},
		{"zlib", 2, sect{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr(1, n), z)}, true, ""},
		{"zlib, 32-bit", 1, sect{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr32, z)}, true, ""},
		{"zstd", 2, sect{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr(2, n), zs)}, true, ""},
		{"zstd, two frames", 2, sect{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr(2, n), enc.EncodeAll(data[:50], nil), enc.EncodeAll(data[50:], nil))}, true, ""},
		{"zdebug", 2, sect{name: ".zdebug_str", data: slices.Concat(gnu, z)}, true, ""},
		{"unknown type", 2, sect{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr(99, n), z)}, false, "compression type 99"},
		{"no head", 2, sect{name: ".debug_str", flags: 0x800, data: []byte("short")}, false, "5 bytes"},
		{"zdebug without magic", 2, sect{name: ".zdebug_str", data: slices.Concat([]byte("ZLIX"), make([]byte, 20))}, false, `wanted "ZLIB"`},
		{"size too small", 2, sect{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr(1, n-1), z)}, false, "more bytes"},
		{"size too large", 2, sect{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr(1, n+1), z)}, false, "1600 bytes, wanted the announced 1601"},
		{"absurd size", 2, sect{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr(1, 1<<40), z)}, false, "announced size"},
		{"absurd ratio", 2, sect{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr(1, 1<<30), z)}, false, "announced size"},
		{"damaged zlib head", 2, sect{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr(1, n), flip(z, 0))}, false, "zlib"},
		{"damaged zlib data", 2, sect{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr(1, n), flip(z, 10))}, false, ""},
		{"damaged zlib checksum", 2, sect{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr(1, n), flip(z, len(z)-1))}, false, "checksum"},
		{"damaged zstd", 2, sect{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr(2, n), flip(zs, 4))}, false, ""},
		{"cut zlib", 2, sect{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr(1, n), z[:len(z)/2])}, false, ""},
		{"zstd with a huge window", 2, sect{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr(2, n), []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0xa8, 1, 0, 0})}, false, ""},
	} {
		f := parse(t, image{class: tt.class, sects: []sect{tt.s}}.bytes())
		got, err := readAll(f, &f.Sections[1])
		switch {
		case tt.ok && (err != nil || !bytes.Equal(got, data)):
			t.Errorf("%s: got %d bytes, %v; want %d", tt.name, len(got), err, n)
		case !tt.ok && (!errors.Is(err, elf.ErrCompressed) || !strings.Contains(err.Error(), tt.text)):
			t.Errorf("%s: error = %v, want ErrCompressed with %q", tt.name, err, tt.text)
		}
	}
}

func readAll(f *elf.File, s *elf.Section) ([]byte, error) {
	r, _, err := f.Open(s)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestCompressionOfFixtures(t *testing.T) {
	want, err := readAll(parse(t, fixture(t, "tiny.debug")), parse(t, fixture(t, "tiny.debug")).DebugInfo())
	if err != nil {
		t.Fatal(err)
	}
	for name, how := range map[string]elf.Compression{"tiny.zlib.debug": elf.Zlib, "tiny.zlib-gnu.debug": elf.GNUZlib, "tiny.zstd.debug": elf.Zstd} {
		f := parse(t, fixture(t, name))
		got, size, err := f.Compression(f.DebugInfo())
		if err != nil || got != how || size != uint64(len(want)) {
			t.Errorf("%s: Compression = %v, %d, %v; want %v, %d", name, got, size, err, how, len(want))
		}
		if b, err := readAll(f, f.DebugInfo()); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s: .debug_info unpacks to %d bytes, %v; want those of tiny.debug", name, len(b), err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"tiny.so", "tiny.zlib.debug", "tiny.zlib-gnu.debug", "tiny.zstd.debug", "tiny.mips", "split4.so", "split5.dwp", "alt.so", "tiny.stripped"} {
		f.Add(fixture(f, name))
	}
	f.Add(withDWARF(unit4(1), abbrev1).bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := elf.Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if n := len(file.Sections)*40 + len(file.Segments)*32; n > len(b)*2 {
			t.Fatalf("%d sections and %d segments from %d bytes", len(file.Sections), len(file.Segments), len(b))
		}
		file.CheckBounds()
		file.Identity()
		file.DebugLink()
		file.AltLink()
		file.DWPUnits()
		file.Object()
		file.Executable()
		file.LTOBytes()
		for i := range file.Sections {
			s := &file.Sections[i]
			if int(file.Raw(s).Size()) > len(b) {
				t.Fatalf("section %d is larger than the file", i)
			}
			if s == file.DebugInfo() || s == file.SplitUnits() {
				if u, err := file.Units(s); err == nil && u.Count == 0 {
					t.Fatal("no units and no error")
				}
			}
			if s.Compressed() {
				if r, _, err := file.Open(s); err == nil {
					io.Copy(io.Discard, io.LimitReader(r, 1<<22))
					r.Close()
				}
			}
		}
	})
}
