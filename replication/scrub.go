package replication

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
)

const (
	scrubEvery = time.Hour // between rounds
	scrubPage  = 256
	// scrubRest is how many times as long as a verification took the scrub rests
	// after it, so that it takes a fifth of the disk at most; askedRest is that of a
	// round that an operator asked for.
	scrubRest = 4
	askedRest = 1
	restPoll  = 30 * time.Second // between looks whether a rest has become shorter
)

// The bucket "scrub" in local.db, version 1: "asked" holds since when a full round
// is asked for and not finished, "finished" when the last round ended; Unix
// milliseconds, u64 big-endian. How far a round is follows from the copies: each
// keeps when it was verified.
var (
	scrubBucket = []byte("scrub")
	askedKey    = []byte("asked")
	finishedKey = []byte("finished")
)

// round is one walk of the scrub over all copies. A round verifies those that are
// due; one that was asked for, those that were not verified since.
type round struct {
	running     bool
	done, total int64
	asked       time.Time // zero: nobody did
	serves      time.Time // of the round under way: the asked that it began with
	finished    time.Time // end of the last one
}

func (o round) status(rate int64) ScrubStatus {
	asked := !o.asked.IsZero() && !(o.running && o.serves.Equal(o.asked))
	return ScrubStatus{Asked: asked, Running: o.running, Done: o.done, Total: o.total, Rate: rate, Finished: o.finished}
}

// openScrub reads what the last process left.
func openScrub(db *bolt.DB) (o round, err error) {
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(scrubBucket)
		if err != nil {
			return err
		}
		o.asked, o.finished = storedTime(b.Get(askedKey)), storedTime(b.Get(finishedKey))
		return nil
	})
	return o, err
}

func storedTime(v []byte) time.Time {
	if len(v) != 8 {
		return time.Time{}
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(v)))
}

func (r *Replicator) storeRound(key []byte, at time.Time) error {
	return r.store.DB().Update(func(tx *bolt.Tx) error {
		return tx.Bucket(scrubBucket).Put(key, binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli())))
	})
}

// Scrub starts a round over every copy of this node now. A restart does not end it:
// it goes on with what has not been verified since.
func (r *Replicator) Scrub() error {
	now := r.cfg.Now()
	if err := r.storeRound(askedKey, now); err != nil {
		return err
	}
	r.mu.Lock()
	r.round.asked = now
	r.mu.Unlock()
	signal(r.scrubNow)
	return nil
}

// scrubLoop verifies every local copy before it is Config.ScrubAge old.
func (r *Replicator) scrubLoop(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := r.scrub(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("scrub stopped, will go on later", "err", err)
		}
		timer := time.NewTimer(scrubEvery)
		select {
		case <-ctx.Done():
		case <-r.scrubNow:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// scrub walks one round.
func (r *Replicator) scrub(ctx context.Context) error {
	total, _, err := r.store.Totals()
	if err != nil {
		return err
	}
	var began time.Time
	r.editRound(func(o *round) {
		began = o.asked
		o.running, o.serves, o.done, o.total = true, began, 0, total
	})
	defer r.editRound(func(o *round) { o.running = false })
	var after catalog.Digest
	for {
		page, err := r.store.List(after, scrubPage)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return r.endRound(began)
		}
		for _, e := range page {
			after = e.Digest
			if !r.isDue(e) {
				r.editRound(func(o *round) { o.done++ })
				continue
			}
			start := time.Now()
			r.scrubOne(ctx, e)
			r.editRound(func(o *round) { o.done++ })
			if err := r.restAfter(ctx, e.Packed.Size, time.Since(start)); err != nil {
				return err
			}
		}
	}
}

// scrubOne verifies a copy and, if it had to go, has a sound one brought here.
func (r *Replicator) scrubOne(ctx context.Context, e blobstore.Entry) {
	err := r.examine(ctx, e.Digest)
	if err != nil && ctx.Err() == nil && !errors.Is(err, catalog.ErrNotFound) {
		r.log.Warn("copy not verified", "blob", e.Digest, "err", err)
	}
	if !r.store.Has(e.Digest) {
		r.Notify(e.Digest)
	}
}

// restAfter waits for as long as size bytes, which took so long to verify, call for
// by the settings of the moment. It returns ctx's error.
func (r *Replicator) restAfter(ctx context.Context, size int64, took time.Duration) error {
	start := time.Now()
	for {
		rest := scrubRest * took
		if rate := r.cfg.Catalog.Settings().ScrubRate; rate > 0 {
			rest = time.Duration(float64(size)/float64(rate)*float64(time.Second)) - took
		} else if !r.askedRound().IsZero() {
			rest = askedRest * took
		}
		rest -= time.Since(start)
		if rest <= 0 {
			return ctx.Err()
		}
		timer := time.NewTimer(min(rest, restPoll))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// isDue reports whether a copy is to be verified in this round. Each is due at an age
// of its own between three fifths and all of Config.ScrubAge, so that copies which
// came at the same time are spread over many days. One that claims to be verified in
// the future was so by a wall clock that was set back.
func (r *Replicator) isDue(e blobstore.Entry) bool {
	if e.VerifiedAt.Before(r.askedRound().Truncate(time.Millisecond)) {
		return true
	}
	age := r.cfg.Now().Sub(e.VerifiedAt)
	jitter := time.Duration(binary.BigEndian.Uint16(e.Digest[4:])) * (r.cfg.ScrubAge * 2 / 5) / (1 << 16)
	return age >= r.cfg.ScrubAge-jitter || age < -verifiedLately
}

// endRound notes the end of a round. What was asked for meanwhile stands.
func (r *Replicator) endRound(began time.Time) error {
	now := r.cfg.Now()
	if err := r.storeRound(finishedKey, now); err != nil {
		return err
	}
	asked := r.askedRound()
	if !asked.IsZero() && asked.Equal(began) {
		asked = time.Time{}
		if err := r.store.DB().Update(func(tx *bolt.Tx) error { return tx.Bucket(scrubBucket).Delete(askedKey) }); err != nil {
			return err
		}
	}
	r.editRound(func(o *round) {
		o.finished = now
		if o.asked.Equal(began) {
			o.asked = asked
		}
	})
	return nil
}

func (r *Replicator) askedRound() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.round.asked
}

func (r *Replicator) editRound(change func(*round)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.round)
}
