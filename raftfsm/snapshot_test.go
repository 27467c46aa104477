package raftfsm_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// sink is a raft.SnapshotSink in memory.
type sink struct {
	bytes.Buffer
	closed, canceled bool
	room             int // bytes until the disk is full; 0 is endless
}

func (s *sink) ID() string    { return "1-1" }
func (s *sink) Close() error  { s.closed = true; return nil }
func (s *sink) Cancel() error { s.canceled = true; return nil }
func (s *sink) Write(b []byte) (int, error) {
	if s.room > 0 && s.Len()+len(b) > s.room {
		return 0, errFull
	}
	return s.Buffer.Write(b)
}

var errFull = errors.New("no space left on device")

// filled returns a catalog with some of everything in it.
func filled(t testing.TB) *world {
	w := newCluster(t)
	w.good(1, 1, 5, key("a.pdb", 1))
	w.commit(2, 2)
	w.judge(2, failing, report(0, 5, key("a.pdb", 1)))
	w.upload(3, 3, 1)
	w.commit(4, 4)
	w.claim(4, node2)
	w.ok(raftfsm.RemoveMember{ID: node3})
	return w
}

// TestSnapshotBesideApply persists a snapshot after the catalog has moved on, and
// even after it was replaced.
func TestSnapshotBesideApply(t *testing.T) {
	w := filled(t)
	want := fingerprint(w.fsm)
	snap, err := w.fsm.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	w.commit(5, 5)
	newer := filled(t)
	newer.commit(6, 6)
	newer.commit(7, 7)
	if err := w.fsm.Restore(snapshotOf(t, newer.fsm)); err != nil {
		t.Fatal(err)
	}
	out := &sink{}
	if err := snap.Persist(out); err != nil || !out.closed || out.canceled {
		t.Fatalf("Persist = %v, closed %v, canceled %v", err, out.closed, out.canceled)
	}
	target := newWorld(t)
	if err := target.fsm.Restore(io.NopCloser(&out.Buffer)); err != nil {
		t.Fatal(err)
	}
	if got := fingerprint(target.fsm); got != want {
		t.Errorf("restored = %s, want %s", got, want)
	}
	full := &sink{room: 40_000}
	again, err := w.fsm.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Release()
	if err := again.Persist(full); !errors.Is(err, errFull) || !full.canceled || full.closed {
		t.Errorf("Persist to a full disk = %v, closed %v, canceled %v", err, full.closed, full.canceled)
	}
}

// seal gives changed snapshot bytes a right trailer.
func seal(b []byte) []byte {
	b = b[:len(b)-sha256.Size]
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// TestRestoreFailure feeds damaged snapshots: the old catalog stays, works, and
// survives a restart.
func TestRestoreFailure(t *testing.T) {
	source := filled(t)
	source.commit(6, 6)
	whole, err := io.ReadAll(snapshotOf(t, source.fsm))
	if err != nil {
		t.Fatal(err)
	}
	edit := func(fn func(b []byte) []byte) []byte { return fn(bytes.Clone(whole)) }
	for name, in := range map[string][]byte{
		"empty":          nil,
		"half a header":  whole[:20],
		"header only":    whole[:136],
		"half":           whole[:len(whole)/2],
		"no trailer":     whole[:len(whole)-32],
		"short trailer":  whole[:len(whole)-1],
		"bytes behind":   append(bytes.Clone(whole), 0),
		"other magic":    edit(func(b []byte) []byte { b[0] = 'X'; return b }),
		"newer version":  edit(func(b []byte) []byte { b[11] = 2; return seal(b) }),
		"newer schema":   edit(func(b []byte) []byte { b[15] = 2; return seal(b) }),
		"flipped bit":    edit(func(b []byte) []byte { b[len(b)/2] ^= 4; return b }),
		"wrong trailer":  edit(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }),
		"huge size":      edit(func(b []byte) []byte { binary.BigEndian.PutUint64(b[16:], 1<<62); return seal(b) }),
		"smaller size":   edit(func(b []byte) []byte { b[22]--; return seal(b) }),
		"other index":    edit(func(b []byte) []byte { b[31]++; return seal(b) }),
		"other hash":     edit(func(b []byte) []byte { b[50]++; return seal(b) }),
		"not a database": seal(append(bytes.Clone(whole[:136]), bytes.Repeat([]byte{7}, len(whole)-136)...)),
	} {
		t.Run(name, func(t *testing.T) {
			w := filled(t)
			want := fingerprint(w.fsm)
			if err := w.fsm.Restore(io.NopCloser(bytes.NewReader(in))); !errors.Is(err, raftfsm.ErrSnapshot) {
				t.Errorf("Restore = %v, want ErrSnapshot", err)
			}
			if got := fingerprint(w.fsm); got != want {
				t.Errorf("after a failed restore = %s, want %s", got, want)
			}
			if _, err := os.Stat(w.path + ".new"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the received file was left behind: %v", err)
			}
			w.commit(7, 7)
			want = fingerprint(w.fsm)
			w.close()
			w.open()
			if got := fingerprint(w.fsm); got != want {
				t.Errorf("after a restart = %s, want %s", got, want)
			}
		})
	}
}

