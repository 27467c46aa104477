package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

const (
	// resumeFrom is the size from which a first attempt asks how much a server has
	// already: below it, sending again costs no more than asking.
	resumeFrom = 4 << 20
	// stallTimeout ends an attempt that sends nothing. Once all is sent, the server
	// packs the rest and copies the blob to other members: every settleRate bytes
	// of it add a second.
	stallTimeout = 45 * time.Second
	settleRate   = 8 << 20
	// smallFile is the size up to which smallLanes files are sent where one larger one
	// would be: what they take is not bandwidth but the time until each is durable, and
	// servers make many durable as fast as one. It makes no more than mostLanes of them.
	smallFile  = 256 << 10
	smallLanes = 4
	mostLanes  = 16
	// conflictRounds is how often one server may move its offset under us.
	conflictRounds = 4
)

// A transfer counts the bytes of the blobs that are sent.
type transfer struct {
	mu    sync.Mutex
	pos   map[catalog.Digest]int64 // highest offset reached
	total int64
	done  int64
}

func (t *transfer) add(files []*File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pos == nil {
		t.pos = map[catalog.Digest]int64{}
	}
	for _, f := range files {
		t.done -= t.pos[f.SHA256]
		if _, again := t.pos[f.SHA256]; !again {
			t.total += f.Size
		}
		t.pos[f.SHA256] = 0
	}
}

// reach records that f came to pos, and whether it had never been there.
func (t *transfer) reach(f *File, pos int64) (done, total int64, advanced bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if advanced = pos > t.pos[f.SHA256]; advanced {
		t.done += pos - t.pos[f.SHA256]
		t.pos[f.SHA256] = pos
	}
	return t.done, t.total, advanced
}

func (t *transfer) totals() (done, total int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done, t.total
}

// upload sends each lacking blob once, large ones first, a few at a time, and small ones
// more at a time.
func (p *push) upload(ctx context.Context, lacking []catalog.Digest) error {
	files, err := p.sources(lacking)
	if err != nil {
		return err
	}
	p.uploads.add(files)
	e := Event{Event: EventLacking, Package: p.id, Blobs: len(files), Files: len(p.files)}
	for _, f := range files {
		e.Bytes += f.Size
	}
	p.report.Report(e)
	if err := p.uploadAll(ctx, files); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	for _, f := range files {
		p.sent[f.SHA256] = true
	}
	return nil
}

