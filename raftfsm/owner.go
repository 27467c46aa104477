package raftfsm

import (
	"bytes"
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// Whoever pushes a package may assign lookup paths to its files. What a path means by
// the own id of a file is therefore never given away: such a file is served, whichever
// package came first, and a package that assigns its path later fails.

// owner returns the first file of a good package, with other bytes than but, that the
// path of an assigned key means by the file's own id, and the key that it has.
func owner(tx *bolt.Tx, assigned symid.Key, but catalog.Digest) (symid.Key, catalog.Candidate, bool) {
	c := tx.Bucket(bucketCandidates).Cursor()
	for _, own := range assigned.OwnKeys() {
		prefix := keyPrefix(own.Index())
		scanned := 0
		for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix) && scanned < maxScan; k, v = c.Next() {
			scanned++
			row := decodeCandidate(k, len(prefix))
			if row.digest == but || !own.Means(string(v[8:])) {
				continue
			}
			if token, index, ok := visible(tx, []byte(row.pkg)); ok && token == binary.BigEndian.Uint64(v) {
				return own, row.candidate(v, index, catalog.StateGood), true
			}
		}
	}
	return symid.Key{}, catalog.Candidate{}, false
}

// usurped returns the finding on a file that is assigned what another one is by its
// own id, or nil.
func (s *state) usurped(assigned symid.Key, d catalog.Digest) *catalog.Finding {
	_, c, ok := owner(s.tx, assigned, d)
	if !ok {
		return nil
	}
	return &catalog.Finding{Code: codeConflict, Severity: catalog.Error, Message: fmt.Sprintf(
		"key %s: symbol_index.json assigns it to this file, which has sha256 %s; by its own id it is that of %q (sha256 %s) in package %s, "+
			"which is good and goes on being served; take the entry out of symbol_index.json", assigned.Paths()[0], d, c.Name, c.Digest, c.Package)}
}
