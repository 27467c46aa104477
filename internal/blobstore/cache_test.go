package blobstore_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
)

func fill(c *blobstore.Cache, b []byte) (catalog.Digest, error) {
	d := catalog.Digest(sha256.Sum256(b))
	return d, c.Fill(d, int64(len(b)), func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

func cached(t *testing.T, c *blobstore.Cache, d catalog.Digest) []byte {
	t.Helper()
	f, ok := c.Get(d)
	if !ok {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCacheEvictsTheLeastRecentlyUsed(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	s := open(t, blobstore.Config{Dir: dir, Now: func() time.Time { return now }})
	c, err := blobstore.OpenCache(s, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var ds []catalog.Digest
	for i := range 3 {
		now = now.Add(2 * time.Minute)
		d, err := fill(c, raw(i, 300))
		if err != nil {
			t.Fatal(err)
		}
		ds = append(ds, d)
	}
	now = now.Add(2 * time.Minute)
	open0, ok := c.Get(ds[0])
	if !ok {
		t.Fatal("the first entry is not there")
	}
	defer open0.Close()
	d3, err := fill(c, raw(3, 300))
	if err != nil {
		t.Fatal(err)
	}
	if cached(t, c, ds[1]) != nil {
		t.Error("the least recently used entry is still there")
	}
	if c.Bytes() != 900 {
		t.Errorf("Bytes = %d, want 900", c.Bytes())
	}
	d4, err := fill(c, raw(4, 900)) // evicts all, the open one too
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(open0); err != nil || !bytes.Equal(b, raw(0, 300)) {
		t.Errorf("an evicted file that is open reads %d bytes, %v", len(b), err)
	}
	if cached(t, c, d3) != nil || !bytes.Equal(cached(t, c, d4), raw(4, 900)) {
		t.Error("want the large entry alone")
	}
	if _, err := fill(c, raw(5, 1001)); !errors.Is(err, catalog.ErrFull) {
		t.Errorf("Fill beyond the bound: %v, want ErrFull", err)
	}
	if cached(t, c, d4) == nil {
		t.Error("a refused Fill evicted an entry")
	}
}

func TestCacheRefusesOtherBytes(t *testing.T) {
	s := open(t, blobstore.Config{Dir: t.TempDir()})
	c, err := blobstore.OpenCache(s, 1000)
	if err != nil {
		t.Fatal(err)
	}
	b := raw(1, 100)
	d := catalog.Digest(sha256.Sum256(b))
	boom := errors.New("boom")
	for name, write := range map[string]func(io.Writer) error{
		"too few": func(w io.Writer) error { _, err := w.Write(b[:99]); return err },
		"other":   func(w io.Writer) error { _, err := w.Write(raw(2, 100)); return err },
		"error":   func(w io.Writer) error { w.Write(b); return boom },
		"too many": func(w io.Writer) error {
			w.Write(b)
			if n, err := w.Write(b); err == nil || n != 0 {
				t.Errorf("Write beyond the announced size = %d, %v", n, err)
			}
			return boom
		},
	} {
		if err := c.Fill(d, 100, write); err == nil {
			t.Errorf("Fill, %s: no error", name)
		}
	}
	if cached(t, c, d) != nil || c.Bytes() != 0 || len(left(t, s, "cache")) > 0 {
		t.Errorf("refused bytes left %d bytes and files %q", c.Bytes(), left(t, s, "cache"))
	}
}

func TestCacheFillsOnce(t *testing.T) {
	s := open(t, blobstore.Config{Dir: t.TempDir()})
	c, err := blobstore.OpenCache(s, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	b := raw(1, 5000)
	d := catalog.Digest(sha256.Sum256(b))
	var writes atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			err := c.Fill(d, int64(len(b)), func(w io.Writer) error {
				writes.Add(1)
				_, err := w.Write(b)
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if writes.Load() != 1 || !bytes.Equal(cached(t, c, d), b) {
		t.Errorf("%d writers ran, want 1", writes.Load())
	}
}

// Raw bytes are trusted for a while after their digest was checked, and never
// across a restart.
func TestCacheTrustsNoOldBytes(t *testing.T) {
	now := time.Now()
	s := open(t, blobstore.Config{Dir: t.TempDir(), Now: func() time.Time { return now }})
	c, err := blobstore.OpenCache(s, 1000)
	if err != nil {
		t.Fatal(err)
	}
	d, err := fill(c, raw(1, 300))
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(14 * time.Minute)
	if cached(t, c, d) == nil {
		t.Error("an entry of 14 minutes is gone")
	}
	now = now.Add(2 * time.Minute)
	if cached(t, c, d) != nil || c.Bytes() != 0 || len(left(t, s, "cache")) > 0 {
		t.Errorf("an entry of 16 minutes is given out; %d bytes are kept", c.Bytes())
	}
	if _, err := fill(c, raw(1, 300)); err != nil || cached(t, c, d) == nil {
		t.Errorf("filled again: %v, want the entry back", err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir(), "cache", "tmp-1"), raw(9, 500), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err = blobstore.OpenCache(s, 1000); err != nil {
		t.Fatal(err)
	}
	if cached(t, c, d) != nil || len(left(t, s, "cache")) > 0 {
		t.Errorf("after a restart the cache holds %q, want nothing", left(t, s, "cache"))
	}
	if c, err = blobstore.OpenCache(s, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := fill(c, raw(1, 1)); !errors.Is(err, catalog.ErrFull) || c.Bytes() != 0 {
		t.Errorf("cache of 0 bytes: Fill %v, %d bytes", err, c.Bytes())
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(blobstore.EncodeEntry(blobstore.Entry{RawSize: 5, Name: "a.pdb", StoredAt: time.UnixMilli(1)}))
	f.Add(blobstore.EncodeEntry(blobstore.Entry{Packed: catalog.Packed{Container: catalog.ContainerGzip}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := blobstore.DecodeEntry(catalog.Digest{1}, b)
		if err != nil {
			return
		}
		again, err := blobstore.DecodeEntry(e.Digest, blobstore.EncodeEntry(e))
		if err != nil || again != e {
			t.Fatalf("decoded again = %+v, %v, want %+v", again, err, e)
		}
	})
}
