package symhttp

import (
	"bytes"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
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

var (
	Allowed = allowed
	Pin     = pin
)

// LoopAnswer returns what a loop answers to bytes that begin with a request, and how many
// they are; 0 if it leaves that to fasthttp.
func (s *Server) LoopAnswer(in []byte) (out []byte, used int) {
	l := s.conns.loops.all[0]
	l.mu.Lock()
	defer l.mu.Unlock()
	head := firstHead(in)
	r, a := l.answer(head)
	if a == nil {
		return nil, 0
	}
	p, ok := a.part()
	if !ok {
		return nil, 0
	}
	defer p.give()
	l.dress(r, time.Now())
	out = append(bytes.Clone(l.head), a.lead...)
	if p.file != nil {
		b := make([]byte, p.n)
		if _, err := p.file.ReadAt(b, p.off); err != nil {
			panic(err)
		}
		out = append(out, b...)
	}
	return out, len(head)
}

// Held are loops that stand still.
type Held []*loop

// Visit has them visit their connections and returns how many of those wait for a file.
func (h Held) Visit() (queued int) {
	var events [64]unix.EpollEvent
	for _, l := range h {
		l.visit(events[:pollNow(l.poll, events[:])], time.Now())
		queued += len(l.queue)
	}
	return queued
}

// Turn has them send one file each and returns how many connections still wait.
func (h Held) Turn() (queued int) {
	for _, l := range h {
		if len(l.queue) > 0 {
			l.turn(l.queue[0], time.Now())
		}
		queued += len(l.queue)
	}
	return queued
}

// Close is what a stop does to them.
func (h Held) Close() {
	for _, l := range h {
		l.shut()
	}
}

// HoldLoops has all loops stand still during f.
func (s *Server) HoldLoops(f func(Held)) {
	loops := s.conns.loops.all
	for _, l := range loops {
		l.mu.Lock()
	}
	f(loops)
	for _, l := range loops {
		l.mu.Unlock()
		for more := true; more; { // it may be asleep
			_, more = l.serve(nil, time.Now())
		}
	}
}

// ServeConn has fasthttp serve one connection.
func (s *Server) ServeConn(conn net.Conn) error {
	s.conns.slots <- struct{}{}
	s.conns.add(conn)
	return s.http.ServeConn(conn)
}

// Spare opens n more handles of each answer on the shelf that has a file.
func (s *Server) Spare(n int) {
	sh := s.conns.loops.all[0].d.store.shelf
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, el := range sh.kept {
		h := el.Value.(*shelved).a.files
		for i := 0; h != nil && i < n; i++ {
			if f, err := os.Open(h.path); err == nil {
				h.give(f)
			}
		}
	}
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
