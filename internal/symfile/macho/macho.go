// Package macho reads what a symbol server must know of a Mach-O file: per slice
// the UUID, what kind of file it is, its segments and sections, and whether debug
// information is in it or left in object files. It reads thin files of both byte
// orders and widths, fat and fat64.
//
// It judges nothing, and takes no memory on the word of the file: load commands
// are compared to the file's size first. A File is safe for concurrent use.
//
// Sources: Apple's mach-o/loader.h, mach-o/fat.h, mach-o/nlist.h, mach-o/stab.h.
package macho

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"symkeep/internal/symfile"
	"symkeep/internal/symid"
)

// Kinds of damage, wrapped by the errors of this package. Every one of them is a
// *symfile.FormatError; errors of the reader come as they are.
var (
	ErrHeader    = errors.New("damaged load commands")
	ErrTruncated = errors.New("file ends too early")
	ErrFat       = errors.New("damaged fat header")
)

// Bounds. No real file comes near them.
const (
	maxSlices   = 64
	maxCommands = 64 << 20 // bytes of load commands of one slice
	maxSegments = 1 << 14
	maxSections = 1 << 16
)

// A FileType is what a slice is for.
type FileType uint32

// File types.
const (
	TypeObject  FileType = 1
	TypeExecute FileType = 2
	TypeCore    FileType = 4
	TypeDylib   FileType = 6
	TypeBundle  FileType = 8
	typeStub    FileType = 9 // a dylib to link against, without content
	TypeDSYM    FileType = 10
	TypeKext    FileType = 11
)

// A File is a Mach-O file whose load commands have been read.
type File struct {
	Fat    bool
	Slices []Slice // at least one; in file order
}

// A Slice is the program for one architecture. Offsets inside it count from its
// start.
type Slice struct {
	Offset    int64 // in the file
	Size      int64
	CPU       uint32
	SubCPU    uint32
	Type      FileType
	Is64      bool
	Order     binary.ByteOrder
	UUID      symid.GUID
	HasUUID   bool
	Segments  []Segment
	Sections  []Section
	Encrypted bool // its code is encrypted

	r              io.ReaderAt
	commandsEnd    uint64 // where the load commands end
	symOff, symNum uint32
	strOff, strLen uint32
	locals         uint32
	tables         []linkedit
}

// A linkedit is a table that a load command places near the end of the slice.
type linkedit struct {
	name      string
	off, size uint32
}

// A Segment is one LC_SEGMENT or LC_SEGMENT_64.
type Segment struct {
	Name     string
	Address  uint64
	Memory   uint64 // bytes in memory
	Offset   uint64
	FileSize uint64
}

// A Section is one section of a segment.
type Section struct {
	Segment string
	Name    string
	Address uint64
	Offset  uint64 // zero where nothing is stored
	Size    uint64

	relocOff, relocs uint32 // relocations, of 8 bytes each

	in   int  // index of its segment
	kind byte // S_REGULAR and the like
}

// Parse reads all slices of r, which holds size bytes. Errors wrap ErrHeader,
// ErrTruncated or ErrFat.
func Parse(r io.ReaderAt, size int64) (*File, error) {
	if size < 4 {
		return nil, truncated("magic", 0, 4, size)
	}
	var b [4]byte
	if err := readFull(r, b[:], 0); err != nil {
		return nil, err
	}
	switch binary.BigEndian.Uint32(b[:]) {
	case 0xcafebabe, 0xcafebabf:
		return parseFat(r, size)
	}
	s, err := parseSlice(r, 0, size)
	if err != nil {
		return nil, err
	}
	return &File{Slices: []Slice{s}}, nil
}

// parseSlice reads the header and load commands of the thin file in
// [off, off+size).
func parseSlice(r io.ReaderAt, off, size int64) (Slice, error) {
	s := Slice{Offset: off, Size: size, r: io.NewSectionReader(r, off, size)}
	if size < 28 {
		return s, truncated("Mach-O header", off, 28, size)
	}
	head := make([]byte, 28)
	if err := readFull(s.r, head, 0); err != nil {
		return s, err
	}
	headLen := int64(28)
	switch binary.BigEndian.Uint32(head) {
	case 0xfeedface:
		s.Order = binary.BigEndian
	case 0xfeedfacf:
		s.Order, s.Is64, headLen = binary.BigEndian, true, 32
	case 0xcefaedfe:
		s.Order = binary.LittleEndian
	case 0xcffaedfe:
		s.Order, s.Is64, headLen = binary.LittleEndian, true, 32
	default:
		return s, damaged(off, "magic", fmt.Sprintf("% x", head[:4]), "feedface or feedfacf in either byte order")
	}
	o := s.Order
	s.CPU, s.SubCPU, s.Type = o.Uint32(head[4:]), o.Uint32(head[8:])&^0xff000000, FileType(o.Uint32(head[12:]))
	count, length := o.Uint32(head[16:]), o.Uint32(head[20:])
	switch {
	case int64(length) > size-headLen:
		return s, truncated("load commands", off+headLen, int64(length), off+size)
	case length > maxCommands:
		return s, damaged(off+20, "sizeofcmds", fmt.Sprint(length), fmt.Sprintf("at most %d", maxCommands))
	case uint64(count)*8 > uint64(length):
		return s, damaged(off+16, "ncmds", fmt.Sprint(count), fmt.Sprintf("at most the %d that fit sizeofcmds", length/8))
	}
	cmds := make([]byte, length)
	if err := readFull(s.r, cmds, headLen); err != nil {
		return s, err
	}
	s.commandsEnd = uint64(headLen) + uint64(length)
	return s, s.commands(cmds, count, headLen)
}

// Dwarf returns the section with the DWARF units, or nil if the slice has none.
func (s *Slice) Dwarf() *Section {
	for i := range s.Sections {
		if c := &s.Sections[i]; (c.Name == "__debug_info" || c.Name == "__zdebug_info") && c.Size > 0 && c.Offset > 0 {
			return c
		}
	}
	return nil
}

// HasLocals reports whether the symbol table has more than what the slice imports
// and exports: strip removes the rest.
func (s *Slice) HasLocals() bool { return s.locals > 0 }

// Arch returns the name of the slice's architecture. Unknown numbers print as hex.
func (s *Slice) Arch() string { return archName(s.CPU, s.SubCPU) }

func archName(cpu, sub uint32) string {
	switch cpu {
	case 7:
		return symfile.ArchX86
	case 0x01000007:
		if sub == 8 {
			return "x64h"
		}
		return symfile.ArchX64
	case 12:
		switch sub {
		case 9:
			return "armv7"
		case 11:
			return "armv7s"
		case 12:
			return "armv7k"
		}
		return symfile.ArchARM
	case 0x0100000c:
		if sub == 2 {
			return "arm64e"
		}
		return symfile.ArchARM64
	case 0x0200000c:
		return "arm64_32"
	case 18:
		return "ppc"
	case 0x01000012:
		return "ppc64"
	}
	return fmt.Sprintf("%#x", cpu)
}

func damaged(off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: ErrHeader}
}

func truncated(what string, off, size, have int64) error {
	return &symfile.FormatError{Off: off, What: what, Found: fmt.Sprintf("an end at %#x", off+size),
		Want: fmt.Sprintf("it inside the %#x bytes of the file", have), Kind: ErrTruncated}
}

func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at %#x: got %d: %w", len(b), off, n, err)
}
