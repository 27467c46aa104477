package node

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// TestSkipRestore: a node restores its newest snapshot at the start, unless it has
// just that state: raft's index of a snapshot counts entries that no catalog sees.
func TestSkipRestore(t *testing.T) {
	dir := t.TempDir()
	fsm, err := raftfsm.Open(filepath.Join(dir, "fsm.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer fsm.Close()
	apply := func(index uint64, cmd raftfsm.Command) {
		t.Helper()
		b, err := raftfsm.Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if r := fsm.Apply(&raft.Log{Index: index, Term: 2, Type: raft.LogCommand, Data: b}).(raftfsm.Result); r.Code != "" {
			t.Fatal(r.Error)
		}
	}
	apply(3, raftfsm.CreateCluster{ClusterID: "7f2b1c1e-54a8-4b7c-9d0e-3a5f7c9b1d2e", Settings: catalog.DefaultSettings()})
	store, snaps, err := openRaftStores(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	sink, err := snaps.Create(1, 5, 2, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(fsm.WriteSnapshot(sink), sink.Close()); err != nil {
		t.Fatal(err)
	}
	log := raft.NewInmemStore()
	log.StoreLog(&raft.Log{Index: 5, Term: 2})
	if skip, err := skipRestore(dir, fsm.Info(), snaps, log); !skip || err != nil {
		t.Errorf("skipRestore with the snapshot's own state = %t, %v, want true", skip, err)
	}
	apply(4, raftfsm.Tick{Millis: 7})
	if skip, err := skipRestore(dir, fsm.Info(), snaps, log); skip || err != nil {
		t.Errorf("skipRestore with another state before the snapshot = %t, %v, want false", skip, err)
	}
	apply(5, raftfsm.Tick{Millis: 7})
	if skip, err := skipRestore(dir, fsm.Info(), snaps, log); !skip || err != nil {
		t.Errorf("skipRestore with a state at the snapshot's index = %t, %v, want true", skip, err)
	}
}

// brokenStore fails its writes while err is set.
type brokenStore struct {
	*raft.InmemStore
	err error
}

func (s *brokenStore) StoreLogs(es []*raft.Log) error {
	if s.err != nil {
		return s.err
	}
	return s.InmemStore.StoreLogs(es)
}

func (s *brokenStore) SetUint64(key []byte, v uint64) error {
	if s.err != nil {
		return s.err
	}
	return s.InmemStore.SetUint64(key, v)
}

// TestDiskGuard: a full disk is relieved once; what then fails cuts the node off
// before raft hears of it, and nothing is written afterwards.
func TestDiskGuard(t *testing.T) {
	full := fmt.Errorf("write raft.db: %w", syscall.ENOSPC)
	for _, tt := range []struct {
		name    string
		err     error
		relieve bool
		ends    string
	}{
		{"no error", nil, false, ""},
		{"full, and there is ballast", full, true, ""},
		{"full", full, false, "the disk is full: free or add disk space"},
		{"broken", syscall.EIO, true, "the disk fails"},
	} {
		store := &brokenStore{InmemStore: raft.NewInmemStore(), err: tt.err}
		var said []string
		g := &diskGuard{
			relieve: func(string) bool {
				if tt.relieve {
					store.err = nil
				}
				return tt.relieve
			},
			fail: func(err error) { said = append(said, err.Error()) },
		}
		g.fence = func() {
			said = append(said, "fenced")
			if g.mu.TryLock() { // else nobody sees anything yet
				defer g.mu.Unlock()
				if g.broken != nil {
					t.Errorf("%s: a write of another goroutine is answered before the node is cut off", tt.name)
				}
			}
		}
		logs, votes := guardedLog{store, g}, guardedVotes{store, g}
		if err := votes.SetUint64([]byte("CurrentTerm"), 7); err != nil {
			t.Errorf("%s: SetUint64 = %v, want nil: raft panics otherwise", tt.name, err)
		}
		err := logs.StoreLog(&raft.Log{Index: 1})
		if (err == nil) != (tt.ends == "") {
			t.Errorf("%s: StoreLog = %v", tt.name, err)
		}
		if tt.ends == "" {
			if term, _ := store.GetUint64([]byte("CurrentTerm")); term != 7 || len(said) > 0 {
				t.Errorf("%s: term %d, said %q, want 7 and nothing", tt.name, term, said)
			}
			continue
		}
		if len(said) != 2 || said[0] != "fenced" || !strings.Contains(said[1], tt.ends) {
			t.Errorf("%s: said %q, want it cut off and then ended with %q", tt.name, said, tt.ends)
		}
		store.err = nil // there is space again, too late
		if err := logs.StoreLog(&raft.Log{Index: 2}); err == nil {
			t.Errorf("%s: StoreLog of a node that is cut off succeeded", tt.name)
		}
		if last, _ := store.LastIndex(); last != 0 {
			t.Errorf("%s: the log of a node that is cut off ends at %d", tt.name, last)
		}
	}
}

// TestNoteLevel: an alarm begins at the mark where others notice, tells each higher
// one, and ends only well below.
func TestNoteLevel(t *testing.T) {
	var out bytes.Buffer
	n := &Node{log: slog.New(slog.NewTextHandler(&out, nil)), id: &identity{Node: "n"}}
	level := blobstore.LevelOK
	for _, tt := range []struct {
		used  int64 // of 1000
		want  blobstore.Level
		alarm string
	}{
		{700, blobstore.LevelOK, ""},
		{810, blobstore.LevelWarn, ""},
		{890, blobstore.LevelNoRebalance, "disk of /d is at level no-rebalance (89 % of 1000 bytes)"},
		{990, blobstore.LevelReadOnly, "level read-only"},
		{965, blobstore.LevelReadOnly, "level read-only"},
		{930, blobstore.LevelNoIngest, "level no-ingest"},
		{915, blobstore.LevelNoIngest, "level no-ingest"},
		{500, blobstore.LevelOK, ""},
	} {
		level = n.noteLevel("/d", blobstore.Space{Used: tt.used, Avail: 1000 - tt.used, Marks: blobstore.DefaultMarks()}, level)
		text := ""
		for _, a := range n.localAlarms() {
			text += a.Text
		}
		if level != tt.want || (text == "") != (tt.alarm == "") || !strings.Contains(text, tt.alarm) {
			t.Errorf("with %d of 1000 bytes used: level %s, alarm %q, want %s, %q", tt.used, level, text, tt.want, tt.alarm)
		}
	}
}

// TestTransferWatch: only refusals in a row count.
func TestTransferWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w transferWatch
		w.note(raft.ErrLeadershipTransferInProgress)
		time.Sleep(time.Second)
		w.note(raft.ErrLeadershipTransferInProgress)
		if got := w.stuckFor(); got != time.Second {
			t.Errorf("stuckFor a second after the first of two refusals = %s, want 1s", got)
		}
		time.Sleep(time.Hour) // stopped with its machine
		if got := w.stuckFor(); got != time.Second {
			t.Errorf("stuckFor after a standstill = %s, want 1s", got)
		}
		w.note(raft.ErrLeadershipTransferInProgress)
		if got := w.stuckFor(); got > 3*tickEvery {
			t.Errorf("stuckFor once a standstill is over = %s, want no more than %s", got, 3*tickEvery)
		}
		w.note(nil)
		if got := w.stuckFor(); got != 0 {
			t.Errorf("stuckFor after a success = %s, want 0", got)
		}
	})
}
