package pe

import (
	"fmt"
	"io"

	"symkeep/internal/symfile"
)

// Metadata returns the metadata of a managed image, and nil for a native one or for a
// .debug file, whose sections have no bytes. The error wraps ErrCLR: the managed header
// or the metadata do not lie in the file.
// Source: ECMA-335 II.25.3.3 "CLI header".
func (f *File) Metadata() (*io.SectionReader, error) {
	d := f.Dirs[DirCLR]
	if d.RVA == 0 || d.Size == 0 || f.inEmptySection(d.RVA) {
		return nil, nil
	}
	off, ok := f.offset(d.RVA, clrHeaderLen)
	if !ok || off+clrHeaderLen > f.size || d.Size < clrHeaderLen {
		return nil, f.badCLR(f.HeaderOff, "managed header", fmt.Sprintf("RVA %#x, %d bytes", d.RVA, d.Size), fmt.Sprintf("%d bytes or more in a section", clrHeaderLen))
	}
	var b [clrHeaderLen]byte
	if n, err := f.r.ReadAt(b[:], off); n < len(b) {
		return nil, fmt.Errorf("managed header at %#x: %w", off, noEOF(err))
	}
	if n := le.Uint32(b[:]); n < clrHeaderLen {
		return nil, f.badCLR(off, "size of the managed header", fmt.Sprint(n), fmt.Sprint(clrHeaderLen))
	}
	rva, size := le.Uint32(b[8:]), le.Uint32(b[12:])
	at, ok := f.offset(rva, size)
	if !ok || size == 0 || at+int64(size) > f.size {
		return nil, f.badCLR(off+8, "metadata", fmt.Sprintf("RVA %#x, %d bytes", rva, size), "a place in the file")
	}
	return io.NewSectionReader(f.r, at, int64(size)), nil
}

func (f *File) badCLR(off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: ErrCLR}
}
