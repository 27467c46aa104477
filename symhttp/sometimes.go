package symhttp

import (
	"log/slog"
	"sync"
	"time"
)

// sometimes logs what may happen at every request: the first of a second, with
// the number of those kept back before it.
type sometimes struct {
	logger *slog.Logger
	now    func() time.Time

	mu   sync.Mutex
	last time.Time
	kept int
}

func (s *sometimes) log(msg string, err error) {
	now := s.now()
	s.mu.Lock()
	if now.Sub(s.last) < time.Second {
		s.kept++
		s.mu.Unlock()
		return
	}
	kept := s.kept
	s.last, s.kept = now, 0
	s.mu.Unlock()
	s.logger.Warn(msg, "err", err, "more", kept)
}
