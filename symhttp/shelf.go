package symhttp

import (
	"container/list"
	"context"
	"sync"
	"time"

	"symkeep/internal/catalog"
)

const (
	smallMost  = 64 << 10 // bytes of the largest answer kept in memory
	shelfBytes = 64 << 20 // of all that are
	shelfFiles = 256      // answers from files

	smallFor = verifiedFor
	fileFor  = time.Minute // a file that was removed keeps its room on the disk meanwhile
)

// A shelf keeps the answers that were asked for last.
type shelf struct {
	now func() time.Time

	mu    sync.Mutex
	kept  map[answerID]*list.Element
	order *list.List // of *shelved, latest use first
	bytes int
	files int
}

type shelved struct {
	id answerID
	a  *answer
}

func newShelf(now func() time.Time) *shelf {
	return &shelf{now: now, kept: map[answerID]*list.Element{}, order: list.New()}
}

// get returns an answer, or nil.
func (s *shelf) get(id answerID) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	el, ok := s.kept[id]
	if !ok {
		return nil
	}
	a := el.Value.(*shelved).a
	if s.now().After(a.until) {
		s.remove(el)
		return nil
	}
	s.order.MoveToFront(el)
	return a
}

// put keeps an answer instead of those used least lately.
func (s *shelf) put(id answerID, a *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if el, ok := s.kept[id]; ok {
		s.remove(el)
	}
	s.kept[id] = s.order.PushFront(&shelved{id, a})
	s.count(a, 1)
	for s.bytes > shelfBytes || s.files > shelfFiles {
		s.remove(s.order.Back())
	}
}

// count adds an answer n times.
func (s *shelf) count(a *answer, n int) {
	s.bytes += n * len(a.lead)
	if a.files != nil {
		s.files += n
	}
}

// remove takes an answer off. Those who send it do so to its end. s.mu is held.
func (s *shelf) remove(el *list.Element) {
	e := s.order.Remove(el).(*shelved)
	delete(s.kept, e.id)
	s.count(e.a, -1)
	e.a.files.close()
}

// discard takes one answer off, or every one of a blob.
func (s *shelf) discard(match func(answerID, *answer) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for el := s.order.Front(); el != nil; {
		e, next := el.Value.(*shelved), el.Next()
		if match(e.id, e.a) {
			s.remove(el)
		}
		el = next
	}
}

// drop takes every answer of a blob off.
func (s *shelf) drop(d catalog.Digest) {
	s.discard(func(id answerID, _ *answer) bool { return id.digest == d })
}

// run takes off what is over, until ctx ends, and then everything.
func (s *shelf) run(ctx context.Context) error {
	defer s.discard(func(answerID, *answer) bool { return true })
	tick := time.NewTicker(fileFor / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			now := s.now()
			s.discard(func(_ answerID, a *answer) bool { return now.After(a.until) })
		}
	}
}
