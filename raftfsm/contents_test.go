package raftfsm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// checked is a cluster with some packages whose contents can be checked.
func checked(t testing.TB) *world {
	w := newCluster(t)
	w.ok(raftfsm.RaiseFeature{Level: 2})
	for n := range 3 {
		w.good(1+n, 10+n, 5, key("app.pdb", uint32(1+n)))
	}
	return w
}

// checkContents commits a check and returns the digest that came of it.
func (w *world) checkContents() raftfsm.Contents {
	w.t.Helper()
	w.pass(raftfsm.CheckPause)
	index := w.ok(raftfsm.CheckContents{})
	raftfsm.AwaitContents(w.fsm)
	got := w.fsm.Contents()
	if len(got) == 0 || got[0].Index != index {
		w.t.Fatalf("Contents after a check at log index %d = %v; Damage = %v", index, got, w.fsm.Damage())
	}
	return got[0]
}

// alter changes the file of a catalog behind its back.
func (w *world) alter(fn func(tx *bolt.Tx) error) {
	w.t.Helper()
	w.close()
	db, err := bolt.Open(w.path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

// TestContentsAgree: however the entries came in, the digest is the same, and it is
// that of the state right after the check.
func TestContentsAgree(t *testing.T) {
	t.Parallel()
	w := checked(t)
	want := w.checkContents()
	w.pass(1)
	w.commit(9, 90)
	batched := newWorld(t)
	batched.fsm.ApplyBatch(w.log)
	raftfsm.AwaitContents(batched.fsm)
	if got := batched.fsm.Contents(); !slices.Equal(got, []raftfsm.Contents{want}) {
		t.Errorf("Contents after one batch = %v, want %v", got, want)
	}
	restored := newWorld(t)
	restored.fsm.ApplyBatch(w.log[:3])
	if err := restored.fsm.Restore(snapshotOf(t, w.fsm)); err != nil {
		t.Fatal(err)
	}
	second := w.checkContents()
	if second.Digest == want.Digest {
		t.Error("the digest is the same after a package came in")
	}
	restored.fsm.ApplyBatch(w.log)
	raftfsm.AwaitContents(restored.fsm)
	if got := restored.fsm.Contents(); !slices.Equal(got, []raftfsm.Contents{second}) {
		t.Errorf("Contents after a restore = %v, want %v", got, second)
	}
	w.close()
	w.open()
	if got := w.fsm.Contents(); len(got) != 0 {
		t.Errorf("Contents of a process that checked nothing = %v", got)
	}
	if got := w.fsm.ContentsChecked(); got == 0 || got != restored.fsm.ContentsChecked() {
		t.Errorf("ContentsChecked = %d, want %d", got, restored.fsm.ContentsChecked())
	}
}

// TestCheckContentsPauses: checks that follow each other too soon are refused.
func TestCheckContentsPauses(t *testing.T) {
	w := checked(t)
	first := w.checkContents()
	w.pass(raftfsm.CheckPause - 1)
	w.refuse(raftfsm.CheckContents{}, catalog.ErrConflict)
	raftfsm.AwaitContents(w.fsm)
	if got := w.fsm.Contents(); len(got) != 1 || got[0] != first {
		t.Errorf("Contents after a refused check = %v, want %v alone", got, first)
	}
	w.pass(1)
	w.ok(raftfsm.CheckContents{})
	raftfsm.AwaitContents(w.fsm)
	for range 10 {
		w.checkContents()
	}
	if got := w.fsm.Contents(); len(got) != 8 || got[0].Index <= got[7].Index {
		t.Errorf("Contents after 12 checks = %v, want the newest 8", got)
	}
}

// TestContentsForgotten: what was learned of a file ends with it.
func TestContentsForgotten(t *testing.T) {
	w := checked(t)
	w.checkContents()
	if err := w.fsm.Restore(snapshotOf(t, w.fsm)); err != nil {
		t.Fatal(err)
	}
	if got := w.fsm.Contents(); len(got) != 0 {
		t.Errorf("Contents after a restore = %v, want none", got)
	}
	w.pass(raftfsm.CheckPause)
	w.ok(raftfsm.CheckContents{}) // and Close waits for it
}

// flipIn flips a bit of the first value of a bucket that is not empty.
func flipIn(bucket string) func(tx *bolt.Tx) error {
	return func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		c := b.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if len(v) > 0 {
				k, v = bytes.Clone(k), bytes.Clone(v)
				v[len(v)-1] ^= 4
				return b.Put(k, v)
			}
		}
		return errors.New("bucket " + bucket + " has no value")
	}
}

// TestContentsRotten: a bit of a value, a lost row and a row too many each make
// another digest.
func TestContentsRotten(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		rot  func(tx *bolt.Tx) error
	}{
		{"candidate", flipIn("candidates")},
		{"visible", flipIn("visible")},
		{"file", flipIn("files")},
		{"lost row", func(tx *bolt.Tx) error { return tx.Bucket([]byte("visible")).Delete([]byte(pkg(2))) }},
		{"row too many", func(tx *bolt.Tx) error { return tx.Bucket([]byte("suspects")).Put([]byte("x"), nil) }},
	} {
		whole, rotten := checked(t), checked(t)
		rotten.alter(tt.rot)
		if a, b := whole.checkContents(), rotten.checkContents(); a.Index != b.Index || a.Digest == b.Digest {
			t.Errorf("%s: contents at %d and %d hash to %s and %s, want different ones of one index", tt.name, a.Index, b.Index, a.Digest, b.Digest)
		}
	}
}

