package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/catalog"
)

// slowest is the transfer rate, in bytes per second, below which a peer that was
// asked to pull is given up.
const slowest = 1 << 20

// A member that was asked to pull is asked now and then whether it is there at all;
// together the two are the patience with a process that stands still.
const (
	probeEvery = time.Second
	probeFor   = 1500 * time.Millisecond
)

// patience is how long a member may take for a copy of so many bytes before another
// one is asked as well: it may answer questions while its disk hangs.
func patience(bytes int64) time.Duration {
	return 3*time.Second + time.Duration(bytes)*time.Second/(8*slowest)
}

// Replicate brings a blob, of which this node has a durable verified copy, to want
// distinct members, this one included: its owners first, others when an owner does
// not take it. The remaining owners fetch it once it is committed. If another
// packed form of the blob is established already, the receipt names that one. The
// error wraps catalog.ErrUnavailable if fewer members hold it, or if the copy is
// gone after all; the receipt then says who does.
func (r *Replicator) Replicate(ctx context.Context, d catalog.Digest, want int) (catalog.Receipt, error) {
	e, ok := r.local(d)
	if !ok {
		return catalog.Receipt{Digest: d}, fmt.Errorf("blob %s: replicate: this node has no sound copy: send it again: %w", d, catalog.ErrUnavailable)
	}
	// The form is read here: since the caller stored the blob, that of another node
	// may have taken its place.
	rc := catalog.Receipt{Digest: d, RawSize: e.RawSize, Packed: e.Packed, Holders: []catalog.NodeID{r.cfg.Self}}
	rc, err := r.spread(ctx, rc, want)
	if errors.Is(err, catalog.ErrConflict) {
		confirmed, cerr := r.Confirm(ctx, []catalog.Digest{d})
		if cerr != nil || len(confirmed) != 1 {
			return rc, fmt.Errorf("%v: %w", errors.Join(err, cerr), catalog.ErrUnavailable)
		}
		return confirmed[0], nil
	}
	return rc, err
}

// spread asks members to pull until want of them hold the blob.
func (r *Replicator) spread(ctx context.Context, rc catalog.Receipt, want int) (catalog.Receipt, error) {
	if len(rc.Holders) >= want {
		return rc, nil
	}
	candidates := slices.DeleteFunc(r.Placement().Order(rc.Digest), func(n catalog.NodeID) bool { return slices.Contains(rc.Holders, n) })
	self := slices.Contains(candidates, r.cfg.Self)
	candidates = r.byReach(candidates)
	if self && slices.Contains(r.Owners(rc.Digest), r.cfg.Self) {
		candidates = append([]catalog.NodeID{r.cfg.Self}, candidates...)
	} else if self {
		candidates = append(candidates, r.cfg.Self)
	}
	refused := r.gather(ctx, &rc, want, candidates)
	slices.Sort(rc.Holders)
	if len(rc.Holders) < want {
		return rc, shortOf(ctx, rc, want, refused)
	}
	return rc, nil
}

// asking is what comes of asking one member to pull: that it is slow, perhaps, and
// in the end whether it took the blob.
type asking struct {
	node catalog.NodeID
	slow bool
	err  error
}

// gather asks candidates in turn until want members hold the blob, as many at a time
// as are still lacking, and returns why others did not take it. A member that seems
// to stand still counts no longer as being asked, so that the next one is; what it
// does in the end counts all the same.
func (r *Replicator) gather(ctx context.Context, rc *catalog.Receipt, want int, candidates []catalog.NodeID) (refused []error) {
	ctx, cancel := context.WithCancel(ctx)
	var g errgroup.Group
	defer g.Wait()
	defer cancel() // of those that are not needed any more
	o := Order{rc.Digest, rc.RawSize, rc.Packed, r.source(rc.Holders)}
	news := make(chan asking, 2*len(candidates))
	slow := make(map[catalog.NodeID]bool)
	asked := 0 // members that have not answered
	for len(rc.Holders) < want {
		for len(candidates) > 0 && asked-len(slow) < want-len(rc.Holders) {
			node := candidates[0]
			candidates = candidates[1:]
			asked++
			g.Go(func() error {
				stop := r.watch(ctx, node, patience(rc.Packed.Size), func() { news <- asking{node: node, slow: true} })
				err := r.ask(ctx, node, o)
				stop()
				news <- asking{node: node, err: err}
				return nil
			})
		}
		if asked == 0 {
			return refused
		}
		var a asking
		select {
		case a = <-news:
		case <-ctx.Done():
			return append(refused, ctx.Err())
		}
		if a.slow {
			slow[a.node] = true
			continue
		}
		asked--
		delete(slow, a.node)
		if a.err == nil {
			rc.Holders = append(rc.Holders, a.node)
		} else {
			refused = append(refused, fmt.Errorf("member %s: %w", a.node, a.err))
		}
	}
	return refused
}

