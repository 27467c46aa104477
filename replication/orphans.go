package replication

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

const (
	// orphanAge is how long passes must have found a copy unknown to the catalog, by
	// the cluster's clock, before it is set aside.
	orphanAge = 7 * 24 * time.Hour
	// asideAge is how long what was set aside is kept; if it is more than asideBytes, half
	// or a quarter of that. Never less: it may be the newest packages of a cluster that
	// was restored from a backup.
	asideAge   = 30 * 24 * time.Hour
	asideLeast = asideAge / 4
	asideBytes = 32 << 30
)

// The bucket "orphans" in local.db, version 1, maps the digest of a copy that the
// catalog knows nothing of to the cluster time of the pass that saw it first, and the
// number of passes that did, u64 big-endian each.
var orphansBucket = []byte("orphans")

// An orphan is a copy without a row, as passes have seen it.
type orphan struct {
	digest catalog.Digest
	since  catalog.ClusterTime
	passes uint64
}

// lookAtOrphans counts the copies without a row and sets aside those that have been
// so for long. known is how many rows have a copy here: if there are no more copies,
// there is nothing to look for.
func (r *Replicator) lookAtOrphans(ctx context.Context, res *passResult, known int) error {
	copies, _, err := r.store.Totals()
	if err != nil {
		return err
	}
	before, err := r.storedOrphans()
	if err != nil || int(copies) <= known && len(before) == 0 {
		return err
	}
	now := r.cfg.Catalog.ClusterTime()
	var found []orphan
	err = r.eachOrphan(ctx, func(d catalog.Digest) {
		o, seen := before[d]
		if !seen || o.since > now { // a catalog that was restored has an earlier time
			o = orphan{d, now, 0}
		}
		o.passes++
		found = append(found, o)
	})
	if err != nil {
		return err
	}
	res.orphans = len(found)
	if err := r.storeOrphans(found); err != nil {
		return err
	}
	for _, o := range found {
		if o.passes < 2 || int64(now-o.since) < orphanAge.Milliseconds() {
			continue
		}
		if err := r.setAside(ctx, o.digest); err != nil {
			return err
		}
	}
	return nil
}

// eachOrphan calls fn for every copy without a row.
func (r *Replicator) eachOrphan(ctx context.Context, fn func(d catalog.Digest)) error {
	var after catalog.Digest
	for ctx.Err() == nil {
		page, err := r.store.List(after, passPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, e := range page {
			after = e.Digest
			_, err := r.cfg.Catalog.Blob(e.Digest)
			if errors.Is(err, catalog.ErrNotFound) {
				fn(e.Digest)
			} else if err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// setAside moves an orphan to quarantine, unless by now the catalog knows it or
// nothing may go.
func (r *Replicator) setAside(ctx context.Context, d catalog.Digest) error {
	ctx, cancel := context.WithTimeout(ctx, commitFor)
	defer cancel()
	aside, err := r.store.QuarantineIf(d, "the catalog has known nothing of it for "+orphanAge.String(), func() (bool, error) {
		if err := r.cfg.Catalog.Barrier(ctx); err != nil {
			return false, err
		}
		_, err := r.cfg.Catalog.Blob(d)
		if !errors.Is(err, catalog.ErrNotFound) {
			return false, err
		}
		return !r.cfg.Catalog.Frozen(), nil
	})
	if aside {
		r.log.Warn("copy that the catalog knows nothing of set aside", "blob", d)
	}
	return err
}

func (r *Replicator) storedOrphans() (map[catalog.Digest]orphan, error) {
	out := make(map[catalog.Digest]orphan)
	err := r.store.DB().View(func(tx *bolt.Tx) error {
		b := tx.Bucket(orphansBucket)
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			if len(k) == len(catalog.Digest{}) && len(v) == 16 {
				d := catalog.Digest(k)
				out[d] = orphan{d, catalog.ClusterTime(binary.BigEndian.Uint64(v)), binary.BigEndian.Uint64(v[8:])}
			}
			return nil
		})
	})
	return out, err
}

// storeOrphans replaces what is stored.
func (r *Replicator) storeOrphans(found []orphan) error {
	return r.store.DB().Update(func(tx *bolt.Tx) error {
		if tx.Bucket(orphansBucket) != nil {
			if err := tx.DeleteBucket(orphansBucket); err != nil {
				return err
			}
		}
		b, err := tx.CreateBucket(orphansBucket)
		if err != nil {
			return err
		}
		for _, o := range found {
			v := binary.BigEndian.AppendUint64(nil, uint64(o.since))
			if err := b.Put(o.digest[:], binary.BigEndian.AppendUint64(v, o.passes)); err != nil {
				return err
			}
		}
		return nil
	})
}

// pruneQuarantine removes what had been kept aside for long at start, and of what is
// more than asideBytes the oldest. It is for a node of which a pass that began then
// found that it misses nothing, in a cluster that has lost nothing: every damaged copy
// has a sound one in its place.
func (r *Replicator) pruneQuarantine(start time.Time) {
	if r.cfg.Catalog.Frozen() {
		return
	}
	for age := asideAge; ; age /= 2 {
		removed, err := r.store.PruneQuarantine(start.Add(-age))
		if err != nil {
			r.log.Warn("quarantine not emptied", "err", err)
			return
		}
		if removed > 0 {
			r.log.Info("quarantine emptied of old copies", "blobs", removed, "age", age)
		}
		if _, bytes, err := r.store.Quarantined(); err != nil || bytes <= asideBytes || age <= asideLeast {
			return
		}
	}
}
