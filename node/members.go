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
	"symkeep/internal/gossip"
	"symkeep/raftfsm"
)

// Timings of membership.
const (
	memberPoll     = 500 * time.Millisecond // how often joiners, the leader and a moved node look
	configTimeout  = 10 * time.Second       // one change of the raft configuration
	maxVoters      = 5
	promotionLag   = 100              // entries a joiner may be behind when it gets a vote
	strangerPeriod = 10 * time.Second // gossip has settled: who is unknown by then is gone
)

// members returns the committed member table.
func (n *Node) members() []catalog.Member { return n.fsm.Members() }

func (n *Node) otherMembers() []catalog.Member {
	return slices.DeleteFunc(n.members(), func(m catalog.Member) bool { return m.ID == n.id.Node })
}

func (n *Node) settings() catalog.Settings { return n.fsm.Settings() }

// quorum is W: how many members must hold a blob before it may be committed.
func (n *Node) quorum() int {
	return catalog.WriteQuorum(n.settings().Replicas, len(n.members()))
}

// peerAddr returns where a node's peer address is now: gossip knows first, then
// the member table, then what the caller has.
func (n *Node) peerAddr(id catalog.NodeID, fallback string) string {
	if id == n.id.Node {
		return n.peerAdvertised
	}
	for _, p := range n.gossip.Peers() {
		if p.NodeID == id && (p.State == gossip.Alive || p.State == gossip.Suspect) && p.PeerAddr != "" {
			return p.PeerAddr
		}
	}
	if m, err := n.fsm.Member(id); err == nil {
		return m.PeerAddr
	}
	return fallback
}

// ServerAddr implements raft.ServerAddressProvider, so that a quorum survives a
// change of every address.
func (n *Node) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if addr := n.peerAddr(catalog.NodeID(id), ""); addr != "" {
		return raft.ServerAddress(addr), nil
	}
	return "", fmt.Errorf("node %s: no address known: %w", id, catalog.ErrNotFound)
}

// self is this node's row as it should be in the member table.
func (n *Node) self() catalog.Member {
	return catalog.Member{
		ID: n.id.Node, Name: n.name, PeerAddr: n.peerAdvertised, HTTPAddr: n.httpAdvertised,
		GossipAddr: n.gossip.Addr(), Zone: n.cfg.Zone, Version: n.cfg.Version, JoinedAt: time.Now().UTC(),
	}
}

