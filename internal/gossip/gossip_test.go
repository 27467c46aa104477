package gossip_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"symkeep/internal/catalog"
	"symkeep/internal/gossip"
)

// node is a Gossip that runs.
type node struct {
	*gossip.Gossip
	stop func()
}

func start(t *testing.T, cfg gossip.Config) *node {
	t.Helper()
	if cfg.BindAddr == "" {
		cfg.BindAddr = "127.0.0.1:0"
	}
	if cfg.RejoinEvery == 0 {
		cfg.RejoinEvery = 100 * time.Millisecond
	}
	if cfg.ProbeInterval == 0 {
		cfg.ProbeInterval = 150 * time.Millisecond
	}
	g, err := gossip.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	n := &node{Gossip: g, stop: sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})}
	t.Cleanup(n.stop)
	return n
}

func self(cluster catalog.ClusterID, id catalog.NodeID) gossip.Meta {
	return gossip.Meta{ClusterID: cluster, NodeID: id, Name: "name of " + string(id[:4]), PeerAddr: "127.0.0.1:1", Version: "1"}
}

// await waits until the peers of n satisfy ok.
func (n *node) await(t *testing.T, what string, ok func([]gossip.Peer) bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		if ok(n.Peers()) {
			return
		}
		select {
		case <-n.Changed():
		case <-late:
			t.Fatalf("node %s: never saw %s; peers: %+v", n.Self().NodeID, what, n.Peers())
		}
	}
}

func is(id catalog.NodeID, want gossip.State) func([]gossip.Peer) bool {
	return func(ps []gossip.Peer) bool {
		for _, p := range ps {
			if p.NodeID == id {
				return p.State == want
			}
		}
		return false
	}
}

// trio starts three nodes of one cluster that know the first.
func trio(t *testing.T) (a, b, c *node) {
	a = start(t, gossip.Config{Self: self(clusterA, nodeA)})
	b = start(t, gossip.Config{Self: self(clusterA, nodeB), Seeds: []string{a.Addr()}})
	c = start(t, gossip.Config{Self: self(clusterA, nodeC), Seeds: []string{a.Addr()}})
	for _, n := range []*node{a, b, c} {
		for _, id := range []catalog.NodeID{nodeA, nodeB, nodeC} {
			if id != n.Self().NodeID {
				n.await(t, string(id)+" alive", is(id, gossip.Alive))
			}
		}
	}
	return a, b, c
}

func TestMetaSpreads(t *testing.T) {
	a, b, c := trio(t)
	if err := b.SetMeta(func(m *gossip.Meta) { m.Flags |= gossip.Draining; m.HTTPAddr = "127.0.0.1:99" }); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{a, c} {
		n.await(t, "the new meta", func(ps []gossip.Peer) bool {
			for _, p := range ps {
				if p.NodeID == nodeB {
					return p.Meta == b.Self() && p.Flags == gossip.Draining && p.GossipAddr == b.Addr()
				}
			}
			return false
		})
	}
	if err := b.SetMeta(func(m *gossip.Meta) { m.Zone = strings.Repeat("z", 200) }); err == nil {
		t.Error("SetMeta with a zone of 200 bytes succeeded")
	}
	if b.Self().Zone != "" {
		t.Errorf("zone after a refused SetMeta = %q, want none", b.Self().Zone)
	}
}