// watch calls slow, once, when a member that was asked to pull does not even answer a
// question that needs no work, or takes longer than so long. The stop it returns
// waits for an end of that.
func (r *Replicator) watch(ctx context.Context, node catalog.NodeID, most time.Duration, slow func()) (stop func()) {
	if node == r.cfg.Self {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error {
		begun := time.Now()
		for rest(ctx, probeEvery) {
			if took := time.Since(begun); took > most {
				r.log.Warn("a member asked for a copy takes long, asking another one as well", "peer", node, "took", took)
				slow()
				return nil
			}
			pctx, done := context.WithTimeout(ctx, probeFor)
			_, err := r.cfg.Peers.Have(pctx, node, nil)
			done()
			if err != nil && ctx.Err() == nil {
				r.log.Debug("a member asked for a copy does not answer, asking another one as well", "peer", node, "err", err)
				slow()
				return nil
			}
		}
		return nil
	})
	return func() {
		cancel()
		g.Wait()
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

// shortOf says why too few members hold a blob. It wraps catalog.ErrConflict only
// if nothing but other packed forms stands in the way.
func shortOf(ctx context.Context, rc catalog.Receipt, want int, refused []error) error {
	cause := catalog.ErrUnavailable
	conflict := func(err error) bool { return errors.Is(err, catalog.ErrConflict) }
	if slices.ContainsFunc(refused, conflict) {
		cause = catalog.ErrConflict
	}
	if ctx.Err() != nil {
		cause = ctx.Err()
	}
	return fmt.Errorf("blob %s: %d of %d members hold it; bring members back: %v: %w", rc.Digest, len(rc.Holders), want, errors.Join(refused...), cause)
}

// source prefers this node among the holders.
func (r *Replicator) source(holders []catalog.NodeID) catalog.NodeID {
	if slices.Contains(holders, r.cfg.Self) {
		return r.cfg.Self
	}
	if up := r.byReach(holders); len(up) > 0 {
		return up[0]
	}
	return ""
}

// ask makes a member, perhaps this one, pull.
func (r *Replicator) ask(ctx context.Context, node catalog.NodeID, o Order) error {
	if node == r.cfg.Self {
		_, err := r.Accept(ctx, o)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Stall+time.Duration(o.Packed.Size/slowest+1)*time.Second)
	defer cancel()
	return r.cfg.Peers.AskFetch(ctx, node, o)
}

// Accept carries out another node's order: it returns once this node's copy is
// durable and verified. A copy with other packed bytes gives way only to the
// form that the catalog names or, as long as it names none, to one whose packed
// digest is smaller: so nodes that stored one blob at the same time agree.
// Otherwise the error wraps catalog.ErrConflict.
func (r *Replicator) Accept(ctx context.Context, o Order) (catalog.Packed, error) {
	row, err := r.cfg.Catalog.Blob(o.Digest)
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return catalog.Packed{}, err
	}
	established := err == nil && settled(row)
	if established && row.Packed != o.Packed {
		return row.Packed, fmt.Errorf("blob %s: packed form %s is established, asked for %s: %w", o.Digest, row.Packed.SHA256, o.Packed.SHA256, catalog.ErrConflict)
	}
	if e, ok := r.local(o.Digest); ok && e.Packed != o.Packed && !established && string(e.Packed.SHA256[:]) < string(o.Packed.SHA256[:]) {
		return e.Packed, fmt.Errorf("blob %s: this node keeps packed form %s, asked for %s: %w", o.Digest, e.Packed.SHA256, o.Packed.SHA256, catalog.ErrConflict)
	}
	sources := []catalog.NodeID{o.Source}
	for _, h := range r.byReach(row.Holders) {
		if h != o.Source && established {
			sources = append(sources, h)
		}
	}
	e, err := r.Pull(ctx, Wanted{o.Digest, o.RawSize, o.Packed}, sources)
	return e.Packed, err
}

// settled reports whether the row fixes the packed form: the first one does, while
// a copy of it exists.
func settled(b catalog.Blob) bool { return !b.Retired && b.Packed.Size > 0 && len(b.Holders) > 0 }