// runAnnounce makes this node a member, and keeps its row true: a fresh joiner
// asks whatever member gossip shows, a moved node reports its new addresses.
func (n *Node) runAnnounce(ctx context.Context) error {
	tick := time.NewTicker(memberPoll)
	defer tick.Stop()
	for said := ""; ; {
		if err := n.announce(ctx); err != nil && ctx.Err() == nil {
			if text := err.Error(); text != said { // once per cause
				n.log.Warn("not a member yet", "err", err)
				said = text
			}
			if errors.Is(err, catalog.ErrConflict) {
				n.setJoinError(err)
			}
		} else {
			said = ""
			n.setJoinError(nil)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (n *Node) announce(ctx context.Context) error {
	if n.leaving.Load() {
		return nil
	}
	if c := n.consensus(); c != nil {
		row, err := n.fsm.Member(n.id.Node)
		if err == nil && sameMember(row, n.self()) {
			return nil
		}
		if c.raft.State() == raft.Leader {
			_, err := n.AdmitMember(ctx, api.JoinRequest{Member: n.self()})
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, configTimeout)
	defer cancel()
	// Not n.peers: a connection opened without a cluster id stays a joiner's.
	asker := api.NewPeerClient(n.ClusterID)
	defer asker.Close()
	var errs []error
	for _, p := range n.gossip.Peers() {
		if p.Joiner() || p.State != gossip.Alive {
			continue
		}
		r, err := asker.Join(ctx, p.PeerAddr, api.JoinRequest{Member: n.self(), Fresh: n.ClusterID() == ""})
		if err != nil {
			errs = append(errs, fmt.Errorf("member %s: %w", p.Name, err))
			continue
		}
		return n.enter(r.ClusterID)
	}
	if len(errs) == 0 && n.consensus() == nil && len(n.seeds()) > 0 {
		return fmt.Errorf("no member answers at %v: %w", n.seeds(), catalog.ErrUnavailable)
	}
	return errors.Join(errs...)
}

func sameMember(a, b catalog.Member) bool {
	return a.Name == b.Name && a.PeerAddr == b.PeerAddr && a.HTTPAddr == b.HTTPAddr &&
		a.GossipAddr == b.GossipAddr && a.Zone == b.Zone && a.Version == b.Version
}

// AdmitMember takes a node in as a non-voter, or notes the new addresses of a
// member. Any node accepts the request; only the leader acts on it.
func (n *Node) AdmitMember(ctx context.Context, r api.JoinRequest) (api.JoinResponse, error) {
	m := r.Member
	if err := checkMember(m); err != nil {
		return api.JoinResponse{}, err
	}
	c := n.consensus()
	if c == nil {
		return api.JoinResponse{}, errNoCluster
	}
	addr, leader := c.raft.LeaderWithID()
	switch {
	case leader == "":
		return api.JoinResponse{}, errNoLeader
	case leader != raft.ServerID(n.id.Node) && r.Forwarded:
		return api.JoinResponse{}, fmt.Errorf("node %s: %w", n.name, api.ErrNotLeader)
	case leader != raft.ServerID(n.id.Node):
		r.Forwarded = true
		return n.peers.Join(ctx, n.peerAddr(catalog.NodeID(leader), string(addr)), r)
	case n.readyTerm.Load() != c.raft.CurrentTerm():
		return api.JoinResponse{}, errNoLeader
	}
	n.memberMu.Lock() // one change of the membership at a time
	defer n.memberMu.Unlock()
	if _, err := n.fsm.Member(m.ID); err != nil && !r.Fresh && m.ID != n.id.Node {
		return api.JoinResponse{}, fmt.Errorf("node %s (%s) is no member any more: it left or was removed; start it with an empty data directory: %w", m.Name, m.ID, catalog.ErrConflict)
	}
	if err := n.admit(ctx, c, m); err != nil {
		return api.JoinResponse{}, err
	}
	return api.JoinResponse{ClusterID: n.ClusterID(), Leader: n.id.Node, Peers: n.members()}, nil
}

func checkMember(m catalog.Member) error {
	for what, s := range map[string]string{"id": string(m.ID), "name": m.Name, "peer address": m.PeerAddr, "http address": m.HTTPAddr, "gossip address": m.GossipAddr} {
		if s == "" || len(s) > 128 {
			return fmt.Errorf("member %q: %s %.40q, wanted 1 to 128 bytes: %w", m.Name, what, s, catalog.ErrInvalid)
		}
	}
	return nil
}

// admit changes the raft configuration, then the member table. The caller holds
// memberMu and leads.
func (n *Node) admit(ctx context.Context, c *consensus, m catalog.Member) error {
	replaces, err := n.replaced(m)
	if err != nil {
		return err
	}
	if replaces != "" {
		n.log.Info("replacing a dead member of the same name", "node", m.Name, "peer", string(replaces), "by", string(m.ID))
		if err := c.raft.RemoveServer(raft.ServerID(replaces), 0, configTimeout).Error(); err != nil {
			return configError("remove "+string(replaces), err)
		}
	}
	if err := putServer(c, m); err != nil {
		return err
	}
	_, err = n.propose(ctx, raftfsm.PutMember{Member: m, Replaces: replaces})
	return err
}

// replaced returns the member whose name m takes over: only one that gossip has
// found dead. A living namesake refuses the join.
func (n *Node) replaced(m catalog.Member) (catalog.NodeID, error) {
	for _, old := range n.members() {
		if old.Name != m.Name || old.ID == m.ID {
			continue
		}
		if !n.gone(old.ID) {
			return "", fmt.Errorf("name %q belongs to member %s at %s, which is alive: start the node with another --name: %w",
				m.Name, old.ID, old.PeerAddr, catalog.ErrConflict)
		}
		return old.ID, nil
	}
	return "", nil
}

// gone reports whether gossip says that a node is dead or left. A node that gossip
// has never seen counts as gone once gossip had time to settle.
func (n *Node) gone(id catalog.NodeID) bool {
	if id == n.id.Node {
		return false
	}
	for _, p := range n.gossip.Peers() {
		if p.NodeID == id {
			return p.State == gossip.Dead || p.State == gossip.Left
		}
	}
	return time.Since(n.started) > strangerPeriod
}

// putServer adds m to the raft configuration, or changes its address.
func putServer(c *consensus, m catalog.Member) error {
	f := c.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return configError("read", err)
	}
	for _, s := range f.Configuration().Servers {
		if s.ID != raft.ServerID(m.ID) {
			continue
		}
		if s.Address == raft.ServerAddress(m.PeerAddr) {
			return nil
		}
		if s.Suffrage == raft.Voter {
			return configError("move", c.raft.AddVoter(s.ID, raft.ServerAddress(m.PeerAddr), 0, configTimeout).Error())
		}
	}
	return configError("add", c.raft.AddNonvoter(raft.ServerID(m.ID), raft.ServerAddress(m.PeerAddr), 0, configTimeout).Error())
}

func configError(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("raft configuration: %s: %v: %w", what, err, catalog.ErrUnavailable)
}

// balanceVoters promotes non-voters that have caught up, so that the voters are
// the largest odd number up to maxVoters. It makes one change at most.
func (n *Node) balanceVoters(ctx context.Context, c *consensus) error {
	n.memberMu.Lock()
	defer n.memberMu.Unlock()
	f := c.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return configError("read", err)
	}
	voters, waiting := 0, []raft.Server(nil)
	for _, s := range f.Configuration().Servers {
		switch {
		case s.Suffrage == raft.Voter:
			voters++
		case n.caughtUp(ctx, c, s):
			waiting = append(waiting, s)
		}
	}
	if len(waiting) == 0 || voters >= targetVoters(voters+len(waiting)) {
		return nil
	}
	s := waiting[0]
	n.log.Info("giving a node its vote", "node", string(s.ID), "voters", voters+1)
	return configError("promote", c.raft.AddVoter(s.ID, s.Address, f.Index(), configTimeout).Error())
}

// targetVoters returns how many of n nodes fit to vote should: an even one waits.
func targetVoters(n int) int {
	n = min(n, maxVoters)
	if n%2 == 0 {
		n--
	}
	return max(n, 1)
}

// caughtUp reports whether a non-voter is alive and has applied nearly everything.
func (n *Node) caughtUp(ctx context.Context, c *consensus, s raft.Server) bool {
	m, err := n.fsm.Member(catalog.NodeID(s.ID))
	if err != nil || m.Draining || n.gone(m.ID) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	st, err := n.peers.Status(ctx, n.peerAddr(m.ID, m.PeerAddr))
	return err == nil && st.AppliedIndex > 0 && st.AppliedIndex+promotionLag >= c.raft.CommitIndex()
}
