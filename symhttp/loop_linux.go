package symhttp

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// loops answer requests from memory, the page cache included. A connection whose requests
// were answered from there goes to one of them, where it needs neither a goroutine nor a buffer: putting one to
// sleep and waking it for each request takes longer than such an answer. A loop learns
// from the kernel which of its connections have sent something (epoll(7)) and goes through
// them. A request that it cannot answer at once leaves it, with its connection, and goes
// to fasthttp.
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
func (ls *loops) enter(conn net.Conn, narrow bool) bool {
	t, ok := conn.(*net.TCPConn)
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
	if ls.home(fd, nil).take(fd, narrow) {
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

// pin keeps a goroutine, to its end, on a thread of its own and that on a processor.
func pin(cpu int) {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if unix.SchedSetaffinity(0, &set) != nil { // a sandbox can forbid it
		runtime.UnlockOSThread()
	}
}

// A looped is a connection in a loop.
type looped struct {
	heard   time.Duration // when it last sent something, after loop.begun; 0: there is no connection
	narrow  bool          // it had no room for a file: it gets none here
	pending []byte        // what it sent from a request for a file on, whose turn has not come; nil: nothing
}

// A loop is an epoll instance and its connections, which nobody else reads or writes.
type loop struct {
	d     *debuggers
	ls    *loops
	begun time.Time
	poll  int
	ended int // an eventfd, written to when the loop has been closed

	held atomic.Int32 // connections

	mu      sync.Mutex
	conns   []looped // by descriptor
	queue   []int    // descriptors of those with something pending
	visits  int      // so far
	closed  bool
	rc      fasthttp.RequestCtx
	uri     fasthttp.URI
	in      []byte
	head    []byte
	miss    []byte // head of the last miss
	date    []byte
	second  int64 // of date
	replies map[string]*reply
	source  bytes.Reader
	reader  *bufio.Reader
}

func newLoop(d *debuggers, ls *loops) (*loop, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll instance: %w", err)
	}
	l := &loop{d: d, ls: ls, begun: time.Now().Add(-1), poll: poll,
		in: make([]byte, d.cfg.HeaderBytes), replies: map[string]*reply{}}
	l.reader = bufio.NewReaderSize(&l.source, d.cfg.HeaderBytes)
	if l.ended, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(poll)
		return nil, fmt.Errorf("make an event descriptor: %w", err)
	}
	if err := l.watch(unix.EPOLL_CTL_ADD, l.ended); err != nil {
		l.free()
		return nil, fmt.Errorf("watch an event descriptor: %w", err)
	}
	return l, nil
}

// free closes the loop's own descriptors. It does not run any more.
func (l *loop) free() {
	unix.Close(l.poll)
	unix.Close(l.ended)
}

// take makes a connection one of the loop.
func (l *loop) take(fd int, narrow bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.add(fd, narrow, time.Now())
}

// add is take. l.mu is held.
func (l *loop) add(fd int, narrow bool, now time.Time) bool {
	if l.closed || l.watch(unix.EPOLL_CTL_ADD, fd) != nil {
		return false
	}
	for len(l.conns) <= fd {
		l.conns = append(l.conns, looped{})
	}
	l.conns[fd] = looped{heard: now.Sub(l.begun), narrow: narrow}
	l.held.Add(1)
	return true
}

