package validate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// An input hands a parser the bytes of one file. Reads past the declared size give
// io.EOF, which is the content's fault; any other failure is remembered as the
// machine's, so that a parser may take every error for damage and the core still
// knows better. It is safe for concurrent use.
type input struct {
	ctx  context.Context // one file's checks; they end with it
	r    io.ReaderAt
	size int64

	mu  sync.Mutex
	err error
}

func newInput(ctx context.Context, r io.ReaderAt, size int64) *input {
	return &input{ctx: ctx, r: r, size: size}
}

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
	n, err := in.r.ReadAt(want, off)
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
