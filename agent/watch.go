package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"symkeep/internal/catalog"
)

// deadProbes is how many questions in a row a server may leave without an answer.
const deadProbes = 2

// errGone says that a server stopped giving signs of life while it had a request.
var errGone = fmt.Errorf("no sign of life, its process or host may stand still: %w", catalog.ErrUnavailable)

// watch ends the context that it returns, with the cause errGone, once a server
// does not live any more: of a process or a host that stands still the connections
// stay open, and only time tells it from one that works for long. A server that
// answers is never given up here; behind a balancer the answer may be that of
// another node, so every request has a limit of its own as well. The stop function
// ends the watch and waits for that.
func (p *servers) watch(ctx context.Context, no int) (watched context.Context, stop func()) {
	watched, give := context.WithCancelCause(ctx)
	var probing sync.WaitGroup
	probing.Go(func() {
		tick := time.NewTicker(p.probe)
		defer tick.Stop()
		for missed := 0; missed < deadProbes; {
			select {
			case <-watched.Done():
				return
			case <-tick.C:
			}
			if p.lives(watched, no) {
				missed = 0
			} else {
				missed++
			}
		}
		give(errGone)
	})
	return watched, func() {
		give(nil)
		probing.Wait()
	}
}

// lives asks a server once. An upload that moves meanwhile is as good as an answer:
// on a slow line the question queues up behind it. So is a refused connection: a
// server that is about to stop takes no new ones while it finishes what it has, and
// the connections of one that has ended are broken, so that nobody waits for it.
func (p *servers) lives(ctx context.Context, no int) bool {
	asked := time.Now()
	pctx, cancel := context.WithTimeout(ctx, p.probe)
	defer cancel()
	err := p.list[no].Live(pctx)
	if err == nil || ctx.Err() != nil || isRefusedConnection(err) {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.took[no].After(asked)
}

// moves says that a server takes bytes of an upload.
func (p *servers) moves(s Server) {
	no := p.number(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took[no] = time.Now()
}
