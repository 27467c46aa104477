package blobstore_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

func TestCommitAndRead(t *testing.T) {
	dir := t.TempDir()
	s := open(t, blobstore.Config{Dir: dir})
	blobs := map[catalog.Digest][]byte{}
	var total int64
	for i, n := range []int{1, 100, 32768, 3<<20 + 7} {
		b := raw(i, n)
		e := mustPut(t, s, "a.pdb", b)
		blobs[e.Digest] = b
		total += e.Packed.Size
	}
	check := func(s *blobstore.Store) {
		t.Helper()
		for d, b := range blobs {
			if err := intact(s, d, b); err != nil {
				t.Errorf("blob %s: %v", d, err)
			}
		}
		if n, size, err := s.Totals(); n != int64(len(blobs)) || size != total || err != nil {
			t.Errorf("Totals = %d, %d, %v, want %d, %d", n, size, err, len(blobs), total)
		}
	}
	check(s)
	if names := left(t, s, "tmp"); len(names) > 0 {
		t.Errorf("tmp holds %q after the commits, want nothing", names)
	}
	var listed int
	for after := (catalog.Digest{}); ; {
		page, err := s.List(after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		listed += len(page)
		after = page[len(page)-1].Digest
	}
	if listed != len(blobs) {
		t.Errorf("List gave %d entries, want %d", listed, len(blobs))
	}
	if _, err := blobstore.Open(blobstore.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("second Open: error = %v, want one about another process", err)
	}
	s.Close()
	s = open(t, blobstore.Config{Dir: dir})
	if s.NeedsReconcile() {
		t.Error("NeedsReconcile after a clean close")
	}
	check(s)
}

func TestNotHere(t *testing.T) {
	s := open(t, blobstore.Config{Dir: t.TempDir()})
	var none catalog.Digest
	_, _, err := s.OpenBlob(none)
	_, serr := s.Stat(none)
	if !errors.Is(err, catalog.ErrNotFound) || !errors.Is(serr, catalog.ErrNotFound) || s.Has(none) {
		t.Errorf("unknown blob: OpenBlob %v, Stat %v, Has %v; want ErrNotFound and false", err, serr, s.Has(none))
	}
	e := mustPut(t, s, "a", raw(1, 10))
	if err := os.Remove(s.Path(e.Digest)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.OpenBlob(e.Digest); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("OpenBlob without its file: %v, want ErrNotFound", err)
	}
	if s.Has(e.Digest) {
		t.Error("the index still lists a blob whose file has vanished")
	}
	if err := s.Remove(e.Digest); err != nil {
		t.Errorf("Remove of a blob that is not here: %v", err)
	}
}

func TestSecondCopy(t *testing.T) {
	s := open(t, blobstore.Config{Dir: t.TempDir()})
	b := raw(1, 5000)
	first := mustPut(t, s, "first.pdb", b)
	second := mustPut(t, s, "second.pdb", b)
	if second != first {
		t.Errorf("Commit of a blob that is here = %+v, want the earlier copy %+v", second, first)
	}
	st, info, err := pack(s, "second.pdb", b)
	if err != nil {
		t.Fatal(err)
	}
	old, _, err := s.OpenBlob(first.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	e, err := st.Replace(info)
	if err != nil || e.Name != "second.pdb" || e.Packed.SHA256 != info.PackedSHA256 {
		t.Errorf("Replace = %+v, %v, want second.pdb", e, err)
	}
	if err := intact(s, e.Digest, b); err != nil {
		t.Error(err)
	}
	if _, err := cab.Verify(context.Background(), old, first.Packed.Size); err != nil {
		t.Errorf("a reader of the replaced copy: %v", err)
	}
	if _, err := st.Commit(info); err == nil {
		t.Error("a staging that has ended commits again")
	}
	if n, _, _ := s.Totals(); n != 1 {
		t.Errorf("%d blobs, want 1", n)
	}
}

func TestConcurrentCommits(t *testing.T) {
	s := open(t, blobstore.Config{Dir: t.TempDir()})
	var wg sync.WaitGroup
	errs := make([]error, 40)
	for i := range errs {
		wg.Go(func() { _, errs[i] = put(s, "x", raw(i%10, 2000)) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if n, _, _ := s.Totals(); n != 10 {
		t.Errorf("%d blobs, want 10", n)
	}
	if names := left(t, s, "tmp"); len(names) > 0 {
		t.Errorf("tmp holds %q", names)
	}
}

func TestRemoveIfHoldsTheLock(t *testing.T) {
	s := open(t, blobstore.Config{Dir: t.TempDir()})
	b := raw(1, 100)
	e := mustPut(t, s, "x", b)
	st, info, err := pack(s, "x", b)
	if err != nil {
		t.Fatal(err)
	}
	committed := make(chan error)
	removed, err := s.RemoveIf(e.Digest, func() (bool, error) {
		go func() {
			_, err := st.Commit(info)
			committed <- err
		}()
		select {
		case err := <-committed:
			t.Errorf("Commit returned %v while RemoveIf decides", err)
		default:
		}
		return true, nil
	})
	if !removed || err != nil {
		t.Fatalf("RemoveIf = %v, %v, want true", removed, err)
	}
	if err := <-committed; err != nil {
		t.Fatal(err)
	}
	if err := intact(s, e.Digest, b); err != nil {
		t.Errorf("blob committed during the removal: %v", err)
	}
	if removed, err := s.RemoveIf(e.Digest, func() (bool, error) { return false, nil }); removed || err != nil || !s.Has(e.Digest) {
		t.Errorf("RemoveIf against the check = %v, %v", removed, err)
	}
}

func TestDamage(t *testing.T) {
	s := open(t, blobstore.Config{Dir: t.TempDir()})
	e := mustPut(t, s, "x", raw(1, 100_000))
	ctx := context.Background()
	if _, err := s.Verify(ctx, e.Digest); err != nil {
		t.Fatalf("Verify of a good blob: %v", err)
	}
	f, err := os.OpenFile(s.Path(e.Digest), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var one [1]byte
	if _, err := f.ReadAt(one[:], e.Packed.Size/2); err != nil {
		t.Fatal(err)
	}
	one[0] ^= 4
	if _, err := f.WriteAt(one[:], e.Packed.Size/2); err != nil {
		t.Fatal(err)
	}
	f.Close()
	_, err = s.Verify(ctx, e.Digest)
	if !errors.Is(err, cab.ErrCorrupt) {
		t.Fatalf("Verify of a flipped bit: %v, want ErrCorrupt", err)
	}
	if err := s.Quarantine(e.Digest, err.Error()); err != nil {
		t.Fatal(err)
	}
	if s.Has(e.Digest) {
		t.Error("a blob in quarantine is still listed")
	}
	names := left(t, s, "quarantine")
	if len(names) != 2 || !strings.HasPrefix(names[0], e.Digest.String()) || !strings.HasSuffix(names[1], ".reason") {
		t.Errorf("quarantine holds %q, want the blob and its reason", names)
	}
	if _, err := s.Verify(ctx, e.Digest); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("Verify in quarantine: %v, want ErrNotFound", err)
	}
}

func TestRebuild(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir, backup string){
		"missing": func(t *testing.T, dir, _ string) {
			if err := os.Remove(filepath.Join(dir, "local.db")); err != nil {
				t.Fatal(err)
			}
		},
		"damaged": func(t *testing.T, dir, _ string) {
			if err := os.WriteFile(filepath.Join(dir, "local.db"), []byte(strings.Repeat("not a database ", 1000)), 0o644); err != nil {
				t.Fatal(err)
			}
		},
		"older than the files": func(t *testing.T, dir, backup string) {
			if err := os.Rename(backup, filepath.Join(dir, "local.db")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, blobstore.Config{Dir: dir})
			gone := mustPut(t, s, "gone", raw(0, 50))
			s.Close()
			backup := filepath.Join(t.TempDir(), "backup")
			copyFile(t, filepath.Join(dir, "local.db"), backup)
			for i := range 3 { // a backup two sessions old is recognised
				s = open(t, blobstore.Config{Dir: dir})
				mustPut(t, s, "later", raw(10+i, 70))
				s.Close()
			}
			s = open(t, blobstore.Config{Dir: dir})
			b := raw(1, 3000)
			e := mustPut(t, s, "kept", b)
			bad := mustPut(t, s, "bad", raw(2, 3000))
			if err := s.Remove(gone.Digest); err != nil {
				t.Fatal(err)
			}
			s.Close()
			if err := os.Truncate(s.Path(bad.Digest), 20); err != nil {
				t.Fatal(err)
			}
			stranger := filepath.Join(filepath.Dir(s.Path(e.Digest)), "notes.txt")
			if err := os.WriteFile(stranger, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			spoil(t, dir, backup)

			s = open(t, blobstore.Config{Dir: dir})
			if err := intact(s, e.Digest, b); err != nil {
				t.Error(err)
			}
			if s.Has(gone.Digest) || s.Has(bad.Digest) {
				t.Errorf("Has(removed) = %v, Has(cut short) = %v, want false", s.Has(gone.Digest), s.Has(bad.Digest))
			}
			if n, _, _ := s.Totals(); n != 4 {
				t.Errorf("%d blobs, want 4", n)
			}
			if _, err := os.Stat(stranger); err != nil {
				t.Errorf("a stranger's file was touched: %v", err)
			}
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTmpIsEmptied(t *testing.T) {
	dir := t.TempDir()
	s := open(t, blobstore.Config{Dir: dir})
	if _, err := s.Create(10); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if s = open(t, blobstore.Config{Dir: dir}); len(left(t, s, "tmp")) > 0 {
		t.Errorf("tmp holds %q after the start", left(t, s, "tmp"))
	}
}
