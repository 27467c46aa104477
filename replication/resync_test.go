package replication_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
	"symkeep/replication"
)

func TestJoinerCatchesUp(t *testing.T) {
	c, ns := trio(t, 4)
	var ds []catalog.Digest
	for i := range 30 {
		ds = append(ds, ns[i%3].push("x", raw(i, 2000)).Digest)
	}
	for _, d := range ds {
		c.await("three holders", c.holders(d, 3))
	}
	for _, n := range ns {
		c.await("synced members", func() bool { return n.synced.Load() == 1 })
	}
	j := c.add(3, options{joined: true})
	j.run()
	for _, n := range ns { // a joiner that can reach nobody lacks something
		n.off.Store(true)
	}
	c.join(j, "")
	c.await("something missing", func() bool {
		st, err := j.r.Status()
		return err == nil && st.Missing == len(ds) && st.MissBytes > 0 && len(st.Errors) > 0
	})
	if j.synced.Load() != 0 {
		t.Fatal("a joiner without a single blob calls itself synced")
	}
	for _, n := range ns {
		n.off.Store(false)
	}
	j.r.Hurry() // gossip tells
	for _, d := range ds {
		c.await("four holders", c.holders(d, 4))
		c.honest(d)
	}
	c.await("the joiner synced", func() bool { return j.synced.Load() == 1 })
	st, err := j.r.Status()
	if err != nil || st.Missing != 0 || st.MissBytes != 0 || !st.Synced {
		t.Errorf("Status = %+v, %v, want nothing missing", st, err)
	}
}

func TestRestartFindsWhatItMissed(t *testing.T) {
	c, ns := trio(t, 3)
	away := c.add(3, options{})
	c.settings(func(s *catalog.Settings) { s.Replicas = 4 })
	halt := away.run()
	e := ns[0].push("a", raw(1, 1000))
	c.await("four holders", c.holders(e.Digest, 4))
	halt()
	var missed, gone blobstore.Entry
	away.restart(nil, func() {
		missed = ns[0].push("b", raw(2, 1000))
		gone = ns[0].push("c", raw(3, 1000))
		c.await("three holders", c.holders(missed.Digest, 3))
		c.retire(e.Digest)
		if away.store.Has(missed.Digest) || !away.store.Has(e.Digest) {
			t.Fatal("the node that is away noticed something")
		}
	})
	c.await("four holders", c.holders(gone.Digest, 4))
	c.await("four holders", c.holders(missed.Digest, 4))
	c.await("the retired copy gone", func() bool { return !away.store.Has(e.Digest) })
	c.honest(missed.Digest)
}

func TestRetiredBlobsAreUnlinked(t *testing.T) {
	c, ns := trio(t, 3)
	e := ns[0].push("a", raw(1, 1000))
	keep := ns[0].push("b", raw(2, 1000))
	c.await("three holders", c.holders(e.Digest, 3))
	c.await("three holders", c.holders(keep.Digest, 3))
	c.retire(e.Digest)
	c.await("no copy", func() bool {
		return !slices.ContainsFunc(ns, func(n *testNode) bool { return n.store.Has(e.Digest) })
	})
	c.honest(keep.Digest)
	if _, err := ns[0].r.Open(bg, e.Digest); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("Open of a retired blob: %v, want ErrNotFound", err)
	}
	again := ns[1].push("a", raw(1, 1000))
	c.await("three holders of the next generation", c.holders(again.Digest, 3))
	if row := c.row(e.Digest); row.Gen != 2 {
		t.Errorf("generation %d, want 2", row.Gen)
	}
	c.honest(again.Digest)
}

