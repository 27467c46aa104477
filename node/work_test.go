package node

import (
	"slices"
	"testing"
	"time"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// TestLongGoneUnseen: a member that died before this node started is never seen by
// its gossip, and its copies must be made anew all the same.
func TestLongGoneUnseen(t *testing.T) {
	n, _ := newLedgerNode(t)
	const patience = catalog.DefaultRepairDelay
	for _, tt := range []struct {
		up   time.Duration // of this node
		want []catalog.NodeID
	}{
		{patience - time.Minute, nil},
		{patience + time.Minute, []catalog.NodeID{"away"}},
	} {
		n.started = time.Now().Add(-tt.up)
		if got := n.longGone(); !slices.Equal(got, tt.want) {
			t.Errorf("longGone after %s = %v, want %v", tt.up, got, tt.want)
		}
	}
}

// TestLongGoneByTheSettings: the cluster's delay counts, and no absence that is
// announced does.
func TestLongGoneByTheSettings(t *testing.T) {
	n, l := newLedgerNode(t)
	n.started = time.Now().Add(-10 * time.Minute)
	expect := func(what string, want ...catalog.NodeID) {
		t.Helper()
		if got := n.longGone(); !slices.Equal(got, want) {
			t.Errorf("longGone %s = %v, want %v", what, got, want)
		}
	}
	expect("by default")
	l.apply(raftfsm.RaiseFeature{Level: 2})
	delay := (5 * time.Minute).Milliseconds()
	l.apply(raftfsm.ChangeSettings{RepairDelay: &delay})
	expect("after five minutes", "away")
	l.apply(raftfsm.SetMaintenance{Node: "away", Millis: 60_000})
	expect("under maintenance")
	l.apply(raftfsm.Tick{Millis: 60_000})
	expect("when the announced time is over", "away")
}
