package raftfsm_test

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// peer is a raft node with its catalog.
type peer struct {
	id    raft.ServerID
	path  string
	fsm   *raftfsm.FSM
	raft  *raft.Raft
	logs  *raft.InmemStore
	snaps raft.SnapshotStore
	trans *raft.InmemTransport
}

func newPeer(t *testing.T, n int) *peer {
	t.Helper()
	dir := t.TempDir()
	snaps, err := raft.NewFileSnapshotStore(dir, 1, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{id: raft.ServerID(fmt.Sprintf("n%d", n)), path: filepath.Join(dir, "fsm.db"), logs: raft.NewInmemStore(), snaps: snaps}
	_, p.trans = raft.NewInmemTransport(raft.ServerAddress(p.id))
	return p
}

// start runs raft over what the peer's disk holds and returns how it began.
func (p *peer) start(t *testing.T) raftfsm.Start {
	t.Helper()
	fsm, err := raftfsm.Open(p.path)
	if err != nil {
		t.Fatal(err)
	}
	raftfsm.NoSync(fsm)
	list, err := p.snaps.List()
	if err != nil {
		t.Fatal(err)
	}
	newest := uint64(0)
	if len(list) > 0 {
		newest = list[0].Index
	}
	last, err := p.logs.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	how, err := raftfsm.StartDecision(fsm.AppliedIndex(), newest, last)
	if err != nil {
		t.Fatal(err)
	}
	conf := raft.DefaultConfig()
	conf.LocalID, conf.LogOutput = p.id, io.Discard
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = 100*time.Millisecond, 100*time.Millisecond, 50*time.Millisecond
	conf.TrailingLogs, conf.NoSnapshotRestoreOnStart = 5, how == raftfsm.StartReplay
	r, err := raft.NewRaft(conf, fsm, p.logs, p.logs, p.snaps, p.trans)
	if err != nil {
		t.Fatal(err)
	}
	p.fsm, p.raft = fsm, r
	return how
}

func (p *peer) stop(t *testing.T) {
	t.Helper()
	if err := p.raft.Shutdown().Error(); err != nil {
		t.Error(err)
	}
	if err := p.fsm.Close(); err != nil {
		t.Error(err)
	}
}

func (p *peer) propose(t *testing.T, c raftfsm.Command) raftfsm.Result {
	t.Helper()
	b, err := raftfsm.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	f := p.raft.Apply(b, 10*time.Second)
	if err := f.Error(); err != nil {
		t.Fatal(err)
	}
	return f.Response().(raftfsm.Result)
}

func (p *peer) push(t *testing.T, from, to int) uint64 {
	t.Helper()
	var r raftfsm.Result
	for n := from; n < to; n++ {
		r = p.propose(t, open(n))
		if err := r.AsError(); err != nil {
			t.Fatal(err)
		}
	}
	return r.Index
}

// TestUnderRaft runs the catalog under raft: a second node receives it as a
// snapshot, both agree on the hash, and a restart replays instead of restoring.
func TestUnderRaft(t *testing.T) {
	a, b := newPeer(t, 1), newPeer(t, 2)
	a.trans.Connect("n2", b.trans)
	b.trans.Connect("n1", a.trans)
	a.start(t)
	boot := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "n1"}}}
	if err := a.raft.BootstrapCluster(boot).Error(); err != nil {
		t.Fatal(err)
	}
	<-a.raft.LeaderCh()
	for _, c := range []raftfsm.Command{
		raftfsm.CreateCluster{ClusterID: cluster, Settings: catalog.DefaultSettings(), At: at},
		raftfsm.PutMember{Member: memberRow(node1, "n1")},
	} {
		if err := a.propose(t, c).AsError(); err != nil {
			t.Fatal(err)
		}
	}
	a.push(t, 0, 50)
	if err := a.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	a.push(t, 50, 60)
	b.start(t)
	if err := a.raft.AddNonvoter("n2", "n2", 0, 5*time.Second).Error(); err != nil {
		t.Fatal(err)
	}
	index := a.push(t, 60, 70)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := b.fsm.WaitApplied(ctx, index); err != nil {
		t.Fatal(err)
	}
	if l, err := b.logs.FirstIndex(); err != nil || l < 10 {
		t.Errorf("the log of the second node begins at %d, %v: it was not sent a snapshot", l, err)
	}
	wantAt, wantHash := a.fsm.Hash()
	if gotAt, got := b.fsm.Hash(); gotAt != wantAt || got != wantHash {
		t.Errorf("hash of the second node = %s at %d, want %s at %d", got, gotAt, wantHash, wantAt)
	}
	if conf, at, err := b.fsm.Configuration(); err != nil || at == 0 || len(conf.Servers) != 2 {
		t.Errorf("Configuration = %+v at %d, %v, want two servers", conf, at, err)
	}
	commit := a.raft.CommitIndex()
	if last, err := raftfsm.LastCommand(a.logs, a.fsm.AppliedIndex(), commit); err != nil || last != a.fsm.AppliedIndex() {
		t.Errorf("LastCommand up to %d = %d, %v, want %d", commit, last, err, a.fsm.AppliedIndex())
	}
	before := fingerprint(a.fsm)
	b.stop(t)
	a.stop(t)
	_, a.trans = raft.NewInmemTransport("n1")
	if how := a.start(t); how != raftfsm.StartReplay {
		t.Errorf("restart = %s, want replay", how)
	}
	if got := fingerprint(a.fsm); got != before {
		t.Errorf("after a restart = %s, want %s", got, before)
	}
	a.stop(t)
}

// TestLeaderWithoutCommands has raft's own entries at the end of the log, which
// the catalog never sees.
func TestLeaderWithoutCommands(t *testing.T) {
	a := newPeer(t, 1)
	a.start(t)
	defer a.stop(t)
	boot := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "n1"}}}
	if err := a.raft.BootstrapCluster(boot).Error(); err != nil {
		t.Fatal(err)
	}
	<-a.raft.LeaderCh()
	for range 3 {
		if err := a.raft.Barrier(5 * time.Second).Error(); err != nil {
			t.Fatal(err)
		}
	}
	applied, commit := a.fsm.AppliedIndex(), a.raft.CommitIndex()
	if applied >= commit {
		t.Fatalf("applied index %d, commit index %d: no barrier at the end", applied, commit)
	}
	if last, err := raftfsm.LastCommand(a.logs, applied, commit); err != nil || last != applied {
		t.Errorf("LastCommand(%d, %d) = %d, %v, want nothing newer", applied, commit, last, err)
	}
	r := a.propose(t, raftfsm.CreateCluster{ClusterID: cluster, Settings: catalog.DefaultSettings(), At: at})
	if last, err := raftfsm.LastCommand(a.logs, applied, a.raft.CommitIndex()); err != nil || last != r.Index {
		t.Errorf("LastCommand = %d, %v, want %d", last, err, r.Index)
	}
}
