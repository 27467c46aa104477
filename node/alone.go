package node

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/catalog"
)

// aloneAttempts bounds how often a node asks itself to stand for election: raft's own
// timeout comes next.
const aloneAttempts = 20

// runElection makes a node that is the only voter of its cluster stand for election as
// soon as it runs. Raft would first wait some seconds for a leader that cannot be.
func (n *Node) runElection(ctx context.Context) error {
	c, err := n.awaitConsensus(ctx)
	if err != nil {
		return nil
	}
	electAlone(ctx, c, n.id.Node)
	return nil
}

// electAlone asks raft by the message with which a leader names its successor, which
// reaches this node through its own listener.
func electAlone(ctx context.Context, c *consensus, id catalog.NodeID) {
	self, alone := soleVoter(c.raft.GetConfiguration().Configuration(), id)
	if !alone {
		return
	}
	ask := raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax,
		ID: []byte(self.ID), Addr: []byte(self.Address)}}
	for range aloneAttempts {
		if c.raft.State() != raft.Follower {
			return
		}
		var done raft.TimeoutNowResponse
		if c.transport.TimeoutNow(self.ID, self.Address, &ask, &done) == nil || !pause(ctx, 50*time.Millisecond) {
			return
		}
	}
}

// soleVoter returns the row of a node if nobody else has a vote.
func soleVoter(c raft.Configuration, id catalog.NodeID) (raft.Server, bool) {
	voters := slices.DeleteFunc(slices.Clone(c.Servers), func(s raft.Server) bool { return s.Suffrage != raft.Voter })
	if len(voters) != 1 || voters[0].ID != raft.ServerID(id) {
		return raft.Server{}, false
	}
	return voters[0], true
}
