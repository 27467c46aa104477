package symfile

import (
	"fmt"
	"io"
)

// Read returns the n bytes of r at off. If r, which holds size bytes, ends before,
// the error is a *FormatError for what, of the given kind. Nothing is allocated
// before the bounds are known to hold, so n may come from the file; a caller that
// wants less memory than the file has bytes limits n itself.
func Read(r io.ReaderAt, size, off, n int64, what string, kind error) ([]byte, error) {
	if off < 0 || n < 0 || off > size || n > size-off {
		return nil, &FormatError{Off: off, What: what, Found: fmt.Sprintf("the end at %d", size), Want: fmt.Sprintf("%d bytes", n), Kind: kind}
	}
	b := make([]byte, n)
	if m, err := r.ReadAt(b, off); int64(m) < n {
		return nil, fmt.Errorf("%s at %#x: %w", what, off, err)
	}
	return b, nil
}
