// Package replication moves packed blobs between nodes: it decides where they
// belong, brings them there, proves that they are there, and takes away what the
// cluster has retired. It knows blobs, not products.
//
// Pulling is the one way a blob moves. Whoever wants another node to hold a blob
// asks it to pull, and the answer comes after that copy is verified and durable.
// The committed catalog says what should be where; a durable queue in local.db,
// fed by its changes and by full passes, makes it so on this node. A node only
// ever changes its own copies.
//
// A copy is removed after this node has applied everything the leader had
// committed when it took the digest's lock: any package that was promised the
// blob before is seen then, and any that is promised it later finds it gone.
//
// All methods are safe for concurrent use.
package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
)

// A Catalog is what replication reads of the committed state, as this node has
// applied it.
type Catalog interface {
	Members() []catalog.Member
	Settings() catalog.Settings
	// Layout says where copies belong.
	Layout() catalog.Layout
	// KeptLayouts returns the former layouts that members still move away from, the
	// newest first.
	KeptLayouts() []catalog.Layout
	// Frozen reports whether nothing may be retired now: the catalog may know less
	// than there is, as after it was restored.
	Frozen() bool
	// ClusterTime is the clock of the cluster, which no wall clock moves.
	ClusterTime() catalog.ClusterTime
	// Blob returns a row; the error wraps catalog.ErrNotFound if there is none.
	Blob(d catalog.Digest) (catalog.Blob, error)
	// Blobs returns up to limit rows in digest order, those after the given digest,
	// retired ones included; the zero digest starts at the beginning.
	Blobs(after catalog.Digest, limit int) ([]catalog.Blob, error)
	// Barrier returns once this node has applied everything that the leader had
	// committed when the call began.
	Barrier(ctx context.Context) error
}

// A Proposer puts facts about copies into the committed state.
type Proposer interface {
	// PutReceipts records holders. It fails if the proposal does; a receipt that is
	// refused is not an error.
	PutReceipts(ctx context.Context, receipts []catalog.Receipt) error
	// DropHolders records that a node has no copies of the digests.
	DropHolders(ctx context.Context, node catalog.NodeID, digests []catalog.Digest) error
}

// Peers speaks to other members.
type Peers interface {
	// Have asks which of at most 4096 blobs a node holds; entries are nil where it
	// has no copy.
	Have(ctx context.Context, node catalog.NodeID, digests []catalog.Digest) ([]*catalog.Packed, error)
	// Fetch streams n packed bytes from offset on, all that follow if n is negative.
	// total is the packed size of the node's copy. The caller closes the body.
	Fetch(ctx context.Context, node catalog.NodeID, d catalog.Digest, offset, n int64) (body io.ReadCloser, total int64, err error)
	// AskFetch makes a node pull a blob, see Accept, which is the other end. The
	// error wraps catalog.ErrConflict if the node keeps other packed bytes.
	AskFetch(ctx context.Context, node catalog.NodeID, o Order) error
}

// An Order tells a node to pull a blob from Source and to store it.
type Order struct {
	Digest  catalog.Digest
	RawSize int64
	Packed  catalog.Packed
	Source  catalog.NodeID
}

// Config of a Replicator.
type Config struct {
	Self     catalog.NodeID
	Store    *blobstore.Store
	Catalog  Catalog
	Proposer Proposer
	Peers    Peers
	Courier  Courier // of repair; nil: this process moves its bytes

	// Alive is a hint whether a member answers now; nil means all do. Members that
	// do not are asked last.
	Alive func(catalog.NodeID) bool
	// Down returns the members that have been away for so long that their copies
	// are made anew elsewhere; nil means none. It is ignored when it names more than
	// a third of the members: that is rather a partition.
	Down func() []catalog.NodeID
	// Synced is called, until it returns nil once, when a full pass has found this
	// node to hold all it should. It may be nil.
	Synced func(context.Context) error
	// LayoutSynced is called, until it returns nil, when a full pass at a layout
	// version above 0 has found this node to hold all that the layout gives it. It may
	// be nil.
	LayoutSynced func(ctx context.Context, version uint64) error
	// Damaged is told of every copy of this node that turned out damaged and was set
	// aside, and why. It must not block. It may be nil.
	Damaged func(d catalog.Digest, reason string)

	Workers   int           // blobs brought in at the same time, and others worked on; 0 means 32
	PassEvery time.Duration // full comparison with the catalog; 0 means 24 h
	ScrubAge  time.Duration // every copy is verified again at this age; 0 means 30 days
	AskFor    time.Duration // patience with a peer's short answer; 0 means 5 s
	Window    int64         // bytes asked of a peer at a time while pulling; 0 means 64 MiB
	Stall     time.Duration // patience with a transfer that stands still; 0 means 20 s

	Now    func() time.Time // wall clock, for what is stored; nil means fault.Now
	Logger *slog.Logger     // may be nil
}

// Small blobs wait for syncs, so many are brought in at a time; large ones for the
// disk itself, and each has space reserved for it, so few are.
const (
	maxLarge  = 4
	largeFrom = 16 << 20 // packed bytes
)

