package node

import (
	"cmp"
	"context"
	"fmt"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// allowed refuses a command above the feature level in use, and any that somebody relies
// on while this leader is unsure of its catalog. Only a leader that has applied what was
// committed before can tell.
func (n *Node) allowed(cmd raftfsm.Command) error {
	if reliedOn(cmd) {
		if err := n.unsureError(); err != nil {
			return err
		}
	}
	need := raftfsm.Requires(cmd)
	if need <= 1 {
		return nil
	}
	if _, err := n.inOffice(); err != nil { // the level may just have been raised by the leader before
		return err
	}
	return n.needLevel(need)
}

// needLevel refuses what the cluster's feature level does not allow yet: a member
// of the former version would stop at such a command.
func (n *Node) needLevel(need int) error {
	if have := n.fsm.FeatureLevel(); have < need {
		return fmt.Errorf("needs feature level %d, the cluster uses %d: once every member runs the new version, say `symkeep cluster feature raise`: %w",
			need, have, catalog.ErrConflict)
	}
	return nil
}

// featureOf is the level that a node announces, which the first builds did not do.
func featureOf(announced int) int { return max(announced, 1) }

// FeatureStatus returns the level in use and what each member's build understands.
func (n *Node) FeatureStatus(ctx context.Context) (api.FeatureStatus, error) {
	if n.consensus() == nil {
		return api.FeatureStatus{}, errNoCluster
	}
	st := api.FeatureStatus{Level: n.fsm.FeatureLevel(), Highest: raftfsm.MaxFeature, Nodes: map[string]int{}}
	views := n.askMembers(ctx)
	for _, v := range views {
		level := 0
		if v.answered {
			level = featureOf(v.said.Feature)
		}
		st.Nodes[v.member.Name] = level
		st.Highest = min(st.Highest, max(level, st.Level)) // who does not answer understands the present one
	}
	return st, nil
}

// RaiseFeature raises the level, by one if r names none, and says what it is then.
func (n *Node) RaiseFeature(ctx context.Context, r api.FeatureRequest) (api.FeatureStatus, error) {
	level := r.Level
	if level == 0 {
		level = n.fsm.FeatureLevel() + 1
	}
	if level < 1 || level > raftfsm.MaxFeature {
		return api.FeatureStatus{}, fmt.Errorf("feature level %d: the cluster uses %d, this node's build understands levels to %d: %w",
			level, n.fsm.FeatureLevel(), raftfsm.MaxFeature, catalog.ErrInvalid)
	}
	err := n.atLeader(ctx, "raise the feature level", func() error { return n.RaiseLevel(ctx, level) },
		func(addr string) error { return n.peers.RaiseFeature(ctx, addr, api.FeatureRequest{Level: level}) })
	if err != nil {
		return api.FeatureStatus{}, err
	}
	if err := n.confirmApplied(ctx); err != nil {
		return api.FeatureStatus{}, err
	}
	return n.FeatureStatus(ctx)
}

// RaiseLevel raises the feature level once every member has said that it
// understands it. No member joins meanwhile. There is no way back. Errors wrap
// api.ErrNotLeader when this node does not lead.
func (n *Node) RaiseLevel(ctx context.Context, level int) error {
	c, err := n.inOffice()
	if err != nil {
		return err
	}
	if err := n.unsureError(); err != nil {
		return err
	}
	n.memberMu.Lock()
	defer n.memberMu.Unlock()
	if n.fsm.FeatureLevel() >= level {
		return nil
	}
	if level > raftfsm.MaxFeature {
		return fmt.Errorf("feature level %d: the leader %s understands levels to %d, upgrade it: %w", level, n.name, raftfsm.MaxFeature, catalog.ErrConflict)
	}
	for _, v := range n.askMembers(ctx) {
		switch {
		case !v.answered:
			return fmt.Errorf("feature level %d: member %s does not answer, so nobody knows what it understands: start it, or remove it first: %w",
				level, v.member.Name, catalog.ErrConflict)
		case featureOf(v.said.Feature) < level:
			return fmt.Errorf("feature level %d: member %s runs version %s, which understands %d: upgrade it first: %w",
				level, v.member.Name, v.said.Version, featureOf(v.said.Feature), catalog.ErrConflict)
		}
	}
	cmd, err := raftfsm.Encode(raftfsm.RaiseFeature{Level: level})
	if err != nil {
		return err
	}
	res, err := n.proposeHere(c, cmd) // no other leader, which may be letting somebody in
	if err = cmp.Or(err, res.AsError()); err != nil {
		return err
	}
	n.log.Info("feature level raised", "level", level)
	return nil
}
