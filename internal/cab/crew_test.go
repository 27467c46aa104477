package cab_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"symkeep/internal/cab"
)

// writerFunc is an io.Writer.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// counted opens a packed file. The reads of its groups, one for each, are counted.
func counted(t *testing.T, f *memFile, size int64) (*cab.Reader, *countingReader) {
	t.Helper()
	c := &countingReader{ReaderAt: f}
	r, err := cab.Open(c, size)
	if err != nil {
		t.Fatal(err)
	}
	c.reads.Store(0)
	return r, c
}

// keepFirst is for the first read to wait until there have been so many; 0: not at all.
func keepFirst(wait int64) func(int64) error {
	open := make(chan struct{})
	return func(n int64) error {
		if n == wait {
			close(open)
		}
		if n == 1 && wait > 0 {
			select {
			case <-open:
			case <-time.After(time.Minute):
				return errors.New("the others were not read meanwhile")
			}
		}
		return nil
	}
}

// TestRangeWritesInOrder: the first group is the last to be there, and yet the first to be
// written; and no more than fit into the window are there at the same time.
func TestRangeWritesInOrder(t *testing.T) {
	data := random(9*cab.GroupSize+5, 6)
	for _, c := range containers {
		f, info := pack(t, c, cab.Options{}, data, len(data))
		for _, tt := range []struct {
			window, workers int
			wait            int64
		}{
			{1, 1, 0}, {2, 1, 0}, {2, 2, 2}, {4, 2, 4}, {4, 4, 4}, {8, 3, 8}, {8, 4, 8},
		} {
			r, count := counted(t, f, info.PackedSize)
			count.nth = keepFirst(tt.wait)
			s := r.RangeWorkers(0, info.RawSize, tt.window, tt.workers)
			var got bytes.Buffer
			written := int64(0)
			n, err := io.Copy(writerFunc(func(p []byte) (int, error) {
				if reads := count.reads.Load(); reads > written+int64(tt.window) {
					t.Errorf("%s, %+v: %d groups read when %d were written", c.want, tt, reads, written)
				}
				written++
				return got.Write(p)
			}), s)
			if n != info.RawSize || err != nil || !bytes.Equal(got.Bytes(), data) {
				t.Fatalf("%s, %+v: copied %d bytes, %v, the right ones: %v", c.want, tt, n, err, bytes.Equal(got.Bytes(), data))
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
	data := random(5*cab.GroupSize, 7)
	f, info := pack(t, containers[0], cab.Options{}, data, len(data))
	for _, first := range []int{0, 1, cab.GroupSize - 10, cab.GroupSize, 3*cab.GroupSize + 1, len(data) - 20} {
		r, count := counted(t, f, info.PackedSize)
		if first > 0 {
			count.nth = keepFirst(3)
		}
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
	data := random(9*cab.GroupSize, 8)
	f, info := pack(t, containers[0], cab.Options{}, data, len(data))
	gone := errors.New("the client went away")
	for _, tt := range []struct {
		err, want error
	}{{gone, gone}, {nil, io.ErrShortWrite}} {
		r, count := counted(t, f, info.PackedSize)
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
		reads := count.reads.Load()
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
		if again := count.reads.Load(); again != reads {
			t.Errorf("%d groups read after the end", again-reads)
		}
	}
}

// TestVerifyRawStopsMidway: within the groups that are in memory.
func TestVerifyRawStopsMidway(t *testing.T) {
	data := random(10*cab.GroupSize, 9)
	f, info := pack(t, containers[0], cab.Options{}, data, len(data))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	count := &countingReader{ReaderAt: f}
	if _, err := cab.Open(count, info.PackedSize); err != nil {
		t.Fatal(err)
	}
	opened := count.reads.Swap(0)
	count.nth = func(n int64) error {
		if n == opened+2 {
			cancel()
		}
		return nil
	}
	_, err := cab.VerifyRaw(ctx, count, info.PackedSize)
	if groups := count.reads.Load() - opened; !errors.Is(err, context.Canceled) || groups > 2+int64(cab.Window()) {
		t.Errorf("VerifyRaw = %v after %d groups, want context.Canceled after at most %d", err, groups, 2+cab.Window())
	}
}
