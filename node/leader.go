package node

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/catalog"
	"symkeep/internal/fault"
	"symkeep/internal/gossip"
	"symkeep/raftfsm"
)

// Timings of the leader's duties.
const (
	barrierTimeout = 10 * time.Second
	tickEvery      = time.Second
	sweepEvery     = time.Second
	retireEvery    = 10 * time.Second
	retireGrace    = 24 * time.Hour
	upkeepRows     = 2000
)

// runLeadership follows raft's leadership and keeps the leader's duties running
// while this node leads. Raft's channel holds only the newest change, so a second
// "true" means that leadership was lost and won again in between.
func (n *Node) runLeadership(ctx context.Context) error {
	c, err := n.awaitConsensus(ctx)
	if err != nil {
		return nil
	}
	end := func() {}
	defer func() { end() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case leads := <-c.raft.LeaderCh():
			n.leading.Store(leads)
			end()
			end = func() {}
			if leads {
				end = n.startDuties(ctx, c)
			} else {
				n.log.Info("no longer the leader", "node", n.name)
			}
		}
	}
}

// startDuties runs lead until end is called, which waits for it.
func (n *Node) startDuties(ctx context.Context, c *consensus) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var duties errgroup.Group
	duties.Go(func() error { n.lead(ctx, c); return nil })
	return func() {
		cancel()
		duties.Wait()
	}
}

// lead does what only the leader does, until ctx ends. A duty that fails takes the
// others with it, and all begin again: without them time stands still.
func (n *Node) lead(ctx context.Context, c *consensus) {
	term, now := c.raft.CurrentTerm(), time.Now()
	n.firstLed.CompareAndSwap(nil, &now)
	for ctx.Err() == nil {
		err := n.takeOffice(ctx, c, term)
		if err == nil {
			n.log.Info("leading", "node", n.name, "term", term)
			err = n.runDuties(ctx, c)
		}
		if err != nil && ctx.Err() == nil {
			n.log.Warn("leader cannot do its duties", "node", n.name, "term", term, "err", err)
		}
		pause(ctx, time.Second)
	}
}

func (n *Node) runDuties(ctx context.Context, c *consensus) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.runTicks(ctx) })
	g.Go(func() error { return n.runClocks(ctx) })
	if n.becomeSure(ctx, c) {
		g.Go(func() error { return n.runVoters(ctx, c) })
		g.Go(func() error { return n.runUpkeep(ctx) })
		g.Go(func() error { return n.notifier.Run(ctx) })
	}
	return g.Wait()
}

// takeOffice makes sure that everything committed by earlier leaders is applied
// here, and that the newest entry is one the catalog sees, so that a commit index
// can be waited for. A new cluster is created, with its founder as first member.
func (n *Node) takeOffice(ctx context.Context, c *consensus, term uint64) error {
	if err := c.raft.Barrier(barrierTimeout).Error(); err != nil {
		return fmt.Errorf("barrier: %w", err)
	}
	if n.fsm.ClusterID() == "" {
		create := raftfsm.CreateCluster{ClusterID: n.ClusterID(), Settings: n.cfg.Settings, At: fault.Now().UTC()}
		if _, err := n.propose(ctx, create); err != nil {
			return err
		}
	}
	if len(n.members()) == 0 && !n.unsure.Load() { // before anybody who joins can take the founder's name
		if err := n.raiseNew(ctx); err != nil {
			return err
		}
		if _, err := n.propose(ctx, raftfsm.PutMember{Member: n.self()}); err != nil {
			return err
		}
	}
	if _, err := n.propose(ctx, raftfsm.Tick{Millis: 1, At: fault.Now().UTC()}); err != nil {
		return err
	}
	n.readyTerm.Store(term)
	return nil
}

// raiseNew gives a new cluster the feature level of its founder at once.
func (n *Node) raiseNew(ctx context.Context) error {
	if n.fsm.FeatureLevel() >= raftfsm.MaxFeature {
		return nil
	}
	_, err := n.propose(ctx, raftfsm.RaiseFeature{Level: raftfsm.MaxFeature})
	return err
}

