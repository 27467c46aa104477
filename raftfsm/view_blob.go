package raftfsm

import (
	"bytes"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

// Blob returns what is known of a digest, a retired one included, or an
// ErrNotFound.
func (f *FSM) Blob(d catalog.Digest) (catalog.Blob, error) {
	var b catalog.Blob
	err := f.view(func(tx *bolt.Tx) error {
		r := blobByDigest(tx, d)
		if r == nil {
			return fmt.Errorf("blob %s: the catalog has none: %w", d, catalog.ErrNotFound)
		}
		b = f.head.Load().blob(d, r)
		return nil
	})
	return b, err
}

// Blobs lists at most limit blobs after a digest in rising order, retired ones
// included; the zero digest begins with the first.
func (f *FSM) Blobs(after catalog.Digest, limit int) ([]catalog.Blob, error) {
	blobs := []catalog.Blob{}
	err := f.view(func(tx *bolt.Tx) error {
		h := f.head.Load()
		c := tx.Bucket(bucketBlobs).Cursor()
		for k, v := seekAfter(c, after); k != nil && len(blobs) < limit; k, v = c.Next() {
			blobs = append(blobs, h.blob(catalog.Digest(k), mustBlob(v)))
		}
		return nil
	})
	return blobs, err
}

func seekAfter(c *bolt.Cursor, after catalog.Digest) (k, v []byte) {
	if after.IsZero() {
		return c.First()
	}
	if k, v = c.Seek(after[:]); bytes.Equal(k, after[:]) {
		return c.Next()
	}
	return k, v
}

// Lacking returns those of digests that no member holds a copy of, in order.
func (f *FSM) Lacking(digests []catalog.Digest) ([]catalog.Digest, error) {
	lacking := []catalog.Digest{}
	err := f.view(func(tx *bolt.Tx) error {
		h := f.head.Load()
		for _, d := range digests {
			if r := blobByDigest(tx, d); r == nil || r.retired || h.live(r) == 0 {
				lacking = append(lacking, d)
			}
		}
		return nil
	})
	return lacking, err
}

// RetireCandidates lists blobs without a reference for at least graceMillis of
// cluster time, the longest first.
func (f *FSM) RetireCandidates(graceMillis int64, limit int) ([]Retiree, error) {
	list := []Retiree{}
	err := f.view(func(tx *bolt.Tx) error {
		latest := f.head.Load().Clock - catalog.ClusterTime(graceMillis)
		c := tx.Bucket(bucketIdle).Cursor()
		for k, _ := c.First(); k != nil && len(list) < limit && keyTime(k) <= latest; k, _ = c.Next() {
			d := catalog.Digest(k[8:])
			list = append(list, Retiree{Digest: d, Gen: blobByDigest(tx, d).gen})
		}
		return nil
	})
	return list, err
}

// A FileRef is one file that lists a digest.
type FileRef struct {
	Package catalog.PackageID
	No      int
	Path    string
}

// FilesOf returns at most limit files that list a digest.
func (f *FSM) FilesOf(d catalog.Digest, limit int) ([]FileRef, error) {
	refs := []FileRef{}
	err := f.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketRefs).Cursor()
		for k, _ := c.Seek(d[:]); k != nil && bytes.HasPrefix(k, d[:]) && len(refs) < limit; k, _ = c.Next() {
			id, no := catalog.PackageID(k[32:32+packageLen]), fileNo(k[32:])
			refs = append(refs, FileRef{Package: id, No: no, Path: fileByNo(tx, id, no).Path})
		}
		return nil
	})
	return refs, err
}

// Notices lists notices in a state, at most limit: pending ones oldest first, the
// others newest first.
func (f *FSM) Notices(state catalog.NoticeState, limit int) ([]catalog.Notice, error) {
	list := []catalog.Notice{}
	err := f.view(func(tx *bolt.Tx) error {
		rows := tx.Bucket(bucketNotices)
		if state == catalog.NoticePending {
			c := tx.Bucket(bucketPending).Cursor()
			for k, _ := c.First(); k != nil && len(list) < limit; k, _ = c.Next() {
				list = append(list, decodeNotice(rows.Get(k)).Notice)
			}
			return nil
		}
		c := rows.Cursor()
		scanned := 0
		for k, v := c.Last(); k != nil && len(list) < limit && scanned < maxScan; k, v = c.Prev() {
			scanned++
			if n := decodeNotice(v); n.State == state {
				list = append(list, n.Notice)
			}
		}
		return nil
	})
	return list, err
}

// DueNotices lists pending notices whose time has come, oldest first, at most
// limit. Those that wait for another attempt do not stand in their way.
func (f *FSM) DueNotices(limit int) ([]catalog.Notice, error) {
	list := []catalog.Notice{}
	now := f.ClusterTime()
	err := f.view(func(tx *bolt.Tx) error {
		rows := tx.Bucket(bucketNotices)
		c := tx.Bucket(bucketPending).Cursor()
		for k, _ := c.First(); k != nil && len(list) < limit; k, _ = c.Next() {
			if n := decodeNotice(rows.Get(k)).Notice; n.Next <= now {
				list = append(list, n)
			}
		}
		return nil
	})
	return list, err
}

// SweepDue reports whether a Sweep would find rows now.
func (f *FSM) SweepDue() (bool, error) {
	due := false
	err := f.view(func(tx *bolt.Tx) error {
		due = dueNow(tx, f.head.Load())
		return nil
	})
	return due, err
}
