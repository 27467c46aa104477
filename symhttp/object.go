package symhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/singleflight"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

// store opens what answers are cut from.
type store struct {
	blobs    Blobs
	cache    *blobstore.Cache // may be nil
	unfit    atomic.Int64     // until then the cache is left alone, Unix nanoseconds
	seen     *heat
	hot      *hot
	shelf    *shelf
	flights  singleflight.Group // answers being made
	verified *verified
	memory   *budget
}

// An object is one open blob, raw from the cache or packed.
type object struct {
	st     *store
	digest catalog.Digest
	name   string // base name
	size   int64  // raw

	raw  *os.File // from the cache, else nil
	blob Blob     // nil exactly when raw is set
	cab  *cab.Reader
	file os.FileInfo // of a local packed file, else nil

	mu    sync.Mutex
	share share // of st.memory
	given bool  // a body owns the object
}

// openRaw opens the blob of a candidate, from the cache if it is there.
func (st *store) openRaw(ctx context.Context, c catalog.Candidate) (*object, error) {
	if st.cache != nil {
		if f, ok := st.cache.Get(c.Digest, blobstore.FormRaw); ok {
			if fi, err := f.Stat(); err == nil {
				return &object{st: st, digest: c.Digest, name: c.Name, size: fi.Size(), raw: f}, nil
			}
			f.Close()
		}
	}
	return st.openPacked(ctx, c)
}

// openPacked opens the packed blob of a candidate and reads its head.
func (st *store) openPacked(ctx context.Context, c catalog.Candidate) (*object, error) {
	b, err := st.blobs.OpenBlob(ctx, c.Digest)
	if err != nil {
		return nil, err
	}
	r, err := cab.Open(b, b.Size())
	if err == nil && r.Info().RawSHA256 != c.Digest {
		err = fmt.Errorf("blob %s: holds the bytes of %x: %w", c.Digest, r.Info().RawSHA256, cab.ErrCorrupt)
	}
	if err != nil {
		b.Close()
		st.suspect(c.Digest, err)
		return nil, err
	}
	o := &object{st: st, digest: c.Digest, name: c.Name, size: r.Info().RawSize, blob: b, cab: r}
	if f := b.File(); f != nil {
		if fi, err := f.Stat(); err == nil {
			o.file = fi
		}
	}
	return o, nil
}

// suspect reports a copy that does not decode, or that the disk does not give.
// Errors of the client's connection are neither.
func (st *store) suspect(d catalog.Digest, err error) {
	var disk *fs.PathError
	if errors.Is(err, cab.ErrCorrupt) || errors.Is(err, cab.ErrFormat) || errors.As(err, &disk) {
		st.verified.drop(d)
		st.shelf.drop(d)
		st.blobs.Suspect(d, err)
	}
}

// ReadAt reads raw bytes, for parsers. Memory is not accounted: a few groups.
func (o *object) ReadAt(p []byte, off int64) (int, error) {
	if o.raw != nil {
		return o.raw.ReadAt(p, off)
	}
	return o.cab.ReadAt(p, off)
}

// Close releases the object unless a body owns it.
func (o *object) Close() {
	if !o.given {
		o.release()
	}
}

func (o *object) release() {
	if o.raw != nil {
		o.raw.Close()
	}
	if o.blob != nil {
		o.blob.Close()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.st.memory.give(o.share)
	o.share = share{}
}

// takePacked waits for memory to send packed groups.
func (o *object) takePacked(ctx context.Context) error {
	s, err := o.st.memory.packed(ctx)
	o.keep(s)
	return err
}

// unpack waits for memory and returns raw bytes as they are unpacked.
func (o *object) unpack(ctx context.Context, part span) (io.ReadCloser, error) {
	groups := (part.end()+cab.GroupSize-1)/cab.GroupSize - part.off/cab.GroupSize
	s, window, err := o.st.memory.unpacked(ctx, groups)
	if err != nil {
		return nil, err
	}
	o.keep(s)
	return o.cab.RangeWindow(part.off, part.n, window), nil
}

// keep notes memory to give back when the object is released.
func (o *object) keep(s share) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.share.all += s.all
	o.share.ahead += s.ahead
}

