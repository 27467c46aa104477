package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
	"symkeep/internal/gossip"
)

// This file keeps the raft configuration in line with the member table, which
// rules. A crash between a change of one and of the other leaves them apart; the
// next round, under whichever leader, brings them together again.

// followTable adds every member to the raft configuration that is not in it, notes
// moved addresses and removes servers that are no members. The caller holds
// memberMu and leads.
func (n *Node) followTable(ctx context.Context, c *consensus) error {
	members := n.members()
	for range 2*len(members) + maxVoters { // each round makes one change
		f := c.raft.GetConfiguration()
		if err := f.Error(); err != nil {
			return configError("read", err)
		}
		change := n.nextChange(c, members, f.Configuration().Servers)
		if change == nil {
			return nil
		}
		if err := change(f.Index()); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// nextChange returns what has to be changed first, nil if nothing has. The index
// that it takes is of the configuration it was decided on: raft refuses the change
// if there is a newer one.
func (n *Node) nextChange(c *consensus, members []catalog.Member, servers []raft.Server) func(index uint64) error {
	for _, s := range servers {
		member := slices.ContainsFunc(members, func(m catalog.Member) bool { return raft.ServerID(m.ID) == s.ID })
		if !member && s.ID != raft.ServerID(n.id.Node) {
			return func(index uint64) error {
				n.log.Warn("removing a server that is no member", "peer", string(s.ID))
				return configError("remove", c.raft.RemoveServer(s.ID, index, configTimeout).Error())
			}
		}
	}
	for _, m := range members {
		id, addr := raft.ServerID(m.ID), raft.ServerAddress(m.PeerAddr)
		i := slices.IndexFunc(servers, func(s raft.Server) bool { return s.ID == id })
		taken := slices.ContainsFunc(servers, func(s raft.Server) bool { return s.ID != id && s.Address == addr })
		switch {
		case taken || i >= 0 && servers[i].Address == addr:
			// Raft dials where ServerAddr says: two members that have swapped their
			// addresses can stay as they are.
		case i >= 0 && servers[i].Suffrage == raft.Voter:
			return func(index uint64) error {
				return configError("move", c.raft.AddVoter(id, addr, index, configTimeout).Error())
			}
		default:
			return func(index uint64) error {
				return configError("add", c.raft.AddNonvoter(id, addr, index, configTimeout).Error())
			}
		}
	}
	return nil
}

// takeVote removes a member from the raft configuration before it leaves the
// table. A node outside of the configuration gets no new negative lease, since it
// learns of nothing committed any more; the wait lets an old one run out, so that
// the pushes that follow need not reckon with it. The caller holds memberMu and
// leads.
func (n *Node) takeVote(ctx context.Context, c *consensus, id catalog.NodeID) error {
	f := c.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return configError("read", err)
	}
	if err := n.majorityWithout(f.Configuration().Servers, id); err != nil {
		return err
	}
	if err := c.raft.RemoveServer(raft.ServerID(id), f.Index(), configTimeout).Error(); err != nil {
		return configError("remove "+string(id), err)
	}
	if !pause(ctx, visibleTime) {
		return ctx.Err()
	}
	return nil
}

// majorityWithout refuses to take a vote if those that are left could then decide
// nothing: not even to take it back.
func (n *Node) majorityWithout(servers []raft.Server, id catalog.NodeID) error {
	voters, alive := 0, 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter || s.ID == raft.ServerID(id) {
			continue
		}
		voters++
		if s.ID == raft.ServerID(n.id.Node) || !n.gone(catalog.NodeID(s.ID)) {
			alive++
		}
	}
	if alive < voters/2+1 {
		return fmt.Errorf("without member %s, %d of %d voters would be alive, which is no majority: bring voters back, or remove a dead one first: %w",
			id, alive, voters, catalog.ErrConflict)
	}
	return nil
}

func configError(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("raft configuration: %s: %v: %w", what, err, catalog.ErrUnavailable)
}

// demoteAfter is how long a voter must have been dead before another node gets its
// vote.
const demoteAfter = 10 * time.Minute

// balanceVoters makes at most one change towards the largest odd number of voters
// that are alive, up to maxVoters. The caller holds memberMu and leads.
//
// A vote moves from a dead voter to a node that waits for one in two rounds: it is
// taken first, because a newcomer that fails between the rounds would otherwise be
// one more vote that is missing. Without anybody to give it to, a dead voter keeps
// its vote: taking it would only make the majority smaller, and let the last node
// decide alone what nobody else has.
//
// An even number of voters needs one more of them to agree than the odd number below
// it, and survives no more failures: so one of four loses its vote, if no node waits
// for a fifth. Two keep theirs, although either one's failure stops all writes: with
// a single vote, what was acknowledged would be in the log of one disk.
func (n *Node) balanceVoters(ctx context.Context, c *consensus) error {
	return n.balanceVotersAfter(ctx, c, demoteAfter)
}

