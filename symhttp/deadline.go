package symhttp

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// sweepEvery is how late a deadline of a connection may come true.
	sweepEvery = 250 * time.Millisecond
	// sweptFrom is how far away a deadline has to be for that not to matter.
	sweptFrom = 20 * sweepEvery
)

// A patientConn keeps deadlines that are far away to itself, and its server looks now
// and then for those that have passed. Fasthttp sets three for each request, which took
// the runtime a tenth of the time of a small answer; nearly all are replaced long before
// they come true. It passes sendfile on, and lets the head of an answer wait for it.
type patientConn struct {
	net.Conn
	writeMore func(p []byte) (int, error) // nil where nothing is gained by it
	more      bool                        // a file follows the next write

	loops      *loops // nil: it goes to none
	unfinished        // what it left one with
	narrow     bool   // it left for want of room for a file
	between    bool   // fasthttp waits for the next request
	swift      bool   // a loop would have answered the last one
	streak     int    // of such requests
	looped     bool   // it has gone to a loop

	mu          sync.Mutex
	read, write deadline
}

// A deadline is kept here, or has been handed to the connection itself, or neither.
type deadline struct {
	due    time.Time // zero: not kept here
	handed bool
}

// newPatientConn wraps a connection that may go to a loop, nil: to none.
func newPatientConn(conn net.Conn, ls *loops) *patientConn {
	return &patientConn{Conn: conn, writeMore: moreWriter(conn), loops: ls}
}

// headWaits says that a file follows the next write. Without that the head of an answer
// is a segment of its own, for which the client wakes up in vain.
func (c *patientConn) headWaits() { c.more = c.writeMore != nil }

// Write implements net.Conn.
func (c *patientConn) Write(p []byte) (int, error) {
	if !c.more {
		return c.Conn.Write(p)
	}
	c.more = false
	return c.writeMore(p)
}

// moved follows what fasthttp does with the connection.
func (c *patientConn) moved(state fasthttp.ConnState) {
	c.between = state == fasthttp.StateIdle
	switch {
	case !c.between:
		c.swift = false
	case c.swift:
		c.streak++
	default:
		c.streak = 0
	}
}

// Read implements net.Conn. A connection that goes to a loop, between two requests, ends
// for fasthttp, which closes its own descriptor.
func (c *patientConn) Read(p []byte) (int, error) {
	if len(c.in) > 0 {
		n := copy(p, c.in)
		c.in = c.in[n:]
		return n, nil
	}
	if c.between && c.streak >= loopAfter && c.loops.enter(c) {
		c.looped = true
		return 0, io.EOF
	}
	return c.Conn.Read(p)
}

// SetReadDeadline implements net.Conn.
func (c *patientConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read.set(t, c.Conn.SetReadDeadline)
}

// SetWriteDeadline implements net.Conn.
func (c *patientConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write.set(t, c.Conn.SetWriteDeadline)
}

// SetDeadline implements net.Conn.
func (c *patientConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (d *deadline) set(t time.Time, hand func(time.Time) error) error {
	if !t.IsZero() && time.Until(t) >= sweptFrom {
		d.due = t
		if !d.handed {
			return nil
		}
		d.handed = false
		return hand(time.Time{})
	}
	d.due, d.handed = time.Time{}, !t.IsZero()
	return hand(t)
}

// sweep hands on the deadlines that have passed.
func (c *patientConn) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read.sweep(now, c.Conn.SetReadDeadline)
	c.write.sweep(now, c.Conn.SetWriteDeadline)
}

func (d *deadline) sweep(now time.Time, hand func(time.Time) error) {
	if !d.due.IsZero() && now.After(d.due) {
		d.handed = hand(d.due) == nil // else the connection is closed
		d.due = time.Time{}
	}
}

// ReadFrom implements io.ReaderFrom: a TCP connection uses sendfile.
func (c *patientConn) ReadFrom(r io.Reader) (int64, error) {
	n, atOnce, err := sendCached(c.Conn, r)
	c.swift = c.swift && atOnce
	if err != nil {
		return n, err
	}
	m, err := io.Copy(c.Conn, r)
	return n + m, err
}

// SetLinger is that of a TCP connection.
func (c *patientConn) SetLinger(sec int) error {
	if l, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
		return l.SetLinger(sec)
	}
	return nil
}

// sweep looks for deadlines that have passed, until ctx ends.
func (c *conns) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			c.loops.sweep(now)
			for _, conn := range c.all() {
				if p, ok := conn.(*patientConn); ok {
					p.sweep(now)
				}
			}
		}
	}
}
