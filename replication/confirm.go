package replication

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/catalog"
)

// MaxHave bounds one Have.
const MaxHave = 4096

// maxSpread bounds the blobs that one Confirm has copies made of at the same time.
const maxSpread = 16

// Have returns what this node holds, in the order of the digests; nil where it
// has no copy. A file that has vanished does not count, and is looked after.
func (r *Replicator) Have(digests []catalog.Digest) ([]*catalog.Packed, error) {
	if len(digests) > MaxHave {
		return nil, fmt.Errorf("have: %d digests, at most %d are accepted: %w", len(digests), MaxHave, catalog.ErrInvalid)
	}
	out := make([]*catalog.Packed, len(digests))
	for i, d := range digests {
		had := r.store.Has(d)
		if e, ok := r.local(d); ok {
			out[i] = &e.Packed
		} else if had {
			r.Notify(d)
		}
	}
	return out, nil
}

// Confirm finds out which members hold the blobs now, all in one packed form, and
// has copies made until as many hold each as a commit asks for. There is one
// receipt per blob that succeeded, in the order of the digests. The error joins
// those of the others: catalog.ErrNotFound if every member answered and none has
// the blob, catalog.ErrUnavailable otherwise.
func (r *Replicator) Confirm(ctx context.Context, digests []catalog.Digest) ([]catalog.Receipt, error) {
	// Rows of packages that were opened through other nodes must be here.
	if err := r.cfg.Catalog.Barrier(ctx); err != nil {
		return nil, fmt.Errorf("confirm: %w", err)
	}
	var receipts []catalog.Receipt
	var errs []error
	for part := range slices.Chunk(digests, MaxHave) {
		rs, err := r.confirmPart(ctx, part)
		receipts = append(receipts, rs...)
		if err != nil {
			errs = append(errs, err)
		}
	}
	return receipts, errors.Join(errs...)
}

// holdings is what members said of some digests.
type holdings struct {
	mu     sync.Mutex
	copies []map[catalog.Packed][]catalog.NodeID // by position of the digest
	silent []error                               // of members that did not answer
}

func (r *Replicator) confirmPart(ctx context.Context, digests []catalog.Digest) ([]catalog.Receipt, error) {
	h := r.survey(ctx, digests)
	members := r.members()
	want := catalog.WriteQuorum(r.cfg.Catalog.Settings().Replicas, len(members))
	receipts := make([]*catalog.Receipt, len(digests))
	failed := make([]error, len(digests))
	var g errgroup.Group
	g.SetLimit(maxSpread)
	for i, d := range digests {
		rc, err := r.choose(d, h.copies[i], h.silent, want)
		if err != nil {
			failed[i] = err
			continue
		}
		if len(rc.Holders) >= want {
			receipts[i] = &rc
			continue
		}
		g.Go(func() error {
			rc, err := r.spread(ctx, rc, want)
			if errors.Is(err, catalog.ErrConflict) { // nodes are still agreeing on a form
				err = fmt.Errorf("%v: %w", err, catalog.ErrUnavailable)
			}
			if err != nil {
				failed[i] = err
			} else {
				receipts[i] = &rc
			}
			return nil
		})
	}
	g.Wait()
	var out []catalog.Receipt
	for _, rc := range receipts {
		if rc != nil {
			out = append(out, *rc)
		}
	}
	return out, joinSome(failed)
}

// joinSome joins the first ten errors and counts the others.
func joinSome(errs []error) error {
	errs = slices.DeleteFunc(errs, func(e error) bool { return e == nil })
	if len(errs) <= 10 {
		return errors.Join(errs...)
	}
	return errors.Join(append(errs[:10:10], fmt.Errorf("and %d more blobs", len(errs)-10))...)
}

// survey asks every member at the same time.
func (r *Replicator) survey(ctx context.Context, digests []catalog.Digest) *holdings {
	h := &holdings{copies: make([]map[catalog.Packed][]catalog.NodeID, len(digests))}
	for i := range h.copies {
		h.copies[i] = make(map[catalog.Packed][]catalog.NodeID)
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.AskFor)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(16)
	for _, m := range r.members() {
		g.Go(func() error {
			have, err := r.have(ctx, m, digests)
			h.mu.Lock()
			defer h.mu.Unlock()
			if err != nil {
				h.silent = append(h.silent, fmt.Errorf("member %s: %w", m, err))
				return nil
			}
			for i, p := range have {
				if p != nil {
					h.copies[i][*p] = append(h.copies[i][*p], m)
				}
			}
			return nil
		})
	}
	g.Wait()
	return h
}

func (r *Replicator) have(ctx context.Context, node catalog.NodeID, digests []catalog.Digest) ([]*catalog.Packed, error) {
	if node == r.cfg.Self {
		return r.Have(digests)
	}
	if !r.cfg.Alive(node) {
		return nil, fmt.Errorf("gossip reports it away: %w", catalog.ErrUnavailable)
	}
	have, err := r.cfg.Peers.Have(ctx, node, digests)
	if err == nil && len(have) != len(digests) {
		err = fmt.Errorf("%d answers to %d digests: %w", len(have), len(digests), catalog.ErrUnavailable)
	}
	return have, err
}

// choose picks the packed form a receipt is made for: the one of the row; else,
// of those that enough members hold, or of all if there is none, the one with the
// smallest digest. Every node chooses alike.
func (r *Replicator) choose(d catalog.Digest, copies map[catalog.Packed][]catalog.NodeID, silent []error, want int) (catalog.Receipt, error) {
	row, err := r.cfg.Catalog.Blob(d)
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return catalog.Receipt{}, err
	}
	rc := catalog.Receipt{Digest: d, RawSize: row.RawSize}
	if e, serr := r.store.Stat(d); serr == nil {
		rc.RawSize = e.RawSize
	}
	forms := make([]catalog.Packed, 0, len(copies))
	for p := range copies {
		forms = append(forms, p)
	}
	if len(forms) == 0 {
		return rc, noCopy(d, silent)
	}
	enough := func(p catalog.Packed) int { return min(len(copies[p]), want) / want }
	slices.SortFunc(forms, func(a, b catalog.Packed) int {
		return cmp.Or(cmp.Compare(enough(b), enough(a)), bytes.Compare(a.SHA256[:], b.SHA256[:]))
	})
	rc.Packed = forms[0]
	if err == nil && settled(row) {
		if len(copies[row.Packed]) == 0 {
			return rc, fmt.Errorf("blob %s: no reachable member holds the established form %s: %v: %w",
				d, row.Packed.SHA256, errors.Join(silent...), catalog.ErrUnavailable)
		}
		rc.Packed = row.Packed
	}
	if rc.RawSize <= 0 {
		return rc, fmt.Errorf("blob %s: neither the catalog nor this node knows its size: %w", d, catalog.ErrNotFound)
	}
	rc.Holders = slices.Sorted(slices.Values(copies[rc.Packed]))
	return rc, nil
}

func noCopy(d catalog.Digest, silent []error) error {
	if len(silent) > 0 {
		return fmt.Errorf("blob %s: no reachable member holds a copy: %v: %w", d, errors.Join(silent...), catalog.ErrUnavailable)
	}
	return fmt.Errorf("blob %s: no member holds a copy, upload it again: %w", d, catalog.ErrNotFound)
}
