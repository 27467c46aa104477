package elf

import (
	"bufio"
	"errors"
	"io"
)

// peekSize is how much of a unit is looked at: its header and root.
const peekSize = 4 << 10

// A stream is read forward; Peek gives at most peekSize bytes, End checks that
// what was unpacked ends here.
type stream interface {
	Peek(n int) ([]byte, error)
	Skip(n int64) error
	End() error
}

// A bufStream reads what must be unpacked in order.
type bufStream struct{ r *bufio.Reader }

func (b bufStream) Peek(n int) ([]byte, error) {
	p, err := b.r.Peek(n)
	if err != nil && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if len(p) == n {
		err = nil
	}
	return p, err
}

func (b bufStream) Skip(n int64) error {
	_, err := io.CopyN(io.Discard, b.r, n)
	return err
}

func (b bufStream) End() error {
	if _, err := b.r.Peek(1); err != io.EOF {
		return err
	}
	return nil
}

// A rawStream reads what is stored as it is, and passes over what is not asked
// for.
type rawStream struct {
	r        io.ReaderAt
	off, end int64
	buf      []byte // bytes at off
	block    []byte
}

func (s *rawStream) Peek(n int) ([]byte, error) {
	if len(s.buf) < n {
		if s.block == nil {
			s.block = make([]byte, readChunk(uint64(s.end-s.off)))
		}
		s.buf = s.block[:min(int64(len(s.block)), s.end-s.off)]
		if len(s.buf) < n {
			return nil, io.ErrUnexpectedEOF
		}
		if _, err := readFull(s.r, s.buf, s.off); err != nil {
			s.buf = nil
			return nil, err
		}
	}
	return s.buf[:n], nil
}

func (s *rawStream) Skip(n int64) error {
	s.off += n
	s.buf = s.buf[min(n, int64(len(s.buf))):]
	return nil
}

func (s *rawStream) End() error { return nil }
