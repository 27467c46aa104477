package macho

import (
	"fmt"

	"symkeep/internal/symfile"
)

// Kinds of sections that have no bytes in the file: mach-o/loader.h.
const (
	zeroFill       = 0x1
	zeroFillHuge   = 0xc
	zeroFillThread = 0x12
)

// stored reports whether a section of an image has its content in the file.
func (c *Section) stored() bool {
	return c.kind != zeroFill && c.kind != zeroFillHuge && c.kind != zeroFillThread
}

// CheckBounds returns an error that wraps ErrTruncated for the first segment,
// section or table that ends past the end of the slice, and one that wraps ErrHeader
// for a section outside its segment.
func (s *Slice) CheckBounds() error {
	for _, g := range s.Segments {
		if g.FileSize > 0 && !s.fits(g.Offset, g.FileSize) {
			return s.cut("segment "+g.Name, g.Offset, g.FileSize)
		}
	}
	for i := range s.Sections {
		if err := s.checkSection(&s.Sections[i]); err != nil {
			return err
		}
	}
	for _, t := range s.tables {
		if s.Type != TypeDSYM && !s.fits(uint64(t.off), uint64(t.size)) {
			return s.cut(t.name, uint64(t.off), uint64(t.size))
		}
	}
	if n := uint64(s.symNum) * s.nlistSize(); !s.fits(uint64(s.symOff), n) {
		return s.cut("symbol table", uint64(s.symOff), n)
	}
	if !s.fits(uint64(s.strOff), uint64(s.strLen)) {
		return s.cut("string table", uint64(s.strOff), uint64(s.strLen))
	}
	return nil
}

// checkSection judges where a section lies. A dSYM has the sections of its image with
// their offsets there, and only those of DWARF are in it.
func (s *Slice) checkSection(c *Section) error {
	here := c.Segment == "__DWARF" || s.Type != TypeDSYM && s.Type != typeStub && c.stored()
	if here && c.Size > 0 && !s.fits(c.Offset, c.Size) {
		return s.cut("section "+c.Name, c.Offset, c.Size)
	}
	n := uint64(c.relocs) * 8
	switch {
	case !s.fits(uint64(c.relocOff), n):
		return s.cut("relocations of section "+c.Name, uint64(c.relocOff), n)
	case n > 0 && uint64(c.relocOff) < s.commandsEnd:
		return damaged(s.Offset+int64(c.relocOff), "relocations of section "+c.Name, fmt.Sprintf("%d at %#x", c.relocs, c.relocOff), fmt.Sprintf("them behind the load commands, which end at %#x", s.commandsEnd))
	}
	g := s.Segments[c.in]
	if here && c.Size > 0 && g.Offset == 0 && c.Offset < s.commandsEnd {
		return damaged(s.Offset+int64(c.Offset), "section "+c.Name, fmt.Sprintf("a start at %#x", c.Offset), fmt.Sprintf("it behind the load commands, which end at %#x", s.commandsEnd))
	}
	if g.Memory == 0 || c.Size == 0 { // objects of debug information alone have no addresses
		return nil
	}
	if rel := c.Address - g.Address; c.Address < g.Address || rel > g.Memory || c.Size > g.Memory-rel {
		return damaged(s.Offset, "section "+c.Name, fmt.Sprintf("%#x bytes at address %#x", c.Size, c.Address),
			fmt.Sprintf("it inside segment %s, %#x bytes at %#x", g.Name, g.Memory, g.Address))
	}
	return nil
}

func (s *Slice) cut(what string, off, size uint64) error {
	return &symfile.FormatError{Off: s.Offset + int64(min(off, 1<<62)), What: what, Found: fmt.Sprintf("%d bytes from %#x of the slice", size, off),
		Want: fmt.Sprintf("an end within its %#x bytes", s.Size), Kind: ErrTruncated}
}

func (s *Slice) fits(off, size uint64) bool {
	total := uint64(s.Size)
	return off <= total && size <= total-off
}
