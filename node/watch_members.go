package node

import (
	"context"

	"symkeep/internal/catalog"
	"symkeep/internal/gossip"
)

// runMemberWatch logs each member that dies and each one that comes back, once.
func (n *Node) runMemberWatch(ctx context.Context) error {
	dead := map[catalog.NodeID]bool{}
	for pause(ctx, memberPoll) {
		names := map[catalog.NodeID]string{}
		for _, m := range n.otherMembers() {
			names[m.ID] = m.Name
		}
		for _, p := range n.gossip.Peers() {
			name, member := names[p.NodeID]
			now := p.State == gossip.Dead || p.State == gossip.Left
			switch {
			case !member:
				delete(dead, p.NodeID)
			case now && !dead[p.NodeID]:
				dead[p.NodeID] = true
				n.log.Warn("member dead", "node", n.name, "peer", name, "state", string(p.State))
			case !now && dead[p.NodeID] && p.State == gossip.Alive:
				delete(dead, p.NodeID)
				n.log.Info("member back", "node", n.name, "peer", name)
			}
		}
	}
	return nil
}
