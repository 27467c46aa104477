package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"

	"symkeep/internal/api"
	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// maxProblems bounds the problems that a report lists.
const maxProblems = 1000

// A FsckConfig says what to check.
type FsckConfig struct {
	DataDir string
	Repair  bool // set damaged blobs aside and build the local index anew
	Logger  *slog.Logger
}

// Fsck reads everything that the node of a data directory keeps and compares it. It
// changes nothing unless it is to repair, and then only blobs and their index. The
// error is about the check itself: what it found is in the report. No node may run
// on the directory.
func Fsck(ctx context.Context, cfg FsckConfig) (api.FsckReport, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &fsck{cfg: cfg, report: api.FsckReport{DataDir: cfg.DataDir, Problems: []api.FsckProblem{}}}
	if err := c.run(ctx); err != nil {
		return c.report, inUse(cfg.DataDir, err)
	}
	c.report.OK = c.report.More == 0 && !slices.ContainsFunc(c.report.Problems, func(p api.FsckProblem) bool { return !p.Repaired })
	return c.report, nil
}

type fsck struct {
	cfg    FsckConfig
	report api.FsckReport
	fsm    *raftfsm.FSM // nil if it cannot be read

	mu      sync.Mutex                        // guards report and what follows
	files   map[catalog.Digest]catalog.Packed // that are sound
	damaged map[catalog.Digest]string         // why
	index   map[catalog.Digest]catalog.Packed
	rebuild bool // the index has to be built anew
}

func (c *fsck) path(parts ...string) string {
	return filepath.Join(append([]string{c.cfg.DataDir}, parts...)...)
}

func (c *fsck) found(p api.FsckProblem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.report.Problems) == maxProblems {
		c.report.More++
		return
	}
	c.report.Problems = append(c.report.Problems, p)
}

// What to do, where there are few ways.
const (
	doRejoin   = "move the data directory away and start the node with --join: it gets everything from the others; of the last node of a cluster, restore a backup"
	doRepair   = "run fsck --repair, or start the node: it mends this by itself"
	doFetch    = "start the node: it gets the copy from another member"
	doIdentity = "restore the file, or move the data directory away and join as a new node"
)

func (c *fsck) run(ctx context.Context) (err error) {
	node, err := c.identity()
	if err != nil {
		return err
	}
	if err := c.guard("catalog", c.catalog); err != nil {
		return err
	}
	if c.fsm != nil {
		defer func() { err = errors.Join(err, c.fsm.Close()) }()
	}
	if err := c.guard("log", func() error { return c.log(ctx) }); err != nil {
		return err
	}
	if err := c.guard("index", func() error { return c.blobs(ctx) }); err != nil {
		return err
	}
	if err := c.guard("catalog", func() error { return c.compare(ctx, node) }); err != nil {
		return err
	}
	if c.cfg.Repair {
		return c.repair()
	}
	return nil
}

// guard runs one check. A file so damaged that its reader panics, or that ends
// before the pages it names, is a problem found.
func (c *fsck) guard(check string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			c.found(api.FsckProblem{Check: check, Found: fmt.Sprintf("the file cannot be read through: %v", r), Do: doRejoin})
		}
	}()
	return f()
}

// identity checks the files that say whose directory this is.
func (c *fsck) identity() (catalog.NodeID, error) {
	node, err := readID(c.path("node-id"))
	if err != nil {
		c.found(api.FsckProblem{Check: "identity", Found: err.Error(), Do: doIdentity})
	} else if node == "" {
		return "", fmt.Errorf("data directory %s: holds no node-id: name the --data-dir of a node: %w", c.cfg.DataDir, catalog.ErrNotFound)
	}
	cluster, err := readID(c.path("cluster-id"))
	if err != nil {
		c.found(api.FsckProblem{Check: "identity", Found: err.Error(), Do: doIdentity})
	}
	c.report.Node, c.report.ClusterID = catalog.NodeID(node), catalog.ClusterID(cluster)
	if err := (&identity{dir: c.cfg.DataDir, Node: c.report.Node, Cluster: c.report.ClusterID}).checkDiverged(); err != nil {
		c.found(api.FsckProblem{Check: "identity", Found: err.Error(), Do: doRejoin})
	}
	return c.report.Node, nil
}