func (l *loop) watch(op, fd int) error {
	return unix.EpollCtl(l.poll, op, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// sweep leaves it to the next time if the loop is busy.
func (l *loop) sweep(now time.Time) {
	if !l.mu.TryLock() {
		return
	}
	defer l.mu.Unlock()
	for fd, c := range l.conns {
		if c.heard > 0 && now.Sub(l.begun)-c.heard > l.d.cfg.IdleTimeout {
			l.drop(fd)
		}
	}
}

// close lets fasthttp answer what has been sent already, and closes the rest.
func (l *loop) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut()
}

// shut is close. l.mu is held.
func (l *loop) shut() {
	if l.closed {
		return
	}
	l.closed = true
	var events [64]unix.EpollEvent
	for n := pollNow(l.poll, events[:]); n > 0; n = pollNow(l.poll, events[:]) {
		l.visit(events[:n], time.Now())
	}
	for fd, c := range l.conns {
		switch {
		case c.pending != nil:
			l.leave(fd, unfinished{in: c.pending})
		case c.heard > 0:
			l.drop(fd)
		}
	}
	_, _ = unix.Write(l.ended, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // the first write has room
}

// forget lets go of a connection, not of its descriptor. l.mu is held.
func (l *loop) forget(fd int) {
	if l.conns[fd].pending != nil {
		l.queue = slices.DeleteFunc(l.queue, func(queued int) bool { return queued == fd })
	}
	l.conns[fd] = looped{}
	l.held.Add(-1)
	_ = l.watch(unix.EPOLL_CTL_DEL, fd) // closing it does not: fasthttp may have another one still
}

// drop closes a connection. l.mu is held.
func (l *loop) drop(fd int) {
	l.forget(fd)
	unix.Close(fd)
	l.d.conns.release()
}

// leave has a connection served by others. l.mu is held.
func (l *loop) leave(fd int, u unfinished) {
	l.forget(fd)
	f := os.NewFile(uintptr(fd), "connection")
	conn, err := net.FileConn(f)
	if err != nil { // too many files are open: the client had better ask again
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	f.Close()
	if err != nil {
		u.part.give()
		l.d.conns.release()
		return
	}
	u.in = bytes.Clone(u.in)
	p := newPatientConn(conn, l.ls)
	p.unfinished = u
	if n := u.left(); n > 0 {
		p.SetWriteDeadline(time.Now().Add(l.d.cfg.WriteTimeout + l.d.cfg.sending(n)))
	}
	l.d.conns.add(p)
	l.ls.left.Go(func() { l.ls.serve(l.d.Server, p) })
}

// serve finishes an answer, then has fasthttp go on from what was read. A connection of
// which nothing was goes back to a loop.
func (ls *loops) serve(s *Server, p *patientConn) {
	narrow := p.part.n > 0
	err := p.finish(p)
	if err == nil && len(p.in) > 0 {
		_ = s.http.ServeConn(p) // about this connection alone; it is closed
		return
	}
	p.looped = err == nil && ls.enter(p.Conn, narrow)
	p.Conn.Close()
	s.conns.changed(p, fasthttp.StateClosed)
}

// kindness is how long a loop goes on while others wait for its processor. To let them have
// it takes some 20 us, as the loop has a thread to itself.
const kindness = 4 * time.Millisecond

// run answers until close.
func (l *loop) run() {
	events := make([]unix.EpollEvent, 64)
	rested := time.Now()
	for open, more := true, false; open; {
		n := pollNow(l.poll, events)
		waits := n == 0 && !more
		if waits { // a client that asks again at once wakes it on the processor that both are on
			n, _ = unix.EpollWait(l.poll, events, -1) // none if there was a signal
		}
		now := time.Now()
		if waits {
			rested = now
		} else if now.Sub(rested) > kindness {
			runtime.Gosched()
			rested = now
		}
		open, more = l.serve(events[:max(n, 0)], now)
	}
}

// serve visits connections, then sends one file. It reports whether the loop is open still,
// and whether more files are to be sent.
func (l *loop) serve(events []unix.EpollEvent, now time.Time) (open, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false, false
	}
	l.visit(events, now)
	if len(l.queue) > 0 {
		fd := l.queue[0]
		c := l.conns[fd]
		l.queue, l.conns[fd].pending = l.queue[1:], nil
		l.answerAll(fd, c.pending, l.begun.Add(c.heard), true)
	}
	return true, len(l.queue) > 0
}

// settleEach is after how many visits one connection is looked at for where it belongs: a
// prime, so that of connections that take turns it is seldom the same one each time.
const settleEach = 61

// visit goes through the connections that have something. l.mu is held.
func (l *loop) visit(events []unix.EpollEvent, now time.Time) {
	for _, e := range events {
		fd := int(e.Fd)
		if l.conns[fd].heard == 0 || l.conns[fd].pending != nil { // dropped in the meantime, or its turn comes
			continue
		}
		l.conns[fd].heard = now.Sub(l.begun)
		to := l
		if l.visits++; l.visits%settleEach == 0 {
			to = l.ls.home(fd, l) // before an answer: what that causes comes in here
		}
		l.read(fd, now)
		if c := l.conns[fd]; to != l && c.heard > 0 && c.pending == nil {
			l.give(fd, to, now)
		}
	}
}

// give lets another loop have a connection, unless that loop is busy. Clients, and what the
// kernel does for them, move between processors. l.mu is held.
func (l *loop) give(fd int, to *loop, now time.Time) {
	if !to.mu.TryLock() { // it may be waiting for this one
		return
	}
	defer to.mu.Unlock()
	if to.add(fd, l.conns[fd].narrow, now) { // both watch it for a moment, in which neither can look at it
		l.forget(fd)
	}
}

// read answers what a connection has sent. l.mu is held.
func (l *loop) read(fd int, now time.Time) {
	n, err := readNow(fd, l.in)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil || n == 0:
		l.drop(fd)
		return
	}
	l.answerAll(fd, l.in[:n], now, false)
}

// answerAll answers what a connection has sent, up to a request for a file: files are sent
// one at a time, between visits, so that nobody who asks for less waits for more than one.
// first says that the turn of the first request has come. l.mu is held.
func (l *loop) answerAll(fd int, in []byte, heard time.Time, first bool) {
	for ; len(in) > 0; first = false {
		head, rest := cutHead(in)
		r, a := l.answer(head)
		if a != nil && a.files != nil && !first && !l.conns[fd].narrow {
			l.conns[fd].pending = bytes.Clone(in)
			l.queue = append(l.queue, fd)
			return
		}
		part, ok := l.part(fd, a)
		if !ok {
			l.leave(fd, unfinished{in: in})
			return
		}
		l.d.metrics.sent(r.size)
		r.count.add(heard)
		l.dress(r, heard)
		if in = rest; !l.send(fd, unfinished{in, a.lead, part}) {
			return
		}
	}
}

// part returns what a file gives of an answer, nothing if it has none. ok is false where
// there is no answer, or somebody has to wait for the disk or for the connection.
func (l *loop) part(fd int, a *answer) (p filePart, ok bool) {
	if a == nil || a.files != nil && l.conns[fd].narrow {
		return filePart{}, false
	}
	p, err := a.part()
	if err != nil || p.file != nil && !inPageCache(int(p.file.Fd()), p.off, p.n) {
		p.give()
		return filePart{}, false
	}
	return p, true
}

// send sends l.head and what is to follow it. It reports whether all was sent, and the
// connection is still one of the loop. l.mu is held.
func (l *loop) send(fd int, u unfinished) bool {
	sent, err := sendNow(fd, l.head, u.out, u.part.n > 0)
	switch {
	case err != nil && err != unix.EAGAIN && err != unix.EINTR:
		u.part.give()
		l.drop(fd)
		return false
	case sent < len(l.head)+len(u.out):
		u.out = append(bytes.Clone(l.head), u.out...)[sent:]
		l.leave(fd, u)
		return false
	}
	u.out = nil
	for u.part.n > 0 {
		k, err := sendFileNow(fd, int(u.part.file.Fd()), &u.part.off, u.part.n)
		u.part.n -= k
		if err != nil && err != unix.EINTR || err == nil && k == 0 {
			l.leave(fd, u) // there, an error is met again
			return false
		}
	}
	u.part.give()
	return true
}

// cutHead splits after the first empty line. Without one the head is empty.
func cutHead(in []byte) (head, rest []byte) {
	const end = "\r\n\r\n"
	i := bytes.Index(in, []byte(end))
	if i < 0 {
		return nil, in
	}
	return in[:i+len(end)], in[i+len(end):]
}

// answer returns what there is for the head of a request, or nil if that is not for a loop
// to say. In a stop nothing is: fasthttp ends each connection with its answer.
func (l *loop) answer(head []byte) (r *reply, a *answer) {
	defer func() {
		if recover() != nil { // the handler meets the same for fasthttp, and reports it
			r, a = nil, nil
		}
	}()
	if l.d.waits.Err() != nil {
		return nil, nil
	}
	if r := l.replies[string(head)]; r != nil {
		if a := l.d.body(r); a != nil {
			return r, a
		}
		delete(l.replies, string(head))
	}
	if r = l.make(head); r == nil {
		return nil, nil
	}
	if r.missing { // they are all alike
		if !bytes.Equal(l.miss, r.head) {
			l.miss = r.head
		}
		r.head = l.miss
	}
	if a = l.d.body(r); a == nil {
		return nil, nil
	}
	if len(head) <= replyHead {
		if len(l.replies) >= repliesMost {
			clear(l.replies)
		}
		l.replies[string(head)] = r
	}
	return r, a
}

// make makes a reply, nil for what is not the head of one simple request.
func (l *loop) make(head []byte) *reply {
	l.source.Reset(head)
	l.reader.Reset(&l.source)
	if err := l.rc.Request.Header.Read(l.reader); err != nil || l.reader.Buffered() > 0 || l.source.Len() > 0 {
		return nil
	}
	h := &l.rc.Request.Header
	if !simple(h) || l.uri.Parse(h.Host(), h.RequestURI()) != nil {
		return nil
	}
	l.rc.Response.Reset()
	l.rc.Response.Header.DisableNormalizing()
	l.rc.Response.Header.SetNoDefaultContentType(true)
	return l.d.reply(&l.rc)
}

// dress makes the head to send, with the date of now.
func (l *loop) dress(r *reply, now time.Time) {
	if s := now.Unix(); s != l.second {
		l.second, l.date = s, fasthttp.AppendHTTPDate(l.date[:0], now)
	}
	l.head = append(l.head[:0], r.head...)
	copy(l.head[r.date:], l.date)
}
