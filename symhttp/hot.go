package symhttp

import (
	"context"
	"log/slog"
	"net"
	"sync"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

const (
	hotQueue = 16   // pours that may wait; more are dropped, the next request asks again
	hotSeen  = 4096 // answers, and blobs, whose requests are remembered
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

// hot fills the cache with blobs of which parts are asked for: an answer with a part
// does not wait for the whole. One is unpacked at a time, and only once its parts have
// cost as much as that will. So a debugger who reads a little of a huge file does not have
// the processors taken away by the rest of it, and no blob costs more than twice what
// it has to.
type hot struct {
	st    *store
	log   *slog.Logger
	queue chan catalog.Candidate

	mu     sync.Mutex
	queued map[catalog.Digest]bool
	spent  map[catalog.Digest]int64 // raw bytes unpacked for parts
}

func newHot(st *store, log *slog.Logger) *hot {
	return &hot{st: st, log: log, queue: make(chan catalog.Candidate, hotQueue),
		queued: map[catalog.Digest]bool{}, spent: map[catalog.Digest]int64{}}
}

// counted is a representation of the raw bytes of a packed blob whose parts are noted.
func (h *hot) counted(c catalog.Candidate, r representation) representation {
	direct := r.body
	r.body = func(ctx context.Context, s span, conn net.Conn) (*body, error) {
		h.asked(c, r.size, s)
		return direct(ctx, s, conn)
	}
	return r
}

// asked notes a request for a part of the raw bytes of a blob of size bytes, which the
// cache did not have.
func (h *hot) asked(c catalog.Candidate, size int64, part span) {
	if h == nil || size <= smallMost || !h.worth(c.Digest, size, part) || !h.enter(c.Digest) {
		return
	}
	select {
	case h.queue <- c:
	default:
		h.leave(c.Digest)
	}
}

// worth adds what a part costs, which is all of its groups from their start on, and
// reports whether the whole blob would not have cost more.
func (h *hot) worth(d catalog.Digest, size int64, part span) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.spent[d]; !ok && len(h.spent) >= hotSeen {
		clear(h.spent)
	}
	h.spent[d] += part.end() - part.off/cab.GroupSize*cab.GroupSize
	return h.spent[d] >= size
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
			h.settle(c.Digest)
			h.leave(c.Digest)
		}
	}
}

// settle begins to count anew.
func (h *hot) settle(d catalog.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.spent, d)
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
