package validate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
)

// An input hands a parser the bytes of one file. Reads past the declared size give
// io.EOF, which is the content's fault; any other failure is remembered as the
// machine's, so that a parser may take every error for damage and the core still
// knows better. It is safe for concurrent use.
//
// Facts that outlive the check of a file hold on to the input. A reader behind it may
// hold megabytes, as one that unpacks does: release lets go of it.
type input struct {
	ctx  context.Context // one file's checks; they end with it
	r    atomic.Value    // of behind
	size int64

	mu  sync.Mutex
	err error
}

// behind is what an input reads from.
type behind struct{ io.ReaderAt }

// released is behind an input whose file is closed.
type released struct{}

// ReadAt implements io.ReaderAt.
func (released) ReadAt([]byte, int64) (int, error) { return 0, fs.ErrClosed }

func newInput(ctx context.Context, r io.ReaderAt, size int64) *input {
	in := &input{ctx: ctx, size: size}
	in.r.Store(behind{r})
	return in
}

// release lets go of the reader; reads fail from now on.
func (in *input) release() { in.r.Store(behind{released{}}) }

// ReadAt implements io.ReaderAt within the declared size.
func (in *input) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at negative offset %d", off)
	}
	if err := in.ctx.Err(); err != nil {
		return 0, in.fail(err)
	}
	if off >= in.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	want := p
	if int64(len(p)) > in.size-off {
		want = p[:in.size-off]
	}
	n, err := in.r.Load().(behind).ReadAt(want, off)
	switch {
	case n < len(want) && (err == nil || errors.Is(err, io.EOF)):
		return n, in.fail(fmt.Errorf("file ends at %d, wanted %d bytes: it changed while it was read: %w", off+int64(n), in.size, io.ErrUnexpectedEOF))
	case n < len(want):
		return n, in.fail(err)
	case len(want) < len(p):
		return n, io.EOF
	}
	return n, nil
}

func (in *input) fail(err error) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil {
		in.err = err
	}
	return err
}

// failure returns the first error that was not the content's fault.
func (in *input) failure() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err
}
