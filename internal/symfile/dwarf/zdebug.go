package dwarf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"

	"symkeep/internal/symfile"
)

// ErrCompressed is wrapped by errors about a section of Packed that does not unpack.
var ErrCompressed = errors.New("compressed section does not unpack")

// What a packed section may announce: zlib cannot shrink below 1:1032.
const (
	packedRatio = 1100
	packedFree  = 1 << 20 // below, the ratio does not matter
)

// Packed returns a section that GNU and Go linkers compress by name: the n bytes of
// at are "ZLIB", the unpacked size as a big-endian number of 64 bits, and a zlib
// stream. An error about the head, which wraps ErrCompressed, comes from Open, too.
func Packed(name string, at io.ReaderAt, n int64) (Section, error) {
	bad := func(found, want string) error {
		return &symfile.FormatError{What: "section " + name, Found: found, Want: want, Kind: ErrCompressed}
	}
	refuse := func(err error) (Section, error) {
		return Section{Name: name, Size: maxMemory, Open: func() (io.ReadCloser, error) { return nil, err }}, err
	}
	head := make([]byte, 12)
	switch m, err := at.ReadAt(head[:min(n, 12)], 0); {
	case int64(m) < min(n, 12):
		return refuse(fmt.Errorf("section %s: %w", name, err))
	case n < 12 || string(head[:4]) != "ZLIB":
		return refuse(bad(fmt.Sprintf("head % x", head[:min(n, 4)]), `"ZLIB" and a size`))
	}
	size := binary.BigEndian.Uint64(head[4:])
	if size > packedFree && size/packedRatio > uint64(n) {
		return refuse(bad(fmt.Sprintf("an announced size of %d bytes in %d", size, n), fmt.Sprintf("at most %d:1", packedRatio)))
	}
	return Section{Name: name, Size: size, Open: func() (io.ReadCloser, error) {
		z, err := zlib.NewReader(bufio.NewReaderSize(io.NewSectionReader(at, 12, n-12), bufferSize))
		if err != nil {
			return nil, bad(err.Error(), "a zlib stream")
		}
		return packed{symfile.Exactly(z, size, bad), z}, nil
	}}, nil
}

// A packed section is closed with its decoder.
type packed struct {
	io.Reader
	io.Closer
}
