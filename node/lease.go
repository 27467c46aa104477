package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// Timings of misses, design section 7. A lease lasts leaseTime from the start of
// the round that granted it.
const (
	leaseTime   = time.Second
	missTimeout = 2 * time.Second
	breakerTime = 5 * time.Second

	confirmTimeout = 10 * time.Second // for others than misses

	startPatience = 15 * time.Second // a node without a leader serves what it has
) // half of missTimeout is for the leader, half for the other members

// errNobodySays is the answer when neither this node nor another one can stand
// for a miss. The client's connection is reset.
var errNobodySays = fmt.Errorf("no node can vouch that the key is unknown: %w", catalog.ErrUnavailable)

// A negativeLease is this node's right to say from its own state that a key is
// unknown. Its rounds with the leader are shared by all misses of the node.
type negativeLease struct {
	round func(ctx context.Context) error // confirms and waits until applied

	base    context.Context // ends with the node: a round belongs to no request
	end     context.CancelFunc
	running sync.WaitGroup

	started atomic.Pointer[time.Time] // of the newest round that succeeded; nil before one has

	mu      sync.Mutex
	current *round    // nil when none is under way
	broken  time.Time // until then nobody is asked
	stopped bool
}

type round struct {
	done chan struct{}
	err  error
}

func newNegativeLease(round func(context.Context) error) *negativeLease {
	l := &negativeLease{round: round}
	l.base, l.end = context.WithCancel(context.Background())
	return l
}

// stop ends the round under way and allows no more. It may be called again.
func (l *negativeLease) stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.end()
	l.running.Wait()
}

// held reports whether the lease is valid now.
func (l *negativeLease) held() bool { return l.age() < leaseTime }

// age is the time since the newest round that succeeded began, leaseTime if none has.
func (l *negativeLease) age() time.Duration {
	started := l.started.Load()
	if started == nil {
		return leaseTime
	}
	return elapsed(*started, time.Now())
}

// everHeld reports whether a round has succeeded since the start.
func (l *negativeLease) everHeld() bool { return l.started.Load() != nil }

// fresh is held for a miss that does not wait. When half of the lease is over it has
// the next round begin, so that misses that come all the time never wait for one.
func (l *negativeLease) fresh() bool {
	age := l.age()
	if age >= leaseTime/2 && age < leaseTime {
		_, _ = l.begin() // at the latest when it has ended somebody waits for another
	}
	return age < leaseTime
}

// misses runs look under the lease, until look finds something or the lease was
// still held after it: only then was the state that look saw new enough for a
// miss, however long a round or look itself took.
func (l *negativeLease) misses(ctx context.Context, look func() (found bool, err error)) error {
	for {
		if err := l.acquire(ctx); err != nil {
			return err
		}
		if found, err := look(); found || err != nil || l.held() {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// acquire returns nil once a round has succeeded, perhaps one that was under way.
// The round is shared, so it is not cancelled with ctx.
func (l *negativeLease) acquire(ctx context.Context) error {
	if l.held() {
		return nil
	}
	r, err := l.begin()
	if err != nil {
		return err
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin returns the round under way, a new one if there is none.
func (l *negativeLease) begin() (*round, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || time.Now().Before(l.broken) {
		return nil, errNobodySays
	}
	if l.current == nil {
		r := &round{done: make(chan struct{})}
		l.current = r
		l.running.Go(func() { l.run(r) })
	}
	return l.current, nil
}

func (l *negativeLease) run(r *round) {
	ctx, cancel := context.WithTimeout(l.base, missTimeout)
	defer cancel()
	started := time.Now()
	if r.err = l.round(ctx); r.err == nil {
		l.started.Store(&started)
	}
	l.mu.Lock()
	l.current = nil
	l.mu.Unlock()
	close(r.done)
}

// trip makes acquire fail at once for a while: nobody could be asked.
func (l *negativeLease) trip() {
	l.mu.Lock()
	l.broken = time.Now().Add(breakerTime)
	l.mu.Unlock()
}

// confirmApplied is the round: the leader, confirmed by a quorum, names its commit
// index, and this node waits until it has applied that.
//
// While there is no leader it asks again until ctx ends, for confirmTimeout at
// most. Errors wrap catalog.ErrUnavailable.
func (n *Node) confirmApplied(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	for {
		if err := n.end.failed(); err != nil { // a catalog that diverged stands for nothing
			return fmt.Errorf("node %s stops: %v: %w", n.name, err, catalog.ErrUnavailable)
		}
		index, err := n.readIndex(ctx)
		if err == nil {
			if err = n.fsm.WaitApplied(ctx, index); err == nil {
				return nil
			}
			return fmt.Errorf("this node is behind the cluster: %v: %w", err, catalog.ErrUnavailable)
		}
		if !pause(ctx, proposePause/2) {
			return fmt.Errorf("no leader confirms what is committed: %v: %w", err, catalog.ErrUnavailable)
		}
	}
}

// startError is an error from this node's start until it knows of everything that
// was committed before: others answer better and sooner meanwhile. It is nil after
// startPatience in any case, for then there may be no leader anywhere.
func (n *Node) startError(ctx context.Context) error {
	if n.lease.everHeld() || time.Since(n.started) > startPatience {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	if err := n.lease.acquire(ctx); err != nil {
		return fmt.Errorf("this node has just started and may be behind: %w", err)
	}
	return nil
}

// readIndex returns an index such that a reader who has applied it sees every
// write that was acknowledged before the call.
func (n *Node) readIndex(ctx context.Context) (uint64, error) {
	c := n.consensus()
	if c == nil {
		return 0, errNoCluster
	}
	addr, id := c.raft.LeaderWithID()
	switch id {
	case raft.ServerID(n.id.Node):
		return n.ReadIndex(ctx)
	case "":
		return 0, errNoLeader
	}
	return n.peers.ReadIndex(ctx, n.peerAddr(catalog.NodeID(id), string(addr)))
}

// ReadIndex is readIndex for a leader; errors wrap api.ErrNotLeader elsewhere. The
// commit index is taken before the quorum is asked, and counts only once an entry
// of this term has been applied.
func (n *Node) ReadIndex(context.Context) (uint64, error) {
	c := n.consensus()
	if c == nil || c.raft.State() != raft.Leader || n.readyTerm.Load() != c.raft.CurrentTerm() {
		return 0, fmt.Errorf("node %s: %w", n.name, api.ErrNotLeader)
	}
	term, index := c.raft.CurrentTerm(), c.raft.CommitIndex()
	if err := n.vouches(); err != nil {
		return 0, err
	}
	if err := c.raft.VerifyLeader().Error(); err != nil {
		return 0, fmt.Errorf("node %s: %v: %w", n.name, err, api.ErrNotLeader)
	}
	if err := n.vouches(); err != nil {
		return 0, err
	}
	if c.raft.CurrentTerm() != term {
		return 0, fmt.Errorf("node %s: term changed: %w", n.name, api.ErrNotLeader)
	}
	return index, nil
}

// vouches is an error while raft's word that this node leads is worth little:
// after a standstill, and while leadership is handed over, which another node may
// have taken before the quorum notices.
func (n *Node) vouches() error {
	if err := n.staying(); err != nil {
		return err
	}
	if !n.pulse.steady() {
		return fmt.Errorf("node %s: stood still a moment ago: %w", n.name, api.ErrNotLeader)
	}
	return nil
}
