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
		if r.isSynced() {
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

// fullPass runs one pass and, if nothing is missing for the first time, says so.
// It returns when to run the next.
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
	res, err := r.compare(ctx)
	if err != nil {
		return retryPass, err
	}
	r.mu.Lock()
	r.pass = res
	r.mu.Unlock()
	signal(r.wake)
	if r.isSynced() {
		return r.cfg.PassEvery - r.cfg.PassEvery/10 + rand.N(r.cfg.PassEvery/5), nil
	}
	if res.missing > 0 {
		return unsynced, nil
	}
	if r.cfg.Synced != nil {
		if err := r.cfg.Synced(ctx); err != nil {
			return retryPass, fmt.Errorf("full copy not recorded: %w", err)
		}
	}
	r.log.Info("this node holds everything it should")
	r.mu.Lock()
	r.synced = true
	r.mu.Unlock()
	return r.cfg.PassEvery, nil
}

func (r *Replicator) isSynced() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.synced
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
				err = r.countOrphans(&res, known)
			}
			return res, err
		}
		after = rows[len(rows)-1].Digest
		var items []item
		v := r.view()
		for _, row := range rows {
			local, err := r.stat(row.Digest)
			if err != nil {
				return res, err
			}
			if local != nil {
				known++
			}
			if i, ok := r.itemFor(v, row.Digest, &row, local); ok {
				items = append(items, i)
				if i.missing > 0 {
					res.missing++
				}
			}
		}
		if err := r.queue.offer(r.cfg.Now(), items); err != nil {
			return res, err
		}
		if ctx.Err() != nil {
			return res, ctx.Err()
		}
	}
}

// countOrphans subtracts; copies that came and went during the pass blur it.
func (r *Replicator) countOrphans(res *passResult, known int) error {
	blobs, _, err := r.store.Totals()
	res.orphans = max(0, int(blobs)-known)
	return err
}
