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
	"symkeep/internal/fault"
	"symkeep/internal/gossip"
	"symkeep/raftfsm"
)

// Timings of membership.
const (
	memberPoll     = 500 * time.Millisecond // how often joiners, the leader and a moved node look
	refusedPoll    = time.Second            // how often a refused joiner asks again: its namesake may die
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

// nowhere is an address that no dial reaches.
const nowhere = "no member any more"

// ServerAddr implements raft.ServerAddressProvider, so that a quorum survives a
// change of every address. Raft goes on for a while to send to a server it has
// removed. At that one's address its successor may listen, who must not take the
// old logs and snapshots meant for the other: so they go nowhere. Only a node that
// has not learned of any member yet falls back to what raft's configuration says.
func (n *Node) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if addr := n.peerAddr(catalog.NodeID(id), ""); addr != "" {
		return raft.ServerAddress(addr), nil
	}
	if len(n.members()) > 0 {
		return nowhere, nil
	}
	return "", fmt.Errorf("node %s: no address known: %w", id, catalog.ErrNotFound)
}

// self is this node's row as it should be in the member table.
func (n *Node) self() catalog.Member {
	return catalog.Member{
		ID: n.id.Node, Name: n.name, PeerAddr: n.peerAdvertised, HTTPAddr: n.httpAdvertised,
		GossipAddr: n.gossip.Addr(), Zone: n.cfg.Zone, Version: n.cfg.Version, JoinedAt: fault.Now().UTC(),
	}
}

// runAnnounce makes this node a member, and keeps its row true: a fresh joiner
// asks whatever member gossip shows, a moved node reports its new addresses.
func (n *Node) runAnnounce(ctx context.Context) error {
	for said, wait := "", memberPoll; ; {
		err := n.announce(ctx)
		if wait = memberPoll; errors.Is(err, catalog.ErrConflict) {
			wait = refusedPoll
		}
		if err != nil && ctx.Err() == nil {
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
		if !pause(ctx, wait) {
			return nil
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
			return n.stillMember(ctx, c)
		}
		if c.raft.State() == raft.Leader {
			_, err := n.AdmitMember(ctx, api.JoinRequest{Member: n.self(), Feature: raftfsm.MaxFeature})
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
		r, err := asker.Join(ctx, p.PeerAddr, api.JoinRequest{Member: n.self(), Fresh: n.ClusterID() == "", Feature: raftfsm.MaxFeature})
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

// forgottenAfter is how long a node hears of no leader until it asks whether it is a
// member at all: one that is removed while it lives gets no word of that.
const forgottenAfter = 4 * heartbeatTimeout

// stillMember returns an error that wraps catalog.ErrConflict when this node was
// removed from the cluster.
func (n *Node) stillMember(ctx context.Context, c *consensus) error {
	if time.Since(n.lastLeader(c)) < forgottenAfter {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, configTimeout)
	defer cancel()
	for _, p := range n.gossip.Peers() {
		if p.Joiner() || p.State != gossip.Alive {
			continue
		}
		_, err := n.peers.Join(ctx, p.PeerAddr, api.JoinRequest{Member: n.self(), Feature: raftfsm.MaxFeature})
		if errors.Is(err, catalog.ErrConflict) {
			return fmt.Errorf("member %s: %w", p.Name, err)
		}
	}
	return nil // it is one, or nobody can tell
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
	if err := n.unsureError(); err != nil {
		return api.JoinResponse{}, err
	}
	n.memberMu.Lock() // one change of the membership at a time
	defer n.memberMu.Unlock()
	if _, err := n.fsm.Member(m.ID); err != nil && !r.Fresh {
		return api.JoinResponse{}, fmt.Errorf("node %s (%s) is no member any more: it left or was removed; start it with an empty data directory: %w", m.Name, m.ID, catalog.ErrConflict)
	}
	if have := featureOf(r.Feature); have < n.fsm.FeatureLevel() {
		return api.JoinResponse{}, fmt.Errorf("node %s runs version %s, which understands feature level %d, the cluster uses %d: start it with the version of the others: %w",
			m.Name, m.Version, have, n.fsm.FeatureLevel(), catalog.ErrConflict)
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

// admit changes the member table; the raft configuration follows it. The caller
// holds memberMu and leads.
func (n *Node) admit(ctx context.Context, c *consensus, m catalog.Member) error {
	if old, err := n.fsm.Member(m.ID); err == nil && sameMember(old, m) {
		return n.followTable(ctx, c)
	}
	replaces, err := n.replaced(ctx, m)
	if err != nil {
		return err
	}
	if err := n.addressFree(m, replaces); err != nil {
		return err
	}
	if replaces != "" {
		n.log.Info("replacing a dead member of the same name", "node", m.Name, "peer", string(replaces), "by", string(m.ID))
		if err := n.takeVote(ctx, c, replaces); err != nil {
			return err
		}
	}
	if _, err := n.propose(ctx, raftfsm.PutMember{Member: m, Replaces: replaces}); err != nil {
		return err
	}
	fault.Point("member-added")
	return n.followTable(ctx, c)
}

// replaced returns the member whose name m takes over: only one that gossip has
// found dead. A living namesake refuses the join, and a member cannot change its
// name to that of another.
func (n *Node) replaced(ctx context.Context, m catalog.Member) (catalog.NodeID, error) {
	_, err := n.fsm.Member(m.ID)
	member := err == nil
	for _, old := range n.members() {
		if old.Name != m.Name || old.ID == m.ID {
			continue
		}
		if member || !n.isDead(ctx, old) {
			return "", fmt.Errorf("name %q belongs to member %s at %s, which is alive: start the node with another --name: %w",
				m.Name, old.ID, old.PeerAddr, catalog.ErrConflict)
		}
		return old.ID, nil
	}
	return "", nil
}

// addressFree refuses a peer address that is another member's: raft allows one
// server per address. A member that has moved says so itself before long.
func (n *Node) addressFree(m catalog.Member, replaces catalog.NodeID) error {
	for _, old := range n.members() {
		if old.PeerAddr == m.PeerAddr && old.ID != m.ID && old.ID != replaces {
			return fmt.Errorf("peer address %s belongs to member %s (%s): start the node with --name %s to replace it, or remove that member first: %w",
				m.PeerAddr, old.Name, old.ID, old.Name, catalog.ErrConflict)
		}
	}
	return nil
}

// answers asks a member whether it is there, at the address it had: gossip may be
// blocked where the peer port is not.
func (n *Node) answers(ctx context.Context, m catalog.Member) bool {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	st, err := n.peers.Status(ctx, n.peerAddr(m.ID, m.PeerAddr))
	return err == nil && st.ID == m.ID
}

// isDead reports whether a member is gone and does not answer either: gossip may be cut
// where the peer port is not.
func (n *Node) isDead(ctx context.Context, m catalog.Member) bool {
	return n.gone(m.ID) && !n.answers(ctx, m)
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