// A Replicator is one node's part in replication.
type Replicator struct {
	pace   *Pace // of repair
	memory *memory
	cfg    Config
	store  *blobstore.Store
	log    *slog.Logger
	queue  *queue

	present  latest        // placement
	formerly latest        // that of the layout before
	pulls    chan struct{} // bounds the transfers in flight
	large    chan struct{} // bounds those of large blobs that mend placement
	wake     chan struct{} // the resync loop has something to do
	rescan   chan struct{} // the pass loop has something to do
	scrubNow chan struct{} // a round of the scrub is asked for
	idle     chan struct{} // the queue has run empty
	budget   budget        // of repair
	pulled   atomic.Int64  // bytes, to mend placement
	damaged  atomic.Int64  // copies set aside

	mu       sync.Mutex // guards what follows
	fresh    map[catalog.Digest]bool
	overflow bool // fresh was full
	hurry    bool // Hurry was called
	flights  map[flightKey]*flight
	suspects map[catalog.Digest]bool
	unread   map[catalog.Digest]bool // of the suspects, those whose copy the disk did not give back
	failing  map[catalog.Digest]string
	pass     passResult
	round    round
	synced   bool
	syncedAt uint64 // newest layout version of which this node was found to hold all
	running  int    // blobs being worked on
}

// New returns a Replicator. Run it.
func New(cfg Config) (*Replicator, error) {
	if cfg.Self == "" || cfg.Store == nil || cfg.Catalog == nil || cfg.Proposer == nil || cfg.Peers == nil {
		return nil, errors.New("replication: Self, Store, Catalog, Proposer and Peers are required")
	}
	setDefault(&cfg.Workers, 32)
	setDefault(&cfg.PassEvery, 24*time.Hour)
	setDefault(&cfg.ScrubAge, 30*24*time.Hour)
	setDefault(&cfg.AskFor, 5*time.Second)
	setDefault(&cfg.Window, 64<<20)
	setDefault(&cfg.Stall, 20*time.Second)
	if cfg.Alive == nil {
		cfg.Alive = func(catalog.NodeID) bool { return true }
	}
	if cfg.Down == nil {
		cfg.Down = func() []catalog.NodeID { return nil }
	}
	if cfg.Damaged == nil {
		cfg.Damaged = func(catalog.Digest, string) {}
	}
	if cfg.Now == nil {
		cfg.Now = fault.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	q, err := openQueue(cfg.Store.DB())
	if err != nil {
		return nil, fmt.Errorf("replication: queue: %w", err)
	}
	o, err := openScrub(cfg.Store.DB())
	if err != nil {
		return nil, fmt.Errorf("replication: scrub: %w", err)
	}
	return &Replicator{
		pace: NewPace(), memory: newMemory(memorySize), cfg: cfg, store: cfg.Store, log: cfg.Logger, queue: q,
		pulls: make(chan struct{}, 2*cfg.Workers), large: make(chan struct{}, maxLarge),
		wake: make(chan struct{}, 1), rescan: make(chan struct{}, 1), scrubNow: make(chan struct{}, 1), round: o,
		idle: make(chan struct{}, 1), fresh: make(map[catalog.Digest]bool), flights: make(map[flightKey]*flight),
		suspects: make(map[catalog.Digest]bool), unread: make(map[catalog.Digest]bool), failing: make(map[catalog.Digest]string),
	}, nil
}

func setDefault[T int | int64 | time.Duration](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// Run brings this node to what the catalog asks of it and keeps it there, until
// ctx ends. The other methods work without it, but nothing catches up.
func (r *Replicator) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.resyncLoop(ctx) })
	g.Go(func() error { return r.passLoop(ctx) })
	g.Go(func() error { return r.scrubLoop(ctx) })
	return g.Wait()
}

// Notify says that the catalog's row of a blob has changed. It never blocks.
func (r *Replicator) Notify(d catalog.Digest) {
	r.mu.Lock()
	if len(r.fresh) < maxFresh {
		r.fresh[d] = true
	} else {
		r.overflow = true
	}
	r.mu.Unlock()
	signal(r.wake)
}

// Rescan asks for a full pass soon: members or settings have changed, or changes
// were lost. It never blocks.
func (r *Replicator) Rescan() { signal(r.rescan) }

// Hurry makes blobs that wait for another try due now: a member came back. It never
// blocks.
func (r *Replicator) Hurry() {
	r.mu.Lock()
	r.hurry = true
	r.mu.Unlock()
	signal(r.wake)
}

// Suspect says that a copy Open gave did not decode. This node's own copy is not
// used again until it has been verified, and is replaced if it is damaged. It
// never blocks.
func (r *Replicator) Suspect(d catalog.Digest, err error) {
	r.memory.forget(d)
	if !r.store.Has(d) {
		return
	}
	r.log.Warn("blob did not decode, verifying the copy", "blob", d, "err", err)
	r.mu.Lock()
	r.suspects[d] = true
	r.mu.Unlock()
	r.Notify(d)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
