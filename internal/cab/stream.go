package cab

import (
	"fmt"
	"io"
)

// groupStream is a prefix, the packed groups in some form, and a suffix.
type groupStream struct {
	cur    []byte // not yet returned; starts as the prefix
	groups int
	next   int
	load   func(buf []byte, i int) ([]byte, error)
	buf    []byte
	suffix []byte
	left   int64 // bytes of the promised length beyond cur
	err    error
}

// Read implements io.Reader.
func (s *groupStream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.fill(); err != nil {
		return 0, err
	}
	n := copy(p, s.cur)
	s.cur = s.cur[n:]
	return n, nil
}

// WriteTo implements io.WriterTo, without the copy Read makes.
func (s *groupStream) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if err := s.fill(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.Write(s.cur)
		total += int64(n)
		s.cur = s.cur[n:]
		if err != nil {
			return total, err
		}
	}
}

// fill makes cur non-empty. A stream of another length than promised is an error
// before the surplus is returned or the end reached.
func (s *groupStream) fill() error {
	for s.err == nil && len(s.cur) == 0 {
		switch {
		case s.next < s.groups:
			if s.buf == nil {
				s.buf = make([]byte, 0, maxPackedGroup)
			}
			s.cur, s.err = s.load(s.buf, s.next)
			s.next++
		case s.suffix != nil:
			s.cur, s.suffix = s.suffix, nil
		default:
			s.err = io.EOF
		}
		s.left -= int64(len(s.cur))
		if s.left < 0 || s.err == io.EOF && s.left != 0 {
			s.cur, s.err = nil, fmt.Errorf("%w: groups make %d bytes less than the head says", ErrCorrupt, s.left)
		}
	}
	return s.err
}

// Close implements io.Closer. Reading afterwards returns io.ErrClosedPipe.
func (s *groupStream) Close() error {
	s.cur, s.buf, s.err = nil, nil, io.ErrClosedPipe
	return nil
}
