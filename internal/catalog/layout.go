package catalog

import "slices"

// A Layout is the committed answer to where copies belong: which members take
// them, in which zones, at which weight, and how many copies there are. Its version
// grows with every change; equal versions are equal layouts.
type Layout struct {
	Version  uint64       `json:"version"`
	Replicas int          `json:"replicas"`
	Nodes    []LayoutNode `json:"nodes"` // by ID; draining members are not in it
}

// A LayoutNode is one member of a Layout.
type LayoutNode struct {
	ID     NodeID `json:"id"`
	Slot   NodeID `json:"slot"` // what placement hashes, see Member.PlacementID
	Zone   string `json:"zone,omitempty"`
	Weight int    `json:"weight"` // 1 to MaxWeight
}

// LayoutOf derives the layout of a member table. The caller sets the version.
func LayoutOf(members []Member, replicas int) Layout {
	l := Layout{Replicas: replicas, Nodes: []LayoutNode{}}
	for _, m := range members {
		if m.Draining {
			continue
		}
		weight := m.Weight
		if weight == 0 {
			weight = DefaultWeight
		}
		l.Nodes = append(l.Nodes, LayoutNode{m.ID, m.PlacementID(), m.Zone, weight})
	}
	slices.SortFunc(l.Nodes, func(a, b LayoutNode) int {
		switch {
		case a.ID < b.ID:
			return -1
		case a.ID > b.ID:
			return 1
		}
		return 0
	})
	return l
}

// Equal reports whether two layouts place every copy alike, whatever their
// versions.
func (l Layout) Equal(o Layout) bool {
	return l.Replicas == o.Replicas && slices.Equal(l.Nodes, o.Nodes)
}

// Partitions is the number of equal parts of the digests that placement works
// with: their first 12 bits.
const Partitions = 4096

// Partition returns the part that a digest is in, 0 to Partitions-1.
func (d Digest) Partition() int { return int(d[0])<<4 | int(d[1])>>4 }

// A PartitionSize is what one partition holds, each blob counted once.
type PartitionSize struct {
	Blobs int64 `json:"blobs"`
	Bytes int64 `json:"bytes"` // packed
}
