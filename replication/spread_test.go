package replication_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
	"symkeep/replication"
)

var bg = context.Background()

func TestReplicateThenAllOwners(t *testing.T) {
	c, ns := trio(t, 3)
	for i, size := range []int{1, 5000, 300_000} {
		e := ns[i].push("a.pdb", raw(i, size))
		c.await("three holders", c.holders(e.Digest, 3))
		c.honest(e.Digest)
	}
	for _, n := range ns {
		if len(n.tmp()) > 0 {
			t.Errorf("tmp of %s holds %q", n.id, n.tmp())
		}
	}
}

func TestReplicatePrefersOwnersAndGoesOn(t *testing.T) {
	c := newCluster(t, 2)
	var ns []*testNode
	for i := range 5 {
		ns = append(ns, c.add(i, options{}))
	}
	e := ns[0].stage("a", raw(1, 1000))
	owners := ns[0].r.Owners(e.Digest)
	rc, err := ns[0].r.Replicate(bg, e.Digest, 2)
	if err != nil || !slices.Contains(rc.Holders, ns[0].id) {
		t.Fatalf("Replicate = %+v, %v", rc, err)
	}
	for _, h := range rc.Holders {
		if h != ns[0].id && !slices.Contains(owners, h) {
			t.Errorf("holders %v, want the other one out of the owners %v", rc.Holders, owners)
		}
	}
	e = ns[0].stage("b", raw(2, 1000))
	for _, o := range ns[0].r.Owners(e.Digest) {
		if o != ns[0].id {
			c.nodes[o].off.Store(true)
		}
	}
	if rc, err = ns[0].r.Replicate(bg, e.Digest, 2); err != nil || len(rc.Holders) != 2 {
		t.Errorf("Replicate with the owners away = %+v, %v, want two holders", rc, err)
	}
	for _, n := range ns[1:] {
		n.off.Store(true)
	}
	e = ns[0].stage("c", raw(3, 1000))
	if rc, err = ns[0].r.Replicate(bg, e.Digest, 2); !errors.Is(err, catalog.ErrUnavailable) || len(rc.Holders) != 1 {
		t.Errorf("Replicate with everybody away = %+v, %v, want this node alone and ErrUnavailable", rc, err)
	}
}

func TestConfirmDedupHits(t *testing.T) {
	c, ns := trio(t, 3)
	e := ns[0].push("a", raw(1, 20_000))
	c.await("three holders", c.holders(e.Digest, 3))

	confirm := func(n *testNode, want int) {
		t.Helper()
		rs, err := n.r.Confirm(bg, []catalog.Digest{e.Digest})
		if err != nil || len(rs) != 1 || len(rs[0].Holders) < want || rs[0].Packed != e.Packed || rs[0].RawSize != e.RawSize {
			t.Fatalf("Confirm = %+v, %v, want %d holders of %+v", rs, err, want, e.Packed)
		}
		for _, h := range rs[0].Holders {
			if _, err := c.nodes[h].store.Verify(bg, e.Digest); err != nil {
				t.Errorf("confirmed holder: %v", err)
			}
		}
	}
	confirm(ns[1], 3)
	ns[2].off.Store(true)
	confirm(ns[1], 2)
	if err := os.Remove(ns[0].store.Path(e.Digest)); err != nil { // the catalog still lists it
		t.Fatal(err)
	}
	confirm(ns[1], 2) // a copy was made anew
	ns[0].off.Store(true)
	if _, err := ns[1].r.Confirm(bg, []catalog.Digest{e.Digest}); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("Confirm with one member of three: %v, want ErrUnavailable", err)
	}
}

func TestConfirmMany(t *testing.T) {
	c := newCluster(t, 3)
	var ns []*testNode
	for i := range 3 {
		ns = append(ns, c.add(i, options{}))
	}
	var ds []catalog.Digest
	for i := range 20 { // staged on one node each, and never replicated
		e := ns[i%3].stage("x", raw(i, 3000))
		c.pin(e)
		ds = append(ds, e.Digest)
	}
	gone := catalog.Digest{1, 2, 3}
	c.pin(blobstore.Entry{Digest: gone, RawSize: 7})
	rs, err := ns[0].r.Confirm(bg, append([]catalog.Digest{gone}, ds...))
	if !errors.Is(err, catalog.ErrNotFound) || len(rs) != len(ds) {
		t.Fatalf("Confirm = %d receipts, %v, want %d and ErrNotFound for the one nobody has", len(rs), err, len(ds))
	}
	for i, rc := range rs {
		if rc.Digest != ds[i] || len(rc.Holders) < 2 {
			t.Errorf("receipt %d = %+v, want blob %s with two holders", i, rc, ds[i])
		}
	}
	ns[1].mu.Lock()
	ns[1].noSync = true
	ns[1].mu.Unlock()
	if _, err := ns[1].r.Confirm(bg, ds[:1]); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("Confirm without a leader: %v, want ErrUnavailable", err)
	}
}

