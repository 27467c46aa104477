package raftfsm_test

import (
	"errors"
	"sync"
	"testing"

	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

// TestMissWithoutGarbage: a miss allocates nothing, so that no number of them makes
// the collector work.
func TestMissWithoutGarbage(t *testing.T) {
	w := newCluster(t)
	w.fsm.ApplyBatch(bulk(w, 1, 2000))
	keys := []symid.Key{wideKey(2, 1), wideKey(2, 2), wideKey(2, 3)}
	allocs := testing.AllocsPerRun(1000, func() {
		if _, found, err := w.fsm.Find(keys); found || err != nil {
			t.Errorf("Find = %t, %v, want a miss", found, err)
		}
	})
	if allocs >= missAllocs {
		t.Errorf("a miss of three keys allocates %v times, want less than %d", allocs, missAllocs)
	}
}

// TestFindSeesCommits: a lookup that begins after a commit sees it, whatever lookups
// are under way, and none of them keeps the file from growing or from being closed.
func TestFindSeesCommits(t *testing.T) {
	w := newCluster(t)
	stop := make(chan struct{})
	var reading sync.WaitGroup
	for range 3 {
		reading.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, _, err := w.fsm.Find([]symid.Key{wideKey(1+i%9, i%50)}); err != nil {
					t.Errorf("Find = %v", err)
					return
				}
			}
		})
	}
	for p := 1; p < 9; p++ {
		w.fsm.ApplyBatch(bulk(w, p, 50))
		for i := range 50 {
			if c, found, err := w.fsm.Find([]symid.Key{wideKey(p, i)}); err != nil || !found || c.Digest != wide(p, i) {
				t.Fatalf("Find of file %d after the commit of package %d = %+v, %t, %v", i, p, c, found, err)
			}
		}
	}
	close(stop)
	reading.Wait()
	if err := w.fsm.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.fsm.Find([]symid.Key{wideKey(1, 1)}); !errors.Is(err, raftfsm.ErrClosed) {
		t.Errorf("Find after Close = %v, want ErrClosed", err)
	}
}
