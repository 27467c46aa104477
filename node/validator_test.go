package node

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// TestDeadValidatorReturns starts a node on a log that ends with its own claim, as
// a kill leaves it. The package must not wait until the claim runs out.
func TestDeadValidatorReturns(t *testing.T) {
	cfg := DefaultConfig()
	cfg.DataDir = t.TempDir()
	cfg.HTTPAddr, cfg.PeerAddr, cfg.GossipAddr = deadAddr(t), deadAddr(t), deadAddr(t)
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.ValidatorCommand = []string{filepath.Join(cfg.DataDir, "no-such-program")}
	id := writeDeadLog(t, cfg)

	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- n.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}()
	sub := n.fsm.Subscribe()
	defer sub.Close()
	limit := time.After(20 * time.Second) // a claim lasts a minute
	for {
		if p, err := n.fsm.Package(id); err == nil && (p.Attempts > 0 || p.State == catalog.StateStuck) {
			return
		}
		select {
		case <-sub.Ready():
			sub.Take()
		case <-limit:
			p, err := n.fsm.Package(id)
			t.Fatalf("package = %+v, %v, want the claim of the dead process taken back", p, err)
		}
	}
}

// writeDeadLog writes the data directory of a one-node cluster that was killed
// while it validated a package.
func writeDeadLog(t *testing.T, cfg Config) catalog.PackageID {
	t.Helper()
	id, err := openIdentity(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := id.setCluster("6f2b1c1e-54a8-4b7c-9d0e-3a5f7c9b1d2e"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cfg.DataDir, "raft")
	if err := bootstrap(dir, id.Node, cfg.PeerAddr, cfg.Logger); err != nil {
		t.Fatal(err)
	}
	self := catalog.Member{ID: id.Node, Name: "n", PeerAddr: cfg.PeerAddr, HTTPAddr: cfg.HTTPAddr, GossipAddr: cfg.GossipAddr}
	d := catalog.Digest{1}
	pkg := newPackageID(time.UnixMilli(1))
	commands := []raftfsm.Command{
		raftfsm.CreateCluster{ClusterID: id.Cluster, Settings: cfg.Settings},
		raftfsm.PutMember{Member: self},
		raftfsm.OpenPackage{ID: pkg, IdempotencyKey: "k", Product: "p", Version: "1", LeaseMillis: 1000},
		raftfsm.AddFiles{Package: pkg, Files: []raftfsm.FileEntry{{Path: "a.sym", Size: 7, SHA256: d}}},
		raftfsm.PutReceipts{Receipts: []catalog.Receipt{{Digest: d, RawSize: 7,
			Packed: catalog.Packed{Container: catalog.ContainerCab, SHA256: d, Size: 7}, Holders: []catalog.NodeID{id.Node}}}},
		raftfsm.CommitPackage{Package: pkg, Files: 1},
		raftfsm.ClaimValidation{Package: pkg, Node: id.Node},
	}
	store, _, err := openRaftStores(dir, cfg.Logger)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for i, c := range commands {
		b, err := raftfsm.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.StoreLog(&raft.Log{Index: uint64(i) + 2, Term: 1, Type: raft.LogCommand, Data: b}); err != nil {
			t.Fatal(err)
		}
	}
	return pkg
}

// TestFoundingAfterCrash starts a node that noted its cluster and died before its
// log began: it must found that cluster, not wait for one.
func TestFoundingAfterCrash(t *testing.T) {
	cfg := DefaultConfig()
	cfg.DataDir = t.TempDir()
	cfg.HTTPAddr, cfg.PeerAddr, cfg.GossipAddr = deadAddr(t), deadAddr(t), deadAddr(t)
	cfg.Logger = slog.New(slog.DiscardHandler)
	id, err := openIdentity(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := id.found()
	if err != nil {
		t.Fatal(err)
	}
	if err := id.setCluster(cluster); err != nil {
		t.Fatal(err)
	}

	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- n.Run(ctx) }()
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := n.fsm.WaitApplied(wait, 3); err != nil || n.fsm.ClusterID() != cluster {
		t.Errorf("after a crash while founding %s: cluster %q, %v, want it founded", cluster, n.fsm.ClusterID(), err)
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "founding")); !os.IsNotExist(err) {
		t.Errorf("the note of founding is still there: %v", err)
	}
}
