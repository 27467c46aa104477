package raftfsm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

// sweepDue reports whether a Sweep would find rows now.
func (s *state) sweepDue() bool { return dueNow(s.tx, s.head) }

func dueNow(tx *bolt.Tx, h *head) bool {
	k, _ := tx.Bucket(bucketSweep).Cursor().First()
	return h.departed > 0 || (k != nil && keyTime(k) <= h.Clock)
}

// sweepNext does the due work that has waited longest, at most *left rows of it,
// and reports whether there was any.
func (s *state) sweepNext(left *int) bool {
	k, _ := s.tx.Bucket(bucketSweep).Cursor().First()
	if k == nil || keyTime(k) > s.head.Clock {
		return false
	}
	k = bytes.Clone(k)
	kind, id := k[8], k[9:]
	if kind == sweepRelease {
		s.release(s.mustRow(catalog.PackageID(id)), left)
		return true
	}
	*left--
	if kind == sweepNotice {
		s.delete(bucketNotices, id)
		s.delete(bucketSweep, k)
		return true
	}
	r := s.mustRow(catalog.PackageID(id))
	switch kind {
	case sweepPurge:
		s.purge(r)
	case sweepKey:
		r.IdempotencyKey = ""
		s.putPackage(r)
	case sweepRecord:
		s.dropPackage(r)
	default:
		panic(fmt.Sprintf("raftfsm: log index %d: sweep: row of kind %d", s.index, kind))
	}
	return true
}

// purge ends a trashed package for good: its rows go with the release that
// follows.
func (s *state) purge(r *packageRow) {
	r.State, r.Terminal, r.Swept, r.Released = catalog.StatePurged, s.head.Clock, 0, false
	s.putPackage(r)
	s.emitPackage(PackagePurged, r.ID)
}

// release takes back the references and keys of a package, file by file. A failed
// one keeps the rows of files with findings, as its record; of others everything
// goes.
func (s *state) release(r *packageRow, left *int) {
	for ; r.Swept < r.Files && *left > 0; r.Swept++ {
		s.releaseFile(r, r.Swept, left)
	}
	if r.Swept == r.Files && *left > 0 {
		r.Released = s.releaseRest(r, left)
	}
	s.putPackage(r)
}

func (s *state) releaseFile(r *packageRow, no int, left *int) {
	*left--
	f := fileByNo(s.tx, r.ID, no)
	if f == nil {
		return // went when the package failed
	}
	if !f.released {
		*left -= s.dropKeys(r.ID, no, f)
		s.delete(bucketRefs, refKey(f.digest, r.ID, no))
		s.unreference(f.digest)
		f.released = true
	}
	found, _ := s.tx.Bucket(bucketFindings).Cursor().Seek(findingPrefix(r.ID, r.Token, no))
	if r.State == catalog.StateFailed && bytes.HasPrefix(found, findingPrefix(r.ID, r.Token, no)) {
		s.putFile(r.ID, no, f)
		return
	}
	s.delete(bucketFiles, fileKey(r.ID, no))
}

// releaseRest removes the rows that hang on the package itself and reports
// whether all are gone.
func (s *state) releaseRest(r *packageRow, left *int) bool {
	rest := [][]byte{bucketSuspects}
	if r.State != catalog.StateFailed {
		rest = append(rest, bucketFindings)
	}
	for _, bucket := range rest {
		keys := prefixKeys(s.tx.Bucket(bucket), []byte(r.ID), []byte(r.ID), *left)
		for _, k := range keys {
			s.delete(bucket, k)
		}
		if *left -= len(keys); *left <= 0 {
			return false
		}
	}
	return true
}

// dropKeys removes the candidate rows of a file and returns how many it had.
func (s *state) dropKeys(id catalog.PackageID, no int, f *fileRow) int {
	if f.Report == nil {
		return 0
	}
	for _, k := range f.Report.Keys {
		s.deleteCandidate(candidateKey{k.Rank, f.digest, id, no}.encode(storedKey(id, k.Key)))
	}
	return len(f.Report.Keys)
}

// sweepDeparted looks at up to *left blobs for entries of the member that left
// first, and drops those of every departed member it meets.
func (s *state) sweepDeparted(left *int) {
	k, v := s.tx.Bucket(bucketDeparted).Cursor().First()
	if k == nil {
		panic(fmt.Sprintf("raftfsm: log index %d: %d departed members are counted, none is listed", s.index, s.head.departed))
	}
	no := binary.BigEndian.Uint32(k)
	var row departedRow
	if err := json.Unmarshal(v, &row); err != nil {
		panic(fmt.Sprintf("raftfsm: departed row: %v", err))
	}
	start := row.After[:]
	if !row.After.IsZero() {
		start = append(slices.Clone(start), 0)
	}
	keys := prefixKeys(s.tx.Bucket(bucketBlobs), nil, start, *left)
	for _, k := range keys {
		s.pruneBlob(catalog.Digest(k))
	}
	if done := len(keys) < *left; done {
		s.delete(bucketDeparted, departedKey(no))
		s.head.departed--
		*left -= len(keys) + 1
		return
	}
	*left = 0
	row.After = catalog.Digest(keys[len(keys)-1])
	s.put(bucketDeparted, departedKey(no), mustJSON(row))
}

func (s *state) pruneBlob(d catalog.Digest) {
	old := blobByDigest(s.tx, d)
	r := *old
	if r.holders = s.prune(old.holders); len(r.holders) == len(old.holders) {
		return
	}
	s.putBlob(d, old, &r)
	s.emitBlob(BlobHolders, d)
}
