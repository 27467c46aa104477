package node

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
	"symkeep/replication"
)

// maxPlanned bounds the nodes that one plan may add.
const maxPlanned = 256

// PlanLayout computes what a change of the layout would move. The zero request shows
// the present layout.
func (n *Node) PlanLayout(ctx context.Context, r api.LayoutRequest) (api.LayoutPlan, error) {
	if n.consensus() == nil {
		return api.LayoutPlan{}, errNoCluster
	}
	members, replicas := n.members(), n.settings().Replicas
	before := n.fsm.Layout()
	next, err := n.supposed(members, r)
	if err != nil {
		return api.LayoutPlan{}, err
	}
	if r.Replicas != 0 {
		replicas = r.Replicas
	}
	after := catalog.LayoutOf(next, replicas)
	if after.Version = before.Version; !after.Equal(before) {
		after.Version++ // version 0 is placed as the former feature level does
	}
	if len(after.Nodes) == 0 {
		return api.LayoutPlan{}, fmt.Errorf("layout: no member would be left to keep copies: leave at least one: %w", catalog.ErrInvalid)
	}
	sizes, err := n.fsm.PartitionSizes(ctx)
	if err != nil {
		return api.LayoutPlan{}, fmt.Errorf("layout: sizes not counted: %v: %w", err, catalog.ErrUnavailable)
	}
	plan := api.LayoutPlan{Base: before.Version, Replicas: replicas}
	for _, s := range sizes {
		plan.Blobs += s.Blobs
		plan.Bytes += s.Bytes
	}
	moves := replication.Compare(replication.NewPlacement(before), replication.NewPlacement(after), sizes)
	plan.MoveBlobs, plan.MoveBytes, plan.LeastBytes, plan.Partitions = moves.Blobs, moves.Bytes, moves.LeastBytes, moves.Partitions
	plan.Nodes = layoutNodes(members, next, before, after, moves)
	for _, l := range n.fsm.KeptLayouts() {
		plan.Kept = append(plan.Kept, l.Version)
	}
	plan.LostBlobs, err = n.lostWithout(ctx, r.Remove)
	return plan, err
}

// ApplyLayout changes weights and the number of replicas, if the layout is still the
// one that Base names.
func (n *Node) ApplyLayout(ctx context.Context, r api.LayoutRequest) (api.LayoutPlan, error) {
	switch {
	case len(r.Drain)+len(r.Remove)+len(r.Add) > 0:
		return api.LayoutPlan{}, fmt.Errorf("layout: members are drained, removed and added by `symkeep cluster drain`, `remove` and `join`, which change the layout at once; apply takes weights and replicas: %w", catalog.ErrInvalid)
	case len(r.Weights) == 0 && r.Replicas == 0:
		return api.LayoutPlan{}, fmt.Errorf("layout: nothing to change: name a weight or the number of replicas: %w", catalog.ErrInvalid)
	}
	if err := n.confirmApplied(ctx); err != nil {
		return api.LayoutPlan{}, err
	}
	if err := n.needLevel(raftfsm.Requires(raftfsm.ApplyLayout{})); err != nil {
		return api.LayoutPlan{}, err
	}
	if have := n.fsm.Layout().Version; r.Base != have {
		return api.LayoutPlan{}, fmt.Errorf("layout planned on version %d, the present one is %d: plan again, and look at what moves: %w", r.Base, have, catalog.ErrConflict)
	}
	plan, err := n.PlanLayout(ctx, r)
	if err != nil {
		return plan, err
	}
	cmd := raftfsm.ApplyLayout{Base: r.Base, Weights: map[catalog.NodeID]int{}, Replicas: r.Replicas}
	for name, weight := range r.Weights {
		m, err := n.memberNamed(name)
		if err != nil {
			return plan, err
		}
		cmd.Weights[m.ID] = weight
	}
	var now catalog.Layout
	if _, err := n.proposeValue(ctx, cmd, &now); err != nil {
		return plan, err
	}
	plan.Base, plan.Kept = now.Version, nil
	for _, l := range n.fsm.KeptLayouts() {
		plan.Kept = append(plan.Kept, l.Version)
	}
	n.log.Info("layout changed", "layout", now.Version)
	return plan, nil
}

