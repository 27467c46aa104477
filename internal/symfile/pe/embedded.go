package pe

import (
	"compress/flate"
	"fmt"
	"io"

	"symkeep/internal/symfile"
)

// MaxEmbedded is the largest embedded portable PDB that is unpacked, in bytes.
const MaxEmbedded = 256 << 20

// An Embedded is a portable PDB inside an image.
type Embedded struct {
	Off  int64 // of the compressed bytes
	Size int64 // unpacked, as declared; at most MaxEmbedded

	f      *File
	packed int64
}

// Embedded reads the head of e, whose type must be DebugEmbeddedPDB. Errors wrap
// ErrEmbedded.
// Source: .NET runtime, docs/design/specs/PE-COFF.md, "Embedded Portable PDB Debug
// Directory Entry".
func (f *File) Embedded(e DebugEntry) (*Embedded, error) {
	off, err := f.data(e)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEmbedded, err)
	}
	if e.Size < 8 {
		return nil, badEmbedded(off, "embedded PDB", fmt.Sprintf("%d bytes", e.Size), "at least 8")
	}
	b, err := symfile.Read(f.r, f.size, off, 8, "embedded PDB", ErrEmbedded)
	if err != nil {
		return nil, err
	}
	if string(b[:4]) != "MPDB" {
		return nil, badEmbedded(off, "embedded PDB signature", fmt.Sprintf("%q", b[:4]), `"MPDB"`)
	}
	size := int64(le.Uint32(b[4:]))
	if size > MaxEmbedded {
		return nil, badEmbedded(off+4, "embedded PDB size", fmt.Sprint(size), fmt.Sprintf("at most %d", MaxEmbedded))
	}
	return &Embedded{Off: off + 8, Size: size, f: f, packed: int64(e.Size) - 8}, nil
}

// Reader returns the unpacked bytes. After exactly Size of them it gives io.EOF;
// corrupt, missing or surplus data is an error that wraps ErrEmbedded.
func (m *Embedded) Reader() io.Reader {
	return &embeddedReader{m: m, r: flate.NewReader(io.NewSectionReader(m.f.r, m.Off, m.packed)), left: m.Size}
}

type embeddedReader struct {
	m    *Embedded
	r    io.Reader
	left int64
}

func (e *embeddedReader) Read(p []byte) (int, error) {
	if e.left == 0 {
		var one [1]byte
		if n, err := io.ReadFull(e.r, one[:]); n > 0 {
			return 0, e.bad("more bytes", fmt.Sprintf("the end after %d", e.m.Size))
		} else if err != io.EOF {
			return 0, e.bad(err.Error(), "a complete deflate stream")
		}
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	switch {
	case err == nil || err == io.EOF && e.left == 0:
		return n, nil
	case err == io.EOF:
		return n, e.bad(fmt.Sprintf("the end after %d bytes", e.m.Size-e.left), fmt.Sprintf("%d bytes", e.m.Size))
	}
	return n, e.bad(err.Error(), "a complete deflate stream")
}

func (e *embeddedReader) bad(found, want string) error {
	return badEmbedded(e.m.Off, "embedded PDB data", found, want)
}

func badEmbedded(off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: ErrEmbedded}
}
