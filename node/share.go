package node

import (
	"context"
	"fmt"
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
