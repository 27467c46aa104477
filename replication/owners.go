package replication

import (
	"slices"
	"sync"
	"sync/atomic"

	"symkeep/internal/catalog"
)

// Placement returns the placement of the committed layout.
func (r *Replicator) Placement() *Placement {
	return r.present.of(r.cfg.Catalog.Layout())
}

// former returns the placement of the newest layout that members still move away
// from, nil without one.
func (r *Replicator) former() *Placement {
	kept := r.cfg.Catalog.KeptLayouts()
	if len(kept) == 0 {
		return nil
	}
	return r.formerly.of(kept[0])
}

// latest keeps the placement that was asked for last.
type latest struct {
	kept      atomic.Pointer[Placement]
	computing sync.Mutex // so that many who ask at once compute it once
}

func (c *latest) of(l catalog.Layout) *Placement {
	fits := func(p *Placement) bool { return p != nil && p.layout.Version == l.Version && p.layout.Equal(l) }
	if p := c.kept.Load(); fits(p) {
		return p
	}
	c.computing.Lock()
	defer c.computing.Unlock()
	if p := c.kept.Load(); fits(p) {
		return p
	}
	p := NewPlacement(l)
	c.kept.Store(p)
	return p
}

// Owners returns the members that should hold the blob, best first.
func (r *Replicator) Owners(d catalog.Digest) []catalog.NodeID { return r.Placement().Owners(d) }

// keepers are the owners with those that are down for long replaced by the next
// in order.
func (p *Placement) keepers(d catalog.Digest, down map[catalog.NodeID]bool) []catalog.NodeID {
	out := make([]catalog.NodeID, 0, p.layout.Replicas)
	for _, n := range p.ranks[d.Partition()] {
		if len(out) == p.layout.Replicas {
			break
		}
		if id := p.nodes[n]; !down[id] {
			out = append(out, id)
		}
	}
	return out
}

// down returns the members to be replaced, see Config.Down.
func (r *Replicator) down() map[catalog.NodeID]bool {
	away := r.cfg.Down()
	if len(away) == 0 {
		return nil
	}
	out := make(map[catalog.NodeID]bool)
	members := r.cfg.Catalog.Members()
	for _, m := range members {
		if m.ID != r.cfg.Self && slices.Contains(away, m.ID) {
			out[m.ID] = true
		}
	}
	if 3*len(out) > len(members) {
		return nil
	}
	return out
}

// byReach returns the nodes without this one, those that seem alive first.
func (r *Replicator) byReach(nodes []catalog.NodeID) []catalog.NodeID {
	var up, away []catalog.NodeID
	for _, n := range nodes {
		switch {
		case n == r.cfg.Self:
		case r.cfg.Alive(n):
			up = append(up, n)
		default:
			away = append(away, n)
		}
	}
	return append(up, away...)
}

// isMember reports whether the node is in the committed member table.
func (r *Replicator) isMember(id catalog.NodeID) bool {
	return slices.ContainsFunc(r.cfg.Catalog.Members(), func(m catalog.Member) bool { return m.ID == id })
}

// members returns the ids of the committed member table.
func (r *Replicator) members() []catalog.NodeID {
	var out []catalog.NodeID
	for _, m := range r.cfg.Catalog.Members() {
		out = append(out, m.ID)
	}
	return out
}

// sources are the members to fetch a blob from: its holders; its owners of now and
// of the layout before; then any other that seems alive, for a copy may be there
// that is not recorded yet.
func (r *Replicator) sources(row catalog.Blob) []catalog.NodeID {
	owners := r.Owners(row.Digest)
	if p := r.former(); p != nil {
		owners = append(owners, p.Owners(row.Digest)...)
	}
	out := r.byReach(row.Holders)
	seen := map[catalog.NodeID]bool{r.cfg.Self: true}
	for _, n := range out {
		seen[n] = true
	}
	members := r.members()
	add := func(nodes []catalog.NodeID, only func(catalog.NodeID) bool) {
		for _, n := range nodes {
			if !seen[n] && only(n) {
				seen[n] = true
				out = append(out, n)
			}
		}
	}
	add(r.byReach(owners), func(n catalog.NodeID) bool { return slices.Contains(members, n) })
	add(members, r.cfg.Alive)
	return out
}
