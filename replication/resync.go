package replication

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
)

const (
	maxFresh   = 100_000 // changes kept in memory; beyond, a full pass finds them
	maxWaiting = 4096    // facts not proposed yet, beyond which nothing is started
	maxBatch   = 256     // facts in one proposal
	maxFailing = 100     // failures kept for status
	commitFor  = 10 * time.Second
)

// fact is what a worker found out about this node's copy, to be committed.
type fact struct {
	digest  catalog.Digest
	receipt *catalog.Receipt // nil: this node has no copy
}

// finished is the end of one worker's task; its item is settled now, or with its
// fact.
type finished struct {
	outcome
	fact *fact
	lane int
}

// resyncer is the state of the loop that works off the queue. Only the loop
// touches it.
type resyncer struct {
	r       *Replicator
	tasks   errgroup.Group
	busy    map[catalog.Digest]bool // with a worker, waiting or being proposed
	working [len(lanes)]int         // workers of each lane
	waiting []fact
	ends    chan finished
	settled chan []outcome
	propose bool // a proposal is under way
}

// lanes are worked off side by side, so that pulls which are paused, limited or slow
// hold up nothing else, and attempts at blobs whose holders are away do not keep
// those from being mended that still have a copy.
var lanes = [...]lane{pullLane, lostLane, choreLane}

// lostWorkers bounds the workers of lostLane, which mostly wait for members that are
// away.
const lostWorkers = 4

// workers is how many blobs of a lane are worked on at the same time.
func (r *Replicator) workers(l lane) int {
	if l == lostLane {
		return min(lostWorkers, r.cfg.Workers)
	}
	return r.cfg.Workers
}

func (r *Replicator) resyncLoop(ctx context.Context) error {
	s := &resyncer{
		r: r, busy: make(map[catalog.Digest]bool),
		ends: make(chan finished, len(lanes)*r.cfg.Workers), settled: make(chan []outcome, 1),
	}
	defer s.tasks.Wait()
	for ctx.Err() == nil {
		wait, err := s.start(ctx)
		if err != nil {
			return fmt.Errorf("replication: queue: %w", err)
		}
		timer := time.NewTimer(wait)
		var done []outcome
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-timer.C:
		case e := <-s.ends:
			done = s.ended(e)
		case done = <-s.settled:
			s.propose = false
		}
		timer.Stop()
		done = append(done, s.moreEnded()...)
		if err := r.queue.change(r.cfg.Now(), nil, done); err != nil {
			return fmt.Errorf("replication: queue: %w", err)
		}
		for _, o := range done {
			delete(s.busy, o.digest)
			r.noteOutcome(ctx, o)
		}
	}
	return nil
}

// start admits what is new, hands due items to free workers and waiting facts to
// a proposal. It returns how long nothing else will be due.
func (s *resyncer) start(ctx context.Context) (time.Duration, error) {
	r := s.r
	fresh, over, err := r.admit(r.takeFresh(s.busy))
	if err != nil {
		return 0, err
	}
	now := r.cfg.Now()
	if err := r.queue.change(now, fresh, over); err != nil {
		return 0, err
	}
	for _, o := range over {
		r.noteOutcome(ctx, o)
	}
	if r.takeHurry() {
		if err := r.queue.hurry(now); err != nil {
			return 0, err
		}
	}
	next := time.Hour // the end of a worker comes first, or a change
	for no := range lanes {
		wait, err := s.fill(ctx, now, no)
		if err != nil {
			return 0, err
		}
		next = min(next, wait)
	}
	if len(s.waiting) > 0 && !s.propose {
		n := min(len(s.waiting), maxBatch)
		batch := slices.Clone(s.waiting[:n])
		s.waiting = slices.Delete(s.waiting, 0, n)
		s.propose = true
		s.tasks.Go(func() error {
			s.settled <- r.proposeFacts(ctx, batch)
			return nil
		})
	}
	running := 0
	for _, n := range s.working {
		running += n
	}
	r.noteRunning(running)
	if len(s.busy) == 0 && r.queue.size().items == 0 {
		signal(r.idle)
	}
	return next, nil
}

// fill hands due items of a lane to its free workers and returns how long there is
// nothing else to hand out.
func (s *resyncer) fill(ctx context.Context, now time.Time, no int) (time.Duration, error) {
	r := s.r
	free := r.workers(lanes[no]) - s.working[no]
	if free == 0 || len(s.waiting) >= maxWaiting {
		return time.Hour, nil
	}
	if lanes[no] != choreLane && r.cfg.Catalog.Settings().RepairPaused {
		return settingsPoll, nil
	}
	items, wait, err := r.queue.take(now, lanes[no], free, s.busy)
	if err != nil {
		return 0, err
	}
	for _, i := range items {
		s.busy[i.digest] = true
		s.working[no]++
		s.tasks.Go(func() error {
			end := r.resync(ctx, i)
			end.lane = no
			s.ends <- end
			return nil
		})
	}
	if wait < 0 || len(items) == free {
		return time.Hour, nil
	}
	return wait, nil
}

