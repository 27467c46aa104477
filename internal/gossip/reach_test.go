package gossip_test

import (
	"net"
	"testing"

	"symkeep/internal/gossip"
)

// TestReach: the two ways to a node are told apart, and another node at the address
// is not taken for it.
func TestReach(t *testing.T) {
	a := start(t, gossip.Config{Self: self(clusterA, nodeA)})
	b := start(t, gossip.Config{Self: self(clusterA, nodeB)})
	if err := a.ReachTCP(t.Context(), b.Addr()); err != nil {
		t.Errorf("ReachTCP of a live node = %v", err)
	}
	if err := a.ReachUDP(t.Context(), nodeB, b.Addr()); err != nil {
		t.Errorf("ReachUDP of a live node = %v", err)
	}
	if err := a.ReachUDP(t.Context(), nodeC, b.Addr()); err == nil {
		t.Error("ReachUDP of a node that another one stands in for = nil, want an error")
	}
	addr := b.Addr()
	b.stop()
	if err := a.ReachTCP(t.Context(), addr); err == nil {
		t.Error("ReachTCP of a stopped node = nil, want an error")
	}
	ln, err := net.Listen("tcp", addr) // TCP is there, UDP is not
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := a.ReachUDP(t.Context(), nodeB, addr); err == nil {
		t.Error("ReachUDP of a stopped node = nil, want an error")
	}
}
