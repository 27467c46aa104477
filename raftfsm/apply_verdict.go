package raftfsm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// codeConflict is the check id of two files that answer one key with other bytes.
const codeConflict = "GEN-CONFLICT"

// maxConflicts bounds the findings one verdict adds.
const maxConflicts = 1000

func (c AddFindings) apply(s *state) (any, error) {
	r, err := s.claimed(c.Package, c.Token)
	if err != nil {
		return nil, err
	}
	if c.File < -1 || c.File >= r.Files {
		return nil, fmt.Errorf("package %s: findings of file %d, files are 0 to %d, -1 is the package: %w",
			r.ID, c.File, r.Files-1, catalog.ErrInvalid)
	}
	if err := checkFindings(r.ID, c.Findings); err != nil {
		return nil, err
	}
	have := countPrefix(s.tx.Bucket(bucketFindings), findingPrefix(r.ID, c.Token, c.File))
	if c.First < 0 || c.First > have {
		return nil, fmt.Errorf("package %s: file %d: findings from position %d, %d are there: %w",
			r.ID, c.File, c.First, have, catalog.ErrConflict)
	}
	for i, f := range c.Findings {
		if pos := c.First + i; pos < have {
			old := s.get(bucketFindings, findingKey(r.ID, c.Token, c.File, pos))
			if !bytes.Equal(old, mustJSON(f)) {
				return nil, fmt.Errorf("package %s: file %d: finding %d is another one already: %w", r.ID, c.File, pos, catalog.ErrConflict)
			}
		}
	}
	if have -= c.First; have < len(c.Findings) {
		s.addFindings(r, c.Token, c.File, c.First+have, c.Findings[have:])
		s.putPackage(r)
	}
	return nil, nil
}

func checkFindings(id catalog.PackageID, findings []catalog.Finding) error {
	for _, f := range findings {
		known := f.Severity == catalog.Error || f.Severity == catalog.Warning || f.Severity == catalog.Info
		if !known || !knownWeight(f) || f.Code == "" || len(f.Code) > 64 || len(f.Message) > MaxFindingBytes {
			return fmt.Errorf("package %s: finding %.64q of severity %.16q, %d bytes: wanted a code, error, warning or info, at most %d bytes: %w",
				id, f.Code, f.Severity, len(f.Message), MaxFindingBytes, catalog.ErrInvalid)
		}
	}
	return nil
}

// knownWeight reports whether what a policy did to a finding agrees with its severity.
func knownWeight(f catalog.Finding) bool {
	switch f.Policy {
	case "":
		return true
	case catalog.Allowed:
		return f.Severity == catalog.Warning
	case catalog.Denied:
		return f.Severity == catalog.Error
	}
	return false
}

// addFindings writes findings from position pos and counts them in the row.
func (s *state) addFindings(r *packageRow, token uint64, no, pos int, findings []catalog.Finding) {
	for i, f := range findings {
		s.put(bucketFindings, findingKey(r.ID, token, no, pos+i), mustJSON(f))
	}
	r.Count(findings)
}

func (c RecordVerdict) apply(s *state) (any, error) {
	r, err := s.row(c.Package)
	if err != nil {
		return nil, err
	}
	if r.Token == c.Token && c.Token != 0 {
		return r.verdict(), nil
	}
	if r, err = s.claimed(c.Package, c.Token); err != nil {
		return nil, err
	}
	if c.Files != r.Files || r.Reported != r.Files {
		return nil, fmt.Errorf("package %s: %d files, %d of them reported, the verdict says %d: %w",
			r.ID, r.Files, r.Reported, c.Files, catalog.ErrConflict)
	}
	if err := checkFindings(r.ID, c.Findings); err != nil {
		return nil, err
	}
	if err := catalog.PolicyOf(c.Policy).Validate(); err != nil {
		return nil, fmt.Errorf("package %s: %w", r.ID, err)
	}
	have := countPrefix(s.tx.Bucket(bucketFindings), findingPrefix(r.ID, c.Token, -1))
	s.addFindings(r, c.Token, -1, have, c.Findings)
	r.Conflicts = s.conflicts(r)
	r.State = catalog.StateGood
	if r.Errors > 0 {
		r.State = catalog.StateFailed
	}
	r.Token, r.Claim, r.Attempts = c.Token, nil, 0
	r.VerdictIndex, r.VerdictAt, r.Terminal = s.index, c.At, s.head.Clock
	r.Judged = catalog.PolicyOf(c.Policy).Ref()
	s.putPackage(r)
	s.emitPackage(PackageVerdict, r.ID)
	s.notify(catalog.Notice{Package: r.ID, Kind: catalog.NoticeVerdict, At: c.At})
	return r.verdict(), nil
}

// verdict is the answer to whoever recorded it, also after the package was
// trashed or purged.
func (r *packageRow) verdict() VerdictValue {
	v := VerdictValue{Verdict: catalog.Good, Index: r.VerdictIndex, Conflicts: r.Conflicts}
	if r.Errors > 0 {
		v.Verdict = catalog.Failed
	}
	return v
}

// conflicts looks at the suspect keys of a package once more, adds a finding to
// each file that a good package contradicts, and returns how many files those
// are. Suspects are spent by it.
func (s *state) conflicts(r *packageRow) int {
	files, last := 0, -1
	for _, k := range prefixKeys(s.tx.Bucket(bucketSuspects), []byte(r.ID), []byte(r.ID), catalog.MaxFiles*MaxKeysPerFile) {
		no := fileNo(k)
		if no != last {
			if f := s.conflict(r, no, k); f != nil {
				last = no
				if files++; files <= maxConflicts {
					pos := countPrefix(s.tx.Bucket(bucketFindings), findingPrefix(r.ID, r.Claim.Token, no))
					s.addFindings(r, r.Claim.Token, no, pos, []catalog.Finding{*f})
				}
			}
		}
		s.delete(bucketSuspects, k)
	}
	return files
}

// conflict returns the finding for one suspect key, or nil: the key may have gone
// with a later report, and the other package may not be good.
func (s *state) conflict(r *packageRow, no int, suspect []byte) *catalog.Finding {
	tail := suspect[packageLen+4:]
	rank, key := int(binary.BigEndian.Uint32(tail)), symid.IndexKey(tail[4:])
	f := fileByNo(s.tx, r.ID, no)
	at := slices.IndexFunc(f.Report.Keys, func(k catalog.RankedKey) bool { return k.Rank == rank && k.Key.Index() == key })
	if at < 0 {
		return nil
	}
	carried := f.Report.Keys[at].Key
	for _, d := range s.otherBytes(key, rank, f.digest) {
		if other, ok := s.goodOwner(key, rank, d); ok && other != r.ID {
			return &catalog.Finding{Code: codeConflict, Severity: catalog.Error, Message: fmt.Sprintf(
				"key %s: this file has sha256 %s; package %s, which is good, serves sha256 %s under the same key; "+
					"build with a fresh id, or delete package %s and retry", carried.Paths()[0], f.digest, other, d, other)}
		}
	}
	return s.usurped(carried, f.digest)
}

// goodOwner returns the first good package that has a digest under a key at a rank.
func (s *state) goodOwner(key symid.IndexKey, rank int, d catalog.Digest) (catalog.PackageID, bool) {
	prefix := append(rankPrefix(key, rank), d[:]...)
	n := len(keyPrefix(key))
	c := s.tx.Bucket(bucketCandidates).Cursor()
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		owner := decodeCandidate(k, n).pkg
		if token, _, ok := visible(s.tx, []byte(owner)); ok && token == binary.BigEndian.Uint64(v) {
			return owner, true
		}
	}
	return "", false
}
