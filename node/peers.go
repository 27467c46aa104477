package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// A peerListener accepts on the peer address, reads each preamble and hands the
// bare TCP connection to the listener of its kind. Nothing wraps a connection, so
// sendfile survives.
type peerListener struct {
	ln      net.Listener
	cluster func() catalog.ClusterID
	log     *slog.Logger

	raft, http, joiner *connQueue
}

func newPeerListener(ln net.Listener, cluster func() catalog.ClusterID, log *slog.Logger) *peerListener {
	p := &peerListener{ln: ln, cluster: cluster, log: log}
	p.raft, p.http, p.joiner = newConnQueue(ln.Addr()), newConnQueue(ln.Addr()), newConnQueue(ln.Addr())
	return p
}

// acceptPause is how long to wait when the system gives no connection, for want of
// file descriptors say.
const acceptPause = 200 * time.Millisecond

// Run accepts until ctx ends or the socket is closed; then the three listeners are
// closed. Running out of file descriptors ends nothing.
func (p *peerListener) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { p.ln.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer func() {
		p.raft.Close()
		p.http.Close()
		p.joiner.Close()
		wg.Wait()
	}()
	for {
		conn, err := p.ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("peer address: %w", err)
		}
		if err != nil {
			p.log.Warn("peer connection not accepted", "err", err)
			pause(ctx, acceptPause)
			continue
		}
		wg.Go(func() { p.dispatch(ctx, conn) })
	}
}

func (p *peerListener) dispatch(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // nobody waits for a silent one
	kind, joiner, err := api.ReadPreamble(conn, p.cluster())
	if !stop() {
		return
	}
	if err != nil {
		conn.Close()
		if errors.Is(err, api.ErrForeign) && p.cluster() != "" { // the leader may be faster than our own join
			p.log.Warn("refused peer connection", "err", err)
		}
		return
	}
	q := p.http
	switch {
	case joiner && kind == api.PeerHTTP:
		q = p.joiner
	case joiner:
		conn.Close() // raft needs a member
		return
	case kind == api.PeerRaft:
		q = p.raft
	}
	q.put(conn)
}

// A connQueue is a net.Listener fed with accepted connections.
type connQueue struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newConnQueue(addr net.Addr) *connQueue {
	return &connQueue{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

// put waits for an Accept, or closes conn once the queue is closed.
func (q *connQueue) put(conn net.Conn) {
	select {
	case q.conns <- conn:
	case <-q.done:
		conn.Close()
	}
}

// Accept implements net.Listener.
func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Accepted connections stay open.
func (q *connQueue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// Addr implements net.Listener.
func (q *connQueue) Addr() net.Addr { return q.addr }
