package raftfsm_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// backupOf writes a backup file.
func backupOf(t testing.TB, f *raftfsm.FSM) []byte {
	t.Helper()
	b, err := f.Backup(at)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var out bytes.Buffer
	if n, err := b.WriteTo(&out); err != nil || n != int64(out.Len()) || n != b.Info().Size() {
		t.Fatalf("WriteTo = %d, %v, wrote %d bytes, Info says %d", n, err, out.Len(), b.Info().Size())
	}
	return out.Bytes()
}

// TestBackup reads back what was written: the catalog, and every blob it needs.
func TestBackup(t *testing.T) {
	w := filled(t)
	file := backupOf(t, w.fsm)
	var got []raftfsm.BackupBlob
	info, err := raftfsm.VerifyBackup(bytes.NewReader(file), func(b raftfsm.BackupBlob) error {
		got = append(got, b)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := w.fsm.Info()
	if info.ClusterID != cluster || info.AppliedIndex != want.AppliedIndex || info.Hash != want.Hash || !info.Created.Equal(at) ||
		info.Feature != 1 || info.Blobs != 4 || info.BlobBytes != 2000 || len(got) != 4 {
		t.Errorf("info = %+v with %d blobs, want that of %+v and 4 blobs", info, len(got), want)
	}
	for _, b := range got {
		row, err := w.fsm.Blob(b.Digest)
		if err != nil || row.Packed != b.Packed || row.Gen != b.Gen || row.RawSize != b.RawSize {
			t.Errorf("blob %+v, the catalog says %+v, %v", b, row, err)
		}
	}
	r, err := raftfsm.ReadBackup(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	target := newWorld(t)
	if err := target.fsm.Restore(io.NopCloser(r.Catalog())); err != nil {
		t.Fatal(err)
	}
	if got, want := fingerprint(target.fsm), fingerprint(w.fsm); got != want {
		t.Errorf("restored = %s, want %s", got, want)
	}
	stop := errors.New("enough")
	if _, err := raftfsm.VerifyBackup(bytes.NewReader(file), func(raftfsm.BackupBlob) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("VerifyBackup = %v, want what the callback said", err)
	}
}

// TestBackupBesideApply is of one index, whatever is applied while it is written.
func TestBackupBesideApply(t *testing.T) {
	w := filled(t)
	want := w.fsm.Info()
	b, err := w.fsm.Backup(at)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	w.commit(5, 5)
	var out bytes.Buffer
	if _, err := b.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	if info, err := raftfsm.VerifyBackup(&out, nil); err != nil || info.AppliedIndex != want.AppliedIndex || info.Blobs != 4 {
		t.Errorf("backup = %+v, %v, want index %d and 4 blobs", info, err, want.AppliedIndex)
	}
	full, err := w.fsm.Backup(at)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if _, err := full.WriteTo(&sink{room: 40_000}); !errors.Is(err, errFull) {
		t.Errorf("WriteTo a full disk = %v, want its error", err)
	}
}

// TestBackupDamaged refuses a file that is short, long or changed anywhere, and
// says what to do.
func TestBackupDamaged(t *testing.T) {
	file := backupOf(t, filled(t).fsm)
	refused := func(in []byte, what string, at int) {
		t.Helper()
		_, err := raftfsm.VerifyBackup(bytes.NewReader(in), nil)
		if !errors.Is(err, raftfsm.ErrBackup) || !strings.Contains(err.Error(), "use") {
			t.Errorf("%s at %d: VerifyBackup = %v, want ErrBackup and what to do", what, at, err)
		}
	}
	for n := 0; n < len(file); n += max(1, min(n, len(file)-n)/7) {
		refused(file[:n], "cut", n)
	}
	refused(append(bytes.Clone(file), 0), "longer", len(file))
	for at := 0; at < len(file); at += 1 + at/40 {
		bad := bytes.Clone(file)
		bad[at] ^= 4
		refused(bad, "flipped", at)
	}
	for at := len(file) - 32 - 89*2; at < len(file); at++ {
		bad := bytes.Clone(file)
		bad[at] ^= 0x80
		refused(bad, "flipped", at)
	}
}

// TestBackupGolden reads a backup of the version that wrote the first; the file is
// kept forever.
func TestBackupGolden(t *testing.T) {
	path := filepath.Join("testdata", "backup-v1.gz")
	w := filled(t)
	if *update {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := z.Write(backupOf(t, w.fsm))
		if err := errors.Join(err, z.Close(), os.WriteFile(path, b.Bytes(), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	blobs := []catalog.Digest{}
	info, err := raftfsm.VerifyBackup(golden(t, "backup-v1.gz"), func(b raftfsm.BackupBlob) error {
		blobs = append(blobs, b.Digest)
		return nil
	})
	if err != nil || info.AppliedIndex != w.fsm.AppliedIndex() || info.ClusterID != cluster || !info.Created.Equal(at) ||
		!slices.Equal(blobs, []catalog.Digest{dig(1), dig(2), dig(3), dig(4)}) {
		t.Errorf("golden backup = %+v with %v, %v", info, blobs, err)
	}
}

func FuzzVerifyBackup(f *testing.F) {
	whole := backupOf(f, filled(f).fsm)
	f.Add(uint32(3), []byte("x"), uint32(len(whole)))
	f.Add(uint32(50), []byte{1, 2, 3}, uint32(len(whole)))
	f.Add(uint32(60), bytes.Repeat([]byte{255}, 8), uint32(240))
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, size uint32) {
		in := bytes.Clone(whole)
		copy(in[min(int(at), len(in)):], patch)
		in = in[:min(int(size), len(in))]
		_, err := raftfsm.VerifyBackup(bytes.NewReader(in), nil)
		if same := bytes.Equal(in, whole); same != (err == nil) || (err != nil && !errors.Is(err, raftfsm.ErrBackup)) {
			t.Errorf("VerifyBackup = %v of a file that is whole: %v", err, same)
		}
	})
}

// TestBeginAnew makes a new cluster of an old catalog: what was good stays so, what
// was under way ends, and nobody has a copy yet.
func TestBeginAnew(t *testing.T) {
	w := filled(t) // 1 good, 2 failed, 3 open, 4 being validated
	other := catalog.ClusterID("new-cluster")
	did, err := w.fsm.BeginAnew(other, 7*day)
	if err != nil || did != (raftfsm.Anew{Expired: 1, Requeued: 1, Dropped: 2}) {
		t.Errorf("BeginAnew = %+v, %v", did, err)
	}
	w.check()
	w.wantState(pkg(1), catalog.StateGood)
	w.wantState(pkg(2), catalog.StateFailed)
	w.wantState(pkg(3), catalog.StateExpired)
	w.wantState(pkg(4), catalog.StateCommitted)
	if p, err := w.fsm.Package(pkg(4)); err != nil || p.Claim != nil || p.Attempts != 0 {
		t.Errorf("package 4 = %+v, %v, want it without a claim", p, err)
	}
	if got := w.served(key("a.pdb", 1)); got != "1" {
		t.Errorf("served = %q, want package 1", got)
	}
	if b := w.blob(1); len(b.Holders) != 0 || b.Refs != 2 {
		t.Errorf("blob 1 = %+v, want it without holders", b)
	}
	if w.fsm.ClusterID() != other || len(w.fsm.Members()) != 0 || w.fsm.FeatureLevel() != 2 || w.fsm.FrozenFor() != 7*day {
		t.Errorf("cluster %s, %d members, level %d, frozen for %d", w.fsm.ClusterID(), len(w.fsm.Members()), w.fsm.FeatureLevel(), w.fsm.FrozenFor())
	}
	if due, err := w.fsm.DueNotices(10); err != nil || len(due) != 0 {
		t.Errorf("DueNotices = %v, %v, want none", due, err)
	}
	if did, err = w.fsm.BeginAnew(other, 7*day); err != nil || did != (raftfsm.Anew{}) { // as after a crash
		t.Errorf("second BeginAnew = %+v, %v", did, err)
	}
	all := func(catalog.Digest) bool { return true }
	if s, err := w.fsm.Servable(context.Background(), all); err != nil || s.Good != 1 || s.Whole != 1 {
		t.Errorf("Servable = %+v, %v, want one package", s, err)
	}
	s, err := w.fsm.Servable(context.Background(), func(d catalog.Digest) bool { return d != dig(1) })
	if err != nil || s.Good != 1 || s.Whole != 0 || !slices.Equal(s.Lacking, []catalog.PackageID{pkg(1)}) {
		t.Errorf("Servable without blob 1 = %+v, %v", s, err)
	}
	w.ok(raftfsm.PutMember{Member: memberRow(node4, "fresh")})
	w.ok(raftfsm.PutReceipts{Receipts: []catalog.Receipt{receipt(1, node4), receipt(4, node4)}})
	if b := w.blob(1); !slices.Equal(b.Holders, []catalog.NodeID{node4}) {
		t.Errorf("blob 1 = %+v, want the new member to hold it", b)
	}
	w.judge4(node4)
	w.sweep(100)
	w.check()
}

// judge4 validates package 4 on a node.
func (w *world) judge4(node catalog.NodeID) {
	w.t.Helper()
	token := w.claim(4, node)
	w.ok(raftfsm.AddKeys{Package: pkg(4), Token: token, Reports: []catalog.FileReport{report(0, 5, key("d.pdb", 1))}})
	w.ok(raftfsm.RecordVerdict{Package: pkg(4), Token: token, Files: 1, At: at})
	w.wantState(pkg(4), catalog.StateGood)
}

// TestGoOn moves the index forward: what lies between was never applied anywhere.
func TestGoOn(t *testing.T) {
	w := newLevel2(t)
	old := w.fsm.AppliedIndex()
	if err := w.fsm.GoOn(old+1000, 7, day); err != nil {
		t.Fatal(err)
	}
	if i := w.fsm.Info(); i.AppliedIndex != old+1000 || i.AppliedTerm != 7 || w.fsm.FrozenFor() != day {
		t.Errorf("info = %+v, frozen for %d", i, w.fsm.FrozenFor())
	}
	w.check()
	w.do(raftfsm.FreezeRetiring{})
	if i := w.fsm.AppliedIndex(); i != old+1000 || w.fsm.FrozenFor() == 0 {
		t.Errorf("an entry below the index was applied: index %d, frozen for %d", i, w.fsm.FrozenFor())
	}
	if err := w.fsm.GoOn(old, 7, 0); !errors.Is(err, catalog.ErrInvalid) {
		t.Errorf("GoOn backwards = %v, want ErrInvalid", err)
	}
	one := newCluster(t)
	if err := one.fsm.GoOn(5000, 3, day); err != nil || one.fsm.FrozenFor() != 0 {
		t.Errorf("GoOn at level 1 = %v, frozen for %d, want no freeze", err, one.fsm.FrozenFor())
	}
	one.check()
}

func TestOpenReadOnly(t *testing.T) {
	w := filled(t)
	want := fingerprint(w.fsm)
	if f, err := raftfsm.OpenReadOnly(w.path); err == nil {
		f.Close()
		t.Error("OpenReadOnly of a catalog in use succeeded")
	}
	w.close()
	f, err := raftfsm.OpenReadOnly(w.path)
	if err != nil {
		t.Fatal(err)
	}
	if got := fingerprint(f); got != want {
		t.Errorf("read = %s, want %s", got, want)
	}
	if faults, err := f.CheckPages(); err != nil || len(faults) != 0 {
		t.Errorf("CheckPages = %v, %v", faults, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := raftfsm.OpenReadOnly(w.path + ".none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("OpenReadOnly of nothing = %v, want ErrNotExist", err)
	}
	w.open()
}
