package blobstore

import (
	"fmt"
	"sync"

	"symkeep/internal/catalog"
)

// Space is how full the file system of a store is.
type Space struct {
	Used     int64 // bytes, by anyone
	Avail    int64 // bytes still available to us
	Reserved int64 // bytes promised to stagings and not written yet
	FullAt   float64
}

// Share returns the used and reserved part of what is used and available.
func (sp Space) Share() float64 {
	if sp.Used+sp.Avail <= 0 {
		return 1
	}
	return float64(sp.Used+sp.Reserved) / float64(sp.Used+sp.Avail)
}

// Full reports whether Reserve refuses.
func (sp Space) Full() bool { return sp.Share() > sp.FullAt }

// Space asks the file system.
func (s *Store) Space() (Space, error) {
	used, avail, err := s.fs.Usage(s.cfg.Dir)
	if err != nil {
		return Space{}, fmt.Errorf("blob store %s: %w", s.cfg.Dir, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return Space{used, avail, s.reserved, s.cfg.FullAt}, nil
}

// Reserve promises n bytes of space until release is called. The error wraps
// catalog.ErrFull if the file system would be fuller than Config.FullAt with this
// and all other promises kept.
func (s *Store) Reserve(n int64) (release func(), err error) {
	r, err := s.reserve(n)
	if err != nil {
		return nil, err
	}
	return r.release, nil
}

func (s *Store) reserve(n int64) (*reservation, error) {
	sp, err := s.Space()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sp.Reserved = s.reserved + n
	if sp.Full() {
		return nil, fmt.Errorf("blob store %s: %.1f %% of %d bytes would be used with %d more, limit is %.0f %%; free or add disk space: %w",
			s.cfg.Dir, 100*sp.Share(), sp.Used+sp.Avail, n, 100*sp.FullAt, catalog.ErrFull)
	}
	s.reserved += n
	return &reservation{s: s, left: n}, nil
}

// reservation is what is left of a promise.
type reservation struct {
	s    *Store
	once sync.Once
	left int64 // guarded by s.mu
}

// use notes that n bytes of it are in the file system now.
func (r *reservation) use(n int64) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	n = min(n, r.left)
	r.left -= n
	r.s.reserved -= n
}

func (r *reservation) release() { r.once.Do(func() { r.use(1 << 62) }) }
