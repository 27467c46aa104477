package replication

import (
	"context"
	"sync"
	"time"

	"symkeep/internal/catalog"
)

const (
	leastWindow  = 256 << 10       // bytes asked of a peer at a time under a tight limit
	settingsPoll = 2 * time.Second // between looks whether a pause has ended or a rate has changed
)

// A gate says when a pull may go on and by how many bytes at most; n is what it wants.
type gate func(ctx context.Context, n int64) (int64, error)

// budget is a token bucket of bytes. It may go below zero by one grant and then lets
// nobody pass until it is filled up again.
type budget struct {
	mu   sync.Mutex
	left float64
	at   time.Time // of left; monotonic
}

// take grants up to n bytes at the rate, or says how long to wait.
func (b *budget) take(now time.Time, n, rate int64) (granted int64, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.at.IsZero() {
		b.left = min(float64(rate), b.left+now.Sub(b.at).Seconds()*float64(rate))
	}
	b.at = now
	if b.left < 0 {
		return 0, time.Duration(-b.left / float64(rate) * float64(time.Second))
	}
	granted = min(n, max(leastWindow, rate/2))
	b.left -= float64(granted)
	return granted, 0
}

// repairGate holds a pull that mends placement to the cluster's settings: not at all
// while repair is paused, and no faster than its rate. Once somebody waits for the
// copy it stands open.
func (r *Replicator) repairGate(f *flight) gate {
	return func(ctx context.Context, n int64) (int64, error) {
		for {
			select {
			case <-f.urgent:
				return n, nil
			default:
			}
			wait := settingsPoll
			if s := r.cfg.Catalog.Settings(); !s.RepairPaused {
				if s.RepairRate == 0 {
					return n, nil
				}
				var granted int64
				if granted, wait = r.budget.take(time.Now(), n, s.RepairRate); granted > 0 {
					return granted, nil
				}
			}
			timer := time.NewTimer(min(wait, settingsPoll))
			select {
			case <-ctx.Done():
			case <-f.urgent:
			case <-timer.C:
			}
			timer.Stop()
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
		}
	}
}

// rankOf says how urgent it is to bring a blob here: by the number of other live
// copies, see rankMoves. One that nobody is known to have is a case of its own.
func (v view) rankOf(row catalog.Blob) byte {
	live := 0
	for _, h := range row.Holders {
		if h != v.self && v.members[h] && v.alive(h) {
			live++
		}
	}
	switch {
	case live == 0:
		return rankLost
	case live >= v.placement.wanted():
		return rankMoves
	}
	return byte(live)
}
