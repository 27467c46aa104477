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

// Periods of cluster time, in milliseconds.
const (
	ClaimTime   = 60_000                       // one validation claim
	MaxLease    = 7 * 24 * 3_600_000           // longest lease of an open package
	KeepFailed  = 14 * 24 * 3_600_000          // blobs of a failed package
	KeepTrashed = 14 * 24 * 3_600_000          // a trashed package
	KeepKey     = 7 * 24 * 3_600_000           // an idempotency key, after a terminal state
	KeepNotice  = 30 * 24 * 3_600_000          // a notice that was sent or dropped
	maxAttempts = 3                            // validators in a row that may die on a package
	packageLen  = 26                           // bytes of a package id
	farFuture   = catalog.ClusterTime(1 << 62) // no cluster time reaches it
)

// A packageRow is a package with what only the catalog needs to know. Its
// findings are rows of their own.
type packageRow struct {
	catalog.Package
	Token          uint64              `json:"token,omitempty"`           // claim under which the verdict was recorded
	Conflicts      int                 `json:"conflicts,omitempty"`       // files that the verdict found contradicted
	Reported       int                 `json:"reported,omitempty"`        // files reported under the present claim or the verdict's
	TrashedAt      catalog.ClusterTime `json:"trashed_at,omitempty"`      // while trashed or purged
	Swept          int                 `json:"swept,omitempty"`           // file number the sweep goes on at
	PreviousReason string              `json:"previous_reason,omitempty"` // of a trashed package: what undelete restores
	Released       bool                `json:"released,omitempty"`        // its references are gone
}

// activeToken is the token whose keys and findings count now: that of the
// verdict, or of the validator at work; 0 if there is none.
func (r *packageRow) activeToken() uint64 {
	if r.Token == 0 && r.Claim != nil {
		return r.Claim.Token
	}
	return r.Token
}

// Kinds of due work in the sweep bucket. The numbers are stored.
const (
	sweepRelease byte = 1 // take back the references of an expired, failed or purged package
	sweepPurge   byte = 2 // make a trashed package a purged one
	sweepKey     byte = 3 // forget an idempotency key
	sweepRecord  byte = 4 // forget an expired package
	sweepNotice  byte = 5 // forget a notice
)

// An indexEntry is a row that follows from a package row.
type indexEntry struct{ bucket, key, value []byte }

// derived lists every index entry of a package: a pure function of its row, so
// that no transition can forget one.
func (r *packageRow) derived() []indexEntry {
	id := []byte(r.ID)
	e := []indexEntry{{bucketProducts, productKey(r.Product, r.ID), nil}}
	add := func(bucket, key, value []byte) { e = append(e, indexEntry{bucket, key, value}) }
	sweep := func(due catalog.ClusterTime, kind byte) { add(bucketSweep, sweepKeyOf(due, kind, id), nil) }
	if r.IdempotencyKey != "" {
		add(bucketIdempotent, []byte(r.IdempotencyKey), id)
	}
	if r.Claim != nil {
		add(bucketClaims, timeKey(r.Claim.Deadline, id), nil)
	}
	switch r.State {
	case catalog.StateOpen:
		add(bucketLeases, timeKey(r.Lease, id), nil)
	case catalog.StateCommitted:
		if r.Claim == nil {
			add(bucketQueue, append(binary.BigEndian.AppendUint64(nil, r.CommittedIndex), id...), nil)
		}
	case catalog.StateGood:
		v := binary.BigEndian.AppendUint64(nil, r.Token)
		add(bucketVisible, id, binary.BigEndian.AppendUint64(v, r.VerdictIndex))
	case catalog.StateTrashed:
		sweep(r.TrashedAt+KeepTrashed, sweepPurge)
	}
	if due := r.releaseDue(); due < farFuture && !r.Released {
		sweep(due, sweepRelease)
	}
	if r.Terminal > 0 {
		switch {
		case r.IdempotencyKey != "":
			sweep(r.Terminal+KeepKey, sweepKey)
		case r.State == catalog.StateExpired && r.Released:
			sweep(r.Terminal+KeepKey, sweepRecord)
		}
	}
	return e
}

// releaseDue is when the references of a package are taken back.
func (r *packageRow) releaseDue() catalog.ClusterTime {
	switch r.State {
	case catalog.StateExpired, catalog.StatePurged:
		return r.Terminal
	case catalog.StateFailed:
		return r.Terminal + KeepFailed
	}
	return farFuture
}

// row reads a package. The error is ErrNotFound.
func (s *state) row(id catalog.PackageID) (*packageRow, error) { return packageByID(s.tx, id) }

func packageByID(tx *bolt.Tx, id catalog.PackageID) (*packageRow, error) {
	v := tx.Bucket(bucketPackages).Get([]byte(id))
	if v == nil {
		return nil, fmt.Errorf("package %.64q: the catalog has none: %w", id, catalog.ErrNotFound)
	}
	return decodePackage(v), nil
}

func decodePackage(v []byte) *packageRow {
	r := &packageRow{}
	if err := json.Unmarshal(v, r); err != nil {
		panic(fmt.Sprintf("raftfsm: package row: %v", err))
	}
	return r
}

// putPackage writes a row over the stored one and brings the index entries along.
func (s *state) putPackage(r *packageRow) {
	key := []byte(r.ID)
	var before []indexEntry
	if v := s.get(bucketPackages, key); v != nil {
		old := decodePackage(v)
		before = old.derived()
		s.count(old.State, -1)
	}
	after := r.derived()
	for _, e := range before {
		if !slices.ContainsFunc(after, e.sameKey) {
			s.delete(e.bucket, e.key)
		}
	}
	for _, e := range after {
		s.put(e.bucket, e.key, e.value)
	}
	s.count(r.State, 1)
	s.put(bucketPackages, key, mustJSON(r))
}

// dropPackage removes a row and its index entries.
func (s *state) dropPackage(r *packageRow) {
	for _, e := range r.derived() {
		s.delete(e.bucket, e.key)
	}
	s.count(r.State, -1)
	s.delete(bucketPackages, []byte(r.ID))
}

func (s *state) count(state catalog.State, by int) {
	if s.head.States[state] += by; s.head.States[state] == 0 {
		delete(s.head.States, state)
	}
}

func (e indexEntry) sameKey(o indexEntry) bool {
	return bytes.Equal(e.bucket, o.bucket) && bytes.Equal(e.key, o.key)
}

// productKey sorts the packages of one product together; text holds no NUL.
func productKey(product string, id catalog.PackageID) []byte {
	return append(append([]byte(product), 0), id...)
}

// timeKey sorts ids by a cluster time.
func timeKey(t catalog.ClusterTime, id []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(t)), id...)
}

func keyTime(k []byte) catalog.ClusterTime { return catalog.ClusterTime(binary.BigEndian.Uint64(k)) }

func sweepKeyOf(due catalog.ClusterTime, kind byte, id []byte) []byte {
	return append(append(binary.BigEndian.AppendUint64(nil, uint64(due)), kind), id...)
}

// checkPackageID refuses what is not 26 characters of Crockford base 32.
func checkPackageID(id catalog.PackageID) error {
	ok := len(id) == packageLen
	for i := 0; ok && i < len(id); i++ {
		ok = bytes.IndexByte([]byte("0123456789ABCDEFGHJKMNPQRSTVWXYZ"), id[i]) >= 0
	}
	if !ok {
		return fmt.Errorf("package id %.64q: wanted 26 characters of Crockford base 32, upper case: %w", id, catalog.ErrInvalid)
	}
	return nil
}
