package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

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

// upload sends each lacking blob once, large ones first, a few at a time.
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
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.cfg.Uploads)
	for _, f := range files {
		g.Go(func() error { return p.uploadFile(gctx, f) })
	}
	if err := g.Wait(); err != nil {
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
	resume := f.Size >= resumeFrom
	err := p.servers.do(ctx, "upload "+f.Path, func(ctx context.Context, s Server) error {
		err := p.send(ctx, s, f, resume)
		resume = true
		return err
	})
	if err == nil {
		p.report.Report(Event{Event: EventUploaded, Path: f.Path, FileSize: f.Size, FileDone: f.Size})
	}
	return err
}

// send uploads f to one server, from the offset that it acknowledges.
func (p *push) send(ctx context.Context, s Server, f *File, resume bool) error {
	for round := 1; ; round++ {
		var offset int64
		var complete bool
		if resume {
			var err error
			if offset, complete, err = p.offset(ctx, s, f); err != nil {
				return err
			}
		}
		err := p.put(ctx, s, f, offset)
		var answer *api.Error
		switch {
		case !errors.As(err, &answer) || answer.Code != api.CodeConflict:
			return err
		case complete:
			return nil // it takes no more of what it holds; the commit will tell
		case round == conflictRounds:
			return err
		}
		resume = true
	}
}

func (p *push) offset(ctx context.Context, s Server, f *File) (offset int64, complete bool, err error) {
	rctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	offset, complete, err = s.UploadOffset(rctx, p.id, f.SHA256)
	if err != nil {
		return 0, false, late(ctx, rctx, s, err)
	}
	if offset < 0 || offset > f.Size {
		return 0, false, fmt.Errorf("%s: acknowledges %d bytes of %s, which has %d: %w", s.Base(), offset, f.Path, f.Size, catalog.ErrUnavailable)
	}
	return offset, complete, nil
}

// put makes one attempt. It ends early when nothing moves.
func (p *push) put(ctx context.Context, s Server, f *File, offset int64) error {
	dog := newWatchdog(ctx, min(stallTimeout, p.cfg.Timeout))
	defer dog.stop()
	sending := false // the bytes before offset are only read
	moved := func(pos int64) {
		if sending {
			p.servers.moves(s)
		}
		patience := stallTimeout
		if pos == f.Size {
			patience += time.Duration(f.Size/settleRate) * time.Second
		}
		dog.feed(min(patience, p.cfg.Timeout))
		done, total, advanced := p.uploads.reach(f, pos)
		if advanced {
			p.servers.advanced()
		}
		p.report.Report(Event{Event: EventUploading, Path: f.Path, FileDone: pos, FileSize: f.Size, Done: done, Total: total})
	}
	b, err := openBody(ctx, f, offset, moved)
	if err != nil {
		return err
	}
	defer b.Close()
	if f.Size == 0 {
		moved(0)
	}
	sending = true
	_, err = s.Upload(dog, p.id, f.SHA256, offset, f.Size, b)
	if broken := b.failure(); broken != nil {
		return broken
	}
	return late(ctx, dog, s, err)
}
