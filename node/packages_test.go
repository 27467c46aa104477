package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/gossip"
	"symkeep/raftfsm"
)

// A ledger is the catalog of a node whose log the test writes.
type ledger struct {
	t     *testing.T
	fsm   *raftfsm.FSM
	index uint64
}

// apply appends a command, which must be accepted.
func (l *ledger) apply(c raftfsm.Command) raftfsm.Result {
	l.t.Helper()
	b, err := raftfsm.Encode(c)
	if err != nil {
		l.t.Fatal(err)
	}
	l.index++
	res := l.fsm.Apply(&raft.Log{Index: l.index, Term: 1, Type: raft.LogCommand, Data: b}).(raftfsm.Result)
	if err := res.AsError(); err != nil {
		l.t.Fatalf("apply %T: %v", c, err)
	}
	return res
}

// newLedgerNode returns a node of a cluster of two, the other of which is away,
// with everything that answering from the catalog takes.
func newLedgerNode(t *testing.T) (*Node, *ledger) {
	t.Helper()
	fsm, err := raftfsm.Open(filepath.Join(t.TempDir(), "fsm.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fsm.Close() })
	n := &Node{id: &identity{Node: "self", Cluster: "6f2b1c1e-54a8-4b7c-9d0e-3a5f7c9b1d2e"}, fsm: fsm, log: slog.New(slog.DiscardHandler), end: newEnding()}
	n.gossip, err = gossip.New(gossip.Config{
		Self:     gossip.Meta{NodeID: catalog.NodeID(n.id.Cluster), ClusterID: n.id.Cluster, Name: "self", PeerAddr: "127.0.0.1:1", HTTPAddr: "127.0.0.1:1"},
		BindAddr: "127.0.0.1:0", Logger: n.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.gossip.Close() })
	n.peers = api.NewPeerClient(n.ClusterID)
	l := &ledger{t: t, fsm: fsm}
	l.apply(raftfsm.CreateCluster{ClusterID: n.id.Cluster, Settings: catalog.DefaultSettings()})
	for _, id := range []catalog.NodeID{"self", "away"} {
		l.apply(raftfsm.PutMember{Member: catalog.Member{ID: id, Name: string(id), PeerAddr: deadAddr(t), HTTPAddr: "a:1", GossipAddr: "a:2"}})
	}
	return n, l
}

// deadAddr is a loopback address at which nobody listens.
func deadAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// good takes a package of one file from its opening to the verdict.
func (l *ledger) good(no int) catalog.PackageID {
	l.t.Helper()
	id := newPackageID(time.UnixMilli(int64(no)))
	d := catalog.Digest{byte(no), 1}
	l.apply(raftfsm.OpenPackage{ID: id, IdempotencyKey: fmt.Sprint(no), Product: "p", Version: "1", LeaseMillis: 1000})
	l.apply(raftfsm.AddFiles{Package: id, Files: []raftfsm.FileEntry{{Path: "a.sym", Size: 7, SHA256: d}}})
	packed := catalog.Packed{Container: catalog.ContainerCab, SHA256: d, Size: 7}
	l.apply(raftfsm.PutReceipts{Receipts: []catalog.Receipt{{Digest: d, RawSize: 7, Packed: packed, Holders: []catalog.NodeID{"self", "away"}}}})
	l.apply(raftfsm.CommitPackage{Package: id, Files: 1})
	var claim catalog.Claim
	if err := l.apply(raftfsm.ClaimValidation{Package: id, Node: "self"}).Into(&claim); err != nil {
		l.t.Fatal(err)
	}
	l.apply(raftfsm.AddKeys{Package: id, Token: claim.Token, Reports: []catalog.FileReport{{Kind: "breakpad"}}})
	l.apply(raftfsm.RecordVerdict{Package: id, Token: claim.Token, Files: 1})
	return id
}

// TestVerdictVisible: a good verdict is called visible only after the wait for
// every member, not when the server's drain or the client cuts that short.
func TestVerdictVisible(t *testing.T) {
	n, l := newLedgerNode(t)
	id := l.good(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if st, err := n.PackageStatus(ctx, id, time.Second); err != nil || st.State != catalog.StateGood || st.Visible {
		t.Errorf("PackageStatus with its context ended = state %s, visible %t, %v, want good and not visible", st.State, st.Visible, err)
	}
	begun := time.Now()
	st, err := n.PackageStatus(t.Context(), id, time.Second)
	if err != nil || !st.Visible || !slices.Equal(st.LeaseOut, []string{"away"}) {
		t.Errorf("PackageStatus = visible %t, lease out %q, %v, want visible with the lease of %q out", st.Visible, st.LeaseOut, err, "away")
	}
	if took := time.Since(begun); took < leaseTime {
		t.Errorf("PackageStatus took %s, want at least the %s that a lease may last", took, leaseTime)
	}
}
