package cab_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"symkeep/internal/cab"
)

var verifiers = []struct {
	name string
	f    func(context.Context, io.ReaderAt, int64) (cab.Info, error)
}{
	{"Verify", cab.Verify},
	{"VerifyRaw", cab.VerifyRaw},
	{"Inspector", inspect},
}

func TestReadAt(t *testing.T) {
	data := sevenGroups().data
	for _, c := range containers {
		f, _ := packInput(t, c, sevenGroups())
		r := mustOpen(t, f)
		r.SetCache(2)
		rnd := rand.New(rand.NewPCG(1, 1))
		for range 60 {
			off := rnd.IntN(len(data) + 100)
			p := make([]byte, rnd.IntN(3*cab.GroupSize/2))
			n, err := r.ReadAt(p, int64(off))
			want := data[min(off, len(data)):min(off+len(p), len(data))]
			if !bytes.Equal(p[:n], want) || (err == io.EOF) != (len(want) < len(p)) || err != nil && err != io.EOF {
				t.Fatalf("%s: ReadAt of %d at %d = %d, %v; want %d", c.want, len(p), off, n, err, len(want))
			}
		}
		if _, err := r.ReadAt(make([]byte, 1), -1); !errors.Is(err, cab.ErrRange) {
			t.Errorf("%s: ReadAt(-1) error = %v, want ErrRange", c.want, err)
		}
		if err := iotest.TestReader(io.NewSectionReader(r, 5, 70000), data[5:70005]); err != nil {
			t.Errorf("%s: %v", c.want, err)
		}
	}
}

// countingReader counts the reads below a Reader.
type countingReader struct {
	io.ReaderAt
	reads atomic.Int64
	nth   func(n int64) error // called before the nth one, unless nil
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	n := c.reads.Add(1)
	if c.nth != nil {
		if err := c.nth(n); err != nil {
			return 0, err
		}
	}
	return c.ReaderAt.ReadAt(p, off)
}

// Readers of one group share one inflation, and the cache keeps the groups used
// last.
func TestCache(t *testing.T) {
	data := sevenGroups().data
	f, info := packInput(t, containers[0], sevenGroups())
	c := &countingReader{ReaderAt: f}
	r, err := cab.Open(c, info.PackedSize)
	if err != nil {
		t.Fatal(err)
	}
	r.SetCache(2)
	opened := c.reads.Load()
	read := func(group int) {
		p := make([]byte, 100)
		if _, err := r.ReadAt(p, int64(group)*cab.GroupSize); err != nil || !bytes.Equal(p, data[group*cab.GroupSize:][:100]) {
			t.Errorf("group %d: %v", group, err)
		}
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() { read(0) })
	}
	wg.Wait()
	for _, step := range []struct {
		group int
		want  int64 // groups read so far
	}{
		{0, 1}, {1, 2}, {0, 2}, {2, 3}, {0, 3}, {1, 4}, {2, 5}, {1, 5},
	} {
		read(step.group)
		if got := c.reads.Load() - opened; got != step.want {
			t.Errorf("group %d: %d groups read so far, want %d", step.group, got, step.want)
		}
	}
	r.SetCache(0)
	read(3)
	read(3)
	if got := c.reads.Load() - opened; got != 7 {
		t.Errorf("without a cache: %d groups read so far, want 7", got)
	}
}

func TestRange(t *testing.T) {
	data := sevenGroups().data
	size := int64(len(data))
	for _, c := range containers {
		f, _ := packInput(t, c, sevenGroups())
		r := mustOpen(t, f)
		for _, tt := range []struct{ off, n int64 }{
			{0, size}, {0, 0}, {size, 0}, {0, 1}, {size - 1, 1}, {cab.GroupSize - 1, 2}, {cab.GroupSize, cab.GroupSize},
			{5, 3*cab.GroupSize + 1}, {2*cab.GroupSize + 7, 100},
		} {
			if got := readAll(t, r.Range(tt.off, tt.n), tt.n); !bytes.Equal(got, data[tt.off:tt.off+tt.n]) {
				t.Errorf("%s: Range(%d, %d): other bytes", c.want, tt.off, tt.n)
			}
			var b bytes.Buffer
			s := r.Range(tt.off, tt.n)
			if n, err := io.Copy(&b, s); n != tt.n || err != nil || !bytes.Equal(b.Bytes(), data[tt.off:tt.off+tt.n]) {
				t.Errorf("%s: Range(%d, %d): copied %d bytes, %v", c.want, tt.off, tt.n, n, err)
			}
			s.Close()
			if _, err := s.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("%s: Read after Close: %v", c.want, err)
			}
		}
		for _, tt := range []struct{ off, n int64 }{
			{-1, 1}, {0, -1}, {0, size + 1}, {size, 1}, {size + 1, 0}, {1 << 62, 1 << 62}, {2, 1<<63 - 1},
		} {
			if _, err := r.Range(tt.off, tt.n).Read(make([]byte, 1)); !errors.Is(err, cab.ErrRange) {
				t.Errorf("%s: Range(%d, %d) error = %v, want ErrRange", c.want, tt.off, tt.n, err)
			}
		}
		part := r.Range(3, size-3) // given up midway
		if _, err := io.ReadFull(part, make([]byte, cab.GroupSize)); err != nil {
			t.Errorf("%s: %v", c.want, err)
		}
		part.Close()
	}
}

func TestConcurrentReaders(t *testing.T) {
	data := sevenGroups().data
	f, info := packInput(t, containers[0], sevenGroups())
	r := mustOpen(t, f)
	r.SetCache(3)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 0))
			p := make([]byte, 10000)
			for range 20 {
				off := rnd.IntN(len(data) - len(p))
				if _, err := r.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p, data[off:off+len(p)]) {
					t.Errorf("ReadAt at %d: %v", off, err)
				}
			}
			s, n := r.Gzip()
			readAll(t, s, n)
			readAll(t, r.Range(0, info.RawSize), info.RawSize)
		})
	}
	wg.Wait()
}

func TestVerifyStopsWithContext(t *testing.T) {
	data := records(1000, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range containers {
		f, info := pack(t, c, cab.Options{}, data, len(data))
		for _, v := range verifiers[:2] { // an Inspector is called group by group
			if _, err := v.f(ctx, f, info.PackedSize); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %s after cancel = %v, want context.Canceled", c.want, v.name, err)
			}
		}
	}
}

// An I/O error is not corruption: another copy would not help.
func TestReadErrorsPass(t *testing.T) {
	data := records(1000, 1)
	for _, c := range containers {
		f, info := pack(t, c, cab.Options{}, data, len(data))
		for n := range 4 {
			bad := &failingReader{f, n}
			_, err := cab.Verify(t.Context(), bad, info.PackedSize)
			if bad.left >= 0 {
				continue // done before the error
			}
			if !errors.Is(err, errDisk) || errors.Is(err, cab.ErrCorrupt) {
				t.Errorf("%s: Verify with read %d failing = %v, want the read error alone", c.want, n, err)
			}
		}
	}
}

type failingReader struct {
	io.ReaderAt
	left int
}

func (f *failingReader) ReadAt(p []byte, off int64) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errDisk
	}
	return f.ReaderAt.ReadAt(p, off)
}
