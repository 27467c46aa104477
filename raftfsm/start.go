package raftfsm

import (
	"fmt"

	"symkeep/internal/catalog"
)

// A Start says how raft begins on what a node's disk holds.
type Start string

// Ways to start.
const (
	// StartReplay sets raft's NoSnapshotRestoreOnStart: the catalog is at or past
	// the newest snapshot, and raft replays the log over it.
	StartReplay Start = "replay"
	// StartRestore leaves it unset: a snapshot was received but never restored, or
	// the catalog was replaced by an older one.
	StartRestore Start = "restore"
)

// StartDecision compares the applied index of the catalog, the index of the newest
// raft snapshot and the last index of the raft log, each 0 if there is none. A
// catalog that is ahead of both has lost its log: the error wraps
// catalog.ErrConflict and the node must not start.
//
// Raft counts no-ops and barriers in a snapshot's index and an FSM never sees
// them, so an idle node may restore its own snapshot: slow, never wrong. Passing
// f as s is right when SnapshotInfo.Same says that the snapshot is the catalog.
func StartDecision(f, s, l uint64) (Start, error) {
	switch {
	case f > max(s, l):
		return "", fmt.Errorf("catalog is at log index %d, raft's log ends at %d and its newest snapshot at %d: "+
			"the raft directory was lost or replaced; move the data directory away and join as a new node: %w",
			f, l, s, catalog.ErrConflict)
	case f < s:
		return StartRestore, nil
	}
	return StartReplay, nil
}
