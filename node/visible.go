package node

import (
	"context"
	"sync"
	"time"
)

// visiblePoll is how often a member is asked whether it has applied an index.
const visiblePoll = 25 * time.Millisecond

// visibleTime is when every negative lease of a moment ago has run out, by clocks
// that do not run quite alike.
const visibleTime = leaseTime + leaseTime/5

// awaitVisible returns once no member can answer a false miss for what was
// committed at index: each has applied it, or its negative lease has run out. A
// lease granted before the commit ends within leaseTime of it, and one granted
// later obliges its holder to have applied the index; so the wait is bounded, and
// the names of members that were not heard of are returned.
func (n *Node) awaitVisible(ctx context.Context, index uint64) (leaseOut []string) {
	ctx, cancel := context.WithTimeout(ctx, visibleTime)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, m := range n.otherMembers() {
		wg.Go(func() {
			for {
				st, err := n.peers.Status(ctx, n.peerAddr(m.ID, m.PeerAddr))
				if err == nil && st.AppliedIndex >= index {
					return
				}
				select {
				case <-ctx.Done():
					mu.Lock()
					leaseOut = append(leaseOut, m.Name)
					mu.Unlock()
					return
				case <-time.After(visiblePoll):
				}
			}
		})
	}
	wg.Wait()
	return leaseOut
}
