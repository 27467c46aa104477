package raftfsm

import bolt "go.etcd.io/bbolt"

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

	buckets = [][]byte{
		bucketMeta, bucketHashes, bucketMembers, bucketDeparted, bucketPackages, bucketProducts, bucketIdempotent,
		bucketLeases, bucketQueue, bucketClaims, bucketVisible, bucketSweep, bucketFiles, bucketFindings,
		bucketRefs, bucketBlobs, bucketIdle, bucketCandidates, bucketSuspects, bucketNotices, bucketPending,
	}
)

// Rows of the meta bucket.
var (
	keyHead          = []byte("head")
	keyConfiguration = []byte("configuration")
)

// A state is the catalog inside the transaction of one batch.
type state struct {
	tx     *bolt.Tx
	head   *head // a private copy
	index  uint64
	events []Event
}
