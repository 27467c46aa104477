// Package cabtest makes packed blobs for tests.
package cabtest

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"symkeep/internal/cab"
)

// Random packs that many random bytes, the same ones for the same seed, and returns the
// packed form.
func Random(t testing.TB, seed uint64, size int) (cab.Info, []byte) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "packed"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := cab.NewWriter(f, cab.Options{RawSize: int64(size), Name: "a", Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	raw, rnd := make([]byte, size), rand.New(rand.NewPCG(seed, 0))
	for i := range raw {
		raw[i] = byte(rnd.Uint32())
	}
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	info, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return info, data
}
