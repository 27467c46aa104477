package cab

import (
	"fmt"
	"io"
)

// Range returns raw bytes off to off+n in order, inflating groups in parallel; WriteTo keeps
// all processors at it. It takes up to about 16 MiB, 4 for each of up to 4 processors. The
// caller closes it. It must not be used by two goroutines at once. A range outside of the
// raw file yields an error that wraps ErrRange on Read; a damaged group one that wraps
// ErrCorrupt, after the bytes before it.
func (r *Reader) Range(off, n int64) io.ReadCloser { return r.RangeWindow(off, n, Window()) }

// Window returns how many groups in memory keep all processors busy: groups take from a
// quarter to twice the mean, and who is done with quick ones need not wait for a slow one
// before them.
func Window() int { return 2 * processors() }

// RangeWindow is Range with at most so many groups in memory at the same time, 1 to 8: each
// takes about 2 MiB.
func (r *Reader) RangeWindow(off, n int64, window int) io.ReadCloser {
	if off < 0 || n < 0 || off > r.l.RawSize-n {
		err := fmt.Errorf("range of %d bytes at %d of %d: %w", n, off, r.l.RawSize, ErrRange)
		return &rangeReader{err: err}
	}
	if n == 0 {
		return &rangeReader{err: io.EOF}
	}
	return &rangeReader{
		crew: newCrew(r, int(off/GroupSize), groupCount(off+n), off+n, min(max(window, 1), maxWindow)),
		skip: int(off % GroupSize),
		left: n,
	}
}

type rangeReader struct {
	crew *crew  // nil: there is nothing to read
	skip int    // bytes of the next group before the range
	left int64  // bytes not yet returned
	cur  []byte // inflated, not yet returned
	err  error
}

// Read implements io.Reader.
func (s *rangeReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	switch {
	case s.err != nil:
	case s.left == 0:
		s.err = io.EOF
	case len(s.cur) == 0:
		var j *inflateJob
		if j, s.err = s.crew.one(); s.err == nil {
			s.take(j)
		}
	}
	n := copy(p, s.cur)
	s.cur = s.cur[n:]
	s.left -= int64(n)
	return n, s.err
}

// take makes a group current.
func (s *rangeReader) take(j *inflateJob) {
	s.cur = j.raw[s.skip:]
	s.cur = s.cur[:min(int64(len(s.cur)), s.left)]
	s.skip = 0
}

// WriteTo implements io.WriterTo. It calls w.Write for one group after the other, from
// several goroutines in turn. Any error is final.
func (s *rangeReader) WriteTo(w io.Writer) (total int64, err error) {
	if s.err != nil {
		return 0, s.ended()
	}
	write := func() error {
		n, err := w.Write(s.cur)
		total += int64(n)
		s.cur = s.cur[n:]
		s.left -= int64(n)
		if err == nil && len(s.cur) > 0 {
			err = io.ErrShortWrite
		}
		return err
	}
	if len(s.cur) > 0 {
		s.err = write()
	}
	if s.err == nil {
		s.err = s.crew.all(func(j *inflateJob) error {
			s.take(j)
			return write()
		})
	}
	if s.err == nil {
		s.err = io.EOF
	}
	return total, s.ended()
}

// ended returns why there is no more, nil at the end of the range.
func (s *rangeReader) ended() error {
	if s.err == io.EOF {
		return nil
	}
	return s.err
}

// Close implements io.Closer. Reading afterwards returns io.ErrClosedPipe.
func (s *rangeReader) Close() error {
	if s.crew != nil {
		s.crew.close()
	}
	s.cur, s.err = nil, io.ErrClosedPipe
	return nil
}
