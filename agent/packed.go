package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	"symkeep/internal/cab"
	"symkeep/internal/symid"
)

const (
	// packRoom bounds the packed files that a push keeps on disk at once, in bytes. A
	// single larger one waits until it is alone.
	packRoom = 8 << 30
	// maxPackWorkers bounds the memory of packing: up to 8 MiB for each worker of each file
	// that is packed at once.
	maxPackWorkers = 8
)

// A packed is a file packed as a node would pack it, kept in a temporary file for as
// long as it is sent: what is sent again must be the same bytes.
type packed struct {
	file *os.File
	info cab.Info
	room int64
}

// prepare packs the file if the servers take that and do not hold it. Whatever keeps
// it from being packed, such as a full disk, only means that the raw bytes are sent;
// but a file that changed, or cannot be read, ends the push.
func (u *upload) prepare(ctx context.Context) error {
	if u.cfg.Raw || u.file.Size == 0 {
		return nil
	}
	if packs, err := u.packs(ctx); err != nil || !packs {
		return err
	}
	err := u.pack(ctx)
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrChanged) || errors.Is(err, errLocal) {
		return err
	}
	u.close()
	u.report.Report(Event{Event: EventSentRaw, Path: u.file.Path, Message: err.Error()})
	return nil
}

// packs reports whether packing is of use. Servers are asked once in a push, and about
// every large file, which somebody else may have sent meanwhile.
func (u *upload) packs(ctx context.Context) (packs bool, err error) {
	p := u.push
	if !u.resume {
		p.takes.Lock()
		defer p.takes.Unlock()
		if p.takes.known {
			return p.takes.packed, nil
		}
		defer func() { p.takes.known, p.takes.packed = err == nil, packs }()
	}
	err = p.servers.do(ctx, "upload "+u.file.Path, func(ctx context.Context, s Server) error {
		what := u.sending()
		st, err := u.state(ctx, s, what)
		packs = st.Packs && !(u.resume && st.Complete)
		return err
	})
	return packs, err
}

// takes is what the servers of a push say they take.
type takes struct {
	sync.Mutex
	known  bool
	packed bool
}

// pack packs the file into a temporary one.
func (u *upload) pack(ctx context.Context) (err error) {
	f := u.file
	room := min(cab.MaxPacked(f.Size), packRoom)
	if err := u.room.Acquire(ctx, room); err != nil {
		return context.Cause(ctx)
	}
	u.packed = &packed{room: room}
	if u.packed.file, err = u.dir.Create(); err != nil {
		return err
	}
	os.Remove(u.packed.file.Name()) // where an open file can go, nothing is left of it even if this process is killed
	w, err := cab.NewWriter(u.packed.file, cab.Options{
		RawSize: f.Size, Name: symid.BaseName(f.Path), Workers: min(runtime.GOMAXPROCS(0), maxPackWorkers),
	})
	if err != nil {
		return err
	}
	defer w.Abort()
	body, err := openBody(ctx, f, 0, func(pos int64) {
		u.servers.advanced()
		done, total := u.uploads.totals()
		u.report.Report(Event{Event: EventPacking, Path: f.Path, FileDone: pos, FileSize: f.Size, Done: done, Total: total})
	})
	if err != nil {
		return err
	}
	defer body.Close()
	buf := make([]byte, min(hashChunk, f.Size))
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n, err := body.Read(buf)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
	}
	u.packed.info, err = w.Close()
	return err
}

// close removes the packed file, if there is one: the raw bytes are sent from then on.
func (u *upload) close() {
	if u.packed == nil {
		return
	}
	if u.packed.file != nil {
		u.packed.file.Close()
		os.Remove(u.packed.file.Name())
	}
	u.room.Release(u.packed.room)
	u.packed = nil
}

// open opens the packed file at an offset.
func (p *packed) open(offset int64, moved func(pos int64)) (source, error) {
	left := p.info.PackedSize - offset
	if offset > 0 {
		moved(offset)
	}
	return &packedBody{r: io.NewSectionReader(p.file, offset, left), pos: offset, moved: moved}, nil
}

// A packedBody reads a packed file. The file is ours: what was packed had the hash of
// the scan, and the packed SHA-256 goes with every request.
type packedBody struct {
	r     io.Reader
	pos   int64
	moved func(pos int64)

	mu  sync.Mutex
	err error
}

// Read implements io.Reader.
func (b *packedBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if n > 0 {
		b.pos += int64(n)
		b.moved(b.pos)
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("packed file: %w: %w", err, errLocal)
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
	}
	return n, err
}

// Close implements io.Closer.
func (b *packedBody) Close() error { return nil }

func (b *packedBody) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}