// rawBody returns raw bytes, unpacked or from the cache.
func (o *object) rawBody(ctx context.Context, s span, conn net.Conn) (*body, error) {
	if o.raw != nil {
		return o.fileBody(o.raw, s, conn)
	}
	r, err := o.unpack(ctx, s)
	if err != nil {
		return nil, err
	}
	return o.streamBody(r, s, 1, conn)
}

// gzipBody returns the whole file as a gzip member.
func (o *object) gzipBody(ctx context.Context, conn net.Conn) (*body, error) {
	if off, n, ok := o.cab.GzipSection(); ok && o.sendable() {
		return o.fileBody(o.blob.File(), span{off, n}, conn)
	}
	if err := o.takePacked(ctx); err != nil {
		return nil, err
	}
	r, n := o.cab.Gzip()
	return o.streamBody(r, span{0, n}, 32, conn) // past the member's header
}

// cabinetBody returns a part of the cabinet with that member name, the stored one
// through sendfile if it was whole not long ago.
func (o *object) cabinetBody(ctx context.Context, name string, s span, conn net.Conn) (*body, error) {
	stored := name == o.cab.Info().Name
	if stored && o.sendable() {
		return o.fileBody(o.blob.File(), s, conn)
	}
	if err := o.takePacked(ctx); err != nil {
		return nil, err
	}
	r, size, err := o.cab.Cabinet(name)
	if err != nil {
		return nil, err
	}
	if s.off > 0 || s.n < size {
		if _, err := io.CopyN(io.Discard, r, s.off); err != nil {
			o.st.suspect(o.digest, err)
			return nil, err
		}
		return o.streamBody(struct {
			io.Reader
			io.Closer
		}{io.LimitReader(r, s.n), r}, s, 1, conn)
	}
	head, _, err := o.cab.Rehead(name)
	if err != nil {
		return nil, err
	}
	b, err := o.streamBody(r, s, int64(len(head))+1, conn)
	if err == nil && stored && o.file != nil {
		release := b.done
		b.done = func(whole bool) {
			if whole { // every group has just been checked
				o.st.verified.add(o.digest, o.file)
			}
			release(whole)
		}
	}
	return b, err
}

// sendable reports whether the packed file may go out unchecked.
func (o *object) sendable() bool {
	return o.file != nil && o.st.verified.has(o.digest, o.file)
}

// fileBody sends part of a file by sendfile.
func (o *object) fileBody(f *os.File, s span, conn net.Conn) (*body, error) {
	if _, err := f.Seek(s.off, io.SeekStart); err != nil {
		return nil, err
	}
	o.given = true
	return &body{src: f, size: s.n, conn: conn, done: func(bool) { o.release() }}, nil
}

// streamBody sends a checked stream; its first bytes are read here.
func (o *object) streamBody(r io.ReadCloser, s span, first int64, conn net.Conn) (*body, error) {
	p, err := prime(r, first, s.n)
	if err != nil {
		r.Close()
		o.st.suspect(o.digest, err)
		return nil, err
	}
	o.given = true
	return &body{first: p, src: watched{r, o}, size: s.n, conn: conn, done: func(bool) {
		r.Close()
		o.release()
	}}, nil
}

// watched reports a stream that turns out damaged.
type watched struct {
	io.Reader
	o *object
}

// WriteTo implements io.WriterTo.
func (w watched) WriteTo(dst io.Writer) (n int64, err error) {
	if src, ok := w.Reader.(io.WriterTo); ok {
		n, err = src.WriteTo(dst)
	} else {
		n, err = io.Copy(dst, w.Reader)
	}
	w.o.st.suspect(w.o.digest, err)
	return n, err
}

// wholeGzip is gzipBody for a representation: there are no parts of it.
func (o *object) wholeGzip(ctx context.Context, _ span, conn net.Conn) (*body, error) {
	return o.gzipBody(ctx, conn)
}

// cabinetNamed is cabinetBody with the member name fixed.
func (o *object) cabinetNamed(name string) func(context.Context, span, net.Conn) (*body, error) {
	return func(ctx context.Context, s span, conn net.Conn) (*body, error) {
		return o.cabinetBody(ctx, name, s, conn)
	}
}