// uploadAll shares lanes out: a small file takes one, a larger one its share of all.
func (p *push) uploadAll(ctx context.Context, files []*File) error {
	share := max(1, min(smallLanes, mostLanes/p.cfg.Uploads))
	lanes := semaphore.NewWeighted(int64(share * p.cfg.Uploads))
	g, gctx := errgroup.WithContext(ctx)
	for _, f := range files {
		n := int64(1)
		if f.Size > smallFile {
			n = int64(share)
		}
		if lanes.Acquire(gctx, n) != nil {
			break
		}
		g.Go(func() error {
			defer lanes.Release(n)
			return p.uploadFile(gctx, f)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// sources picks one local file for each digest.
func (p *push) sources(lacking []catalog.Digest) ([]*File, error) {
	byDigest := make(map[catalog.Digest]*File, len(p.files))
	for _, f := range slices.Backward(p.files) {
		byDigest[f.SHA256] = f // the first file of a digest wins
	}
	var files []*File
	for _, d := range lacking {
		f, ok := byDigest[d]
		if !ok {
			return nil, fmt.Errorf("package %s: server lacks blob %s, which no file of this push has", p.id, d)
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b *File) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Path, b.Path))
	})
	return slices.Compact(files), nil
}

func (p *push) uploadFile(ctx context.Context, f *File) error {
	u := &upload{push: p, file: f, resume: f.Size >= resumeFrom}
	defer u.close()
	if err := u.prepare(ctx); err != nil {
		return err
	}
	err := p.servers.do(ctx, "upload "+f.Path, u.attempt)
	if err == nil {
		p.report.Report(Event{Event: EventUploaded, Path: f.Path, FileSize: f.Size, FileDone: f.Size})
	}
	return err
}

// An upload is one file on its way.
type upload struct {
	*push
	file   *File
	resume bool    // ask a server what it has before sending
	packed *packed // nil when the raw bytes are sent
}

// attempt sends the file to one server. One that refuses the packed file gets the raw
// bytes: it may be an older one behind the same URL, or the file was damaged on the way.
func (u *upload) attempt(ctx context.Context, s Server) error {
	err := u.send(ctx, s)
	if u.packed != nil && errors.Is(err, catalog.ErrInvalid) {
		u.report.Report(Event{Event: EventSentRaw, Path: u.file.Path, Server: s.Base(), Message: err.Error()})
		u.close()
		u.resume = true
		err = u.send(ctx, s)
	}
	u.resume = true
	return err
}

// send uploads the file from the offset that the server acknowledges.
func (u *upload) send(ctx context.Context, s Server) error {
	for round := 1; ; round++ {
		var st api.UploadState
		if u.resume {
			var err error
			if st, err = u.state(ctx, s, u.sending()); err != nil {
				return err
			}
		}
		err := u.put(ctx, s, st.Offset)
		var answer *api.Error
		switch {
		case !errors.As(err, &answer) || answer.Code != api.CodeConflict:
			return err
		case st.Complete:
			return nil // it takes no more of what it holds; the commit will tell
		case round == conflictRounds:
			return err
		}
		u.resume = true
	}
}

// sending says which bytes stand for the file.
func (u *upload) sending() api.Sending {
	s := api.Sending{Package: u.id, Digest: u.file.SHA256, Size: u.file.Size}
	if u.packed != nil {
		s.Packed, s.Size = catalog.Digest(u.packed.info.PackedSHA256), u.packed.info.PackedSize
	}
	return s
}

// state asks one server what it has. The answer's offset is one of what is asked about.
func (u *upload) state(ctx context.Context, s Server, what api.Sending) (api.UploadState, error) {
	rctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	st, err := s.UploadState(rctx, what)
	if err != nil {
		return st, late(ctx, rctx, s, err)
	}
	if st.Complete {
		st.Offset = what.Size
	}
	if st.Offset < 0 || st.Offset > what.Size {
		return st, fmt.Errorf("%s: acknowledges %d bytes of %s, of which %d are to be sent: %w", s.Base(), st.Offset, u.file.Path, what.Size, catalog.ErrUnavailable)
	}
	return st, nil
}

// put makes one attempt. It ends early when nothing moves.
func (u *upload) put(ctx context.Context, s Server, offset int64) error {
	dog := newWatchdog(ctx, min(stallTimeout, u.cfg.Timeout))
	defer dog.stop()
	f, what := u.file, u.sending()
	sending := false // the bytes before offset are only read
	moved := func(pos int64) {
		if sending {
			u.servers.moves(s)
		}
		patience := stallTimeout
		if pos == what.Size {
			patience += time.Duration(f.Size/settleRate) * time.Second
		}
		dog.feed(min(patience, u.cfg.Timeout))
		raw := scale(pos, what.Size, f.Size)
		done, total, advanced := u.uploads.reach(f, raw)
		if advanced {
			u.servers.advanced()
		}
		u.report.Report(Event{Event: EventUploading, Path: f.Path, FileDone: raw, FileSize: f.Size, Done: done, Total: total})
	}
	b, err := u.open(ctx, offset, moved)
	if err != nil {
		return err
	}
	defer b.Close()
	if what.Size == 0 {
		moved(0)
	}
	sending = true
	_, err = s.Send(dog, what, offset, b)
	if broken := b.failure(); broken != nil {
		return broken
	}
	return late(ctx, dog, s, err)
}

// scale turns a position within size bytes into one within others.
func scale(pos, size, others int64) int64 {
	if pos >= size {
		return others
	}
	return int64(float64(pos) / float64(size) * float64(others))
}

// A source is the bytes of an upload, from an offset on.
type source interface {
	io.ReadCloser
	// failure returns what was wrong with the local file, whatever the transport made
	// of it.
	failure() error
}

// open opens what is sent, at an offset.
func (u *upload) open(ctx context.Context, offset int64, moved func(pos int64)) (source, error) {
	if u.packed != nil {
		return u.packed.open(offset, moved)
	}
	return openBody(ctx, u.file, offset, moved)
}
