package replication

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"symkeep/internal/catalog"
)

// partitions is the number of equal parts of the digests: their first 12 bits.
const partitions = 4096

// A Placement says which members should hold which blobs. It follows from the
// members and the number of replicas alone, in any order: weighted rendezvous
// hashing per partition, distinct zones first. A member more or less moves only
// the copies that it takes or leaves. Draining members are not in it.
type Placement struct {
	replicas int
	nodes    []catalog.NodeID
	ranks    [][]uint16 // by partition: positions in nodes, best first
}

type candidate struct {
	id     catalog.NodeID
	slot   catalog.NodeID
	zone   string
	weight float64
}

// NewPlacement computes the placement, some microseconds per member and partition.
func NewPlacement(members []catalog.Member, replicas int) *Placement {
	var cs []candidate
	for _, m := range members {
		if !m.Draining {
			cs = append(cs, candidate{m.ID, m.PlacementID(), m.Zone, 1})
		}
	}
	slices.SortFunc(cs, func(a, b candidate) int { return cmp.Compare(a.id, b.id) })
	p := &Placement{replicas: replicas, ranks: make([][]uint16, partitions)}
	for _, c := range cs {
		p.nodes = append(p.nodes, c.id)
	}
	for part := range p.ranks {
		p.ranks[part] = rank(cs, uint16(part))
	}
	return p
}

// rank orders the candidates of one partition: the best of each zone by score,
// then the others by score.
func rank(cs []candidate, part uint16) []uint16 {
	scores := make([]float64, len(cs))
	order := make([]uint16, len(cs))
	for i, c := range cs {
		scores[i] = c.weight / -math.Log(uniform(c.slot, part))
		order[i] = uint16(i)
	}
	slices.SortFunc(order, func(a, b uint16) int {
		return cmp.Or(cmp.Compare(scores[b], scores[a]), cmp.Compare(cs[a].slot, cs[b].slot))
	})
	seen := make(map[string]bool)
	first, rest := make([]uint16, 0, len(cs)), make([]uint16, 0, len(cs))
	for _, i := range order {
		if seen[cs[i].zone] {
			rest = append(rest, i)
		} else {
			seen[cs[i].zone] = true
			first = append(first, i)
		}
	}
	return append(first, rest...)
}

// uniform maps a slot and a partition to a number above 0 and below 1.
func uniform(slot catalog.NodeID, part uint16) float64 {
	sum := sha256.Sum256(append([]byte{byte(part >> 8), byte(part)}, slot...))
	return (float64(binary.BigEndian.Uint64(sum[:])>>11) + 0.5) / (1 << 53)
}

func partition(d catalog.Digest) int { return int(d[0])<<4 | int(d[1])>>4 }

// Order returns every member that is not draining, best first for the blob.
func (p *Placement) Order(d catalog.Digest) []catalog.NodeID {
	rank := p.ranks[partition(d)]
	out := make([]catalog.NodeID, len(rank))
	for i, n := range rank {
		out[i] = p.nodes[n]
	}
	return out
}

// Owners returns the members that should hold the blob, best first; as many as
// there should be replicas, or all there are.
func (p *Placement) Owners(d catalog.Digest) []catalog.NodeID {
	o := p.Order(d)
	return o[:min(len(o), p.replicas)]
}

// placed is the placement of one member table.
type placed struct {
	key string
	*Placement
}

// Placement returns the placement of the committed members and settings.
func (r *Replicator) Placement() *Placement {
	members, replicas := slices.Clone(r.cfg.Catalog.Members()), r.cfg.Catalog.Settings().Replicas
	var b strings.Builder
	fmt.Fprintf(&b, "%d", replicas)
	slices.SortFunc(members, func(a, b catalog.Member) int { return cmp.Compare(a.ID, b.ID) })
	for _, m := range members {
		fmt.Fprintf(&b, "|%s %s %t %q", m.ID, m.PlacementID(), m.Draining, m.Zone)
	}
	if p := r.placement.Load(); p != nil && p.key == b.String() {
		return p.Placement
	}
	p := &placed{b.String(), NewPlacement(members, replicas)}
	r.placement.Store(p)
	return p.Placement
}

// Owners returns the members that should hold the blob, best first.
func (r *Replicator) Owners(d catalog.Digest) []catalog.NodeID { return r.Placement().Owners(d) }

// keepers are the owners with those that are down for long replaced by the next
// in order.
func (r *Replicator) keepers(p *Placement, down map[catalog.NodeID]bool, d catalog.Digest) []catalog.NodeID {
	var out []catalog.NodeID
	for _, n := range p.Order(d) {
		if len(out) == p.replicas {
			break
		}
		if !down[n] {
			out = append(out, n)
		}
	}
	return out
}

// down returns the members to be replaced, see Config.Down.
func (r *Replicator) down() map[catalog.NodeID]bool {
	out := make(map[catalog.NodeID]bool)
	members := r.cfg.Catalog.Members()
	away := r.cfg.Down()
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

// sources are the members to fetch a blob from: its holders, then any other, for
// a copy may be there that is not recorded yet.
func (r *Replicator) sources(row catalog.Blob) []catalog.NodeID {
	out := r.byReach(row.Holders)
	for _, n := range r.byReach(append(r.Placement().Order(row.Digest), r.members()...)) {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}
