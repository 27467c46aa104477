package elf

import (
	"fmt"
	"io"
	"strings"

	"symkeep/internal/symfile"
)

// A Section is one section header. Offset and Size describe the bytes as they
// are stored, compressed or not.
type Section struct {
	Name   string
	Type   SectionType
	Flags  uint64
	Addr   uint64
	Offset uint64
	Size   uint64
	Align  uint64

	name       uint32
	link, info uint32
}

// A SectionType is sh_type.
type SectionType uint32

// Section types.
const (
	SectionNull     SectionType = 0
	SectionProgBits SectionType = 1
	SectionSymtab   SectionType = 2
	SectionNote     SectionType = 7
	SectionNoBits   SectionType = 8
)

// Section flags.
const (
	flagAlloc      = 0x2
	flagExec       = 0x4
	flagCompressed = 0x800
)

// HasContent reports whether the file stores bytes of the section.
func (s *Section) HasContent() bool {
	return s.Type != SectionNoBits && s.Type != SectionNull && s.Size > 0
}

// Allocated reports whether the section is part of the program's memory.
func (s *Section) Allocated() bool { return s.Flags&flagAlloc != 0 }

// Executable reports whether the section holds instructions.
func (s *Section) Executable() bool { return s.Flags&flagExec != 0 }

// firstSection reads section 0, where counts are that do not fit the ELF header.
func (f *File) firstSection(h header) (Section, error) {
	var s Section
	if h.shoff == 0 || (h.shnum != 0 && h.shstrndx != 0xffff && h.phnum != 0xffff) {
		return s, nil
	}
	err := f.table("section header table", h.shoff, 1, int(h.shentsize), func(b []byte) { s = f.section(b) })
	return s, err
}

// readSections reads the section headers and their names.
func (f *File) readSections(h header, first Section) error {
	count, strndx := uint64(h.shnum), uint64(h.shstrndx)
	if h.shoff != 0 && count == 0 {
		count = first.Size
	}
	if h.shstrndx == 0xffff {
		strndx = uint64(first.link)
	}
	if count > maxSections {
		return damaged(int64(h.shoff), "number of sections", fmt.Sprint(count), fmt.Sprintf("at most %d", maxSections))
	}
	if f.fits(h.shoff, count*uint64(h.shentsize)) {
		f.Sections = make([]Section, 0, count)
	}
	err := f.table("section header table", h.shoff, count, int(h.shentsize), func(b []byte) {
		f.Sections = append(f.Sections, f.section(b))
	})
	if err != nil || count == 0 || strndx == 0 {
		return err
	}
	if strndx >= count {
		return damaged(int64(h.shoff), "e_shstrndx", fmt.Sprint(strndx), fmt.Sprintf("below the %d sections", count))
	}
	return f.nameSections(&f.Sections[strndx])
}

func (f *File) section(b []byte) Section {
	o := f.Order
	s := Section{name: o.Uint32(b), Type: SectionType(o.Uint32(b[4:]))}
	if f.Class == Class32 {
		s.Flags, s.Addr = uint64(o.Uint32(b[8:])), uint64(o.Uint32(b[12:]))
		s.Offset, s.Size = uint64(o.Uint32(b[16:])), uint64(o.Uint32(b[20:]))
		s.link, s.info, s.Align = o.Uint32(b[24:]), o.Uint32(b[28:]), uint64(o.Uint32(b[32:]))
		return s
	}
	s.Flags, s.Addr = o.Uint64(b[8:]), o.Uint64(b[16:])
	s.Offset, s.Size = o.Uint64(b[24:]), o.Uint64(b[32:])
	s.link, s.info, s.Align = o.Uint32(b[40:]), o.Uint32(b[44:]), o.Uint64(b[48:])
	return s
}

func (f *File) nameSections(table *Section) error {
	switch {
	case table.Type == SectionNoBits:
		return damaged(int64(table.Offset), "section name table", "no content", "names")
	case !f.fits(table.Offset, table.Size):
		return truncated("section name table", table.Offset, table.Size, f.size)
	case table.Size > maxStrings:
		return damaged(int64(table.Offset), "section name table", fmt.Sprintf("%d bytes", table.Size), fmt.Sprintf("at most %d", maxStrings))
	}
	b := make([]byte, table.Size)
	if _, err := readFull(f.r, b, int64(table.Offset)); err != nil {
		return err
	}
	names := string(b)
	for i := range f.Sections {
		s := &f.Sections[i]
		if s.name == 0 {
			continue
		}
		if uint64(s.name) >= uint64(len(names)) {
			return damaged(int64(table.Offset), fmt.Sprintf("name of section %d", i),
				fmt.Sprintf("offset %#x", s.name), fmt.Sprintf("below the %#x bytes of the name table", len(names)))
		}
		s.Name, _, _ = strings.Cut(names[s.name:], "\x00")
	}
	return nil
}

// Section returns the first section of that name, or nil. Names match exactly.
func (f *File) Section(name string) *Section {
	for i := range f.Sections {
		if f.Sections[i].Name == name && f.Sections[i].Type != SectionNull {
			return &f.Sections[i]
		}
	}
	return nil
}

// content returns the first section of one of the names that has content.
func (f *File) content(names ...string) *Section {
	for _, name := range names {
		for i := range f.Sections {
			if f.Sections[i].Name == name && f.Sections[i].HasContent() {
				return &f.Sections[i]
			}
		}
	}
	return nil
}

// Raw returns the bytes of a section as they are stored, still compressed if they
// are. It is empty for a section without content, cut at the end of the file for a
// truncated one.
func (f *File) Raw(s *Section) *io.SectionReader {
	if !s.HasContent() || s.Offset > uint64(f.size) {
		return io.NewSectionReader(f.r, 0, 0)
	}
	return io.NewSectionReader(f.r, int64(s.Offset), int64(min(s.Size, uint64(f.size)-s.Offset)))
}

// CheckBounds returns an error that wraps ErrTruncated for the first section whose
// content ends past the end of the file. Segments are looked at only where there
// is no section table: split debug files keep those of the image.
func (f *File) CheckBounds() error {
	for i := range f.Sections {
		s := &f.Sections[i]
		if s.HasContent() && !f.fits(s.Offset, s.Size) {
			return truncated(fmt.Sprintf("section %d (%q)", i, s.Name), s.Offset, s.Size, f.size)
		}
	}
	if len(f.Sections) > 0 {
		return nil
	}
	for i, p := range f.Segments {
		if !f.fits(p.Offset, p.FileSize) {
			return truncated(fmt.Sprintf("segment %d", i), p.Offset, p.FileSize, f.size)
		}
	}
	return nil
}

// whole returns all bytes of a section of at most limit bytes.
func (f *File) whole(s *Section, limit uint64, kind error) ([]byte, error) {
	if s.Size > limit {
		return nil, &symfile.FormatError{Off: int64(s.Offset), What: "section " + s.Name,
			Found: fmt.Sprintf("%d bytes", s.Size), Want: fmt.Sprintf("at most %d", limit), Kind: kind}
	}
	if !f.fits(s.Offset, s.Size) {
		return nil, truncated("section "+s.Name, s.Offset, s.Size, f.size)
	}
	b := make([]byte, s.Size)
	_, err := readFull(f.r, b, int64(s.Offset))
	return b, err
}
