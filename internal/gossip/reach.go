package gossip

import (
	"context"
	"fmt"
	"net"

	"symkeep/internal/catalog"
)

// ReachTCP exchanges state with the node at a gossip address over TCP, as Run does
// every now and then. It blocks for some seconds at most; the end of ctx does not
// break it off.
func (g *Gossip) ReachTCP(ctx context.Context, addr string) error {
	_, err := g.Join(ctx, []string{addr})
	return err
}

// ReachUDP sends one ping to a node's gossip address over UDP. Only the node with
// that id answers. It blocks for about a second at most.
func (g *Gossip) ReachUDP(ctx context.Context, id catalog.NodeID, addr string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	udp, err := net.ResolveUDPAddr("udp", canonical(addr))
	if err != nil {
		return fmt.Errorf("gossip: ping %s: %w", addr, err)
	}
	if _, err := g.list.Ping(string(id), udp); err != nil {
		return fmt.Errorf("gossip: ping %s of node %s: no answer: %w", addr, id, err)
	}
	return nil
}
