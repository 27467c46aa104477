package replication

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

const (
	readBlock  = 1 << 20 // bytes asked of a peer at a time
	readBlocks = 8       // kept per open blob

	// identifyFor is the patience with one member's first bytes, so that a debugger
	// who waits some seconds sees the next member tried.
	identifyFor = 3 * time.Second
)

// A Blob is one open copy of a packed blob. ReadAt may be called concurrently.
type Blob interface {
	io.ReaderAt
	io.Closer
	// Size is that of the packed bytes.
	Size() int64
	// File is the local file the Blob reads, nil for a remote one. Closing it
	// instead of the Blob releases everything.
	File() *os.File
}

// Open returns the packed bytes of a blob in the established form: this node's
// copy, else one streamed from a member that has it, or remembered if it is small.
// ctx bounds the call only. The error wraps catalog.ErrNotFound if the cluster has no
// such blob, and catalog.ErrUnavailable if nobody who may hold it gave it: worth a
// retry.
func (r *Replicator) Open(ctx context.Context, d catalog.Digest) (Blob, error) {
	row, err := r.stored(d)
	if err != nil {
		return nil, err
	}
	if !r.isSuspect(d) {
		f, e, err := r.store.OpenBlob(d)
		if err == nil && e.Packed == row.Packed {
			return &localBlob{f, e.Packed.Size}, nil
		}
		if err == nil {
			f.Close()
		} else if !errors.Is(err, catalog.ErrNotFound) {
			r.log.Warn("local copy not readable, asking others", "blob", d, "err", err)
		}
		r.Notify(d)
	}
	if data := r.memory.get(row); data != nil {
		return keptBlob{bytes.NewReader(data)}, nil
	}
	return r.openRemote(ctx, row)
}

// stored returns the row of a blob that the cluster holds.
func (r *Replicator) stored(d catalog.Digest) (catalog.Blob, error) {
	row, err := r.cfg.Catalog.Blob(d)
	if err != nil {
		return row, err
	}
	if row.Retired || row.Packed.Size == 0 {
		return row, fmt.Errorf("blob %s: retired or not committed: %w", d, catalog.ErrNotFound)
	}
	return row, nil
}

type localBlob struct {
	f    *os.File
	size int64
}

// ReadAt implements io.ReaderAt.
func (b *localBlob) ReadAt(p []byte, off int64) (int, error) { return b.f.ReadAt(p, off) }

// Close implements Blob.
func (b *localBlob) Close() error { return b.f.Close() }

// Size implements Blob.
func (b *localBlob) Size() int64 { return b.size }

// File implements Blob.
func (b *localBlob) File() *os.File { return b.f }

// remoteBlob reads a copy of other members, block by block.
type remoteBlob struct {
	r      *Replicator
	row    catalog.Blob
	ctx    context.Context // of the open blob; ends with Close
	cancel context.CancelFunc

	mu      sync.Mutex
	sources []catalog.NodeID // the one that answered last comes first
	blocks  map[int64]*list.Element
	order   *list.List // of *block, latest use first
}

// block is a part of the packed bytes; data and err are set before done is closed.
type block struct {
	no   int64
	done chan struct{}
	data []byte
	err  error
}

