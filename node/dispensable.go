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
	needed, neededBytes  int64 // of them, those with fewer other copies to stay than wanted
	onlyBlobs, onlyBytes int64 // of them, those without any other copy
	want                 int   // other copies wanted of each
}

// heldBy counts the blobs that members hold. Copies on members that are gone do not
// count as others, for they may never come back, and those on members that drain are
// not to stay.
func (n *Node) heldBy(ctx context.Context, ids ...catalog.NodeID) (holding, error) {
	h := holding{want: n.copiesWithout(ids...)}
	away, drains := map[catalog.NodeID]bool{}, map[catalog.NodeID]bool{}
	for _, m := range n.members() {
		away[m.ID], drains[m.ID] = slices.Contains(ids, m.ID) || n.gone(m.ID), m.Draining
	}
	for after := (catalog.Digest{}); ; {
		blobs, err := n.fsm.Blobs(after, 1000)
		if err != nil || len(blobs) == 0 {
			return h, err
		}
		for _, b := range blobs {
			if after = b.Digest; b.Refs == 0 || b.Packed.Size == 0 {
				continue
			}
			holds, others, stay := false, 0, 0
			for _, holder := range b.Holders {
				switch {
				case slices.Contains(ids, holder):
					holds = true
				case away[holder]:
				case drains[holder]:
					others++
				default:
					others++
					stay++
				}
			}
			if holds {
				h.count(b.Packed.Size, others, stay)
			}
		}
		if err := ctx.Err(); err != nil {
			return h, fmt.Errorf("copies of %d members not counted: %v: %w", len(ids), err, catalog.ErrUnavailable)
		}
	}
}

func (h *holding) count(size int64, others, stay int) {
	h.blobs++
	h.bytes += size
	if stay < h.want {
		h.needed++
		h.neededBytes += size
	}
	if others == 0 {
		h.onlyBlobs++
		h.onlyBytes += size
	}
}

// copiesWithout is how many copies of each blob there should be once members are
// gone: as many as there are replicas, or members to keep them.
func (n *Node) copiesWithout(ids ...catalog.NodeID) int {
	keepers := 0
	for _, m := range n.members() {
		if !slices.Contains(ids, m.ID) && !m.Draining {
			keepers++
		}
	}
	return min(n.settings().Replicas, max(keepers, 1))
}

// unneeded refuses to let a member go that blobs need: a living one for the number of
// their copies, a dead one for the last.
func (n *Node) unneeded(ctx context.Context, m catalog.Member) error {
	if n.isDead(ctx, m) {
		return n.noLastCopies(ctx, m)
	}
	return n.dispensable(ctx, m)
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
	return fmt.Errorf("member %s: without it %d blobs, %d bytes, would have fewer than %d copies on members that are alive and stay; %s: %w",
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
