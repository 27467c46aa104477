package validate_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"symkeep/internal/validate"
)

// countingReader counts how often it is read, and fails from a broken offset on.
type countingReader struct {
	io.ReaderAt
	reads  int
	broken int64 // 0: nowhere
}

var errBroken = errors.New("the disk is broken there")

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	c.reads++
	if c.broken > 0 && off+int64(len(p)) > c.broken {
		n, _ := c.ReaderAt.ReadAt(p[:max(0, c.broken-off)], off)
		return n, errBroken
	}
	return c.ReaderAt.ReadAt(p, off)
}

// TestIdentifyReads holds identification to few reads of a file: one block at its start,
// one at its end, and one wherever a directory points.
func TestIdentifyReads(t *testing.T) {
	for family, specimens := range builtSpecimens(t) {
		for _, s := range specimens {
			r := &countingReader{ReaderAt: bytes.NewReader(s.data)}
			id, err := validate.Identify(r, int64(len(s.data)), s.path)
			if err != nil || len(id.IDs) == 0 {
				t.Fatalf("%s: Identify(%s) = %+v, %v, want an id", family, s.origin, id, err)
			}
			if r.reads > 4 {
				t.Errorf("%s: Identify(%s) reads %d times, want at most 4", family, s.origin, r.reads)
			}
		}
	}
}

// TestHeaderReader compares random reads with those of the file itself.
func TestHeaderReader(t *testing.T) {
	for _, size := range []int{0, 1, 4095, 4096, 16 << 10, 16<<10 + 1, 100_000} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rand.Uint32())
		}
		file := bytes.NewReader(data)
		h := validate.NewHeaderReader(file, int64(size))
		for range 3000 {
			off, n := rand.Int64N(int64(size)+10), rand.IntN(200)
			if rand.IntN(20) == 0 {
				n = rand.IntN(size + 20)
			}
			got, want := make([]byte, n), make([]byte, n)
			gotN, gotErr := h.ReadAt(got, off)
			wantN, wantErr := file.ReadAt(want, off)
			// A reader may say that the file ends with the bytes that were asked for, or not.
			if gotN != wantN || !bytes.Equal(got, want) || gotN < n && gotErr != wantErr {
				t.Fatalf("size %d: ReadAt(%d bytes, %d) = %d, %v, want %d, %v", size, n, off, gotN, gotErr, wantN, wantErr)
			}
		}
	}
}

// TestHeaderReaderBroken has a file that cannot be read from some offset on: what lies
// before is read all the same, whatever a block would have brought besides.
func TestHeaderReaderBroken(t *testing.T) {
	data := slices.Repeat([]byte("0123456789abcdef"), 4096)
	h := validate.NewHeaderReader(&countingReader{ReaderAt: bytes.NewReader(data), broken: 5000}, int64(len(data)))
	b := make([]byte, 100)
	for _, off := range []int64{0, 4000, 4900} {
		if n, err := h.ReadAt(b, off); n != len(b) || err != nil || !bytes.Equal(b, data[off:off+100]) {
			t.Errorf("ReadAt at %d = %d, %v, want 100 bytes", off, n, err)
		}
	}
	for _, off := range []int64{4901, 20_000} {
		if n, err := h.ReadAt(b, off); n == len(b) || !errors.Is(err, errBroken) {
			t.Errorf("ReadAt at %d = %d, %v, want %v", off, n, err, errBroken)
		}
	}
}
