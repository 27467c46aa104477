package raftfsm

import (
	"bytes"
	"encoding/json"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

// Buckets of schema version 1. FORMAT.md has their keys and values.
var (
	bucketMeta       = []byte("meta")
	bucketHashes     = []byte("hashes")
	bucketMembers    = []byte("members")
	bucketDeparted   = []byte("departed")
	bucketPackages   = []byte("packages")
	bucketProducts   = []byte("products")
	bucketIdempotent = []byte("idempotency")
	bucketLeases     = []byte("leases")
	bucketQueue      = []byte("queue")
	bucketClaims     = []byte("claims")
	bucketVisible    = []byte("visible")
	bucketSweep      = []byte("sweep")
	bucketFiles      = []byte("files")
	bucketFindings   = []byte("findings")
	bucketRefs       = []byte("refs")
	bucketBlobs      = []byte("blobs")
	bucketIdle       = []byte("idle")
	bucketCandidates = []byte("candidates")
	bucketSuspects   = []byte("suspects")
	bucketNotices    = []byte("notices")
	bucketPending    = []byte("pending")
	bucketNames      = []byte("names") // feature level 3

	buckets = [][]byte{
		bucketMeta, bucketHashes, bucketMembers, bucketDeparted, bucketPackages, bucketProducts, bucketIdempotent,
		bucketLeases, bucketQueue, bucketClaims, bucketVisible, bucketSweep, bucketFiles, bucketFindings,
		bucketRefs, bucketBlobs, bucketIdle, bucketCandidates, bucketSuspects, bucketNotices, bucketPending,
	}

	// bucketsKnow are made when the catalog reaches feature level 3.
	bucketsKnow = [][]byte{bucketNames}
)

// Rows of the meta bucket.
var (
	keyHead          = []byte("head")
	keyConfiguration = []byte("configuration")
	keyLayouts       = []byte("layouts") // feature level 2
	keyAlarms        = []byte("alarms")  // feature level 2
)

// A state is the catalog inside the transaction of one batch. Its methods return
// only refusals: whatever else goes wrong is a damaged file or a broken invariant,
// and panics.
type state struct {
	tx     *bolt.Tx
	head   *head // a private copy
	index  uint64
	events []Event
	check  bool // the contents are to be hashed as they are after this batch
}

func (s *state) get(bucket, key []byte) []byte { return s.tx.Bucket(bucket).Get(key) }

func (s *state) put(bucket, key, value []byte) {
	if err := s.tx.Bucket(bucket).Put(key, value); err != nil {
		panic(fmt.Sprintf("raftfsm: log index %d: bucket %s: %v", s.index, bucket, err))
	}
}

func (s *state) delete(bucket, key []byte) {
	if err := s.tx.Bucket(bucket).Delete(key); err != nil {
		panic(fmt.Sprintf("raftfsm: log index %d: bucket %s: %v", s.index, bucket, err))
	}
}

func (s *state) emit(e Event) {
	e.Index = s.index
	s.events = append(s.events, e)
}

func (s *state) emitPackage(t EventType, id catalog.PackageID) {
	s.emit(Event{Type: t, Package: id})
}

func (s *state) emitBlob(t EventType, d catalog.Digest) { s.emit(Event{Type: t, Digest: d}) }

// mustJSON encodes a row of ours, which always has a JSON form.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("raftfsm: row %T: %v", v, err))
	}
	return b
}

// prefixKeys returns copies of at most limit keys that start with prefix, from the
// first one at or after start. A cursor does not survive a write, keys do.
func prefixKeys(b *bolt.Bucket, prefix, start []byte, limit int) [][]byte {
	var keys [][]byte
	c := b.Cursor()
	for k, _ := c.Seek(start); k != nil && bytes.HasPrefix(k, prefix) && len(keys) < limit; k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	return keys
}

// countPrefix counts the keys that start with prefix.
func countPrefix(b *bolt.Bucket, prefix []byte) int {
	n := 0
	c := b.Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		n++
	}
	return n
}
