package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/gossip"
	"symkeep/symhttp"
)

// statusTimeout bounds what a member may take to describe itself.
const statusTimeout = time.Second

// PeerStatus is what this node says of itself to other members.
func (n *Node) PeerStatus(context.Context) (api.PeerStatus, error) {
	st := api.PeerStatus{ID: n.id.Node, Name: n.name, Version: n.cfg.Version, AppliedIndex: n.fsm.AppliedIndex()}
	var err error
	if st.Hashes, err = n.catalogHashes(); err != nil {
		return st, err
	}
	st.FSMHash = st.Hashes[0].Hash
	if c := n.consensus(); c != nil {
		_, leader := c.raft.LeaderWithID()
		st.Term, st.LastIndex = c.raft.CurrentTerm(), c.raft.LastIndex()
		st.Leader, st.IsLeader = catalog.NodeID(leader), c.raft.State() == raft.Leader
	}
	repl, err := n.repl.Status()
	if err != nil {
		return st, err
	}
	st.Missing = repl.Missing
	blobs, _, err := n.blobs.Totals()
	st.Blobs = int(blobs)
	return st, err
}

// ClusterStatus describes the cluster as this node sees it, after asking every
// member about itself.
func (n *Node) ClusterStatus(ctx context.Context) (api.ClusterStatus, error) {
	st := api.ClusterStatus{ClusterID: n.ClusterID(), Nodes: []api.NodeStatus{}}
	c := n.consensus()
	if c == nil {
		st.Reasons = []string{errNoCluster.Error()}
		return st, nil
	}
	_, leader := c.raft.LeaderWithID()
	st.Leader, st.Term, st.Commit = catalog.NodeID(leader), c.raft.CurrentTerm(), c.raft.CommitIndex()
	st.Replicas = n.settings().Replicas
	roles := serverRoles(c)
	var said []api.PeerStatus
	st.Nodes, said = n.nodeStatuses(ctx, roles)
	counts := n.fsm.Counts()
	st.Blobs, st.MailQueue, st.Packages = counts.Blobs, counts.PendingNotices, map[string]int{}
	for state, k := range counts.Packages {
		st.Packages[string(state)] = k
	}
	n.judgeHealth(&st, roles)
	if text := differ(said); text != "" {
		n.log.Error("catalogs differ", "err", text)
		st.Reasons, st.Healthy = append(st.Reasons, text), false
	}
	return st, nil
}

func serverRoles(c *consensus) map[catalog.NodeID]string {
	roles := map[catalog.NodeID]string{}
	f := c.raft.GetConfiguration()
	if f.Error() != nil {
		return roles
	}
	for _, s := range f.Configuration().Servers {
		roles[catalog.NodeID(s.ID)] = "nonvoter"
		if s.Suffrage == raft.Voter {
			roles[catalog.NodeID(s.ID)] = "voter"
		}
	}
	return roles
}

func (n *Node) nodeStatuses(ctx context.Context, roles map[catalog.NodeID]string) ([]api.NodeStatus, []api.PeerStatus) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	peers := map[catalog.NodeID]gossip.Peer{}
	for _, p := range n.gossip.Peers() {
		peers[p.NodeID] = p
	}
	members := n.members()
	out, said := make([]api.NodeStatus, len(members)), make([]api.PeerStatus, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		out[i] = api.NodeStatus{
			ID: m.ID, Name: m.Name, Role: cmp.Or(roles[m.ID], "nonvoter"), State: string(gossip.Dead), HTTPAddr: m.HTTPAddr, PeerAddr: m.PeerAddr,
			GossipAddr: m.GossipAddr, Zone: m.Zone, Version: m.Version, Synced: m.Synced, JoinedAt: m.JoinedAt, LastContact: -1,
		}
		wg.Go(func() { said[i] = n.askNode(ctx, &out[i], m, peers[m.ID]) })
	}
	wg.Wait()
	return out, said
}

