package raftfsm

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// MaxCandidates bounds what Lookup returns.
const MaxCandidates = 64

// maxPerDigest bounds how many packages Lookup names for the same bytes.
const maxPerDigest = 8

// maxScan bounds the rows one listing looks at.
const maxScan = 50_000

// Lookup returns the files of good packages that answer a key, the one to serve
// first: higher rank, then the earlier verdict. Of many packages with the same
// bytes it names the eight oldest. None is an empty slice, not an error.
func (f *FSM) Lookup(key symid.IndexKey) ([]catalog.Candidate, error) {
	var found []catalog.Candidate
	err := f.view(func(tx *bolt.Tx) error {
		found = lookup(tx, key)
		return nil
	})
	slices.SortStableFunc(found, better)
	return found, err
}

func lookup(tx *bolt.Tx, key symid.IndexKey) []catalog.Candidate {
	if symid.Kind(key[0]) == symid.KindSource {
		return lookupSource(tx, key)
	}
	return lookupRows(tx, key)
}

// lookupRows is lookup for a key as it is stored.
func lookupRows(tx *bolt.Tx, key symid.IndexKey) (found []catalog.Candidate) {
	prefix := keyPrefix(key)
	c := tx.Bucket(bucketCandidates).Cursor()
	var digest catalog.Digest
	rank, same := -1, 0
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix) && len(found) < MaxCandidates; {
		row := decodeCandidate(k, len(prefix))
		if row.rank != rank || row.digest != digest {
			rank, digest, same = row.rank, row.digest, 0
		}
		if token, index, ok := visible(tx, k[len(k)-packageLen-4:len(k)-4]); ok && token == binary.BigEndian.Uint64(v) {
			found = append(found, row.candidate(v, index, catalog.StateGood))
			same++
		}
		if same < maxPerDigest {
			k, v = c.Next()
		} else {
			k, v = c.Seek(pastDigest(rankPrefix(key, rank), digest))
		}
	}
	return found
}

func (c candidateKey) candidate(v []byte, index uint64, state catalog.State) catalog.Candidate {
	return catalog.Candidate{Package: c.pkg, File: c.no, Name: string(v[8:]), Digest: c.digest,
		Rank: c.rank, VerdictIndex: index, State: state}
}

// better orders candidates: good ones, rank, verdict, then what makes it total.
func better(a, b catalog.Candidate) int {
	good := func(c catalog.Candidate) int {
		if c.State == catalog.StateGood {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(good(a), good(b)), cmp.Compare(b.Rank, a.Rank), cmp.Compare(a.VerdictIndex, b.VerdictIndex),
		cmp.Compare(a.Package, b.Package), cmp.Compare(a.File, b.File))
}

// LookupAll returns the files that carry a key whatever became of their package,
// good ones first, at most limit: for people, not for serving. What a validator
// without a claim left behind shows only while no other one is at work.
func (f *FSM) LookupAll(key symid.IndexKey, limit int) ([]catalog.Candidate, error) {
	var found []catalog.Candidate
	err := f.view(func(tx *bolt.Tx) error {
		found = lookup(tx, key)
		found = found[:min(limit, len(found))]
		prefix := keyPrefix(key)
		c := tx.Bucket(bucketCandidates).Cursor()
		scanned := 0
		for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix) && len(found) < limit && scanned < maxScan; k, v = c.Next() {
			scanned++
			row := decodeCandidate(k, len(prefix))
			if _, _, ok := visible(tx, []byte(row.pkg)); ok {
				continue
			}
			p, err := packageByID(tx, row.pkg)
			if err != nil || (p.activeToken() != 0 && p.activeToken() != binary.BigEndian.Uint64(v)) {
				continue
			}
			found = append(found, row.candidate(v, p.VerdictIndex, p.State))
		}
		return nil
	})
	slices.SortStableFunc(found, better)
	return found, err
}

// Keys returns at most limit index keys of the given kinds that any package ever
// carried, in the order of the bucket: shorter keys first, then by bytes. after is
// the last key of the page before, or empty.
func (f *FSM) Keys(kinds []symid.Kind, after symid.IndexKey, limit int) ([]symid.IndexKey, error) {
	var keys []symid.IndexKey
	err := f.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketCandidates).Cursor()
		k, _ := c.First()
		if after != "" {
			k, _ = c.Seek(pastKey(after))
		}
		for k != nil && len(keys) < limit {
			key := symid.IndexKey(k[2 : len(k)-candidateTail])
			if slices.Contains(kinds, symid.Kind(key[0])) {
				keys = append(keys, key)
				k, _ = c.Seek(pastKey(key))
				continue
			}
			k, _ = c.Seek([]byte{k[0], k[1], key[0] + 1}) // the next kind of this length
		}
		return nil
	})
	return keys, err
}

// pastKey is behind every row of a key. Ranks stay far below the one it names.
func pastKey(key symid.IndexKey) []byte {
	return append(keyPrefix(key), 0xff, 0xff, 0xff, 0xff, 0xff)
}
