package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// Disks change what nobody reads, and bbolt keeps no checksum of its pages. A catalog
// that lost a row while its node was down speaks as if the row had never been, and a
// leader's word is the cluster's. So a node that was started is unsure of its rows until
// a majority has been found to have the same ones, some seconds later. Meanwhile it takes
// no row for missing by itself, and as the leader it stands for the result of no command
// that anybody relies on; it lets a voter lead that is sure.

const (
	unsureEvery = 500 * time.Millisecond
	unsureLimit = 2 * time.Minute  // after it first led: the others may be away, or their catalogs too large to wait for
	heirSoon    = 3 * time.Second  // with a voter that has become sure
	heirAgain   = 10 * time.Second // after a hand-over that failed
)

const notCompared = "has not compared its catalog with those of the others since its start"

// beginUnsure decides whether a start leaves doubts. In a cluster of less than three
// members nobody could tell who is right. The caller has not told anybody of c yet.
func (n *Node) beginUnsure(c *consensus) {
	if n.fsm.AppliedIndex() > 0 && n.fsm.FeatureLevel() >= 2 && len(n.witnesses(c)) >= 2 {
		n.unsure.Store(true)
	}
}

// witnesses returns the other members, by the member table or by raft: those are in
// different files, and the one may have lost a row.
func (n *Node) witnesses(c *consensus) []catalog.Member {
	others := n.otherMembers()
	for _, s := range c.raft.GetConfiguration().Configuration().Servers {
		id := catalog.NodeID(s.ID)
		if id != n.id.Node && !slices.ContainsFunc(others, func(m catalog.Member) bool { return m.ID == id }) {
			others = append(others, catalog.Member{ID: id, PeerAddr: string(s.Address)})
		}
	}
	return others
}

// unsureError is why this node, which leads, does not answer for the catalog. It wraps
// catalog.ErrUnavailable, or api.ErrNotLeader. The only voter answers: nobody else could
// lead, and those whose catalogs could be compared may have to be let in first.
func (n *Node) unsureError() error {
	if !n.unsure.Load() {
		return nil
	}
	c, err := n.inOffice()
	if err != nil {
		return err
	}
	_, sole := soleVoter(c.raft.GetConfiguration().Configuration(), n.id.Node)
	if sole || time.Since(*n.firstLed.Load()) > unsureLimit {
		return nil
	}
	return fmt.Errorf("the leader %s "+notCompared+": try again in some seconds: %w", n.name, catalog.ErrUnavailable)
}

// unsureMiss is err, or one that wraps catalog.ErrUnavailable if a row that this node did
// not find may be one that it lost.
func (n *Node) unsureMiss(err error) error {
	if errors.Is(err, catalog.ErrNotFound) && n.unsure.Load() {
		return fmt.Errorf("%v, but node %s "+notCompared+": ask another node: %w", err, n.name, catalog.ErrUnavailable)
	}
	return err
}

// unsureSnapshot is why no snapshot is made now: raft tries again.
func (n *Node) unsureSnapshot() error {
	if n.unsure.Load() && time.Since(n.started) < unsureLimit {
		return fmt.Errorf("no snapshot yet: node %s "+notCompared+": %w", n.name, catalog.ErrUnavailable)
	}
	return nil
}

// reliedOn reports whether somebody acts on what a leader's catalog makes of a command.
// Time goes on without, checks and alarms are what a comparison needs, and what a wrong
// answer about a claim does is to end a validation.
func reliedOn(cmd raftfsm.Command) bool {
	switch cmd.(type) {
	case raftfsm.Tick, raftfsm.CheckContents, raftfsm.RaiseAlarm, raftfsm.ClearAlarm, raftfsm.RenewClaim, raftfsm.ReleaseClaim:
		return false
	}
	return true
}

// becomeSure waits, in office, until this node answers for the catalog, and lets a voter
// lead that is sure. One that gets there while this node waits shows that this node is
// about to. It reports whether ctx still goes on.
func (n *Node) becomeSure(ctx context.Context, c *consensus) bool {
	if n.unsureError() == nil {
		return ctx.Err() == nil
	}
	n.log.Info("leading, but the catalog is to be compared with the others' first", "node", n.name)
	var since time.Time          // a voter has been sure
	patience := time.Duration(0) // with one
	for n.unsureError() != nil {
		heir, err := n.fitVoter(ctx, c)
		switch {
		case err != nil:
			since, patience = time.Time{}, max(patience, heirSoon)
		case since.IsZero():
			since = time.Now()
		}
		if err == nil && time.Since(since) >= patience && n.leads() {
			if err := n.handTo(c, heir); err != nil {
				n.log.Warn("leadership not handed over", "node", n.name, "err", err)
			}
			since, patience = time.Now(), heirAgain
		}
		if !pause(ctx, unsureEvery) {
			return false
		}
	}
	if n.unsure.Load() {
		n.log.Warn("the catalog could not be compared with the others': this leader goes on all the same", "node", n.name)
	}
	return ctx.Err() == nil
}
