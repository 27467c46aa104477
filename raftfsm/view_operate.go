package raftfsm

import (
	"context"

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