// TestSameBlobUnderTwoNames stages one content on two nodes with different packed
// bytes at the same time. Both pushes succeed and one form survives everywhere.
func TestSameBlobUnderTwoNames(t *testing.T) {
	for seed := range 5 {
		c, ns := trio(t, 3)
		b := raw(seed, 10_000)
		e0, e1 := ns[0].stage("first.pdb", b), ns[1].stage("other.pdb", b)
		if e0.Packed == e1.Packed {
			t.Fatal("the two packed forms are equal")
		}
		c.pin(e0, e1)
		var wg sync.WaitGroup
		for i, e := range []blobstore.Entry{e0, e1} {
			wg.Go(func() {
				for range 20 { // as a push retries
					if _, err := ns[i].r.Replicate(bg, e.Digest, 2); err != nil && !errors.Is(err, catalog.ErrUnavailable) {
						t.Errorf("Replicate = %v, want success or an ErrUnavailable, which a push repeats", err)
					}
					rs, err := ns[i].r.Confirm(bg, []catalog.Digest{e.Digest})
					if err != nil && !errors.Is(err, catalog.ErrUnavailable) {
						t.Errorf("Confirm = %v, want success or ErrUnavailable", err)
					}
					if err != nil {
						continue
					}
					c.PutReceipts(bg, rs)
					if row := c.row(e.Digest); row.Packed == rs[0].Packed {
						return
					}
				}
				t.Errorf("seed %d: node %d never got its receipt in", seed, i)
			})
		}
		wg.Wait()
		c.await("three holders of one form", func() bool {
			row := c.row(e0.Digest)
			for _, n := range ns {
				if e, err := n.store.Stat(e0.Digest); err != nil || e.Packed != row.Packed {
					return false
				}
			}
			return len(row.Holders) == 3
		})
		c.honest(e0.Digest)
	}
}

func TestAcceptKeepsTheEstablishedForm(t *testing.T) {
	c, ns := trio(t, 3)
	b := raw(1, 5000)
	e := ns[0].push("a", b)
	c.await("three holders", c.holders(e.Digest, 3))
	lone := newCluster(t, 1).add(9, options{})
	other := lone.stage("another name", b)
	packed, err := ns[1].r.Accept(bg, order(other, ns[0].id))
	if !errors.Is(err, catalog.ErrConflict) || packed != e.Packed {
		t.Errorf("Accept of another form = %+v, %v, want ErrConflict and %+v", packed, err, e.Packed)
	}
	if _, err := ns[1].r.Accept(bg, order(e, ns[0].id)); err != nil {
		t.Errorf("Accept of what is here: %v", err)
	}
}

// TestReplicateAroundAStoppedMember: a member that takes a request and stands still
// does not hold a push for long, and is not given up either.
func TestReplicateAroundAStoppedMember(t *testing.T) {
	c := newCluster(t, 3)
	var ns []*testNode
	for i := range 3 {
		ns = append(ns, c.add(i, options{cfg: func(r *replication.Config) { r.Stall = time.Minute }}))
	}
	e := ns[0].stage("a", raw(1, 1000))
	var first *testNode // the one that is asked first
	for _, o := range ns[0].r.Placement().Order(e.Digest) {
		if first == nil && o != ns[0].id {
			first = c.nodes[o]
		}
	}
	first.stopped.Store(true)
	start := time.Now()
	rc, err := ns[0].r.Replicate(bg, e.Digest, 2)
	if err != nil || len(rc.Holders) != 2 || slices.Contains(rc.Holders, first.id) {
		t.Fatalf("Replicate = %+v, %v, want the other two to hold it", rc, err)
	}
	if took := time.Since(start); took > 6*time.Second {
		t.Errorf("Replicate took %s, want about 2.5 s of patience", took)
	}
	// All copies are wanted: the one that stands still is awaited.
	done := make(chan error, 1)
	e = ns[0].stage("b", raw(2, 1000))
	go func() {
		rc, err := ns[0].r.Replicate(bg, e.Digest, 3)
		if err == nil && len(rc.Holders) != 3 {
			err = fmt.Errorf("holders %v", rc.Holders)
		}
		done <- err
	}()
	for _, n := range ns {
		if n != first {
			c.await("the others to hold it", func() bool { return n.store.Has(e.Digest) })
		}
	}
	ctx, cancel := context.WithTimeout(bg, 100*time.Millisecond)
	defer cancel()
	if rc, err := ns[1].r.Replicate(ctx, e.Digest, 3); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Replicate to all, one standing still = %+v, %v, want the end of its time", rc, err)
	}
	first.stopped.Store(false)
	first.srv.CloseClientConnections() // what it was sent while it stood still is lost
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, catalog.ErrUnavailable) {
			t.Errorf("Replicate = %v, want success or an ErrUnavailable that a push repeats", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Replicate never ended")
	}
}
