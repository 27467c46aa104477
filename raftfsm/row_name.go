package raftfsm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// A nameRow says that a package carries keys of one id under a name. It stands for
// every candidate row that says the same, and counts them. Package ids sort by time,
// so that a name's rows read backwards begin with the newest package.
type nameRow struct {
	name string // folded, see IndexName
	pkg  catalog.PackageID
	id   symid.IndexKey // without a name behind the artifact
}

// encode returns the row's key: name, NUL, package, id. Names hold no NUL.
func (r nameRow) encode() []byte {
	b := append(namePrefix(r.name), r.pkg...)
	return append(b, r.id...)
}

func namePrefix(name string) []byte { return append([]byte(name), 0) }

// decodeName takes a key apart whose name has n bytes.
func decodeName(k []byte, n int) nameRow {
	if len(k) < n+1+packageLen+2 {
		panic(fmt.Sprintf("raftfsm: name row: key of %d bytes with a name of %d", len(k), n))
	}
	rest := k[n+1:]
	return nameRow{string(k[:n]), catalog.PackageID(rest[:packageLen]), symid.IndexKey(rest[packageLen:])}
}

// nameOf returns the name row that a candidate row belongs to. A key of a kind
// without a name goes by that of its file.
func nameOf(k, v []byte) nameRow {
	n := len(k) - candidateTail
	key := symid.IndexKey(k[2:n])
	r := nameRow{pkg: decodeCandidate(k, n).pkg, id: key}
	switch symid.Kind(key[0]) {
	case symid.KindBuildID, symid.KindMachO:
		r.name = IndexName(string(v[8:]))
	default:
		at := strings.LastIndexFunc(string(key), func(c rune) bool { return c < 0x20 }) // the artifact
		r.name, r.id = string(key[at+1:]), key[:at+1]
	}
	return r
}

// IndexName returns the name under which Carriers and Waiting know a file whose key has
// none: its base name, folded, without what splitting debug data off puts behind it.
func IndexName(base string) string {
	name := symid.Fold(base)
	for _, suffix := range []string{".debug", ".dbg"} {
		if short := strings.TrimSuffix(name, suffix); short != "" && short != name {
			return short
		}
	}
	return name
}

// naming is how far the index of names has come in a catalog that is older than it:
// a candidate row is counted in it if its key is not behind After.
type naming struct {
	After []byte `json:"after,omitempty"`
}

// named reports whether the candidate row with key k is one that the index of names
// counts. It is a function of the catalog alone. Nobody looks for a source file without
// the build id of its program.
func (s *state) named(k []byte) bool {
	return s.head.Feature >= FeatureKnow && !ofSource(k) && (s.head.Naming == nil || bytes.Compare(k, s.head.Naming.After) <= 0)
}

// putCandidate writes a candidate row that is not there yet.
func (s *state) putCandidate(k, v []byte) {
	s.put(bucketCandidates, k, v)
	if s.named(k) {
		s.countName(nameOf(k, v), 1)
	}
}

// deleteCandidate removes a candidate row.
func (s *state) deleteCandidate(k []byte) {
	if s.named(k) {
		if v := s.get(bucketCandidates, k); v != nil {
			s.countName(nameOf(k, v), -1)
		}
	}
	s.delete(bucketCandidates, k)
}

func (s *state) countName(r nameRow, by int64) {
	key := r.encode()
	n := int64(0)
	if v := s.get(bucketNames, key); v != nil {
		u, _ := binary.Uvarint(v)
		n = int64(u)
	}
	switch n += by; {
	case n < 0:
		panic(fmt.Sprintf("raftfsm: log index %d: name %q of package %s counts less than nothing", s.index, r.name, r.pkg))
	case n == 0:
		s.delete(bucketNames, key)
	default:
		s.put(bucketNames, key, binary.AppendUvarint(nil, uint64(n)))
	}
}

// nameStep bounds the candidate rows that one Tick brings into the index of names:
// ten million take three hours, and each step writes a few MiB.
const nameStep = 1000

// beginNames makes the index of names when the catalog reaches its level. The
// candidates that are there are counted by the Ticks that follow.
func (s *state) beginNames() {
	if s.tx.Bucket(bucketNames) != nil {
		return
	}
	for _, name := range bucketsKnow {
		if _, err := s.tx.CreateBucket(name); err != nil {
			panic(fmt.Sprintf("raftfsm: log index %d: bucket %s: %v", s.index, name, err))
		}
	}
	s.head.Naming = &naming{}
}

// moreNames counts the next candidates, if any are left.
func (s *state) moreNames() {
	if s.head.Feature < FeatureKnow || s.head.Naming == nil {
		return
	}
	c := s.tx.Bucket(bucketCandidates).Cursor()
	k, v := c.Seek(append(bytes.Clone(s.head.Naming.After), 0))
	last, left := []byte(nil), nameStep
	for ; k != nil && left > 0; k, v = c.Next() { // the cursor's bucket is not written
		if !ofSource(k) {
			s.countName(nameOf(k, v), 1)
		}
		last = bytes.Clone(k)
		left--
	}
	s.head.Naming = &naming{After: last}
	if k == nil {
		s.head.Naming = nil
	}
}

// bucketsOf lists the buckets of a catalog at a feature level.
func bucketsOf(feature int) [][]byte {
	if feature < FeatureKnow {
		return buckets
	}
	return append(buckets[:len(buckets):len(buckets)], bucketsKnow...)
}

// missingBucket returns the first bucket of a level that the file lacks, or nil.
func missingBucket(tx *bolt.Tx, feature int) []byte {
	for _, name := range bucketsOf(feature) {
		if tx.Bucket(name) == nil {
			return name
		}
	}
	return nil
}
