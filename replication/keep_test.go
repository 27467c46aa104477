package replication_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
	"symkeep/replication"
)

// layouts records the versions of which a node says that it holds all.
type layouts struct {
	mu   sync.Mutex
	told []uint64
	err  error
}

func (l *layouts) tell(_ context.Context, version uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.told = append(l.told, version)
	}
	return l.err
}

func (l *layouts) is(want ...uint64) func() bool {
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.Equal(l.told, want)
	}
}

// TestLayoutSynced: a node says that it holds what a layout gives it once it does,
// once per version, and again after a refusal.
func TestLayoutSynced(t *testing.T) {
	c := newCluster(t, 2)
	c.version = 1
	told := &layouts{err: errors.New("no leader")}
	a := c.add(0, options{cfg: func(r *replication.Config) { r.LayoutSynced = told.tell }})
	b := c.add(1, options{})
	b.run()
	a.run()
	e := a.push("a", raw(1, 1000))
	c.await("two holders", c.holders(e.Digest, 2))
	told.mu.Lock()
	told.err = nil
	told.mu.Unlock()
	c.await("version 1 told", told.is(1))
	a.passes()
	if !told.is(1)() {
		t.Errorf("told of versions %v, want 1 once", told.told)
	}

	// A blob that a cannot get yet holds back version 2.
	b.off.Store(true)
	c.change(func() {
		c.set.Replicas, c.version = 3, 2 // b becomes an owner of what it has, c of everything
	})
	lacking := b.stage("b", raw(2, 1000))
	c.pin(lacking)
	c.PutReceipts(bg, []catalog.Receipt{{Digest: lacking.Digest, RawSize: lacking.RawSize, Packed: lacking.Packed, Holders: []catalog.NodeID{b.id}}})
	a.passes()
	if !told.is(1)() {
		t.Errorf("told of versions %v while a blob is missing, want 1 alone", told.told)
	}
	b.off.Store(false)
	a.r.Hurry()
	c.await("version 2 told", told.is(1, 2))
	if st, err := a.r.Status(); err != nil || st.Layout != 2 || st.Missing != 0 {
		t.Errorf("Status = %+v, %v, want layout 2 and nothing missing", st, err)
	}
	c.change(func() { c.version = 0 }) // below feature level 2 nobody is told
	a.passes()
	if !told.is(1, 2)() {
		t.Errorf("told of versions %v, want 1 and 2", told.told)
	}
}

// TestFormerOwnerIsAsked: a copy that is recorded nowhere is where the layout before
// put it.
func TestFormerOwnerIsAsked(t *testing.T) {
	c := newCluster(t, 1)
	c.version = 2
	var ns []*testNode
	for i := range 4 {
		ns = append(ns, c.add(i, options{}))
	}
	e := ns[0].stage("a", raw(1, 1000))
	owner := c.nodes[ns[0].r.Owners(e.Digest)[0]]
	var former, dead *testNode
	for _, n := range ns {
		switch {
		case n == owner:
		case former == nil:
			former = n
		case dead == nil:
			dead = n
		}
	}
	if !former.store.Has(e.Digest) {
		former.stage("a", raw(1, 1000))
	}
	for _, n := range ns {
		if n != former {
			n.store.Remove(e.Digest)
		}
	}
	kept := catalog.LayoutOf([]catalog.Member{{ID: former.id}}, 1)
	kept.Version = 1
	c.change(func() { c.kept = []catalog.Layout{kept} })
	c.pin(e)
	c.PutReceipts(bg, []catalog.Receipt{{Digest: e.Digest, RawSize: e.RawSize, Packed: e.Packed, Holders: []catalog.NodeID{dead.id}}})
	dead.off.Store(true)
	owner.run()
	c.await("the owner to hold it", func() bool { return owner.store.Has(e.Digest) })
	if former.gets.Load() == 0 {
		t.Error("the owner of the layout before was never asked")
	}
}

func quarantined(n *testNode, d catalog.Digest) int {
	kept, _ := filepath.Glob(filepath.Join(n.store.Dir(), "quarantine", d.String()+".*"))
	return len(kept)
}

