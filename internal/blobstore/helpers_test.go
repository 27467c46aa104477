package blobstore_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

func open(t *testing.T, cfg blobstore.Config) *blobstore.Store {
	t.Helper()
	s, err := blobstore.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// raw returns bytes that pack a little.
func raw(seed, n int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(seed), 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.IntN(64))
	}
	return b
}

// pack stages raw bytes under a member name.
func pack(s *blobstore.Store, name string, b []byte) (*blobstore.Staging, cab.Info, error) {
	st, err := s.Create(int64(len(b)))
	if err != nil {
		return nil, cab.Info{}, err
	}
	w, err := cab.NewWriter(st, cab.Options{RawSize: int64(len(b)), Name: name, Workers: 1})
	if err != nil {
		st.Abort()
		return nil, cab.Info{}, err
	}
	_, err = w.Write(b)
	if err == nil {
		var info cab.Info
		if info, err = w.Close(); err == nil {
			return st, info, nil
		}
	}
	w.Abort()
	st.Abort()
	return nil, cab.Info{}, err
}

func put(s *blobstore.Store, name string, b []byte) (blobstore.Entry, error) {
	st, info, err := pack(s, name, b)
	if err != nil {
		return blobstore.Entry{}, err
	}
	return st.Commit(info)
}

func mustPut(t *testing.T, s *blobstore.Store, name string, b []byte) blobstore.Entry {
	t.Helper()
	e, err := put(s, name, b)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// intact checks that the store serves a blob with the right raw bytes.
func intact(s *blobstore.Store, d catalog.Digest, want []byte) error {
	f, e, err := s.OpenBlob(d)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := cab.VerifyRaw(context.Background(), f, e.Packed.Size)
	if err != nil {
		return err
	}
	if info.PackedSHA256 != e.Packed.SHA256 || info.RawSHA256 != d || e.Name != info.Name || e.RawSize != info.RawSize {
		return fmt.Errorf("entry %+v, file says %+v", e, info)
	}
	r, err := cab.Open(f, e.Packed.Size)
	if err != nil {
		return err
	}
	got := make([]byte, e.RawSize)
	if _, err := r.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("raw bytes differ: %v", err)
	}
	return nil
}

// left lists what is in a directory of the store.
func left(t *testing.T, s *blobstore.Store, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.Dir(), dir))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
