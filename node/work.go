package node

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/catalog"
	"symkeep/internal/gossip"
	"symkeep/raftfsm"
	"symkeep/symhttp"
)

// servers are the three faces of a node.
type servers struct{ public, peer, join *symhttp.Server }

func (n *Node) newServers() (s servers, err error) {
	cfg := symhttp.DefaultConfig(n.name)
	n.registerMetrics()
	cfg.Version, cfg.DrainTimeout = n.cfg.Version, n.cfg.DrainTimeout
	if s.public, err = symhttp.NewPublic(cfg, symhttp.Public{
		Log: n.log, Self: n, Locator: n, Blobs: n, Cache: n.cache, Health: n, Metrics: n.metrics,
		Ingest: n, Uploads: n, Archives: n, Packages: n, Keeper: n, Cluster: n,
		Operator: n, Layouts: n, Tuning: n, Policies: n, Backups: n,
	}); err != nil {
		return s, err
	}
	if s.peer, err = symhttp.NewPeer(cfg, symhttp.Peer{Log: n.log, Self: n, Consensus: n, Copies: n, Admission: n, Orders: n}); err != nil {
		return s, err
	}
	s.join, err = symhttp.NewJoin(cfg, n.log, n, n)
	return s, err
}

func (n *Node) leads() bool {
	c := n.consensus()
	return c != nil && c.raft.State() == raft.Leader
}

// runReplication moves blobs once there is a cluster to ask.
func (n *Node) runReplication(ctx context.Context) error {
	if _, err := n.awaitConsensus(ctx); err != nil {
		return nil
	}
	return n.repl.Run(ctx)
}

// markSynced records that this node's first full copy is complete.
func (n *Node) markSynced(ctx context.Context) error {
	m, err := n.fsm.Member(n.id.Node)
	if err != nil || m.Synced {
		return err
	}
	if err := n.confirmApplied(ctx); err != nil {
		return err
	}
	_, err = n.propose(ctx, raftfsm.MarkSynced{Node: n.id.Node})
	return err
}

// runChanges tells replication what changed in the catalog.
func (n *Node) runChanges(ctx context.Context) error {
	sub := n.fsm.Subscribe()
	defer sub.Close()
	var layout uint64 // of the last look at everything
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sub.Ready():
		}
		events, overflow := sub.Take()
		n.shareChanged(events, overflow)
		if overflow {
			n.repl.Rescan()
		}
		for _, e := range events {
			switch e.Type {
			case raftfsm.BlobHolders, raftfsm.BlobIdle, raftfsm.BlobRetired:
				n.repl.Notify(e.Digest)
			case raftfsm.MembersChanged, raftfsm.SettingsChanged, raftfsm.LayoutChanged:
				// Most of these move nothing, and a look at everything is dear.
				if v := n.fsm.Layout().Version; v == 0 || v != layout {
					layout = v
					n.repl.Rescan()
				}
			}
		}
	}
}

// peerLook is how often this node looks whether a member has been away for long.
const peerLook = 5 * time.Second

// runPeerChanges hurries replication along when a node may have come back, and has
// it look at everything when one is found to be long gone.
func (n *Node) runPeerChanges(ctx context.Context) error {
	look := time.NewTicker(peerLook)
	defer look.Stop()
	var gone []catalog.NodeID
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.gossip.Changed():
			n.repl.Hurry()
		case <-look.C:
			if now := n.longGone(); !slices.Equal(now, gone) {
				gone = now
				n.repl.Rescan()
			}
		}
	}
}

// longGone returns the members that have been dead for longer than the cluster waits
// before it makes their copies anew, by this node's own watch. One that gossip has
// not seen since this node started has been away for as long at least. A member whose
// absence is announced is not among them.
func (n *Node) longGone() (ids []catalog.NodeID) {
	seen := map[catalog.NodeID]gossip.Peer{}
	for _, p := range n.gossip.Peers() {
		seen[p.NodeID] = p
	}
	patience, now := n.settings().RepairAfter(), n.fsm.ClusterTime()
	for _, m := range n.otherMembers() {
		if m.Maintenance > now {
			continue
		}
		since := n.started
		if p, ok := seen[m.ID]; ok {
			if p.State != gossip.Dead && p.State != gossip.Left {
				continue
			}
			since = p.LastSeen
		}
		if time.Since(since) > patience {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// runSettingsCheck compares the flags of this node with the committed settings,
// which rule.
func (n *Node) runSettingsCheck(ctx context.Context) error {
	for pause(ctx, memberPoll) {
		if n.fsm.ClusterID() == "" {
			continue
		}
		for _, d := range settingsDiffer(n.cfg.Settings, n.settings(), n.cfg.SettingsGiven) {
			n.log.Warn("flag differs from the cluster's setting, which rules", "flag", d)
		}
		return nil
	}
	return nil
}

func settingsDiffer(mine, ours catalog.Settings, given []string) (flags []string) {
	for flag, differs := range map[string]bool{
		"replicas":  mine.Replicas != ours.Replicas,
		"mail-from": mine.MailFrom != ours.MailFrom,
		"mail-to":   !slices.Equal(mine.MailTo, ours.MailTo),
	} {
		if differs && slices.Contains(given, flag) {
			flags = append(flags, flag)
		}
	}
	slices.Sort(flags)
	return flags
}
