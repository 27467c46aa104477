package node

import (
	"context"
	"sync"
	"time"
)

// A process that stood still, stopped by a signal or with its machine, wakes up
// with old answers in its sockets. Raft takes one of them for a sign that a quorum
// still follows it, although another leader may have been elected meanwhile. That
// takes the others more than heartbeatTimeout, so a shorter stop does no harm.
const (
	pulseEvery = 100 * time.Millisecond
	stillAfter = leaseTimeout // counts as a stop
	settleTime = leaseTimeout // until old answers are read and the quorum is heard of
)

// A pulse tells whether this process has been running all the time.
type pulse struct {
	mu      sync.Mutex
	last    time.Time
	settled time.Time // not before this; zero: it never stood still
}

// Run beats until ctx ends.
func (p *pulse) Run(ctx context.Context) error {
	for p.beat(); pause(ctx, pulseEvery); p.beat() {
	}
	return nil
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !p.last.IsZero() && elapsed(p.last, now) >= stillAfter {
		p.settled = now.Add(settleTime)
	}
	p.last = now
}

// steady reports whether the process has not stood still lately.
func (p *pulse) steady() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	return !p.last.IsZero() && elapsed(p.last, now) < stillAfter && !now.Before(p.settled)
}

// elapsed returns the time from one reading to another by the monotonic clock or
// by the wall clock, whichever says more: the former stops with a suspended
// machine, the latter is set now and then.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}
