package cab

import (
	"fmt"
	"runtime"
	"sync"
)

const (
	// maxWorkers is the most groups of a file that are inflated at the same time.
	maxWorkers = 4
	// maxWindow is the most that are in memory.
	maxWindow = 2 * maxWorkers
)

// inflating bounds the groups that all crews of the process inflate at the same time: a
// program that serves beside them has more threads than processors, and those of requests
// find one free.
var inflating = make(chan struct{}, runtime.NumCPU())

// A crew inflates the groups next to end-1 and hands them on in order. Nobody waits for a
// group that another is to hand on, unless there is no more room: whoever has inflated the
// one that is due does that, and goes on with those that are ready behind it, while the
// others inflate. So a thread that inflates neither sleeps nor wakes another one up between
// two groups, after which Linux may leave a processor idle for some milliseconds.
type crew struct {
	r       *Reader
	end     int
	upTo    int64 // raw offset at which the last group may end early
	window  int   // groups in memory at the same time, 1 to maxWindow
	workers int   // of which so many are inflated at the same time, at most as many
	strict  bool  // also fill whole and gzip, and check cabinet blocks

	mu      sync.Mutex
	changed sync.Cond // due, or err
	next    int       // to be inflated
	due     int       // to be handed on, at most window before next
	handing bool      // somebody is at it
	ready   [maxWindow]*inflateJob
	err     error
	free    []*inflateJob
}

// newCrew returns one for the groups from first to the one before end. The caller closes it.
func newCrew(r *Reader, first, end int, upTo int64, window int) *crew {
	c := &crew{r: r, next: first, due: first, end: end, upTo: upTo, window: window, workers: min(processors(), window)}
	c.changed.L = &c.mu
	return c
}

// processors is how many groups of a file are inflated at the same time if there is memory.
// A server has GOMAXPROCS above the number of processors, so that requests need not wait.
func processors() int { return min(runtime.NumCPU(), runtime.GOMAXPROCS(0), maxWorkers) }

// all hands on every group that is left, or those before the first error. fn is called from
// several goroutines in turn; what it is given is valid until it returns. A panic of fn ends
// the process.
func (c *crew) all(fn func(*inflateJob) error) error {
	var others sync.WaitGroup
	for range min(c.workers, c.end-c.next) - 1 {
		others.Go(func() { c.work(fn) })
	}
	c.work(fn)
	others.Wait()
	return c.err
}

// work inflates and hands on until there is nothing left to begin.
func (c *crew) work(fn func(*inflateJob) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		c.handOn(fn)
		switch {
		case c.err != nil || c.next == c.end:
			return
		case c.next == c.due+c.window:
			c.changed.Wait()
		default:
			j := c.begin()
			c.mu.Unlock()
			j.run(c)
			c.mu.Lock()
			c.ready[j.index%maxWindow] = j
		}
	}
}

// handOn hands on what is ready, unless somebody is at it: they will see it. c.mu is held,
// but not while fn runs.
func (c *crew) handOn(fn func(*inflateJob) error) {
	if c.handing {
		return
	}
	c.handing = true
	for c.err == nil {
		j := c.takeReady()
		if j == nil {
			break
		}
		c.mu.Unlock()
		err := j.err
		if err == nil {
			err = fn(j)
		}
		c.mu.Lock()
		c.err = err
		c.free = append(c.free, j)
		c.due++
		c.changed.Broadcast()
	}
	c.handing = false
}

// takeReady returns the group that is due, or nil.
func (c *crew) takeReady() *inflateJob {
	at := &c.ready[c.due%maxWindow]
	j := *at
	*at = nil
	return j
}

// one returns the next group, valid until the one after it is asked for. If none is ready it
// inflates as many as there are workers. It is not for while all is at work.
func (c *crew) one() (*inflateJob, error) {
	if c.next == c.due {
		var batch sync.WaitGroup
		for range min(c.workers, c.end-c.next) {
			j := c.begin()
			c.ready[j.index%maxWindow] = j
			batch.Go(func() { j.run(c) })
		}
		batch.Wait()
	}
	j := c.takeReady()
	c.free = append(c.free, j)
	c.due++
	return j, j.err
}

// begin returns a job for the next group. all calls it with c.mu held.
func (c *crew) begin() *inflateJob {
	var j *inflateJob
	if n := len(c.free); n > 0 {
		j, c.free = c.free[n-1], c.free[:n-1]
	} else {
		j = idleJobs.Get().(*inflateJob)
	}
	j.index = c.next
	c.next++
	return j
}

// close lets others have the buffers.
func (c *crew) close() {
	for _, j := range append(c.free, c.ready[:]...) {
		if j != nil {
			idleJobs.Put(j)
		}
	}
	c.free, c.ready = nil, [maxWindow]*inflateJob{}
}

// idleJobs have the buffers of ranges that were read: most ranges are of a group or
// two, and new buffers for each would cost as much as a good part of the inflating.
var idleJobs = sync.Pool{New: func() any { return new(inflateJob) }}

// inflateJob inflates one group into buffers that later groups reuse.
type inflateJob struct {
	index       int
	packed, raw []byte
	whole       []byte // a copy of the packed group, in a strict run
	gzip        int    // its deflate bytes in the gzip answer, in a strict run
	err         error
}

// run does the work; of c it reads only what does not change.
func (j *inflateJob) run(c *crew) {
	r := c.r
	if size := r.l.rawGroup(j.index); cap(j.raw) < size {
		j.raw = make([]byte, size)
	}
	j.raw = j.raw[:c.size(j.index)]
	p, err := r.packed(j.packed, j.index)
	if err != nil {
		j.err = err
		return
	}
	j.packed = p
	inflating <- struct{}{} // not while the disk is waited for
	defer func() { <-inflating }()
	if !c.strict {
		j.err = r.inflate(j.raw, p, j.index)
	} else if j.err = j.inspect(r); j.err == nil {
		j.err = r.inflateAny(j.raw, p, j.index)
	}
}

// size is how many raw bytes of a group are wanted, from its start.
func (c *crew) size(i int) int {
	return int(min(int64(c.r.l.rawGroup(i)), c.upTo-int64(i)*GroupSize))
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
