package cab

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// inflater decodes deflate streams; it is reused, not shared.
type inflater struct {
	src bytes.Reader
	fr  io.ReadCloser
	out []byte
}

var inflaters = sync.Pool{New: func() any {
	z := new(inflater)
	z.fr = flate.NewReader(&z.src)
	return z
}}

// start decodes the first bytes of p, a deflate stream, into dst. Errors wrap
// ErrCorrupt.
func (z *inflater) start(dst, p, history []byte) error {
	z.src.Reset(p)
	if err := z.fr.(flate.Resetter).Reset(&z.src, history); err != nil {
		return fmt.Errorf("reset of the inflater: %w", err)
	}
	if n, err := io.ReadFull(z.fr, dst); err != nil {
		return fmt.Errorf("%w: deflate stream ends after %d raw bytes, want %d: %v", ErrCorrupt, n, len(dst), err)
	}
	return nil
}

// stream decodes p, one whole deflate stream, into dst and no more. Errors wrap
// ErrCorrupt.
func (z *inflater) stream(dst, p, history []byte) error {
	if err := z.start(dst, p, history); err != nil {
		return err
	}
	var more [1]byte
	switch n, err := io.ReadFull(z.fr, more[:]); {
	case n > 0:
		return fmt.Errorf("%w: deflate stream holds more than %d raw bytes", ErrCorrupt, len(dst))
	case err != io.EOF:
		return fmt.Errorf("%w: deflate stream of %d raw bytes: %v", ErrCorrupt, len(dst), err)
	case z.src.Len() > 0:
		return fmt.Errorf("%w: %d bytes after the end of the deflate stream", ErrCorrupt, z.src.Len())
	}
	return nil
}

// verify decodes the framed group block by block, each with the raw bytes before
// it as history, as a cabinet reader does, and compares the result with raw.
// Errors wrap ErrVerify.
func (z *inflater) verify(framed, raw []byte) error {
	if z.out == nil {
		z.out = make([]byte, blockSize)
	}
	for start := 0; start < len(raw); start += blockSize {
		yield()
		end := min(start+blockSize, len(raw))
		f, rest, err := nextFrame(framed, len(raw)-start)
		if err != nil {
			return fmt.Errorf("%w: %v", ErrVerify, err)
		}
		framed = rest
		if got := frameChecksum(f.whole); got != f.sum {
			return fmt.Errorf("%w: block at %d has checksum %08x, want %08x", ErrVerify, start, got, f.sum)
		}
		out := z.out[:end-start]
		if err := z.stream(out, f.data, raw[max(0, start-blockSize):start]); err != nil {
			return fmt.Errorf("%w: block at %d: %v", ErrVerify, start, err)
		}
		if !bytes.Equal(out, raw[start:end]) {
			return fmt.Errorf("%w: block at %d has other bytes than went in", ErrVerify, start)
		}
	}
	return nil
}
