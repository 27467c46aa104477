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

// TestDiskPanic: what damaged pages make of bbolt is an error that says so, a defect of
// ours stays a panic.
func TestDiskPanic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db, err := bolt.Open(path, 0o600, nil)
	if err == nil {
		err = db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucket([]byte("b"))
			for i := uint32(0); i < 10_000 && err == nil; i++ {
				err = b.Put(binary.BigEndian.AppendUint32(nil, i), make([]byte, 100))
			}
			return err
		})
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	flipPageIDs(t, path)
	if db, err = bolt.Open(path, 0o600, nil); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	put := func() {
		_ = db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("b")).Put([]byte{0, 0, 1, 1}, []byte("x"))
		})
	}
	if err := diskPanic(put); !errors.Is(err, raftfsm.ErrDamaged) {
		t.Errorf("put through damaged pages = %v, want ErrDamaged", err)
	}
	if err := diskPanic(func() { panic(syscall.EIO) }); err != syscall.EIO {
		t.Errorf("a panic about the disk = %v, want it", err)
	}
	defer func() {
		if r := recover(); r == nil {
			t.Error("a defect in the callback of a transaction is no panic any more")
		}
	}()
	_ = diskPanic(func() {
		_ = db.Update(func(*bolt.Tx) error { var none map[string]int; none["x"]++; return nil })
	})
}

// flipPageIDs sets a high bit in each page number of each branch page: 16 bytes of header
// with the kind behind the number, then elements of 16 bytes with the number at their end.
func flipPageIDs(t *testing.T, path string) {
	t.Helper()
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
			b[at+16+16*i+8+5] ^= 1 // bit 40
			flipped++
		}
	}
	if flipped == 0 {
		t.Fatal("no branch page")
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedMessage: the operator hears what to do.
func TestDamagedMessage(t *testing.T) {
	var got error
	g := &diskGuard{fail: func(err error) { got = err }, fence: func() {}}
	g.breakOff(raftfsm.ErrDamaged)
	if got == nil || !strings.Contains(got.Error(), "join as a new node") {
		t.Errorf("a damaged catalog ends the node with %v, want what to do", got)
	}
}