// TestOrphansAreSetAside: after a week as an orphan by the cluster's clock, and not
// while nothing may go.
func TestOrphansAreSetAside(t *testing.T) {
	const week = catalog.ClusterTime(7 * 24 * 3600 * 1000)
	c, ns := trio(t, 3)
	known := ns[0].push("known", raw(1, 1000))
	e := ns[0].stage("nobody asked for it", raw(2, 100))
	at := func(clock catalog.ClusterTime, frozen bool, want bool) {
		t.Helper()
		c.change(func() { c.clock, c.frozen = clock, frozen })
		ns[0].passes()
		if ns[0].store.Has(e.Digest) != want {
			t.Fatalf("at %d, frozen %v: the orphan is here: %v, want %v", clock, frozen, !want, want)
		}
	}
	at(1000, false, true)
	at(week+999, false, true)
	at(week+1000, true, true)
	at(500, false, true) // the catalog was restored: it starts anew
	at(week+499, false, true)
	at(week+500, false, false)
	if n := quarantined(ns[0], e.Digest); n != 2 {
		t.Errorf("quarantine holds %d files of the orphan, want it and the reason", n)
	}
	ns[0].passes()
	if st, err := ns[0].r.Status(); err != nil || st.Orphans != 0 || st.Scrub.Quarantined != 1 || st.Scrub.Damaged != 0 {
		t.Errorf("Status = %+v, %v, want no orphan and one copy set aside, none of them damaged", st, err)
	}
	c.honest(known.Digest)
}

// TestOrphanThatIsAskedForStays: a package opens with it the moment before it would
// go.
func TestOrphanThatIsAskedForStays(t *testing.T) {
	const week = catalog.ClusterTime(7 * 24 * 3600 * 1000)
	c, ns := trio(t, 3)
	e := ns[0].stage("a", raw(1, 100))
	ns[0].passes()
	c.change(func() { c.clock = week })
	ns[0].lag() // until the barrier it does not see the row
	c.pin(e)
	ns[0].passes()
	ns[0].passes()
	if !ns[0].store.Has(e.Digest) || quarantined(ns[0], e.Digest) != 0 {
		t.Error("a copy that a package asks for was set aside")
	}
}

// TestQuarantineIsEmptied: after a month, and not while something is missing.
func TestQuarantineIsEmptied(t *testing.T) {
	c := newCluster(t, 2)
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	a := c.add(0, options{})
	b := c.add(1, options{
		cfg:   func(r *replication.Config) { r.Now = clock },
		store: func(s *blobstore.Config) { s.Now = clock },
	})
	a.run()
	b.run()
	e := a.push("a", raw(1, 1000))
	c.await("two holders", c.holders(e.Digest, 2))
	a.off.Store(true)
	b.damage(e.Digest)
	b.r.Suspect(e.Digest, errors.New("does not decode"))
	c.await("the damaged copy set aside", func() bool { return !b.store.Has(e.Digest) && quarantined(b, e.Digest) == 2 })
	ahead.Store(int64(31 * 24 * time.Hour))
	b.passes()
	if quarantined(b, e.Digest) != 2 {
		t.Error("a damaged copy was thrown away with no sound one in its place")
	}
	a.off.Store(false)
	b.r.Hurry()
	c.await("a new copy", func() bool { return b.store.Has(e.Digest) })
	c.await("nothing missing", func() bool { st, err := b.r.Status(); return err == nil && st.Missing == 0 })
	b.passes()
	c.await("the quarantine emptied", func() bool { return quarantined(b, e.Digest) == 0 })
}

// TestQuarantineOfLostBlobStays: while nobody holds a blob, what was set aside of it is
// all there is.
func TestQuarantineOfLostBlobStays(t *testing.T) {
	c := newCluster(t, 1)
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	a := c.add(0, options{
		cfg:   func(r *replication.Config) { r.Now = clock },
		store: func(s *blobstore.Config) { s.Now = clock },
	})
	a.run()
	e := a.push("a", raw(1, 1000))
	a.damage(e.Digest)
	a.r.Suspect(e.Digest, errors.New("does not decode"))
	c.await("nobody listed", c.holders(e.Digest, 0))
	ahead.Store(int64(365 * 24 * time.Hour))
	a.passes()
	a.passes() // a pass prunes at its end
	if quarantined(a, e.Digest) != 2 {
		t.Error("the last copy there was of a blob was thrown away")
	}
	c.retire(e.Digest)
	a.passes()
	c.await("the quarantine emptied", func() bool { return quarantined(a, e.Digest) == 0 })
}

