package pe

import (
	"encoding/binary"
	"io"

	"symkeep/internal/symfile/dwarf"
)

var _ dwarf.File = (*File)(nil)

// ByteOrder returns the byte order of every PE machine that is in use.
func (f *File) ByteOrder() binary.ByteOrder { return le }

// DebugSections implements dwarf.File, for the DWARF that mingw, clang and Go write.
// Sections that end past the file are left out.
func (f *File) DebugSections(name string) []dwarf.Section {
	var all []dwarf.Section
	for i := range f.Sections {
		s := &f.Sections[i]
		packed := s.Name == ".zdebug_"+name
		if s.Name != ".debug_"+name && !packed || s.End() == 0 || s.End() > f.size {
			continue
		}
		r := f.Content(s)
		if r.Size() == 0 {
			continue
		}
		d := dwarf.Section{Name: s.Name, Size: uint64(r.Size()), At: r, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(r, 0, r.Size())), nil
		}}
		if packed {
			d, _ = dwarf.Packed(s.Name, r, r.Size()) // Open repeats the error
		}
		all = append(all, d)
	}
	return all
}
