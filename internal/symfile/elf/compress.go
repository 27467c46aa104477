package elf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"symkeep/internal/symfile"
)

// A Compression says how the bytes of a section are stored.
type Compression int

// Compressions.
const (
	Stored  Compression = iota
	Zlib                // SHF_COMPRESSED, ELFCOMPRESS_ZLIB
	Zstd                // SHF_COMPRESSED, ELFCOMPRESS_ZSTD
	GNUZlib             // .zdebug_ section: "ZLIB" and a big-endian size
)

// Bounds of what a compressed section may announce. Debug sections of the largest
// programs are a few GiB; zlib cannot shrink below 1:1032.
const (
	maxUnpacked   = 64 << 30
	maxRatio      = 1100
	freeUnpacked  = 1 << 20  // below, the ratio does not matter
	maxZstdWindow = 32 << 20 // memory of the decoder
)

// packing is what the head of a section says about the rest.
type packing struct {
	how      Compression
	head     uint64 // bytes before the compressed data
	unpacked uint64
}

// Compressed reports whether the section's header or name says that its bytes
// are compressed.
func (s *Section) Compressed() bool {
	return s.HasContent() && (s.Flags&flagCompressed != 0 || strings.HasPrefix(s.Name, ".zdebug_"))
}

// Compression returns how s is stored and the size it unpacks to. Errors wrap
// ErrCompressed or ErrTruncated.
func (f *File) Compression(s *Section) (Compression, uint64, error) {
	p, err := f.packing(s)
	return p.how, p.unpacked, err
}

func (f *File) packing(s *Section) (packing, error) {
	if !s.Compressed() {
		return packing{how: Stored, unpacked: s.Size}, nil
	}
	if !f.fits(s.Offset, s.Size) {
		return packing{}, truncated("section "+s.Name, s.Offset, s.Size, f.size)
	}
	p := packing{how: GNUZlib, head: 12}
	if s.Flags&flagCompressed != 0 {
		p.head = 12
		if f.Class == Class64 {
			p.head = 24
		}
	}
	if s.Size < p.head {
		return packing{}, packError(s, fmt.Sprintf("%d bytes", s.Size), fmt.Sprintf("a compression header of %d", p.head))
	}
	b := make([]byte, p.head)
	if _, err := readFull(f.r, b, int64(s.Offset)); err != nil {
		return packing{}, err
	}
	if err := f.decodePacking(s, b, &p); err != nil {
		return packing{}, err
	}
	if p.unpacked > maxUnpacked || (p.unpacked > freeUnpacked && p.unpacked/maxRatio > s.Size) {
		return packing{}, packError(s, fmt.Sprintf("an announced size of %d bytes in %d", p.unpacked, s.Size),
			fmt.Sprintf("at most %d:1 and %d bytes", maxRatio, int64(maxUnpacked)))
	}
	return p, nil
}

// decodePacking reads an Elf32_Chdr, an Elf64_Chdr or the head of a .zdebug
// section.
func (f *File) decodePacking(s *Section, b []byte, p *packing) error {
	if s.Flags&flagCompressed == 0 {
		if string(b[:4]) != "ZLIB" {
			return packError(s, fmt.Sprintf("head % x", b[:4]), `"ZLIB"`)
		}
		p.unpacked = binary.BigEndian.Uint64(b[4:])
		return nil
	}
	if f.Class == Class64 {
		p.unpacked = f.Order.Uint64(b[8:])
	} else {
		p.unpacked = uint64(f.Order.Uint32(b[4:]))
	}
	switch kind := f.Order.Uint32(b); kind {
	case 1:
		p.how = Zlib
	case 2:
		p.how = Zstd
	default:
		return packError(s, fmt.Sprintf("compression type %d", kind), "1 (zlib) or 2 (zstd)")
	}
	return nil
}

// Open returns the content of s, unpacked, and its size. Reading past damage gives
// an error that wraps ErrCompressed, and so does an end before or after that size.
// The caller closes it. Memory is bounded by the decoder's window.
func (f *File) Open(s *Section) (io.ReadCloser, uint64, error) {
	p, err := f.packing(s)
	if err != nil {
		return nil, 0, err
	}
	if p.how == Stored {
		if s.HasContent() && !f.fits(s.Offset, s.Size) {
			return nil, 0, truncated("section "+s.Name, s.Offset, s.Size, f.size)
		}
		return io.NopCloser(f.Raw(s)), uint64(f.Raw(s).Size()), nil
	}
	raw := bufio.NewReaderSize(io.NewSectionReader(f.r, int64(s.Offset+p.head), int64(s.Size-p.head)), readChunk(s.Size))
	bad := func(found, want string) error { return packError(s, found, want) }
	if p.how == Zstd {
		d, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderMaxMemory(maxUnpacked))
		if err != nil {
			return nil, 0, packError(s, err.Error(), "a zstd stream")
		}
		return unpacked{symfile.Exactly(d, p.unpacked, bad), d.Close, f, s}, p.unpacked, nil
	}
	z, err := zlib.NewReader(raw)
	if err != nil {
		return nil, 0, packError(s, err.Error(), "a zlib stream")
	}
	return unpacked{symfile.Exactly(z, p.unpacked, bad), func() { z.Close() }, f, s}, p.unpacked, nil
}

// readChunk is how much to read at once from a section: large ones come from
// storage that unpacks 1 MiB at a time.
func readChunk(size uint64) int { return int(min(max(size, 512), 1<<20)) }

// Sound reports whether somebody read all of s, which is compressed, from Open without
// an error: it need not be unpacked once more to know that.
func (f *File) Sound(s *Section) bool {
	_, sound := f.sound.Load(s)
	return sound
}

// An unpacked section is closed with its decoder.
type unpacked struct {
	r     io.Reader
	close func()
	of    *File
	s     *Section
}

// Read implements io.Reader.
func (u unpacked) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	if err == io.EOF {
		u.of.sound.Store(u.s, nil)
	}
	return n, err
}

// Close implements io.Closer.
func (u unpacked) Close() error {
	u.close()
	return nil
}

func packError(s *Section, found, want string) error {
	return &symfile.FormatError{Off: int64(s.Offset), What: "section " + s.Name, Found: found, Want: want, Kind: ErrCompressed}
}