// TestFrozenKeepsRetired: while the catalog may know less than there is, as after it was
// restored, a copy stays although its blob is retired: it may have been uploaded again.
func TestFrozenKeepsRetired(t *testing.T) {
	c, ns := trio(t, 3)
	e := ns[0].push("a", raw(1, 1000))
	c.await("three holders", c.holders(e.Digest, 3))
	c.change(func() { c.frozen = true })
	c.retire(e.Digest)
	for _, n := range ns {
		n.passes()
		n.passes()
		if st, err := n.r.Status(); err != nil || st.Queue != 0 || !n.store.Has(e.Digest) {
			t.Errorf("%s: Status = %+v, %v, has the copy %v, want it kept and nothing to do", n.id, st, err, n.store.Has(e.Digest))
		}
	}
	c.change(func() { c.frozen = false })
	for _, n := range ns {
		n.r.Rescan()
	}
	c.await("the copies gone", func() bool {
		return !slices.ContainsFunc(ns, func(n *testNode) bool { return n.store.Has(e.Digest) })
	})
}

// TestSurplusStaysUntilKeepersShow: a copy goes only when the members that should hold
// the blob show theirs. What the catalog lists may have gone with a disk.
func TestSurplusStaysUntilKeepersShow(t *testing.T) {
	c := newCluster(t, 1)
	var ns []*testNode
	for i := range 3 {
		ns = append(ns, c.add(i, options{}))
	}
	e := ns[0].stage("a", raw(1, 1000))
	owner := c.nodes[ns[0].r.Owners(e.Digest)[0]]
	var spare *testNode
	for _, n := range ns {
		if n != owner {
			spare = n
		}
	}
	for _, n := range []*testNode{owner, spare} {
		if !n.store.Has(e.Digest) {
			n.stage("a", raw(1, 1000))
		}
	}
	if spare != ns[0] && owner != ns[0] {
		ns[0].store.Remove(e.Digest)
	}
	c.pin(e)
	c.PutReceipts(bg, []catalog.Receipt{{Digest: e.Digest, RawSize: e.RawSize, Packed: e.Packed, Holders: []catalog.NodeID{owner.id}}})
	if err := os.Remove(owner.store.Path(e.Digest)); err != nil {
		t.Fatal(err)
	}
	spare.run()
	spare.r.Rescan()
	c.await("a refusal to remove the copy", func() bool {
		st, err := spare.r.Status()
		return err == nil && strings.Contains(st.Errors[e.Digest], "shows its own")
	})
	if !spare.store.Has(e.Digest) {
		t.Fatal("the last copy was removed")
	}
	owner.run() // and has seen by the question that it has lost its file
	spare.r.Hurry()
	c.await("the owner's new copy and the other one gone", func() bool {
		spare.r.Hurry()
		return owner.store.Has(e.Digest) && !spare.store.Has(e.Digest)
	})
	c.honest(e.Digest)
}

// TestDrainWaitsForKeepers: a draining member keeps its copies while one of the owners is
// down and nobody is left to stand in for it.
func TestDrainWaitsForKeepers(t *testing.T) {
	c := newCluster(t, 3)
	var ns []*testNode
	for i := range 4 {
		n := c.add(i, options{})
		n.run()
		ns = append(ns, n)
	}
	var ds []catalog.Digest
	for i := range 8 {
		ds = append(ds, ns[0].push("x", raw(i, 1000)).Digest)
	}
	for _, d := range ds {
		c.await("the owners alone", func() bool {
			return slices.Equal(c.row(d).Holders, slices.Sorted(slices.Values(ns[0].r.Owners(d))))
		})
	}
	held, _, err := ns[3].store.Totals()
	if err != nil || held == 0 {
		t.Fatalf("the member to drain holds %d, %v", held, err)
	}
	ns[2].off.Store(true)
	for _, n := range ns {
		n.mu.Lock()
		n.down = []catalog.NodeID{ns[2].id}
		n.mu.Unlock()
	}
	c.commit(func() {
		c.ms = slices.Clone(c.ms)
		c.ms[3].Draining = true
	})
	for _, n := range ns[:2] {
		n.r.Rescan()
	}
	for _, d := range ds {
		c.await("copies on all who are alive", func() bool {
			h := c.row(d).Holders
			return slices.Contains(h, ns[0].id) && slices.Contains(h, ns[1].id)
		})
	}
	ns[3].passes()
	ns[3].passes()
	if n, _, err := ns[3].store.Totals(); n != held || err != nil {
		t.Errorf("the draining member holds %d copies, %v, want its %d: there are two others of each at most", n, err, held)
	}
	ns[2].off.Store(false)
	for _, n := range ns {
		n.mu.Lock()
		n.down = nil
		n.mu.Unlock()
		n.r.Rescan()
	}
	c.await("the member drained", func() bool { n, _, err := ns[3].store.Totals(); return n == 0 && err == nil })
	for _, d := range ds {
		c.honest(d)
	}
}

