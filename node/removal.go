package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// JoinCluster makes a running fresh node join the cluster whose members gossip at
// the given addresses. It returns once the node is a member.
func (n *Node) JoinCluster(ctx context.Context, r api.ClusterJoinRequest) error {
	if n.consensus() != nil {
		return fmt.Errorf("node %s belongs to cluster %s already: start one with an empty data directory: %w", n.name, n.ClusterID(), catalog.ErrConflict)
	}
	if len(r.Addrs) == 0 {
		return fmt.Errorf("no address to join at: name the gossip address of a member: %w", catalog.ErrInvalid)
	}
	n.addSeeds(r.Addrs)
	if _, err := n.gossip.Join(ctx, r.Addrs); err != nil {
		return fmt.Errorf("%v: %w", err, catalog.ErrUnavailable)
	}
	for {
		if row, err := n.fsm.Member(n.id.Node); err == nil && row.ID == n.id.Node {
			return nil
		}
		if err := n.joinError(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not a member yet, still trying: %w", catalog.ErrUnavailable)
		case <-time.After(memberPoll / 4):
		}
	}
}

// LeaveCluster takes this node out of the cluster for good. The data directory is
// left as it is; it cannot be used again.
func (n *Node) LeaveCluster(ctx context.Context) error {
	if n.consensus() == nil {
		return errNoCluster
	}
	if len(n.members()) == 1 {
		return fmt.Errorf("node %s is the only member: stop it instead: %w", n.name, catalog.ErrConflict)
	}
	m, err := n.fsm.Member(n.id.Node)
	if err != nil {
		return err
	}
	if err := n.dispensable(ctx, m); err != nil {
		return err
	}
	n.leaving.Store(true) // it must not announce itself again
	if err := n.depart(ctx, api.Departure{Node: m.ID, UnlessNeeded: true}); err != nil {
		n.leaving.Store(false)
		return err
	}
	n.log.Info("left the cluster", "node", n.name)
	defer n.finish() // nothing is left to do for this process
	return n.gossip.Leave(5 * time.Second)
}

// transferPatience bounds how long a leader that goes looks for an heir; the last hand-over
// that it begins can take electionTimeout more. Without one the others elect a leader once
// they miss this one.
const transferPatience = 5 * time.Second

// transferLeadership makes another voter the leader, since this node goes, whichever takes
// over: without a leader nobody stands for a miss. The last one to try is that which raft finds.
func (n *Node) transferLeadership(ctx context.Context, c *consensus) error {
	ctx, cancel := context.WithTimeout(ctx, transferPatience)
	defer cancel()
	voters := n.otherVoters(c)
	for {
		heir, err := n.heirOf(ctx, c, voters)
		if ctx.Err() != nil {
			return fmt.Errorf("no other voter takes over the lead: %w", catalog.ErrUnavailable)
		}
		if err != nil {
			return n.hand(c.raft.LeadershipTransfer)
		}
		err = n.handTo(c, heir)
		switch {
		case err == nil || !n.leads(): // it won late
			return nil
		case errors.Is(err, raft.ErrLeadershipTransferInProgress): // the one before hangs
			pause(ctx, proposePause)
		default:
			voters = slices.DeleteFunc(voters, func(s raft.Server) bool { return s.ID == heir.ID })
		}
	}
}

// depart has the leader remove a member, whichever node leads: one that is to be
// removed itself hands over first. Asking again does no harm.
func (n *Node) depart(ctx context.Context, d api.Departure) error {
	return n.atLeader(ctx, "remove member "+string(d.Node), func() error { return n.MemberLeaves(ctx, d) },
		func(addr string) error { return n.peers.Leave(ctx, addr, d) })
}

// RemoveMember removes a member for good: one that will not come back, or one that
// has been drained. Unless forced, one that lives must have been drained, and no
// removal may take the last copy of a blob.
func (n *Node) RemoveMember(ctx context.Context, r api.NodeRequest) error {
	m, err := n.memberNamed(r.Node)
	if err != nil {
		return err
	}
	if r.Force {
		return n.depart(ctx, api.Departure{Node: m.ID})
	}
	if err := n.removable(ctx, m); err != nil { // needs no leader to be seen
		return err
	}
	if err := n.confirmApplied(ctx); err != nil {
		return err
	}
	if err := n.removable(ctx, m); err != nil {
		return err
	}
	return n.depart(ctx, api.Departure{Node: m.ID, UnlessNeeded: true})
}

func (n *Node) removable(ctx context.Context, m catalog.Member) error {
	if n.isDead(ctx, m) {
		return n.noLastCopies(ctx, m)
	}
	if err := n.dispensable(ctx, m); err != nil {
		return err
	}
	if !m.Draining && m.ID != n.id.Node {
		return fmt.Errorf("member %s is alive: let it leave with `symkeep cluster leave --server http://%s`, or drain it first, or say --force: %w", m.Name, m.HTTPAddr, catalog.ErrConflict)
	}
	return nil
}

// MemberLeaves removes a member from raft and then from the table. Errors wrap
// api.ErrNotLeader when this node does not lead, and when it is the one to go: then
// it has handed leadership over, and the next leader is to be asked.
//
// That nobody needs the member is found out here again, where members go one after
// the other: two that go at the same time must not count on each other's copies.
func (n *Node) MemberLeaves(ctx context.Context, d api.Departure) error {
	c, err := n.inOffice()
	if err != nil {
		return err
	}
	if err := n.unsureError(); err != nil {
		return err
	}
	n.memberMu.Lock()
	defer n.memberMu.Unlock()
	id := d.Node
	if m, err := n.fsm.Member(id); err == nil && d.UnlessNeeded {
		if err := n.unneeded(ctx, m); err != nil {
			return err
		}
	}
	if id == n.id.Node {
		if err := n.heirNeeded(ctx, c); err != nil {
			return err
		}
		if err := n.transferLeadership(ctx, c); err != nil {
			return err
		}
		return fmt.Errorf("node %s has handed over leadership: %w", n.name, api.ErrNotLeader)
	}
	if _, err := n.fsm.Member(id); err != nil {
		return n.followTable(ctx, c) // a repeated request
	}
	if err := n.takeVote(ctx, c, id); err != nil {
		return err
	}
	_, err = n.propose(ctx, raftfsm.RemoveMember{ID: id})
	return err
}

// DrainMember marks a member so that its copies move elsewhere, or takes it back.
func (n *Node) DrainMember(ctx context.Context, r api.NodeRequest) error {
	m, err := n.memberNamed(r.Node)
	if err != nil {
		return err
	}
	if !r.Undo && !slices.ContainsFunc(n.members(), func(o catalog.Member) bool { return o.ID != m.ID && !o.Draining }) {
		return fmt.Errorf("member %s: no other one would be left to keep copies: let a node join, or say `symkeep cluster undrain` for one that drains, first: %w", m.Name, catalog.ErrConflict)
	}
	_, err = n.propose(ctx, raftfsm.SetDraining{Node: m.ID, Draining: !r.Undo})
	return err
}

func (n *Node) memberNamed(name string) (catalog.Member, error) {
	for _, m := range n.members() {
		if m.Name == name || string(m.ID) == name {
			return m, nil
		}
	}
	return catalog.Member{}, fmt.Errorf("member %q: `symkeep cluster status` lists them: %w", name, catalog.ErrNotFound)
}
