package replication_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
	"symkeep/replication"
)

func (c *cluster) settings(edit func(*catalog.Settings)) {
	c.change(func() { edit(&c.set) })
}

// TestRepairPaused: pushes get their copies, and nothing else is brought anywhere
// until repair goes on.
func TestRepairPaused(t *testing.T) {
	c, ns := trio(t, 3)
	c.settings(func(s *catalog.Settings) { s.RepairPaused = true })
	e := ns[0].push("a", raw(1, 1000))
	var last *testNode
	for _, n := range ns {
		if !slices.Contains(c.row(e.Digest).Holders, n.id) {
			last = n
		}
	}
	c.await("the third owner to know what it misses", func() bool {
		st, err := last.r.Status()
		return err == nil && st.Missing == 1 && st.Queue == 1 && st.Paused
	})
	last.r.Hurry()
	last.passes()
	// What has nothing to be brought goes on: a retired blob is unlinked meanwhile.
	gone := ns[0].push("b", raw(2, 1000))
	c.retire(gone.Digest)
	c.await("the retired copies gone", func() bool {
		return !slices.ContainsFunc(ns, func(n *testNode) bool { return n.store.Has(gone.Digest) })
	})
	if last.store.Has(e.Digest) {
		t.Fatal("a copy was made while repair is paused")
	}
	c.settings(func(s *catalog.Settings) { s.RepairPaused = false })
	c.await("three holders", c.holders(e.Digest, 3))
	st, err := last.r.Status()
	if err != nil || st.Paused || st.PulledBytes != e.Packed.Size {
		t.Errorf("Status = %+v, %v, want %d bytes pulled", st, err, e.Packed.Size)
	}
}

// TestPausedQueueForgets: what a change undone while repair is paused asked for does
// not count as missing any more.
func TestPausedQueueForgets(t *testing.T) {
	c, ns := trio(t, 2)
	e := ns[0].push("a", raw(1, 1000))
	owners := ns[0].r.Owners(e.Digest)
	var other *testNode
	for _, n := range ns {
		if !slices.Contains(owners, n.id) {
			other = n
		}
	}
	c.await("the owners alone", func() bool {
		return slices.Equal(c.row(e.Digest).Holders, slices.Sorted(slices.Values(owners))) && !other.store.Has(e.Digest)
	})
	c.settings(func(s *catalog.Settings) { s.RepairPaused = true })
	drain := func(draining bool) {
		c.commit(func() {
			c.ms = slices.Clone(c.ms)
			for i := range c.ms {
				c.ms[i].Draining = draining && c.ms[i].ID == owners[0]
			}
		})
		for _, n := range ns {
			n.r.Rescan()
		}
	}
	misses := func(want int) func() bool {
		return func() bool {
			st, err := other.r.Status()
			return err == nil && st.Paused && st.Missing == want && st.Queue == want
		}
	}
	drain(true)
	c.await("a copy missing", misses(1))
	drain(false)
	c.await("nothing missing", misses(0))
	if other.store.Has(e.Digest) {
		t.Error("a copy was made while repair is paused")
	}
}

// TestRepairRate: a tight limit holds repair, and nobody who waits for a copy.
func TestRepairRate(t *testing.T) {
	c, ns := trio(t, 3)
	ns[2].off.Store(true)
	e := ns[0].push("a", raw(1, 300_000)) // several windows
	c.await("two holders", c.holders(e.Digest, 2))
	c.settings(func(s *catalog.Settings) { s.RepairRate = 1 })
	ns[2].off.Store(false)
	ns[2].r.Rescan()
	c.await("the first window", func() bool {
		st, err := ns[2].r.Status()
		return err == nil && st.Rate == 1 && st.PulledBytes > 0
	})
	ns[2].passes()
	if st, err := ns[2].r.Status(); err != nil || st.PulledBytes != 40_000 || st.Running != 1 {
		t.Fatalf("Status = %+v, %v, want one window of 40000 bytes and no more for hours", st, err)
	}
	ctx, cancel := context.WithTimeout(bg, 20*time.Second)
	defer cancel()
	if _, err := ns[2].r.Accept(ctx, order(e, ns[0].id)); err != nil { // a push joins the transfer
		t.Fatalf("Accept under a tight limit = %v, want the copy at once", err)
	}
	other := ns[0].push("b", raw(2, 200_000))
	if _, err := ns[2].r.Accept(ctx, order(other, ns[0].id)); err != nil {
		t.Fatalf("Accept under a tight limit = %v, want the copy at once", err)
	}
	c.await("three holders", c.holders(e.Digest, 3))
	c.honest(e.Digest)
}

