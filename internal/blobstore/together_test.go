package blobstore_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"symkeep/internal/blobstore"
)

// TestUpdatesTogether queues changes of the index while somebody has the turn to write:
// one transaction makes all of them, and nobody waits for a turn after that.
func TestUpdatesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, blobstore.Config{Dir: t.TempDir()})
		var entries []blobstore.Entry
		for i := range 5 {
			entries = append(entries, mustPut(t, s, "x", raw(i, 100)))
		}
		commit, release := s.HoldIndex()
		before := lastTx(t, s)
		done := make(chan error, len(entries))
		for _, e := range entries {
			go func() { done <- s.SetVerified(e.Digest, e.Packed) }()
		}
		synctest.Wait()
		if len(done) != 0 {
			t.Fatalf("%d changes returned before they were durable", len(done))
		}
		commit()
		synctest.Wait()
		if len(done) != len(entries) {
			t.Errorf("%d of %d changes returned after their transaction; the others wait for a turn", len(done), len(entries))
		}
		if got := lastTx(t, s) - before; got != 1 {
			t.Errorf("%d transactions, want 1", got)
		}
		release()
		for range entries {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// lastTx returns the number of the last transaction.
func lastTx(t *testing.T, s *blobstore.Store) int {
	tx, err := s.DB().Begin(false)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	return tx.ID()
}

// syncingFS remembers which directories were synced.
type syncingFS struct {
	blobstore.OS
	mu     sync.Mutex
	synced []string
	err    error // of the next syncs of fails
	fails  string
}

func (f *syncingFS) SyncDir(path string) error {
	f.mu.Lock()
	f.synced = append(f.synced, path)
	err := f.err
	f.mu.Unlock()
	if err != nil && path == f.fails {
		return err
	}
	return f.OS.SyncDir(path)
}

// take returns what was synced since the last call, sorted.
func (f *syncingFS) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.synced
	f.synced = nil
	slices.Sort(all)
	return all
}

// TestShardSyncs holds a commit to syncing the directory of the blob, and those above it
// until that was done once.
func TestShardSyncs(t *testing.T) {
	fs := &syncingFS{}
	dir := t.TempDir()
	s := open(t, blobstore.Config{Dir: dir, FS: fs})
	b := raw(1, 100)
	probe := open(t, blobstore.Config{Dir: t.TempDir()})
	d := mustPut(t, probe, "x", b).Digest
	low := filepath.Dir(s.Path(d))
	high, blobs := filepath.Dir(low), filepath.Join(dir, "blobs")

	fs.err, fs.fails = fmt.Errorf("%s is broken", blobs), blobs
	fs.take()
	if _, err := put(s, "x", b); err == nil || s.Has(d) {
		t.Fatalf("put with %v = %v", fs.err, err)
	}
	fs.err = nil
	for _, want := range [][]string{{blobs, high, low}, {low}} {
		fs.take()
		mustPut(t, s, "x", b)
		if got := fs.take(); !slices.Equal(got, want) {
			t.Errorf("a commit syncs %q, want %q", got, want)
		}
		if err := s.Remove(d); err != nil {
			t.Fatal(err)
		}
	}
}
