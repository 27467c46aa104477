package blobstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

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

// A pour is one form on its way into the cache. Whoever asks for it meanwhile reads
// what is there already.
type pour struct {
	c       *Cache
	src     Source
	release func() // the room it reserved
	ctx     context.Context
	cancel  context.CancelFunc

	mu      sync.Mutex
	path    string // of its file, wherever that is now
	written int64
	err     error         // why there will be no more
	moved   chan struct{} // closed and replaced when one of these changes
	taps    int
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
	f, err := os.OpenFile(p.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		release()
		return nil, FullError(err)
	}
	if err := f.Close(); err != nil {
		p.remove()
		return nil, FullError(err)
	}
	p.ctx, p.cancel = context.WithCancel(c.base)
	return p, nil
}

// remove gives up the file and the room of a pour.
func (p *pour) remove() {
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
	p.advance(0, err)
	if err != nil && p.src.Failed != nil && p.ctx.Err() == nil {
		p.src.Failed(err)
	}
}

// fill has the source write into the file.
func (p *pour) fill() error {
	f, err := os.OpenFile(p.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = p.src.Write(p.ctx, &pourWriter{p, f})
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("blob cache: blob %s: %w", p.src.Digest, FullError(err))
	}
	if p.written != p.src.Size {
		return fmt.Errorf("blob cache: blob %s: got %d bytes of form %s, wanted %d", p.src.Digest, p.written, p.src.Form, p.src.Size)
	}
	return nil
}

// pourWriter appends to the file and lets the taps run. It refuses more bytes than
// announced, before they reach the disk.
type pourWriter struct {
	p *pour
	f *os.File
}

// Write implements io.Writer.
func (w *pourWriter) Write(b []byte) (int, error) {
	if err := w.p.ctx.Err(); err != nil {
		return 0, err
	}
	if int64(len(b)) > w.p.src.Size-w.p.written {
		return 0, errors.New("more bytes than announced")
	}
	n, err := w.f.Write(b)
	w.p.advance(int64(n), nil)
	return n, err
}

// check compares raw bytes with their digest and a packed file with its hashes. Those
// who read along have had them meanwhile, as checked as a stream is.
func (p *pour) check() error {
	if p.src.Form == FormGzip {
		return nil
	}
	f, err := os.Open(p.path)
	if err != nil {
		return err
	}
	defer f.Close()
	var got catalog.Digest
	if p.src.Form == FormPacked {
		info, err := cab.Verify(p.ctx, f, p.src.Size)
		if err != nil {
			return fmt.Errorf("blob cache: blob %s: %w", p.src.Digest, err)
		}
		got = info.RawSHA256
	} else {
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		got = catalog.Digest(h.Sum(nil))
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

// advance notes more bytes, or the end.
func (p *pour) advance(n int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written += n
	p.err = err
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
	return &Tap{p: p, f: f}, nil
}

// untap ends the pour with its last reader, unless all bytes are there.
func (p *pour) untap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taps--; p.taps == 0 && p.written < p.src.Size {
		p.cancel()
	}
}

// A Tap reads a form from its beginning while it is made. One goroutine uses it.
type Tap struct {
	p    *pour
	f    *os.File // at off
	off  int64
	once sync.Once
}

// Wait returns once n bytes are there, or the error for which there are fewer.
func (t *Tap) Wait(n int64) error {
	_, err := t.ahead(n)
	return err
}

// ahead waits for n bytes in all and returns how many there are.
func (t *Tap) ahead(n int64) (int64, error) {
	for {
		t.p.mu.Lock()
		written, err, moved := t.p.written, t.p.err, t.p.moved
		t.p.mu.Unlock()
		if written >= n {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		<-moved // the pour ends with the cache at the latest
	}
}

// Read implements io.Reader.
func (t *Tap) Read(b []byte) (int, error) {
	if t.off == t.p.src.Size {
		return 0, io.EOF
	}
	there, err := t.ahead(t.off + 1)
	if err != nil {
		return 0, err
	}
	n, err := t.f.Read(b[:min(int64(len(b)), there-t.off)])
	t.off += int64(n)
	return n, err
}

// WriteTo implements io.WriterTo. A writer that is an io.ReaderFrom is given the file
// itself, in pieces, which a socket sends without a copy.
func (t *Tap) WriteTo(w io.Writer) (total int64, err error) {
	for t.off < t.p.src.Size {
		there, err := t.ahead(t.off + 1)
		if err != nil {
			return total, err
		}
		n, err := io.Copy(w, &io.LimitedReader{R: t.f, N: there - t.off})
		t.off += n
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Close implements io.Closer.
func (t *Tap) Close() error {
	t.once.Do(t.p.untap)
	return t.f.Close()
}
