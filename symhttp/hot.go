package symhttp

import (
	"context"
	"io"
	"log/slog"
	"sync"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

const (
	hotMin   = cab.GroupSize // smaller files are unpacked as fast as they are read
	hotQueue = 16            // fills that may wait; more are dropped, the next request asks again
	hotSeen  = 4096          // digests whose requests are counted
)

// hot fills the cache with blobs asked for raw more than once. One is unpacked at
// a time.
type hot struct {
	st    *store
	log   *slog.Logger
	queue chan catalog.Candidate

	mu   sync.Mutex
	seen map[catalog.Digest]int // requests; -1 while queued
}

func newHot(st *store, log *slog.Logger) *hot {
	return &hot{st: st, log: log, queue: make(chan catalog.Candidate, hotQueue), seen: map[catalog.Digest]int{}}
}

// asked counts a request for raw bytes that the cache did not have.
func (h *hot) asked(c catalog.Candidate, size int64) {
	if h == nil || size < hotMin || !h.second(c.Digest) {
		return
	}
	select {
	case h.queue <- c:
	default:
		h.forget(c.Digest)
	}
}

// second reports true at the second request for a blob, and not again while that
// one is being filled.
func (h *hot) second(d catalog.Digest) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.seen[d]
	if n == 0 && len(h.seen) >= hotSeen {
		clear(h.seen)
	}
	switch {
	case n < 0:
		return false
	case n == 0:
		h.seen[d] = 1
		return false
	}
	h.seen[d] = -1
	return true
}

func (h *hot) forget(d catalog.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.seen, d)
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
			h.forget(c.Digest)
		}
	}
}

func (h *hot) fill(ctx context.Context, c catalog.Candidate) error {
	o, err := h.st.openPacked(ctx, c)
	if err != nil {
		return err
	}
	defer o.Close()
	if err := o.take(ctx, rangeGroups); err != nil {
		return err
	}
	return h.st.cache.Fill(c.Digest, o.size, func(w io.Writer) error {
		r := o.cab.Range(0, o.size)
		defer r.Close()
		_, err := io.Copy(w, stoppable{ctx, r})
		h.st.suspect(c.Digest, err)
		return err
	})
}

// stoppable ends a copy with ctx.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (s stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}
