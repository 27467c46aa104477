package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// saveBackup takes a backup file from a running node.
func (n *testNode) saveBackup(path string) {
	n.t.Helper()
	body, size, err := n.c.Backup(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil || int64(len(b)) != size {
		n.t.Fatalf("backup of %d bytes, %d announced: %v", len(b), size, err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// TestRestore makes a new cluster of a backup and an old data directory, of which
// one blob is damaged and one is gone, after a first try that was interrupted.
func TestRestore(t *testing.T) {
	t.Parallel()
	n := startCluster(t, 1)[0]
	whole, damaged, gone, late := breakpad(201, 3000), breakpad(202, 3000), breakpad(203, 3000), breakpad(204, 3000)
	id := n.push("whole", whole)
	n.push("damaged", damaged)
	n.push("gone", gone)
	n.open("open", late)
	file := filepath.Join(t.TempDir(), "symkeep.bak")
	n.saveBackup(file)
	states, err := n.c.BlobStates(t.Context(), []catalog.Digest{whole.digest(), late.digest(), {1}})
	if err != nil || len(states) != 3 || len(states[0].Holders) != 1 || len(states[1].Holders)+len(states[2].Holders) != 0 {
		t.Errorf("BlobStates = %+v, %v, want one blob held by one", states, err)
	}
	before := n.fsm.Info()
	n.halt()
	spoil(t, n.blobs.Path(damaged.digest()))
	if err := os.Remove(n.blobs.Path(gone.digest())); err != nil {
		t.Fatal(err)
	}

	r := newTestNode(t, "restored")
	dir := r.cfg.DataDir
	cfg := RestoreConfig{File: file, DataDir: dir, Blobs: []string{t.TempDir(), n.cfg.DataDir}}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Restore(stopped, cfg); !errors.Is(err, context.Canceled) {
		t.Fatalf("Restore that is stopped = %v", err)
	}
	if m, err := New(r.cfg); err == nil {
		m.Close()
		t.Fatal("a node starts on a directory whose restore was interrupted")
	}
	other := filepath.Join(t.TempDir(), "other.bak")
	if err := os.WriteFile(other, otherBackup(t, n.cfg.DataDir), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), RestoreConfig{File: other, DataDir: dir}); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("Restore of another file over an interrupted one = %v, want ErrConflict", err)
	}
	got, err := Restore(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if b := got.Blobs; b.Wanted != 3 || b.Linked+b.Copied != 1 || b.Damaged != 1 || b.Missing != 1 || len(b.Lost) != 2 {
		t.Errorf("blobs restored: %+v, want one of three", b)
	}
	if got.From != before.ClusterID || got.ClusterID == got.From || got.Index == 0 || got.Index > before.AppliedIndex ||
		got.Packages != 3 || got.Servable != 1 || len(got.Lacking) != 2 || got.Expired != 1 {
		t.Errorf("Restore = %+v", got)
	}
	if _, err := Restore(t.Context(), cfg); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("Restore into a node's directory = %v, want ErrConflict", err)
	}

	r.start()
	awaitHealthyBut(t, r)
	r.serves(whole)
	if n.id.Node == r.id.Node || r.ClusterID() != got.ClusterID || r.fsm.FrozenFor() == 0 || r.fsm.FeatureLevel() != raftfsm.MaxFeature {
		t.Errorf("node %s of cluster %s, level %d, frozen for %d", r.id.Node, r.ClusterID(), r.fsm.FeatureLevel(), r.fsm.FrozenFor())
	}
	st, err := r.c.Package(t.Context(), id, 0)
	if err != nil || st.State != catalog.StateGood {
		t.Errorf("package = %+v, %v, want good", st, err)
	}
	r.push("again", gone) // the cluster lacks it: it is sent again
	r.serves(gone)
	r.halt()
	r.start()
	r.serves(whole)
	r.serves(gone)
}

// awaitHealthyBut waits until the node leads and holds all it can.
func awaitHealthyBut(t *testing.T, n *testNode) {
	t.Helper()
	leaderOf(t, n)
	eventually(t, 10*time.Second, func() bool {
		m, err := n.fsm.Member(n.id.Node)
		return err == nil && m.Name == n.cfg.Name
	}, func() string { return "the founder is no member" })
}

// otherBackup is a backup file of the catalog of a stopped node, saved at another
// time.
func otherBackup(t *testing.T, dir string) []byte {
	t.Helper()
	f, err := raftfsm.OpenReadOnly(filepath.Join(dir, "fsm.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := f.Backup(time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var out bytes.Buffer
	if _, err := b.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// spoil changes one bit of a file.
func spoil(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-40] ^= 8
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRecover lets a node go on alone, also after a recovery that was interrupted,
// and from a snapshot when its catalog is gone.
func TestRecover(t *testing.T) {
	t.Parallel()
	n := startCluster(t, 1)[0]
	n.stay()
	a := breakpad(211, 3000)
	n.push("a", a)
	if _, err := Recover(t.Context(), RecoverConfig{DataDir: n.cfg.DataDir, Do: true}); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("Recover under a running node = %v, want ErrUnavailable", err)
	}
	if _, err := Fsck(t.Context(), FsckConfig{DataDir: n.cfg.DataDir}); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("Fsck under a running node = %v, want ErrUnavailable", err)
	}
	if err := n.consensus().raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	b := breakpad(212, 3000)
	n.push("b", b)
	n.halt()
	index := n.fsm.AppliedIndex()

	// The catalog is lost: the snapshot and the log behind it make it anew.
	if err := os.Remove(filepath.Join(n.cfg.DataDir, "fsm.db")); err != nil {
		t.Fatal(err)
	}
	plan, err := Recover(t.Context(), RecoverConfig{DataDir: n.cfg.DataDir})
	if err != nil || plan.Done || plan.Pending == 0 || plan.Snapshot == 0 || plan.LastIndex < index || len(plan.Voters) != 1 || !plan.Voters[0].Self {
		t.Fatalf("plan = %+v, %v", plan, err)
	}
	if plan, err = Recover(t.Context(), RecoverConfig{DataDir: n.cfg.DataDir, Do: true}); err != nil || !plan.Done {
		t.Fatalf("Recover = %+v, %v", plan, err)
	}
	n.start()
	leaderOf(t, n)
	n.serves(a)
	n.serves(b)
	if n.fsm.AppliedIndex() < plan.GoesOn || n.fsm.FrozenFor() == 0 {
		t.Errorf("applied index %d, frozen for %d; want it past %d", n.fsm.AppliedIndex(), n.fsm.FrozenFor(), plan.GoesOn)
	}
	n.push("c", breakpad(213, 100))
	n.halt()

	// A recovery that ended between the catalog and the snapshot.
	chosen := n.fsm.AppliedIndex() + recoverGap
	if err := writeFile(n.cfg.DataDir, recoveringFile, strconv.FormatUint(chosen, 10)); err != nil {
		t.Fatal(err)
	}
	fsm, err := raftfsm.Open(filepath.Join(n.cfg.DataDir, "fsm.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(fsm.GoOn(chosen, 50, 0), fsm.Close()); err != nil {
		t.Fatal(err)
	}
	n.start()
	if err := n.ends(10 * time.Second); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("a node on an interrupted recovery ran: %v, want ErrConflict", err)
	}
	if plan, err = Recover(t.Context(), RecoverConfig{DataDir: n.cfg.DataDir, Do: true}); err != nil || plan.GoesOn != chosen {
		t.Fatalf("Recover = %+v, %v, want it to go on at %d", plan, err, chosen)
	}
	n.start()
	leaderOf(t, n)
	n.serves(b)
	n.push("d", breakpad(214, 100))
	n.halt()
	if r, err := Fsck(t.Context(), FsckConfig{DataDir: n.cfg.DataDir}); err != nil || !r.OK {
		t.Errorf("Fsck = %+v, %v, want no problem", r, err)
	}
}

func TestOfflineRefuses(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	if _, err := Recover(t.Context(), RecoverConfig{DataDir: empty, Do: true}); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("Recover of an empty directory = %v, want ErrNotFound", err)
	}
	if _, err := Fsck(t.Context(), FsckConfig{DataDir: empty}); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("Fsck of an empty directory = %v, want ErrNotFound", err)
	}
	if entries, err := os.ReadDir(empty); err != nil || len(entries) != 0 {
		t.Errorf("left behind in the directory: %v, %v", entries, err)
	}
	junk := filepath.Join(empty, "junk")
	if err := os.WriteFile(junk, []byte(strings.Repeat("junk", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), RestoreConfig{File: junk, DataDir: filepath.Join(empty, "data")}); !errors.Is(err, raftfsm.ErrBackup) {
		t.Errorf("Restore of junk = %v, want ErrBackup", err)
	}
	if _, err := os.Stat(filepath.Join(empty, "data")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Restore of junk made the directory: %v", err)
	}
}

// TestPackedBlob hands out packed bytes, and nothing of a copy that is damaged.
func TestPackedBlob(t *testing.T) {
	t.Parallel()
	n := startCluster(t, 1)[0]
	f := breakpad(221, 100_000)
	n.push("p", f)
	read := func() ([]byte, error) {
		body, size, err := n.c.Blob(t.Context(), f.digest())
		if err != nil {
			return nil, err
		}
		defer body.Close()
		b, err := io.ReadAll(body)
		if int64(len(b)) != size {
			t.Errorf("blob of %d bytes, %d announced", len(b), size)
		}
		return b, err
	}
	b, err := read()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := cab.Verify(t.Context(), bytes.NewReader(b), int64(len(b))); err != nil || info.RawSHA256 != f.digest() {
		t.Errorf("packed bytes = %+v, %v", info, err)
	}
	_, _, err = n.c.Blob(t.Context(), catalog.Digest{1})
	wantError(t, "blob that nobody has", err, catalog.ErrNotFound)
	spoil(t, n.blobs.Path(f.digest()))
	_, err = read()
	wantError(t, "blob whose only copy is damaged", err, catalog.ErrUnavailable)
	var many []catalog.Digest
	for range api.MaxHave + 1 {
		many = append(many, f.digest())
	}
	_, err = n.c.BlobStates(t.Context(), many)
	wantError(t, "too many digests", err, catalog.ErrInvalid)
}
