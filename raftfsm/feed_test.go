package raftfsm_test

import (
	"testing"

	"github.com/hashicorp/raft"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// types lists what a subscription has to give.
func types(t *testing.T, s *raftfsm.Subscription) []raftfsm.EventType {
	t.Helper()
	events, overflow := s.Take()
	if overflow {
		t.Error("events were lost")
	}
	list := []raftfsm.EventType{}
	for _, e := range events {
		list = append(list, e.Type)
	}
	return list
}

func TestFeed(t *testing.T) {
	w := newCluster(t)
	s := w.fsm.Subscribe()
	defer s.Close()
	expect := func(want ...raftfsm.EventType) {
		t.Helper()
		if len(want) > 0 {
			<-s.Ready()
		}
		got := types(t, s)
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("events = %v, want %v", got, want)
			}
		}
	}
	expect()
	w.upload(1, 1)
	expect(raftfsm.PackageOpened, raftfsm.BlobHolders)
	w.ok(raftfsm.CommitPackage{Package: pkg(1), Files: 1, At: at})
	expect(raftfsm.PackageCommitted)
	w.judge(1, nil, report(0, 1, key("a.pdb", 1)))
	expect(raftfsm.PackageClaimed, raftfsm.PackageVerdict, raftfsm.NoticeChanged)
	w.refuse(raftfsm.ClaimValidation{Package: pkg(1), Node: node1}, catalog.ErrConflict)
	expect()
	w.ok(raftfsm.DeletePackage{Package: pkg(1)})
	w.ok(raftfsm.UndeletePackage{Package: pkg(1)})
	w.ok(raftfsm.DeletePackage{Package: pkg(1)}) // waits already
	expect(raftfsm.PackageTrashed, raftfsm.PackageUndeleted)
	w.pass(14 * day)
	w.sweep(10)
	w.ok(raftfsm.RetireBlobs{Blobs: []raftfsm.Retiree{{Digest: dig(1), Gen: 1}}})
	expect(raftfsm.PackagePurged, raftfsm.BlobIdle, raftfsm.BlobRetired)
	w.stick(2)
	expect(raftfsm.PackageOpened, raftfsm.BlobHolders, raftfsm.PackageCommitted, raftfsm.PackageClaimed, raftfsm.PackageStuck, raftfsm.NoticeChanged)
	w.ok(open(3))
	w.pass(3_600_001)
	expect(raftfsm.PackageOpened, raftfsm.PackageExpired)
	w.ok(raftfsm.SetDraining{Node: node1})
	w.ok(raftfsm.PutSettings{Settings: catalog.DefaultSettings()})
	expect(raftfsm.MembersChanged, raftfsm.SettingsChanged)
}

// TestFeedOverflow never takes: Apply goes on, and the subscriber learns of it.
func TestFeedOverflow(t *testing.T) {
	w := newCluster(t)
	s, closed := w.fsm.Subscribe(), w.fsm.Subscribe()
	closed.Close()
	closed.Close()
	var batch []*raft.Log
	for n := range 9000 {
		batch = append(batch, w.entry(open(n)))
	}
	w.fsm.ApplyBatch(batch)
	events, overflow := s.Take()
	if len(events) != 8192 || !overflow {
		t.Errorf("Take = %d events, overflow %v, want 8192 and true", len(events), overflow)
	}
	if events[0].Package != pkg(0) || events[0].Index == 0 || events[1].Index <= events[0].Index {
		t.Errorf("first events = %+v, %+v", events[0], events[1])
	}
	if events, overflow = s.Take(); len(events) != 0 || overflow {
		t.Errorf("second Take = %d events, overflow %v", len(events), overflow)
	}
	if events, overflow = closed.Take(); len(events) != 0 || overflow {
		t.Errorf("Take after Close = %d events, overflow %v", len(events), overflow)
	}
}
