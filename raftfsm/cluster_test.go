package raftfsm_test

import (
	"errors"
	"slices"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

func TestCreateCluster(t *testing.T) {
	w := newWorld(t)
	w.refuse(open(1), catalog.ErrConflict) // no cluster yet
	w.refuse(raftfsm.Tick{Millis: 1}, catalog.ErrConflict)
	create := raftfsm.CreateCluster{ClusterID: cluster, Settings: catalog.Settings{Replicas: 2}, At: at}
	w.refuse(raftfsm.CreateCluster{Settings: create.Settings}, catalog.ErrInvalid)
	w.refuse(raftfsm.CreateCluster{ClusterID: cluster}, catalog.ErrInvalid)
	w.ok(create)
	create.Settings.Replicas = 3
	w.ok(create) // again: the first settings stay
	if id, s := w.fsm.ClusterID(), w.fsm.Settings(); id != cluster || s.Replicas != 2 || w.fsm.FeatureLevel() != 1 {
		t.Errorf("cluster %s, settings %+v, feature level %d", id, s, w.fsm.FeatureLevel())
	}
	create.ClusterID = "another"
	w.refuse(create, catalog.ErrConflict)
	w.ok(raftfsm.PutSettings{Settings: catalog.Settings{Replicas: 4}})
	w.refuse(raftfsm.PutSettings{Settings: catalog.Settings{Replicas: 17}}, catalog.ErrInvalid)
	if s := w.fsm.Settings(); s.Replicas != 4 {
		t.Errorf("settings = %+v, want 4 replicas", s)
	}
	w.ok(raftfsm.RaiseFeature{Level: 1})
	w.refuse(raftfsm.RaiseFeature{Level: 0}, catalog.ErrInvalid)
}

func TestPutMember(t *testing.T) {
	w := newCluster(t)
	m := memberRow(node4, "n4")
	m.Synced, m.Draining, m.JoinedIndex, m.Slot, m.JoinedAt = true, true, 1, node2, at // not the proposer's to say
	var got catalog.Member
	w.into(raftfsm.PutMember{Member: m}, &got)
	if got.Synced || got.Draining || got.Slot != "" || got.JoinedIndex != uint64(len(w.log)) || !got.JoinedAt.Equal(at) || got.PlacementID() != node4 {
		t.Errorf("new member = %+v", got)
	}
	w.ok(raftfsm.MarkSynced{Node: node4})
	w.ok(raftfsm.SetDraining{Node: node4, Draining: true})
	m.HTTPAddr, m.Synced, m.Draining = "n4:9999", false, false
	joined := got.JoinedIndex
	w.into(raftfsm.PutMember{Member: m}, &got)
	if !got.Synced || !got.Draining || got.HTTPAddr != "n4:9999" || got.JoinedIndex != joined {
		t.Errorf("updated member = %+v", got)
	}
	w.ok(raftfsm.SetDraining{Node: node4})
	if row, err := w.fsm.Member(node4); err != nil || row.Draining {
		t.Errorf("Member = %+v, %v, want not draining", row, err)
	}
	for _, tt := range []struct {
		name string
		cmd  raftfsm.Command
		want error
	}{
		{"name taken", raftfsm.PutMember{Member: memberRow("new", "n1")}, catalog.ErrConflict},
		{"rename to a taken name", raftfsm.PutMember{Member: memberRow(node4, "n1")}, catalog.ErrConflict},
		{"no id", raftfsm.PutMember{Member: memberRow("", "n9")}, catalog.ErrInvalid},
		{"no name", raftfsm.PutMember{Member: memberRow("new", "")}, catalog.ErrInvalid},
		{"replaces itself", raftfsm.PutMember{Member: memberRow(node4, "n4"), Replaces: node4}, catalog.ErrInvalid},
		{"replaces nobody", raftfsm.PutMember{Member: memberRow("new", "n9"), Replaces: "gone"}, catalog.ErrNotFound},
		{"replaces one, named as another", raftfsm.PutMember{Member: memberRow("new", "n1"), Replaces: node2}, catalog.ErrConflict},
		{"synced stranger", raftfsm.MarkSynced{Node: "new"}, catalog.ErrNotFound},
		{"draining stranger", raftfsm.SetDraining{Node: "new"}, catalog.ErrNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) { w.refuse(tt.cmd, tt.want) })
	}
	w.check()
}

// TestReplaceMember swaps a dead member for a new one of the same name in one step.
func TestReplaceMember(t *testing.T) {
	w := newCluster(t)
	w.commit(1, 1) // on nodes 1 and 2
	swap := raftfsm.PutMember{Member: memberRow(node4, "n2"), Replaces: node2}
	w.ok(swap)
	w.ok(swap) // its outcome was unknown: proposed again
	m, err := w.fsm.Member(node4)
	if err != nil || m.PlacementID() != node2 || m.Synced {
		t.Errorf("replacement = %+v, %v, want the slot of node 2", m, err)
	}
	if _, err := w.fsm.Member(node2); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("replaced member = %v, want ErrNotFound", err)
	}
	if b := w.blob(1); !slices.Equal(b.Holders, []catalog.NodeID{node1}) {
		t.Errorf("holders = %v, want node 1 only: the disk of node 2 is gone", b.Holders)
	}
	third := catalog.NodeID("55555555-5555-4555-8555-555555555555")
	w.ok(raftfsm.PutMember{Member: memberRow(third, "n2"), Replaces: node4}) // the slot is handed on
	if m, err := w.fsm.Member(third); err != nil || m.PlacementID() != node2 {
		t.Errorf("second replacement = %+v, %v, want the slot of node 2", m, err)
	}
	names := []string{}
	for _, m := range w.fsm.Members() {
		names = append(names, m.Name)
	}
	if !slices.Equal(names, []string{"n1", "n2", "n3"}) {
		t.Errorf("members = %v", names)
	}
	w.sweep(10)
	w.check()
}

func TestRemoveMember(t *testing.T) {
	w := newCluster(t)
	w.ok(raftfsm.RemoveMember{ID: node2})
	w.ok(raftfsm.RemoveMember{ID: node2})
	w.ok(raftfsm.RemoveMember{ID: node3})
	w.refuse(raftfsm.RemoveMember{ID: node1}, catalog.ErrConflict)
	w.ok(raftfsm.PutMember{Member: memberRow(node2, "n2")}) // comes back as it was removed: a new row
	w.sweep(1)
	if got := len(w.fsm.Members()); got != 2 {
		t.Errorf("%d members, want 2", got)
	}
	w.check()
}

// TestReturningMember removes a holder and lets the same node join again: copies
// recorded before do not count for the new row.
func TestReturningMember(t *testing.T) {
	w := newCluster(t)
	w.commit(1, 1)
	w.ok(raftfsm.RemoveMember{ID: node2})
	w.ok(raftfsm.PutMember{Member: memberRow(node2, "n2")})
	if b := w.blob(1); !slices.Equal(b.Holders, []catalog.NodeID{node1}) {
		t.Errorf("holders = %v, want node 1 only", b.Holders)
	}
	w.ok(raftfsm.PutReceipts{Receipts: []catalog.Receipt{receipt(1, node2)}})
	w.sweep(1)
	if b := w.blob(1); !slices.Equal(b.Holders, []catalog.NodeID{node1, node2}) {
		t.Errorf("holders = %v, want nodes 1 and 2", b.Holders)
	}
	w.check()
}
