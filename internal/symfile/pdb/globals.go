package pdb

import (
	"fmt"
	"io"
	"math/bits"

	"symkeep/internal/symfile"
)

const (
	hashSignature = 0xFFFFFFFF
	hashVersion   = 0xEFFE0000 + 19990810
	hashHeaderLen = 16
	hashBitmap    = 4 * 129 // bytes: 4096 buckets and one more, in words
)

// A Globals sums up the symbol records that modules share.
type Globals struct {
	Records int
	Publics int // public symbols: names of functions and data
}

// CheckGlobals reads the symbol records that modules share, and the two hash tables
// by which debuggers find public and global symbols: every entry must name the start
// of a record. Streams that do not exist are no error. Memory is bounded by 1/32 of
// the record stream. Errors wrap ErrSymbols or are those of the reader.
// Source: LLVM, docs/PDB/GlobalStream.rst and PublicStream.rst.
func (f *File) CheckGlobals() (Globals, error) {
	var g Globals
	if !f.HasDBI {
		return g, nil
	}
	for _, no := range []uint16{f.DBI.SymbolStream, f.DBI.PublicStream, f.DBI.GlobalStream} {
		if no != NoStream && int(no) >= f.Streams() {
			return g, bad(ErrSymbols, 12, "stream of shared symbols", fmt.Sprint(no), fmt.Sprintf("below %d", f.Streams()))
		}
	}
	starts, err := f.readGlobals(&g)
	if err != nil {
		return g, err
	}
	if err := f.checkPublics(starts); err != nil {
		return g, err
	}
	if s := f.optionalStream(f.DBI.GlobalStream); s.Size() > 0 {
		return g, checkHash(s, 0, s.Size(), starts, "global symbols")
	}
	return g, nil
}

// optionalStream returns stream no, empty if there is none.
func (f *File) optionalStream(no uint16) *Stream {
	if no == NoStream {
		return f.Stream(-1)
	}
	return f.Stream(int(no))
}

// recordStarts is where records begin: a bit for each 4 bytes of their stream. Where
// a record begins elsewhere, as in the oldest PDBs, loose is true and any offset
// inside the stream will do.
type recordStarts struct {
	bits  []uint64
	size  int64
	loose bool
}

func (r *recordStarts) set(off int64) {
	if off%4 != 0 {
		r.loose = true
		return
	}
	r.bits[off/256] |= 1 << (off / 4 % 64)
}

func (r *recordStarts) has(off int64) bool {
	if off < 0 || off >= r.size {
		return false
	}
	return r.loose || off%4 == 0 && r.bits[off/256]&(1<<(off/4%64)) != 0
}

func (f *File) readGlobals(g *Globals) (*recordStarts, error) {
	s := f.optionalStream(f.DBI.SymbolStream)
	starts := &recordStarts{bits: make([]uint64, s.Size()/256+1), size: s.Size()}
	q := newRecordReader("shared symbol record", ErrSymbols)
	q.start(s, 0, s.Size())
	for {
		r, err := q.next()
		if err == io.EOF {
			return starts, nil
		}
		if err == nil {
			err = checkSymbol(r)
		}
		if err != nil {
			return starts, err
		}
		starts.set(r.off)
		g.Records++
		if r.kind == symPublic {
			g.Publics++
		}
	}
}

// checkPublics reads the stream of public symbols: a header, a hash table, then the
// symbols by address, and the thunks of incremental links.
func (f *File) checkPublics(starts *recordStarts) error {
	s := f.optionalStream(f.DBI.PublicStream)
	if s.Size() == 0 {
		return nil
	}
	const headerLen = 28
	b, err := symfile.Read(s, s.Size(), 0, headerLen, "public symbols", ErrSymbols)
	if err != nil {
		return err
	}
	hash, byAddress := int64(le.Uint32(b)), int64(le.Uint32(b[4:]))
	thunks, sections := int64(le.Uint32(b[8:])), int64(le.Uint32(b[24:]))
	if need := headerLen + hash + byAddress + 4*thunks + 8*sections; need != s.Size() || byAddress%4 != 0 {
		return bad(ErrSymbols, 0, "public symbols", fmt.Sprintf("a table of %d, %d by address, %d thunks, %d sections", hash, byAddress, thunks, sections),
			fmt.Sprintf("what fills the %d bytes of the stream", s.Size()))
	}
	if err := checkHash(s, headerLen, hash, starts, "public symbols"); err != nil {
		return err
	}
	return checkOffsets(s, headerLen+hash, byAddress/4, 4, func(v uint32) int64 { return int64(v) }, starts, "public symbol by address")
}

// checkHash reads the hash table of n bytes at off: a header, a row of 8 bytes for
// each symbol, whose first half is the offset of its record plus 1, a bitmap of the
// buckets that hold something, and where each of those begins.
func checkHash(s *Stream, off, n int64, starts *recordStarts, what string) error {
	b, err := symfile.Read(s, off+n, off, hashHeaderLen, what, ErrSymbols)
	if err != nil {
		return err
	}
	rows, buckets := int64(le.Uint32(b[8:])), int64(le.Uint32(b[12:]))
	switch {
	case le.Uint32(b) != hashSignature || le.Uint32(b[4:]) != hashVersion:
		return bad(ErrSymbols, off, what+" signature", fmt.Sprintf("%#x %#x", le.Uint32(b), le.Uint32(b[4:])), fmt.Sprintf("%#x %#x", uint32(hashSignature), uint32(hashVersion)))
	case rows%8 != 0 || hashHeaderLen+rows+buckets > n:
		return bad(ErrSymbols, off+8, what, fmt.Sprintf("%d bytes of rows, %d of buckets", rows, buckets), fmt.Sprintf("rows of 8 bytes, and what fits its %d bytes", n))
	}
	if err := checkBuckets(s, off+hashHeaderLen+rows, buckets, what); err != nil {
		return err
	}
	return checkOffsets(s, off+hashHeaderLen, rows/8, 8, func(v uint32) int64 { return int64(v) - 1 }, starts, what)
}

// checkBuckets wants as many bucket offsets as the bitmap before them has bits.
func checkBuckets(s *Stream, off, n int64, what string) error {
	if n == 0 {
		return nil
	}
	b, err := symfile.Read(s, off+n, off, hashBitmap, what+" buckets", ErrSymbols)
	if err != nil {
		return err
	}
	used := 0
	for i := 0; i < len(b); i += 4 {
		used += bits.OnesCount32(le.Uint32(b[i:]))
	}
	if want := hashBitmap + 4*int64(used); n < want {
		return bad(ErrSymbols, off, what+" buckets", fmt.Sprintf("%d bytes", n), fmt.Sprintf("%d, for %d buckets in use", want, used))
	}
	return nil
}

// checkOffsets wants count rows of the given width at off to begin with the offset of
// a record, which of turns into one.
func checkOffsets(s *Stream, off, count, width int64, of func(uint32) int64, starts *recordStarts, what string) error {
	const step = 8 << 10 // rows
	buf := make([]byte, min(count, step)*width)
	for first := int64(0); first < count; first += step {
		b := buf[:min(step, count-first)*width]
		at := off + first*width
		if k, err := s.ReadAt(b, at); k < len(b) {
			return fmt.Errorf("%s at %#x: %w", what, at, err)
		}
		for i := int64(0); i < int64(len(b)); i += width {
			if v := of(le.Uint32(b[i:])); !starts.has(v) {
				return bad(ErrSymbols, at+i, what, fmt.Sprintf("a record at %#x", v), fmt.Sprintf("the start of one, below %#x", starts.size))
			}
		}
	}
	return nil
}