// askNode fills in what gossip and the node itself say, and returns the latter.
func (n *Node) askNode(ctx context.Context, s *api.NodeStatus, m catalog.Member, p gossip.Peer) (st api.PeerStatus) {
	var err error
	if m.ID == n.id.Node {
		s.State, s.LastContact = string(gossip.Alive), 0
		st, err = n.PeerStatus(ctx)
	} else {
		if p.State != "" {
			s.State, s.LastContact = string(p.State), time.Since(p.LastSeen).Milliseconds()
		}
		if p.State == gossip.Dead || p.State == gossip.Left {
			return st
		}
		st, err = n.peers.Status(ctx, n.peerAddr(m.ID, m.PeerAddr))
	}
	if err != nil {
		if s.State == string(gossip.Alive) {
			s.State = string(gossip.Suspect)
		}
		return api.PeerStatus{}
	}
	if s.State != string(gossip.Alive) && s.State != string(gossip.Suspect) {
		s.State = string(gossip.Alive) // it answers; gossip is only late
	}
	s.AppliedIndex, s.Missing, s.Version = st.AppliedIndex, st.Missing, st.Version
	if m.Draining {
		s.State = "draining"
	}
	return st
}

// judgeHealth computes how many members may fail, and why the cluster is not as
// it should be. Neither a vote nor a copy of a node that is away or has not
// completed its first copy counts.
func (n *Node) judgeHealth(st *api.ClusterStatus, roles map[catalog.NodeID]string) {
	voters, firmVoters, infirm, eligible, usable := 0, 0, 0, 0, 0
	for _, role := range roles { // a server without a row has its vote nevertheless
		if role == "voter" {
			voters++
		}
	}
	var reasons []string
	for _, s := range st.Nodes {
		alive := s.State == string(gossip.Alive) || s.State == "draining"
		if !alive {
			reasons = append(reasons, fmt.Sprintf("node %s is %s", s.Name, s.State))
		}
		if roles[s.ID] == "" {
			reasons = append(reasons, fmt.Sprintf("node %s gets no log yet", s.Name))
		}
		if alive && !s.Synced {
			reasons = append(reasons, fmt.Sprintf("node %s has not completed its first copy: %d blobs missing", s.Name, s.Missing))
		}
		switch firm := alive && s.Synced; {
		case !firm:
			infirm++
		case s.Role == "voter":
			firmVoters++
		}
		if s.Role == "voter" || alive {
			eligible++
		}
		if s.State != "draining" {
			usable++
		}
	}
	leads := func(s api.NodeStatus) bool { return s.ID == st.Leader }
	switch {
	case st.Leader == "":
		reasons = append(reasons, "there is no leader: packages cannot be pushed")
	case !slices.ContainsFunc(st.Nodes, leads):
		reasons = append(reasons, fmt.Sprintf("the leader %s is not in the member table", st.Leader))
	}
	if want := targetVoters(eligible); voters < want && voters > 0 {
		reasons = append(reasons, fmt.Sprintf("%d of %d votes given: a node is catching up", voters, want))
	}
	want := min(st.Replicas, max(usable, 1))
	if st.Under = n.fsm.UnderReplicated(want); st.Under > 0 {
		reasons = append(reasons, fmt.Sprintf("%d of %d blobs have fewer than %d copies", st.Under, st.Blobs, want))
	}
	st.Tolerates = max(0, firmVoters-(voters/2+1))
	if fewest, ok := n.fsm.MinHolders(); ok { // those that do not count may be among the holders
		st.Tolerates = max(0, min(st.Tolerates, fewest-1-infirm))
	}
	st.Reasons, st.Healthy = reasons, len(reasons) == 0
}

// Live reports whether the node's own parts work.
func (n *Node) Live(context.Context) []symhttp.Check {
	return []symhttp.Check{{Name: "node"}}
}

// Ready reports whether the node can do what it is asked for.
func (n *Node) Ready(ctx context.Context, p symhttp.Purpose) []symhttp.Check {
	checks := []symhttp.Check{{Name: "stopping", Err: n.stopError()}}
	if n.leaving.Load() { // what it holds grows old
		return append(checks, symhttp.Check{Name: "member", Err: errors.New("this node left its cluster: stop it")})
	}
	c := n.consensus()
	if c == nil {
		return append(checks, symhttp.Check{Name: "member", Err: errNoCluster})
	}
	_, err := n.fsm.Member(n.id.Node)
	checks = append(checks, symhttp.Check{Name: "member", Err: err}, symhttp.Check{Name: "current", Err: n.startError(ctx)})
	if p != symhttp.ForIngest {
		return checks
	}
	lctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	checks = append(checks, symhttp.Check{Name: "leader", Err: n.confirmApplied(lctx)})
	release, err := n.blobs.Reserve(1 << 20)
	if err == nil {
		release()
	}
	return append(checks, symhttp.Check{Name: "disk", Err: err})
}
