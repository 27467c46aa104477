package replication

import (
	"io"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// turn is how many bytes repair moves before others get theirs. Data that is
	// there as fast as it can be written would keep the processor until the scheduler
	// takes it away, 10 ms later, and a request waits for each such transfer.
	turn = 128 << 10

	firstRest = time.Millisecond
	shortRest = 50 * time.Microsecond
	longRest  = 5 * time.Millisecond
	lateRest  = 2 * time.Millisecond // how late a rest may end on a machine with time to spare
)

// A pace holds repair back while the machine is short of processor time, for
// requests wait then too. Between turns it rests, and measures how late the rest
// ends: often too late, and rests become longer; in time, and they become shorter
// again, until repair is as fast as it can be. It is shared by all transfers.
type pace struct {
	rest  atomic.Int64 // nanoseconds
	moved atomic.Int64 // bytes in this turn
}

// after is told of bytes that were moved, and rests at the end of a turn. A nil pace
// only lets others run.
func (p *pace) after(n int) {
	if p == nil {
		runtime.Gosched()
		return
	}
	if p.moved.Add(int64(n)) < turn {
		return
	}
	p.moved.Store(0)
	rest := time.Duration(p.rest.Load())
	if rest == 0 {
		rest = firstRest
	}
	begun := time.Now()
	time.Sleep(rest)
	p.rest.Store(int64(nextRest(rest, time.Since(begun)-rest)))
}

// nextRest returns the rest after one that ended late by so much. Where one rest in
// thirty or so does, they stay as they are.
func nextRest(rest, late time.Duration) time.Duration {
	if late > lateRest {
		return min(rest+rest/4, longRest)
	}
	return max(rest-rest/128, shortRest)
}

// A pacedReaderAt rests while what it reads is verified.
type pacedReaderAt struct {
	io.ReaderAt
	pace *pace
}

// ReadAt implements io.ReaderAt.
func (r pacedReaderAt) ReadAt(b []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(b, off)
	r.pace.after(n)
	return n, err
}

// paceOf returns the pace of what is moved for that purpose; nil if somebody waits.
func (r *Replicator) paceOf(why purpose) *pace {
	if why == awaited {
		return nil
	}
	return &r.pace
}
