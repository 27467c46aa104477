package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// This file heals what raft 1.7 does not heal itself.

const (
	transferStuck = 10 * electionTimeout
	snapshotLoop  = 3 // snapshots in a row that lead nowhere
)

// A transferWatch notices a leader that refuses every command because it believes
// to be handing over leadership. A hand-over ends within an election timeout; one
// that met a step-down never does, and the node refuses for good once it leads again
// (hashicorp/raft issue 696).
type transferWatch struct {
	mu    sync.Mutex
	since time.Time // when the first of the refusals in a row was
}

// note is told what came of every command that was appended here.
func (w *transferWatch) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !errors.Is(err, raft.ErrLeadershipTransferInProgress):
		w.since = time.Time{}
	case w.since.IsZero():
		w.since = time.Now()
	}
}

func (w *transferWatch) stuckFor() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		return 0
	}
	return time.Since(w.since)
}

// runTransferWatch ends a leader that is stuck in a hand-over. Its own ticks are
// commands enough to notice.
func (n *Node) runTransferWatch(ctx context.Context) error {
	for pause(ctx, tickEvery) {
		if !n.leads() {
			n.transfer.note(nil)
			continue
		}
		if stuck := n.transfer.stuckFor(); stuck > transferStuck {
			err := fmt.Errorf("a hand-over of leadership has not ended for %s, and this leader takes no commands: start the node again", stuck.Round(time.Second))
			n.failWith(catalog.AlarmStuck, err)
			return nil
		}
	}
	return nil
}

// restoredAgain is told of each snapshot that replaced the catalog. A follower whose
// log ends in entries that were never committed keeps them beside the snapshot, and
// refuses what follows it for good (hashicorp/raft issue 697): the next start drops
// them, see dropConflicting.
func (n *Node) restoredAgain(restores int, index uint64) {
	if restores < snapshotLoop {
		return
	}
	err := fmt.Errorf("%d snapshots in a row were installed and nothing after log index %d was applied: start the node again; if that does not help, empty its data directory and start it with --join", restores, index)
	n.failWith(catalog.AlarmSnapshotLoop, err)
}

// dropConflicting removes the whole log if it holds another entry at the index of
// the newest snapshot than that was made from. As the Raft paper has it for the
// installation of a snapshot: entries after one that conflicts were never committed,
// those before are in the snapshot. A log that agrees is kept, since others may count
// on its entries. It reports whether it removed anything.
func dropConflicting(snaps raft.SnapshotStore, log raft.LogStore) (bool, error) {
	list, err := snaps.List()
	if err != nil || len(list) == 0 {
		return false, err
	}
	var e raft.Log
	switch err := log.GetLog(list[0].Index, &e); {
	case errors.Is(err, raft.ErrLogNotFound):
		return false, nil
	case err != nil:
		return false, err
	case e.Term == list[0].Term:
		return false, nil
	}
	first, err := log.FirstIndex()
	if err != nil {
		return false, err
	}
	last, err := log.LastIndex()
	if err != nil {
		return false, err
	}
	return true, log.DeleteRange(first, last)
}

// sameSnapshot reports whether the catalog is exactly the state of a snapshot, by
// the snapshot's header: an idle node need not restore what it has.
func sameSnapshot(dir, id string, catalog raftfsm.Info) bool {
	f, err := os.Open(filepath.Join(dir, "snapshots", id, "state.bin")) // Open of the store would read all of it
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := raftfsm.ReadSnapshotInfo(f)
	return err == nil && info.Same(catalog)
}