// catalog opens fsm.db and walks its pages.
func (c *fsck) catalog() error {
	fsm, err := raftfsm.OpenReadOnly(c.path("fsm.db"))
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.report.ClusterID == "":
		return nil // never in a cluster
	case errors.Is(err, bolt.ErrTimeout):
		return err
	case err != nil:
		c.found(api.FsckProblem{Check: "catalog", Found: err.Error(), Do: doRejoin})
		return nil
	}
	c.fsm = fsm
	info := fsm.Info()
	c.report.Applied = info.AppliedIndex
	if info.ClusterID != "" && info.ClusterID != c.report.ClusterID {
		c.found(api.FsckProblem{Check: "identity", Do: doIdentity,
			Found: fmt.Sprintf("cluster-id says %q, the catalog is of cluster %s", c.report.ClusterID, info.ClusterID)})
	}
	faults, err := fsm.CheckPages()
	for _, f := range faults {
		c.found(api.FsckProblem{Check: "catalog", Found: f, Do: doRejoin})
	}
	return err
}

// log reads the newest snapshot and every entry, and compares their indexes with
// the catalog's as a start does.
func (c *fsck) log(ctx context.Context) error {
	if c.report.ClusterID == "" {
		return nil
	}
	bad := func(format string, args ...any) {
		c.found(api.FsckProblem{Check: "log", Found: fmt.Sprintf(format, args...), Do: doRejoin})
	}
	store, err := raftboltdb.New(raftboltdb.Options{Path: c.path("raft", "raft.db"), BoltOptions: &bolt.Options{ReadOnly: true, Timeout: time.Second}})
	if errors.Is(err, bolt.ErrTimeout) {
		return err
	}
	if err != nil {
		bad("raft/raft.db: %v", err)
		return nil
	}
	defer store.Close()
	snaps, err := raft.NewFileSnapshotStoreWithLogger(c.path("raft"), 1, newRaftLogger(c.cfg.Logger))
	if err != nil {
		bad("raft/snapshots: %v", err)
		return nil
	}
	if err := c.snapshot(snaps, bad); err != nil {
		return err
	}
	return c.entries(ctx, store, snaps, bad)
}

func (c *fsck) snapshot(snaps raft.SnapshotStore, bad func(string, ...any)) error {
	list, err := snaps.List()
	if err != nil || len(list) == 0 {
		return err
	}
	c.report.Snapshot = list[0].Index
	_, r, err := snaps.Open(list[0].ID)
	if err != nil {
		bad("snapshot %s: %v", list[0].ID, err)
		return nil
	}
	defer r.Close()
	if _, err := raftfsm.VerifySnapshot(r); err != nil {
		bad("snapshot %s: %v", list[0].ID, err)
	}
	return nil
}

