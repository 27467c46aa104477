package replication_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
	"symkeep/replication"
)

func order(e blobstore.Entry, source catalog.NodeID) replication.Order {
	return replication.Order{Digest: e.Digest, RawSize: e.RawSize, Packed: e.Packed, Source: source}
}

func wanted(e blobstore.Entry) replication.Wanted {
	return replication.Wanted{Digest: e.Digest, RawSize: e.RawSize, Packed: e.Packed}
}

// idle returns three nodes that do nothing by themselves.
func idle(t *testing.T) (*cluster, []*testNode) {
	c := newCluster(t, 3)
	var ns []*testNode
	for i := range 3 {
		ns = append(ns, c.add(i, options{}))
	}
	return c, ns
}

func TestPullFromBadSources(t *testing.T) {
	b := raw(1, 300_000) // several windows
	for name, tt := range map[string]struct {
		first func(*testNode) // what is wrong with the first source
		both  bool
		ok    bool
	}{
		"cut short":         {func(n *testNode) { n.cutAfter.Store(30_000) }, false, true},
		"always cut short":  {func(n *testNode) { n.cutAfter.Store(10_000) }, true, true}, // each request gets on
		"damaged":           {func(n *testNode) { n.flip.Store(true) }, false, true},
		"all damaged":       {func(n *testNode) { n.flip.Store(true) }, true, false},
		"away":              {func(n *testNode) { n.off.Store(true) }, false, true},
		"all away":          {func(n *testNode) { n.off.Store(true) }, true, false},
		"has lost it":       {func(n *testNode) { n.store.Remove(catalog.Digest(digestOf(b))) }, false, true},
		"packed otherwise":  {func(n *testNode) { n.store.Remove(catalog.Digest(digestOf(b))); n.stage("longer name", b) }, false, true},
		"same size, others": {func(n *testNode) { n.store.Remove(catalog.Digest(digestOf(b))); n.stage("b", b) }, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, ns := idle(t)
			e := ns[0].stage("a", b)
			if got := ns[1].stage("a", b); got.Packed != e.Packed {
				t.Fatal("packing is not deterministic")
			}
			tt.first(ns[0])
			if tt.both {
				tt.first(ns[1])
			}
			got, err := ns[2].r.Pull(bg, wanted(e), []catalog.NodeID{ns[2].id, ns[0].id, ns[1].id})
			if tt.ok {
				if err != nil || got.Packed != e.Packed {
					t.Fatalf("Pull = %+v, %v, want the blob", got, err)
				}
				if _, err := ns[2].store.Verify(bg, e.Digest); err != nil {
					t.Error(err)
				}
			} else if !errors.Is(err, catalog.ErrUnavailable) || ns[2].store.Has(e.Digest) {
				t.Errorf("Pull = %v, stored %v, want ErrUnavailable and nothing", err, ns[2].store.Has(e.Digest))
			}
			if len(ns[2].tmp()) > 0 {
				t.Errorf("tmp holds %q", ns[2].tmp())
			}
			if sp, err := ns[2].store.Space(); err != nil || sp.Reserved != 0 {
				t.Errorf("%d bytes still reserved, %v", sp.Reserved, err)
			}
		})
	}
}

// TestPullMixesNothing: the first source gives one window of its own form and
// dies, the second has the wanted one: the mixture must not be stored.
func TestPullMixesNothing(t *testing.T) {
	b := raw(1, 300_000)
	_, ns := idle(t)
	e := ns[0].stage("a", b)
	ns[1].stage("b", b) // same size, another head
	ns[1].dieAt.Store(2)
	got, err := ns[2].r.Pull(bg, wanted(e), []catalog.NodeID{ns[1].id, ns[0].id})
	if err != nil || got.Packed != e.Packed {
		t.Fatalf("Pull = %+v, %v, want form a", got, err)
	}
	if ns[1].gets.Load() < 2 || ns[0].gets.Load() < 2 {
		t.Errorf("%d and %d requests: the test mixed nothing", ns[1].gets.Load(), ns[0].gets.Load())
	}
	if _, err := ns[2].store.Verify(bg, e.Digest); err != nil {
		t.Error(err)
	}
}

func TestPullsShareOneTransfer(t *testing.T) {
	_, ns := idle(t)
	e := ns[0].stage("a", raw(1, 30_000)) // one window
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(bg)
			if i == 0 {
				cancel() // one caller gives up: the others must not notice
			}
			defer cancel()
			if _, err := ns[1].r.Pull(ctx, wanted(e), []catalog.NodeID{ns[0].id}); err != nil && i > 0 {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := ns[0].gets.Load(); n > 2 {
		t.Errorf("%d requests for one blob, want one, or two if the first caller led", n)
	}
}

// usedFS reports a full file system.
type usedFS struct{ blobstore.OS }

func (usedFS) Usage(string) (int64, int64, error) { return 99, 1, nil }

func TestPullOnAFullDisk(t *testing.T) {
	c, ns := idle(t)
	full := c.add(3, options{store: func(s *blobstore.Config) { s.FS = usedFS{} }})
	e := ns[0].stage("a", raw(1, 100))
	if _, err := full.r.Pull(bg, wanted(e), []catalog.NodeID{ns[0].id}); !errors.Is(err, catalog.ErrFull) {
		t.Errorf("Pull = %v, want ErrFull", err)
	}
	// Replication goes around it.
	if rc, err := ns[0].r.Replicate(bg, e.Digest, 3); err != nil || len(rc.Holders) != 3 {
		t.Errorf("Replicate = %+v, %v, want three holders", rc, err)
	}
}