// moreEnded takes the ends that have come meanwhile, so that they share a
// transaction.
func (s *resyncer) moreEnded() (done []outcome) {
	for {
		select {
		case e := <-s.ends:
			done = append(done, s.ended(e)...)
		default:
			return done
		}
	}
}

func (s *resyncer) ended(e finished) []outcome {
	s.working[e.lane]--
	if e.fact != nil && e.err == nil {
		s.waiting = append(s.waiting, *e.fact)
		return nil
	}
	return []outcome{e.outcome}
}

// takeFresh returns the digests notified of since. Those being worked on stay:
// their task may have read the catalog before the change.
func (r *Replicator) takeFresh(busy map[catalog.Digest]bool) []catalog.Digest {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.overflow {
		r.overflow = false
		signal(r.rescan)
	}
	var out []catalog.Digest
	for d := range r.fresh {
		if !busy[d] {
			out = append(out, d)
			delete(r.fresh, d)
		}
	}
	return out
}

func (r *Replicator) takeHurry() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.hurry
	r.hurry = false
	return h
}

// admit tells those that need work from those that do not, or not any more.
func (r *Replicator) admit(digests []catalog.Digest) (items []item, over []outcome, err error) {
	if len(digests) == 0 {
		return nil, nil, nil
	}
	v := r.view()
	var rest []catalog.Digest
	for _, d := range digests {
		row, local, err := r.look(d)
		if err != nil {
			return nil, nil, err
		}
		if i, ok := r.itemFor(v, d, row, local); ok {
			items = append(items, i)
		} else {
			rest = append(rest, d)
		}
	}
	rest, err = r.queue.among(rest)
	for _, d := range rest {
		over = append(over, outcome{digest: d})
	}
	return items, over, err
}

func (r *Replicator) itemFor(v view, d catalog.Digest, row *catalog.Blob, local *blobstore.Entry) (item, bool) {
	switch r.decide(v, d, row, local) {
	case leave:
		return item{}, false
	case pull:
		return item{digest: d, missing: row.Packed.Size, rank: v.rankOf(*row)}, true
	default:
		return item{digest: d, rank: rankChores}, true
	}
}

// resync does what one blob needs: it decides and acts until nothing is left but,
// perhaps, a fact to commit. What has to be brought here is left to the lane for that,
// which changes when members come and go.
func (r *Replicator) resync(ctx context.Context, i item) finished {
	var f *fact
	var err error
	d := i.digest
	for range 4 {
		var row *catalog.Blob
		var local *blobstore.Entry
		if row, local, err = r.look(d); err != nil {
			break
		}
		v := r.view()
		a := r.decide(v, d, row, local)
		if a == leave {
			break
		}
		if a == pull {
			if rank := v.rankOf(*row); !laneOf(i.rank).has(rank) {
				return finished{outcome: outcome{digest: d, moved: &item{digest: d, missing: row.Packed.Size, rank: rank}}}
			}
		}
		if f, err = r.act(ctx, a, d, row, local); f != nil || err != nil {
			break
		}
	}
	return finished{outcome: outcome{digest: d, err: err}, fact: f}
}

func (r *Replicator) act(ctx context.Context, a action, d catalog.Digest, row *catalog.Blob, local *blobstore.Entry) (*fact, error) {
	switch a {
	case pull:
		return r.bring(ctx, *row)
	case vouch:
		return r.vouch(ctx, *row, *local)
	case disown, offload:
		return &fact{digest: d}, nil
	case examine:
		return nil, r.examine(ctx, d)
	case surplus:
		if err := r.keepersShow(ctx, *row); err != nil {
			return nil, err
		}
	}
	return nil, r.remove(ctx, a, d)
}

// keepersShow asks the members that should hold a blob whether they do. The catalog
// knows what they once proved; one may have lost its disk since.
func (r *Replicator) keepersShow(ctx context.Context, row catalog.Blob) error {
	v := r.view()
	for _, k := range v.placement.keepers(row.Digest, v.down) {
		ctx, cancel := context.WithTimeout(ctx, r.cfg.AskFor)
		have, err := r.have(ctx, k, []catalog.Digest{row.Digest})
		cancel()
		if err == nil && (have[0] == nil || *have[0] != row.Packed) {
			err = fmt.Errorf("it has none: %w", catalog.ErrUnavailable)
		}
		if err != nil {
			return fmt.Errorf("blob %s: this copy stays until member %s, which is listed as a holder, shows its own: %w", row.Digest, k, err)
		}
	}
	return nil
}

