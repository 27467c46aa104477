package cab

import (
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

// defaultCache is the number of inflated groups a Reader keeps.
const defaultCache = 8

// Reader gives out a packed file in all its forms. It is safe for concurrent use
// as long as the file does not change and stays open.
type Reader struct {
	r    io.ReaderAt
	l    layout
	head []byte // of a cabinet, as in the file

	mu    sync.Mutex
	room  int            // most entries in cache
	cache []*cachedGroup // latest use last
}

// cachedGroup is an inflated group; raw and err are set before done is closed.
type cachedGroup struct {
	index int
	raw   []byte
	err   error
	done  chan struct{}
}

// Open reads what a packed file of size bytes says of itself and checks it, but
// not the groups: those are checked when they are read. Errors wrap ErrFormat or
// ErrCorrupt, or are those of r. Memory is bounded by four times the bytes around the
// groups, of which there are 12 per MiB of raw size.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	var magic [4]byte
	if size < int64(len(magic)) {
		return nil, fmt.Errorf("open: %w: %d bytes", ErrFormat, size)
	}
	if err := readFull(r, magic[:], 0); err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	rd := &Reader{r: r, room: defaultCache}
	var err error
	switch {
	case string(magic[:]) == "MSCF":
		rd.head, err = rd.l.parseHead(r, size)
	case [4]byte(gzHeader[:4]) == magic:
		err = rd.l.parseTail(r, size)
	default:
		err = fmt.Errorf("%w: starts with % x, want a cabinet or a gzip member", ErrFormat, magic)
	}
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return rd, nil
}

// Info returns what the file says of itself. It has been checked against the
// checksum beside it, and against the groups only by Verify and VerifyRaw.
func (r *Reader) Info() Info { return r.l.Info }

// SetCache sets the number of inflated groups kept for ReadAt, each up to
// GroupSize bytes; 8 unless set, and 0 keeps none. Call it before the first
// ReadAt.
func (r *Reader) SetCache(groups int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.room = max(groups, 0)
	r.cache = nil
}