// TestRestoreWithoutRoom cannot write what it receives and keeps the old catalog.
func TestRestoreWithoutRoom(t *testing.T) {
	w := filled(t)
	want := fingerprint(w.fsm)
	if err := os.Mkdir(w.path+".new", 0o700); err != nil { // the place to receive is taken
		t.Fatal(err)
	}
	if err := w.fsm.Restore(snapshotOf(t, filled(t).fsm)); err == nil {
		t.Error("Restore succeeded, want an error")
	}
	if got := fingerprint(w.fsm); got != want {
		t.Errorf("after a failed restore = %s, want %s", got, want)
	}
	w.commit(7, 7)
}

// TestRestoreNeverGoesBack: a snapshot of an older state changes nothing, that of the
// same state and of a newer one are taken.
func TestRestoreNeverGoesBack(t *testing.T) {
	w := filled(t)
	older, err := io.ReadAll(snapshotOf(t, w.fsm))
	if err != nil {
		t.Fatal(err)
	}
	w.commit(5, 5)
	want := fingerprint(w.fsm)
	if err := w.fsm.Restore(io.NopCloser(bytes.NewReader(older))); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("Restore of an older state = %v, want ErrConflict", err)
	}
	if got := fingerprint(w.fsm); got != want {
		t.Errorf("after an older snapshot = %s, want %s", got, want)
	}
	if err := w.fsm.Restore(snapshotOf(t, w.fsm)); err != nil {
		t.Errorf("Restore of the same state = %v", err)
	}
	w.commit(6, 6)
}

// TestReadersDuringRestore looks things up while snapshots replace the catalog.
func TestReadersDuringRestore(t *testing.T) {
	w := filled(t)
	sub := w.fsm.Subscribe()
	defer sub.Close()
	whole, err := io.ReadAll(snapshotOf(t, w.fsm))
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				found, err := w.fsm.Lookup(key("a.pdb", 1).Index())
				if err != nil || len(found) != 1 {
					t.Errorf("Lookup = %v, %v", found, err)
					return
				}
			}
		})
	}
	for range 5 {
		if err := w.fsm.Restore(io.NopCloser(bytes.NewReader(whole))); err != nil {
			t.Error(err)
		}
		raftfsm.NoSync(w.fsm)
	}
	close(stop)
	readers.Wait()
	if _, overflow := sub.Take(); !overflow {
		t.Error("a restore did not tell the subscriber to look afresh")
	}
}

func TestSnapshotInfo(t *testing.T) {
	w := filled(t)
	info, err := raftfsm.ReadSnapshotInfo(snapshotOf(t, w.fsm))
	if err != nil || info.AppliedIndex != uint64(len(w.log)) || info.ClusterID != cluster || info.AppliedTerm != 1 || !info.Same(w.fsm.Info()) {
		t.Errorf("ReadSnapshotInfo = %+v, %v, want that of %+v", info, err, w.fsm.Info())
	}
	w.commit(5, 5)
	if info.Same(w.fsm.Info()) {
		t.Error("an older snapshot is the same as the catalog")
	}
}

