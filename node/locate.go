package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// LocateNow is Locate without waiting for anybody: what this node's catalog has, or
// the miss that its lease allows, held before the look and after it. The error is
// catalog.ErrNotFound for a miss; for any other one Locate may know better.
func (n *Node) LocateNow(keys []symid.Key) (catalog.Candidate, error) {
	fresh := n.lease.fresh()
	c, found, err := n.fsm.Find(keys)
	switch {
	case err != nil || found:
		return c, err
	case fresh && n.lease.held() && !n.unsure.Load():
		return c, catalog.ErrNotFound
	}
	return c, errNobodySays
}

// Version names the state that LocateNow looks at.
func (n *Node) Version() uint64 { return n.fsm.AppliedIndex() }

// StillMissing reports whether what LocateNow did not find at a version is missing now:
// nothing has been applied since, under a lease held before and after that is looked at.
func (n *Node) StillMissing(version uint64) bool {
	return n.lease.fresh() && n.fsm.AppliedIndex() == version && n.lease.held() && !n.unsure.Load()
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
	case err == nil && !n.unsure.Load():
		return catalog.Candidate{}, catalog.ErrNotFound
	case err == nil:
		return n.lookupCompared(ctx, index)
	case errors.Is(err, errNobodySays):
		return catalog.Candidate{}, err
	}
	return n.lookupElsewhere(ctx, index)
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

// lookupHere is FSM.Find of keys in their stored form, as members ask each other.
// Nobody has what is no key.
func (n *Node) lookupHere(index []symid.IndexKey) (catalog.Candidate, bool, error) {
	keys := make([]symid.Key, 0, len(index))
	for _, x := range index {
		if k, err := symid.ParseIndexKey(x); err == nil {
			keys = append(keys, k)
		}
	}
	c, found, err := n.fsm.Find(keys)
	if err != nil {
		err = fmt.Errorf("%w: %w", err, catalog.ErrUnavailable)
	}
	return c, found, err
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
