package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	bolt "go.etcd.io/bbolt"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

const (
	// recoverGap is how far a recovered log goes on behind its own end: past anything
	// that other survivors may have applied. They are sent the catalog as a whole
	// then, instead of two different entries having one index.
	recoverGap = 1 << 32
	// recoveringFile holds the index that a recovery has chosen, until it is done.
	recoveringFile = "recovering"
	replayBatch    = 256
)

// A RecoverConfig says which survivor of a lost quorum goes on.
type RecoverConfig struct {
	DataDir string
	Do      bool // otherwise only look
	Logger  *slog.Logger
}

// Recover makes the node of a data directory the only voter of its cluster, with
// every entry of its log taken as committed. Members stay in the member table; those
// that come back are sent the catalog and get their votes again. No node may run on
// the directory.
func Recover(ctx context.Context, cfg RecoverConfig) (plan api.RecoverPlan, err error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := openSurvivor(cfg)
	if err != nil {
		return api.RecoverPlan{DataDir: cfg.DataDir}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.look(); err != nil || !cfg.Do {
		return s.plan, err
	}
	if err := s.goOnAlone(ctx); err != nil {
		return s.plan, fmt.Errorf("recover %s: %w", cfg.DataDir, err)
	}
	s.plan.Done = true
	return s.plan, nil
}

// survivor is the open data directory of a node that does not run.
type survivor struct {
	cfg   RecoverConfig
	id    *identity
	fsm   *raftfsm.FSM
	store *raftboltdb.BoltStore
	snaps raft.SnapshotStore

	plan     api.RecoverPlan
	addr     string // of this node, for the configuration
	first    uint64 // of the log
	snapTerm uint64
	restore  bool // the catalog is older than the newest snapshot
	chosen   uint64
}

// openExisting reads the identity of a directory that a node has run on.
func openExisting(dir string) (*identity, error) {
	node, err := readID(filepath.Join(dir, "node-id"))
	if err != nil {
		return nil, err
	}
	if node == "" {
		return nil, fmt.Errorf("data directory %s: holds no node-id: name the --data-dir of a node: %w", dir, catalog.ErrNotFound)
	}
	id, err := openIdentity(dir)
	if err == nil && id.Cluster == "" {
		err = fmt.Errorf("data directory %s: its node has never been in a cluster: %w", dir, catalog.ErrConflict)
	}
	return id, err
}

// inUse explains an error of opening a file that a running node has locked.
func inUse(dir string, err error) error {
	if !errors.Is(err, bolt.ErrTimeout) {
		return err
	}
	return fmt.Errorf("data directory %s is in use: stop its node first: %v: %w", dir, err, catalog.ErrUnavailable)
}

func openSurvivor(cfg RecoverConfig) (s *survivor, err error) {
	s = &survivor{cfg: cfg}
	if s.id, err = openExisting(cfg.DataDir); err != nil {
		return nil, err
	}
	if s.fsm, err = raftfsm.Open(filepath.Join(cfg.DataDir, "fsm.db")); err != nil {
		return nil, inUse(cfg.DataDir, err)
	}
	if s.store, s.snaps, err = openRaftStores(s.raftDir(), cfg.Logger); err != nil {
		return nil, errors.Join(inUse(cfg.DataDir, err), s.fsm.Close())
	}
	return s, nil
}

func (s *survivor) raftDir() string { return filepath.Join(s.cfg.DataDir, "raft") }

func (s *survivor) close() error {
	errs := []error{s.fsm.Close()}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}

// look compares catalog, snapshot and log, and finds the configuration they end in.
func (s *survivor) look() error {
	info := s.fsm.Info()
	if info.ClusterID != "" && info.ClusterID != s.id.Cluster {
		return fmt.Errorf("data directory %s: cluster-id says %q, the catalog is of cluster %s: restore the file: %w",
			s.cfg.DataDir, s.id.Cluster, info.ClusterID, catalog.ErrConflict)
	}
	s.plan = api.RecoverPlan{DataDir: s.cfg.DataDir, ClusterID: s.id.Cluster, Node: s.id.Node, Applied: info.AppliedIndex}
	list, err := s.snaps.List()
	if err != nil {
		return err
	}
	if len(list) > 0 {
		s.plan.Snapshot, s.snapTerm = list[0].Index, list[0].Term
	}
	if s.first, err = s.store.FirstIndex(); err != nil {
		return err
	}
	last, err := s.store.LastIndex()
	if err != nil {
		return err
	}
	s.plan.LastIndex, s.plan.LastTerm = s.plan.Snapshot, s.snapTerm
	if last > s.plan.Snapshot {
		var l raft.Log
		if err := readEntry(s.store, last, &l); err != nil {
			return fmt.Errorf("raft log index %d, use another survivor: %w", last, err)
		}
		s.plan.LastIndex, s.plan.LastTerm = last, l.Term
	}
	if s.chosen, err = s.interrupted(); err != nil {
		return err
	}
	if s.chosen == 0 || s.chosen != info.AppliedIndex {
		replay, err := skipRestore(s.raftDir(), info, s.snaps, s.store)
		if err != nil {
			return err
		}
		s.chosen, s.restore = 0, !replay
	}
	if behind := max(info.AppliedIndex, s.plan.Snapshot); s.plan.LastIndex > behind {
		s.plan.Pending = s.plan.LastIndex - behind
	}
	return s.servers(list)
}

// interrupted returns the index that an interrupted recovery has chosen, or 0.
func (s *survivor) interrupted() (uint64, error) {
	b, err := os.ReadFile(filepath.Join(s.cfg.DataDir, recoveringFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %.40q is no log index: remove the file: %w", filepath.Join(s.cfg.DataDir, recoveringFile), b, catalog.ErrInvalid)
	}
	return n, nil
}

// servers finds the newest raft configuration and names its servers.
func (s *survivor) servers(list []*raft.SnapshotMeta) error {
	conf, at, err := s.fsm.Configuration()
	if err != nil {
		return err
	}
	if len(list) > 0 && list[0].ConfigurationIndex >= at {
		conf, at = list[0].Configuration, list[0].ConfigurationIndex
	}
	for i := max(s.first, at+1); i <= s.plan.LastIndex && s.first > 0 && s.plan.LastIndex > s.plan.Snapshot; i++ {
		var l raft.Log
		if err := readEntry(s.store, i, &l); errors.Is(err, errLogDamaged) {
			continue // it may have been applied: catchUp tells
		} else if err != nil {
			return fmt.Errorf("raft log index %d: %w", i, err)
		}
		if l.Type == raft.LogConfiguration {
			conf = raft.DecodeConfiguration(l.Data)
		}
	}
	s.addr = "recovered.invalid:0"
	for _, srv := range conf.Servers {
		r := api.RecoverServer{ID: catalog.NodeID(srv.ID), Addr: string(srv.Address), Voter: srv.Suffrage == raft.Voter, Self: srv.ID == raft.ServerID(s.id.Node)}
		if m, err := s.fsm.Member(r.ID); err == nil {
			r.Name = m.Name
		}
		if r.Self {
			s.plan.Name, s.addr = r.Name, r.Addr
		}
		s.plan.Voters = append(s.plan.Voters, r)
	}
	slices.SortFunc(s.plan.Voters, func(a, b api.RecoverServer) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// goOnAlone applies the whole log, moves the catalog on and founds a log of this
// node alone. A crash on the way leaves a directory that no node starts on, and
// that Recover goes on with.
func (s *survivor) goOnAlone(ctx context.Context) error {
	term := s.plan.LastTerm
	if s.chosen == 0 {
		if err := s.catchUp(ctx); err != nil {
			return err
		}
		s.chosen = max(s.plan.LastIndex, s.fsm.AppliedIndex()) + recoverGap
		if err := writeFile(s.cfg.DataDir, recoveringFile, strconv.FormatUint(s.chosen, 10)); err != nil {
			return err
		}
	}
	voted, err := s.store.GetUint64([]byte("CurrentTerm"))
	if err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return err
	}
	term = max(term, voted, s.fsm.Info().AppliedTerm) + 1
	if err := s.fsm.GoOn(s.chosen, term, freezeTime.Milliseconds()); err != nil {
		return err
	}
	if err := s.store.Close(); err != nil {
		return err
	}
	s.store = nil
	if err := founding(s.raftDir(), s.fsm, s.chosen, term, s.id.Node, s.addr, s.cfg.Logger); err != nil {
		return err
	}
	s.plan.GoesOn = s.chosen
	return os.Remove(filepath.Join(s.cfg.DataDir, recoveringFile))
}

// catchUp brings the catalog to the end of the log.
func (s *survivor) catchUp(ctx context.Context) error {
	list, err := s.snaps.List()
	if err != nil {
		return err
	}
	if s.restore {
		_, r, err := s.snaps.Open(list[0].ID)
		if err != nil {
			return fmt.Errorf("snapshot %s: %w", list[0].ID, err)
		}
		if err := s.fsm.Restore(r); err != nil {
			return fmt.Errorf("snapshot %s: %w", list[0].ID, err)
		}
	}
	next := max(s.fsm.AppliedIndex(), s.plan.Snapshot) + 1
	if s.plan.LastIndex >= next && s.first > next {
		return fmt.Errorf("raft log begins at index %d, the catalog and the snapshot end at %d: entries are missing, use another survivor: %w",
			s.first, next-1, catalog.ErrConflict)
	}
	var batch []*raft.Log
	for ; next <= s.plan.LastIndex; next++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		l := &raft.Log{}
		if err := readEntry(s.store, next, l); err != nil {
			return fmt.Errorf("raft log index %d: %w", next, err)
		}
		if l.Type == raft.LogCommand || l.Type == raft.LogConfiguration {
			batch = append(batch, l)
		}
		if len(batch) == replayBatch || next == s.plan.LastIndex {
			if err := applyAll(s.fsm, batch); err != nil {
				return err
			}
			batch = nil
		}
	}
	return nil
}

// applyAll applies entries; one that cannot be decoded is an error here.
func applyAll(fsm *raftfsm.FSM, batch []*raft.Log) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	if len(batch) > 0 {
		fsm.ApplyBatch(batch)
	}
	return nil
}
