package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
)

const (
	reachTimeout  = 3 * time.Second
	reachParallel = 48
)

// CheckNode says how this node is, and whether it reaches the named members on each
// of their ports. It takes a few seconds if it does not.
func (n *Node) CheckNode(ctx context.Context, ask []catalog.NodeID) (api.PeerCheck, error) {
	out := api.PeerCheck{SyncMS: n.diskStatus().SyncMS, Reaches: map[string]string{}}
	// A fresh client: connections that are open already say nothing of a firewall.
	fresh := api.NewPeerClient(n.ClusterID)
	defer fresh.Close()
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(reachParallel)
	try := func(way string, id catalog.NodeID, f func(context.Context) error) {
		g.Go(func() error {
			tctx, cancel := context.WithTimeout(ctx, reachTimeout)
			defer cancel()
			text := ""
			if err := f(tctx); err != nil {
				text = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			out.Reaches[reachKey(way, id)] = text
			return nil
		})
	}
	for _, id := range ask {
		m, err := n.fsm.Member(id)
		if err != nil || id == n.id.Node {
			continue
		}
		gossipAddr := n.gossipAddr(m)
		try(wayPeer, id, func(ctx context.Context) error {
			st, err := fresh.Status(ctx, n.peerAddr(m.ID, m.PeerAddr))
			if err == nil && st.ID != m.ID {
				err = fmt.Errorf("node %s answers in its place", st.ID)
			}
			return err
		})
		try(wayGossipTCP, id, func(ctx context.Context) error { return n.gossip.ReachTCP(ctx, gossipAddr) })
		try(wayGossipUDP, id, func(ctx context.Context) error { return n.gossip.ReachUDP(ctx, id, gossipAddr) })
	}
	err := g.Wait()
	out.NowMS = fault.Now().UnixMilli()
	return out, err
}

// Ways from one member to another, as api.PeerCheck names them.
const (
	wayPeer      = "peer"
	wayGossipTCP = "gossip-tcp"
	wayGossipUDP = "gossip-udp"
)

func reachKey(way string, id catalog.NodeID) string { return way + " " + string(id) }

// gossipAddr returns where a member gossips now, as far as this node knows.
func (n *Node) gossipAddr(m catalog.Member) string {
	for _, p := range n.gossip.Peers() {
		if p.NodeID == m.ID && p.GossipAddr != "" {
			return p.GossipAddr
		}
	}
	return m.GossipAddr
}

// askChecks has each member that answered look around.
func (n *Node) askChecks(ctx context.Context, views []memberView) map[catalog.NodeID]memberCheck {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var ask []catalog.NodeID
	for _, v := range views {
		ask = append(ask, v.member.ID)
	}
	checks := make([]memberCheck, len(views))
	var asking sync.WaitGroup
	for i, v := range views {
		if !looksAround(v) {
			continue
		}
		asking.Go(func() {
			c := &checks[i]
			if v.member.ID == n.id.Node {
				c.PeerCheck, c.err = n.CheckNode(ctx, ask)
			} else {
				c.PeerCheck, c.err = n.peers.Check(ctx, n.peerAddr(v.member.ID, v.member.PeerAddr), ask)
			}
		})
	}
	asking.Wait()
	out := map[catalog.NodeID]memberCheck{}
	for i, v := range views {
		if looksAround(v) {
			out[v.member.ID] = checks[i]
		}
	}
	return out
}

// looksAround reports whether a member can be asked to: the first builds cannot.
func looksAround(v memberView) bool { return v.answered && featureOf(v.said.Feature) >= 2 }

// checkTimeout bounds one member's look around.
const checkTimeout = 15 * time.Second

// A memberCheck is what one member found, or why it did not say.
type memberCheck struct {
	api.PeerCheck
	err error
}
