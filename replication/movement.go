package replication

import "symkeep/internal/catalog"

// A Movement is what a change of layout moves.
type Movement struct {
	Blobs      int64 // copies to be made
	Bytes      int64 // of them, packed
	LeastBytes int64 // the fewest bytes that any placement with the shares of after would move
	Partitions int   // with another set of owners
	Nodes      map[catalog.NodeID]NodeMovement
}

// A NodeMovement is one node's part. A node that is in one layout alone has nothing
// in the other.
type NodeMovement struct {
	Share, NewShare float64 // of all copies, 0 to 1, counted in partitions
	Bytes, NewBytes int64   // that it should hold, packed
	InBlobs         int64   // copies it would fetch
	InBytes         int64
}

// Compare computes what moves from one placement to another; sizes has an entry per
// partition, or is nil, and then only Partitions and the shares are told.
func Compare(before, after *Placement, sizes []catalog.PartitionSize) Movement {
	m := Movement{Nodes: make(map[catalog.NodeID]NodeMovement)}
	edit := func(id catalog.NodeID, change func(*NodeMovement)) {
		n := m.Nodes[id]
		change(&n)
		m.Nodes[id] = n
	}
	for _, p := range []*Placement{before, after} {
		for _, id := range p.nodes {
			edit(id, func(*NodeMovement) {})
		}
	}
	for part := range partitions {
		var size catalog.PartitionSize
		if part < len(sizes) {
			size = sizes[part]
		}
		had := make(map[catalog.NodeID]bool)
		for _, i := range before.owners(part) {
			id := before.nodes[i]
			had[id] = true
			edit(id, func(n *NodeMovement) {
				n.Share += 1 / float64(before.copies())
				n.Bytes += size.Bytes
			})
		}
		changed := len(had) != len(after.owners(part))
		for _, i := range after.owners(part) {
			id := after.nodes[i]
			edit(id, func(n *NodeMovement) {
				n.NewShare += 1 / float64(after.copies())
				n.NewBytes += size.Bytes
				if had[id] {
					return
				}
				changed = true
				n.InBlobs += size.Blobs
				n.InBytes += size.Bytes
				m.Blobs += size.Blobs
				m.Bytes += size.Bytes
			})
		}
		if changed {
			m.Partitions++
		}
	}
	for _, n := range m.Nodes {
		m.LeastBytes += max(0, n.NewBytes-n.Bytes)
	}
	return m
}

// copies is how many copies there are of all partitions together.
func (p *Placement) copies() int { return partitions * p.wanted() }
