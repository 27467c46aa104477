package blobstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

// A Source makes one form of a blob.
type Source struct {
	Digest catalog.Digest
	Form   Form
	Size   int64 // bytes of the form
	// Write writes them, checked as far as their form has checksums. It gives up when
	// ctx ends.
	Write func(ctx context.Context, w io.Writer) error
	// Failed is told why nothing is kept, unless nobody wanted it any more; nil: nobody is.
	Failed func(error)
}

const (
	// heldMost bounds the bytes of all pours that are in memory, and not in their files yet.
	heldMost = 64 << 20
	// heldFor is how long bytes wait there for readers, when all have been made.
	heldFor = time.Second

	chunkSize = 2 << 20
)

// A pour is one form on its way into the cache. Whoever asks for it meanwhile reads
// what is there already. Its bytes stay in memory first, so that readers need not wait for
// the file, nor share the processors with the one who writes it: that is for when there is
// no more room, or they are through.
type pour struct {
	c       *Cache
	src     Source
	release func() // the room it reserved
	ctx     context.Context
	cancel  context.CancelFunc

	file *os.File  // to write to
	sum  hash.Hash // of what is in the file, for a raw form

	mu     sync.Mutex
	path   string // of its file, wherever that is now
	made   int64  // bytes that are there: those in the file, then those of the chunks
	stored int64  // in the file
	chunks []*chunk
	err    error         // why there will be no more
	moved  chan struct{} // closed and replaced when one of these changes
	taps   int           // open ones
	behind int           // of those, not at the end
}

// A chunk is a part of a form in memory, full unless it is the last.
type chunk struct {
	b    [chunkSize]byte
	uses atomic.Int32 // by the pour, and by taps that read it
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// hold returns an empty chunk, or nil if there are enough.
func (c *Cache) hold() *chunk {
	if c.held.Add(chunkSize) > heldMost {
		c.held.Add(-chunkSize)
		return nil
	}
	k := chunks.Get().(*chunk)
	k.uses.Store(1)
	return k
}

// unhold ends one use of a chunk.
func (c *Cache) unhold(k *chunk) {
	if k.uses.Add(-1) == 0 {
		chunks.Put(k)
		c.held.Add(-chunkSize)
	}
}

// errAbandoned ends a pour that nobody reads.
var errAbandoned = errors.New("blob cache: nobody waits for it any more")

// Pour begins to make a form, or joins those who have it made, and returns a Tap to
// read from while it comes; begun tells which. Once all bytes are there, and raw ones
// have been compared with the digest, Get gives them out. When the last Tap is closed
// before that, making them stops. The error wraps catalog.ErrFull if the cache or the
// disk has no room: serve without it then.
func (c *Cache) Pour(src Source) (tap *Tap, begun bool, err error) {
	k := cacheKey{src.Digest, src.Form}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, false, fmt.Errorf("blob cache: closed: %w", catalog.ErrFull)
	}
	if p, ok := c.pours[k]; ok {
		if tap, err := p.tap(); err == nil {
			return tap, false, nil
		}
		return nil, false, fmt.Errorf("blob cache: blob %s: the last attempt is ending: %w", src.Digest, catalog.ErrFull)
	}
	p, err := c.newPour(k, src)
	if err != nil {
		return nil, false, err
	}
	if tap, err = p.tap(); err != nil {
		p.remove()
		return nil, false, err
	}
	c.pours[k] = p
	c.filling += src.Size
	c.pouring.Go(func() { c.run(k, p) })
	return tap, true, nil
}

// newPour makes room and an empty file. c.mu is held: that keeps the bound exact.
func (c *Cache) newPour(k cacheKey, src Source) (*pour, error) {
	if el, ok := c.entries[k]; ok { // its file was not to be opened, or it has grown old
		c.remove(el)
	}
	if !c.evict(src.Size) {
		return nil, fmt.Errorf("blob cache: blob %s: %d bytes do not fit into %d: %w", src.Digest, src.Size, c.max, catalog.ErrFull)
	}
	release, err := c.reserve(src.Size)
	if err != nil {
		return nil, err
	}
	p := &pour{c: c, src: src, release: release, path: filepath.Join(c.dir, "tmp-"+randomName()), moved: make(chan struct{})}
	p.file, err = os.OpenFile(p.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		release()
		return nil, FullError(err)
	}
	if src.Form == FormRaw {
		p.sum = sha256.New()
	}
	p.ctx, p.cancel = context.WithCancel(c.base)
	return p, nil
}