func (c *fsck) entries(ctx context.Context, store *raftboltdb.BoltStore, snaps raft.SnapshotStore, bad func(string, ...any)) error {
	first, err := store.FirstIndex()
	if err != nil {
		return err
	}
	if c.report.LastIndex, err = store.LastIndex(); err != nil {
		return err
	}
	for i := first; i <= c.report.LastIndex && i > 0; i++ {
		var l raft.Log
		err := readEntry(store, i, &l)
		if errors.Is(err, raft.ErrLogNotFound) && i < c.report.Snapshot {
			i = c.report.Snapshot // what a snapshot leaped over
			continue
		}
		if err == nil && l.Type == raft.LogCommand {
			_, err = raftfsm.Decode(l.Data)
		}
		if err != nil {
			bad("log index %d: %v", i, err)
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if c.fsm == nil {
		return nil
	}
	if _, err := skipRestore(c.path("raft"), c.fsm.Info(), snaps, store); err != nil {
		bad("%v", err)
	}
	return nil
}

// blobs reads every packed file, several at a time, and the local index.
func (c *fsck) blobs(ctx context.Context) error {
	c.files, c.damaged, c.index = map[catalog.Digest]catalog.Packed{}, map[catalog.Digest]string{}, map[catalog.Digest]catalog.Packed{}
	err := blobstore.Inspect(c.cfg.DataDir, func(e blobstore.Entry) error {
		c.index[e.Digest] = e.Packed
		return nil
	})
	switch {
	case errors.Is(err, bolt.ErrTimeout):
		return err
	case err != nil:
		c.rebuild = true
		c.found(api.FsckProblem{Check: "index", Found: fmt.Sprintf("local.db: %v", err), Do: doRepair})
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(2, runtime.NumCPU()))
	err = blobstore.Walk(c.cfg.DataDir, func(d catalog.Digest, path string) error {
		g.Go(func() error { return c.file(gctx, d, path) })
		return gctx.Err()
	}, func(path string) error {
		c.found(api.FsckProblem{Check: "blob", Found: path + ": no blob of this name belongs here", Do: "remove the file"})
		return nil
	})
	if gerr := g.Wait(); gerr != nil {
		return gerr
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (c *fsck) file(ctx context.Context, d catalog.Digest, path string) error {
	packed, err := blobstore.VerifyPath(ctx, path, d)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.mu.Lock()
	c.report.Blobs++
	c.report.Bytes += packed.Size
	if err == nil {
		c.files[d] = packed
	} else {
		c.damaged[d] = err.Error()
		c.report.Damaged++
	}
	c.mu.Unlock()
	if err != nil {
		c.found(api.FsckProblem{Check: "blob", Blob: d, Found: err.Error(), Do: "run fsck --repair: it is set aside, and the node gets another copy"})
	}
	return nil
}

// compare holds files against the index and the catalog.
func (c *fsck) compare(ctx context.Context, node catalog.NodeID) error {
	for _, d := range sortedDigests(c.files) {
		if c.index[d] != c.files[d] && !c.rebuild {
			c.report.Unindexed++
			c.found(api.FsckProblem{Check: "index", Blob: d, Found: "the local index does not list this file as it is", Do: doRepair})
		}
	}
	for _, d := range sortedDigests(c.index) {
		if _, there := c.files[d]; !there && c.damaged[d] == "" {
			c.report.Unindexed++
			c.found(api.FsckProblem{Check: "index", Blob: d, Found: "the local index lists a file that is not there", Do: doRepair})
		}
	}
	if c.fsm == nil {
		return nil
	}
	known := map[catalog.Digest]bool{}
	for after, more := (catalog.Digest{}), true; more; {
		page, err := c.fsm.Blobs(after, 1000)
		if err != nil {
			return err
		}
		for _, b := range page {
			after, known[b.Digest] = b.Digest, true
			if slices.Contains(b.Holders, node) {
				c.listed(b)
			}
		}
		more = len(page) == 1000
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	for d := range c.files {
		if !known[d] {
			c.report.Orphans++
		}
	}
	return nil
}

// listed looks for a copy that the catalog counts on.
func (c *fsck) listed(b catalog.Blob) {
	packed, there := c.files[b.Digest]
	switch {
	case there && packed != b.Packed:
		c.found(api.FsckProblem{Check: "blob", Blob: b.Digest, Do: doFetch,
			Found: fmt.Sprintf("packed as %s, the cluster has it as %s", packed.SHA256, b.Packed.SHA256)})
	case !there && c.damaged[b.Digest] == "":
		c.report.Missing++
		c.found(api.FsckProblem{Check: "blob", Blob: b.Digest, Found: "the catalog lists a copy on this node, there is none", Do: doFetch})
	}
}

// repair sets damaged files aside and has the index built from the others.
func (c *fsck) repair() error {
	if len(c.damaged) == 0 && c.report.Unindexed == 0 && !c.rebuild {
		return nil
	}
	if err := blobstore.ForgetIndex(c.cfg.DataDir); err != nil {
		return err
	}
	s, err := blobstore.Open(blobstore.Config{Dir: c.cfg.DataDir, Logger: c.cfg.Logger})
	if err != nil {
		return err
	}
	for _, d := range sortedDigests(c.damaged) {
		if err := s.Quarantine(d, c.damaged[d]); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	for i, p := range c.report.Problems {
		c.report.Problems[i].Repaired = p.Check == "index" || p.Check == "blob" && c.damaged[p.Blob] != ""
	}
	return s.Close()
}

func sortedDigests[V any](m map[catalog.Digest]V) []catalog.Digest {
	list := make([]catalog.Digest, 0, len(m))
	for d := range m {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b catalog.Digest) int { return slices.Compare(a[:], b[:]) })
	return list
}
