// Package dbg reads the header of a .dbg file: the debug information of an image
// that was split off before PDBs were common. Its key is that of the image.
//
// It judges nothing and reads only headers. Functions are safe for concurrent use.
//
// Source: IMAGE_SEPARATE_DEBUG_HEADER of winnt.h; "Windows NT debug format" in the
// PE specification of 1996, section on .DBG files.
package dbg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"symkeep/internal/symfile"
	"symkeep/internal/symid"
)

// ErrHeader is wrapped by every error about the file's bytes.
var ErrHeader = errors.New("damaged .dbg header")

const (
	headerLen    = 48
	sectionLen   = 40
	directoryLen = 28
)

// A File is what the header of a .dbg file tells.
type File struct {
	Machine uint16
	ID      symid.CodeID // of the image
	Entries int          // of the debug directory
	Types   []uint32     // of each entry
}

// Types of entries that tell something. Source: winnt.h, IMAGE_DEBUG_TYPE_*.
const (
	TypeCOFF     = 1
	TypeCodeView = 2
	TypeFPO      = 3
)

// Parse reads r, which holds size bytes: header, section table, exported names and
// debug directory must fit, and what the directory points to as well. Errors wrap
// ErrHeader.
func Parse(r io.ReaderAt, size int64) (*File, error) {
	b, err := symfile.Read(r, size, 0, headerLen, "header", ErrHeader)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if m := le.Uint16(b); m != 0x4944 {
		return nil, damaged(0, "magic", fmt.Sprintf("%#04x", m), "0x4944")
	}
	f := &File{Machine: le.Uint16(b[4:]), ID: symid.CodeID{Timestamp: le.Uint32(b[8:]), ImageSize: le.Uint32(b[20:])}}
	sections, names, directory := int64(le.Uint32(b[24:])), int64(le.Uint32(b[28:])), int64(le.Uint32(b[32:]))
	f.Entries = int(directory / directoryLen)
	off := headerLen + sections*sectionLen + names
	switch {
	case sections > 0xffff:
		return nil, damaged(24, "number of sections", fmt.Sprint(sections), "at most 65535")
	case off+directory > size:
		return nil, damaged(off, "section table, names and debug directory", fmt.Sprintf("an end at %#x", off+directory),
			fmt.Sprintf("it inside the %#x bytes of the file", size))
	case directory%directoryLen != 0 || directory > 1<<20:
		return nil, damaged(32, "size of the debug directory", fmt.Sprint(directory), "a multiple of 28 below 1 MiB")
	}
	return f, f.readEntries(r, off, directory, size)
}

// readEntries notes the type of every directory entry and checks that its data lies in
// the file.
func (f *File) readEntries(r io.ReaderAt, off, length, size int64) error {
	b, err := symfile.Read(r, size, off, length, "debug directory", ErrHeader)
	if err != nil {
		return err
	}
	for i := 0; len(b) > 0; i++ {
		n, at := int64(binary.LittleEndian.Uint32(b[16:])), int64(binary.LittleEndian.Uint32(b[24:]))
		if at+n > size {
			return damaged(off+int64(i)*directoryLen, fmt.Sprintf("debug directory entry %d", i), fmt.Sprintf("data that ends at %#x", at+n),
				fmt.Sprintf("it inside the %#x bytes of the file", size))
		}
		f.Types = append(f.Types, binary.LittleEndian.Uint32(b[12:]))
		b = b[directoryLen:]
	}
	return nil
}

// Arch returns the name of the machine. Unknown numbers print as hex.
func (f *File) Arch() string {
	if name, ok := symfile.COFFArch(f.Machine); ok {
		return name
	}
	return fmt.Sprintf("%#x", f.Machine)
}

func damaged(off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: ErrHeader}
}
