package symhttp

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// conns counts the open connections of one server, and bounds them: a full server stops
// accepting and the next connections wait in the kernel's queue.
type conns struct {
	slots   chan struct{}
	stopped chan struct{}
	once    sync.Once
	loops   *loops // nil without

	mu   sync.Mutex
	open map[net.Conn]struct{} // without those in loops
	idle chan struct{}         // closed when open is empty; nil unless asked for
}

func newConns(limit int) *conns {
	return &conns{
		slots:   make(chan struct{}, limit),
		stopped: make(chan struct{}),
		open:    map[net.Conn]struct{}{},
	}
}

// changed is the server's ConnState hook. A hijacked connection is one that gets
// reset: it ends by itself.
func (c *conns) changed(conn net.Conn, state fasthttp.ConnState) {
	p, patient := conn.(*patientConn)
	switch state {
	case fasthttp.StateNew:
		c.add(conn)
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		if c.remove(conn) && !(patient && p.looped) {
			c.release()
		}
	default:
		if patient {
			p.moved(state)
		}
	}
}

func (c *conns) add(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[conn] = struct{}{}
}

// release lets another connection in.
func (c *conns) release() { <-c.slots }

func (c *conns) remove(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.open[conn]; !ok {
		return false
	}
	delete(c.open, conn)
	if len(c.open) == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
	return true
}

func (c *conns) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// stop lets a waiting Accept give up.
func (c *conns) stop() { c.once.Do(func() { close(c.stopped) }) }

// closeAll closes every open connection; their handlers end with an error. What is being
// sent ends in a RST.
func (c *conns) closeAll() {
	for _, conn := range c.all() {
		abort(conn)
		conn.Close()
	}
}

// all returns the open connections.
func (c *conns) all() []net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]net.Conn, 0, len(c.open))
	for conn := range c.open {
		all = append(all, conn)
	}
	return all
}

// empty returns a channel that closes once no connection is open, the last one asked for.
func (c *conns) empty() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	done := make(chan struct{})
	if len(c.open) == 0 {
		close(done)
		return done
	}
	c.idle = done
	return done
}

// limit returns ln with an Accept that waits for a free slot first.
func (c *conns) limit(ln net.Listener) net.Listener { return &limitedListener{ln, c} }

type limitedListener struct {
	net.Listener
	conns *conns
}

// Accept implements net.Listener. The connection is the one of the inner listener, with
// deadlines that are cheap to move.
// Errors that pass, such as too many open files, are waited out: fasthttp would
// stop serving.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.conns.slots <- struct{}{}:
	case <-l.conns.stopped:
		return nil, net.ErrClosed
	}
	for {
		conn, err := l.Listener.Accept()
		if err == nil {
			return newPatientConn(conn, l.conns.loops), nil
		}
		if !passing(err) || !l.pause() {
			l.conns.release()
			return nil, err
		}
	}
}

// passing reports whether an Accept may succeed after err.
func passing(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// pause waits a moment, and reports false at a stop.
func (l *limitedListener) pause() bool {
	select {
	case <-time.After(50 * time.Millisecond):
		return true
	case <-l.conns.stopped:
		return false
	}
}
