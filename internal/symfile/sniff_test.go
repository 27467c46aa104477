package symfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"symkeep/internal/symfile"
	"symkeep/internal/symfile/symfiletest"
)

func TestSniff(t *testing.T) {
	mz := func(sig string) []byte {
		b := make([]byte, 0x80)
		copy(b, "MZ")
		b[0x3c] = 0x40
		copy(b[0x40:], sig)
		return b
	}
	coff := make([]byte, 100)
	binary.LittleEndian.PutUint16(coff, 0x8664)
	coff[2] = 2
	noRoom := bytes.Clone(coff)
	noRoom[2] = 200 // sections that do not fit
	bigobj := []byte("\x00\x00\xff\xff\x02\x00\x64\x86" + strings.Repeat("\x00", 40))
	tar := make([]byte, 512)
	copy(tar[257:], "ustar\x00")
	pdb := symfiletest.PDB{}.Bytes()
	for _, tt := range []struct {
		name string
		in   []byte
		want symfile.Format
	}{
		{"nothing", nil, symfile.Empty},
		{"one zero", []byte{0}, symfile.Unknown},
		{"zeros", make([]byte, 4096), symfile.Unknown},
		{"text", []byte("read me"), symfile.Unknown},
		{"PDB", pdb, symfile.PDB7},
		{"PDB without CR", bytes.ReplaceAll(pdb, []byte("\r\n"), []byte("\n")), symfile.MangledPDB},
		{"PDB with CR CR", bytes.ReplaceAll(pdb, []byte("\n"), []byte("\r\n")), symfile.MangledPDB},
		{"PDB 2.0", symfiletest.PDB2(1, 1), symfile.PDB2},
		{"portable PDB", symfiletest.PortablePDB{}.Bytes(), symfile.Metadata},
		{"MSFZ", []byte("Microsoft MSFZ Container\r\n\x1aALD\x00\x00"), symfile.MSFZ},
		{"PE", symfiletest.PE{}.Bytes(), symfile.PE},
		{"MZ alone", []byte("MZ"), symfile.PE},
		{"MZ that points outside", append(mz("")[:0x3c], 0, 0, 0, 0x7f), symfile.PE},
		{"NE", mz("NE"), symfile.DOS},
		{"LE", mz("LE"), symfile.DOS},
		{"ELF", []byte("\x7fELF\x07"), symfile.ELF},
		{"Mach-O", []byte("\xcf\xfa\xed\xfe"), symfile.MachO},
		{"fat", []byte("\xca\xfe\xba\xbe\x00\x00\x00\x02"), symfile.FatMachO},
		{"fat with an absurd count", []byte("\xca\xfe\xba\xbe\x40\x00\x00\x00"), symfile.FatMachO},
		{"fat64", []byte("\xca\xfe\xba\xbf\x00\x00\x00\x02"), symfile.FatMachO},
		{"Java class", []byte("\xca\xfe\xba\xbe\x00\x00\x00\x34"), symfile.Unknown},
		{"Breakpad", []byte("MODULE Linux x86_64 0 a"), symfile.Breakpad},
		{"map of ReadyToRun code", []byte("FFFFFFFF 00 734d59d6\n"), symfile.PerfMap},
		{"hex text", []byte("FFFFFFFF 01 734d59d6\n"), symfile.Unknown},
		{"wasm", []byte("\x00asm\x01\x00\x00\x00"), symfile.Wasm},
		{"DBG", []byte("DI\x00\x00\x4c\x01\x00\x00"), symfile.DBG},
		{"DI of no machine", []byte("DIARY..."), symfile.Unknown},
		{"object", coff, symfile.ObjectCOFF},
		{"object that does not fit", noRoom, symfile.Unknown},
		{"bigobj", bigobj, symfile.ObjectCOFF},
		{"library", []byte("!<arch>\n/               "), symfile.Archive},
		{"deb", []byte("!<arch>\ndebian-binary   "), symfile.Deb},
		{"tar", tar, symfile.Tar},
		{"zip", []byte("PK\x03\x04"), symfile.Zip},
		{"gzip", []byte("\x1f\x8b\x08"), symfile.Gzip},
		{"cabinet", []byte("MSCF\x00\x00\x00\x00"), symfile.Cabinet},
		{"LFS", []byte("version https://git-lfs.github.com/spec/v1\r\n"), symfile.LFSPointer},
		{"bitcode symbol map", []byte("BCSymbolMap Version: 2.0\n_main\n"), symfile.BitcodeMap},
		{"minidump", []byte("MDMP\x93\xa7"), symfile.Minidump},
		{"HTML", []byte("\xef\xbb\xbf \r\n<!doctype html>"), symfile.Markup},
		{"Fortran", []byte("MODULE char_test\n  CONTAINS"), symfile.Unknown},
		{"Fortran with a comment", []byte("MODULE m ! holds everything else\n"), symfile.Unknown},
		{"linker script", []byte("/* GNU ld script\n*/\nOUTPUT_FORMAT(elf64-x86-64)"), symfile.LinkerScript},
		{"linker script of one line", []byte("INPUT(libncurses.so.6 -ltinfo)"), symfile.LinkerScript},
		{"comment", []byte("/* INPUT(x) */ int main(void)"), symfile.Unknown},
		{"JSON", []byte(`{"error"`), symfile.Markup},
		{"mdb", []byte("\x14\xa6\x7f\xfd\x23\x26\xe8\x45"), symfile.MonoMDB},
	} {
		got, err := symfile.Sniff(bytes.NewReader(tt.in), int64(len(tt.in)))
		if err != nil || got != tt.want {
			t.Errorf("Sniff(%s) = %d, %v; want %d", tt.name, got, err, tt.want)
		}
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

func TestSniffReadError(t *testing.T) {
	if _, err := symfile.Sniff(failing{}, 10); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Sniff of a failing reader: error = %v, want that of the reader", err)
	}
}

func TestRead(t *testing.T) {
	kind := errors.New("kind")
	r := strings.NewReader("0123456789")
	if b, err := symfile.Read(r, 10, 4, 6, "tail", kind); err != nil || string(b) != "456789" {
		t.Errorf("Read(4, 6) = %q, %v", b, err)
	}
	for _, tt := range [][2]int64{{-1, 1}, {0, -1}, {5, 6}, {11, 0}, {1 << 62, 1 << 62}, {4, 1<<63 - 1}} {
		_, err := symfile.Read(r, 10, tt[0], tt[1], "x", kind)
		var fe *symfile.FormatError
		if !errors.Is(err, kind) || !errors.As(err, &fe) {
			t.Errorf("Read(%d, %d) error = %v, want a FormatError of its kind", tt[0], tt[1], err)
		}
	}
}

func FuzzSniff(f *testing.F) {
	f.Add(symfiletest.PE{}.Bytes())
	f.Add([]byte("\xca\xfe\xba\xbe\x00\x00\x00\x34"))
	f.Add([]byte("!<arch>\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := symfile.Sniff(bytes.NewReader(b), int64(len(b))); err != nil {
			t.Errorf("Sniff of bytes in memory: %v", err)
		}
	})
}
