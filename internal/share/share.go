package share

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// A Catalog says what the tree should hold. Its methods read the replicated state
// and may be called at any time.
type Catalog interface {
	// StoreKeys returns at most limit keys of kind symid.KindPE and KindPDB that
	// follow after in a fixed order, whatever answers them; "" starts.
	StoreKeys(ctx context.Context, after symid.IndexKey, limit int) ([]symid.Key, error)
	// Winner returns the candidate that answers key now; without one the error
	// wraps catalog.ErrNotFound.
	Winner(ctx context.Context, key symid.Key) (catalog.Candidate, error)
	// Files returns at most limit files of a package, numbered from first on, by
	// number; none at the end.
	Files(ctx context.Context, id catalog.PackageID, first, limit int) ([]catalog.File, error)
}

// Blobs is the node's store of packed files.
type Blobs interface {
	// Path returns where the blob is if the node has it, on the file system of
	// the data directory.
	Path(d catalog.Digest) string
	// Fetch gets a blob the node lacks from a peer; it may block for long.
	Fetch(ctx context.Context, d catalog.Digest) error
}

// Config of a Share.
type Config struct {
	Dir     string            // the tree; made if missing, else empty or ours
	DataDir string            // the node's data directory
	Cluster catalog.ClusterID // the tree belongs to

	Rescan   time.Duration // between full passes; default 24 h
	Retry    time.Duration // until the full pass after one with failures, doubled each time; default 1 min
	RetryMax time.Duration // bound of that; default 1 h
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Rescan: 24 * time.Hour, Retry: time.Minute, RetryMax: time.Hour}
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	var errs []error
	if c.Dir == "" || c.DataDir == "" || c.Cluster == "" {
		errs = append(errs, fmt.Errorf("share: directory %q, data directory %q, cluster %q: wanted all three", c.Dir, c.DataDir, c.Cluster))
	}
	if c.Rescan <= 0 || c.Retry <= 0 || c.RetryMax < c.Retry {
		errs = append(errs, fmt.Errorf("share: rescan %v, retry %v to %v: wanted more than 0, in order", c.Rescan, c.Retry, c.RetryMax))
	}
	return errors.Join(errs...)
}

// Stats count what a Share did.
type Stats struct {
	// Since the start.
	Linked, Copied, Removed, Failed int64
	Passes                          int64 // full passes

	// In the last full pass.
	Present int64          // files that are as they should be
	Foreign int64          // entries that are not ours and were left alone
	Skipped map[string]int // keys without a file, by reason
}

// Deps are what a Share works with.
type Deps struct {
	Catalog Catalog
	Blobs   Blobs
	Now     func() time.Time // wall clock, for pingme.txt
	Log     *slog.Logger
}

// maxChanged bounds the packages that wait for a look; with more, everything is
// looked at.
const maxChanged = 4096

// A Share is one node's share tree.
type Share struct {
	cfg  Config
	deps Deps
	tree *tree
	wake chan struct{} // holds a token when changed or all has news

	mu      sync.Mutex
	changed map[catalog.PackageID]struct{}
	all     bool // a full pass is due
	stats   Stats
}

// Open takes the directory: it is made, or is empty, or carries the marker of the
// cluster. It is an error if files of the data directory cannot be hard-linked
// there, or if another process uses it.
func Open(cfg Config, d Deps) (*Share, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t, err := openTree(cfg.Dir, cfg.Cluster)
	if err != nil {
		return nil, fmt.Errorf("share directory %s: %w", cfg.Dir, err)
	}
	if err := t.probe(cfg.DataDir); err != nil {
		t.close()
		return nil, fmt.Errorf("share directory %s: %w", cfg.Dir, err)
	}
	return &Share{
		cfg: cfg, deps: d, tree: t,
		wake: make(chan struct{}, 1), changed: map[catalog.PackageID]struct{}{},
	}, nil
}

// Close lets go of the directory. Call it after Run.
func (s *Share) Close() { s.tree.close() }

// Changed says that a package became good or stopped being so. It never blocks.
// Call it once the change can be read from the Catalog, while the package's files
// can be, too.
func (s *Share) Changed(id catalog.PackageID) {
	s.mu.Lock()
	if len(s.changed) < maxChanged {
		s.changed[id] = struct{}{}
	} else {
		s.all = true
		clear(s.changed)
	}
	s.mu.Unlock()
	s.nudge()
}

// Resync says that anything may have changed, as after a restored snapshot.
func (s *Share) Resync() {
	s.mu.Lock()
	s.all = true
	s.mu.Unlock()
	s.nudge()
}

func (s *Share) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Stats returns a copy of the counts.
func (s *Share) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Skipped = maps.Clone(st.Skipped)
	return st
}

// Run keeps the tree until ctx ends and then returns nil. It starts with a full
// pass. Files that cannot be made are tried again; nothing ends Run early.
func (s *Share) Run(ctx context.Context) error {
	retry, retrying := s.cfg.Retry, false
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			s.Resync()
		case <-s.wake:
		}
		full, failures := s.work(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case failures > 0 && (full || !retrying): // later failures do not put a retry off
			timer.Reset(retry)
			retry, retrying = min(2*retry, s.cfg.RetryMax), true
		case full:
			timer.Reset(s.cfg.Rescan)
			retry, retrying = s.cfg.Retry, false
		}
	}
}

// work does whatever is due. It reports whether that was everything.
func (s *Share) work(ctx context.Context) (full bool, failures int) {
	s.mu.Lock()
	full, s.all = s.all, false
	s.mu.Unlock()
	p := &pass{s: s}
	p.drain(ctx)
	if full {
		p.everything(ctx)
	}
	p.close()
	if p.failures > 0 && ctx.Err() == nil {
		s.deps.Log.Warn("share tree is incomplete, will retry", "failures", p.failures, "err", p.first)
	}
	return full, p.failures
}

// next takes one package that waits for a look.
func (s *Share) next() (catalog.PackageID, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.changed {
		delete(s.changed, id)
		return id, true
	}
	return "", false
}