// supposed returns the member table as a plan supposes it.
func (n *Node) supposed(members []catalog.Member, r api.LayoutRequest) ([]catalog.Member, error) {
	if r.Replicas != 0 {
		s := n.settings()
		s.Replicas = r.Replicas
		if err := s.Validate(); err != nil {
			return nil, err
		}
	}
	next := slices.Clone(members)
	edit := func(name string, change func(*catalog.Member)) error {
		i := slices.IndexFunc(next, func(m catalog.Member) bool { return m.Name == name || string(m.ID) == name })
		if i < 0 {
			_, err := n.memberNamed(name)
			if err == nil {
				err = fmt.Errorf("member %q: is to be removed already: %w", name, catalog.ErrInvalid)
			}
			return err
		}
		change(&next[i])
		return nil
	}
	named := map[catalog.NodeID]string{}
	for _, name := range slices.Sorted(maps.Keys(r.Weights)) {
		weight := r.Weights[name]
		if weight < 1 || weight > catalog.MaxWeight {
			return nil, fmt.Errorf("member %q: weight %d, wanted 1 to %d; to take all copies from it, drain it: %w", name, weight, catalog.MaxWeight, catalog.ErrInvalid)
		}
		m, err := n.memberNamed(name)
		if err != nil {
			return nil, err
		}
		if other, twice := named[m.ID]; twice {
			return nil, fmt.Errorf("member %s: has a weight by each of the names %q and %q: %w", m.Name, other, name, catalog.ErrInvalid)
		}
		named[m.ID] = name
		if err := edit(name, func(m *catalog.Member) { m.Weight = weight }); err != nil {
			return nil, err
		}
	}
	for _, name := range r.Drain {
		if err := edit(name, func(m *catalog.Member) { m.Draining = true }); err != nil {
			return nil, err
		}
	}
	for _, name := range r.Remove {
		var gone catalog.NodeID
		if err := edit(name, func(m *catalog.Member) { gone = m.ID }); err != nil {
			return nil, err
		}
		next = slices.DeleteFunc(next, func(m catalog.Member) bool { return m.ID == gone })
	}
	return suppose(next, r.Add)
}

// suppose adds nodes that do not exist. They are placed by their names: the real
// ones will get random ids, and other partitions, but as many.
func suppose(members []catalog.Member, add []api.LayoutAdd) ([]catalog.Member, error) {
	if len(add) > maxPlanned {
		return nil, fmt.Errorf("layout: %d nodes to add, at most %d are accepted: %w", len(add), maxPlanned, catalog.ErrInvalid)
	}
	for _, a := range add {
		switch {
		case a.Name == "" || len(a.Name) > 64 || len(a.Zone) > 64:
			return nil, fmt.Errorf("layout: node %.80q to add in zone %.80q: wanted a name of 1 to 64 bytes, and a zone of at most 64: %w", a.Name, a.Zone, catalog.ErrInvalid)
		case a.Weight < 0 || a.Weight > catalog.MaxWeight:
			return nil, fmt.Errorf("layout: node %q to add: weight %d, wanted 1 to %d: %w", a.Name, a.Weight, catalog.MaxWeight, catalog.ErrInvalid)
		case slices.ContainsFunc(members, func(m catalog.Member) bool { return m.Name == a.Name }):
			return nil, fmt.Errorf("layout: node %q to add: a member has that name: pick another: %w", a.Name, catalog.ErrConflict)
		}
		members = append(members, catalog.Member{ID: catalog.NodeID("planned " + a.Name), Name: a.Name, Zone: a.Zone, Weight: a.Weight})
	}
	return members, nil
}

// layoutNodes lists every member before and after, by name, those to be added last.
func layoutNodes(members, next []catalog.Member, before, after catalog.Layout, moves replication.Movement) []api.LayoutNode {
	weight := func(l catalog.Layout, id catalog.NodeID) int {
		i := slices.IndexFunc(l.Nodes, func(n catalog.LayoutNode) bool { return n.ID == id })
		if i < 0 {
			return 0
		}
		return l.Nodes[i].Weight
	}
	all := slices.Clone(members)
	for _, m := range next {
		if !slices.ContainsFunc(all, func(o catalog.Member) bool { return o.ID == m.ID }) {
			all = append(all, m)
		}
	}
	out := []api.LayoutNode{}
	for _, m := range all {
		v := moves.Nodes[m.ID]
		node := api.LayoutNode{
			ID: m.ID, Name: m.Name, Zone: m.Zone, Weight: weight(before, m.ID), NewWeight: weight(after, m.ID),
			Share: v.Share, NewShare: v.NewShare, Bytes: v.Bytes, NewBytes: v.NewBytes, InBytes: v.InBytes, SyncedUpTo: m.LayoutSynced,
		}
		if len(out) >= len(members) {
			node.ID = "" // it has none yet
		}
		out = append(out, node)
	}
	return out
}

// lostWithout counts the blobs that nobody but the named members holds.
func (n *Node) lostWithout(ctx context.Context, names []string) (int64, error) {
	if len(names) == 0 {
		return 0, nil
	}
	var ids []catalog.NodeID
	for _, name := range names {
		m, err := n.memberNamed(name)
		if err != nil {
			return 0, err
		}
		ids = append(ids, m.ID)
	}
	h, err := n.heldBy(ctx, ids...)
	return h.onlyBlobs, err
}
