package replication

import (
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// turn is how many bytes repair moves before others get theirs. Data that is
	// there as fast as it can be written would keep the processor until the scheduler
	// takes it away, 10 ms later, and a request waits for each such transfer.
	turn = 128 << 10

	// Turns per second. The fewest are 16 MiB/s, so that repair ends on any machine.
	fewestTurns = 128
	mostTurns   = 1 << 17

	lookEvery  = 100 * time.Millisecond // between looks at the processors
	startAgain = time.Second            // after so long without a turn
	mostBusy   = 0.97                   // share of the processors' time beyond which requests wait noticeably
	mostGrowth = 1.5                    // of the turns, from one look to the next
	lateBy     = 2 * time.Millisecond   // how late a turn may come on a machine with time to spare
	fewLate    = 1.0 / 16               // of the turns
)

// A Pace holds repair back while the machine is short of processor time, for
// requests wait then too, whatever its priority: the system copies and writes without
// looking at it. The transfers share a Pace and take turns, so many per second: few to
// begin with, then as many as leave the processors some time, whoever it is that needs
// them. Where the system does not tell how busy they are, turns that come too late do.
type Pace struct {
	times func() (cpuTimes, bool)
	moved atomic.Int64 // bytes in this turn

	mu      sync.Mutex
	rate    float64   // turns per second
	next    time.Time // of the turns, not given away yet
	looked  time.Time
	last    cpuTimes
	inTime  int // turns since the last look
	tooLate int
}

// NewPace returns one for a process.
func NewPace() *Pace { return &Pace{times: readCPUTimes} }

// cpuTimes are what the processors have done since the system started, in any unit.
type cpuTimes struct{ busy, idle uint64 }

// After is told of bytes that were moved, and waits at the end of a turn for the
// next. A nil Pace only lets others run.
func (p *Pace) After(n int) {
	if p == nil {
		runtime.Gosched()
		return
	}
	if p.moved.Add(int64(n)) < turn {
		return
	}
	p.moved.Store(0)
	begun := time.Now()
	due := p.book(begun)
	if !due.After(begun) {
		runtime.Gosched()
		return
	}
	time.Sleep(due.Sub(begun))
	p.came(time.Since(due))
}

// book gives the next turn away.
func (p *Pace) book(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.next) > startAgain {
		p.rate = fewestTurns
		p.look(now)
	} else if now.Sub(p.looked) >= lookEvery {
		p.rate = min(max(p.rate*p.look(now), fewestTurns), mostTurns)
	}
	if p.next.Before(now) {
		p.next = now
	}
	due := p.next
	p.next = due.Add(time.Duration(float64(time.Second) / p.rate))
	return due
}

// came is told how late a turn came.
func (p *Pace) came(late time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if late > lateBy {
		p.tooLate++
	} else {
		p.inTime++
	}
}

// look returns by how much there should be more turns, judging by what happened since
// the last look.
func (p *Pace) look(now time.Time) float64 {
	times, known := p.times()
	busy, idle := times.busy-p.last.busy, times.idle-p.last.idle
	late, all := p.tooLate, p.tooLate+p.inTime
	p.looked, p.last, p.inTime, p.tooLate = now, times, 0, 0
	switch {
	case known && busy+idle > 0:
		return growth(float64(busy) / float64(busy+idle) / mostBusy)
	case all > 0:
		return growth(float64(late) / float64(all) / fewLate)
	}
	return 1
}

// growth returns the factor for the turns at a load, of which 1 is as it should be.
func growth(load float64) float64 {
	return min(max(1/max(load, 0.01), 1/mostGrowth), mostGrowth)
}

// A PacedReaderAt waits for its turns while what it reads is verified.
type PacedReaderAt struct {
	io.ReaderAt
	Pace *Pace
}

// ReadAt implements io.ReaderAt.
func (r PacedReaderAt) ReadAt(b []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(b, off)
	r.Pace.After(n)
	return n, err
}

// paceOf returns the pace of a transfer, nil if somebody waits for it.
func (r *Replicator) paceOf(t transfer) *Pace {
	if !t.leisurely() {
		return nil
	}
	return r.pace
}
