package elf

import (
	"encoding/binary"
	"io"
	"strings"

	"symkeep/internal/symfile/dwarf"
)

var _ dwarf.File = (*File)(nil)

// ByteOrder returns the byte order of the file and of its debug information.
func (f *File) ByteOrder() binary.ByteOrder { return f.Order }

// DebugSections implements dwarf.File.
func (f *File) DebugSections(name string) []dwarf.Section {
	var all []dwarf.Section
	for i := range f.Sections {
		s := &f.Sections[i]
		if rest, ok := strings.CutPrefix(s.Name, ".z"); s.HasContent() && (s.Name == ".debug_"+name || ok && rest == "debug_"+name) {
			all = append(all, f.debugSection(s))
		}
	}
	return all
}

// FrameSection returns the call frame information that unwinding a running program
// uses, .eh_frame; false if the file has none with content.
func (f *File) FrameSection() (dwarf.Section, bool) {
	s := f.content(".eh_frame")
	if s == nil {
		return dwarf.Section{}, false
	}
	return f.debugSection(s), true
}

// debugSection describes a section as a debugger sees it: unpacked, and relocated where
// the file is relocatable and its relocations are of the simple kinds.
func (f *File) debugSection(s *Section) dwarf.Section {
	d := dwarf.Section{Name: s.Name, Open: func() (io.ReadCloser, error) {
		r, _, err := f.Open(s)
		return r, err
	}}
	if !s.Compressed() {
		raw := f.Raw(s)
		d.Size, d.At = uint64(raw.Size()), raw
	} else if p, err := f.packing(s); err == nil {
		d.Size = p.unpacked
	} else {
		d.Size = maxUnpacked // Open says what is wrong; nobody should miss bytes before that
	}
	relas := f.relas(s)
	switch {
	case relas == nil:
	case !f.sorted(relas):
		d.Unrelocated = true
	default:
		d.At, d.Open = nil, func() (io.ReadCloser, error) {
			r, _, err := f.Open(s)
			if err != nil {
				return nil, err
			}
			return f.relocated(r, relas), nil
		}
	}
	return d
}
