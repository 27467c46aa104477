package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"symkeep/internal/catalog"
	"symkeep/internal/share"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
	"symkeep/replication"
)

// runShare keeps the SymStore tree, if this node is to have one. The directory is
// taken at the start, so that a wrong one ends the node at once.
func (n *Node) runShare(ctx context.Context) error {
	if n.cfg.ShareDir == "" {
		return nil
	}
	if _, err := n.awaitConsensus(ctx); err != nil {
		return nil
	}
	cfg := share.DefaultConfig()
	cfg.Dir, cfg.DataDir, cfg.Cluster = n.cfg.ShareDir, n.cfg.DataDir, n.ClusterID()
	s, err := share.Open(cfg, share.Deps{Catalog: shared{n}, Blobs: shared{n}, Now: time.Now, Log: n.log})
	if err != nil {
		return err
	}
	defer s.Close()
	n.mu.Lock()
	n.share = s
	n.mu.Unlock()
	// A node that is behind would take away what it has not heard of yet.
	if err := n.confirmApplied(ctx); err != nil {
		return nil
	}
	return s.Run(ctx)
}

// checkShare finds out, before the node is in a cluster, whether its files can have
// a second name in the share directory.
func (n *Node) checkShare() error {
	if n.cfg.ShareDir == "" {
		return nil
	}
	dir := n.cfg.ShareDir
	for { // the directory is made later, by its owner
		st, err := os.Stat(dir)
		if err == nil && !st.IsDir() {
			return fmt.Errorf("share-dir %s: %s is no directory: %w", n.cfg.ShareDir, dir, catalog.ErrInvalid)
		}
		if parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && parent != dir {
			dir = parent
			continue
		}
		if err != nil {
			return fmt.Errorf("share-dir %s: %w", n.cfg.ShareDir, err)
		}
		break
	}
	f, err := os.CreateTemp(filepath.Join(n.cfg.DataDir, "tmp"), "share-probe-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	f.Close()
	link := filepath.Join(dir, ".symkeep-"+filepath.Base(f.Name()))
	if err := os.Link(f.Name(), link); err != nil {
		return fmt.Errorf("share-dir %s: no hard link from data directory %s: both must be on one file system that has hard links: %v: %w",
			n.cfg.ShareDir, n.cfg.DataDir, err, catalog.ErrInvalid)
	}
	return os.Remove(link)
}

// shareChanged passes on what the share tree must look at.
func (n *Node) shareChanged(events []raftfsm.Event, overflow bool) {
	n.mu.Lock()
	s := n.share
	n.mu.Unlock()
	if s == nil {
		return
	}
	if overflow {
		s.Resync()
	}
	for _, e := range events {
		switch e.Type {
		case raftfsm.PackageVerdict, raftfsm.PackageTrashed, raftfsm.PackageUndeleted:
			s.Changed(e.Package)
		}
	}
}

// shared is the share.Catalog and share.Blobs of a node.
type shared struct{ n *Node }

func (s shared) StoreKeys(_ context.Context, after symid.IndexKey, limit int) ([]symid.Key, error) {
	stored, err := s.n.fsm.Keys([]symid.Kind{symid.KindPE, symid.KindPDB}, after, limit)
	if err != nil {
		return nil, err
	}
	keys := make([]symid.Key, len(stored))
	for i, x := range stored {
		if keys[i], err = symid.ParseIndexKey(x); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

func (s shared) Winner(_ context.Context, key symid.Key) (catalog.Candidate, error) {
	cs, err := s.n.fsm.Lookup(key.Index())
	if err == nil && len(cs) == 0 {
		err = fmt.Errorf("key %v: %w", key.Paths(), catalog.ErrNotFound)
	}
	if err != nil {
		return catalog.Candidate{}, err
	}
	return cs[0], nil
}

func (s shared) Files(_ context.Context, id catalog.PackageID, first, limit int) ([]catalog.File, error) {
	return s.n.fsm.Files(id, first-1, limit)
}

func (s shared) Path(d catalog.Digest) string { return s.n.blobs.Path(d) }

// Fetch brings a copy here of a blob that belongs on other nodes. Replication may
// remove it again; the link in the tree keeps its bytes.
func (s shared) Fetch(ctx context.Context, d catalog.Digest) error {
	b, err := s.n.fsm.Blob(d)
	if err != nil {
		return err
	}
	_, err = s.n.repl.Pull(ctx, replication.Wanted{Digest: d, RawSize: b.RawSize, Packed: b.Packed}, b.Holders)
	return err
}
