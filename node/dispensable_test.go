package node

import (
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// TestHeldBy: a copy counts for a blob if it is to stay, and is lost only with the
// last member that has one.
func TestHeldBy(t *testing.T) {
	n, l := newLedgerNode(t)
	n.started = time.Now() // whom gossip has not seen yet may be there
	l.apply(raftfsm.PutMember{Member: catalog.Member{ID: "third", Name: "third", PeerAddr: deadAddr(t), HTTPAddr: "a:1", GossipAddr: "a:2"}})
	l.good(1) // on self and away
	expect := func(what string, want holding, ids ...catalog.NodeID) {
		t.Helper()
		if got, err := n.heldBy(t.Context(), ids...); err != nil || got != want {
			t.Errorf("%s: held by %q = %+v, %v, want %+v", what, ids, got, err, want)
		}
	}
	expect("nobody drains", holding{blobs: 1, bytes: 7, needed: 1, neededBytes: 7, want: 2}, "self")
	expect("nobody drains", holding{want: 2}, "third")
	expect("two at once", holding{blobs: 1, bytes: 7, needed: 1, neededBytes: 7, onlyBlobs: 1, onlyBytes: 7, want: 1}, "self", "away")
	l.apply(raftfsm.SetDraining{Node: "away", Draining: true})
	expect("the other drains", holding{blobs: 1, bytes: 7, needed: 1, neededBytes: 7, want: 1}, "self")
	l.apply(raftfsm.SetDraining{Node: "self", Draining: true})
	expect("both drain", holding{blobs: 1, bytes: 7, needed: 1, neededBytes: 7, want: 1}, "self")
	l.apply(raftfsm.PutReceipts{Receipts: []catalog.Receipt{{
		Digest: catalog.Digest{1, 1}, RawSize: 7, Holders: []catalog.NodeID{"third"},
		Packed: catalog.Packed{Container: catalog.ContainerCab, SHA256: catalog.Digest{1, 1}, Size: 7},
	}}})
	expect("both drain and the third has it", holding{blobs: 1, bytes: 7, want: 1}, "self")
	n.started = time.Now().Add(-time.Hour) // and now the others are dead
	expect("the others are dead", holding{blobs: 1, bytes: 7, needed: 1, neededBytes: 7, onlyBlobs: 1, onlyBytes: 7, want: 1}, "self")
}

// TestLastKeeper: somebody must keep copies.
func TestLastKeeper(t *testing.T) {
	n, l := newLedgerNode(t)
	l.apply(raftfsm.SetDraining{Node: "away", Draining: true})
	wantError(t, "drain of the last member that keeps copies", n.DrainMember(t.Context(), api.NodeRequest{Node: "self"}), catalog.ErrConflict)
}
