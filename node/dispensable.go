package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// A holding is what a member has, and what of it the others cannot do without.
type holding struct {
	blobs, bytes         int64 // copies of referenced blobs on it, packed
	needed, neededBytes  int64 // of them, those with fewer other copies than wanted
	onlyBlobs, onlyBytes int64 // of them, those without any other copy
	want                 int   // other copies wanted of each
}

// heldBy counts the copies on a member. Copies on members that are gone do not
// count as others, for they may never come back.
func (n *Node) heldBy(ctx context.Context, id catalog.NodeID) (holding, error) {
	h := holding{want: n.copiesWithout(id)}
	away := map[catalog.NodeID]bool{id: true}
	for _, m := range n.otherMembers() {
		away[m.ID] = away[m.ID] || n.gone(m.ID)
	}
	for after := (catalog.Digest{}); ; {
		blobs, err := n.fsm.Blobs(after, 1000)
		if err != nil || len(blobs) == 0 {
			return h, err
		}
		for _, b := range blobs {
			if after = b.Digest; b.Refs == 0 || b.Packed.Size == 0 || !slices.Contains(b.Holders, id) {
				continue
			}
			others := 0
			for _, holder := range b.Holders {
				if !away[holder] {
					others++
				}
			}
			h.count(b.Packed.Size, others)
		}
		if err := ctx.Err(); err != nil {
			return h, fmt.Errorf("copies of member %s not counted: %v: %w", n.nodeName(id), err, catalog.ErrUnavailable)
		}
	}
}

func (h *holding) count(size int64, others int) {
	h.blobs++
	h.bytes += size
	if others < h.want {
		h.needed++
		h.neededBytes += size
	}
	if others == 0 {
		h.onlyBlobs++
		h.onlyBytes += size
	}
}

// copiesWithout is how many copies of each blob there should be once a member is
// gone: as many as there are replicas, or members to keep them.
func (n *Node) copiesWithout(id catalog.NodeID) int {
	keepers := 0
	for _, m := range n.members() {
		if m.ID != id && !m.Draining {
			keepers++
		}
	}
	return min(n.settings().Replicas, max(keepers, 1))
}

// dispensable refuses to let a living member go while blobs need its copies.
func (n *Node) dispensable(ctx context.Context, m catalog.Member) error {
	h, err := n.heldBy(ctx, m.ID)
	if err != nil || h.needed == 0 {
		return err
	}
	do := fmt.Sprintf("say `symkeep cluster drain %s`, and wait until `symkeep cluster status` shows the drain as finished", m.Name)
	if m.Draining {
		do = "its drain is not finished: wait until `symkeep cluster status` shows that it is"
	}
	return fmt.Errorf("member %s: without it %d blobs, %d bytes, would have fewer than %d copies on members that are alive; %s: %w",
		m.Name, h.needed, h.neededBytes, h.want, do, catalog.ErrConflict)
}

// noLastCopies refuses to give up a dead member that alone holds a blob.
func (n *Node) noLastCopies(ctx context.Context, m catalog.Member) error {
	h, err := n.heldBy(ctx, m.ID)
	if err != nil || h.onlyBlobs == 0 {
		return err
	}
	return fmt.Errorf("member %s is dead, and no living member holds another copy of %d blobs, %d bytes, that it holds: start it again and let them be copied; or say --force, and they are lost: %w",
		m.Name, h.onlyBlobs, h.onlyBytes, catalog.ErrConflict)
}

// A drainTable remembers for a moment how far drains are: counting reads the whole
// catalog.
type drainTable struct {
	mu    sync.Mutex
	known map[catalog.NodeID]drain
}

type drain struct {
	api.DrainProgress
	until time.Time
}

// drainCost is how many times as long as counting took its result is good for.
const drainCost = 20

// drainProgress says what keeps a draining member from being removed.
func (n *Node) drainProgress(ctx context.Context, m catalog.Member) api.DrainProgress {
	n.drains.mu.Lock()
	d, ok := n.drains.known[m.ID]
	n.drains.mu.Unlock()
	begun := time.Now()
	if ok && begun.Before(d.until) {
		return d.DrainProgress
	}
	h, err := n.heldBy(ctx, m.ID)
	if err != nil {
		return d.DrainProgress // as of before; not finished if nothing is known
	}
	d.DrainProgress = api.DrainProgress{Blobs: h.blobs, Bytes: h.bytes, Needed: h.needed, Finished: h.needed == 0}
	d.until = time.Now().Add(drainCost * time.Since(begun))
	n.drains.mu.Lock()
	defer n.drains.mu.Unlock()
	if n.drains.known == nil || len(n.drains.known) > len(n.members()) {
		n.drains.known = map[catalog.NodeID]drain{}
	}
	n.drains.known[m.ID] = d
	return d.DrainProgress
}
