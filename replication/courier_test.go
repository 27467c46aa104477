package replication_test

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"testing"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/replication"
)

// A clerk does a courier's work in this process, as far as it is let.
type clerk struct {
	peers    replication.Peers
	fail     atomic.Pointer[error] // of every job
	hold     atomic.Bool           // jobs wait until they are called off
	held     chan struct{}         // told of each that waits
	fetches  atomic.Int64
	verifies atomic.Int64
}

// Fetch implements replication.Courier.
func (c *clerk) Fetch(ctx context.Context, source catalog.NodeID, p replication.Part) (int64, error) {
	if err := c.wait(ctx); err != nil {
		return 0, err
	}
	f, err := os.OpenFile(p.Path, os.O_WRONLY, 0)
	if err != nil {
		return 0, &replication.FileError{Err: err}
	}
	defer f.Close()
	n, err := p.Copy(ctx, func(ctx context.Context, d catalog.Digest, offset, n int64) (io.ReadCloser, int64, error) {
		return c.peers.Fetch(ctx, source, d, offset, n)
	}, f, func(int) {})
	c.fetches.Add(1)
	return n, err
}

// Verify implements replication.Courier.
func (c *clerk) Verify(ctx context.Context, path string, size int64) (cab.Info, error) {
	if err := c.wait(ctx); err != nil {
		return cab.Info{}, err
	}
	c.verifies.Add(1)
	f, err := os.Open(path)
	if err != nil {
		return cab.Info{}, err
	}
	defer f.Close()
	return cab.Verify(ctx, f, size)
}

func (c *clerk) wait(ctx context.Context) error {
	if err := c.fail.Load(); err != nil {
		return *err
	}
	if !c.hold.Load() {
		return nil
	}
	c.held <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// employ returns three nodes of which the last lacks a blob that it should hold, and
// has a courier.
func employ(t *testing.T) (c *cluster, ns []*testNode, d catalog.Digest, w replication.Wanted, k *clerk) {
	t.Helper()
	c = newCluster(t, 3)
	c.settings(func(s *catalog.Settings) { s.Replicas = 3 })
	k = &clerk{held: make(chan struct{}, 100)}
	for i := range 2 {
		ns = append(ns, c.add(i, options{}))
	}
	e := ns[0].push("a", raw(1, 300_000)) // several windows
	j := c.add(2, options{cfg: func(r *replication.Config) { k.peers, r.Courier = r.Peers, k }})
	return c, append(ns, j), e.Digest, wanted(e), k
}

// TestCourierRepairs: what nobody waits for goes through the courier, and comes out
// whole although a member gives damaged bytes.
func TestCourierRepairs(t *testing.T) {
	c, ns, d, _, k := employ(t)
	ns[0].cutAfter.Store(30_000)
	ns[2].run()
	c.await("three holders", c.holders(d, 3))
	c.honest(d)
	if k.fetches.Load() == 0 || k.verifies.Load() == 0 {
		t.Errorf("the courier fetched %d and verified %d times", k.fetches.Load(), k.verifies.Load())
	}
}

// TestCourierIsNotWaitedFor: a pull that somebody waits for does without the courier,
// also one that had begun with it.
func TestCourierIsNotWaitedFor(t *testing.T) {
	c, ns, d, w, k := employ(t)
	k.hold.Store(true)
	ns[2].run()
	<-k.held
	if e, err := ns[2].r.Pull(bg, w, []catalog.NodeID{ns[0].id}); err != nil || e.Packed != w.Packed {
		t.Errorf("Pull of what the courier is slow to bring = %+v, %v", e, err)
	}
	c.await("three holders", c.holders(d, 3))
	c.honest(d)
	if k.fetches.Load() != 0 {
		t.Errorf("%d fetches by a courier that holds on to everything", k.fetches.Load())
	}
}

// TestCourierFails: without a courier the node repairs itself; an error of the file
// leaves nothing behind, and the next attempt may succeed.
func TestCourierFails(t *testing.T) {
	c, ns, d, _, k := employ(t)
	full := error(&replication.FileError{Err: catalog.ErrFull})
	k.fail.Store(&full)
	ns[2].run()
	c.await("a failure", func() bool {
		st, err := ns[2].r.Status()
		return err == nil && len(st.Errors) > 0
	})
	if ns[2].store.Has(d) || len(ns[2].tmp()) > 0 {
		t.Errorf("after a full disk: has the blob: %v, tmp holds %q", ns[2].store.Has(d), ns[2].tmp())
	}
	none := errors.Join(errors.New("no such program"), replication.ErrNoCourier)
	k.fail.Store(&none)
	ns[2].r.Hurry()
	c.await("three holders", c.holders(d, 3))
	c.honest(d)
	if k.fetches.Load() != 0 {
		t.Errorf("%d fetches by a courier that fails", k.fetches.Load())
	}
}