// damages records what a node says of damaged copies.
type damages struct {
	mu   sync.Mutex
	seen map[catalog.Digest]string
}

func (d *damages) note(b catalog.Digest, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen == nil {
		d.seen = map[catalog.Digest]string{}
	}
	d.seen[b] = reason
}

// TestScrubNow: a round that is asked for looks at every copy, tells of damage, has
// it mended and goes on after a restart.
func TestScrubNow(t *testing.T) {
	c := newCluster(t, 2)
	a := c.add(0, options{})
	seen := &damages{}
	edit := func(r *replication.Config) { r.Damaged = seen.note }
	b := c.add(1, options{cfg: edit})
	a.run()
	stop := b.run()
	var es []blobstore.Entry
	for i := range 5 {
		es = append(es, a.push("x", raw(i, 20_000)))
	}
	for _, e := range es {
		c.await("two holders", c.holders(e.Digest, 2))
	}
	b.damage(es[0].Digest)
	if err := b.r.Scrub(); err != nil {
		t.Fatal(err)
	}
	c.await("a new copy", func() bool { _, err := b.store.Verify(bg, es[0].Digest); return err == nil })
	c.await("the end of the round", func() bool {
		st, err := b.r.Status()
		return err == nil && !st.Scrub.Running && !st.Scrub.Finished.IsZero() && st.Scrub.Total == 5 && st.Scrub.Done >= 5
	})
	seen.mu.Lock()
	if len(seen.seen) != 1 || seen.seen[es[0].Digest] == "" {
		t.Errorf("told of damage: %v, want %s and why", seen.seen, es[0].Digest)
	}
	seen.mu.Unlock()
	if st, err := b.r.Status(); err != nil || st.Scrub.Damaged != 1 || st.Scrub.Quarantined != 1 || st.Scrub.Quarantine < es[0].Packed.Size {
		t.Errorf("Status = %+v, %v, want one damaged copy kept aside", st.Scrub, err)
	}

	stop()
	b.damage(es[3].Digest)
	if err := b.r.Scrub(); err != nil { // asked for, and then the process ends
		t.Fatal(err)
	}
	if st, err := b.r.Status(); err != nil || !st.Scrub.Asked || st.Scrub.Running {
		t.Errorf("Status = %+v, %v, want a round asked for that has not begun", st.Scrub, err)
	}
	b.restart(edit, func() {})
	c.await("a new copy", func() bool { _, err := b.store.Verify(bg, es[3].Digest); return err == nil })
	c.await("the end of the round asked for", func() bool {
		st, err := b.r.Status()
		return err == nil && !st.Scrub.Asked && !st.Scrub.Running
	})
	c.await("the owners alone", func() bool {
		st, err := b.r.Status()
		return err == nil && st.Queue == 0 && len(c.row(es[3].Digest).Holders) == 2
	})
	c.honest(es[3].Digest)
}

// TestScrubRate: the rate holds the round back.
func TestScrubRate(t *testing.T) {
	c := newCluster(t, 1)
	a := c.add(0, options{})
	a.run()
	for i := range 3 {
		a.push("x", raw(i, 50_000))
	}
	c.settings(func(s *catalog.Settings) { s.ScrubRate = 1 })
	if err := a.r.Scrub(); err != nil {
		t.Fatal(err)
	}
	c.await("the first copy verified", func() bool {
		st, err := a.r.Status()
		return err == nil && st.Scrub.Running && st.Scrub.Done == 1 && st.Scrub.Total == 3 && st.Scrub.Rate == 1
	})
	a.passes() // some time later
	if st, err := a.r.Status(); err != nil || st.Scrub.Done != 1 || !st.Scrub.Running {
		t.Errorf("Status = %+v, %v, want the round to stand at its first copy for hours", st.Scrub, err)
	}
}
