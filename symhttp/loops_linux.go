package symhttp

import (
	"context"
	"math"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// loops answer requests from memory, the page cache included. A connection whose requests
// were answered from there goes to one of them, where it needs neither a goroutine nor a
// buffer: putting one to sleep and waking it for each request takes longer than such an
// answer. A loop learns from the kernel which of its connections have sent something
// (epoll(7)) and goes through them. A request that it cannot answer at once leaves it, with
// its connection, and goes to fasthttp.
//
// Waking another processor takes longer than an answer too. So where each of the processors
// has a loop, its thread stays there, with the connections that the kernel takes in there as
// far as no loop has many more than the others.
type loops struct {
	all  []*loop
	cpus []int          // of the loops, in their order; nil: they run anywhere
	left sync.WaitGroup // connections that fasthttp serves for a loop
}

// AllowLoops raises GOMAXPROCS by one, as a program does once that is to have an event loop
// for each processor: one that waits in the kernel keeps its share of GOMAXPROCS for up to
// 10 ms, in which whoever is not for a loop would wait. From then on GOMAXPROCS stays as it
// is, whatever becomes of a CPU quota. One that the environment sets stays anyway.
func AllowLoops() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}

// newLoops makes as many loops as leave one of GOMAXPROCS to all others.
func newLoops(d *debuggers) (*loops, error) {
	n := runtime.GOMAXPROCS(0) - 1
	if n == 0 {
		return nil, nil
	}
	ls := &loops{}
	for range n {
		l, err := newLoop(d, ls)
		if err != nil {
			ls.free()
			return nil, err
		}
		ls.all = append(ls.all, l)
	}
	if cpus := allowed(); len(cpus) == n {
		ls.cpus = cpus
	}
	return ls, nil
}

func (ls *loops) free() {
	for _, l := range ls.all {
		l.free()
	}
}

// allowed returns the processors that this process may use, none if they are not known.
func allowed() (cpus []int) {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil { // there are more than fit
		return nil
	}
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}

// enter gives a connection, between two requests, to a loop, which has a descriptor of its
// own for it from then on. It reports false if no loop takes it.
func (ls *loops) enter(c *patientConn) bool {
	t, ok := c.Conn.(*net.TCPConn)
	if ls == nil || !ok {
		return false
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return false
	}
	fd, failed := -1, error(nil)
	err = raw.Control(func(theirs uintptr) { fd, failed = unix.FcntlInt(theirs, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil || failed != nil {
		return false
	}
	if ls.home(fd, nil).take(fd, looped{narrow: c.narrow}) {
		return true
	}
	unix.Close(fd)
	return false
}

// home returns the loop that a connection belongs to, in none or one of them now: that of
// the processor which the kernel took in its last bytes on (SO_INCOMING_CPU in socket(7)),
// unless it has more connections than others; else the one it is in, unless that has.
func (ls *loops) home(fd int, now *loop) *loop {
	least, held := now, int32(math.MaxInt32)
	for _, l := range ls.all {
		n := l.held.Load()
		if l == now {
			n-- // without this one
		}
		if n < held {
			least, held = l, n
		}
	}
	cpu, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_INCOMING_CPU)
	if i := slices.Index(ls.cpus, cpu); err == nil && i >= 0 && ls.all[i].held.Load() <= held+1 {
		return ls.all[i]
	}
	if now != nil && now.held.Load() <= held+2 {
		return now
	}
	return least
}

// sweep closes what has waited for a request for too long.
func (ls *loops) sweep(now time.Time) {
	if ls == nil {
		return
	}
	for _, l := range ls.all {
		l.sweep(now)
	}
}

// close closes the connections in loops. No other comes in.
func (ls *loops) close() {
	if ls == nil {
		return
	}
	for _, l := range ls.all {
		l.close()
	}
}

// run answers until ctx ends, and returns when no connection that left a loop is open.
func (ls *loops) run(ctx context.Context) error {
	if ls == nil {
		return nil
	}
	defer ls.left.Wait()
	var running sync.WaitGroup
	defer func() {
		running.Wait()
		ls.free()
	}()
	for i, l := range ls.all {
		running.Go(func() {
			if ls.cpus != nil {
				pin(ls.cpus[i])
			}
			l.run()
		})
	}
	<-ctx.Done()
	ls.close()
	return nil
}

// promptness is the slice of a processor's time that a loop asks for, the shortest that there
// is. A thread with a shorter slice than the one that runs goes first when it wakes, unless it
// has had more than its share (Linux 6.12 and later). So a request need not wait until work
// in the background has had all of its own, about 1.4 ms on two processors and 2.8 on eight.
const promptness = 100 * time.Microsecond

// pin keeps a goroutine, to its end, on a thread of its own and that on a processor, where it
// goes first.
func pin(cpu int) {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if unix.SchedSetaffinity(0, &set) != nil { // a sandbox can forbid it
		runtime.UnlockOSThread()
		return
	}
	if a, err := unix.SchedGetAttr(0, 0); err == nil {
		a.Runtime = uint64(promptness)
		_ = unix.SchedSetAttr(0, a, 0) // without, it waits as others do
	}
}
