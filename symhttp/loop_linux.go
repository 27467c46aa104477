package symhttp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// loops answer requests from memory. A connection whose requests were answered from there
// goes to one of them, where it needs neither a goroutine nor a buffer: putting one to
// sleep and waking it for each request takes longer than such an answer. A loop learns
// from the kernel which of its connections have sent something (epoll(7)) and goes through
// them. A request that it cannot answer at once leaves it, with its connection, and goes
// to fasthttp.
type loops struct {
	all  []*loop
	left sync.WaitGroup // connections that fasthttp serves for a loop
}

// newLoops makes one loop for each processor.
func newLoops(d *debuggers) (*loops, error) {
	ls := &loops{}
	for range runtime.GOMAXPROCS(0) {
		l, err := newLoop(d, ls)
		if err != nil {
			ls.close()
			return nil, err
		}
		ls.all = append(ls.all, l)
	}
	return ls, nil
}

// enter gives a connection, between two requests, to a loop, which has a descriptor of its
// own for it from then on. It reports false if no loop takes it.
func (ls *loops) enter(conn net.Conn) bool {
	t, ok := conn.(*net.TCPConn)
	if ls == nil || !ok {
		return false
	}
	least := ls.all[0]
	for _, l := range ls.all[1:] {
		if l.held.Load() < least.held.Load() {
			least = l
		}
	}
	return least.enter(t)
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
	defer running.Wait()
	for _, l := range ls.all {
		running.Go(l.run)
	}
	<-ctx.Done()
	ls.close()
	return nil
}

// A loop is an epoll instance and its connections, which nobody else reads or writes.
type loop struct {
	d     *debuggers
	ls    *loops
	begun time.Time
	poll  *os.File // the runtime watches the instance like a connection
	raw   syscall.RawConn

	held atomic.Int32 // connections

	mu      sync.Mutex
	heard   []time.Duration // when each descriptor's connection was last heard of, after begun; 0: there is none
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
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = unix.SetNonblock(fd, true) // the sign for os.NewFile to have it watched
	}
	if err != nil {
		return nil, fmt.Errorf("make an epoll instance: %w", err)
	}
	l := &loop{d: d, ls: ls, begun: time.Now().Add(-1), poll: os.NewFile(uintptr(fd), "epoll"),
		in: make([]byte, d.cfg.HeaderBytes), replies: map[string]*reply{}}
	l.reader = bufio.NewReaderSize(&l.source, d.cfg.HeaderBytes)
	if err := l.poll.SetReadDeadline(time.Time{}); err != nil {
		l.poll.Close()
		return nil, fmt.Errorf("watch an epoll instance: %w", err)
	}
	l.raw, err = l.poll.SyscallConn()
	return l, err
}

