package raftfsm

import (
	"bytes"
	"encoding/binary"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// A sight is a read transaction that lookups share between two writes. Beginning
// one for each lookup costs more than the lookup and leaves garbage.
//
// Nothing is written through it and both buckets are opened before anybody else has
// it: seeking with cursors of their own, lookups change nothing that they share.
type sight struct {
	tx      *bolt.Tx
	holders atomic.Int64 // lookups, and one for being the present sight; 0: rolled back
	seekers sync.Pool    // of *seeker
}

// A seeker is what one lookup needs, to be used again.
type seeker struct {
	candidates, visible *bolt.Cursor
	prefix              []byte
}

func newSight(db *bolt.DB) (*sight, error) {
	tx, err := db.Begin(false)
	if err != nil {
		return nil, err
	}
	v := &sight{tx: tx}
	candidates, visible := tx.Bucket(bucketCandidates), tx.Bucket(bucketVisible)
	v.seekers.New = func() any { return &seeker{candidates: candidates.Cursor(), visible: visible.Cursor()} }
	v.holders.Store(1)
	return v, nil
}

// hold takes part in a sight that is not rolled back.
func (v *sight) hold() bool {
	for {
		n := v.holders.Load()
		if n == 0 {
			return false
		}
		if v.holders.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (v *sight) drop() {
	if v.holders.Add(-1) == 0 {
		_ = v.tx.Rollback() // the only error is a second one
	}
}

// sights hands out the present sight. There is none while a transaction is written:
// one that outgrows the mapping of the file waits for every reader, and lookups would
// keep a shared one open for each other.
type sights struct {
	present atomic.Pointer[sight]

	mu      sync.Mutex
	writing bool
}

// take returns a sight of the newest committed state, to be dropped soon. The caller
// holds swap.
func (s *sights) take(db *bolt.DB) (*sight, error) {
	if v := s.present.Load(); v != nil && v.hold() {
		return v, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.present.Load(); v != nil && v.hold() {
		return v, nil
	}
	v, err := newSight(db)
	if err != nil || s.writing {
		return v, err
	}
	v.hold()
	s.present.Store(v)
	return v, nil
}

// beginWrite ends the present sight as soon as its lookups have ended.
func (s *sights) beginWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = true
	s.end()
}

// endWrite lets the next lookup begin a sight.
func (s *sights) endWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
}

// close ends the present sight before its file is closed. Nobody looks anything up.
func (s *sights) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
}

func (s *sights) end() {
	if v := s.present.Swap(nil); v != nil {
		v.drop()
	}
}

// Find returns the candidate that Lookup puts first for the first of keys that has
// one, and whether any has. An assigned key gives way to the own key of a file that its
// path means, be that among keys or not. A miss leaves no garbage.
func (f *FSM) Find(keys []symid.Key) (c catalog.Candidate, found bool, err error) {
	f.swap.RLock()
	defer f.swap.RUnlock()
	if f.db == nil {
		return c, false, ErrClosed
	}
	v, err := f.sights.take(f.db)
	if err != nil {
		return c, false, err
	}
	defer v.drop()
	defer f.contents.doubt(debug.SetPanicOnFault(true), &err)
	s := v.seekers.Get().(*seeker)
	for i := 0; i < len(keys) && !found; i++ {
		c, found = s.first(v, keys[i])
		if !found || keys[i].Kind != symid.KindStore {
			continue
		}
		if own, _, ok := owner(v.tx, keys[i], catalog.Digest{}); ok {
			c, found = s.first(v, own)
		}
	}
	v.seekers.Put(s)
	return c, found, nil
}

// fewRows is how many candidates of one key are compared one by one.
const fewRows = 16

// first returns the candidate to serve for a key.
func (s *seeker) first(v *sight, key symid.Key) (best catalog.Candidate, found bool) {
	if key.Kind == symid.KindSource {
		return firstOfMany(v, key.Index())
	}
	s.prefix = key.AppendIndex(append(s.prefix[:0], 0, 0))
	n := len(s.prefix)
	binary.BigEndian.PutUint16(s.prefix, uint16(n-2))
	k, value := s.candidates.Seek(s.prefix)
	for rows := 0; bytes.HasPrefix(k, s.prefix); rows++ {
		if rows == fewRows {
			return firstOfMany(v, symid.IndexKey(s.prefix[2:]))
		}
		id := k[len(k)-packageLen-4 : len(k)-4]
		if token, index, ok := s.verdict(id); ok && token == binary.BigEndian.Uint64(value) {
			c := decodeCandidate(k, n).candidate(value, index, catalog.StateGood)
			if !found || better(c, best) < 0 {
				best, found = c, true
			}
		}
		k, value = s.candidates.Next()
	}
	return best, found
}

// firstOfMany is first by way of lookup, which passes over packages with the same
// bytes.
func firstOfMany(v *sight, key symid.IndexKey) (catalog.Candidate, bool) {
	all := lookup(v.tx, key)
	if len(all) == 0 {
		return catalog.Candidate{}, false
	}
	return slices.MinFunc(all, better), true
}

// verdict is visible by the seeker's own cursor.
func (s *seeker) verdict(id []byte) (token, index uint64, ok bool) {
	k, v := s.visible.Seek(id)
	if !bytes.Equal(k, id) {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]), true
}
