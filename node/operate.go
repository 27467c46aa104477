package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// defaultMaintenance is how long a planned absence is when nobody says.
const defaultMaintenance = time.Hour

// MaintainMember announces that a member will be away, so that its copies are not
// made anew elsewhere, or takes that back.
func (n *Node) MaintainMember(ctx context.Context, r api.NodeRequest) error {
	m, err := n.memberNamed(r.Node)
	if err != nil {
		return err
	}
	millis := r.For
	switch {
	case r.Undo:
		millis = 0
	case millis == 0:
		millis = defaultMaintenance.Milliseconds()
	case millis < 0 || millis > raftfsm.MaxMaintenance:
		return fmt.Errorf("member %s: maintenance of %s, wanted up to %s: %w", m.Name, time.Duration(millis)*time.Millisecond,
			raftfsm.MaxMaintenance*time.Millisecond, catalog.ErrInvalid)
	}
	_, err = n.propose(ctx, raftfsm.SetMaintenance{Node: m.ID, Millis: millis})
	return err
}

// maintained returns how much of a member's planned absence is left, 0 if none.
func (n *Node) maintained(m catalog.Member) time.Duration {
	return max(0, time.Duration(m.Maintenance-n.fsm.ClusterTime())*time.Millisecond)
}

// TransferLeader makes another voter lead, the named one if any is, and returns
// once a quorum has confirmed it.
func (n *Node) TransferLeader(ctx context.Context, r api.NodeRequest) error {
	var to catalog.NodeID
	if r.Node != "" {
		m, err := n.memberNamed(r.Node)
		if err != nil {
			return err
		}
		to = m.ID
	}
	c := n.consensus()
	if c == nil {
		return errNoCluster
	}
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	old, err := n.awaitLeader(ctx, c)
	if err != nil || old == to {
		return err
	}
	for {
		_, id := c.raft.LeaderWithID()
		now, err := catalog.NodeID(id), errNoLeader
		switch {
		case now == "":
		case now == to, now != old && to == "": // an answer that was lost is not asked for twice
			if err = n.confirmApplied(ctx); err == nil {
				return nil
			}
		default:
			err = n.askLeader(ctx, func() error { return n.HandOver(ctx, to) },
				func(addr string) error { return n.peers.TransferLeader(ctx, addr, to) })
		}
		if err != nil && !retriable(ctx, err) {
			return err
		}
		if !pause(ctx, proposePause) {
			return fmt.Errorf("leadership did not move: %v: %w", err, catalog.ErrUnavailable)
		}
	}
}

func (n *Node) awaitLeader(ctx context.Context, c *consensus) (catalog.NodeID, error) {
	for {
		if _, id := c.raft.LeaderWithID(); id != "" {
			return catalog.NodeID(id), nil
		}
		if !pause(ctx, proposePause) {
			return "", errNoLeader
		}
	}
}

// HandOver makes another voter the leader instead of this node: to, or any that has
// caught up and is to stay. Errors wrap api.ErrNotLeader when this node does not
// lead.
func (n *Node) HandOver(ctx context.Context, to catalog.NodeID) error {
	c, err := n.inOffice()
	if err != nil {
		return err
	}
	n.memberMu.Lock()
	defer n.memberMu.Unlock()
	heir, err := n.heir(ctx, c, to)
	if err != nil {
		return err
	}
	return n.handTo(c, heir)
}

// handTo hands leadership to a voter.
func (n *Node) handTo(c *consensus, heir raft.Server) error {
	n.log.Info("handing over leadership", "node", n.name, "peer", string(heir.ID))
	return n.hand(func() raft.Future { return c.raft.LeadershipTransferToServer(heir.ID, heir.Address) })
}

// staying is an error while leadership is handed over.
func (n *Node) staying() error {
	if n.handing.Load() > 0 {
		return fmt.Errorf("node %s: leadership is being handed over: %w", n.name, api.ErrNotLeader)
	}
	return nil
}

// hand waits for a transfer of leadership. While that is under way this node vouches for
// nothing and takes no commands.
func (n *Node) hand(transfer func() raft.Future) error {
	n.handing.Add(1)
	defer n.handing.Add(-1)
	if err := transfer().Error(); err != nil {
		return fmt.Errorf("hand over leadership: %w: %w", err, catalog.ErrUnavailable)
	}
	return nil
}

var errNoHeir = fmt.Errorf("no other voter could lead now: it must be alive, caught up and not draining: %w", catalog.ErrConflict)

