package pdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"symkeep/internal/symfile"
)

// Kinds of damage, tested with errors.Is. Errors are *symfile.FormatError and
// carry the offset, what was found and what was wanted.
var (
	ErrTruncated  = errors.New("PDB ends too early")
	ErrSuperblock = errors.New("damaged PDB header")
	ErrDirectory  = errors.New("damaged PDB stream directory")
	ErrInfo       = errors.New("damaged PDB info stream")
	ErrDBI        = errors.New("damaged PDB module table")
)

// Magic starts every PDB 7.0.
const Magic = "Microsoft C/C++ MSF 7.00\r\n\x1aDS\x00\x00\x00"

const (
	superblockLen = 56
	maxStreams    = 1 << 20
	nilSize       = 0xFFFFFFFF
)

var le = binary.LittleEndian

// An MSF is the container of a PDB: numbered streams made of blocks.
type MSF struct {
	BlockSize uint32
	FreeMap   uint32
	NumBlocks uint32
	DirBytes  uint32
	MapBlock  uint32 // the first block that lists the directory's blocks

	r     io.ReaderAt
	size  int64
	dir   []byte   // the directory, unpacked
	lists []uint32 // per stream: where in dir its block list starts
	inUse int64    // blocks of streams and of the directory
}

// OpenMSF reads header and directory of r, which holds size bytes, and checks that
// every stream lies in the file and no block is used twice. Memory is bounded by
// size/32. Errors wrap ErrTruncated, ErrSuperblock or ErrDirectory, or are those of r.
func OpenMSF(r io.ReaderAt, size int64) (*MSF, error) {
	m := &MSF{r: r, size: size}
	b, err := symfile.Read(r, size, 0, superblockLen, "PDB header", ErrTruncated)
	if err != nil {
		return nil, err
	}
	if string(b[:32]) != Magic {
		return nil, bad(ErrSuperblock, 0, "magic", fmt.Sprintf("%q", b[:32]), fmt.Sprintf("%q", Magic))
	}
	m.BlockSize, m.FreeMap, m.NumBlocks = le.Uint32(b[32:]), le.Uint32(b[36:]), le.Uint32(b[40:])
	m.DirBytes, m.MapBlock = le.Uint32(b[44:]), le.Uint32(b[52:])
	switch {
	case bits.OnesCount32(m.BlockSize) != 1 || m.BlockSize < 512 || m.BlockSize > 65536:
		return nil, bad(ErrSuperblock, 32, "block size", fmt.Sprint(m.BlockSize), "a power of two from 512 to 65536")
	case m.FreeMap != 1 && m.FreeMap != 2:
		return nil, bad(ErrSuperblock, 36, "free block map", fmt.Sprint(m.FreeMap), "1 or 2")
	case m.NumBlocks < 4:
		return nil, bad(ErrSuperblock, 40, "number of blocks", fmt.Sprint(m.NumBlocks), "at least 4")
	case m.Declared() > size:
		return nil, bad(ErrTruncated, 40, "number of blocks", fmt.Sprintf("a file of %d bytes", size), fmt.Sprintf("%d blocks of %d, %d bytes", m.NumBlocks, m.BlockSize, m.Declared()))
	}
	if err := m.readDirectory(); err != nil {
		return nil, err
	}
	return m, m.indexStreams()
}

// Declared returns the size of the file by its header.
func (m *MSF) Declared() int64 { return int64(m.NumBlocks) * int64(m.BlockSize) }

// InUse returns how many blocks hold something, the free block maps included.
func (m *MSF) InUse() int64 {
	intervals := (int64(m.NumBlocks) + int64(m.BlockSize) - 1) / int64(m.BlockSize)
	return min(int64(m.NumBlocks), m.inUse+1+2*intervals)
}

// blocksFor returns how many blocks n bytes take.
func (m *MSF) blocksFor(n uint32) uint32 {
	return uint32((int64(n) + int64(m.BlockSize) - 1) / int64(m.BlockSize))
}

func (m *MSF) readDirectory() error {
	switch {
	case m.DirBytes < 4 || int64(m.DirBytes) > m.size:
		return bad(ErrDirectory, 44, "directory size", fmt.Sprint(m.DirBytes), fmt.Sprintf("4 to %d", m.size))
	case m.MapBlock == 0 || m.MapBlock >= m.NumBlocks:
		return bad(ErrDirectory, 52, "block map address", fmt.Sprint(m.MapBlock), fmt.Sprintf("a block from 1 to %d", m.NumBlocks-1))
	case int64(m.DirBytes) > 4+4*maxStreams+4*int64(m.NumBlocks):
		return bad(ErrDirectory, 44, "directory size", fmt.Sprint(m.DirBytes), "room for every stream and block at most")
	}
	n := m.blocksFor(m.DirBytes)
	at := int64(m.MapBlock) * int64(m.BlockSize)
	list, err := symfile.Read(m.r, m.size, at, 4*int64(n), "directory block map", ErrDirectory)
	if err != nil {
		return err
	}
	m.dir = make([]byte, m.DirBytes)
	for i := range n {
		block := le.Uint32(list[4*i:])
		if block == 0 || block >= m.NumBlocks {
			return bad(ErrDirectory, at+4*int64(i), "directory block", fmt.Sprint(block), fmt.Sprintf("a block from 1 to %d", m.NumBlocks-1))
		}
		part := m.dir[int64(i)*int64(m.BlockSize):]
		part = part[:min(len(part), int(m.BlockSize))]
		if k, err := m.r.ReadAt(part, int64(block)*int64(m.BlockSize)); k < len(part) {
			return fmt.Errorf("directory block %d: %w", block, err)
		}
	}
	return nil
}