// remove gives up the file and the room of a pour.
func (p *pour) remove() {
	p.file.Close()
	os.Remove(p.path)
	p.release()
}

// run makes the file and puts it into the cache.
func (c *Cache) run(k cacheKey, p *pour) {
	defer p.cancel()
	err := p.fill()
	if err == nil {
		err = p.check()
	}
	p.dropChunks()
	c.mu.Lock()
	delete(c.pours, k)
	c.filling -= p.src.Size
	if err == nil {
		err = p.rename(c.path(k))
	}
	if err == nil {
		c.entries[k] = c.order.PushFront(&cached{k, p.src.Size, c.now()})
		c.bytes += p.src.Size
		p.release()
	} else {
		p.remove()
	}
	c.mu.Unlock()
	p.advance(0, 0, err)
	if err != nil && p.src.Failed != nil && p.ctx.Err() == nil {
		p.src.Failed(err)
	}
}

// fill has the source make the bytes, and then all of them in the file.
func (p *pour) fill() error {
	err := p.src.Write(p.ctx, &pourWriter{p})
	if err == nil && p.made == p.src.Size {
		p.awaitTaps()
		for err == nil && len(p.chunks) > 0 {
			err = p.storeFirst()
		}
	}
	if cerr := p.file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("blob cache: blob %s: %w", p.src.Digest, FullError(err))
	}
	if p.stored != p.src.Size {
		return fmt.Errorf("blob cache: blob %s: got %d bytes of form %s, wanted %d", p.src.Digest, p.made, p.src.Form, p.src.Size)
	}
	return nil
}

// awaitTaps returns once every reader has all bytes, or they have waited for long enough.
func (p *pour) awaitTaps() {
	most := time.NewTimer(heldFor)
	defer most.Stop()
	for {
		p.mu.Lock()
		behind, moved := p.behind, p.moved
		p.mu.Unlock()
		if behind == 0 {
			return
		}
		select {
		case <-moved:
		case <-most.C:
			return
		case <-p.ctx.Done():
			return
		}
	}
}

// pourWriter lets the taps run. It refuses more bytes than announced.
type pourWriter struct{ p *pour }

// Write implements io.Writer.
func (w *pourWriter) Write(b []byte) (n int, err error) {
	p := w.p
	if int64(len(b)) > p.src.Size-p.made {
		return 0, errors.New("more bytes than announced")
	}
	for n < len(b) && err == nil {
		var k int
		if err = p.ctx.Err(); err == nil {
			k, err = p.take(b[n:])
		}
		n += k
	}
	return n, err
}

// take puts some bytes into memory, or into the file if neither this pour nor another one
// has memory to spare.
func (p *pour) take(b []byte) (n int, err error) {
	for p.made-p.stored == int64(len(p.chunks))*chunkSize {
		if k := p.c.hold(); k != nil {
			p.mu.Lock()
			p.chunks = append(p.chunks, k)
			p.mu.Unlock()
		} else if len(p.chunks) == 0 {
			if n, err = p.store(b); n > 0 {
				p.advance(int64(n), int64(n), nil)
			}
			return n, err
		} else if err := p.storeFirst(); err != nil {
			return 0, err
		}
	}
	n = copy(p.chunks[len(p.chunks)-1].b[(p.made-p.stored)%chunkSize:], b)
	p.advance(int64(n), 0, nil)
	return n, nil
}

// storeFirst moves the first chunk into the file.
func (p *pour) storeFirst() error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	first, n := p.chunks[0], min(p.made-p.stored, chunkSize)
	if _, err := p.store(first.b[:n]); err != nil {
		return err
	}
	p.mu.Lock()
	p.chunks = slices.Delete(p.chunks, 0, 1)
	p.stored += n
	p.mu.Unlock()
	p.c.unhold(first)
	return nil
}

func (p *pour) store(b []byte) (int, error) {
	if p.sum != nil {
		p.sum.Write(b)
	}
	return p.file.Write(b)
}

// dropChunks gives up what is in memory.
func (p *pour) dropChunks() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.chunks {
		p.c.unhold(k)
	}
	p.chunks = nil
}