// runTicks advances cluster time by this node's monotonic clock.
func (n *Node) runTicks(ctx context.Context) error {
	last := time.Now()
	for pause(ctx, tickEvery) {
		now := time.Now()
		for millis := now.Sub(last).Milliseconds(); ; millis = 1 {
			var v raftfsm.TickValue
			_, err := n.proposeValue(ctx, raftfsm.Tick{Millis: min(max(millis, 1), raftfsm.MaxTick), At: fault.Now().UTC()}, &v)
			if err != nil {
				break // the next one makes up for it
			}
			last = now
			if !v.More {
				break
			}
		}
		n.releaseDeadClaims(ctx)
	}
	return nil
}

// releaseDeadClaims gives packages back whose validator gossip found dead, sooner
// than its claim runs out.
func (n *Node) releaseDeadClaims(ctx context.Context) {
	ps, err := n.fsm.Claimed(100)
	if err != nil {
		return
	}
	for _, p := range ps {
		if p.Claim == nil || !n.foundDead(p.Claim.Node) {
			continue
		}
		_, err := n.propose(ctx, raftfsm.ReleaseClaim{Package: p.ID, Token: p.Claim.Token, Died: true, At: fault.Now().UTC()})
		if err == nil {
			n.log.Warn("validator died, package goes to another node", "package", string(p.ID), "node", string(p.Claim.Node))
		}
	}
}

// foundDead reports whether gossip watched a node die or leave.
func (n *Node) foundDead(id catalog.NodeID) bool {
	for _, p := range n.gossip.Peers() {
		if p.NodeID == id {
			return p.State == gossip.Dead || p.State == gossip.Left
		}
	}
	return false
}

// runVoters keeps the raft configuration in line with the member table, and the
// number of voters right.
func (n *Node) runVoters(ctx context.Context, c *consensus) error {
	said := ""
	for pause(ctx, memberPoll) {
		err := n.arrangeVoters(ctx, c)
		if err == nil || ctx.Err() != nil {
			said = ""
		} else if text := err.Error(); text != said { // once per cause
			n.log.Warn("voters not arranged", "err", err)
			said = text
		}
	}
	return nil
}

func (n *Node) arrangeVoters(ctx context.Context, c *consensus) error {
	n.memberMu.Lock()
	defer n.memberMu.Unlock()
	if err := n.followTable(ctx, c); err != nil {
		return err
	}
	return n.balanceVoters(ctx, c)
}

// runUpkeep retires blobs nobody references and sweeps what is over.
func (n *Node) runUpkeep(ctx context.Context) error {
	retired := time.Now()
	for pause(ctx, sweepEvery) {
		err := n.sweep(ctx)
		if err == nil && time.Since(retired) >= retireEvery {
			retired = time.Now()
			err = n.retire(ctx)
		}
		if err != nil && ctx.Err() == nil {
			n.log.Warn("upkeep", "err", err)
		}
	}
	return nil
}

// sweep removes what is over. As long as entries of a member that has gone are not
// swept, blobs seem to have fewer copies than they have.
func (n *Node) sweep(ctx context.Context) error {
	due, err := n.fsm.SweepDue()
	if err != nil {
		return err
	}
	for more := due; more; {
		var v raftfsm.SweepValue
		if _, err := n.proposeValue(ctx, raftfsm.Sweep{Limit: upkeepRows}, &v); err != nil {
			return err
		}
		more = v.More
	}
	return nil
}

func (n *Node) retire(ctx context.Context) error {
	idle, err := n.fsm.RetireCandidates(retireGrace.Milliseconds(), upkeepRows/4)
	if err != nil || len(idle) == 0 {
		return err
	}
	var v raftfsm.RetireValue
	if _, err := n.proposeValue(ctx, raftfsm.RetireBlobs{Blobs: idle}, &v); err != nil {
		return err
	}
	n.log.Info("retired blobs", "blobs", len(v.Retired))
	return nil
}

// pause waits for d and reports whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
