package blobstore

import (
	"fmt"
	"sync"

	"symkeep/internal/catalog"
)

// Marks are the shares of a file system, used and promised against used and
// available, 0 to 1, above which a node does less. They rise from field to field.
type Marks struct {
	Warn      float64 // nothing changes but that it is told; 0 means 0.80
	Rebalance float64 // copies for others are no longer taken over; 0 means 0.88
	Ingest    float64 // pushes are refused; 0 means 0.92
	ReadOnly  float64 // the catalog is not to grow through this node; 0 means 0.97
}

// DefaultMarks are those of a Marks that sets none.
func DefaultMarks() Marks { return Marks{0.80, 0.88, 0.92, 0.97} }

func (m Marks) orDefault() Marks {
	d := DefaultMarks()
	for _, f := range []struct{ mine, def *float64 }{
		{&m.Warn, &d.Warn}, {&m.Rebalance, &d.Rebalance}, {&m.Ingest, &d.Ingest}, {&m.ReadOnly, &d.ReadOnly},
	} {
		if *f.mine == 0 {
			*f.mine = *f.def
		}
	}
	return m
}

// Validate reports marks that are no shares or do not rise; the error wraps
// catalog.ErrInvalid. A field of 0 stands for its default.
func (m Marks) Validate() error {
	d := m.orDefault()
	if d.Warn < 0 || d.Warn > d.Rebalance || d.Rebalance > d.Ingest || d.Ingest > d.ReadOnly || d.ReadOnly > 1 {
		return fmt.Errorf("disk marks %g, %g, %g, %g: wanted rising shares of 0 to 1: %w", d.Warn, d.Rebalance, d.Ingest, d.ReadOnly, catalog.ErrInvalid)
	}
	return nil
}

// A Level says how full a file system is, by the highest mark that is exceeded.
type Level string

// Levels, from empty to full.
const (
	LevelOK          Level = "ok"
	LevelWarn        Level = "warn"
	LevelNoRebalance Level = "no-rebalance"
	LevelNoIngest    Level = "no-ingest"
	LevelReadOnly    Level = "read-only"
)

// Space is how full the file system of a store is.
type Space struct {
	Used     int64 // bytes, by anyone
	Avail    int64 // bytes still available to us
	Reserved int64 // bytes promised to stagings and not written yet
	Marks    Marks
}

// Share returns the used and reserved part of what is used and available.
func (sp Space) Share() float64 {
	if sp.Used+sp.Avail <= 0 {
		return 1
	}
	return float64(sp.Used+sp.Reserved) / float64(sp.Used+sp.Avail)
}

// Level returns the highest mark that is exceeded.
func (sp Space) Level() Level {
	share := sp.Share()
	switch m := sp.Marks; {
	case share > m.ReadOnly:
		return LevelReadOnly
	case share > m.Ingest:
		return LevelNoIngest
	case share > m.Rebalance:
		return LevelNoRebalance
	case share > m.Warn:
		return LevelWarn
	}
	return LevelOK
}

// Full reports whether Reserve refuses.
func (sp Space) Full() bool { return sp.Share() > sp.Marks.Ingest }

// A Use is what space is wanted for: the disk is full sooner for some.
type Use int

// Uses of space.
const (
	ForIngest Use = iota // bytes that somebody is pushing
	ForRepair            // copies that could be kept elsewhere
)

func (u Use) limit(m Marks) (float64, Level) {
	if u == ForRepair {
		return m.Rebalance, LevelNoRebalance
	}
	return m.Ingest, LevelNoIngest
}

// Space asks the file system.
func (s *Store) Space() (Space, error) {
	used, avail, err := s.fs.Usage(s.cfg.Dir)
	if err != nil {
		return Space{}, fmt.Errorf("blob store %s: %w", s.cfg.Dir, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return Space{used, avail, s.reserved, s.cfg.Marks}, nil
}

// Reserve promises n bytes of space for a push until release is called. The error
// wraps catalog.ErrFull if the file system would be fuller than Marks.Ingest with
// this and all other promises kept.
func (s *Store) Reserve(n int64) (release func(), err error) {
	r, err := s.reserve(ForIngest, n)
	if err != nil {
		return nil, err
	}
	return r.release, nil
}

func (s *Store) reserve(use Use, n int64) (*reservation, error) {
	sp, err := s.Space()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sp.Reserved = s.reserved + n
	if limit, level := use.limit(sp.Marks); sp.Share() > limit {
		return nil, fmt.Errorf("blob store %s: %.1f %% of %d bytes would be used with %d more, the mark %s is at %.0f %%: free or add disk space on this node, or use another one: %w",
			s.cfg.Dir, 100*sp.Share(), sp.Used+sp.Avail, n, level, 100*limit, catalog.ErrFull)
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
