// Package pe reads the headers of Windows executables: what identifies an image,
// what it says about its PDB, and what shows that it is whole. It reads PE32 and
// PE32+ of every machine, managed images, EFI programs and the .debug files that
// GNU objcopy splits off. It gives facts and leaves judgement to its caller.
//
// Reads are header-sized: 4 KiB, the section table, the debug directory and one
// record per entry. Nothing is allocated from a size the file declares before
// that size is compared with the file's. A File is safe for concurrent use.
//
// Source: Microsoft, "PE Format", sections "COFF File Header (Object and Image)",
// "Optional Header (Image Only)", "Section Table" and "Debug Directory (Image
// Only)"; .NET runtime, docs/design/specs/PE-COFF.md.
package pe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"symkeep/internal/symfile"
	"symkeep/internal/symid"
)

// Kinds of damage, tested with errors.Is. Errors are *symfile.FormatError and
// carry the offset, what was found and what was wanted.
var (
	ErrHeader   = errors.New("damaged PE header")
	ErrDebug    = errors.New("damaged debug directory")
	ErrEmbedded = errors.New("damaged embedded portable PDB")
	ErrCLR      = errors.New("damaged managed header")
	ErrSymbols  = errors.New("damaged symbol table")
	ErrUnwind   = errors.New("damaged unwind table")
	ErrTables   = errors.New("damaged table of the loader")
)

// Indexes into File.Dirs.
const (
	DirExport      = 0
	DirImport      = 1
	DirException   = 3 // .pdata: how to unwind
	DirCertificate = 4 // its address is a file offset
	DirDebug       = 6
	DirLoadConfig  = 10
	DirCLR         = 14
)

// symbolLen is the length of a row of the COFF symbol table.
const symbolLen = 18

// MaxSections is the most sections the Windows loader accepts; Open reads more.
const MaxSections = 96

// A Dir is one data directory.
type Dir struct {
	RVA  uint32
	Size uint32
}

// A Section is one row of the section table.
type Section struct {
	Name            string // long names (/NN) are resolved
	VirtualSize     uint32
	VirtualAddress  uint32
	RawSize         uint32
	RawOffset       uint32 // 0: no bytes in the file
	Characteristics uint32
}

// End returns the file offset just past the section's bytes, and 0 if it has none.
func (s Section) End() int64 {
	const uninitialized = 0x80
	if s.RawOffset == 0 || s.RawSize == 0 || s.Characteristics&uninitialized != 0 && s.Characteristics&0x60 == 0 {
		return 0
	}
	return int64(s.RawOffset) + int64(s.RawSize)
}

// A File holds the headers of one image.
type File struct {
	HeaderOff       int64 // of PE\0\0
	Machine         uint16
	Timestamp       uint32
	Characteristics uint16
	PE32Plus        bool
	ImageBase       uint64
	SizeOfImage     uint32
	SizeOfHeaders   uint32
	CheckSum        uint32
	CheckSumOff     int64
	Subsystem       uint16
	Dirs            [16]Dir
	Sections        []Section
	SymbolsOff      int64 // of the COFF symbol table; 0 if there is none
	SymbolCount     int64 // the string table follows its 18-byte rows

	longNames bool
	lostName  string // of a section, as it stands: what it refers to is not there
	r         io.ReaderAt
	size      int64
}

var le = binary.LittleEndian

// Open reads the headers of r, which holds size bytes. Errors wrap ErrHeader, or
// are those of r.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size}
	dos, err := symfile.Read(r, size, 0, 0x40, "DOS header", ErrHeader)
	if err != nil {
		return nil, err
	}
	if string(dos[:2]) != "MZ" {
		return nil, bad(0, "magic", fmt.Sprintf("%q", dos[:2]), `"MZ"`)
	}
	f.HeaderOff = int64(le.Uint32(dos[0x3c:]))
	coff, err := symfile.Read(r, size, f.HeaderOff, 24, "PE header", ErrHeader)
	if err != nil {
		return nil, err
	}
	if string(coff[:4]) != "PE\x00\x00" {
		return nil, bad(f.HeaderOff, "signature", fmt.Sprintf("%q", coff[:4]), `"PE\x00\x00"`)
	}
	f.Machine = le.Uint16(coff[4:])
	f.Timestamp = le.Uint32(coff[8:])
	f.Characteristics = le.Uint16(coff[22:])
	optSize := int64(le.Uint16(coff[20:]))
	if err := f.readOptional(optSize); err != nil {
		return nil, err
	}
	count := int64(le.Uint16(coff[6:]))
	if count == 0 {
		return nil, bad(f.HeaderOff+6, "number of sections", "0", "at least 1")
	}
	f.SymbolsOff, f.SymbolCount = int64(le.Uint32(coff[12:])), int64(le.Uint32(coff[16:]))
	return f, f.readSections(f.HeaderOff+24+optSize, count)
}

