package elf

import (
	"bytes"
	"fmt"

	"symkeep/internal/symfile"
	"symkeep/internal/symid"
)

// A DebugLink names the file that holds the debug information, and the CRC-32
// (IEEE polynomial) of all its bytes.
type DebugLink struct {
	Name string
	CRC  uint32
}

// An AltLink names the common file that dwz moved shared DWARF to. The name may
// be a path.
type AltLink struct {
	Name    string
	BuildID symid.BuildID
}

const maxLink = 8 << 10 // bytes

// DebugLink returns the content of .gnu_debuglink, or nil if there is none.
// Errors wrap ErrLink.
func (f *File) DebugLink() (*DebugLink, error) {
	s := f.content(".gnu_debuglink")
	if s == nil {
		return nil, nil
	}
	b, err := f.whole(s, maxLink, ErrLink)
	if err != nil {
		return nil, err
	}
	n := bytes.IndexByte(b, 0)
	crcOff := int(alignUp(uint64(n+1), 4))
	if n <= 0 || crcOff+4 > len(b) {
		return nil, linkError(s, fmt.Sprintf("%d bytes without a name and checksum", len(b)), "a name, padding and 4 bytes of checksum")
	}
	return &DebugLink{Name: string(b[:n]), CRC: f.Order.Uint32(b[crcOff:])}, nil
}

// AltLink returns the content of .gnu_debugaltlink, or nil if there is none.
// Errors wrap ErrLink.
func (f *File) AltLink() (*AltLink, error) {
	s := f.content(".gnu_debugaltlink")
	if s == nil {
		return nil, nil
	}
	b, err := f.whole(s, maxLink, ErrLink)
	if err != nil {
		return nil, err
	}
	n := bytes.IndexByte(b, 0)
	if n <= 0 || n+1 >= len(b) || len(b)-n-1 > maxBuildID {
		return nil, linkError(s, fmt.Sprintf("%d bytes without a name and build id", len(b)), "a name and a build id")
	}
	return &AltLink{Name: string(b[:n]), BuildID: symid.BuildID(b[n+1:])}, nil
}

func linkError(s *Section, found, want string) error {
	return &symfile.FormatError{Off: int64(s.Offset), What: "section " + s.Name, Found: found, Want: want, Kind: ErrLink}
}
