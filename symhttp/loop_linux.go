package symhttp

import (
	"bufio"
	"bytes"
	"fmt"
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
func (l *loop) take(fd int, c looped) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.add(fd, c, time.Now())
}

// add is take. l.mu is held.
func (l *loop) add(fd int, c looped, now time.Time) bool {
	if l.closed || l.watch(unix.EPOLL_CTL_ADD, fd) != nil {
		return false
	}
	for len(l.conns) <= fd {
		l.conns = append(l.conns, looped{})
	}
	c.heard = now.Sub(l.begun)
	l.conns[fd] = c
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
		if c.heard > 0 && c.pending == nil && now.Sub(l.begun)-c.heard > l.d.cfg.IdleTimeout {
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
	for _, fd := range slices.Clone(l.queue) {
		l.leave(fd, unfinished{in: l.conns[fd].pending})
	}
	var events [64]unix.EpollEvent
	for n := pollNow(l.poll, events[:]); n > 0; n = pollNow(l.poll, events[:]) {
		l.visit(events[:n], time.Now())
	}
	for fd, c := range l.conns {
		if c.heard > 0 {
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
	p.narrow = p.part.n > 0
	err := p.finish()
	if err == nil && len(p.in) > 0 {
		_ = s.http.ServeConn(p) // about this connection alone; it is closed
		return
	}
	p.looped = err == nil && ls.enter(p)
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
		l.turn(l.queue[0], now)
	}
	return true, len(l.queue) > 0
}

// visit goes through the connections that have something. l.mu is held.
func (l *loop) visit(events []unix.EpollEvent, now time.Time) {
	for _, e := range events {
		fd := int(e.Fd)
		if l.conns[fd].heard == 0 || l.conns[fd].pending != nil { // dropped in the meantime, or its turn comes
			continue
		}
		l.conns[fd].heard = now.Sub(l.begun)
		to := l.settle(fd)
		l.read(fd, now)
		l.give(fd, to, now)
	}
}

// turn answers the connection at the head of the queue, whose turn for a file has come.
// l.mu is held.
func (l *loop) turn(fd int, now time.Time) {
	in := l.conns[fd].pending
	l.queue, l.conns[fd].pending = l.queue[1:], nil
	to := l.settle(fd)
	head := firstHead(in)
	if r, a := l.answer(head); l.say(fd, in, head, r, a, now) {
		l.answerAll(fd, in[len(head):], now)
	}
	l.give(fd, to, now)
}

// settleEach is after how many answers one connection is looked at for where it belongs: a
// prime, so that of connections that take turns it is seldom the same one each time.
const settleEach = 61

// settle returns the loop that a connection is to be in. It comes before an answer: what that
// causes comes in here.
func (l *loop) settle(fd int) *loop {
	if l.visits++; l.visits%settleEach != 0 {
		return l
	}
	return l.ls.home(fd, l)
}

// give lets another loop have a connection that is still here and waits for nothing, unless
// that loop is busy. Clients, and what the kernel does for them, move between processors.
// l.mu is held.
func (l *loop) give(fd int, to *loop, now time.Time) {
	c := l.conns[fd]
	if to == l || c.heard == 0 || c.pending != nil || !to.mu.TryLock() { // it may be waiting for this one
		return
	}
	defer to.mu.Unlock()
	if to.add(fd, c, now) { // both watch it for a moment, in which neither can look at it
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
	l.answerAll(fd, l.in[:n], now)
}

// answerAll answers what a connection has sent, up to a request for a file: files are sent
// one at a time, between visits, so that no other connection waits for more than one.
// l.mu is held.
func (l *loop) answerAll(fd int, in []byte, now time.Time) {
	for len(in) > 0 {
		head := firstHead(in)
		r, a := l.answer(head)
		if a != nil && a.files != nil {
			l.enqueue(fd, in)
			return
		}
		if !l.say(fd, in, head, r, a, now) {
			return
		}
		in = in[len(head):]
	}
}

// enqueue has a connection wait for its turn, or leave if it has no room for a file. in
// begins with the request for one. l.mu is held.
func (l *loop) enqueue(fd int, in []byte) {
	if l.conns[fd].narrow {
		l.leave(fd, unfinished{in: in})
		return
	}
	l.conns[fd].pending = bytes.Clone(in)
	l.queue = append(l.queue, fd)
}

// say answers the first request of in, whose head is given, or has the connection leave if
// that is not for a loop to do. It reports whether it was answered, and the connection is
// still one of the loop. l.mu is held.
func (l *loop) say(fd int, in, head []byte, r *reply, a *answer, now time.Time) bool {
	part, ok := partNow(a)
	if !ok {
		l.leave(fd, unfinished{in: in})
		return false
	}
	l.d.metrics.sent(r.size)
	r.count.add(l.begun.Add(l.conns[fd].heard))
	l.dress(r, now)
	return l.send(fd, unfinished{in[len(head):], a.lead, part})
}

// partNow returns what a file gives of an answer, nothing if it has none. ok is false where
// there is no answer, or somebody has to wait for the disk.
func partNow(a *answer) (p filePart, ok bool) {
	if a == nil {
		return filePart{}, false
	}
	if p, ok = a.part(); ok && p.file != nil && !inPageCache(int(p.file.Fd()), p.off, p.n) {
		p.give()
		ok = false
	}
	return p, ok
}

// send sends l.head and what is to follow it. It reports whether all was sent, and the
// connection is still one of the loop. l.mu is held.
func (l *loop) send(fd int, u unfinished) bool {
	flags := uintptr(0)
	if u.part.n > 0 {
		flags = unix.MSG_MORE // see moreWriter
	}
	sent, err := sendNow(fd, l.head, u.out, flags)
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
		k, err := sendFileNow(fd, int(u.part.file.Fd()), &u.part.off, min(u.part.n, cachedPiece))
		u.part.n -= k
		if err != nil && err != unix.EINTR || err == nil && k == 0 {
			l.leave(fd, u) // there, an error is met again
			return false
		}
	}
	u.part.give()
	return true
}

// firstHead returns what in begins with up to the first empty line, nothing without one.
func firstHead(in []byte) []byte {
	const end = "\r\n\r\n"
	i := bytes.Index(in, []byte(end))
	if i < 0 {
		return nil
	}
	return in[:i+len(end)]
}

// answer returns what there is for the head of a request, or nil if that is not for a loop
// to say. In a stop nothing is: fasthttp ends each connection with its answer.
func (l *loop) answer(head []byte) (r *reply, a *answer) {
	defer func() {
		if recover() != nil { // the handler meets the same for fasthttp, and reports it
			r, a = nil, nil
		}
	}()
	if l.closed || l.d.waits.Err() != nil {
		return nil, nil
	}
	if r := l.replies[string(head)]; r != nil {
		if a := l.d.current(r); a != nil {
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
	if a = l.d.current(r); a == nil {
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
