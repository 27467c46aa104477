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
	last  time.Time     // of the refusals in a row
	stuck time.Duration // since the first of them: not while the process stood still
}

// note is told what came of every command that raft was given here. Those that this node
// refuses while it waits for the end of a hand-over are none of them: that has an end.
func (w *transferWatch) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		w.last, w.stuck = time.Time{}, 0
		return
	}
	now := time.Now()
	if !w.last.IsZero() {
		w.stuck += min(now.Sub(w.last), 2*tickEvery)
	}
	w.last = now
}

func (w *transferWatch) stuckFor() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stuck
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
// them, see dropConflicting. One that is only slower than the log grows is sent
// snapshot after snapshot, too: it goes on, for a new start would make it no faster.
func (n *Node) restoredAgain(restores int, index uint64) {
	if restores < snapshotLoop {
		return
	}
	c := n.consensus()
	if c == nil {
		return
	}
	if bad, lerr := conflicting(c.snaps, c.log); lerr == nil && !bad {
		n.log.Warn("this node falls behind the log again and again: look at its disk and network", "node", n.name, "times", restores, "index", index)
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
	if bad, err := conflicting(snaps, log); err != nil || !bad {
		return false, err
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

// conflicting reports whether the log holds another entry at the index of the newest
// snapshot than that was made from.
func conflicting(snaps raft.SnapshotStore, log raft.LogStore) (bool, error) {
	list, err := snaps.List()
	if err != nil || len(list) == 0 {
		return false, err
	}
	var e raft.Log
	err = readEntry(log, list[0].Index, &e)
	if errors.Is(err, raft.ErrLogNotFound) || errors.Is(err, errLogDamaged) {
		return false, nil // raft reads a damaged one, too
	}
	return err == nil && e.Term != list[0].Term, err
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