func TestLeaveIsNotDeath(t *testing.T) {
	a, b, c := trio(t)
	if err := c.Leave(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	a.await(t, "C left", is(nodeC, gossip.Left))
	b.await(t, "C left", is(nodeC, gossip.Left))
	c.stop()
	if err := c.Leave(time.Second); err == nil {
		t.Error("Leave after the end of Run succeeded")
	}
}

// TestSuspect also pins the line of memberlist that tells a suspect.
func TestSuspect(t *testing.T) {
	a, b, c := trio(t)
	addr := c.Addr()
	c.stop()
	suspected := false
	a.await(t, "C suspect, then dead", func(ps []gossip.Peer) bool {
		suspected = suspected || is(nodeC, gossip.Suspect)(ps)
		return is(nodeC, gossip.Dead)(ps)
	})
	b.await(t, "C dead", is(nodeC, gossip.Dead))
	if !suspected {
		t.Error("C went from alive to dead without being suspect at A")
	}
	for _, p := range a.Peers() {
		if p.NodeID == nodeC && (p.Name != self(clusterA, nodeC).Name || p.LastSeen.IsZero()) {
			t.Errorf("dead peer = %+v, want its name and when it was seen", p)
		}
	}
	// It comes back where it was; nobody has to tell the others.
	c = start(t, gossip.Config{Self: self(clusterA, nodeC), BindAddr: addr, Seeds: []string{a.Addr()}})
	a.await(t, "C alive again", is(nodeC, gossip.Alive))
	b.await(t, "C alive again", is(nodeC, gossip.Alive))
	c.await(t, "B", is(nodeB, gossip.Alive))
}

func TestRejoinThroughKnown(t *testing.T) {
	var mu sync.Mutex
	var known []string
	a := start(t, gossip.Config{Self: self(clusterA, nodeA), Known: func() []string {
		mu.Lock()
		defer mu.Unlock()
		return known
	}})
	b := start(t, gossip.Config{Self: self(clusterA, nodeB)})
	mu.Lock()
	known = []string{"127.0.0.1:1", a.Addr(), strings.Replace(b.Addr(), "127.0.0.1", "localhost", 1)}
	mu.Unlock()
	a.await(t, "B", is(nodeB, gossip.Alive))
	b.await(t, "A", is(nodeA, gossip.Alive))
}

func TestForeignClusterIsRefused(t *testing.T) {
	a := start(t, gossip.Config{Self: self(clusterA, nodeA)})
	b := start(t, gossip.Config{Self: self(clusterB, nodeB)})
	joiner := start(t, gossip.Config{Self: self("", nodeC)})
	ctx := context.Background()
	if _, err := b.Join(ctx, []string{a.Addr()}); err != nil {
		t.Fatalf("Join talks to the foreign node, the refusal comes later: %v", err)
	}
	// What A has taken in, it hands on to whoever joins it.
	if _, err := joiner.Join(ctx, []string{a.Addr()}); err != nil {
		t.Fatal(err)
	}
	if ps := joiner.Peers(); len(ps) != 1 || ps[0].NodeID != nodeA {
		t.Errorf("peers of one that joined A = %+v, want A alone", ps)
	}
	if _, err := joiner.Join(ctx, []string{b.Addr()}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{a, b} {
		n.await(t, "the joiner", is(nodeC, gossip.Alive))
		ps := n.Peers()
		if len(ps) != 1 || !ps[0].Joiner() {
			t.Errorf("peers of %s = %+v, want the joiner alone", n.Self().NodeID, ps)
		}
	}
	joiner.await(t, "A and B", func(ps []gossip.Peer) bool { return len(ps) == 2 })
	if err := joiner.SetMeta(func(m *gossip.Meta) { m.ClusterID = clusterA }); err != nil {
		t.Fatal(err)
	}
	if ps := joiner.Peers(); len(ps) != 1 || ps[0].NodeID != nodeA {
		t.Errorf("peers once it has joined A = %+v, want A alone", ps)
	}
	a.await(t, "the new member", func(ps []gossip.Peer) bool { return len(ps) == 1 && ps[0].ClusterID == clusterA })
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct{ bind, advertise, want string }{
		{"0.0.0.0:0", "", "wildcard"},
		{":0", "", "wildcard"},
		{"127.0.0.1", "", "missing port"},
		{"127.0.0.1:x", "", "not a number"},
		{"127.0.0.1:0", "no such host.invalid", "advertise host"},
	} {
		g, err := gossip.New(gossip.Config{Self: self(clusterA, nodeA), BindAddr: tt.bind, AdvertiseHost: tt.advertise})
		if err == nil {
			g.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New on %q as %q: error = %v, want one about %q", tt.bind, tt.advertise, err, tt.want)
		}
	}
	g, err := gossip.New(gossip.Config{Self: self(clusterA, nodeA), BindAddr: "0.0.0.0:0", AdvertiseHost: "localhost", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if !strings.HasPrefix(g.Addr(), "127.0.0.1:") || strings.HasSuffix(g.Addr(), ":0") {
		t.Errorf("Addr = %q, want 127.0.0.1 and the port that was picked", g.Addr())
	}
	other := start(t, gossip.Config{Self: self(clusterA, nodeB)})
	if n, err := other.Join(context.Background(), []string{"127.0.0.1:1", g.Addr()}); n != 1 || err != nil {
		t.Errorf("Join of a dead and a live address = %d, %v, want 1", n, err)
	}
}
