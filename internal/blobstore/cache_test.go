package blobstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

// openCache returns an empty cache, with its store.
func openCache(t *testing.T, max int64) (*blobstore.Store, *blobstore.Cache) {
	t.Helper()
	s := open(t, blobstore.Config{Dir: t.TempDir()})
	c, err := blobstore.OpenCache(s, max)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return s, c
}

// awaitPours returns once no pour is under way.
func awaitPours(c *blobstore.Cache) {
	for c.Pouring() > 0 {
		time.Sleep(time.Millisecond)
	}
}

// rawSource has b as a raw form, to be written in one go unless it is told otherwise.
func rawSource(b []byte) blobstore.Source {
	return blobstore.Source{Digest: catalog.Digest(sha256.Sum256(b)), Form: blobstore.FormRaw, Size: int64(len(b)), Write: writes(b)}
}

// fill pours b and returns once it is kept, or why it is not.
func fill(c *blobstore.Cache, b []byte) (catalog.Digest, error) {
	src := rawSource(b)
	return src.Digest, pour(c, src)
}

func writes(b []byte) func(context.Context, io.Writer) error {
	return func(_ context.Context, w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

func pour(c *blobstore.Cache, src blobstore.Source) error {
	failed := make(chan error, 1)
	src.Failed = func(err error) { failed <- err }
	tap, _, err := c.Pour(src)
	if err != nil {
		return err
	}
	defer tap.Close()
	werr := tap.Wait(src.Size)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		select {
		case err := <-failed:
			return err
		default:
		}
		if f, ok := c.Get(src.Digest, src.Form); ok {
			return errors.Join(werr, f.Close())
		}
		if time.Now().After(deadline) {
			return errors.Join(werr, errors.New("neither kept nor failed after 10 s"))
		}
	}
}

func cached(t *testing.T, c *blobstore.Cache, d catalog.Digest) []byte {
	t.Helper()
	f, ok := c.Get(d, blobstore.FormRaw)
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
	open0, ok := c.Get(ds[0], blobstore.FormRaw)
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
		t.Errorf("Pour beyond the bound: %v, want ErrFull", err)
	}
	if cached(t, c, d4) == nil {
		t.Error("a refused Pour evicted an entry")
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
	for name, write := range map[string]func(context.Context, io.Writer) error{
		"too few": writes(b[:99]),
		"other":   writes(raw(2, 100)),
		"error":   func(_ context.Context, w io.Writer) error { w.Write(b[:50]); return boom },
		"too many": func(_ context.Context, w io.Writer) error {
			w.Write(b[:90])
			if n, err := w.Write(b); err == nil || n != 0 {
				t.Errorf("Write beyond the announced size = %d, %v", n, err)
			}
			return boom
		},
	} {
		if err := pour(c, blobstore.Source{Digest: d, Form: blobstore.FormRaw, Size: 100, Write: write}); err == nil {
			t.Errorf("Pour, %s: no error", name)
		}
	}
	if err := pour(c, blobstore.Source{Digest: d, Form: blobstore.FormPacked, Size: 100, Write: writes(b)}); !errors.Is(err, cab.ErrFormat) {
		t.Errorf("Pour of a packed form that is none = %v, want ErrFormat", err)
	}
	if cached(t, c, d) != nil || c.Bytes() != 0 || len(left(t, s, "cache")) > 0 {
		t.Errorf("refused bytes left %d bytes and files %q", c.Bytes(), left(t, s, "cache"))
	}
}

// TestCachePoursOnce: of several who want a form at once one has it made, and all read
// it while that goes on.
func TestCachePoursOnce(t *testing.T) {
	_, c := openCache(t, 1<<20)
	b := raw(1, 5000)
	src := rawSource(b)
	goOn := make(chan struct{})
	writers := 0
	src.Write = func(_ context.Context, w io.Writer) error {
		writers++
		if _, err := w.Write(b[:2500]); err != nil {
			return err
		}
		<-goOn
		_, err := w.Write(b[2500:])
		return err
	}
	var taps []*blobstore.Tap
	for i := range 20 {
		tap, begun, err := c.Pour(src)
		if err != nil || begun != (i == 0) {
			t.Fatalf("Pour number %d = %t, %v, want the first one alone to begin", i, begun, err)
		}
		defer tap.Close()
		taps = append(taps, tap)
	}
	for _, tap := range taps { // what is there can be read
		got := make([]byte, 2500)
		if _, err := io.ReadFull(tap, got); err != nil || !bytes.Equal(got, b[:2500]) {
			t.Fatalf("the first half reads %v", err)
		}
	}
	close(goOn)
	for i, tap := range taps {
		var got bytes.Buffer
		if n, err := tap.WriteTo(&got); err != nil || n != 2500 || !bytes.Equal(got.Bytes(), b[2500:]) {
			t.Errorf("tap %d: the second half has %d bytes, %v", i, n, err)
		}
		if n, err := tap.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("tap %d at the end: Read = %d, %v, want EOF", i, n, err)
		}
	}
	if writers != 1 {
		t.Errorf("%d writers ran, want 1", writers)
	}
}