func (l *loop) enter(conn *net.TCPConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	fd, failed := -1, error(nil)
	err = raw.Control(func(theirs uintptr) { fd, failed = unix.FcntlInt(theirs, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil || failed != nil {
		return false
	}
	if l.watch(unix.EPOLL_CTL_ADD, fd) != nil {
		unix.Close(fd)
		return false
	}
	for len(l.heard) <= fd {
		l.heard = append(l.heard, 0)
	}
	l.heard[fd] = time.Since(l.begun)
	l.held.Add(1)
	return true
}

func (l *loop) watch(op, fd int) error {
	var failed error
	err := l.raw.Control(func(poll uintptr) {
		failed = unix.EpollCtl(int(poll), op, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	})
	return errors.Join(err, failed)
}

// sweep leaves it to the next time if the loop is busy.
func (l *loop) sweep(now time.Time) {
	if !l.mu.TryLock() {
		return
	}
	defer l.mu.Unlock()
	for fd, heard := range l.heard {
		if heard > 0 && now.Sub(l.begun)-heard > l.d.cfg.IdleTimeout {
			l.drop(fd)
		}
	}
}

// close lets fasthttp answer what has been sent already, and closes the rest.
func (l *loop) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	var events [64]unix.EpollEvent
	for n := 1; n > 0; {
		if err := l.raw.Control(func(poll uintptr) { n = pollNow(int(poll), events[:]) }); err != nil {
			break
		}
		l.visit(events[:n], time.Now())
	}
	for fd, heard := range l.heard {
		if heard > 0 {
			l.drop(fd)
		}
	}
	l.poll.Close()
}

// forget lets go of a connection, not of its descriptor. l.mu is held.
func (l *loop) forget(fd int) {
	l.heard[fd] = 0
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
		l.d.conns.release()
		return
	}
	u.in = bytes.Clone(u.in)
	p := newPatientConn(conn, l.ls)
	p.unfinished = u
	if len(u.out) > 0 {
		p.SetWriteDeadline(time.Now().Add(l.d.cfg.WriteTimeout))
	}
	l.d.conns.add(p)
	l.ls.left.Go(func() { l.ls.serve(l.d.Server, p) })
}

// serve finishes an answer, then has fasthttp go on from what was read. A connection of
// which nothing was goes back to a loop.
func (ls *loops) serve(s *Server, p *patientConn) {
	err := p.finish(p.Conn)
	if err == nil && len(p.in) > 0 {
		_ = s.http.ServeConn(p) // about this connection alone; it is closed
		return
	}
	p.looped = err == nil && ls.enter(p.Conn)
	p.Conn.Close()
	s.conns.changed(p, fasthttp.StateClosed)
}

// kindness is how long a loop goes on while others wait for its processor.
const kindness = time.Millisecond

// run answers until close.
func (l *loop) run() {
	events := make([]unix.EpollEvent, 64)
	for rested := time.Now(); ; {
		n, parked := 0, false
		err := l.raw.Read(func(poll uintptr) bool {
			n = pollNow(int(poll), events)
			parked = parked || n == 0
			return n > 0
		})
		if err != nil {
			return // closed
		}
		now := time.Now()
		if parked {
			rested = now
		} else if now.Sub(rested) > kindness {
			runtime.Gosched()
			rested = now
		}
		l.serve(events[:n], now)
	}
}

func (l *loop) serve(events []unix.EpollEvent, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.visit(events, now)
}

// visit goes through the connections that have something. l.mu is held.
func (l *loop) visit(events []unix.EpollEvent, now time.Time) {
	for _, e := range events {
		if fd := int(e.Fd); l.heard[fd] > 0 { // not dropped in the meantime
			l.heard[fd] = now.Sub(l.begun)
			l.read(fd, now)
		}
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
	for in := l.in[:n]; len(in) > 0; {
		head, rest := cutHead(in)
		r, body := l.answer(head)
		if r == nil {
			l.leave(fd, unfinished{in: in})
			return
		}
		l.d.metrics.sent(int64(len(body)))
		r.count.add(now)
		l.dress(r, now)
		in = rest
		sent, err := sendNow(fd, l.head, body)
		switch {
		case err != nil && err != unix.EAGAIN && err != unix.EINTR:
			l.drop(fd)
			return
		case sent < len(l.head)+len(body):
			l.leave(fd, unfinished{in: in, out: append(bytes.Clone(l.head), body...)[sent:]})
			return
		}
	}
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
func (l *loop) answer(head []byte) (r *reply, body []byte) {
	defer func() {
		if recover() != nil { // the handler meets the same for fasthttp, and reports it
			r = nil
		}
	}()
	if l.d.waits.Err() != nil {
		return nil, nil
	}
	if r := l.replies[string(head)]; r != nil {
		if body, ok := l.d.body(r); ok {
			return r, body
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
	body, ok := l.d.body(r)
	if !ok {
		return nil, nil
	}
	if len(head) <= replyHead {
		if len(l.replies) >= repliesMost {
			clear(l.replies)
		}
		l.replies[string(head)] = r
	}
	return r, body
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
