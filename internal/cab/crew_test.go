package cab_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"symkeep/internal/cab"
)

// writerFunc is an io.Writer.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A gate is a packed file that counts the reads of groups, one for each, and keeps the first
// of them until there have been so many.
type gate struct {
	io.ReaderAt
	wait int         // 0: it keeps none
	read func(n int) // called for the nth, unless nil

	mu    sync.Mutex
	reads int
	open  chan struct{}
}

// gated opens a packed file.
func gated(t *testing.T, f *memFile, size int64, wait int) (*cab.Reader, *gate) {
	t.Helper()
	g := &gate{ReaderAt: f, open: make(chan struct{})}
	r, err := cab.Open(g, size)
	if err != nil {
		t.Fatal(err)
	}
	g.reads, g.wait = 0, wait
	return r, g
}

func (g *gate) ReadAt(p []byte, off int64) (int, error) {
	g.mu.Lock()
	g.reads++
	n := g.reads
	if g.reads == g.wait {
		close(g.open)
	}
	g.mu.Unlock()
	if g.read != nil {
		g.read(n)
	}
	if n == 1 && g.wait > 0 {
		select {
		case <-g.open:
		case <-time.After(time.Minute):
			return 0, errors.New("the others were not read meanwhile")
		}
	}
	return g.ReaderAt.ReadAt(p, off)
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reads
}

// TestRangeWritesInOrder: the first group is the last to be there, and yet the first to be
// written; and no more than fit into the window are there at the same time.
func TestRangeWritesInOrder(t *testing.T) {
	data := mixed(9*cab.GroupSize+5, 6)
	for _, c := range containers {
		f, info := pack(t, c, cab.Options{}, data, len(data))
		for _, tt := range []struct{ window, workers, wait int }{
			{1, 1, 0}, {2, 1, 0}, {2, 2, 2}, {4, 2, 4}, {4, 4, 4}, {8, 3, 8}, {8, 4, 8},
		} {
			r, g := gated(t, f, info.PackedSize, tt.wait)
			s := r.RangeWorkers(0, info.RawSize, tt.window, tt.workers)
			var got bytes.Buffer
			written := 0
			n, err := io.Copy(writerFunc(func(p []byte) (int, error) {
				if reads := g.count(); reads > written+tt.window {
					t.Errorf("%s, %+v: %d groups read when %d were written", c.want, tt, reads, written)
				}
				written++
				return got.Write(p)
			}), s)
			if n != info.RawSize || err != nil || !bytes.Equal(got.Bytes(), data) {
				t.Errorf("%s, %+v: copied %d bytes, %v, the right ones: %v", c.want, tt, n, err, bytes.Equal(got.Bytes(), data))
			}
			if _, err := s.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%s, %+v: Read after the end: %v", c.want, tt, err)
			}
			s.Close()
		}
	}
}

// TestRangeReadThenWritten: what was read is not written again. Reading inflates as many
// groups at once as there are workers.
func TestRangeReadThenWritten(t *testing.T) {
	data := mixed(5*cab.GroupSize, 7)
	f, info := pack(t, containers[0], cab.Options{}, data, len(data))
	for _, first := range []int{0, 1, cab.GroupSize - 10, cab.GroupSize, 3*cab.GroupSize + 1, len(data) - 20} {
		wait := 0
		if first > 0 {
			wait = 3
		}
		r, _ := gated(t, f, info.PackedSize, wait)
		s := r.RangeWorkers(10, info.RawSize-20, 4, 3)
		var got bytes.Buffer
		_, rerr := io.CopyN(&got, struct{ io.Reader }{s}, int64(first))
		n, err := io.Copy(&got, s)
		if rerr != nil || err != nil || n != info.RawSize-20-int64(first) || !bytes.Equal(got.Bytes(), data[10:len(data)-10]) {
			t.Errorf("%d bytes read, %v, then %d written, %v", first, rerr, n, err)
		}
		s.Close()
	}
}

// TestRangeEndsWithItsWriter: at the first error nothing more is written, and after it
// nothing more is read.
func TestRangeEndsWithItsWriter(t *testing.T) {
	data := mixed(9*cab.GroupSize, 8)
	f, info := pack(t, containers[0], cab.Options{}, data, len(data))
	gone := errors.New("the client went away")
	for _, tt := range []struct {
		err, want error
	}{{gone, gone}, {nil, io.ErrShortWrite}} {
		r, g := gated(t, f, info.PackedSize, 0)
		s := r.RangeWorkers(0, info.RawSize, 4, 2)
		calls := 0
		n, err := io.Copy(writerFunc(func(p []byte) (int, error) {
			if calls++; calls == 3 {
				return 7, tt.err
			}
			return len(p), nil
		}), s)
		if calls != 3 || n != 2*cab.GroupSize+7 || !errors.Is(err, tt.want) {
			t.Errorf("copied %d bytes in %d calls, %v, want %v", n, calls, err, tt.want)
		}
		reads := g.count()
		if reads > 2+4 {
			t.Errorf("%d groups read when 2 were written, want at most 4 more", reads)
		}
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, tt.want) {
			t.Errorf("Read after the error: %v", err)
		}
		if n, err := io.Copy(io.Discard, s); n != 0 || !errors.Is(err, tt.want) {
			t.Errorf("copied %d bytes after the error, %v", n, err)
		}
		s.Close()
		if again := g.count(); again != reads {
			t.Errorf("%d groups read after the end", again-reads)
		}
	}
}

// TestVerifyRawStopsMidway: within the groups that are in memory.
func TestVerifyRawStopsMidway(t *testing.T) {
	data := mixed(10*cab.GroupSize, 9)
	f, info := pack(t, containers[0], cab.Options{}, data, len(data))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, g := gated(t, f, info.PackedSize, 0)
	if _, err := cab.Open(g, info.PackedSize); err != nil {
		t.Fatal(err)
	}
	opened := g.count()
	_, g = gated(t, f, info.PackedSize, 0)
	g.read = func(n int) {
		if n == opened+2 {
			cancel()
		}
	}
	if _, err := cab.VerifyRaw(ctx, g, info.PackedSize); !errors.Is(err, context.Canceled) || g.count() > opened+2+cab.Window() {
		t.Errorf("VerifyRaw = %v after %d groups, want context.Canceled after at most %d", err, g.count()-opened, 2+cab.Window())
	}
}
