package raftfsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

// A blobRow is what the catalog knows of one digest. holders are member numbers in
// rising order; those of departed members stay until they are swept.
type blobRow struct {
	gen     uint64
	rawSize int64
	refs    uint64
	idleAt  catalog.ClusterTime
	retired bool
	packed  catalog.Packed // zero size and digest until the first receipt
	holders []uint32
}

func (r *blobRow) isPacked() bool { return !r.packed.SHA256.IsZero() }

// containers are stored as their position plus one.
var containers = []catalog.Container{catalog.ContainerCab, catalog.ContainerGzip}

const (
	blobVersion = 1
	flagRetired = 1
	flagPacked  = 2
)

func (r *blobRow) encode() []byte {
	var flags byte
	if r.retired {
		flags |= flagRetired
	}
	if r.isPacked() {
		flags |= flagPacked
	}
	b := []byte{blobVersion, flags}
	b = binary.AppendUvarint(b, r.gen)
	b = binary.AppendUvarint(b, uint64(r.rawSize))
	b = binary.AppendUvarint(b, r.refs)
	b = binary.AppendUvarint(b, uint64(r.idleAt))
	if r.isPacked() {
		b = append(b, byte(slices.Index(containers, r.packed.Container)+1))
		b = append(b, r.packed.SHA256[:]...)
		b = binary.AppendUvarint(b, uint64(r.packed.Size))
	}
	for _, h := range r.holders {
		b = binary.AppendUvarint(b, uint64(h))
	}
	return b
}

var errBlobRow = errors.New("malformed blob row")

func decodeBlob(v []byte) (*blobRow, error) {
	if len(v) < 6 || v[0] != blobVersion || v[1]&^(flagRetired|flagPacked) != 0 {
		return nil, fmt.Errorf("%d bytes: %w", len(v), errBlobRow)
	}
	r := &blobRow{retired: v[1]&flagRetired != 0}
	packed := v[1]&flagPacked != 0
	v = v[2:]
	bad := false
	next := func() uint64 {
		n, size := binary.Uvarint(v)
		if size <= 0 {
			bad, v = true, nil
			return 0
		}
		v = v[size:]
		return n
	}
	r.gen, r.rawSize, r.refs, r.idleAt = next(), int64(next()), next(), catalog.ClusterTime(next())
	if packed {
		if len(v) < 34 || v[0] == 0 || int(v[0]) > len(containers) {
			return nil, fmt.Errorf("packed part: %w", errBlobRow)
		}
		r.packed = catalog.Packed{Container: containers[v[0]-1], SHA256: catalog.Digest(v[1:33])}
		v = v[33:]
		r.packed.Size = int64(next())
	}
	for len(v) > 0 && !bad {
		n := next()
		if n > 1<<32-1 || (len(r.holders) > 0 && uint32(n) <= r.holders[len(r.holders)-1]) {
			return nil, fmt.Errorf("holder %d: %w", n, errBlobRow)
		}
		r.holders = append(r.holders, uint32(n))
	}
	if bad {
		return nil, fmt.Errorf("cut short: %w", errBlobRow)
	}
	return r, nil
}

// blobByDigest reads a row; nil if there is none.
func blobByDigest(tx *bolt.Tx, d catalog.Digest) *blobRow {
	v := tx.Bucket(bucketBlobs).Get(d[:])
	if v == nil {
		return nil
	}
	return mustBlob(v)
}

func mustBlob(v []byte) *blobRow {
	r, err := decodeBlob(v)
	if err != nil {
		panic(fmt.Sprintf("raftfsm: %v", err))
	}
	return r
}

// live counts the holders that are members.
func (h *head) live(r *blobRow) int {
	n := 0
	for _, no := range r.holders {
		if _, ok := h.byNumber(no); ok {
			n++
		}
	}
	return n
}

// holderIDs returns the node ids of the holders that are members, sorted.
func (h *head) holderIDs(r *blobRow) []catalog.NodeID {
	ids := []catalog.NodeID{}
	for _, no := range r.holders {
		if m, ok := h.byNumber(no); ok {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// blob turns a row into the catalog's noun.
func (h *head) blob(d catalog.Digest, r *blobRow) catalog.Blob {
	return catalog.Blob{Digest: d, Gen: r.gen, RawSize: r.rawSize, Packed: r.packed, Refs: int(r.refs),
		Holders: h.holderIDs(r), Retired: r.retired, IdleAt: r.idleAt}
}

// putBlob replaces old, the stored row or nil, by r; nil removes the row. The
// histogram and the list of idle blobs follow.
func (s *state) putBlob(d catalog.Digest, old, r *blobRow) {
	s.tally(old, -1)
	s.tally(r, 1)
	if old.idle() && !(r.idle() && r.idleAt == old.idleAt) {
		s.delete(bucketIdle, timeKey(old.idleAt, d[:]))
	}
	if r.idle() {
		s.put(bucketIdle, timeKey(r.idleAt, d[:]), nil)
	}
	if r == nil {
		s.delete(bucketBlobs, d[:])
		return
	}
	s.put(bucketBlobs, d[:], r.encode())
}

// idle reports whether the blob waits for its retirement.
func (r *blobRow) idle() bool { return r != nil && r.refs == 0 && r.isPacked() && !r.retired }

// tally counts a referenced, packed blob in or out of the histogram.
func (s *state) tally(r *blobRow, by int) {
	if r == nil || r.refs == 0 || !r.isPacked() {
		return
	}
	n := len(r.holders)
	for len(s.head.Histogram) <= n {
		s.head.Histogram = append(s.head.Histogram, 0)
	}
	s.head.Histogram[n] += by
}

// prune drops the holders that are not members any more.
func (s *state) prune(holders []uint32) []uint32 {
	return slices.DeleteFunc(slices.Clone(holders), func(no uint32) bool {
		_, ok := s.head.byNumber(no)
		return !ok
	})
}

// reference takes one reference on a digest and reports whether no member holds
// a copy. A retired blob begins a new generation.
func (s *state) reference(d catalog.Digest, size int64) (lacking bool) {
	old := blobByDigest(s.tx, d)
	r := &blobRow{gen: 1, rawSize: size, refs: 1}
	switch {
	case old == nil:
	case old.retired:
		r.gen = old.gen + 1
	default:
		*r = *old
		r.refs++
		r.idleAt = 0
	}
	s.putBlob(d, old, r)
	return s.head.live(r) == 0
}

// unreference gives one reference back. A blob nobody ever stored is forgotten,
// or returns to the retirement it came from.
func (s *state) unreference(d catalog.Digest) {
	old := blobByDigest(s.tx, d)
	if old == nil || old.refs == 0 {
		panic(fmt.Sprintf("raftfsm: log index %d: blob %s: reference given back twice", s.index, d))
	}
	r := *old
	r.refs--
	switch {
	case r.refs > 0:
	case r.isPacked():
		r.idleAt = s.head.Clock
		s.emitBlob(BlobIdle, d)
	case r.gen == 1:
		s.putBlob(d, old, nil)
		return
	default:
		r.retired, r.rawSize, r.holders = true, 0, nil
	}
	s.putBlob(d, old, &r)
}
