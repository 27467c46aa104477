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
) // half of missTimeout is for the leader, half for the other members

// errNobodySays is the answer when neither this node nor another one can stand
// for a miss. The client's connection is reset.
var errNobodySays = fmt.Errorf("no node can vouch that the key is unknown: %w", catalog.ErrUnavailable)

// A negativeLease is this node's right to say from its own state that a key is
// unknown. Its rounds with the leader are shared by all misses of the node.
type negativeLease struct {
	round func(ctx context.Context) error // confirms and waits until applied

	mu      sync.Mutex
	started time.Time // of the newest round that succeeded
	running *round
	broken  time.Time // until then nobody is asked
}

type round struct {
	done chan struct{}
	err  error
}

// held reports whether the lease is valid now.
func (l *negativeLease) held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.started.IsZero() && time.Since(l.started) < leaseTime
}

// acquire returns nil once the lease is held. It joins a round under way, which
// is shared, so it is not cancelled with ctx.
func (l *negativeLease) acquire(ctx context.Context) error {
	if l.held() {
		return nil
	}
	l.mu.Lock()
	if time.Now().Before(l.broken) {
		l.mu.Unlock()
		return errNobodySays
	}
	r := l.running
	if r == nil {
		r = &round{done: make(chan struct{})}
		l.running = r
		go l.run(r)
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
	ctx, cancel := context.WithTimeout(context.Background(), missTimeout)
	defer cancel()
	started := time.Now()
	r.err = l.round(ctx)
	l.mu.Lock()
	if r.err == nil {
		l.started = started
	}
	l.running = nil
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
// While there is no leader it asks again until ctx ends.
func (n *Node) confirmApplied(ctx context.Context) error {
	for {
		index, err := n.readIndex(ctx)
		if err == nil {
			return n.fsm.WaitApplied(ctx, index)
		}
		if !pause(ctx, proposePause/2) {
			return err
		}
	}
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
	if err := c.raft.VerifyLeader().Error(); err != nil {
		return 0, fmt.Errorf("node %s: %v: %w", n.name, err, api.ErrNotLeader)
	}
	if c.raft.CurrentTerm() != term {
		return 0, fmt.Errorf("node %s: term changed: %w", n.name, api.ErrNotLeader)
	}
	return index, nil
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
	ctx, cancel := context.WithTimeout(ctx, missTimeout/2)
	defer cancel()
	err := n.lease.acquire(ctx)
	if err == nil {
		c, ok, err := n.lookupHere(index) // after the lease: the order makes it true
		if !ok && err == nil {
			err = catalog.ErrNotFound
		}
		return c, err
	}
	if errors.Is(err, errNobodySays) {
		return catalog.Candidate{}, err
	}
	return n.lookupElsewhere(index)
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
func (n *Node) lookupElsewhere(index []symid.IndexKey) (catalog.Candidate, error) {
	ctx, cancel := context.WithTimeout(context.Background(), missTimeout/2)
	defer cancel()
	others := n.otherMembers()
	answers := make(chan *api.LookupResponse, len(others))
	for _, m := range others {
		go func() {
			r, err := n.peers.Lookup(ctx, n.peerAddr(m.ID, m.PeerAddr), index)
			if err != nil {
				answers <- nil
				return
			}
			answers <- &r
		}()
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
	if err := n.lease.acquire(ctx); err != nil {
		return api.LookupResponse{}, fmt.Errorf("%v: %w", err, catalog.ErrUnavailable)
	}
	r := api.LookupResponse{Index: n.fsm.AppliedIndex(), Candidates: []catalog.Candidate{}}
	c, ok, err := n.lookupHere(keys)
	if ok {
		r.Candidates = append(r.Candidates, c)
	}
	return r, err
}
