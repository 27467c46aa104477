package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
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

	mu      sync.Mutex
	started time.Time // of the newest round that succeeded
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
func (l *negativeLease) held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.started.IsZero() && elapsed(l.started, time.Now()) < leaseTime
}

// everHeld reports whether a round has succeeded since the start.
func (l *negativeLease) everHeld() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.started.IsZero()
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
	l.mu.Lock()
	if l.stopped || time.Now().Before(l.broken) {
		l.mu.Unlock()
		return errNobodySays
	}
	r := l.current
	if r == nil {
		r = &round{done: make(chan struct{})}
		l.current = r
		l.running.Go(func() { l.run(r) })
	}
	l.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *negativeLease) run(r *round) {
	ctx, cancel := context.WithTimeout(l.base, missTimeout)
	defer cancel()
	started := time.Now()
	r.err = l.round(ctx)
	l.mu.Lock()
	if r.err == nil {
		l.started = started
	}
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
	if n.handing.Load() > 0 {
		return fmt.Errorf("node %s: leadership is being handed over: %w", n.name, api.ErrNotLeader)
	}
	if !n.pulse.steady() {
		return fmt.Errorf("node %s: stood still a moment ago: %w", n.name, api.ErrNotLeader)
	}
	return nil
}

// Locate returns the candidate that answers the first of keys that has one. Errors
// wrap catalog.ErrNotFound when the cluster stands for the miss, and
// catalog.ErrUnavailable when nobody can.
func (n *Node) Locate(ctx context.Context, keys []symid.Key) (catalog.Candidate, error) {
	index := make([]symid.IndexKey, len(keys))
	for i, k := range keys {
		index[i] = k.Index()
	}
	if c, ok, err := n.lookupHere(index); ok || err != nil {
		return c, err
	}
	r, err := n.lookupLeased(ctx, index)
	switch {
	case err == nil && r.found:
		return r.Candidate, nil
	case err == nil && n.mayMiss():
		return catalog.Candidate{}, catalog.ErrNotFound
	case err == nil:
		return n.lookupCompared(ctx, index)
	case errors.Is(err, errNobodySays):
		return catalog.Candidate{}, err
	}
	return n.lookupElsewhere(ctx, index)
}

// mayMiss reports whether a miss in this node's catalog may be taken for one. Its file
// may have lost the row while it was not running, as long as nobody has compared it; in
// a smaller cluster nobody could tell who is right.
func (n *Node) mayMiss() bool {
	return n.compared.Load() || n.fsm.FeatureLevel() < 2 || len(n.members()) < 3
}

// lookupCompared has others confirm a miss.
func (n *Node) lookupCompared(ctx context.Context, index []symid.IndexKey) (catalog.Candidate, error) {
	c, err := n.lookupElsewhere(ctx, index)
	if err == nil { // or committed since
		n.doubted.Store(true)
	}
	return c, err
}

// A lookedUp is what a lookup came to.
type lookedUp struct {
	catalog.Candidate
	found bool
}

// lookupLeased looks the keys up under this node's own lease, for half the time
// that a miss may take.
func (n *Node) lookupLeased(ctx context.Context, index []symid.IndexKey) (r lookedUp, err error) {
	ctx, cancel := context.WithTimeout(ctx, missTimeout/2)
	defer cancel()
	err = n.lease.misses(ctx, func() (bool, error) {
		var err error
		r.Candidate, r.found, err = n.lookupHere(index)
		return r.found, err
	})
	return r, err
}

func (n *Node) lookupHere(index []symid.IndexKey) (catalog.Candidate, bool, error) {
	for _, k := range index {
		cs, err := n.fsm.Lookup(k)
		if err != nil {
			return catalog.Candidate{}, false, fmt.Errorf("%w: %w", err, catalog.ErrUnavailable)
		}
		if len(cs) > 0 {
			return cs[0], true, nil
		}
	}
	return catalog.Candidate{}, false, nil
}

// lookupElsewhere asks every other member at once; the first that may answer does.
func (n *Node) lookupElsewhere(ctx context.Context, index []symid.IndexKey) (catalog.Candidate, error) {
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithTimeout(ctx, missTimeout/2)
	defer cancel() // before the wait: the others need not answer any more
	others := n.otherMembers()
	answers := make(chan *api.LookupResponse, len(others))
	for _, m := range others {
		asking.Go(func() {
			r, err := n.peers.Lookup(ctx, n.peerAddr(m.ID, m.PeerAddr), index)
			if err != nil {
				answers <- nil
				return
			}
			answers <- &r
		})
	}
	for range others {
		if r := <-answers; r != nil {
			if len(r.Candidates) == 0 {
				return catalog.Candidate{}, catalog.ErrNotFound
			}
			return r.Candidates[0], nil
		}
	}
	n.lease.trip()
	return catalog.Candidate{}, errNobodySays
}

// LookupKeys answers another member's miss, under a lease of this node.
func (n *Node) LookupKeys(ctx context.Context, keys []symid.IndexKey) (api.LookupResponse, error) {
	found, err := n.lookupLeased(ctx, keys)
	if err != nil {
		return api.LookupResponse{}, fmt.Errorf("%v: %w", err, catalog.ErrUnavailable)
	}
	r := api.LookupResponse{Index: n.fsm.AppliedIndex(), Candidates: []catalog.Candidate{}}
	if found.found {
		r.Candidates = append(r.Candidates, found.Candidate)
	}
	return r, nil
}
