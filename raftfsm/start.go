package raftfsm

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/raft"
	bolt "go.etcd.io/bbolt"

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

// An Info is what a catalog file says of itself.
type Info struct {
	Schema       int
	ClusterID    catalog.ClusterID
	AppliedIndex uint64
	AppliedTerm  uint64
	Feature      int
	Hash         catalog.Digest
}

// Info returns what this catalog says of itself.
func (f *FSM) Info() Info { return f.head.Load().info() }

func (h *head) info() Info {
	return Info{Schema: h.Schema, ClusterID: h.ClusterID, AppliedIndex: h.AppliedIndex, AppliedTerm: h.AppliedTerm,
		Feature: h.Feature, Hash: h.Hash}
}

// Inspect reads a catalog file that no process has open, without changing it. The
// error is os.ErrNotExist if there is none.
func Inspect(path string) (Info, error) {
	if _, err := os.Stat(path); err != nil {
		return Info{}, err
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return Info{}, fmt.Errorf("catalog %s: %w", path, err)
	}
	var info Info
	err = db.View(func(tx *bolt.Tx) error {
		h, err := loadHead(tx)
		if err != nil {
			return fmt.Errorf("catalog %s: %w", path, err)
		}
		info = h.info()
		return nil
	})
	return info, errors.Join(err, db.Close())
}

// Configuration returns the newest raft configuration applied here and its log
// index; an empty one and 0 if there is none.
func (f *FSM) Configuration() (raft.Configuration, uint64, error) {
	var row configurationRow
	err := f.view(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketMeta).Get(keyConfiguration)
		if v == nil {
			return nil
		}
		return json.Unmarshal(v, &row)
	})
	return row.Configuration, row.Index, err
}

// LastCommand returns the index of the newest entry in (after, to] of a raft log
// that reaches an FSM, or after if there is none. A node whose applied index is
// after has applied all of the log up to the commit index to exactly when
// LastCommand returns after: raft's own no-ops and barriers do not count.
func LastCommand(log raft.LogStore, after, to uint64) (uint64, error) {
	for i := to; i > after; i-- {
		var l raft.Log
		if err := log.GetLog(i, &l); err != nil {
			return 0, fmt.Errorf("raft log index %d: %w", i, err)
		}
		if l.Type == raft.LogCommand || l.Type == raft.LogConfiguration {
			return i, nil
		}
	}
	return after, nil
}
