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

	"symkeep/internal/symfile/dwarf"
	"symkeep/internal/symfile/elf"
)

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
		if sound := tt.ok && f.Sections[1].Compressed(); f.Sound(&f.Sections[1]) != sound {
			t.Errorf("%s: sound = %v after all was read, want %v", tt.name, !sound, sound)
		}
	}
}

// TestSound: who reads a part, or unpacks beside the end, knows nothing of the rest.
func TestSound(t *testing.T) {
	data := bytes.Repeat([]byte("some debug data "), 1000)
	bad := zlibOf(data)
	bad[len(bad)-1] ^= 1
	for _, tt := range []struct {
		name   string
		packed []byte
		read   int
		sound  bool
	}{
		{"a part", zlibOf(data), len(data) - 1, false},
		{"to the last byte", zlibOf(data), len(data), true},
		{"to the last byte, checksum damaged", bad, len(data), false},
	} {
		f := parse(t, image{class: 2, sects: []sect{{name: ".debug_str", flags: 0x800, data: slices.Concat(chdr(1, len(data)), tt.packed)}}}.bytes())
		r, _, err := f.Open(&f.Sections[1])
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.ReadFull(r, make([]byte, tt.read)); n != tt.read || err != nil && tt.sound {
			t.Errorf("%s: read %d, %v", tt.name, n, err)
		}
		r.Close()
		if got := f.Sound(&f.Sections[1]); got != tt.sound {
			t.Errorf("%s: sound = %v, want %v", tt.name, got, tt.sound)
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
	for _, name := range []string{"tiny.so", "tiny.zlib.debug", "tiny.zlib-gnu.debug", "tiny.zstd.debug", "tiny.mips", "split4.so", "split5.dwp", "alt.so", "tiny.stripped", "tiny.mini", "tiny.ko"} {
		f.Add(fixture(f, name))
	}
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
		file.Object()
		file.Executable()
		file.LTOBytes()
		file.HasFunctions()
		file.Mini()
		for _, suffix := range []string{"", ".dwo"} {
			if u, err := dwarf.Walk(file, suffix); err == nil && u.Units == 0 && len(u.Faults) == 0 && len(file.DebugSections("info"+suffix)) > 0 {
				t.Fatal("no units and no fault")
			}
		}
		for i := range file.Sections {
			s := &file.Sections[i]
			if int(file.Raw(s).Size()) > len(b) {
				t.Fatalf("section %d is larger than the file", i)
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
