package known_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"symkeep/internal/catalog"
	"symkeep/internal/validate/known"
)

func open(t testing.TB, dir string, max int64) *known.Store {
	t.Helper()
	s, err := known.Open(dir, max)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s *known.Store, n byte, path string, entry []byte) {
	t.Helper()
	if err := s.Put(catalog.Digest{n}, path, entry); err != nil {
		t.Fatal(err)
	}
}

func TestStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	if got := s.Get(catalog.Digest{1}, "a"); got != nil {
		t.Errorf("Get of nothing = %q", got)
	}
	put(t, s, 1, "a", []byte("one"))
	put(t, s, 1, "b", []byte("two"))
	put(t, s, 2, "a", nil)
	put(t, s, 1, "a", []byte("three"))
	for range 2 {
		for _, tt := range []struct {
			n    byte
			path string
			want string
		}{{1, "a", "three"}, {1, "b", "two"}, {2, "a", ""}, {2, "b", ""}} {
			if got := s.Get(catalog.Digest{tt.n}, tt.path); string(got) != tt.want {
				t.Errorf("Get(%d, %s) = %q, want %q", tt.n, tt.path, got, tt.want)
			}
		}
		s = open(t, dir, 1<<20) // and again after a restart
	}
}

// Entries that were not used for longest give way, also at a start.
func TestStoreBounded(t *testing.T) {
	dir := t.TempDir()
	entry := make([]byte, 960) // 1000 bytes with its head
	s := open(t, dir, 3000)
	for n := range byte(3) {
		put(t, s, n, "a", entry)
	}
	s.Get(catalog.Digest{0}, "a")
	put(t, s, 3, "a", entry)
	have := func(s *known.Store) (out string) {
		for n := range byte(4) {
			if s.Get(catalog.Digest{n}, "a") != nil {
				out += fmt.Sprint(n)
			}
		}
		return out
	}
	if got := have(s); got != "023" {
		t.Errorf("entries %s, want 023", got)
	}
	old := time.Now().Add(-time.Hour)
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("files %v, %v, want 3", files, err)
	}
	for _, f := range files[1:] {
		if err := os.Chtimes(f, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if got := have(open(t, dir, 1000)); len(got) != 1 {
		t.Errorf("entries %s within 1000 bytes, want one", got)
	}
	if files, _ = filepath.Glob(filepath.Join(dir, "*", "*")); len(files) != 1 {
		t.Errorf("files %v, want the one that was used last", files)
	}
	put(t, open(t, dir, 10), 9, "a", entry) // more than all that fits
}

// What does not read back as it was written is no entry, wherever it is damaged.
func TestStoreDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	put(t, s, 1, "a", []byte("an entry"))
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1
		for _, b := range [][]byte{b, whole[:i]} {
			if err := os.WriteFile(files[0], b, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := s.Get(catalog.Digest{1}, "a"); got != nil {
				t.Errorf("damage at byte %d of %d: Get = %q", i, len(b), got)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(files[0]), "new-123"), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if got := s.Get(catalog.Digest{1}, "a"); got != nil {
		t.Errorf("removed: Get = %q", got)
	}
	open(t, dir, 1<<20)
	if files, _ := filepath.Glob(filepath.Join(dir, "*", "*")); len(files) != 0 {
		t.Errorf("after a start: %v, want nothing that is no entry", files)
	}
}

func TestStoreConcurrent(t *testing.T) {
	s := open(t, t.TempDir(), 20_000)
	var wg sync.WaitGroup
	for n := range byte(8) {
		wg.Go(func() {
			for i := range 50 {
				want := bytes.Repeat([]byte{n}, 500+i)
				put(t, s, n, "a", want)
				if got := s.Get(catalog.Digest{n}, "a"); got != nil && !bytes.Equal(got, want) {
					t.Errorf("Get(%d) = %d bytes, want what was put", n, len(got))
				}
			}
		})
	}
	wg.Wait()
}