// strings returns where the COFF string table begins, 0 if there is none.
func (f *File) strings() int64 {
	if f.SymbolsOff == 0 {
		return 0
	}
	return f.SymbolsOff + symbolLen*f.SymbolCount
}

// SymbolsEnd returns the file offset just past the COFF symbol and string tables, and 0
// if there are none. It may lie past the end of the file.
// Source: PE format, "COFF String Table": its first four bytes are its size.
func (f *File) SymbolsEnd() int64 {
	at := f.strings()
	if at == 0 {
		return 0
	}
	var b [4]byte
	if n, _ := f.r.ReadAt(b[:], at); n < len(b) || at+4 > f.size {
		return at + 4
	}
	return at + max(4, int64(le.Uint32(b[:])))
}

// readOptional reads the optional header, which an image must have.
func (f *File) readOptional(n int64) error {
	off := f.HeaderOff + 24
	b, err := symfile.Read(f.r, f.size, off, n, "optional header", ErrHeader)
	if err != nil {
		return err
	}
	if n < 2 {
		return bad(f.HeaderOff+20, "size of the optional header", fmt.Sprint(n), "at least 96")
	}
	dirs := 92
	switch magic := le.Uint16(b); magic {
	case 0x10b:
	case 0x20b:
		f.PE32Plus, dirs = true, 108
	default:
		return bad(off, "optional header magic", fmt.Sprintf("%#x", magic), "0x10b or 0x20b")
	}
	if len(b) < dirs+4 {
		return bad(f.HeaderOff+20, "size of the optional header", fmt.Sprint(n), fmt.Sprintf("at least %d", dirs+4))
	}
	f.ImageBase = uint64(le.Uint32(b[28:]))
	if f.PE32Plus {
		f.ImageBase = le.Uint64(b[24:])
	}
	f.SizeOfImage = le.Uint32(b[56:])
	f.SizeOfHeaders = le.Uint32(b[60:])
	f.CheckSum, f.CheckSumOff = le.Uint32(b[64:]), off+64
	f.Subsystem = le.Uint16(b[68:])
	if f.SizeOfImage == 0 || f.SizeOfImage < f.SizeOfHeaders {
		return bad(off+56, "SizeOfImage", fmt.Sprintf("%#x", f.SizeOfImage), fmt.Sprintf("at least SizeOfHeaders %#x and not 0", f.SizeOfHeaders))
	}
	count := min(le.Uint32(b[dirs:]), uint32(len(f.Dirs)))
	for i := range int(count) {
		at := dirs + 4 + 8*i
		if at+8 > len(b) {
			return bad(off+int64(dirs), "number of data directories", fmt.Sprint(count), fmt.Sprintf("%d at most in a header of %d bytes", i, n))
		}
		f.Dirs[i] = Dir{le.Uint32(b[at:]), le.Uint32(b[at+4:])}
	}
	return nil
}

func (f *File) readSections(off, count int64) error {
	b, err := symfile.Read(f.r, f.size, off, 40*count, "section table", ErrHeader)
	if err != nil {
		return err
	}
	f.Sections = make([]Section, count)
	for i := range f.Sections {
		h := b[40*i:]
		f.Sections[i] = Section{
			Name:            f.sectionName(string(h[:8])),
			VirtualSize:     le.Uint32(h[8:]),
			VirtualAddress:  le.Uint32(h[12:]),
			RawSize:         le.Uint32(h[16:]),
			RawOffset:       le.Uint32(h[20:]),
			Characteristics: le.Uint32(h[36:]),
		}
	}
	return nil
}