// ReadAt reads raw bytes, as io.ReaderAt, inflating only the groups touched. No
// byte of a group is returned unless its checksum matched; otherwise the error
// wraps ErrCorrupt.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d: %w", off, ErrRange)
	}
	n := 0
	for n < len(p) && off < r.l.RawSize {
		raw, err := r.inflated(int(off / GroupSize))
		if err != nil {
			return n, err
		}
		c := copy(p[n:], raw[off%GroupSize:])
		n += c
		off += int64(c)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// inflated returns the raw bytes of a group, from the cache if possible. Callers
// that ask for the same group at once share one inflation.
func (r *Reader) inflated(i int) ([]byte, error) {
	c, found := r.cached(i)
	if found {
		<-c.done
		return c.raw, c.err
	}
	c.raw, c.err = r.read(i)
	close(c.done)
	if c.err != nil {
		r.forget(c)
	}
	return c.raw, c.err
}

// cached returns the entry of a group, new if it was not found; then the caller
// has to fill it.
func (r *Reader) cached(i int) (c *cachedGroup, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n, c := range r.cache {
		if c.index == i {
			r.cache = append(append(r.cache[:n], r.cache[n+1:]...), c)
			return c, true
		}
	}
	c = &cachedGroup{index: i, done: make(chan struct{})}
	if r.room == 0 {
		return c, false
	}
	if len(r.cache) >= r.room {
		r.cache = append(r.cache[:0], r.cache[len(r.cache)-r.room+1:]...)
	}
	r.cache = append(r.cache, c)
	return c, false
}

// forget drops an entry that could not be filled: the next reader tries again.
func (r *Reader) forget(c *cachedGroup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range r.cache {
		if r.cache[n] == c {
			r.cache = append(r.cache[:n], r.cache[n+1:]...)
			return
		}
	}
}

// bodyStart returns where the offsets of the groups count from.
func (r *Reader) bodyStart() int64 { return int64(len(r.head)) }

// packed reads a packed group into buf, or a new one if that is too small, and
// checks it. The result has room behind it, for a final marker or strictPadding.
func (r *Reader) packed(buf []byte, i int) ([]byte, error) {
	from, size := r.l.packedGroup(i)
	if room := size + strictPadding; cap(buf) < room {
		buf = make([]byte, room)
	}
	buf = buf[:size]
	if err := readFull(r.r, buf, r.bodyStart()+from); err != nil {
		return nil, fmt.Errorf("group %d: %w", i, err)
	}
	if got, want := crc32.Checksum(buf, castagnoli), r.l.groups[i].crc; got != want {
		return nil, fmt.Errorf("%w: group %d at %d has CRC32C %08x, want %08x; fetch another copy",
			ErrCorrupt, i, r.bodyStart()+from, got, want)
	}
	return buf, nil
}

// deflated turns a packed group, in place, into deflate bytes with the given
// ending. The capacity of p has room for a final marker.
func (r *Reader) deflated(p []byte, i int, end ending) ([]byte, error) {
	if r.l.Container == Cab {
		p, err := strip(p, r.l.rawGroup(i), end)
		if err != nil {
			return nil, fmt.Errorf("group %d: %w", i, err)
		}
		return p, nil
	}
	if end == final && i+1 < len(r.l.groups) {
		p = append(p, finalMarker[:]...)
	}
	return p, nil
}

// inflate fills dst with the first raw bytes of the packed group p, which it spoils.
// Those of a whole group have to be all there are. What comes after dst in its capacity
// may be written to, up to the end of a block.
//
// Nearly all groups are such as an Inspector takes. The inflater for them is well over half
// as fast again as one for all of RFC 1951, which is left the others.
func (r *Reader) inflate(dst, p []byte, i int) error {
	size := r.l.rawGroup(i)
	end := min((len(dst)+blockSize-1)/blockSize*blockSize, size)
	if cap(dst) < end {
		return r.inflateAny(dst, p, i)
	}
	z := strictInflaters.Get().(*strictInflater)
	defer strictInflaters.Put(z)
	if z.group(r.l.Container, dst[:end], size, p, r.l.ending(i)) != nil {
		return r.inflateAny(dst, p, i)
	}
	return nil
}

// inflateAny is inflate by an inflater that takes whatever RFC 1951 allows and shares no
// code with that of an Inspector.
func (r *Reader) inflateAny(dst, p []byte, i int) error {
	p, err := r.deflated(p, i, final)
	if err != nil {
		return err
	}
	z := inflaters.Get().(*inflater)
	defer inflaters.Put(z)
	decode := z.stream
	if len(dst) < r.l.rawGroup(i) {
		decode = z.start
	}
	if err := decode(dst, p, nil); err != nil {
		return fmt.Errorf("group %d: %w", i, err)
	}
	return nil
}

// read reads, checks and inflates a group.
func (r *Reader) read(i int) ([]byte, error) {
	p, err := r.packed(nil, i)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, r.l.rawGroup(i))
	if err := r.inflate(raw, p, i); err != nil {
		return nil, err
	}
	return raw, nil
}

// packedGroup returns where a group is in the body, and its bytes.
func (l *layout) packedGroup(i int) (off int64, size int) {
	off = l.groups[i].off
	end := l.bodyEnd()
	if i+1 < len(l.groups) {
		end = l.groups[i+1].off
	}
	return off, int(end - off)
}

// ending returns how the deflate bytes of a group end: those of the last one end the file.
func (l *layout) ending(i int) ending { return ending(i+1 == len(l.groups)) }

// bodyEnd returns where the last group ends in the body.
func (l *layout) bodyEnd() int64 {
	if l.Container == GZ {
		return l.GzipSize - gzTrailer
	}
	return l.PackedSize - headSize(len(l.groups), l.Name)
}
