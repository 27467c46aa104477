package node

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/catalog"
)

// TestElectAlone: the only voter leads at once, however long raft would wait to hear of
// another leader.
func TestElectAlone(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	transport, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 5*time.Second, newRaftLogger(log))
	if err != nil {
		t.Fatal(err)
	}
	cfg := raftConfig("self", log)
	cfg.HeartbeatTimeout, cfg.ElectionTimeout = time.Hour, time.Hour
	store, snaps := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
	servers := raft.Configuration{Servers: []raft.Server{{ID: "self", Address: transport.LocalAddr()}}}
	if err := raft.BootstrapCluster(cfg, store, store, snaps, transport, servers); err != nil {
		t.Fatal(err)
	}
	r, err := raft.NewRaft(cfg, &raft.MockFSM{}, store, store, snaps, transport)
	if err != nil {
		t.Fatal(err)
	}
	c := &consensus{raft: r, transport: transport}
	t.Cleanup(func() {
		if err := r.Shutdown().Error(); err != nil {
			t.Error(err)
		}
		transport.CloseStreams()
		transport.Close()
	})
	electAlone(t.Context(), c, "self")
	for deadline := time.Now().Add(20 * time.Second); r.State() != raft.Leader; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("state %v after 20 s, want Leader", r.State())
		}
	}
	electAlone(t.Context(), c, "self") // a leader stays one
	if s := r.State(); s != raft.Leader {
		t.Errorf("asked again it is %v, want Leader", s)
	}
}

func TestSoleVoter(t *testing.T) {
	voter := func(id raft.ServerID) raft.Server { return raft.Server{ID: id, Suffrage: raft.Voter} }
	other := raft.Server{ID: "other", Suffrage: raft.Nonvoter}
	for _, tt := range []struct {
		name    string
		servers []raft.Server
		id      catalog.NodeID
		want    bool
	}{
		{"alone", []raft.Server{voter("self")}, "self", true},
		{"beside a non-voter", []raft.Server{other, voter("self")}, "self", true},
		{"beside a voter", []raft.Server{voter("self"), voter("b")}, "self", false},
		{"without a vote", []raft.Server{voter("self"), other}, "other", false},
		{"not started", nil, "self", false},
	} {
		if s, ok := soleVoter(raft.Configuration{Servers: tt.servers}, tt.id); ok != tt.want || ok && s.ID != raft.ServerID(tt.id) {
			t.Errorf("soleVoter %s = %v, %t, want %t", tt.name, s, ok, tt.want)
		}
	}
}
