package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

// ErrNoCourier says that there is no other process to move bytes; the Replicator does
// it itself then.
var ErrNoCourier = errors.New("no courier")

// A Courier moves the bytes of repair instead of this process, in one of a lower
// priority: where processors are short, requests come first. Its methods return once
// nobody writes to the file any more.
type Courier interface {
	// Fetch copies a part of a member's copy, see Part.Copy, and makes it durable.
	// FileError tells errors of the file from those of the member.
	Fetch(ctx context.Context, source catalog.NodeID, p Part) (copied int64, err error)
	// Verify is cab.Verify of the file there.
	Verify(ctx context.Context, path string, size int64) (cab.Info, error)
}

// A FileError is of the file that a Courier writes to.
type FileError struct{ Err error }

// Error implements error.
func (e *FileError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *FileError) Unwrap() error { return e.Err }

// A Part is a range of the packed bytes of a blob, on its way to the same place of a
// file.
type Part struct {
	Digest catalog.Digest
	Total  int64 // packed bytes that the blob has
	Offset int64
	Bytes  int64
	Path   string
	Begin  time.Duration // patience until the first byte
	Stall  time.Duration // and from then on
}

// A fetcher streams the packed bytes of one member's copy, see Peers.Fetch.
type fetcher = func(ctx context.Context, d catalog.Digest, offset, n int64) (body io.ReadCloser, total int64, err error)

// copyBuffers hold one turn of a transfer each: larger reads cost fewer calls of the
// system, and a transfer of its own buffer would keep the collector busy.
var copyBuffers = sync.Pool{New: func() any { return new([turn]byte) }}

// Copy writes what a member gives of the part, and returns how many bytes that were.
// It calls moved with the bytes of each read.
func (p Part) Copy(ctx context.Context, fetch fetcher, to io.WriterAt, moved func(int)) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stall := time.AfterFunc(p.Begin, cancel)
	defer stall.Stop()
	body, total, err := fetch(ctx, p.Digest, p.Offset, p.Bytes)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	stall.Reset(p.Stall)
	if total != p.Total {
		return 0, errOtherCopy
	}
	moving := &movingReader{r: body, timer: stall, every: p.Stall, moved: moved}
	buf := copyBuffers.Get().(*[turn]byte)
	defer copyBuffers.Put(buf)
	copied, err := io.CopyBuffer(io.NewOffsetWriter(to, p.Offset), io.LimitReader(moving, p.Bytes), buf[:])
	if err == nil && copied < p.Bytes {
		err = fmt.Errorf("%d of %d bytes from offset %d: %w", copied, p.Bytes, p.Offset, io.ErrUnexpectedEOF)
	}
	return copied, err
}

// movingReader puts the stall timer off whenever bytes arrive.
type movingReader struct {
	r     io.Reader
	timer *time.Timer
	every time.Duration
	moved func(int)
}

// Read implements io.Reader.
func (m *movingReader) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if n > 0 {
		m.timer.Reset(m.every)
	}
	m.moved(n)
	return n, err
}

// leisurely reports whether nobody waits for the transfer.
func (t transfer) leisurely() bool {
	if t.why == awaited {
		return false
	}
	select {
	case <-t.urgent:
		return false
	default:
		return true
	}
}

// whileLeisurely returns a context that ends once somebody waits.
func (t transfer) whileLeisurely(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-t.urgent:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// send has the courier fetch a part. Once somebody waits for the blob that ends early,
// without an error; the rest is for this process.
func (r *Replicator) send(ctx context.Context, st *blobstore.Staging, t transfer, src catalog.NodeID, p Part) (int64, error) {
	if err := st.Wrote(0, nil); err != nil {
		return 0, err
	}
	leisure, cancel := t.whileLeisurely(ctx)
	defer cancel()
	copied, err := r.cfg.Courier.Fetch(leisure, src, p)
	var failed *FileError
	if errors.As(err, &failed) {
		return 0, st.Wrote(0, failed)
	}
	if copied > 0 {
		if err := st.Wrote(p.Offset+copied, nil); err != nil {
			return 0, err
		}
	}
	if err != nil && ctx.Err() == nil && !t.leisurely() {
		err = nil
	}
	return copied, err
}