// TestRetirementMeetsNewUpload: a node still sees a blob as retired while the
// cluster has pinned it again and this very node has vouched for its copy.
func TestRetirementMeetsNewUpload(t *testing.T) {
	c := newCluster(t, 3)
	pusher := c.add(0, options{})
	c.add(1, options{})
	c.add(2, options{})
	e := pusher.push("a", raw(1, 1000))
	var lags *testNode
	for _, h := range c.row(e.Digest).Holders {
		if h != pusher.id {
			lags = c.nodes[h]
		}
	}
	lags.mu.Lock()
	lags.noSync = true // until the leader can be asked nothing may go
	lags.mu.Unlock()
	c.retire(e.Digest)
	lags.lag()
	lags.run() // it sees the retirement and wants to unlink
	c.await("an attempt", func() bool {
		st, err := lags.r.Status()
		return err == nil && len(st.Errors) > 0
	})
	c.pin(e)
	rs, err := pusher.r.Confirm(bg, []catalog.Digest{e.Digest})
	if err != nil || !slices.Contains(rs[0].Holders, lags.id) {
		t.Fatalf("Confirm = %+v, %v, want the node that lags among the holders", rs, err)
	}
	c.PutReceipts(bg, rs)
	lags.mu.Lock()
	lags.noSync = false
	lags.mu.Unlock()
	lags.r.Hurry()
	c.await("the end of the attempts", func() bool {
		st, err := lags.r.Status()
		return err == nil && st.Queue == 0
	})
	if !lags.store.Has(e.Digest) {
		t.Error("the node that lagged has unlinked a copy it had vouched for")
	}
	c.honest(e.Digest)
}

func TestBitRotIsRepaired(t *testing.T) {
	c, ns := trio(t, 3)
	e := ns[0].push("a", raw(1, 100_000))
	c.await("three holders", c.holders(e.Digest, 3))
	ns[1].damage(e.Digest)
	ns[1].r.Suspect(e.Digest, errors.New("group 0 does not decode"))
	b, err := ns[1].r.Open(bg, e.Digest) // never the suspect copy
	if err != nil {
		t.Fatal(err)
	}
	if err := rawOf(b, raw(1, 100_000)); err != nil {
		t.Error(err)
	}
	b.Close()
	c.await("a new copy", func() bool { _, err := ns[1].store.Verify(bg, e.Digest); return err == nil })
	kept, _ := filepath.Glob(filepath.Join(ns[1].store.Dir(), "quarantine", e.Digest.String()+".*"))
	if len(kept) != 2 {
		t.Errorf("quarantine holds %q, want the damaged copy and the reason", kept)
	}
	ns[1].r.Suspect(e.Digest, errors.New("a false alarm"))
	c.await("the copy cleared", func() bool {
		b, err := ns[1].r.Open(bg, e.Digest)
		if err != nil {
			return false
		}
		defer b.Close()
		return b.File() != nil
	})
	c.honest(e.Digest)
}

func TestScrubFindsBitRot(t *testing.T) {
	c := newCluster(t, 2)
	a := c.add(0, options{})
	old := time.Now().Add(-time.Hour)
	b := c.add(1, options{
		store: func(s *blobstore.Config) { s.Now = func() time.Time { return old } },
		cfg:   func(r *replication.Config) { r.ScrubAge = time.Minute },
	})
	a.run()
	stop := b.run()
	e := a.push("a", raw(1, 50_000))
	c.await("two holders", c.holders(e.Digest, 2))
	stop()
	b.restart(func(r *replication.Config) { r.ScrubAge = time.Minute }, func() { b.damage(e.Digest) })
	c.await("a new copy", func() bool { _, err := b.store.Verify(bg, e.Digest); return err == nil })
	c.await("two holders", c.holders(e.Digest, 2))
}

func TestLostCopies(t *testing.T) {
	c, ns := trio(t, 3)
	e := ns[0].push("a", raw(1, 1000))
	c.await("three holders", c.holders(e.Digest, 3))
	if err := os.Remove(ns[1].store.Path(e.Digest)); err != nil {
		t.Fatal(err)
	}
	b, err := ns[1].r.Open(bg, e.Digest) // a failed read feeds the queue
	if err != nil {
		t.Fatal(err)
	}
	if b.File() != nil {
		t.Error("a vanished file was opened")
	}
	b.Close()
	c.await("a new copy", func() bool { return ns[1].store.Has(e.Digest) })

	// With the others away it says that it has none.
	ns[0].off.Store(true)
	ns[2].off.Store(true)
	if err := os.Remove(ns[1].store.Path(e.Digest)); err != nil {
		t.Fatal(err)
	}
	ns[1].r.Open(bg, e.Digest)
	c.await("one holder fewer", func() bool { return !slices.Contains(c.row(e.Digest).Holders, ns[1].id) })
	ns[0].off.Store(false)
	c.await("three holders again", c.holders(e.Digest, 3))
	c.honest(e.Digest)
}

