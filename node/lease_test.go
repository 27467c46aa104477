package node

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/catalog"
)

// TestMissNeedsHeldLease: a look counts as a miss only if the lease was held after
// it. A round that took too long, or a node that stood still between the two, has
// to try again.
func TestMissNeedsHeldLease(t *testing.T) {
	for _, tt := range []struct {
		name   string
		round  time.Duration // the first one takes
		look   time.Duration // the first one takes
		rounds int
	}{
		{"in time", 10 * time.Millisecond, 0, 1},
		{"slow round", leaseTime + time.Millisecond, 0, 2},
		{"standstill before the look", 10 * time.Millisecond, leaseTime, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rounds, looks := 0, 0
				l := newNegativeLease(func(context.Context) error {
					if rounds++; rounds == 1 {
						time.Sleep(tt.round)
					}
					return nil
				})
				defer l.stop()
				err := l.misses(t.Context(), func() (bool, error) {
					if looks++; looks == 1 {
						time.Sleep(tt.look)
					}
					return false, nil
				})
				if err != nil || rounds != tt.rounds || looks != tt.rounds {
					t.Errorf("misses = %v after %d rounds and %d looks, want nil after %d of each", err, rounds, looks, tt.rounds)
				}
			})
		})
	}
}

// TestMissFound: what is found needs no lease after it.
func TestMissFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newNegativeLease(func(context.Context) error { return nil })
		defer l.stop()
		looks := 0
		err := l.misses(t.Context(), func() (bool, error) { looks++; time.Sleep(leaseTime); return true, nil })
		if err != nil || looks != 1 {
			t.Errorf("misses = %v after %d looks, want nil after one", err, looks)
		}
		broken := errors.New("disk")
		if err := l.misses(t.Context(), func() (bool, error) { return false, broken }); !errors.Is(err, broken) {
			t.Errorf("misses of a look that fails = %v, want its error", err)
		}
	})
}

// TestLeaseRenewedAhead: misses that keep coming never find the lease over, and cost a
// round with the leader twice a second.
func TestLeaseRenewedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rounds atomic.Int64
		l := newNegativeLease(func(context.Context) error { rounds.Add(1); time.Sleep(20 * time.Millisecond); return nil })
		defer l.stop()
		if l.fresh() || rounds.Load() > 0 {
			t.Errorf("fresh before the first round = true, or %d rounds began by it", rounds.Load())
		}
		if err := l.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for time.Since(begun) < 10*time.Second {
			if !l.fresh() || !l.held() {
				t.Fatalf("lease over after %s of misses", time.Since(begun))
			}
			time.Sleep(time.Millisecond)
		}
		if n := rounds.Load(); n < 18 || n > 21 {
			t.Errorf("%d rounds in 10 s, want one each half second", n)
		}
		time.Sleep(leaseTime)
		if l.fresh() {
			t.Error("fresh after a pause as long as the lease = true")
		}
	})
}

// TestLeaseStop: stopping ends the round under way, and there is no other.
func TestLeaseStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newNegativeLease(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		got := make(chan error, 1)
		go func() { got <- l.acquire(t.Context()) }()
		synctest.Wait()
		begun := time.Now()
		l.stop()
		l.stop()
		if err := <-got; err == nil || time.Since(begun) > 0 {
			t.Errorf("acquire while the node stops = %v after %s, want an error at once", err, time.Since(begun))
		}
		if err := l.acquire(t.Context()); !errors.Is(err, errNobodySays) {
			t.Errorf("acquire after the stop = %v, want errNobodySays", err)
		}
	})
}

// TestPulse: a process that stood still is not trusted for a while, whether or not
// its pulse beat first when it woke up.
func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pulse
		check := func(when string, want bool) {
			t.Helper()
			if got := p.steady(); got != want {
				t.Errorf("%s: steady = %t, want %t", when, got, want)
			}
		}
		check("before the first beat", false)
		p.beat()
		check("after the first beat", true)
		time.Sleep(stillAfter - time.Millisecond)
		check("after a short stop", true)
		p.beat()
		check("after the beat behind a short stop", true)
		time.Sleep(stillAfter)
		check("after a stop", false)
		p.beat()
		check("after the beat behind a stop", false)
		for range 4 {
			time.Sleep(settleTime / 4)
			p.beat()
		}
		check("once settled", true)
	})
}

// TestElapsed: of the two clocks the one that says more counts.
func TestElapsed(t *testing.T) {
	a := time.Now()
	b := a.Add(time.Second) // both clocks
	if got := elapsed(a, b); got != time.Second {
		t.Errorf("elapsed = %s, want 1s", got)
	}
	woken := b.Round(0).Add(time.Hour) // the wall clock alone, as after a suspend
	if got := elapsed(a, woken); got < time.Hour {
		t.Errorf("elapsed over a suspend = %s, want an hour and more", got)
	}
}

// TestMajorityWithout: a vote is not taken if the rest could decide nothing.
func TestMajorityWithout(t *testing.T) {
	n, _ := newLedgerNode(t)
	n.started = time.Now().Add(-time.Hour) // whom gossip has not seen is gone
	voter := func(id raft.ServerID) raft.Server { return raft.Server{ID: id, Suffrage: raft.Voter} }
	for _, tt := range []struct {
		name    string
		servers []raft.Server
		without catalog.NodeID
		want    error
	}{
		{"the dead one of two", []raft.Server{voter("self"), voter("dead")}, "dead", nil},
		{"a living one beside a dead one", []raft.Server{voter("self"), voter("alive"), voter("dead")}, "alive", catalog.ErrConflict},
		{"a non-voter", []raft.Server{voter("self"), {ID: "other", Suffrage: raft.Nonvoter}}, "other", nil},
		{"the last one", []raft.Server{voter("self")}, "self", catalog.ErrConflict},
	} {
		if err := n.majorityWithout(tt.servers, tt.without); !errors.Is(err, tt.want) {
			t.Errorf("majorityWithout of %s = %v, want %v", tt.name, err, tt.want)
		}
	}
}

// TestStartIsBehind: a node that has just started is not ready before one round has
// told it where it stands, unless nobody can for long. Later failures do not count.
func TestStartIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := catalog.ErrUnavailable
		l := newNegativeLease(func(context.Context) error { return answer })
		defer l.stop()
		n := &Node{started: time.Now(), lease: l}
		if err := n.startError(t.Context()); !errors.Is(err, catalog.ErrUnavailable) {
			t.Errorf("startError without a leader = %v, want %v", err, catalog.ErrUnavailable)
		}
		old := &Node{started: time.Now().Add(-startPatience - 1), lease: l}
		if err := old.startError(t.Context()); err != nil {
			t.Errorf("startError long after the start = %v, want nil", err)
		}
		answer = nil
		if err := n.startError(t.Context()); err != nil {
			t.Errorf("startError after a round = %v, want nil", err)
		}
		answer = catalog.ErrUnavailable
		time.Sleep(2 * leaseTime)
		if err := n.startError(t.Context()); err != nil {
			t.Errorf("startError with a lease that ran out = %v, want nil", err)
		}
	})
}
