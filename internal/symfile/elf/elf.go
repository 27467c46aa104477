// Package elf reads what a symbol server must know of an ELF file: identity,
// what the file can serve as, links to other files, and sections, unpacked where
// they are compressed. It reads both classes and both byte orders.
//
// It judges nothing: whether a missing build id matters is for the caller. It
// takes no memory on the word of the file: tables are compared to the file's
// size first, and sections stream. A File is safe for concurrent use.
//
// Sources: System V ABI, chapters 4 and 5 (object files, program loading); gABI
// sections on extended numbering and compressed sections; GNU binutils for
// build-id notes, .gnu_debuglink and .zdebug; dwz for .gnu_debugaltlink. Package
// dwarf reads what the debug sections hold.
package elf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"symkeep/internal/symfile"
)

// Kinds of damage, wrapped by the errors of this package. Every one of them is a
// *symfile.FormatError; errors of the reader come as they are.
var (
	ErrHeader     = errors.New("damaged ELF header")
	ErrTruncated  = errors.New("file ends too early")
	ErrNote       = errors.New("damaged note")
	ErrLink       = errors.New("damaged debug link")
	ErrCompressed = errors.New("compressed section does not unpack")
)

// Bounds. No linked file comes near them.
const (
	maxSections = 1 << 18
	maxSegments = 1 << 16
	maxStrings  = 64 << 20 // bytes of section names
)

// A Class is the width of addresses, as EI_CLASS has it.
type Class byte

// Classes.
const (
	Class32 Class = 1
	Class64 Class = 2
)

// A Type is the object file type, e_type.
type Type uint16

// Types.
const (
	TypeNone Type = 0
	TypeRel  Type = 1
	TypeExec Type = 2
	TypeDyn  Type = 3
	TypeCore Type = 4
)

// A File is an ELF file whose headers have been read.
type File struct {
	Class    Class
	Order    binary.ByteOrder
	Type     Type
	Machine  uint16
	Flags    uint32
	Segments []Segment
	Sections []Section // in table order, the null section first; empty if the table was stripped

	r     io.ReaderAt
	size  int64
	sound sync.Map // of *Section that Open unpacked to the end
}

// A Segment is one program header.
type Segment struct {
	Type     uint32
	Flags    uint32
	Offset   uint64
	Addr     uint64
	FileSize uint64
	MemSize  uint64
	Align    uint64
}

// Segment types.
const (
	segLoad = 1
	segNote = 4
)

// header holds where the tables are, before they are read.
type header struct {
	phoff, shoff                   uint64
	phentsize, shentsize, shstrndx uint16
	phnum, shnum                   uint16
}

// Parse reads the headers of r, which holds size bytes: the ELF header, program
// headers, section headers and their names. Errors wrap ErrHeader or
// ErrTruncated.
func Parse(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size}
	h, err := f.readHeader()
	if err != nil {
		return nil, err
	}
	first, err := f.firstSection(h)
	if err != nil {
		return nil, err
	}
	if err := f.readSegments(h, first); err != nil {
		return nil, err
	}
	if err := f.readSections(h, first); err != nil {
		return nil, err
	}
	return f, nil
}

// readHeader reads e_ident and the rest of the ELF header.
func (f *File) readHeader() (header, error) {
	var h header
	ident := make([]byte, 64)
	n := int(min(f.size, int64(len(ident))))
	if _, err := readFull(f.r, ident[:n], 0); err != nil {
		return h, err
	}
	if n < 52 {
		return h, truncated("ELF header", 0, 52, f.size)
	}
	switch {
	case string(ident[:4]) != "\x7fELF":
		return h, damaged(0, "magic", fmt.Sprintf("% x", ident[:4]), "7f 45 4c 46")
	case ident[4] != 1 && ident[4] != 2:
		return h, damaged(4, "class", fmt.Sprint(ident[4]), "1 or 2")
	case ident[5] != 1 && ident[5] != 2:
		return h, damaged(5, "data encoding", fmt.Sprint(ident[5]), "1 or 2")
	case ident[6] != 1:
		return h, damaged(6, "header version", fmt.Sprint(ident[6]), "1")
	case ident[4] == 2 && n < 64:
		return h, truncated("ELF header", 0, 64, f.size)
	}
	f.Class = Class(ident[4])
	f.Order = binary.LittleEndian
	if ident[5] == 2 {
		f.Order = binary.BigEndian
	}
	o := f.Order
	f.Type, f.Machine = Type(o.Uint16(ident[16:])), o.Uint16(ident[18:])
	if v := o.Uint32(ident[20:]); v != 1 {
		return h, damaged(20, "object file version", fmt.Sprint(v), "1")
	}
	tail := ident[40:52]
	if f.Class == Class32 {
		h.phoff, h.shoff = uint64(o.Uint32(ident[28:])), uint64(o.Uint32(ident[32:]))
		f.Flags = o.Uint32(ident[36:])
	} else {
		h.phoff, h.shoff = o.Uint64(ident[32:]), o.Uint64(ident[40:])
		f.Flags = o.Uint32(ident[48:])
		tail = ident[52:64]
	}
	ehsize := o.Uint16(tail)
	h.phentsize, h.phnum = o.Uint16(tail[2:]), o.Uint16(tail[4:])
	h.shentsize, h.shnum, h.shstrndx = o.Uint16(tail[6:]), o.Uint16(tail[8:]), o.Uint16(tail[10:])
	return h, f.checkEntrySizes(h, ehsize)
}

