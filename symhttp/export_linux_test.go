package symhttp

import (
	"bytes"
	"net"
	"time"
)

// Looped returns how many connections are in loops.
func (s *Server) Looped() (n int) {
	for _, held := range s.LoopsHold() {
		n += held
	}
	return n
}

// LoopsHold returns how many connections are in each loop.
func (s *Server) LoopsHold() (held []int) {
	for _, l := range s.conns.loops.all {
		held = append(held, int(l.held.Load()))
	}
	return held
}

// Processors returns those that the loops are pinned to, in the order of LoopsHold.
func (s *Server) Processors() []int { return s.conns.loops.cpus }

var Pin = pin

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

// Repack appends to every answer on the shelf, as if the blobs had been packed anew.
func (s *Server) Repack(more []byte) {
	sh := s.conns.loops.all[0].d.store.shelf
	sh.mu.Lock()
	packed := map[answerID]*answer{}
	for id, el := range sh.kept {
		a := *el.Value.(*shelved).a
		a.lead = append(bytes.Clone(a.lead), more...)
		a.size, a.etag = int64(len(a.lead)), `"anew"`
		packed[id] = &a
	}
	sh.mu.Unlock()
	for id, a := range packed {
		sh.put(id, a)
	}
}
