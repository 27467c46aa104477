package node

import (
	"errors"
	"log/slog"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// founding makes the raft directory of a node that goes on alone from a catalog: a
// snapshot at index, whose configuration has this node as the only voter, and no
// log. A log that is there is removed, after the snapshot is durable. Everybody who
// joins is sent that snapshot.
func founding(dir string, fsm *raftfsm.FSM, index, term uint64, id catalog.NodeID, addr string, log *slog.Logger) (err error) {
	store, snaps, err := openRaftStores(dir, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	alone := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(addr)}}}
	_, transport := raft.NewInmemTransport("") // only names the servers, in the old form
	snap, err := fsm.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Release()
	sink, err := snaps.Create(raft.SnapshotVersionMax, index, term, alone, index, transport)
	if err != nil {
		return err
	}
	if err := snap.Persist(sink); err != nil {
		return err
	}
	return endLog(store, term)
}

// endLog sets the term of a log that is about to begin again, and removes what is
// in it.
func endLog(store raftStore, term uint64) error {
	current, err := store.GetUint64([]byte("CurrentTerm"))
	if err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return err
	}
	if current < term {
		if err := store.SetUint64([]byte("CurrentTerm"), term); err != nil {
			return err
		}
	}
	first, err := store.FirstIndex()
	if err != nil || first == 0 {
		return err
	}
	last, err := store.LastIndex()
	if err != nil {
		return err
	}
	return store.DeleteRange(first, last)
}

type raftStore interface {
	raft.LogStore
	raft.StableStore
}
