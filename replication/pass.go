package replication

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"symkeep/internal/catalog"
)

const (
	passPage  = 1000
	retryPass = time.Second     // while the catalog is not ready for a pass
	unsynced  = 5 * time.Minute // between passes while something stays missing
)

// passResult is what a full pass found.
type passResult struct {
	missing int // blobs to bring here
	lost    int // referenced blobs that no member is listed to hold
	orphans int // local copies without a row
	at      time.Time
}

// passLoop compares everything with the catalog: at the start, until the node is
// synced whenever the queue has run empty, on request, and now and then.
func (r *Replicator) passLoop(ctx context.Context) error {
	if r.store.NeedsReconcile() {
		if err := r.store.Reconcile(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("local index not compared with the files", "err", err)
		}
	}
	for ctx.Err() == nil {
		drain(r.idle)
		wait, err := r.fullPass(ctx)
		if err != nil && ctx.Err() == nil {
			r.log.Debug("no full pass now", "err", err)
		}
		idle := r.idle
		if r.isSettled() {
			idle = nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-r.rescan:
		case <-idle:
		}
		timer.Stop()
	}
	return nil
}

func drain(c chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// fullPass runs one pass and says so if nothing is missing: for the first time, or
// at a layout version for the first time. It returns when to run the next.
func (r *Replicator) fullPass(ctx context.Context) (time.Duration, error) {
	bctx, cancel := context.WithTimeout(ctx, commitFor)
	err := r.cfg.Catalog.Barrier(bctx)
	cancel()
	if err != nil {
		return retryPass, err
	}
	if !r.isMember(r.cfg.Self) {
		return retryPass, errors.New("this node is not a member yet")
	}
	start, layout := r.cfg.Now(), r.cfg.Catalog.Layout().Version
	res, err := r.compare(ctx)
	if err != nil {
		return retryPass, err
	}
	r.mu.Lock()
	r.pass = res
	r.mu.Unlock()
	signal(r.wake)
	if res.missing == 0 {
		if err := r.tellSynced(ctx, layout); err != nil {
			return retryPass, err
		}
		if res.lost == 0 {
			r.pruneQuarantine(start)
		}
	}
	if !r.isSettled() {
		return unsynced, nil
	}
	return r.cfg.PassEvery - r.cfg.PassEvery/10 + rand.N(r.cfg.PassEvery/5), nil
}

// tellSynced has it recorded that this node holds everything it should at a layout
// version, unless that is known.
func (r *Replicator) tellSynced(ctx context.Context, layout uint64) error {
	r.mu.Lock()
	synced, at := r.synced, r.syncedAt
	r.mu.Unlock()
	if !synced {
		if r.cfg.Synced != nil {
			if err := r.cfg.Synced(ctx); err != nil {
				return fmt.Errorf("full copy not recorded: %w", err)
			}
		}
		r.log.Info("this node holds everything it should")
	}
	// What a pass found across a change of the layout is worth nothing for either.
	if now := r.cfg.Catalog.Layout().Version; now != layout {
		layout = 0
	}
	if layout > at && r.cfg.LayoutSynced != nil {
		if err := r.cfg.LayoutSynced(ctx, layout); err != nil {
			return fmt.Errorf("full copy of layout %d not recorded: %w", layout, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.synced, r.syncedAt = true, max(r.syncedAt, layout)
	return nil
}

// isSettled reports whether this node has held all that the present layout gives it.
func (r *Replicator) isSettled() bool {
	version := r.cfg.Catalog.Layout().Version
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.synced && r.syncedAt >= version
}

// compare enqueues every row that needs work here and counts local copies the
// catalog knows nothing of.
func (r *Replicator) compare(ctx context.Context) (passResult, error) {
	res := passResult{at: r.cfg.Now()}
	known := 0 // rows whose copy is here
	var after catalog.Digest
	for {
		rows, err := r.cfg.Catalog.Blobs(after, passPage)
		if err != nil || len(rows) == 0 {
			if err == nil {
				err = r.lookAtOrphans(ctx, &res, known)
			}
			return res, err
		}
		after = rows[len(rows)-1].Digest
		var items []item
		var settled []catalog.Digest
		v := r.view()
		for _, row := range rows {
			local, err := r.stat(row.Digest)
			if err != nil {
				return res, err
			}
			if local != nil {
				known++
			}
			if row.Refs > 0 && row.Packed.Size > 0 && len(row.Holders) == 0 {
				res.lost++
			}
			if i, ok := r.itemFor(v, row.Digest, &row, local); ok {
				items = append(items, i)
				if i.missing > 0 {
					res.missing++
				}
			} else {
				settled = append(settled, row.Digest)
			}
		}
		// Workers find out by themselves that nothing is to be done any more, but not
		// while repair is paused.
		over, err := r.queue.among(settled)
		if err != nil {
			return res, err
		}
		for _, d := range over {
			r.Notify(d)
		}
		if err := r.queue.offer(r.cfg.Now(), items); err != nil {
			return res, err
		}
		if ctx.Err() != nil {
			return res, ctx.Err()
		}
	}
}
