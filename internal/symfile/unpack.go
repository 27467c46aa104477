package symfile

import (
	"fmt"
	"io"
)

// Exactly returns what r gives, and makes an error by bad unless that is size bytes
// followed by a clean end of r. It is for decoders of data whose size was announced.
// The read that takes the last byte sees the end, too: io.EOF says that all was sound.
func Exactly(r io.Reader, size uint64, bad func(found, want string) error) io.Reader {
	return &exact{r: r, left: size, size: size, bad: bad}
}

// An exact counts what a decoder gives against what was announced.
type exact struct {
	r          io.Reader
	left, size uint64
	bad        func(found, want string) error
	end        error // once all was read
}

// Read implements io.Reader.
func (e *exact) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, e.atEnd()
	}
	n, err := e.r.Read(p[:min(uint64(len(p)), e.left)])
	e.left -= uint64(n)
	switch {
	case e.left == 0:
		return n, e.atEnd()
	case err == nil:
		return n, nil
	case err == io.EOF:
		return n, e.bad(fmt.Sprintf("%d bytes", e.size-e.left), fmt.Sprintf("the announced %d", e.size))
	}
	return n, e.bad(fmt.Sprintf("%v after %d bytes", err, e.size-e.left), fmt.Sprintf("%d bytes", e.size))
}

// atEnd checks that the decoder is at its end, too, checksum included.
func (e *exact) atEnd() error {
	if e.end != nil {
		return e.end
	}
	var b [1]byte
	switch n, err := io.ReadFull(e.r, b[:]); {
	case n > 0:
		e.end = e.bad("more bytes", fmt.Sprintf("the announced %d", e.size))
	case err != io.EOF:
		e.end = e.bad(fmt.Sprintf("%v at the end", err), "a checksum that fits")
	default:
		e.end = io.EOF
	}
	return e.end
}