// indexStreams finds each stream's block list and checks all of them.
func (m *MSF) indexStreams() error {
	count := le.Uint32(m.dir)
	if count > maxStreams || 4+4*int64(count) > int64(len(m.dir)) {
		return bad(ErrDirectory, 0, "stream count in the directory", fmt.Sprint(count), fmt.Sprintf("what fits %d bytes of directory, at most %d", len(m.dir), maxStreams))
	}
	m.lists = make([]uint32, count)
	used := make([]uint64, (m.NumBlocks+63)/64)
	at := 4 + 4*int64(count)
	for i := range m.lists {
		n := m.blocksFor(m.sizeOf(i))
		if at+4*int64(n) > int64(len(m.dir)) {
			return bad(ErrDirectory, at, fmt.Sprintf("block list of stream %d in the directory", i), fmt.Sprintf("%d blocks", n), fmt.Sprintf("an end at or before %d", len(m.dir)))
		}
		m.lists[i] = uint32(at)
		for k := range n {
			block := le.Uint32(m.dir[at+4*int64(k):])
			if block == 0 || block >= m.NumBlocks {
				return bad(ErrDirectory, at+4*int64(k), fmt.Sprintf("block of stream %d in the directory", i), fmt.Sprint(block), fmt.Sprintf("a block from 1 to %d", m.NumBlocks-1))
			}
			if i == 0 { // the directory before the last commit: its blocks may be taken already
				continue
			}
			if used[block/64]&(1<<(block%64)) != 0 {
				return bad(ErrDirectory, at+4*int64(k), fmt.Sprintf("block of stream %d in the directory", i), fmt.Sprintf("block %d a second time", block), "each block once")
			}
			used[block/64] |= 1 << (block % 64)
			m.inUse++
		}
		at += 4 * int64(n)
	}
	dirBlocks := m.blocksFor(m.DirBytes)
	m.inUse += int64(dirBlocks) + int64(m.blocksFor(4*dirBlocks))
	return nil
}

// Streams returns the number of streams, nil ones included.
func (m *MSF) Streams() int { return len(m.lists) }

// sizeOf returns the size of stream i; a nil one has none.
func (m *MSF) sizeOf(i int) uint32 {
	if n := le.Uint32(m.dir[4+4*i:]); n != nilSize {
		return n
	}
	return 0
}

// Nil reports whether stream i does not exist.
func (m *MSF) Nil(i int) bool {
	return i < 0 || i >= len(m.lists) || le.Uint32(m.dir[4+4*i:]) == nilSize
}

// Stream returns stream i; one that does not exist is empty.
func (m *MSF) Stream(i int) *Stream {
	if m.Nil(i) {
		return &Stream{m: m}
	}
	n := m.sizeOf(i)
	at := m.lists[i]
	return &Stream{m: m, size: int64(n), blocks: m.dir[at : at+4*m.blocksFor(n)]}
}

// A Stream reads one stream. It is safe for concurrent use.
type Stream struct {
	m      *MSF
	size   int64
	blocks []byte // u32 each
}

// Size returns the length in bytes.
func (s *Stream) Size() int64 { return s.size }

// Offset returns where in the file byte off of the stream lies; off is below Size.
func (s *Stream) Offset(off int64) int64 {
	bs := int64(s.m.BlockSize)
	return int64(le.Uint32(s.blocks[4*(off/bs):]))*bs + off%bs
}

// run returns where byte off lies and how many bytes follow it without a gap, at
// most limit.
func (s *Stream) run(off, limit int64) (at, n int64) {
	bs := int64(s.m.BlockSize)
	at = s.Offset(off)
	n = min(bs-off%bs, s.size-off)
	for n < limit && off+n < s.size && s.Offset(off+n) == at+n {
		n += min(bs, s.size-off-n)
	}
	return at, min(n, limit)
}

// ReadAt implements io.ReaderAt.
func (s *Stream) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("pdb stream: negative offset %d", off)
	}
	done := 0
	for done < len(p) {
		if off >= s.size {
			return done, io.EOF
		}
		at, n := s.run(off, int64(len(p)-done))
		k, err := s.m.r.ReadAt(p[done:done+int(n)], at)
		done, off = done+k, off+int64(k)
		if int64(k) < n {
			return done, err
		}
	}
	return done, nil
}

// ZeroBlocks counts the whole blocks between from and to, rounded inwards, that
// hold only zeros, and returns the file offset of the first.
func (s *Stream) ZeroBlocks(from, to int64) (count int, first int64, err error) {
	bs := int64(s.m.BlockSize)
	buf := make([]byte, max(bs, 256<<10))
	for off := (from + bs - 1) / bs * bs; off+bs <= min(to, s.size); {
		at, n := s.run(off, min(int64(len(buf)), (min(to, s.size)-off)/bs*bs))
		if k, err := s.m.r.ReadAt(buf[:n], at); int64(k) < n {
			return count, first, fmt.Errorf("block %d: %w", at/bs, err)
		}
		for i := int64(0); i+bs <= n; i += bs {
			if allZero(buf[i : i+bs]) {
				if count == 0 {
					first = at + i
				}
				count++
			}
		}
		off += n
	}
	return count, first, nil
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if le.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func bad(kind error, off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: kind}
}
