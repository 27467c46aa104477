package node

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
	"symkeep/internal/gossip"
	"symkeep/raftfsm"
	"symkeep/symhttp"
)

// statusTimeout bounds what a member may take to describe itself.
const statusTimeout = time.Second

// PeerStatus is what this node says of itself to other members.
func (n *Node) PeerStatus(context.Context) (api.PeerStatus, error) {
	st := api.PeerStatus{
		ID: n.id.Node, Name: n.name, Version: n.cfg.Version, AppliedIndex: n.fsm.AppliedIndex(),
		Feature: raftfsm.MaxFeature, Disk: n.diskStatus(), Alarms: n.localAlarms(),
	}
	var err error
	if st.Hashes, err = n.catalogHashes(); err != nil {
		return st, err
	}
	st.FSMHash, st.Contents = st.Hashes[0].Hash, n.contentHashes()
	if err := n.unfit(); err != nil {
		st.Unfit = err.Error()
	}
	if c := n.consensus(); c != nil {
		_, leader := c.raft.LeaderWithID()
		st.Term, st.LastIndex = c.raft.CurrentTerm(), c.raft.LastIndex()
		st.Leader, st.IsLeader = catalog.NodeID(leader), c.raft.State() == raft.Leader
	}
	repl := n.replStatus()
	if repl.Err != "" {
		return st, errors.New(repl.Err)
	}
	st.Repl = &repl
	st.Missing, st.MissBytes, st.Queue, st.Orphans = repl.Missing, repl.MissBytes, repl.Queue, repl.Orphans
	st.Quarantined = repl.Scrub.Quarantined
	st.Holds, st.HoldsBytes, err = n.blobs.Totals()
	st.Blobs = int(st.Holds)
	st.Now = fault.Now().UnixMilli() // last, near the moment at which the asker has it
	return st, err
}

