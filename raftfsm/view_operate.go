package raftfsm

import (
	"context"
	"encoding/binary"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

// FrozenFor returns how much cluster time, in milliseconds, is left of a freeze of
// retirement; 0 without one.
func (f *FSM) FrozenFor() int64 { return f.head.Load().frozenFor() }

// PartitionSizes returns what each of the catalog.Partitions holds of referenced,
// packed blobs. It reads in pages: what changes meanwhile is counted before or
// after the change.
func (f *FSM) PartitionSizes(ctx context.Context) ([]catalog.PartitionSize, error) {
	sizes := make([]catalog.PartitionSize, catalog.Partitions)
	err := f.eachBlob(ctx, func(_ *head, d catalog.Digest, r *blobRow) {
		if r.refs > 0 && r.isPacked() {
			p := &sizes[d.Partition()]
			p.Blobs++
			p.Bytes += r.packed.Size
		}
	})
	return sizes, err
}

// Held is what one member has, as the catalog lists it.
type Held struct {
	Blobs  int64 // copies
	Bytes  int64 // of them, packed
	Needed int64 // referenced blobs among them that would have too few holders without this one
}

// Held counts the copies of a member, which may be draining but not removed. Needed
// counts those with fewer than want other holders among the members.
func (f *FSM) Held(ctx context.Context, node catalog.NodeID, want int) (Held, error) {
	var held Held
	err := f.eachBlob(ctx, func(h *head, _ catalog.Digest, r *blobRow) {
		has, others := false, 0
		for _, no := range r.holders {
			switch m, ok := h.byNumber(no); {
			case ok && m.ID == node:
				has = true
			case ok:
				others++
			}
		}
		if !has {
			return
		}
		held.Blobs++
		held.Bytes += r.packed.Size
		if r.refs > 0 && others < want {
			held.Needed++
		}
	})
	return held, err
}

// eachBlob calls fn for every blob row in short transactions, until ctx ends.
func (f *FSM) eachBlob(ctx context.Context, fn func(h *head, d catalog.Digest, r *blobRow)) error {
	after, more := catalog.Digest{}, true
	for more {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := f.view(func(tx *bolt.Tx) error {
			h := f.head.Load()
			c := tx.Bucket(bucketBlobs).Cursor()
			k, v := seekAfter(c, after)
			for n := 0; k != nil && n < maxScan; n++ {
				after = catalog.Digest(k)
				fn(h, after, mustBlob(v))
				k, v = c.Next()
			}
			more = k != nil
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// A StepHash is the rolling hash over the commands below Index, a multiple of
// HashStep.
type StepHash struct {
	Index uint64
	Hash  catalog.Digest
}

// stepHashes bounds StepHashes.
const stepHashes = 8

// StepHashes returns the newest recorded hashes, the newest first, at most 8, and
// none once the catalog is closed.
func (f *FSM) StepHashes() []StepHash {
	steps := []StepHash{}
	_ = f.view(func(tx *bolt.Tx) error { // ErrClosed is the only error
		c := tx.Bucket(bucketHashes).Cursor()
		for k, v := c.Last(); k != nil && len(steps) < stepHashes; k, v = c.Prev() {
			steps = append(steps, StepHash{binary.BigEndian.Uint64(k), catalog.Digest(v)})
		}
		return nil
	})
	return steps
}
