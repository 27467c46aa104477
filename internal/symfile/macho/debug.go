package macho

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"symkeep/internal/symfile/dwarf"
)

var _ dwarf.File = (*Slice)(nil)

// ByteOrder returns the byte order of the slice and of its debug information.
func (s *Slice) ByteOrder() binary.ByteOrder { return s.Order }

// DebugSections implements dwarf.File. Names are cut to 16 bytes, as in the file;
// Go's linker compresses sections whose names start with __z.
func (s *Slice) DebugSections(name string) []dwarf.Section {
	plain, packed := cut16("__debug_"+name), cut16("__zdebug_"+name)
	var all []dwarf.Section
	for i := range s.Sections {
		switch c := &s.Sections[i]; {
		case c.Size == 0 || c.Offset == 0 || c.Offset > uint64(s.Size):
		case c.Name == plain:
			all = append(all, s.dwarfSection(c))
		case c.Name == packed:
			at := s.dwarfSection(c)
			d, _ := dwarf.Packed(c.Name, at.At, int64(at.Size)) // Open repeats the error
			all = append(all, d)
		}
	}
	return all
}

func cut16(name string) string { return name[:min(len(name), 16)] }

func (s *Slice) dwarfSection(c *Section) dwarf.Section {
	r := io.NewSectionReader(s.r, int64(c.Offset), int64(min(c.Size, uint64(s.Size)-c.Offset)))
	return dwarf.Section{Name: c.Name, Size: uint64(r.Size()), At: r, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(r, 0, r.Size())), nil
	}}
}

// CheckPacked reads every compressed section to its end and returns the first error,
// which wraps dwarf.ErrCompressed or is the reader's.
func (s *Slice) CheckPacked() error {
	for i := range s.Sections {
		c := &s.Sections[i]
		if !strings.HasPrefix(c.Name, "__zdebug_") || c.Size == 0 || c.Offset == 0 || c.Offset > uint64(s.Size) {
			continue
		}
		at := s.dwarfSection(c)
		d, err := dwarf.Packed(c.Name, at.At, int64(at.Size))
		if err == nil {
			err = drain(d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func drain(d dwarf.Section) error {
	r, err := d.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

// HasUnwind reports whether the slice describes how to walk the stack: compact unwind
// information, or call frames. Errors are about the frames, or the reader's.
func (s *Slice) HasUnwind() (bool, error) {
	found := false
	var wrong error
	for i := range s.Sections {
		c := &s.Sections[i]
		if c.Size == 0 || c.Offset == 0 || !s.fits(c.Offset, c.Size) {
			continue
		}
		var n int
		var err error
		switch c.Name {
		case "__unwind_info":
			n, err = s.compactUnwind(c)
		case "__eh_frame":
			n, err = dwarf.RuntimeFrames(s.dwarfSection(c), s.Order)
		case "__debug_frame":
			n, err = dwarf.DebugFrames(s.dwarfSection(c), s.Order)
		}
		found = found || n > 0
		wrong = errors.Join(wrong, err)
	}
	return found, wrong
}

// compactUnwind returns how many ranges of functions __unwind_info indexes.
// mach-o/compact_unwind_encoding.h, unwind_info_section_header.
func (s *Slice) compactUnwind(c *Section) (int, error) {
	b := make([]byte, 28)
	if c.Size < uint64(len(b)) {
		return 0, nil
	}
	if err := readFull(s.r, b, int64(c.Offset)); err != nil {
		return 0, err
	}
	if v := s.Order.Uint32(b); v != 1 {
		return 0, damaged(s.Offset+int64(c.Offset), "version of __unwind_info", fmt.Sprint(v), "1")
	}
	return int(s.Order.Uint32(b[24:])), nil
}
