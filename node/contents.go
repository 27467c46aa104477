package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// Timings of the checks of the catalog's contents. The last two are of
// cluster time.
const (
	contentsPoll  = time.Second
	doubtPause    = 20 * time.Second // by this node's clock: what is doubted may be right
	contentsAgain = time.Hour        // the leader has them checked
	contentsFresh = time.Minute      // a new leader need not
)

// runContents has the members check the contents of their catalogs against each
// other: when this node has started or met a row that cannot be read, and, while it
// leads, from time to time. A file that speaks against itself ends the node at once.
func (n *Node) runContents(ctx context.Context) error {
	if _, err := n.awaitConsensus(ctx); err != nil {
		return nil
	}
	for n.confirmApplied(ctx) != nil { // what an old log asks for is asked for again
		if !pause(ctx, contentsPoll) {
			return nil
		}
	}
	c := &contentsCheck{n: n}
	for pause(ctx, contentsPoll) {
		if err := n.fsm.Damage(); err != nil && n.rotten(ctx, err) {
			return nil
		}
		if !c.due() {
			continue
		}
		if _, err := n.propose(ctx, raftfsm.CheckContents{}); err == nil {
			c.done()
		} else if !errors.Is(err, catalog.ErrConflict) && ctx.Err() == nil { // somebody was faster
			n.log.Warn("contents of the catalog not checked", "node", n.name, "err", err)
		}
	}
	return nil
}

// A contentsCheck decides when the next one is due.
type contentsCheck struct {
	n       *Node
	started bool      // one has been computed since the start
	asked   time.Time // newest one that this node had made
	doubts  uint64    // of views, that were answered by one
	term    uint64    // of this node's office that began with one

	patience time.Duration // with the newest one: members that are busy with one skip the next, or do not end it
}

// due reports whether this node has a reason for a check now that the cluster takes.
func (c *contentsCheck) due() bool {
	n := c.n
	c.started = c.started || len(n.fsm.Contents()) > 0
	age := time.Duration(n.fsm.ClusterTime()-n.fsm.ContentsChecked()) * time.Millisecond
	never := n.fsm.ContentsChecked() == 0
	switch {
	case n.fsm.FeatureLevel() < 2 || !never && age < raftfsm.CheckPause*time.Millisecond:
		return false
	case !c.started:
		return true
	case n.unsure.Load() && time.Since(c.asked) >= c.patience:
		return true
	case n.doubted.Load() || n.fsm.Doubts() > c.doubts:
		return time.Since(c.asked) >= doubtPause
	}
	return n.leads() && (never || age >= contentsAgain || n.readyTerm.Load() > c.term && age >= contentsFresh)
}

func (c *contentsCheck) done() {
	c.asked, c.started, c.doubts, c.term = time.Now(), true, c.n.fsm.Doubts(), c.n.readyTerm.Load()
	c.patience = min(max(2*c.patience, doubtPause), contentsAgain)
	c.n.doubted.Store(false)
}

// rotten ends a node whose catalog file is damaged, as far as others can go on
// without it.
func (n *Node) rotten(ctx context.Context, err error) (ends bool) {
	if len(n.witnesses(n.consensus())) < 2 {
		n.noticeNeeded(err)
		return false
	}
	n.stopDiverged(ctx, err.Error())
	return true
}

// goOnDamaged is told of a damaged command in the log, and reports whether this node goes
// on with it, since too few others could without this node. Most commands that are read
// again have been applied long ago.
func (n *Node) goOnDamaged(err error) bool {
	servers := 0
	if conf, _, err := n.fsm.Configuration(); err == nil {
		servers = len(conf.Servers)
	}
	if max(servers, n.fsm.MemberCount()) >= 3 {
		return false
	}
	n.noticeNeeded(err)
	return true
}

// noticeNeeded raises the alarm of damage that would end this node if others could go on
// without it.
func (n *Node) noticeNeeded(err error) {
	n.notice(catalog.AlarmDiverged, fmt.Sprintf("%v; too few members are left to go on without this node: keep a copy of its data directory, and restore from a backup", err))
}

// contentHashes returns the digests of this node's catalog, newest first.
func (n *Node) contentHashes() (hashes []api.CatalogHash) {
	for _, c := range n.fsm.Contents() {
		hashes = append(hashes, api.CatalogHash{Index: c.Index, Hash: c.Digest.String(), Content: true})
	}
	return hashes
}
