package node

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"

	"symkeep/raftfsm"
)

// TestGuardedSnapshot: a catalog that entries were kept from makes no snapshot,
// which raft would take for one with those entries.
func TestGuardedSnapshot(t *testing.T) {
	fsm, err := raftfsm.Open(filepath.Join(t.TempDir(), "fsm.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fsm.Close() })
	g := &diskGuard{relieve: func(string) bool { return false }, fail: func(error) {}, fence: func() {}}
	f := guardedFSM{fsm, g}
	snap, err := f.Snapshot()
	if err != nil {
		t.Fatalf("Snapshot = %v, want one", err)
	}
	snap.Release()
	g.breakOff(syscall.EIO)
	res := f.Apply(&raft.Log{Index: 3, Type: raft.LogCommand}).(raftfsm.Result)
	if res.Code != codeUnavailable || fsm.AppliedIndex() != 0 {
		t.Errorf("Apply on a broken disk = %+v at index %d, want %s and nothing applied", res, fsm.AppliedIndex(), codeUnavailable)
	}
	if snap, err := f.Snapshot(); err == nil {
		snap.Release()
		t.Error("Snapshot succeeded although entry 3 was not applied")
	}
}