func TestUnlistedCopyIsVouchedFor(t *testing.T) {
	c, ns := trio(t, 3)
	ns[2].off.Store(true)
	e := ns[0].push("a", raw(1, 1000))
	ns[2].stage("a", raw(1, 1000)) // it came by another way
	ns[2].r.Notify(e.Digest)
	c.await("three holders", c.holders(e.Digest, 3))
	if n := ns[2].gets.Load() + ns[2].asks.Load(); n > 0 {
		t.Errorf("%d requests at a node that is cut off", n)
	}
	c.honest(e.Digest)
}

// TestSpareCopyCounts: as long as an owner has none, any copy is worth listing.
func TestSpareCopyCounts(t *testing.T) {
	c := newCluster(t, 2)
	var ns []*testNode
	for i := range 5 {
		ns = append(ns, c.add(i, options{}))
	}
	owners := ns[0].r.Owners(digestOf(raw(1, 1000)))
	var spare []*testNode
	for _, n := range ns {
		if slices.Contains(owners, n.id) {
			n.off.Store(true)
		} else {
			spare = append(spare, n)
		}
	}
	e := spare[0].push("x", raw(1, 1000))
	for _, n := range spare {
		if !slices.Contains(c.row(e.Digest).Holders, n.id) {
			n.stage("x", raw(1, 1000))
			n.run()
		}
	}
	c.await("three spare holders", c.holders(e.Digest, 3))
	c.honest(e.Digest)
}

func TestDrainAndSurplus(t *testing.T) {
	c := newCluster(t, 2)
	var ns []*testNode
	for i := range 4 {
		n := c.add(i, options{})
		n.run()
		ns = append(ns, n)
	}
	var ds []catalog.Digest
	for i := range 12 {
		ds = append(ds, ns[0].push("x", raw(i, 1000)).Digest)
	}
	settled := func(d catalog.Digest) func() bool {
		return func() bool {
			want := slices.Sorted(slices.Values(ns[1].r.Owners(d)))
			if !slices.Equal(c.row(d).Holders, want) {
				return false
			}
			for _, n := range ns {
				if n.store.Has(d) != slices.Contains(want, n.id) {
					return false
				}
			}
			return true
		}
	}
	for _, d := range ds { // the receiving node gives up what is not its own
		c.await("the owners alone", settled(d))
	}
	c.commit(func() {
		c.ms = slices.Clone(c.ms)
		c.ms[0].Draining = true
	})
	for _, n := range ns {
		n.r.Rescan()
	}
	for _, d := range ds {
		c.await("the owners without the draining member", settled(d))
		c.honest(d)
	}
	if n, _, err := ns[0].store.Totals(); n != 0 || err != nil {
		t.Errorf("the drained member holds %d blobs, %v", n, err)
	}
}

func TestMemberDownForLong(t *testing.T) {
	c := newCluster(t, 2)
	var ns []*testNode
	for i := range 4 {
		n := c.add(i, options{})
		n.run()
		ns = append(ns, n)
	}
	e := ns[0].push("x", raw(1, 1000))
	owners := ns[0].r.Owners(e.Digest)
	c.await("the owners", func() bool { return slices.Equal(c.row(e.Digest).Holders, slices.Sorted(slices.Values(owners))) })
	dead := c.nodes[owners[1]]
	dead.off.Store(true)
	down := func(ids ...catalog.NodeID) {
		for _, n := range ns {
			n.mu.Lock()
			n.down = ids
			n.mu.Unlock()
			n.r.Rescan()
		}
	}
	down(dead.id)
	c.await("a copy elsewhere", c.holders(e.Digest, 3))
	dead.off.Store(false)
	down()
	c.await("the owners alone again", func() bool { return slices.Equal(c.row(e.Digest).Holders, slices.Sorted(slices.Values(owners))) })
	c.honest(e.Digest)
}

func TestOrphansAreShownAndKept(t *testing.T) {
	c, ns := trio(t, 3)
	e := ns[0].stage("nobody asked for it", raw(1, 100))
	ns[0].r.Rescan()
	c.await("one orphan", func() bool {
		st, err := ns[0].r.Status()
		return err == nil && st.Orphans == 1
	})
	if !ns[0].store.Has(e.Digest) {
		t.Error("an orphan was removed")
	}
}