// heir returns the voter that is to lead next.
func (n *Node) heir(ctx context.Context, c *consensus, to catalog.NodeID) (raft.Server, error) {
	voters := n.otherVoters(c)
	if to == "" {
		return n.heirOf(ctx, c, voters)
	}
	voters = slices.DeleteFunc(voters, func(s raft.Server) bool { return s.ID != raft.ServerID(to) })
	unfit := ""
	ready := n.caughtUp(ctx, c, voters, func(st api.PeerStatus) bool {
		unfit = st.Unfit
		return unfit == ""
	})
	switch {
	case unfit != "":
		return raft.Server{}, fmt.Errorf("member %s would not lead for long: %s: %w", to, unfit, catalog.ErrUnavailable)
	case len(voters) == 0:
		return raft.Server{}, fmt.Errorf("member %s has no vote, only a voter can lead: `symkeep cluster status` shows which do: %w", to, catalog.ErrConflict)
	case len(ready) == 0:
		return raft.Server{}, errNoHeir
	}
	return ready[0], nil
}

// heirOf returns the best of voters to lead next: one that is fit, else one whose disk is
// well, else one that has caught up and is to stay.
func (n *Node) heirOf(ctx context.Context, c *consensus, voters []raft.Server) (raft.Server, error) {
	ready := n.caughtUp(ctx, c, voters, fitToLead, diskFit, anyFit)
	if len(ready) == 0 {
		return raft.Server{}, errNoHeir
	}
	return n.best(ready), nil
}

// fitVoter returns a voter that is to lead rather than this node: it has caught up, is
// to stay, and finds itself fit.
func (n *Node) fitVoter(ctx context.Context, c *consensus) (raft.Server, error) {
	ready := n.caughtUp(ctx, c, n.otherVoters(c), fitToLead)
	if len(ready) == 0 {
		return raft.Server{}, fmt.Errorf("no other voter is fit to lead: %w", catalog.ErrUnavailable)
	}
	return n.best(ready), nil
}

// fitToLead reports whether a member would lead for long, by what it says.
func fitToLead(st api.PeerStatus) bool { return st.Unfit == "" && diskFit(st) }

// otherVoters returns the voters beside this node.
func (n *Node) otherVoters(c *consensus) []raft.Server {
	return slices.DeleteFunc(slices.Clone(c.raft.GetConfiguration().Configuration().Servers), func(s raft.Server) bool {
		return s.Suffrage != raft.Voter || s.ID == raft.ServerID(n.id.Node)
	})
}

// best returns the first of servers that is not under maintenance, else the first.
func (n *Node) best(servers []raft.Server) raft.Server {
	for _, s := range servers {
		if m, err := n.fsm.Member(catalog.NodeID(s.ID)); err == nil && n.maintained(m) == 0 {
			return s
		}
	}
	return servers[0]
}

// inOffice returns raft if this node leads and has applied all that was committed
// before; else an error that wraps api.ErrNotLeader.
func (n *Node) inOffice() (*consensus, error) {
	c := n.consensus()
	if c == nil || c.raft.State() != raft.Leader || n.readyTerm.Load() != c.raft.CurrentTerm() {
		return nil, fmt.Errorf("node %s: %w", n.name, api.ErrNotLeader)
	}
	return c, nil
}

// askLeader calls here if this node leads, else there with the leader's address.
// It does not try again.
func (n *Node) askLeader(ctx context.Context, here func() error, there func(addr string) error) error {
	c := n.consensus()
	if c == nil {
		return errNoCluster
	}
	switch addr, leader := c.raft.LeaderWithID(); leader {
	case raft.ServerID(n.id.Node):
		return here()
	case "":
		return errNoLeader
	default:
		err := there(n.peerAddr(catalog.NodeID(leader), string(addr)))
		if errors.Is(err, catalog.ErrNotFound) && strings.Contains(err.Error(), "no such route") {
			err = fmt.Errorf("the leader %s runs a former version, which cannot do that: upgrade it first: %w", n.nodeName(catalog.NodeID(leader)), catalog.ErrConflict)
		}
		return err
	}
}

// atLeader is askLeader, again and again until a leader has answered or ctx ends.
func (n *Node) atLeader(ctx context.Context, what string, here func() error, there func(addr string) error) error {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	for {
		err := n.askLeader(ctx, here, there)
		if err == nil || err == errNoCluster || !retriable(ctx, err) {
			return err
		}
		if !pause(ctx, proposePause) {
			return fmt.Errorf("no leader could %s: %v: %w", what, err, catalog.ErrUnavailable)
		}
	}
}