// TestGoldenSnapshot restores snapshots of each feature level; the first was
// written by the first release. The files are kept forever.
func TestGoldenSnapshot(t *testing.T) {
	two := filled(t)
	two.ok(raftfsm.RaiseFeature{Level: 2})
	two.ok(raftfsm.ApplyLayout{Base: 1, Weights: map[catalog.NodeID]int{node1: 50}})
	two.ok(raftfsm.RaiseAlarm{Alarm: catalog.Alarm{Node: node2, Code: catalog.AlarmBitRot, Text: "1 copy", At: at}})
	two.ok(raftfsm.FreezeRetiring{Millis: day})
	for name, w := range map[string]*world{goldenOne: filled(t), "snapshot-v1-level2.gz": two, "snapshot-v1-level3.gz": levelThree(t)} {
		path := filepath.Join("testdata", name)
		if *update {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			if _, err := io.Copy(z, snapshotOf(t, w.fsm)); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(z.Close(), os.WriteFile(path, b.Bytes(), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		old := newWorld(t)
		if err := old.fsm.Restore(golden(t, name)); err != nil {
			t.Fatal(err)
		}
		old.check()
		if got, want := fingerprint(old.fsm), fingerprint(w.fsm); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
}

const goldenOne = "snapshot-v1.gz" // of the first release

// golden opens a golden snapshot.
func golden(t testing.TB, name string) io.ReadCloser {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func FuzzRestore(f *testing.F) {
	w := filled(f)
	whole, err := io.ReadAll(snapshotOf(f, w.fsm))
	if err != nil {
		f.Fatal(err)
	}
	target := newCluster(f) // a failed restore leaves it as it is, so one will do
	f.Add(whole[:136], uint16(0), []byte{})
	f.Add(whole[:136], uint16(300), []byte("x"))
	f.Fuzz(func(t *testing.T, head []byte, at uint16, patch []byte) {
		before := fingerprint(target.fsm)
		in := append(bytes.Clone(head), whole[min(len(head), len(whole)):]...)
		copy(in[min(int(at), len(in)):], patch)
		same := bytes.Equal(in, whole)
		err := target.fsm.Restore(io.NopCloser(bytes.NewReader(in)))
		if same != (err == nil) {
			t.Fatalf("Restore = %v of a snapshot that is whole: %v", err, same)
		}
		if err != nil && fingerprint(target.fsm) != before {
			t.Fatal("a failed restore changed the catalog")
		}
	})
}

func TestViewsAfterClose(t *testing.T) {
	w := filled(t)
	w.close()
	if _, err := w.fsm.Lookup("x"); !errors.Is(err, raftfsm.ErrClosed) {
		t.Errorf("Lookup = %v, want ErrClosed", err)
	}
	if _, err := w.fsm.Snapshot(); !errors.Is(err, raftfsm.ErrClosed) {
		t.Errorf("Snapshot = %v, want ErrClosed", err)
	}
	if err := w.fsm.Restore(snapshotOf(t, filled(t).fsm)); !errors.Is(err, raftfsm.ErrClosed) {
		t.Errorf("Restore = %v, want ErrClosed", err)
	}
}

// TestSecondOpen refuses a file that another process has open.
func TestSecondOpen(t *testing.T) {
	w := newWorld(t)
	if f, err := raftfsm.Open(w.path); err == nil || !strings.Contains(err.Error(), w.path) {
		t.Errorf("second Open = %v, %v, want an error that names the file", f, err)
	}
	if _, err := raftfsm.Inspect(w.path); err == nil {
		t.Error("Inspect of an open catalog succeeded")
	}
	other := filepath.Join(t.TempDir(), "junk.db")
	if err := os.WriteFile(other, bytes.Repeat([]byte{9}, 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := raftfsm.Open(other); err == nil {
		t.Error("Open of junk succeeded")
	}
	if _, err := raftfsm.Inspect(filepath.Join(t.TempDir(), "none.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Inspect of nothing = %v, want ErrNotExist", err)
	}
}

func TestInspect(t *testing.T) {
	w := filled(t)
	want := w.fsm.Info()
	w.close()
	if got, err := raftfsm.Inspect(w.path); err != nil || got != want || got.ClusterID != cluster || got.AppliedIndex != uint64(len(w.log)) {
		t.Errorf("Inspect = %+v, %v, want %+v", got, err, want)
	}
	w.open()
	if got := w.fsm.Info(); got != want {
		t.Errorf("reopened = %+v, want %+v", got, want)
	}
	if _, err := w.fsm.Member(node1); err != nil {
		t.Errorf("member after a restart: %v", err)
	}
	if _, err := w.fsm.Blob(catalog.Digest{1}); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("Blob = %v, want ErrNotFound", err)
	}
}

// TestRestoreDamagedPages: a snapshot whose hash fits, because it was made of a damaged
// file, is refused or restored, and never ends the process.
func TestRestoreDamagedPages(t *testing.T) {
	var buf bytes.Buffer
	if err := filled(t).fsm.WriteSnapshot(&buf); err != nil {
		t.Fatal(err)
	}
	const head, page = 136, 4096
	whole := buf.Bytes()
	whole = whole[:len(whole)-sha256.Size]
	refused := 0
	for no := 2; head+(no+1)*page <= len(whole); no++ { // the first two have checksums
		for _, patch := range []struct{ at, n int }{{0, 16}, {8, 2}, {10, 2}, {16, 16}} {
			in := bytes.Clone(whole)
			for i := range patch.n {
				in[head+no*page+patch.at+i] = 0xff
			}
			sum := sha256.Sum256(in)
			f, err := raftfsm.Open(filepath.Join(t.TempDir(), "fsm.db"))
			if err != nil {
				t.Fatal(err)
			}
			if err = f.Restore(io.NopCloser(bytes.NewReader(append(in, sum[:]...)))); err != nil {
				refused++
				if !errors.Is(err, raftfsm.ErrSnapshot) {
					t.Errorf("page %d, bytes from %d: Restore = %v, want nil or an error that wraps ErrSnapshot", no, patch.at, err)
				}
			}
			if err := f.Close(); err != nil {
				t.Errorf("page %d, bytes from %d: Close = %v", no, patch.at, err)
			}
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}
