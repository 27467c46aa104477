package replication

import (
	"context"
	"errors"
	"time"

	"symkeep/internal/catalog"
)

const (
	scrubEvery = time.Hour // between looks for copies that are due
	scrubPage  = 256
	// scrubRest is how many times as long as a verification took the scrub rests
	// after it, so that it takes a fifth of the disk at most.
	scrubRest = 4
)

// scrubLoop verifies every local copy again when it is Config.ScrubAge old.
func (r *Replicator) scrubLoop(ctx context.Context) error {
	for {
		if err := r.scrub(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("scrub stopped, will go on later", "err", err)
		}
		if !rest(ctx, scrubEvery) {
			return nil
		}
	}
}

func (r *Replicator) scrub(ctx context.Context) error {
	var after catalog.Digest
	for {
		page, err := r.store.List(after, scrubPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, e := range page {
			after = e.Digest
			if r.cfg.Now().Sub(e.VerifiedAt) < r.cfg.ScrubAge {
				continue
			}
			start := r.cfg.Now()
			err := r.examine(ctx, e.Digest)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil && !errors.Is(err, catalog.ErrNotFound) {
				r.log.Warn("copy not verified", "blob", e.Digest, "err", err)
			}
			if !r.store.Has(e.Digest) {
				r.Notify(e.Digest)
			}
			if !rest(ctx, scrubRest*r.cfg.Now().Sub(start)) {
				return nil
			}
		}
	}
}

// rest waits; it reports false if ctx ended.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
