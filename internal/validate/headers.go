package validate

import (
	"io"
	"sync"
)

// Parsers of headers read a file in small pieces that lie close to each other: at its
// start, at its end, and where a directory points. A headerReader turns those into
// few reads of the file.
const (
	headerBlock  = 16 << 10 // bytes that one read of the file brings
	headerPage   = 4 << 10  // blocks begin at multiples of it
	headerBlocks = 4        // blocks kept
)

// A headerReader is an io.ReaderAt over the size bytes of a file that keeps the blocks
// it read last. It gives the bytes and errors that the file itself would give, and reads
// no byte past size. It belongs to one goroutine.
type headerReader struct {
	r      io.ReaderAt
	size   int64
	blocks [headerBlocks]fileBlock
	oldest int // of blocks: the next one to give way
}

// A fileBlock is bytes of a file from an offset on.
type fileBlock struct {
	off int64
	n   int // bytes of buf that are in use
	buf [headerBlock]byte
}

// headerReaders keeps the memory of readers that are done.
var headerReaders = sync.Pool{New: func() any { return new(headerReader) }}

func newHeaderReader(r io.ReaderAt, size int64) *headerReader {
	h := headerReaders.Get().(*headerReader)
	h.r, h.size, h.oldest = r, size, 0
	for i := range h.blocks {
		h.blocks[i].n = 0
	}
	return h
}

// release gives the memory back; h must not be used afterwards.
func (h *headerReader) release() {
	h.r = nil
	headerReaders.Put(h)
}

// ReadAt implements io.ReaderAt. What is larger than a block, or lies across the end of
// the file, goes to the file itself, and so does what a block could not be read for:
// only the bytes that were asked for may fail.
func (h *headerReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || len(p) > headerBlock-headerPage || int64(len(p)) > h.size-off {
		return h.r.ReadAt(p, off)
	}
	for i := range h.blocks {
		if b := &h.blocks[i]; b.holds(off, len(p)) {
			return copy(p, b.buf[off-b.off:b.n]), nil
		}
	}
	b := &h.blocks[h.oldest]
	if !b.read(h.r, h.size, off, len(p)) {
		return h.r.ReadAt(p, off)
	}
	h.oldest = (h.oldest + 1) % headerBlocks
	return copy(p, b.buf[off-b.off:b.n]), nil
}

// holds reports whether n bytes from off lie in the block.
func (b *fileBlock) holds(off int64, n int) bool {
	return off >= b.off && off+int64(n) <= b.off+int64(b.n)
}

// read fills the block so that it holds n bytes at off, and reports whether it does. At
// the end of a file it is the whole end: ELF has the names of sections before their
// headers.
func (b *fileBlock) read(r io.ReaderAt, size, off int64, n int) bool {
	b.off = max(0, min(off&^(headerPage-1), size-headerBlock))
	b.n, _ = r.ReadAt(b.buf[:min(headerBlock, size-b.off)], b.off)
	return b.holds(off, n)
}