func (f *File) checkEntrySizes(h header, ehsize uint16) error {
	eh, ph, sh := f.entrySizes()
	base := int64(40)
	if f.Class == Class64 {
		base = 52
	}
	switch {
	case int(ehsize) != eh:
		return damaged(base, "e_ehsize", fmt.Sprint(ehsize), fmt.Sprint(eh))
	case h.phnum > 0 && int(h.phentsize) != ph:
		return damaged(base+2, "e_phentsize", fmt.Sprint(h.phentsize), fmt.Sprint(ph))
	case h.shoff > 0 && int(h.shentsize) != sh:
		return damaged(base+6, "e_shentsize", fmt.Sprint(h.shentsize), fmt.Sprint(sh))
	case h.shoff == 0 && h.shnum > 0:
		return damaged(base+8, "e_shnum", fmt.Sprint(h.shnum), "0 sections where e_shoff is 0")
	}
	return nil
}

// entrySizes returns the sizes of the ELF header, a program and a section header.
func (f *File) entrySizes() (eh, ph, sh int) {
	if f.Class == Class32 {
		return 52, 32, 40
	}
	return 64, 56, 64
}

// readSegments reads the program headers. A count of 0xffff means that the real
// one is in section 0.
func (f *File) readSegments(h header, first Section) error {
	count := uint64(h.phnum)
	if h.phnum == 0xffff && h.shoff != 0 {
		count = uint64(first.info)
	}
	if count > maxSegments {
		return damaged(0, "number of program headers", fmt.Sprint(count), fmt.Sprintf("at most %d", maxSegments))
	}
	if f.fits(h.phoff, count*uint64(h.phentsize)) {
		f.Segments = make([]Segment, 0, count)
	}
	return f.table("program header table", h.phoff, count, int(h.phentsize), func(b []byte) {
		f.Segments = append(f.Segments, f.segment(b))
	})
}

func (f *File) segment(b []byte) Segment {
	o := f.Order
	if f.Class == Class32 {
		return Segment{Type: o.Uint32(b), Flags: o.Uint32(b[24:]), Offset: uint64(o.Uint32(b[4:])), Addr: uint64(o.Uint32(b[8:])),
			FileSize: uint64(o.Uint32(b[16:])), MemSize: uint64(o.Uint32(b[20:])), Align: uint64(o.Uint32(b[28:]))}
	}
	return Segment{Type: o.Uint32(b), Flags: o.Uint32(b[4:]), Offset: o.Uint64(b[8:]), Addr: o.Uint64(b[16:]),
		FileSize: o.Uint64(b[32:]), MemSize: o.Uint64(b[40:]), Align: o.Uint64(b[48:])}
}

// table calls fn with each entry of a table after checking that it fits the file.
func (f *File) table(what string, off, count uint64, entry int, fn func([]byte)) error {
	if count == 0 {
		return nil
	}
	size := count * uint64(entry) // both below 2^18 and 2^16: no overflow
	if !f.fits(off, size) {
		return truncated(what, off, size, f.size)
	}
	chunk := make([]byte, min(size, 64<<10/uint64(entry)*uint64(entry)))
	for size > 0 {
		b := chunk[:min(size, uint64(len(chunk)))]
		if _, err := readFull(f.r, b, int64(off)); err != nil {
			return err
		}
		off, size = off+uint64(len(b)), size-uint64(len(b))
		for ; len(b) > 0; b = b[entry:] {
			fn(b[:entry])
		}
	}
	return nil
}

// fits reports whether size bytes from off lie inside the file.
func (f *File) fits(off, size uint64) bool {
	total := uint64(f.size)
	return off <= total && size <= total-off
}

func damaged(off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: ErrHeader}
}

func truncated(what string, off, size uint64, have int64) error {
	end := fmt.Sprintf("an end at %#x", off+size)
	if off+size < off {
		end = fmt.Sprintf("%#x bytes, past the end of any file", size)
	}
	return &symfile.FormatError{Off: int64(off), What: what, Found: end,
		Want: fmt.Sprintf("it inside the %#x bytes of the file", have), Kind: ErrTruncated}
}

// readFull reads len(b) bytes at off, which the caller knows to lie in the file.
func readFull(r io.ReaderAt, b []byte, off int64) (int, error) {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return n, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, fmt.Errorf("read %d bytes at %#x: got %d: %w", len(b), off, n, err)
}
