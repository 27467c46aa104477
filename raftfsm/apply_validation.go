package raftfsm

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// Bounds of what a validator may say.
const (
	MaxRank         = 1 << 20  // of a key
	MaxKeysPerFile  = 256      // and of id triples
	MaxFindingBytes = 16 << 10 // message of one finding
)

func (c ClaimValidation) apply(s *state) (any, error) {
	if _, err := s.memberOf(c.Node); err != nil {
		return nil, err
	}
	r, err := s.row(c.Package)
	switch {
	case err != nil:
		return nil, err
	case r.State != catalog.StateCommitted:
		return nil, fmt.Errorf("package %s: %s, only a committed one is validated: %w", c.Package, r.State, catalog.ErrConflict)
	case r.Claim != nil && r.Claim.Node == c.Node && s.head.Clock <= r.Claim.Deadline:
		return *r.Claim, nil
	case r.Claim != nil:
		return nil, fmt.Errorf("package %s: member %s validates it: %w", c.Package, r.Claim.Node, catalog.ErrConflict)
	}
	r.Claim = &catalog.Claim{Node: c.Node, Token: s.index, Deadline: s.head.Clock + ClaimTime}
	r.resetReport()
	s.putPackage(r)
	s.emitPackage(PackageClaimed, r.ID)
	return *r.Claim, nil
}

// claimed reads a package and refuses a token that is not that of its claim now.
func (s *state) claimed(id catalog.PackageID, token uint64) (*packageRow, error) {
	r, err := s.row(id)
	if err != nil {
		return nil, err
	}
	if r.Claim == nil || r.Claim.Token != token || s.head.Clock > r.Claim.Deadline {
		return nil, fmt.Errorf("package %s: claim %d is over; stop validating it: %w", id, token, catalog.ErrStaleToken)
	}
	return r, nil
}

func (c RenewClaim) apply(s *state) (any, error) {
	r, err := s.claimed(c.Package, c.Token)
	if err != nil {
		return nil, err
	}
	r.Claim.Deadline = s.head.Clock + ClaimTime
	s.putPackage(r)
	return *r.Claim, nil
}

func (c ReleaseClaim) apply(s *state) (any, error) {
	r, err := s.claimed(c.Package, c.Token)
	if err != nil {
		return nil, err
	}
	if c.Died {
		s.expireClaim(c.Package, c.At)
		return nil, nil
	}
	r.Claim = nil
	r.resetReport()
	s.putPackage(r)
	s.emitPackage(PackageCommitted, r.ID)
	return nil, nil
}

func (c AddKeys) apply(s *state) (any, error) {
	r, err := s.claimed(c.Package, c.Token)
	if err != nil {
		return nil, err
	}
	fresh, err := c.check(s, r)
	if err != nil {
		return nil, err
	}
	rivals := s.validating(c.Package)
	for i := range c.Reports {
		if rep := &c.Reports[i]; fresh[rep.No] {
			s.putReport(r, rep, rivals)
		}
	}
	r.Reported += len(fresh)
	s.putPackage(r)
	return nil, nil
}

// check returns the files that are reported for the first time under the token.
func (c AddKeys) check(s *state, r *packageRow) (fresh map[int]bool, err error) {
	fresh = map[int]bool{}
	for _, rep := range c.Reports {
		if err := checkReport(r, rep); err != nil {
			return nil, err
		}
		if fresh[rep.No] {
			return nil, fmt.Errorf("package %s: file %d: reported twice in one chunk: %w", r.ID, rep.No, catalog.ErrInvalid)
		}
		f := fileByNo(s.tx, r.ID, rep.No)
		if f.Token != c.Token {
			fresh[rep.No] = true
		} else if !bytes.Equal(mustJSON(f.Report), mustJSON(rep)) {
			return nil, fmt.Errorf("package %s: file %d %q: reported before with other facts under claim %d: %w",
				r.ID, rep.No, f.Path, c.Token, catalog.ErrConflict)
		}
	}
	return fresh, nil
}