// bring pulls the established form. If that fails although this node is listed
// as a holder, the catalog is told first: nobody may count on the copy.
func (r *Replicator) bring(ctx context.Context, row catalog.Blob) (*fact, error) {
	start, why := time.Now(), mending
	if r.view().rankOf(row) == rankMoves {
		why = balancing
	}
	r.pace.After(turn) // a small blob costs as much
	e, err := r.pull(ctx, Wanted{row.Digest, row.RawSize, row.Packed}, r.sources(row), why)
	if err == nil {
		r.log.Debug("blob brought here", "blob", row.Digest, "bytes", e.Packed.Size, "took", time.Since(start))
		return nil, nil
	}
	if slices.Contains(row.Holders, r.cfg.Self) && ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(ctx, commitFor)
		defer cancel()
		if derr := r.cfg.Proposer.DropHolders(ctx, r.cfg.Self, []catalog.Digest{row.Digest}); derr != nil {
			err = errors.Join(err, derr)
		}
	}
	return nil, err
}

func (r *Replicator) vouch(ctx context.Context, row catalog.Blob, local blobstore.Entry) (*fact, error) {
	if age := r.cfg.Now().Sub(local.VerifiedAt); age > verifiedLately || age < -verifiedLately {
		if err := r.examine(ctx, row.Digest); err != nil {
			return nil, err
		}
	}
	e, ok := r.local(row.Digest)
	if !ok {
		return nil, nil // decide again
	}
	return &fact{row.Digest, &catalog.Receipt{Digest: row.Digest, RawSize: e.RawSize, Packed: e.Packed, Holders: []catalog.NodeID{r.cfg.Self}}}, nil
}

// examine verifies the local copy and takes a damaged one out of service. One that
// the disk does not give back is an error, so that the next one is not written to
// that disk at once; and it is not used before it has been read.
func (r *Replicator) examine(ctx context.Context, d catalog.Digest) error {
	_, err := r.store.Verify(ctx, d)
	unread := errors.Is(err, syscall.EIO)
	if isDamage(err) {
		cause := err
		if err = r.store.Quarantine(d, cause.Error()); err == nil {
			r.damaged.Add(1)
			r.cfg.Damaged(d, cause.Error())
			if unread {
				err = fmt.Errorf("the disk does not give a copy back: %w", cause)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case unread:
		r.suspects[d], r.unread[d] = true, true
	case errors.Is(err, catalog.ErrNotFound):
		err = nil
		if !r.unread[d] {
			delete(r.suspects, d)
		}
	case err == nil:
		delete(r.suspects, d)
		delete(r.unread, d)
	}
	return err
}

// isDamage reports whether a copy, rather than the attempt to read it, is bad.
func isDamage(err error) bool {
	return errors.Is(err, cab.ErrCorrupt) || errors.Is(err, cab.ErrFormat) || errors.Is(err, syscall.EIO)
}

// remove deletes the local copy if, under the digest's lock and after a barrier,
// the decision is still the same. See the package comment.
func (r *Replicator) remove(ctx context.Context, a action, d catalog.Digest) error {
	ctx, cancel := context.WithTimeout(ctx, commitFor)
	defer cancel()
	gone, err := r.store.RemoveIf(d, func() (bool, error) {
		if err := r.cfg.Catalog.Barrier(ctx); err != nil {
			return false, fmt.Errorf("blob %s: remove: %w", d, err)
		}
		row, local, err := r.look(d)
		if err != nil {
			return false, err
		}
		return r.decide(r.view(), d, row, local) == a, nil
	})
	if gone {
		fault.Point("copy-removed")
		r.log.Debug("blob removed", "blob", d)
	}
	return err
}

// proposeFacts commits facts about this node's copies.
func (r *Replicator) proposeFacts(ctx context.Context, facts []fact) []outcome {
	ctx, cancel := context.WithTimeout(ctx, commitFor)
	defer cancel()
	var receipts []catalog.Receipt
	var drops []catalog.Digest
	for _, f := range facts {
		if f.receipt != nil {
			receipts = append(receipts, *f.receipt)
		} else {
			drops = append(drops, f.digest)
		}
	}
	var putErr, dropErr error
	if len(receipts) > 0 {
		putErr = r.cfg.Proposer.PutReceipts(ctx, receipts)
	}
	if len(drops) > 0 {
		dropErr = r.cfg.Proposer.DropHolders(ctx, r.cfg.Self, drops)
	}
	out := make([]outcome, len(facts))
	for i, f := range facts {
		out[i] = outcome{digest: f.digest, err: putErr}
		if f.receipt == nil {
			out[i].err = dropErr
		}
	}
	return out
}

func (r *Replicator) noteRunning(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = n
}

// noteOutcome keeps the failures that status shows.
func (r *Replicator) noteOutcome(ctx context.Context, o outcome) {
	if o.err != nil && ctx.Err() == nil {
		r.log.Debug("blob not settled, will retry", "blob", o.digest, "err", o.err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.failing, o.digest)
	if o.err == nil || ctx.Err() != nil {
		return
	}
	if len(r.failing) >= maxFailing {
		for d := range maps.Keys(r.failing) {
			delete(r.failing, d)
			break
		}
	}
	r.failing[o.digest] = o.err.Error()
}
