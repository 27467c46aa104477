package symhttp

import (
	"bytes"
	"net"
	"time"
)

// Looped returns how many connections are in loops.
func (s *Server) Looped() (n int) {
	for _, l := range s.conns.loops.all {
		n += int(l.held.Load())
	}
	return n
}

// LoopAnswer returns what a loop answers to bytes that begin with a request, and how many
// they are; 0 if it leaves that to fasthttp.
func (s *Server) LoopAnswer(in []byte) (out []byte, used int) {
	l := s.conns.loops.all[0]
	l.mu.Lock()
	defer l.mu.Unlock()
	head, _ := cutHead(in)
	r, body := l.answer(head)
	if r == nil {
		return nil, 0
	}
	l.dress(r, time.Now())
	return append(bytes.Clone(l.head), body...), len(head)
}

// ServeConn has fasthttp serve one connection.
func (s *Server) ServeConn(conn net.Conn) error {
	s.conns.slots <- struct{}{}
	s.conns.add(conn)
	return s.http.ServeConn(conn)
}

const LoopAfter = loopAfter
