package raftfsm

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

// HashStep is how many log indexes lie between two recorded hashes.
const HashStep = 1000

// hashesKept bounds the recorded hashes; older ones go first.
const hashesKept = 1000

// hash extends the rolling hash by one entry: its index, its bytes, and the code
// and value of its result. Texts for people stay out, so that builds may word them
// differently. The first entry at or past a multiple of HashStep records the hash
// of all entries below that multiple.
func (s *state) hash(data []byte, r Result) {
	if step := s.index / HashStep * HashStep; step > s.head.LastCommand {
		below := s.head.Hash // bbolt keeps the slice until the commit, and the head moves on
		s.put(bucketHashes, binary.BigEndian.AppendUint64(nil, step), below[:])
		for _, k := range prefixKeys(s.tx.Bucket(bucketHashes), nil, nil, 2) {
			if binary.BigEndian.Uint64(k)+hashesKept*HashStep <= step {
				s.delete(bucketHashes, k)
			}
		}
	}
	w := sha256.New()
	w.Write(s.head.Hash[:])
	var n [8]byte
	part := func(b []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		w.Write(n[:])
		w.Write(b)
	}
	binary.BigEndian.PutUint64(n[:], s.index)
	w.Write(n[:])
	part(data)
	part([]byte(r.Code))
	part(r.Value)
	s.head.Hash = catalog.Digest(w.Sum(nil))
	s.head.LastCommand = s.index
}

// Hash returns the rolling hash over every command so far, and the log index of
// the newest one. Nodes that applied the same log have the same hash.
func (f *FSM) Hash() (index uint64, hash catalog.Digest) {
	h := f.head.Load()
	return h.LastCommand, h.Hash
}

// HashAt returns the rolling hash over the commands below index, a multiple of
// HashStep. The error is ErrNotFound while no later command is applied, when none
// fell between index and the multiple before, and for indexes long past.
func (f *FSM) HashAt(index uint64) (catalog.Digest, error) {
	var d catalog.Digest
	err := f.view(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketHashes).Get(binary.BigEndian.AppendUint64(nil, index))
		if v == nil {
			return fmt.Errorf("hash at log index %d: not recorded: %w", index, catalog.ErrNotFound)
		}
		copy(d[:], v)
		return nil
	})
	return d, err
}