// sectionName resolves "/123", an offset into the COFF string table, which follows
// the symbol table. What cannot be resolved stays as it is: names are not vital.
func (f *File) sectionName(raw string) string {
	strtab := f.strings()
	name := strings.TrimRight(raw, "\x00")
	digits, long := strings.CutPrefix(name, "/")
	off, err := strconv.ParseUint(digits, 10, 32)
	if !long || err != nil || strtab == 0 {
		return name
	}
	f.longNames = true
	var b [64]byte
	n, _ := f.r.ReadAt(b[:min(int64(len(b)), max(0, f.size-strtab-int64(off)))], strtab+int64(off))
	resolved, _, terminated := strings.Cut(string(b[:n]), "\x00")
	if !terminated || resolved == "" {
		f.lostName = name
		return name
	}
	return resolved
}

// Section returns the first section of the given name, or nil.
func (f *File) Section(name string) *Section {
	for i := range f.Sections {
		if f.Sections[i].Name == name {
			return &f.Sections[i]
		}
	}
	return nil
}

// Content returns the bytes that a section has in the file: without the padding to
// whole file blocks, and none past the end of the file.
func (f *File) Content(s *Section) *io.SectionReader {
	end := min(s.End(), f.size)
	if s.VirtualSize > 0 {
		end = min(end, int64(s.RawOffset)+int64(s.VirtualSize))
	}
	return io.NewSectionReader(f.r, int64(s.RawOffset), max(0, end-int64(s.RawOffset)))
}

// CodeID returns the identity debuggers ask for the image by.
func (f *File) CodeID() symid.CodeID {
	return symid.CodeID{Timestamp: f.Timestamp, ImageSize: f.SizeOfImage}
}

// offset maps n bytes at rva to the file. It is false if no section holds them all
// in the file.
func (f *File) offset(rva, n uint32) (int64, bool) {
	end := int64(rva) + int64(n)
	for _, s := range f.Sections {
		if rva >= s.VirtualAddress && end <= int64(s.VirtualAddress)+int64(s.RawSize) && s.RawOffset != 0 {
			return int64(s.RawOffset) + int64(rva-s.VirtualAddress), true
		}
	}
	if end <= int64(f.SizeOfHeaders) {
		return int64(rva), true
	}
	return 0, false
}

// DirOff returns where in the file the row of data directory i stands.
func (f *File) DirOff(i int) int64 {
	rows := int64(96)
	if f.PE32Plus {
		rows = 112
	}
	return f.HeaderOff + 24 + rows + 8*int64(i)
}

// Certificate returns where the signatures lie, and false if the image has none.
// The end may lie past that of the file.
func (f *File) Certificate() (off, end int64, ok bool) {
	d := f.Dirs[DirCertificate]
	return int64(d.RVA), int64(d.RVA) + int64(d.Size), d.RVA != 0 && d.Size != 0
}

// HasDWARF reports whether a section holds DWARF units.
func (f *File) HasDWARF() bool { return f.HasContent(".debug_info", ".zdebug_info") }

// HasUnwind reports whether the image says how to walk the stack: in the unwind tables
// of Windows, or in DWARF frames.
func (f *File) HasUnwind() bool {
	d := f.Dirs[DirException]
	return d.RVA != 0 && d.Size != 0 || f.HasContent(".eh_frame", ".debug_frame", ".zdebug_frame")
}

// HasContent reports whether a section of one of the names has bytes.
func (f *File) HasContent(names ...string) bool {
	for _, name := range names {
		if s := f.Section(name); s != nil && s.End() > 0 {
			return true
		}
	}
	return false
}

// Overlap returns two neighbouring sections of which the second does not begin after
// the first in memory. Loaders take sections in rising order only.
// Source: PE format, "Section Table (Section Headers)".
func (f *File) Overlap() (first, second Section, ok bool) {
	for i, s := range f.Sections[1:] {
		before := f.Sections[i]
		if int64(s.VirtualAddress) < int64(before.VirtualAddress)+max(int64(before.VirtualSize), 1) {
			return before, s, true
		}
	}
	return first, second, false
}

// SectionsEnd returns the file offset past the last section and header.
func (f *File) SectionsEnd() int64 {
	end := int64(f.SizeOfHeaders)
	for _, s := range f.Sections {
		end = max(end, s.End())
	}
	return end
}

func bad(off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: ErrHeader}
}
