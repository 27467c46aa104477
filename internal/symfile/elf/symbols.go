package elf

import (
	"bytes"
	"fmt"
	"io"

	"github.com/therootcompany/xz"
)

// Symbol types, the low 4 bits of st_info.
const (
	symFunc  = 2
	symIFunc = 10
)

// Bounds of an embedded symbol table.
const (
	maxMini    = 64 << 20 // bytes, unpacked; larger ones are read to their end, but not looked into
	miniMemory = 64 << 20 // of the decoder
)

// HasFunctions reports whether the full symbol table names a function that the file
// defines, and whether every name lies in the table of names. Gaps of a table that
// is cut are for CheckBounds. Errors wrap ErrHeader or are the reader's.
func (f *File) HasFunctions() (bool, error) {
	for i := range f.Sections {
		if s := &f.Sections[i]; s.Type == SectionSymtab && s.Size > 0 && f.fits(s.Offset, s.Size) {
			return f.functions(s)
		}
	}
	return false, nil
}

func (f *File) functions(s *Section) (bool, error) {
	entry, info, shndx := 24, 4, 6
	if f.Class == Class32 {
		entry, info, shndx = 16, 12, 14
	}
	names := ^uint64(0)
	if int(s.link) < len(f.Sections) && s.link != 0 {
		names = f.Sections[s.link].Size
	}
	found := false
	var wrong error
	off := s.Offset
	err := f.table("symbol table", s.Offset, s.Size/uint64(entry), entry, func(b []byte) {
		kind := b[info] & 0xf
		found = found || (kind == symFunc || kind == symIFunc) && f.Order.Uint16(b[shndx:]) != 0
		if name := uint64(f.Order.Uint32(b)); name >= names && name != 0 && wrong == nil {
			wrong = damaged(int64(off), "name of a symbol", fmt.Sprintf("offset %#x", name), fmt.Sprintf("below the %#x bytes of the names", names))
		}
		off += uint64(entry)
	})
	if err == nil {
		err = wrong
	}
	return found, err
}

// HasUnwindIndex reports whether the file has the unwinding table of 32-bit ARM,
// which stands for call frames there.
func (f *File) HasUnwindIndex() bool {
	const armExidx = 0x70000001
	for i := range f.Sections {
		if s := &f.Sections[i]; f.Machine == 40 && s.Type == armExidx && s.Size > 0 {
			return true
		}
	}
	return false
}

// Mini returns the ELF file that .gnu_debugdata holds under xz, the symbol table that
// is left in a stripped image; nil if there is none, or if it is too large to look
// into. Errors wrap ErrCompressed, ErrHeader or ErrTruncated, or are the reader's.
func (f *File) Mini() (*File, error) {
	s := f.content(".gnu_debugdata")
	if s == nil || !f.fits(s.Offset, s.Size) {
		return nil, nil
	}
	src := &sourceErr{r: f.Raw(s)}
	z, err := xz.NewReader(src, miniMemory)
	if err != nil {
		return nil, src.or(packError(s, err.Error(), "an xz stream"))
	}
	var b bytes.Buffer
	if _, err = io.Copy(&b, io.LimitReader(z, maxMini+1)); err == nil && b.Len() > maxMini {
		_, err = io.Copy(io.Discard, z)
	}
	switch {
	case err != nil:
		return nil, src.or(packError(s, fmt.Sprintf("%v after %d bytes", err, b.Len()), "an xz stream"))
	case b.Len() > maxMini:
		return nil, nil
	}
	return Parse(bytes.NewReader(b.Bytes()), int64(b.Len()))
}

// A sourceErr remembers an error of the file's reader, which a decoder would wrap as
// if the data were bad.
type sourceErr struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (s *sourceErr) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// or returns what the reader said, else err.
func (s *sourceErr) or(err error) error {
	if s.err != nil {
		return s.err
	}
	return err
}
