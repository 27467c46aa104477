package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"symkeep/symhttp"
)

// hangPatience is how long Run waits for its parts once a write has hung, and how
// long the program then has until it is ended by force. The others elect a leader in
// that time, which is told why this node goes.
const hangPatience = 6 * time.Second

// endPatience is how long a node that stops itself may take to end, beside what its
// requests are given. A disk that has failed may hang next, when nobody watches it
// any more.
const endPatience = time.Minute

// An ending is why a node stops by itself. The first one stands.
type ending struct {
	once  sync.Once
	set   chan struct{} // closed once err stands
	hangs sync.Once
	hung  chan struct{} // closed when some goroutine may never come back
	err   error         // nil: there is nothing left to do
}

func newEnding() *ending { return &ending{set: make(chan struct{}), hung: make(chan struct{})} }

// is makes err the reason, and reports whether it is the first. It never waits: not
// for the log either, which may be on a disk that hangs.
func (e *ending) is(err error) (first bool) {
	e.once.Do(func() {
		e.err, first = err, true
		close(e.set)
	})
	return first
}

// failed returns the error that ends the node, nil while there is none.
func (e *ending) failed() error {
	select {
	case <-e.set:
		return e.err
	default:
		return nil
	}
}

// fail ends Run with err, for a supervisor to start the node again. It returns at
// once and may be called by anybody, again and again.
func (n *Node) fail(err error) {
	if n.end.is(err) {
		n.exitAfter(n.cfg.DrainTimeout + endPatience)
		n.log.Error("this node stops itself", "node", n.name, "err", err)
	}
}

// exitAfter ends the process by force, if it is still there then.
func (n *Node) exitAfter(d time.Duration) {
	if n.cfg.Exit != nil {
		time.AfterFunc(d, func() { n.cfg.Exit(1) })
	}
}

// finish ends Run without an error once the requests under way are answered.
func (n *Node) finish() { n.end.is(nil) }

// runEnding makes Run follow the ending.
func (n *Node) runEnding(ctx context.Context, stopEdge func()) error {
	select {
	case <-ctx.Done():
		return nil
	case <-n.end.set:
	}
	if n.end.err != nil {
		return n.end.err
	}
	stopEdge()
	return nil
}

// hang ends the node although a thread of it is stuck in the kernel. What others
// see of it is closed first: the kernel keeps the sockets of a process that has
// such a thread, even of one that has exited. It may follow another ending, whose
// error stands.
func (n *Node) hang(err error) {
	n.end.hangs.Do(func() {
		n.sever()
		n.exitAfter(2 * hangPatience)
		close(n.end.hung)
		n.end.is(err)
		n.severing.Go(func() { // the log may be on the disk that hangs
			n.log.Error("this node stops itself", "node", n.name, "err", err)
		})
	})
}

// sever ends every conversation with members and clients at once.
func (n *Node) sever() {
	n.httpLn.Close()
	n.peerLn.Close()
	n.fence()
	shutSockets(n.httpLn.Addr(), n.peerLn.Addr())
	n.severing.Go(func() { _ = n.gossip.Close() }) // its sockets are closed before it waits for anybody
}

// liveAfter is how long a loop that never waits may stand still.
const liveAfter = 10 * time.Second

// Live reports whether the node's own parts work: a supervisor ends a node that
// does not answer, or that says no.
func (n *Node) Live(context.Context) []symhttp.Check {
	return []symhttp.Check{
		{Name: "node", Err: n.pulse.stalled()},
		{Name: "disk", Err: n.disk.stalled()},
		{Name: "catalog", Err: n.guard.stalled()},
	}
}

// stalled reports a pulse that has stopped.
func (p *pulse) stalled() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return standstill("the node", p.last)
}

func standstill(what string, last time.Time) error {
	if last.IsZero() {
		return nil // not begun
	}
	if since := time.Since(last); since > liveAfter {
		return fmt.Errorf("%s has stood still for %s: end the process and start it again", what, since.Round(time.Second))
	}
	return nil
}

// joinCause is what Run returns of what its parts said: the reason of a node that
// stops itself is all there is to say.
func (n *Node) joinCause(parts, closed error) error {
	if cause := n.end.failed(); cause != nil {
		if closed != nil {
			n.log.Warn("not everything was closed in order", "node", n.name, "err", closed)
		}
		return cause
	}
	return errors.Join(parts, closed)
}

// fence cuts raft off from the other members, at once and for good.
func (n *Node) fence() {
	if s := n.stream.Load(); s != nil {
		s.Close()
	}
}
