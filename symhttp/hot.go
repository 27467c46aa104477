package symhttp

import (
	"context"
	"log/slog"
	"sync"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
)

const (
	hotQueue = 16   // pours that may wait; more are dropped, the next request asks again
	hotSeen  = 4096 // answers whose requests are remembered
)

// heat remembers what was asked for.
type heat struct {
	mu   sync.Mutex
	seen map[answerID]struct{}
}

func newHeat() *heat { return &heat{seen: map[answerID]struct{}{}} }

// again reports whether an answer was asked for before.
func (h *heat) again(id answerID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.seen[id]; ok {
		return true
	}
	if len(h.seen) >= hotSeen {
		clear(h.seen)
	}
	h.seen[id] = struct{}{}
	return false
}

// hot fills the cache with blobs of which parts are asked for more than once: an answer
// with a part does not wait for the whole. One is unpacked at a time.
type hot struct {
	st    *store
	log   *slog.Logger
	queue chan catalog.Candidate

	mu     sync.Mutex
	queued map[catalog.Digest]bool
}

func newHot(st *store, log *slog.Logger) *hot {
	return &hot{st: st, log: log, queue: make(chan catalog.Candidate, hotQueue), queued: map[catalog.Digest]bool{}}
}

// asked notes a request for a part of the raw bytes, which the cache did not have.
func (h *hot) asked(c catalog.Candidate, size int64) {
	if h == nil || size <= smallMost || !h.st.seen.again(answerID{digest: c.Digest}) || !h.enter(c.Digest) {
		return
	}
	select {
	case h.queue <- c:
	default:
		h.leave(c.Digest)
	}
}

func (h *hot) enter(d catalog.Digest) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.queued[d] {
		return false
	}
	h.queued[d] = true
	return true
}

func (h *hot) leave(d catalog.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.queued, d)
}

// run fills until ctx ends.
func (h *hot) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-h.queue:
			if err := h.fill(ctx, c); err != nil && ctx.Err() == nil {
				h.log.Debug("blob not cached", "blob", c.Digest, "err", err)
			}
			h.leave(c.Digest)
		}
	}
}

// fill returns once the raw bytes are in the cache, or at the end of ctx.
func (h *hot) fill(ctx context.Context, c catalog.Candidate) error {
	o, err := h.st.openPacked(ctx, c)
	if err != nil {
		return err
	}
	defer o.Close()
	tap, err := o.pour(blobstore.FormRaw)
	if err != nil {
		return err
	}
	defer tap.Close()
	stop := context.AfterFunc(ctx, func() { tap.Close() })
	defer stop()
	return tap.Wait(o.size)
}
