package cab

import (
	"fmt"
	"io"
	"runtime"
	"sync"
)

// maxAhead is the most groups a range inflates at the same time.
const maxAhead = 4

// Range returns raw bytes off to off+n in order, inflating a few groups ahead in
// parallel; it takes up to about 10 MiB. The caller closes it, which waits for the
// groups in flight. It must not be used by two goroutines at once. A range outside
// of the raw file yields an error that wraps ErrRange on Read; a damaged group one
// that wraps ErrCorrupt, after the bytes before it.
func (r *Reader) Range(off, n int64) io.ReadCloser { return r.RangeAhead(off, n, maxAhead) }

// RangeAhead is Range with at most so many groups inflated at the same time, 1 to 4: it
// takes about 2 MiB for each of them, and once more unless it is 1.
func (r *Reader) RangeAhead(off, n int64, ahead int) io.ReadCloser {
	if off < 0 || n < 0 || off > r.l.RawSize-n {
		err := fmt.Errorf("range of %d bytes at %d of %d: %w", n, off, r.l.RawSize, ErrRange)
		return &rangeReader{err: err}
	}
	if n == 0 {
		return &rangeReader{err: io.EOF}
	}
	return &rangeReader{
		jobs: inflateJobs{r: r, next: int(off / GroupSize), end: groupCount(off + n), upTo: off + n, ahead: min(max(ahead, 1), maxAhead)},
		skip: int(off % GroupSize),
		left: n,
	}
}

type rangeReader struct {
	jobs inflateJobs
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
	if err := s.fill(); err != nil {
		return 0, err
	}
	n := copy(p, s.cur)
	s.advance(n)
	return n, nil
}

// WriteTo implements io.WriterTo, without the copy Read makes.
func (s *rangeReader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if err := s.fill(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.Write(s.cur)
		total += int64(n)
		s.advance(n)
		if err != nil {
			return total, err
		}
	}
}

// fill makes cur non-empty.
func (s *rangeReader) fill() error {
	if s.err != nil || len(s.cur) > 0 {
		return s.err
	}
	if s.left == 0 {
		s.err = io.EOF
		return s.err
	}
	j, err := s.jobs.take()
	if err != nil {
		s.err = err
		return err
	}
	s.cur = j.raw[s.skip:]
	s.cur = s.cur[:min(int64(len(s.cur)), s.left)]
	s.skip = 0
	return nil
}

func (s *rangeReader) advance(n int) {
	s.cur = s.cur[n:]
	s.left -= int64(n)
}

// Close implements io.Closer. Reading afterwards returns io.ErrClosedPipe.
func (s *rangeReader) Close() error {
	s.jobs.stop()
	s.cur, s.err = nil, io.ErrClosedPipe
	return nil
}

// inflateJob inflates one group into buffers that later groups reuse.
type inflateJob struct {
	index       int
	packed, raw []byte
	whole       []byte // a copy of the packed group, in a strict run
	gzip        int    // its deflate bytes in the gzip answer, in a strict run
	err         error
	done        chan struct{}
}

// inflateJobs inflates the groups next to end-1 in parallel and hands them out in
// order.
type inflateJobs struct {
	r         *Reader
	next, end int
	upTo      int64         // raw offset at which the last of them may end early
	ahead     int           // at the same time
	strict    bool          // also fill whole and gzip, and check cabinet blocks
	queue     []*inflateJob // running, oldest first
	held      *inflateJob   // given to the caller
	free      []*inflateJob
}

// take returns the next group, its raw bytes valid until the next call.
func (q *inflateJobs) take() (*inflateJob, error) {
	if q.held != nil {
		q.free = append(q.free, q.held)
		q.held = nil
	}
	for ahead := min(runtime.GOMAXPROCS(0), q.ahead); q.next < q.end && len(q.queue) < ahead; q.next++ {
		j := q.idle()
		j.index, j.done = q.next, make(chan struct{})
		q.queue = append(q.queue, j)
		go j.run(q)
	}
	j := q.queue[0]
	q.queue = q.queue[1:]
	<-j.done
	q.held = j
	return j, j.err
}

// idleJobs have the buffers of ranges that were read: most ranges are of a group or
// two, and new buffers for each would cost as much as a good part of the inflating.
var idleJobs = sync.Pool{New: func() any { return new(inflateJob) }}

// idle returns a job that nobody uses.
func (q *inflateJobs) idle() *inflateJob {
	if n := len(q.free); n > 0 {
		j := q.free[n-1]
		q.free = q.free[:n-1]
		return j
	}
	return idleJobs.Get().(*inflateJob)
}

// stop waits for the groups in flight.
func (q *inflateJobs) stop() {
	if q.held != nil {
		q.free = append(q.free, q.held)
	}
	for _, j := range q.queue {
		<-j.done
		q.free = append(q.free, j)
	}
	for _, j := range q.free {
		j.err = nil
		idleJobs.Put(j)
	}
	q.next, q.queue, q.held, q.free = q.end, nil, nil, nil
}

// size is how many raw bytes of a group are wanted, from its start.
func (q *inflateJobs) size(i int) int {
	return int(min(int64(q.r.l.rawGroup(i)), q.upTo-int64(i)*GroupSize))
}

// run does the work; of q it reads only what does not change.
func (j *inflateJob) run(q *inflateJobs) {
	defer close(j.done)
	r := q.r
	if size := r.l.rawGroup(j.index); cap(j.raw) < size {
		j.raw = make([]byte, size)
	}
	j.raw = j.raw[:q.size(j.index)]
	p, err := r.packed(j.packed, j.index)
	if err != nil {
		j.err = err
		return
	}
	j.packed = p
	if !q.strict {
		j.err = r.inflate(j.raw, p, j.index)
	} else if j.err = j.inspect(r); j.err == nil {
		j.err = r.inflateAny(j.raw, p, j.index)
	}
}

// inspect checks what inflating does not look at.
func (j *inflateJob) inspect(r *Reader) error {
	j.whole = append(j.whole[:0], j.packed...)
	if r.l.Container == Cab {
		if err := checkFrames(j.packed, len(j.raw)); err != nil {
			return fmt.Errorf("group %d: %w", j.index, err)
		}
	}
	j.gzip = r.gzipLen(j.index, j.packed)
	return nil
}

// gzipLen returns how many bytes group i adds to the gzip answer. packed are those of
// the group; in a cabinet its frames have been checked.
func (r *Reader) gzipLen(i int, packed []byte) int {
	if r.l.Container != Cab {
		return len(packed)
	}
	return strippedSize(packed, r.l.ending(i))
}