// ClusterStatus describes the cluster as this node sees it, after asking every
// member about itself.
func (n *Node) ClusterStatus(ctx context.Context) (api.ClusterStatus, error) {
	st := api.ClusterStatus{ClusterID: n.ClusterID(), AnsweredBy: n.id.Node, Nodes: []api.NodeStatus{}, Alarms: []catalog.Alarm{}}
	c := n.consensus()
	if c == nil {
		st.Reasons = []string{errNoCluster.Error()}
		return st, nil
	}
	_, leader := c.raft.LeaderWithID()
	st.Leader, st.Term, st.Commit = catalog.NodeID(leader), c.raft.CurrentTerm(), c.raft.CommitIndex()
	settings := n.settings()
	st.Replicas, st.Paused = settings.Replicas, settings.RepairPaused
	st.Feature, st.Layout, st.Moving, st.Frozen = n.fsm.FeatureLevel(), n.fsm.Layout().Version, len(n.fsm.KeptLayouts()), n.fsm.FrozenFor()
	roles := serverRoles(c)
	views := n.askMembers(ctx)
	var said []api.PeerStatus
	for _, v := range views {
		if v.answered {
			said = append(said, v.said)
		}
		st.Nodes = append(st.Nodes, n.nodeStatus(ctx, v, cmp.Or(roles[v.member.ID], "nonvoter"), st.Commit))
	}
	st.Alarms = mergeAlarms(n.fsm.Alarms(), said)
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

// A memberView is what this node knows of a member by gossip, and by asking it.
type memberView struct {
	member   catalog.Member
	state    string
	contact  time.Duration // since it was last heard of; negative when never
	answered bool
	said     api.PeerStatus // zero unless it answered
	skew     time.Duration  // its wall clock less that of this node
	maybe    time.Duration  // skew may be off by as much
}

// askMembers asks every member about itself, for a second at most.
func (n *Node) askMembers(ctx context.Context) []memberView {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	peers := map[catalog.NodeID]gossip.Peer{}
	for _, p := range n.gossip.Peers() {
		peers[p.NodeID] = p
	}
	members := n.members()
	views := make([]memberView, len(members))
	var asking sync.WaitGroup
	for i, m := range members {
		asking.Go(func() { views[i] = n.askMember(ctx, m, peers[m.ID]) })
	}
	asking.Wait()
	return views
}

func (n *Node) askMember(ctx context.Context, m catalog.Member, p gossip.Peer) memberView {
	v := memberView{member: m, state: string(gossip.Dead), contact: -1}
	var err error
	asked := fault.Now()
	begun := time.Now()
	if m.ID == n.id.Node {
		v.state, v.contact = string(gossip.Alive), 0
		v.said, err = n.PeerStatus(ctx)
	} else {
		if p.State != "" {
			v.state, v.contact = string(p.State), time.Since(p.LastSeen)
		}
		if p.State == gossip.Dead || p.State == gossip.Left {
			return v
		}
		v.said, err = n.peers.Status(ctx, n.peerAddr(m.ID, m.PeerAddr))
	}
	took := time.Since(begun)
	if err != nil {
		if v.state == string(gossip.Alive) {
			v.state = string(gossip.Suspect)
		}
		v.said = api.PeerStatus{}
		return v
	}
	v.answered = true
	if v.state != string(gossip.Suspect) {
		v.state = string(gossip.Alive) // it answers; gossip is only late
	}
	if v.said.Now > 0 {
		v.skew, v.maybe = time.UnixMilli(v.said.Now).Sub(asked.Add(took/2)), took/2+time.Millisecond
	}
	return v
}

// nodeStatus is the line of a member in the status of the cluster.
func (n *Node) nodeStatus(ctx context.Context, v memberView, role string, commit uint64) api.NodeStatus {
	m, said := v.member, v.said
	s := api.NodeStatus{
		ID: m.ID, Name: m.Name, Role: role, State: v.state, HTTPAddr: m.HTTPAddr, PeerAddr: m.PeerAddr,
		GossipAddr: m.GossipAddr, Zone: m.Zone, Version: m.Version, Synced: m.Synced, JoinedAt: m.JoinedAt, LastContact: -1,
		Weight: cmp.Or(m.Weight, catalog.DefaultWeight), Maintenance: n.maintained(m).Milliseconds(),
	}
	if v.contact >= 0 {
		s.LastContact = v.contact.Milliseconds()
	}
	if m.Draining {
		progress := n.drainProgress(ctx, m)
		s.Drain = &progress
	}
	if !v.answered {
		return s
	}
	if m.Draining {
		s.State = "draining"
	}
	s.Version, s.AppliedIndex, s.Feature = said.Version, said.AppliedIndex, featureOf(said.Feature)
	if commit > said.AppliedIndex {
		s.Lag = commit - said.AppliedIndex
	}
	s.Missing, s.MissBytes, s.Holds, s.HoldsBytes = said.Missing, said.MissBytes, said.Holds, said.HoldsBytes
	s.Queue, s.Quarantined, s.Orphans, s.Disk = said.Queue, said.Quarantined, said.Orphans, said.Disk
	if v.skew.Abs() > v.maybe {
		s.Clock = v.skew.Milliseconds()
	}
	return s
}

// mergeAlarms adds what the members say of this moment to the alarms that stand.
func mergeAlarms(standing []catalog.Alarm, said []api.PeerStatus) []catalog.Alarm {
	type about struct {
		node catalog.NodeID
		code catalog.AlarmCode
	}
	seen := map[about]bool{}
	out := []catalog.Alarm{}
	for _, a := range standing {
		seen[about{a.Node, a.Code}] = true
		out = append(out, a)
	}
	for _, st := range said {
		for _, a := range st.Alarms {
			if k := (about{a.Node, a.Code}); !seen[k] {
				seen[k] = true
				out = append(out, a)
			}
		}
	}
	return out
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
	err = cmp.Or(n.joinError(), err) // others know better
	checks = append(checks, symhttp.Check{Name: "member", Err: err}, symhttp.Check{Name: "current", Err: n.startError(ctx)})
	if p != symhttp.ForIngest {
		return checks
	}
	lctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	checks = append(checks, symhttp.Check{Name: "leader", Err: n.confirmApplied(lctx)})
	return append(checks, symhttp.Check{Name: "disk", Err: n.diskReady()})
}
