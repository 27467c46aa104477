package node

import (
	"context"
	"fmt"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// Disks change what nobody reads, and bbolt keeps no checksum of its pages. A leader
// whose catalog lost a row while the node was down answers a command as if the row had
// never been, and its word is the cluster's. So it answers for nothing until a majority
// has the rows that it has, some seconds after its start, and lets a voter lead that has
// come to that before.

const (
	unsureEvery = 250 * time.Millisecond
	unsureLimit = 2 * time.Minute // of a leader: the others may be away, or their catalogs too large to wait for
)

// unsure reports whether this node's catalog may have changed while the node was down:
// it had rows at the start, and no majority has been found to have the same ones. In a
// cluster of less than three members nobody could tell who is right.
func (n *Node) unsure() bool {
	return n.reopened && !n.compared.Load() && n.fsm.FeatureLevel() >= 2 && n.fsm.MemberCount() >= 3
}

// unsureError is why this node, which leads, does not answer for the catalog. It wraps
// catalog.ErrUnavailable, or api.ErrNotLeader.
func (n *Node) unsureError() error {
	if !n.unsure() {
		return nil
	}
	if _, err := n.inOffice(); err != nil {
		return err
	}
	if time.Since(*n.elected.Load()) > unsureLimit {
		return nil
	}
	return fmt.Errorf("the leader %s has not compared its catalog with those of the others since its start: try again in some seconds: %w", n.name, catalog.ErrUnavailable)
}

// reliedOn reports whether somebody acts on what a leader's catalog makes of a command.
// The others are what a comparison needs.
func reliedOn(cmd raftfsm.Command) bool {
	switch cmd.(type) {
	case raftfsm.Tick, raftfsm.CheckContents, raftfsm.RaiseAlarm, raftfsm.ClearAlarm:
		return false
	}
	return true
}

// becomeSure waits, in office, until this node answers for the catalog, and lets another
// voter lead if one does already. It reports whether ctx still goes on.
func (n *Node) becomeSure(ctx context.Context) bool {
	if n.unsureError() == nil {
		return ctx.Err() == nil
	}
	n.log.Info("leading, but the catalog is to be compared with the others' first", "node", n.name)
	for asked := (time.Time{}); n.unsureError() != nil; {
		if time.Since(asked) >= time.Second {
			asked = time.Now()
			if heir, err := n.fitVoter(ctx, n.consensus(), func(st api.PeerStatus) bool { return st.Compared && diskFit(st) }); err == nil {
				_ = n.handTo(n.consensus(), heir, "its catalog is known to be a majority's") // else this node may become sure itself
			}
		}
		if !pause(ctx, unsureEvery) {
			return false
		}
	}
	if n.unsure() {
		n.log.Warn("the catalog could not be compared with the others': this leader goes on without that", "node", n.name)
	}
	return ctx.Err() == nil
}
