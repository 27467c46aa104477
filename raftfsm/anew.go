package raftfsm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

// This file changes a catalog that no raft is running on, for a cluster that goes
// on without its past members. Such a change is in no log: the node that made it
// has to be the only one, and everybody else gets its catalog as a snapshot.

// editRows bounds the rows that one transaction of an edit looks at.
const editRows = 10_000

// restoredReason is what becomes of uploads that a backup caught on the way.
const restoredReason = "the cluster was restored from a backup that was taken during the upload; push again"

// Anew says what BeginAnew changed.
type Anew struct {
	Expired  int // open packages
	Requeued int // packages that were being validated
	Dropped  int // notices that may have been sent since
}

// BeginAnew makes the catalog that of a new cluster, which has no member and no
// copy yet. Packages, verdicts, settings and trash stay. Uploads expire, claims of
// validators end, notices that wait are dropped: since the backup they may have
// been mailed. Nothing is retired for freezeMillis of cluster time, for which the
// catalog needs feature level 2. The rolling hash goes on from the past one and the
// new id.
//
// It works in several transactions: what was interrupted is done by calling it
// again with the same id.
func (f *FSM) BeginAnew(id catalog.ClusterID, freezeMillis int64) (Anew, error) {
	var did Anew
	steps := []func(s *state) (more bool){
		(*state).forgetMembers,
		func(s *state) bool { return s.endUploads(&did) },
		func(s *state) bool { return s.endClaims(&did) },
		func(s *state) bool { return s.dropNotices(&did) },
	}
	for _, step := range steps {
		if err := f.editAll(step); err != nil {
			return did, err
		}
	}
	if err := f.forgetHolders(); err != nil {
		return did, err
	}
	return did, f.edit(func(s *state) {
		h := s.head
		if h.ClusterID != id {
			h.Hash = catalog.Digest(sha256.Sum256(append(h.Hash[:], "restored as "+id...)))
		}
		h.ClusterID, h.Feature = id, max(h.Feature, featureOperate)
		h.FrozenUntil = h.Clock + catalog.ClusterTime(freezeMillis)
		s.putAlarms(nil)
		s.relayout()
		h.kept = nil
		s.putLayouts()
		s.delete(bucketMeta, keyConfiguration)
	})
}

// GoOn moves the applied index and term forward, over entries that no member may
// ever have seen, and freezes retirement if the catalog knows freezes: a node that
// goes on alone may have missed the commit of what lies on other disks.
func (f *FSM) GoOn(index, term uint64, freezeMillis int64) error {
	h := f.head.Load()
	if index < h.AppliedIndex || term < h.AppliedTerm {
		return fmt.Errorf("catalog is at log index %d of term %d, cannot go back to %d of term %d: %w",
			h.AppliedIndex, h.AppliedTerm, index, term, catalog.ErrInvalid)
	}
	return f.edit(func(s *state) {
		s.head.AppliedIndex, s.head.AppliedTerm = index, term
		if s.head.Feature >= featureOperate {
			s.head.FrozenUntil = max(s.head.FrozenUntil, s.head.Clock+catalog.ClusterTime(freezeMillis))
		}
	})
}

// edit changes the catalog outside of the log, in one transaction.
func (f *FSM) edit(fn func(s *state)) error {
	f.swap.RLock()
	defer f.swap.RUnlock()
	if f.db == nil {
		return ErrClosed
	}
	h := f.head.Load().clone()
	err := f.db.Update(func(tx *bolt.Tx) error {
		fn(&state{tx: tx, head: h, index: h.AppliedIndex})
		return saveHead(tx, h)
	})
	if err != nil {
		return fmt.Errorf("catalog %s: %w", f.path, err)
	}
	f.publish(h)
	f.feed.lose()
	return nil
}

// editAll repeats a step, each time in a transaction of its own, while it has more
// to do.
func (f *FSM) editAll(step func(s *state) (more bool)) error {
	for more := true; more; {
		if err := f.edit(func(s *state) { more = step(s) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) forgetMembers() bool {
	for _, bucket := range [][]byte{bucketMembers, bucketDeparted} {
		for _, k := range prefixKeys(s.tx.Bucket(bucket), nil, nil, editRows) {
			s.delete(bucket, k)
		}
	}
	s.head.members, s.head.departed = nil, 0
	return false
}

func (s *state) endUploads(did *Anew) bool {
	keys := prefixKeys(s.tx.Bucket(bucketLeases), nil, nil, editRows)
	for _, k := range keys {
		s.expireLease(catalog.PackageID(k[8:]), restoredReason)
	}
	did.Expired += len(keys)
	return len(keys) == editRows
}

func (s *state) endClaims(did *Anew) bool {
	keys := prefixKeys(s.tx.Bucket(bucketClaims), nil, nil, editRows)
	for _, k := range keys {
		r := s.mustRow(catalog.PackageID(k[8:]))
		r.Claim = nil
		r.resetReport()
		s.putPackage(r)
	}
	did.Requeued += len(keys)
	return len(keys) == editRows
}

func (s *state) dropNotices(did *Anew) bool {
	keys := prefixKeys(s.tx.Bucket(bucketPending), nil, nil, editRows)
	for _, k := range keys {
		n := decodeNotice(bytes.Clone(s.get(bucketNotices, k)))
		n.State, n.Done, n.Error = catalog.NoticeDropped, s.head.Clock, "restored from a backup: it may have been sent since"
		s.head.Pending--
		s.putNotice(n)
	}
	did.Dropped += len(keys)
	return len(keys) == editRows
}

// forgetHolders drops every copy.
func (f *FSM) forgetHolders() error {
	after := catalog.Digest{}
	return f.editAll(func(s *state) bool {
		start := after[:]
		if !after.IsZero() {
			start = append(slices.Clone(start), 0)
		}
		keys := prefixKeys(s.tx.Bucket(bucketBlobs), nil, start, editRows)
		for _, k := range keys {
			after = catalog.Digest(k)
			if old := blobByDigest(s.tx, after); len(old.holders) > 0 {
				r := *old
				r.holders = nil
				s.putBlob(after, old, &r)
			}
		}
		return len(keys) == editRows
	})
}

// Servable says how many good packages have every blob.
type Servable struct {
	Good    int
	Whole   int                 // of them, every blob is there
	Lacking []catalog.PackageID // the first 100 of the others
}

// Servable counts the good packages whose blobs are all there.
func (f *FSM) Servable(ctx context.Context, has func(catalog.Digest) bool) (Servable, error) {
	var sum Servable
	for after, more := []byte{}, true; more; {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		err := f.view(func(tx *bolt.Tx) error {
			ids := prefixKeys(tx.Bucket(bucketVisible), nil, after, 100)
			for _, id := range ids {
				after = append(bytes.Clone(id), 0)
				sum.Good++
				switch {
				case hasAll(tx, id, has):
					sum.Whole++
				case len(sum.Lacking) < 100:
					sum.Lacking = append(sum.Lacking, catalog.PackageID(id))
				}
			}
			more = len(ids) == 100
			return nil
		})
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func hasAll(tx *bolt.Tx, id []byte, has func(catalog.Digest) bool) bool {
	c := tx.Bucket(bucketFiles).Cursor()
	for k, v := c.Seek(id); k != nil && bytes.HasPrefix(k, id); k, v = c.Next() {
		if f := decodeFile(v); !f.released && !has(f.digest) {
			return false
		}
	}
	return true
}
