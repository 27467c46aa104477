package replication_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
	"symkeep/replication"
)

// brokenPeers answer nothing and note when they were asked.
type brokenPeers struct {
	mu    sync.Mutex
	asked []time.Time
}

func (p *brokenPeers) Have(context.Context, catalog.NodeID, []catalog.Digest) ([]*catalog.Packed, error) {
	return nil, catalog.ErrUnavailable
}

func (p *brokenPeers) Fetch(context.Context, catalog.NodeID, catalog.Digest, int64, int64) (io.ReadCloser, int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, time.Now())
	return nil, 0, fmt.Errorf("no route: %w", catalog.ErrUnavailable)
}

func (p *brokenPeers) AskFetch(context.Context, catalog.NodeID, replication.Order) error {
	return catalog.ErrUnavailable
}

func (p *brokenPeers) take() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.asked
	p.asked = nil
	return out
}

// fixedCatalog is one blob that two members should hold.
type fixedCatalog struct{ row catalog.Blob }

func (f fixedCatalog) Members() []catalog.Member      { return members(2, 1) }
func (f fixedCatalog) Settings() catalog.Settings     { return catalog.Settings{Replicas: 2} }
func (f fixedCatalog) Layout() catalog.Layout         { return catalog.LayoutOf(members(2, 1), 2) }
func (fixedCatalog) KeptLayouts() []catalog.Layout    { return nil }
func (fixedCatalog) Frozen() bool                     { return false }
func (fixedCatalog) ClusterTime() catalog.ClusterTime { return 0 }
func (f fixedCatalog) Barrier(context.Context) error  { return nil }
func (f fixedCatalog) Blob(d catalog.Digest) (catalog.Blob, error) {
	if d != f.row.Digest {
		return catalog.Blob{}, catalog.ErrNotFound
	}
	return f.row, nil
}

func (f fixedCatalog) Blobs(after catalog.Digest, _ int) ([]catalog.Blob, error) {
	if after == f.row.Digest {
		return nil, nil
	}
	return []catalog.Blob{f.row}, nil
}

func (fixedCatalog) PutReceipts(context.Context, []catalog.Receipt) error { return nil }
func (fixedCatalog) DropHolders(context.Context, catalog.NodeID, []catalog.Digest) error {
	return errors.New("nothing to drop")
}

// TestBackoff counts the tries of an hour, before and after a restart.
func TestBackoff(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		peers := &brokenPeers{}
		row := catalog.Blob{
			Digest: catalog.Digest{5}, RawSize: 10, Refs: 1, Gen: 1,
			Packed:  catalog.Packed{SHA256: catalog.Digest{6}, Size: 100, Container: catalog.ContainerCab},
			Holders: []catalog.NodeID{member(0, "").ID},
		}
		run := func(d time.Duration) []time.Time {
			store, err := blobstore.Open(blobstore.Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			cat := fixedCatalog{row}
			r, err := replication.New(replication.Config{Self: member(1, "").ID, Store: store, Catalog: cat, Proposer: cat, Peers: peers})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			if err := r.Run(ctx); err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
			st, err := r.Status()
			if err != nil || st.Queue != 1 || st.Missing != 1 || st.MissBytes != 100 || st.Synced {
				t.Errorf("Status = %+v, %v, want one missing blob of 100 bytes", st, err)
			}
			return peers.take()
		}
		asked := run(30 * time.Second)
		var gaps []time.Duration
		for i := 1; i < len(asked); i++ {
			gaps = append(gaps, asked[i].Sub(asked[i-1]))
		}
		for i, gap := range gaps {
			want := time.Second << i
			if gap < want*7/10 || gap > want*13/10 {
				t.Errorf("gaps between tries = %v, want 1 s doubled, a quarter more or less", gaps)
				break
			}
		}
		if len(asked) < 4 || len(asked) > 6 {
			t.Errorf("%d tries in half a minute, want about 5", len(asked))
		}
		// The attempts survive the restart, which does not make the blob due either.
		if again := run(20 * time.Second); len(again) > 2 {
			t.Errorf("%d tries in 20 s after a restart, want the backoff to go on", len(again))
		}
	})
}
