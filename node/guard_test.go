package node

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
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
	var doubt error
	g := &diskGuard{relieve: func(string) bool { return false }, fail: func(error) {}, fence: func() {}, doubt: func() error { return doubt }}
	f := guardedFSM{fsm, g}
	snap, err := f.Snapshot()
	if err != nil {
		t.Fatalf("Snapshot = %v, want one", err)
	}
	snap.Release()
	doubt = catalog.ErrUnavailable
	if _, err := f.Snapshot(); !errors.Is(err, doubt) {
		t.Errorf("Snapshot of a catalog in doubt = %v, want it refused", err)
	}
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

// TestGuardedDamage: a catalog whose pages lead nowhere ends the node, not in a panic, and
// the operator hears what to do.
func TestGuardedDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fsm.db")
	fsm, err := raftfsm.Open(path)
	if err == nil {
		err = fsm.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	growMeta(t, path)
	if fsm, err = raftfsm.Open(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fsm.Close() })
	flipPageIDs(t, path)
	var failed error
	f := guardedFSM{fsm, &diskGuard{relieve: func(string) bool { return false }, fail: func(err error) { failed = err }, fence: func() {}}}
	res := f.Apply(&raft.Log{Index: 3, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(raft.Configuration{})}).(raftfsm.Result)
	if res.Code != codeUnavailable || !errors.Is(failed, raftfsm.ErrDamaged) || !strings.Contains(failed.Error(), "join as a new node") {
		t.Errorf("Apply over damaged pages = %+v, the node ends with %v; want %s, and what to do about a damaged catalog", res, failed, codeUnavailable)
	}
}

// growMeta gives the bucket that every command writes to branch pages.
func growMeta(t *testing.T, path string) {
	t.Helper()
	changeBucket(t, path, "meta", func(b *bolt.Bucket) (err error) {
		for i := uint32(0); i < 10_000 && err == nil; i++ {
			err = b.Put(binary.BigEndian.AppendUint32(nil, i), make([]byte, 100))
		}
		return err
	})
}

// flipPageIDs sets a high bit in each page number of each branch page, under whoever has
// the file open: 16 bytes of header with the kind behind the number, then elements of 16
// bytes with the number at their end.
func flipPageIDs(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := 0
	for at := 0; at < len(b); at += os.Getpagesize() {
		const branch = 1
		if binary.LittleEndian.Uint16(b[at+8:]) != branch {
			continue
		}
		for i := range int(binary.LittleEndian.Uint16(b[at+10:])) {
			id := at + 16 + 16*i + 8 + 5 // bit 40
			if _, err := f.WriteAt([]byte{b[id] ^ 1}, int64(id)); err != nil {
				t.Fatal(err)
			}
			flipped++
		}
	}
	if flipped == 0 {
		t.Fatal("no branch page")
	}
}