// openRemote finds a member whose copy opens and is the established form.
func (r *Replicator) openRemote(ctx context.Context, row catalog.Blob) (Blob, error) {
	sources := r.byReach(row.Holders)
	var tried []error
	for _, src := range sources {
		b := r.newRemote(ctx, row, []catalog.NodeID{src})
		err := b.identify(ctx)
		if err == nil {
			b.sources = append([]catalog.NodeID{src}, without(sources, src)...)
			if data, err := b.block(0); err == nil && int64(len(data)) == row.Packed.Size && len(data) <= memoryMost {
				r.memory.put(ctx, row, data)
			}
			return b, nil
		}
		b.Close()
		tried = append(tried, fmt.Errorf("member %s: %w", src, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("blob %s: no holder gave it: %v: %w", row.Digest, errors.Join(tried...), catalog.ErrUnavailable)
}

func without(nodes []catalog.NodeID, id catalog.NodeID) []catalog.NodeID {
	var out []catalog.NodeID
	for _, n := range nodes {
		if n != id {
			out = append(out, n)
		}
	}
	return out
}

func (r *Replicator) newRemote(ctx context.Context, row catalog.Blob, sources []catalog.NodeID) *remoteBlob {
	b := &remoteBlob{r: r, row: row, sources: sources, blocks: make(map[int64]*list.Element), order: list.New()}
	b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return b
}

// identify reads what the copy says of itself. ctx ends it.
func (b *remoteBlob) identify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, identifyFor)
	defer cancel()
	stop := context.AfterFunc(ctx, b.cancel)
	defer stop()
	rd, err := cab.Open(b, b.row.Packed.Size)
	if err != nil {
		return err
	}
	if got := catalog.Digest(rd.Info().PackedSHA256); got != b.row.Packed.SHA256 {
		return errOtherCopy
	}
	if !stop() {
		return ctx.Err()
	}
	return nil
}

// Size implements Blob.
func (b *remoteBlob) Size() int64 { return b.row.Packed.Size }

// File implements Blob.
func (b *remoteBlob) File() *os.File { return nil }

// Close implements Blob. Reads under way fail.
func (b *remoteBlob) Close() error {
	b.cancel()
	return nil
}

// ReadAt implements io.ReaderAt. Its errors wrap catalog.ErrUnavailable.
func (b *remoteBlob) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("blob %s: read at %d: negative offset", b.row.Digest, off)
	}
	n := 0
	for n < len(p) && off < b.Size() {
		data, err := b.block(off / readBlock)
		if err != nil {
			return n, err
		}
		c := copy(p[n:], data[off%readBlock:])
		n += c
		off += int64(c)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// block returns a block, fetching it if nobody has or is doing so.
func (b *remoteBlob) block(no int64) ([]byte, error) {
	b.mu.Lock()
	if el, ok := b.blocks[no]; ok {
		b.order.MoveToFront(el)
		b.mu.Unlock()
		bl := el.Value.(*block)
		<-bl.done
		return bl.data, bl.err
	}
	bl := &block{no: no, done: make(chan struct{})}
	b.blocks[no] = b.order.PushFront(bl)
	if b.order.Len() > readBlocks {
		old := b.order.Back()
		b.order.Remove(old)
		delete(b.blocks, old.Value.(*block).no)
	}
	sources := b.sources
	b.mu.Unlock()

	bl.data, bl.err = b.fetch(no, sources)
	close(bl.done)
	if bl.err != nil {
		b.forget(bl)
	}
	return bl.data, bl.err
}

func (b *remoteBlob) forget(bl *block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if el, ok := b.blocks[bl.no]; ok && el.Value.(*block) == bl {
		b.order.Remove(el)
		delete(b.blocks, bl.no)
	}
}

// fetch asks the sources in turn; one that answers is asked first from then on.
func (b *remoteBlob) fetch(no int64, sources []catalog.NodeID) ([]byte, error) {
	off := no * readBlock
	buf := make([]byte, min(readBlock, b.Size()-off))
	var tried []error
	for i, src := range sources {
		err := b.r.readFrom(b.ctx, src, b.row, buf, off)
		if err == nil {
			if i > 0 {
				b.mu.Lock()
				b.sources = append([]catalog.NodeID{src}, without(sources, src)...)
				b.mu.Unlock()
			}
			return buf, nil
		}
		tried = append(tried, fmt.Errorf("member %s: %w", src, err))
		if b.ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("blob %s: offset %d: %v: %w", b.row.Digest, off, errors.Join(tried...), catalog.ErrUnavailable)
}

// readFrom fills buf from one member's copy.
func (r *Replicator) readFrom(ctx context.Context, src catalog.NodeID, row catalog.Blob, buf []byte, off int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stall := time.AfterFunc(r.toBegin(), cancel)
	defer stall.Stop()
	body, total, err := r.cfg.Peers.Fetch(ctx, src, row.Digest, off, int64(len(buf)))
	if err != nil {
		return err
	}
	defer body.Close()
	stall.Reset(r.cfg.Stall)
	if total != row.Packed.Size {
		return errOtherCopy
	}
	_, err = io.ReadFull(body, buf)
	return err
}
