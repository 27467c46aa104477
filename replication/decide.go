package replication

import (
	"errors"
	"slices"
	"time"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
)

// verifiedLately is how old a verification may be for a receipt to rest on it.
const verifiedLately = 24 * time.Hour

// strayAge is how long a copy with other packed bytes than the established ones
// may stay: a package may be about to commit with it.
const strayAge = time.Hour

// action is what a node does about one blob.
type action int

const (
	leave   action = iota
	pull           // bring the established form here
	vouch          // verify the copy and have this node listed
	disown         // have this node no longer listed, it has no copy
	offload        // have this node no longer listed: all keepers have copies
	unlink         // remove the copy: the blob is retired
	surplus        // remove the copy: all keepers have theirs and this node is not listed
	stray          // remove the copy: it is not the established form and nobody counts on it
	examine        // verify the copy: it did not decode
)

// view is the state that decisions rest on, taken once for many blobs.
type view struct {
	self      catalog.NodeID
	now       time.Time
	placement *Placement
	down      map[catalog.NodeID]bool
	members   map[catalog.NodeID]bool
	frozen    bool // see Catalog.Frozen
	alive     func(catalog.NodeID) bool
}

func (r *Replicator) view() view {
	members := make(map[catalog.NodeID]bool)
	for _, id := range r.members() {
		members[id] = true
	}
	return view{r.cfg.Self, r.cfg.Now(), r.Placement(), r.down(), members, r.cfg.Catalog.Frozen(), r.cfg.Alive}
}

// decide compares a blob's row, nil if there is none, with this node's copy, nil
// if there is none.
func (r *Replicator) decide(v view, d catalog.Digest, row *catalog.Blob, local *blobstore.Entry) action {
	switch {
	case local != nil && r.isSuspect(d):
		return examine
	case row == nil:
		return leave // an orphan, see orphans.go
	case row.Retired && local != nil && !v.frozen: // else a newer catalog may have had it uploaded again
		return unlink
	case row.Retired || row.Packed.Size == 0:
		return leave // gone, or not committed yet
	}
	keepers := v.placement.keepers(d, v.down)
	keep := slices.Contains(keepers, v.self)
	listed := slices.Contains(row.Holders, v.self)
	// A copy on a node that nobody reaches covers nothing: this one may be all there is.
	// Nor do keepers that are fewer than there should be, as nobody is left to stand in
	// for one that is down.
	covered := len(keepers) > 0 && len(keepers) == v.placement.wanted() && !slices.ContainsFunc(keepers, func(n catalog.NodeID) bool {
		return !slices.Contains(row.Holders, n) || !v.alive(n)
	})
	have := local != nil && (local.Packed == row.Packed || len(row.Holders) == 0)
	switch {
	case have && listed && !keep && covered:
		return offload
	case have && listed:
		return leave
	case have && !keep && covered:
		return surplus
	case have:
		return vouch
	case keep && (row.Refs > 0 || listed) && len(row.Holders) > 0:
		return pull
	case listed:
		return disown
	case local != nil && len(row.Holders) > 0 && v.now.Sub(local.StoredAt) > strayAge:
		return stray
	}
	return leave
}

// look reads what decide needs from the catalog and the local index.
func (r *Replicator) look(d catalog.Digest) (row *catalog.Blob, local *blobstore.Entry, err error) {
	b, err := r.cfg.Catalog.Blob(d)
	if err == nil {
		row = &b
	} else if !errors.Is(err, catalog.ErrNotFound) {
		return nil, nil, err
	}
	local, err = r.stat(d)
	return row, local, err
}

func (r *Replicator) stat(d catalog.Digest) (*blobstore.Entry, error) {
	e, err := r.store.Stat(d)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &e, nil
}

func (r *Replicator) isSuspect(d catalog.Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.suspects[d]
}
