package blobstore_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
)

// TestInspect looks at a closed directory without changing it, and makes the next
// Open read the files anew.
func TestInspect(t *testing.T) {
	dir := t.TempDir()
	if err := blobstore.Inspect(dir, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Inspect of nothing = %v, want ErrNotExist", err)
	}
	s := open(t, blobstore.Config{Dir: dir})
	one, two := mustPut(t, s, "one", raw(1, 1000)), mustPut(t, s, "two", raw(2, 1000))
	if err := blobstore.Inspect(dir, nil); err == nil {
		t.Error("Inspect of an open directory succeeded")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	indexed := map[catalog.Digest]catalog.Packed{}
	err := blobstore.Inspect(dir, func(e blobstore.Entry) error {
		indexed[e.Digest] = e.Packed
		return nil
	})
	if err != nil || len(indexed) != 2 || indexed[one.Digest] != one.Packed || indexed[two.Digest] != two.Packed {
		t.Errorf("Inspect = %v, %v, want both blobs", indexed, err)
	}

	strange := filepath.Join(dir, "blobs", "README")
	if err := os.WriteFile(strange, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	var walked []catalog.Digest
	var odd []string
	err = blobstore.Walk(dir, func(d catalog.Digest, path string) error {
		walked = append(walked, d)
		_, err := os.Stat(path)
		return err
	}, func(path string) error {
		odd = append(odd, path)
		return nil
	})
	want := []catalog.Digest{one.Digest, two.Digest}
	slices.SortFunc(want, func(a, b catalog.Digest) int { return slices.Compare(a[:], b[:]) })
	if err != nil || !slices.Equal(walked, want) || !slices.Equal(odd, []string{strange}) {
		t.Errorf("Walk = %v and %v, %v, want %v and %s", walked, odd, err, want, strange)
	}

	if err := os.Remove(s.Path(one.Digest)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to forget
		if err := blobstore.ForgetIndex(dir); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, blobstore.Config{Dir: dir})
	if again.Has(one.Digest) || !again.Has(two.Digest) {
		t.Errorf("after ForgetIndex: blob without a file %v, with one %v", again.Has(one.Digest), again.Has(two.Digest))
	}
}