// check compares raw bytes with their digest and a packed file with its hashes. Those
// who read along have had them meanwhile, as checked as a stream is.
func (p *pour) check() error {
	if p.src.Form == FormGzip {
		return nil
	}
	var got catalog.Digest
	if p.src.Form == FormRaw {
		got = catalog.Digest(p.sum.Sum(nil))
	} else {
		f, err := os.Open(p.path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := cab.Verify(p.ctx, f, p.src.Size)
		if err != nil {
			return fmt.Errorf("blob cache: blob %s: %w", p.src.Digest, err)
		}
		got = info.RawSHA256
	}
	if got != p.src.Digest {
		return fmt.Errorf("blob cache: blob %s: form %s has the bytes of %s: %w", p.src.Digest, p.src.Form, got, cab.ErrCorrupt)
	}
	return nil
}

func (p *pour) rename(path string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := os.Rename(p.path, path); err != nil {
		return err
	}
	p.path = path
	return nil
}

// advance notes more bytes, and how many of them are in the file, or the end.
func (p *pour) advance(made, stored int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made += made
	p.stored += stored
	p.err = err
	p.announce()
}

// announce wakes up who waits for a change. p.mu is held.
func (p *pour) announce() {
	close(p.moved)
	p.moved = make(chan struct{})
}

// tap opens the file for one more reader.
func (p *pour) tap() (*Tap, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return nil, errAbandoned
	}
	f, err := os.Open(p.path)
	if err != nil {
		return nil, err
	}
	p.taps++
	p.behind++
	return &Tap{p: p, f: f}, nil
}

// untap ends the pour with its last reader, unless all bytes are there.
func (p *pour) untap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taps--; p.taps == 0 && p.made < p.src.Size {
		p.cancel()
	}
}

// A Tap reads a form from its beginning while it is made. One goroutine uses it.
type Tap struct {
	p       *pour
	f       *os.File
	off     int64
	through bool // all bytes have been read, or never will be
	once    sync.Once
}

// Wait returns once n bytes are there, or the error for which there are fewer.
func (t *Tap) Wait(n int64) error {
	for {
		t.p.mu.Lock()
		made, err, moved := t.p.made, t.p.err, t.p.moved
		t.p.mu.Unlock()
		if made >= n {
			return nil
		}
		if err != nil {
			return err
		}
		<-moved // the pour ends with the cache at the latest
	}
}

// next waits for more bytes: so many are in the file, or they are those of b, in a chunk
// that is to be given back.
func (t *Tap) next() (inFile int64, b []byte, from *chunk, err error) {
	if err := t.Wait(t.off + 1); err != nil {
		return 0, nil, nil, err
	}
	p := t.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.off < p.stored {
		return p.stored - t.off, nil, nil, nil
	}
	i, at := int((t.off-p.stored)/chunkSize), (t.off-p.stored)%chunkSize
	if i >= len(p.chunks) { // they were given up
		return 0, nil, nil, cmp.Or(p.err, errAbandoned)
	}
	from = p.chunks[i]
	from.uses.Add(1)
	return 0, from.b[at:min(chunkSize, at+p.made-t.off)], from, nil
}

// pass notes that n more bytes have been read.
func (t *Tap) pass(n int64) {
	if t.off += n; t.off == t.p.src.Size {
		t.end()
	}
}

// end tells the pour not to wait for this reader.
func (t *Tap) end() {
	if t.through {
		return
	}
	t.through = true
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	t.p.behind--
	t.p.announce()
}

// Read implements io.Reader.
func (t *Tap) Read(b []byte) (n int, err error) {
	if t.off == t.p.src.Size {
		return 0, io.EOF
	}
	inFile, part, from, err := t.next()
	switch {
	case err != nil:
		return 0, err
	case from == nil:
		n, err = t.f.ReadAt(b[:min(int64(len(b)), inFile)], t.off)
	default:
		n = copy(b, part)
		t.p.c.unhold(from)
	}
	t.pass(int64(n))
	return n, err
}

// WriteTo implements io.WriterTo. A writer that is an io.ReaderFrom is given the file
// itself, as far as it has the bytes: a socket sends it without a copy.
func (t *Tap) WriteTo(w io.Writer) (total int64, err error) {
	for t.off < t.p.src.Size && err == nil {
		inFile, part, from, nerr := t.next()
		var n int64
		switch {
		case nerr != nil:
			return total, nerr
		case from == nil:
			if _, err = t.f.Seek(t.off, io.SeekStart); err == nil {
				n, err = io.Copy(w, &io.LimitedReader{R: t.f, N: inFile})
			}
		default:
			var k int
			k, err = w.Write(part)
			n = int64(k)
			t.p.c.unhold(from)
		}
		t.pass(n)
		total += n
	}
	return total, err
}

// Close implements io.Closer.
func (t *Tap) Close() error {
	t.once.Do(func() {
		t.end()
		t.p.untap()
	})
	return t.f.Close()
}