func checkReport(r *packageRow, rep catalog.FileReport) error {
	switch {
	case rep.No < 0 || rep.No >= r.Files:
		return fmt.Errorf("package %s: report on file %d, files are 0 to %d: %w", r.ID, rep.No, r.Files-1, catalog.ErrInvalid)
	case len(rep.Findings) > 0:
		return fmt.Errorf("package %s: file %d: findings in a report of keys; send them as findings: %w", r.ID, rep.No, catalog.ErrInvalid)
	case len(rep.Keys) > MaxKeysPerFile || len(rep.IDs) > MaxKeysPerFile:
		return fmt.Errorf("package %s: file %d: %d keys and %d ids, at most %d of each are accepted: %w",
			r.ID, rep.No, len(rep.Keys), len(rep.IDs), MaxKeysPerFile, catalog.ErrInvalid)
	}
	seen := map[symid.IndexKey]bool{}
	for _, k := range rep.Keys {
		if err := k.Key.Valid(); err != nil || k.Key.Kind == symid.KindSource && k.Key.ID != "" || k.Rank < 0 || k.Rank > MaxRank || seen[k.Key.Index()] {
			return fmt.Errorf("package %s: file %d: key %v with rank %d: malformed, listed twice, or rank not in 0 to %d: %w",
				r.ID, rep.No, k.Key.Paths(), k.Rank, MaxRank, catalog.ErrInvalid)
		}
		seen[k.Key.Index()] = true
	}
	return nil
}

// validating lists the other packages under validation now, in key order.
func (s *state) validating(but catalog.PackageID) []catalog.PackageID {
	var ids []catalog.PackageID
	for _, k := range prefixKeys(s.tx.Bucket(bucketClaims), nil, nil, maxRivals) {
		if id := catalog.PackageID(k[8:]); id != but {
			ids = append(ids, id)
		}
	}
	return ids
}

// maxRivals is far above the number of packages a cluster validates at a time.
const maxRivals = 1 << 20

// putReport writes what a validator learned about one file over what an earlier
// one wrote, and notes which keys may conflict.
func (s *state) putReport(r *packageRow, rep *catalog.FileReport, rivals []catalog.PackageID) {
	f := fileByNo(s.tx, r.ID, rep.No)
	s.dropKeys(r.ID, rep.No, f)
	f.Token, f.Report = r.Claim.Token, rep
	s.putFile(r.ID, rep.No, f)
	value := candidateValue(f.Token, symid.BaseName(f.Path))
	for _, k := range rep.Keys {
		key := storedKey(r.ID, k.Key)
		c := candidateKey{k.Rank, f.digest, r.ID, rep.No}
		if k.Key.Kind != symid.KindSource { // no other package has it
			s.suspect(c, key, rivals)
		}
		if len(k.Key.OwnKeys()) > 0 {
			s.put(bucketSuspects, suspectKey(c.pkg, c.no, c.rank, key), nil)
		}
		s.putCandidate(c.encode(key), value)
	}
}

// suspect looks for other bytes of the same rank under a key. If there are any,
// the key is looked at again by the verdict of this package and by those of rivals
// that have it too: whichever verdict comes second sees the first.
func (s *state) suspect(c candidateKey, key symid.IndexKey, rivals []catalog.PackageID) {
	others := s.otherBytes(key, c.rank, c.digest)
	if len(others) == 0 {
		return
	}
	s.put(bucketSuspects, suspectKey(c.pkg, c.no, c.rank, key), nil)
	prefix := rankPrefix(key, c.rank)
	for _, d := range others {
		for _, rival := range rivals {
			of := append(append(bytes.Clone(prefix), d[:]...), rival...)
			for _, k := range prefixKeys(s.tx.Bucket(bucketCandidates), of, of, MaxKeysPerFile) {
				no := int(binary.BigEndian.Uint32(k[len(of):]))
				s.put(bucketSuspects, suspectKey(rival, no, c.rank, key), nil)
			}
		}
	}
}

// otherBytes lists the digests but d that any package has under a key at a rank.
// It skips from digest to digest: thousands of packages may share one.
func (s *state) otherBytes(key symid.IndexKey, rank int, d catalog.Digest) []catalog.Digest {
	var others []catalog.Digest
	prefix := rankPrefix(key, rank)
	c := s.tx.Bucket(bucketCandidates).Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); {
		o := catalog.Digest(k[len(prefix):])
		if o != d {
			others = append(others, o)
		}
		k, _ = c.Seek(pastDigest(prefix, o))
	}
	return others
}

// pastDigest is a key behind every candidate of a digest at a rank.
func pastDigest(prefix []byte, d catalog.Digest) []byte {
	b := append(bytes.Clone(prefix), d[:]...)
	return append(b, bytes.Repeat([]byte{0xff}, packageLen+5)...)
}

// suspectKey names a key of a file that the verdict of its package looks at.
func suspectKey(id catalog.PackageID, no, rank int, key symid.IndexKey) []byte {
	b := binary.BigEndian.AppendUint32(fileKey(id, no), uint32(rank))
	return append(b, key...)
}
