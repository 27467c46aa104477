package agenttest

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// planned computes shares from weights alone: zones and partitions are the real
// cluster's.
func (c *Cluster) planned(r api.LayoutRequest) (api.LayoutPlan, error) {
	o := &c.office
	p := api.LayoutPlan{Base: o.layout, Replicas: cmp.Or(r.Replicas, o.replicas), Blobs: int64(len(c.blobs))}
	for d := range c.blobs {
		if fi, err := os.Stat(c.path(d)); err == nil {
			p.Bytes += fi.Size()
		}
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(r.Weights)), r.Drain, r.Remove) {
		if _, err := o.member(name); err != nil {
			return p, err
		}
	}
	before, after := 0, 0
	for _, m := range o.members {
		n := api.LayoutNode{ID: catalog.NodeID(m.name), Name: m.name, Weight: m.weight, NewWeight: cmp.Or(r.Weights[m.name], m.weight), SyncedUpTo: o.layout}
		if m.draining {
			n.Weight, n.NewWeight = 0, 0
		}
		if slices.Contains(r.Drain, m.name) || slices.Contains(r.Remove, m.name) {
			n.NewWeight = 0
		}
		p.Nodes = append(p.Nodes, n)
	}
	for _, a := range r.Add {
		p.Nodes = append(p.Nodes, api.LayoutNode{Name: a.Name, Zone: a.Zone, NewWeight: cmp.Or(a.Weight, catalog.DefaultWeight)})
	}
	for _, n := range p.Nodes {
		before, after = before+n.Weight, after+n.NewWeight
	}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		n.Share, n.NewShare = share(n.Weight, before), share(n.NewWeight, after)
		n.Bytes = int64(n.Share * float64(p.Bytes) * float64(o.replicas))
		n.NewBytes = int64(n.NewShare * float64(p.Bytes) * float64(p.Replicas))
		n.InBytes = max(0, n.NewBytes-n.Bytes)
		p.MoveBytes += n.InBytes
	}
	p.LeastBytes = p.MoveBytes
	return p, nil
}

func share(weight, sum int) float64 {
	if sum == 0 {
		return 0
	}
	return float64(weight) / float64(sum)
}

func (c *Cluster) applyLayout(r api.LayoutRequest) (api.LayoutPlan, error) {
	o := &c.office
	if r.Base != o.layout {
		return api.LayoutPlan{}, fmt.Errorf("layout: is version %d, %d was planned on: plan again: %w", o.layout, r.Base, catalog.ErrConflict)
	}
	p, err := c.planned(r)
	if err != nil {
		return p, err
	}
	for _, m := range o.members {
		m.weight = cmp.Or(r.Weights[m.name], m.weight)
	}
	o.replicas, o.layout = p.Replicas, o.layout+1
	p.Base = o.layout
	return p, nil
}
