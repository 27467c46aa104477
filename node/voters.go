package node

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"symkeep/internal/catalog"
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

// balanceVoters promotes non-voters that have caught up, so that the voters are
// the largest odd number up to maxVoters. It makes one change at most. The caller
// holds memberMu and leads.
func (n *Node) balanceVoters(ctx context.Context, c *consensus) error {
	f := c.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return configError("read", err)
	}
	var others []raft.Server
	for _, s := range f.Configuration().Servers {
		if s.Suffrage != raft.Voter {
			others = append(others, s)
		}
	}
	voters := len(f.Configuration().Servers) - len(others)
	if voters >= targetVoters(voters+len(others)) {
		return nil
	}
	waiting := n.caughtUp(ctx, c, others)
	if len(waiting) == 0 || voters >= targetVoters(voters+len(waiting)) {
		return nil
	}
	return n.promote(c, waiting[0], f.Index())
}

func (n *Node) promote(c *consensus, s raft.Server, index uint64) error {
	n.log.Info("giving a node its vote", "node", string(s.ID))
	return configError("promote", c.raft.AddVoter(s.ID, s.Address, index, configTimeout).Error())
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
	waiting := n.caughtUp(ctx, c, others)
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

// caughtUp returns those servers that are alive and have applied nearly everything,
// in their order. It asks all of them at once, for a second at most.
func (n *Node) caughtUp(ctx context.Context, c *consensus, servers []raft.Server) (ready []raft.Server) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	fit := make([]bool, len(servers))
	var asking sync.WaitGroup
	for i, s := range servers {
		m, err := n.fsm.Member(catalog.NodeID(s.ID))
		if err != nil || m.Draining || n.gone(m.ID) {
			continue
		}
		asking.Go(func() {
			st, err := n.peers.Status(ctx, n.peerAddr(m.ID, m.PeerAddr))
			fit[i] = err == nil && st.ID == m.ID && st.AppliedIndex > 0 && st.AppliedIndex+promotionLag >= c.raft.CommitIndex()
		})
	}
	asking.Wait()
	for i, s := range servers {
		if fit[i] {
			ready = append(ready, s)
		}
	}
	return ready
}