// rowsCatalog is some blobs that this node, the last of five members, misses.
type rowsCatalog struct {
	fixedCatalog
	rows []catalog.Blob // in digest order
}

func (rowsCatalog) Members() []catalog.Member {
	ms := members(5, 1)
	ms[0].Draining = true
	return ms
}
func (c rowsCatalog) Settings() catalog.Settings { return catalog.Settings{Replicas: 4} }
func (c rowsCatalog) Layout() catalog.Layout     { return catalog.LayoutOf(c.Members(), 4) }

func (c rowsCatalog) Blob(d catalog.Digest) (catalog.Blob, error) {
	for _, b := range c.rows {
		if b.Digest == d {
			return b, nil
		}
	}
	return catalog.Blob{}, catalog.ErrNotFound
}

func (c rowsCatalog) Blobs(after catalog.Digest, limit int) (out []catalog.Blob, _ error) {
	for _, b := range c.rows {
		if bytes.Compare(b.Digest[:], after[:]) > 0 && len(out) < limit {
			out = append(out, b)
		}
	}
	return out, nil
}

// notingPeers note which blobs are asked for, in order, and give none.
type notingPeers struct {
	brokenPeers
	hang  catalog.Digest // nobody answers to this one
	mu    sync.Mutex
	order []catalog.Digest
}

func (p *notingPeers) Fetch(ctx context.Context, _ catalog.NodeID, d catalog.Digest, _, _ int64) (io.ReadCloser, int64, error) {
	p.mu.Lock()
	if !slices.Contains(p.order, d) {
		p.order = append(p.order, d)
	}
	p.mu.Unlock()
	if d == p.hang {
		<-ctx.Done()
	}
	return nil, 0, fmt.Errorf("no route: %w", catalog.ErrUnavailable)
}

// TestRepairOrder: the fewer live copies, the sooner; blobs that only move come last.
// One without a live copy, at which every attempt takes long, holds up none of them.
func TestRepairOrder(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var cat rowsCatalog
		for i, holders := range [][]int{{0, 1, 2, 3}, {1, 2}, {1, 2, 3}, {1}, {0, 1, 2, 3}, {2}} {
			row := catalog.Blob{
				Digest: catalog.Digest{byte(i + 1)}, RawSize: 10, Refs: 1, Gen: 1,
				Packed: catalog.Packed{SHA256: catalog.Digest{9, byte(i)}, Size: 100, Container: catalog.ContainerCab},
			}
			for _, h := range holders {
				row.Holders = append(row.Holders, member(h, "").ID)
			}
			cat.rows = append(cat.rows, row)
		}
		store, err := blobstore.Open(blobstore.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		peers := &notingPeers{hang: catalog.Digest{6}}
		r, err := replication.New(replication.Config{
			Self: member(4, "").ID, Store: store, Catalog: cat, Proposer: cat, Peers: peers, Workers: 1,
			// The holder of the last is away: its blob has no live copy at all.
			Alive: func(id catalog.NodeID) bool { return id != member(2, "").ID },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // before any second try
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		lost := slices.Index(peers.order, peers.hang)
		if lost < 0 {
			t.Fatalf("asked for %v, want also the blob without a live copy", peers.order)
		}
		want := []catalog.Digest{{2}, {4}, {3}, {1}, {5}}
		if got := slices.Delete(peers.order, lost, lost+1); !slices.Equal(got, want) {
			t.Errorf("asked for %v beside the blob without a live copy, want %v", got, want)
		}
	})
}

// TestClockSetBack: what waits for another try does not wait for the time that the
// wall clock has lost.
func TestClockSetBack(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		ahead := 3 * time.Hour
		store, err := blobstore.Open(blobstore.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		cat := fixedCatalog{catalog.Blob{
			Digest: catalog.Digest{5}, RawSize: 10, Refs: 1, Gen: 1,
			Packed:  catalog.Packed{SHA256: catalog.Digest{6}, Size: 100, Container: catalog.ContainerCab},
			Holders: []catalog.NodeID{member(0, "").ID},
		}}
		peers := &brokenPeers{}
		r, err := replication.New(replication.Config{
			Self: member(1, "").ID, Store: store, Catalog: cat, Proposer: cat, Peers: peers,
			Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(ahead) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		<-time.After(20 * time.Second)
		if n := len(peers.take()); n < 3 {
			t.Errorf("%d tries in 20 s, want about 4", n)
		}
		mu.Lock()
		ahead = 0
		mu.Unlock()
		<-time.After(2 * time.Minute)
		if n := len(peers.take()); n < 2 {
			t.Errorf("%d tries in the two minutes after the clock was set back, want the backoff to go on", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