// TestContentsDamaged: pages on which a lookup goes astray are evidence enough.
func TestContentsDamaged(t *testing.T) {
	t.Parallel()
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	for _, tt := range []struct {
		name string
		rot  func(page []byte) bool
	}{
		{"a key of a branch", func(p []byte) bool {
			if u16(p[8:]) != 1 || u16(p[10:]) < 3 {
				return false
			}
			key := p[32+u32(p[32:]):] // of the second element: where it is from the element on
			key[0], key[1] = 0xff, 0xff
			return true
		}},
		{"keys of a leaf", func(p []byte) bool {
			if u16(p[8:]) != 2 || u16(p[10:]) < 3 || u32(p[32+8:]) != 30 { // a file row
				return false
			}
			a, b := p[32+u32(p[32+4:]):][:30], p[48+u32(p[48+4:]):][:30]
			a[29], b[29] = b[29], a[29]
			return true
		}},
		{"a place far away", func(p []byte) bool {
			if u16(p[8:]) != 2 || u16(p[10:]) < 3 || u32(p[32+8:]) != 30 {
				return false
			}
			p[32+7] = 0x7f
			return true
		}},
	} {
		w := newCluster(t)
		w.ok(raftfsm.RaiseFeature{Level: 2})
		w.fsm.ApplyBatch(bulk(w, 1, 2000))
		w.pass(raftfsm.CheckPause)
		w.close()
		b, err := os.ReadFile(w.path)
		if err != nil {
			t.Fatal(err)
		}
		rotten, size := 0, os.Getpagesize()
		for at := 2 * size; at < len(b); at += size {
			if tt.rot(b[at : at+size]) {
				rotten++
			}
		}
		if err := os.WriteFile(w.path, b, 0o600); err != nil || rotten == 0 {
			t.Fatalf("%s: %d pages damaged, %v", tt.name, rotten, err)
		}
		w.open()
		w.ok(raftfsm.CheckContents{})
		raftfsm.AwaitContents(w.fsm)
		if err := w.fsm.Damage(); !errors.Is(err, raftfsm.ErrDamaged) || len(w.fsm.Contents()) != 0 {
			t.Errorf("%s: Damage = %v, Contents = %v, want the damage found", tt.name, err, w.fsm.Contents())
		}
	}
}

// TestRowUnreadable: a row that cannot be read is no miss.
func TestRowUnreadable(t *testing.T) {
	w := checked(t)
	w.alter(func(tx *bolt.Tx) error { return tx.Bucket([]byte("visible")).Put([]byte(pkg(1)), []byte{1}) })
	if got := w.lookup(key("app.pdb", 2)); len(got) != 1 {
		t.Errorf("Lookup beside the row = %v, want one", got)
	}
	found, err := w.fsm.Lookup(key("app.pdb", 1).Index())
	if !errors.Is(err, catalog.ErrUnavailable) || !errors.Is(err, raftfsm.ErrDamaged) || errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("Lookup of a row cut short = %v, %v, want it unavailable", found, err)
	}
	if got := w.fsm.Doubts(); got != 1 {
		t.Errorf("Doubts = %d, want 1", got)
	}
}

// TestBackupUnreadable: a catalog with a row that cannot be read gives no backup, and
// goes on.
func TestBackupUnreadable(t *testing.T) {
	w := checked(t)
	w.alter(func(tx *bolt.Tx) error {
		k, _ := tx.Bucket([]byte("blobs")).Cursor().First()
		return tx.Bucket([]byte("blobs")).Put(k, []byte{1})
	})
	if b, err := w.fsm.Backup(at); !errors.Is(err, raftfsm.ErrDamaged) || !errors.Is(err, catalog.ErrUnavailable) || b != nil {
		t.Errorf("Backup = %v, %v, want none, for another member to be asked", b, err)
	}
	w.ok(raftfsm.Tick{Millis: 1})
	w.close() // would wait for a transaction left open
}

// TestDamagedPages: a defect of ours, or an error about the disk, is the same panic as
// without.
func TestDamagedPages(t *testing.T) {
	caught := func(f func()) (r any) {
		defer func() { r = recover() }()
		raftfsm.DamagedPages(f)
		return nil
	}
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	in := func(f func()) func() {
		return func() { _ = db.Update(func(*bolt.Tx) error { f(); return nil }) }
	}
	if r := caught(in(func() { panic(syscall.EIO) })); r != syscall.EIO {
		t.Errorf("an error about the disk = %v, want it", r)
	}
	r := caught(in(func() { var none map[string]int; none["x"]++ }))
	if err, _ := r.(error); err == nil || errors.Is(err, raftfsm.ErrDamaged) {
		t.Errorf("a defect in the callback of a transaction = %v, want it", r)
	}
	r = caught(in(func() { _ = (*bolt.Bucket)(nil).Put([]byte("x"), nil) }))
	if err, _ := r.(error); !errors.Is(err, raftfsm.ErrDamaged) {
		t.Errorf("a fault in bbolt = %v, want ErrDamaged", r)
	}
	if r := caught(func() {}); r != nil {
		t.Errorf("nothing = %v, want nil", r)
	}
}