func (n *Node) balanceVotersAfter(ctx context.Context, c *consensus, dead time.Duration) error {
	f := c.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return configError("read", err)
	}
	servers := f.Configuration().Servers
	var voters, others []raft.Server
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters = append(voters, s)
		} else {
			others = append(others, s)
		}
	}
	lost, isLost := n.lostVoter(voters, dead)
	even := len(voters) >= 4 && len(voters)%2 == 0
	if len(voters) >= targetVoters(len(servers)) && !isLost && !even {
		return nil
	}
	waiting := n.caughtUp(ctx, c, others, anyFit)
	switch {
	case isLost && (len(waiting) > 0 || even):
		return n.demote(c, servers, lost, f.Index())
	case len(waiting) > 0 && len(voters) < targetVoters(len(voters)+len(waiting)):
		return n.promote(c, waiting[0], f.Index())
	case even && len(waiting) == 0:
		return n.demote(c, servers, n.sparedVoter(voters), f.Index())
	}
	return nil
}

// lostVoter returns a voter that has been dead for so long, unless that is planned.
func (n *Node) lostVoter(voters []raft.Server, dead time.Duration) (raft.Server, bool) {
	for _, s := range voters {
		id := catalog.NodeID(s.ID)
		m, err := n.fsm.Member(id)
		if err == nil && n.maintained(m) > 0 {
			continue
		}
		if id != n.id.Node && n.deadFor(id) >= dead {
			return s, true
		}
	}
	return raft.Server{}, false
}

// deadFor returns how long this node has known another one to be dead. One that it
// has never heard of has been away since this node's start at least.
func (n *Node) deadFor(id catalog.NodeID) time.Duration {
	for _, p := range n.gossip.Peers() {
		if p.NodeID != id {
			continue
		}
		if p.State != gossip.Dead && p.State != gossip.Left {
			return 0
		}
		return time.Since(p.LastSeen)
	}
	return time.Since(n.started)
}

// sparedVoter is the one of several living voters that is missed least: one that
// drains, else any but this node.
func (n *Node) sparedVoter(voters []raft.Server) raft.Server {
	spared := voters[0]
	for _, s := range voters {
		m, err := n.fsm.Member(catalog.NodeID(s.ID))
		switch {
		case s.ID == raft.ServerID(n.id.Node):
		case err == nil && m.Draining:
			return s
		default:
			spared = s
		}
	}
	return spared
}

func (n *Node) demote(c *consensus, servers []raft.Server, s raft.Server, index uint64) error {
	if err := n.majorityWithout(servers, catalog.NodeID(s.ID)); err != nil {
		return err
	}
	n.log.Warn("taking a node's vote", "peer", string(s.ID), "node", n.nodeName(catalog.NodeID(s.ID)))
	return configError("demote", c.raft.DemoteVoter(s.ID, index, configTimeout).Error())
}

func (n *Node) promote(c *consensus, s raft.Server, index uint64) error {
	n.log.Info("giving a node its vote", "node", string(s.ID))
	err := configError("promote", c.raft.AddVoter(s.ID, s.Address, index, configTimeout).Error())
	fault.Point("vote-given")
	return err
}

// heirNeeded gives a non-voter the vote if there is no other voter that could lead
// instead of this node: an even cluster of two has only one.
func (n *Node) heirNeeded(ctx context.Context, c *consensus) error {
	f := c.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return configError("read", err)
	}
	var others []raft.Server
	for _, s := range f.Configuration().Servers {
		if s.ID == raft.ServerID(n.id.Node) {
			continue
		}
		if s.Suffrage == raft.Voter {
			return nil
		}
		others = append(others, s)
	}
	waiting := n.caughtUp(ctx, c, others, anyFit)
	if len(waiting) == 0 {
		return fmt.Errorf("no other node could lead: wait until `symkeep cluster status` is healthy: %w", catalog.ErrUnavailable)
	}
	return n.promote(c, waiting[0], f.Index())
}

// targetVoters returns how many of n nodes fit to vote should: an even one waits.
func targetVoters(n int) int {
	n = min(n, maxVoters)
	if n%2 == 0 {
		n--
	}
	return max(n, 1)
}

// anyFit is for caughtUp.
func anyFit(api.PeerStatus) bool { return true }

// caughtUp returns those servers that are alive, have applied nearly everything and are
// fit by what they say, in their order: by the first of fits that any of them meets. It asks
// all of them once and at the same time, for a second at most.
func (n *Node) caughtUp(ctx context.Context, c *consensus, servers []raft.Server, fits ...func(api.PeerStatus) bool) (ready []raft.Server) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	said := make([]*api.PeerStatus, len(servers)) // nil: nothing
	near := make([]bool, len(servers))
	var asking sync.WaitGroup
	for i, s := range servers {
		m, err := n.fsm.Member(catalog.NodeID(s.ID))
		if err != nil || m.Draining || n.gone(m.ID) {
			continue
		}
		asking.Go(func() {
			st, err := n.peers.Status(ctx, n.peerAddr(m.ID, m.PeerAddr))
			if err == nil && st.ID == m.ID {
				said[i] = &st
				near[i] = st.AppliedIndex > 0 && st.AppliedIndex+promotionLag >= c.raft.CommitIndex()
			}
		})
	}
	asking.Wait()
	for _, fit := range fits {
		for i, s := range servers {
			if said[i] != nil && fit(*said[i]) && near[i] {
				ready = append(ready, s)
			}
		}
		if len(ready) > 0 {
			break
		}
	}
	return ready
}