// TestCacheHoldsBytes: bytes wait in memory until readers have them, or for a while; what
// one that is slow has not read by then comes from the file.
func TestCacheHoldsBytes(t *testing.T) {
	s, c := openCache(t, 1<<30)
	b := raw(1, 5<<20)
	made := make(chan struct{})
	src := rawSource(b)
	src.Write = func(_ context.Context, w io.Writer) error {
		_, err := w.Write(b)
		close(made)
		return err
	}
	begun := time.Now() // so that a test that is held up later does not find the wait short
	tap, _, err := c.Pour(src)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	<-made
	stored := func() (n int64) {
		for _, name := range left(t, s, "cache") {
			if info, err := os.Stat(filepath.Join(s.Dir(), "cache", name)); err == nil {
				n += info.Size()
			}
		}
		return n
	}
	got := make([]byte, len(b))
	if _, err := io.ReadFull(tap, got[:1000]); err != nil {
		t.Fatal(err)
	}
	if n := stored(); n > 0 && time.Since(begun) < blobstore.HeldFor/2 {
		t.Errorf("%d bytes are in files while a reader has yet to read them", n)
	}
	awaitPours(c)
	if took := time.Since(begun); took < blobstore.HeldFor || stored() != int64(len(b)) || c.Held() != 0 {
		t.Errorf("after %v, %d bytes are in files and %d in memory, want all in a file after %v", took, stored(), c.Held(), blobstore.HeldFor)
	}
	if _, err := io.ReadFull(tap, got[1000:]); err != nil || !bytes.Equal(got, b) {
		t.Errorf("the slow reader: %v, right bytes %t", err, bytes.Equal(got, b))
	}
}

// TestCacheHoldsNoMore: forms that are larger than the memory for them, several at once and
// with readers of all speeds, come as they are.
func TestCacheHoldsNoMore(t *testing.T) {
	s, c := openCache(t, 1<<30)
	var g errgroup.Group
	for i := range 3 {
		b := bytes.Repeat(raw(i, 4099), (40<<20)/4099+i)
		src := rawSource(b)
		src.Write = func(_ context.Context, w io.Writer) error {
			for n := 0; n < len(b); n = min(n+300_001, len(b)) {
				if _, err := w.Write(b[n:min(n+300_001, len(b))]); err != nil {
					return err
				}
				if held := c.Held(); held > blobstore.HeldMost+3*(2<<20) {
					return fmt.Errorf("%d bytes are held in memory", held)
				}
			}
			return nil
		}
		for k := range 3 {
			tap, _, err := c.Pour(src)
			if err != nil {
				t.Fatal(err)
			}
			g.Go(func() error {
				defer tap.Close()
				if k == 2 { // leaves early
					_, err := io.ReadFull(tap, make([]byte, 5<<20))
					return err
				}
				h := sha256.New()
				var err error
				if k == 1 { // slowly
					buf := make([]byte, 1<<20)
					for n := 0; err == nil; {
						n, err = tap.Read(buf)
						h.Write(buf[:n])
						time.Sleep(time.Millisecond)
					}
					err = notEOF(err)
				} else {
					_, err = tap.WriteTo(h)
				}
				if err == nil && catalog.Digest(h.Sum(nil)) != src.Digest {
					err = fmt.Errorf("reader %d of form %d has other bytes", k, i)
				}
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	awaitPours(c)
	if c.Held() != 0 || len(left(t, s, "cache")) != 3 {
		t.Errorf("in the end %d bytes are held, files %q, want three", c.Held(), left(t, s, "cache"))
	}
}

func notEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// TestCacheAbandoned: the last reader who leaves ends the pour, and so does Close;
// neither leaves a file.
func TestCacheAbandoned(t *testing.T) {
	s := open(t, blobstore.Config{Dir: t.TempDir()})
	c, err := blobstore.OpenCache(s, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	src := blobstore.Source{Digest: catalog.Digest{1}, Form: blobstore.FormGzip, Size: 100}
	src.Failed = func(err error) { t.Errorf("Failed(%v) of a pour that nobody wanted", err) }
	src.Write = func(ctx context.Context, w io.Writer) error {
		_, err := w.Write(make([]byte, 10))
		<-ctx.Done()
		ended <- ctx.Err()
		return errors.Join(err, ctx.Err())
	}
	first, _, err := c.Pour(src)
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := c.Pour(src)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	if err := second.Wait(10); err != nil || c.Pouring() != 1 {
		t.Errorf("with one reader left: Wait = %v, %d pours, want it to go on", err, c.Pouring())
	}
	second.Close()
	<-ended
	awaitPours(c)
	third, begun, err := c.Pour(src)
	if err != nil || !begun {
		t.Fatalf("Pour after the last one has ended = %t, %v, want it begun", begun, err)
	}
	defer third.Close()
	c.Close()
	if err := third.Wait(100); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait after Close = %v, want Canceled", err)
	}
	if _, _, err := c.Pour(src); !errors.Is(err, catalog.ErrFull) {
		t.Errorf("Pour after Close = %v, want ErrFull", err)
	}
	if c.Bytes() != 0 || len(left(t, s, "cache")) > 0 {
		t.Errorf("%d bytes and files %q are left", c.Bytes(), left(t, s, "cache"))
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
		t.Errorf("cache of 0 bytes: Pour %v, %d bytes", err, c.Bytes())
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
