package raftfsm

import (
	"bytes"
	"fmt"
	"time"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

func (c DeletePackage) apply(s *state) (any, error) {
	r, err := s.row(c.Package)
	if err != nil {
		return nil, err
	}
	if err := checkWho(c.By, c.Reason); err != nil {
		return nil, err
	}
	switch r.State {
	case catalog.StateTrashed, catalog.StatePurged:
		return nil, nil
	case catalog.StateGood, catalog.StateFailed, catalog.StateStuck:
	default:
		return nil, fmt.Errorf("package %s: %s, only a good, failed or stuck one can be deleted: %w", c.Package, r.State, catalog.ErrConflict)
	}
	r.Previous, r.State, r.TrashedAt = r.State, catalog.StateTrashed, s.head.Clock
	r.PreviousReason, r.Reason = r.Reason, deleteReason(c)
	s.putPackage(r)
	s.emitPackage(PackageTrashed, r.ID)
	return nil, nil
}

func deleteReason(c DeletePackage) string {
	switch {
	case c.By != "" && c.Reason != "":
		return fmt.Sprintf("deleted by %s: %s", c.By, c.Reason)
	case c.By != "":
		return "deleted by " + c.By
	case c.Reason != "":
		return "deleted: " + c.Reason
	}
	return "deleted"
}

func checkWho(by, reason string) error {
	if err := catalog.CheckText("by", by, catalog.MaxText); err != nil {
		return err
	}
	return catalog.CheckText("reason", reason, catalog.MaxText)
}

func (c UndeletePackage) apply(s *state) (any, error) {
	r, err := s.row(c.Package)
	if err != nil {
		return nil, err
	}
	if err := checkWho(c.By, ""); err != nil {
		return nil, err
	}
	switch r.State {
	case catalog.StateGood, catalog.StateFailed, catalog.StateStuck:
		return nil, nil
	case catalog.StateTrashed:
	default:
		return nil, fmt.Errorf("package %s: %s, only a trashed one can be undeleted: %w", c.Package, r.State, catalog.ErrConflict)
	}
	if s.head.Clock >= r.TrashedAt+KeepTrashed {
		return nil, fmt.Errorf("package %s: was deleted too long ago, it is being purged: %w", c.Package, catalog.ErrConflict)
	}
	// Below this level it comes back whatever was judged meanwhile, or an old log would
	// not come out the same.
	if r.Previous == catalog.StateGood && s.head.Feature >= featureOperate {
		if err := s.contradicted(r.ID); err != nil {
			return nil, err
		}
	}
	r.State, r.Previous, r.TrashedAt = r.Previous, "", 0
	r.Reason, r.PreviousReason = r.PreviousReason, ""
	s.putPackage(r)
	s.emitPackage(PackageUndeleted, r.ID)
	return nil, nil
}

// contradicted returns the conflict of the first key under which a good package
// serves other bytes than this one would, at an equal rank; nil if there is none.
func (s *state) contradicted(id catalog.PackageID) error {
	c := s.tx.Bucket(bucketFiles).Cursor()
	for k, v := c.Seek([]byte(id)); k != nil && bytes.HasPrefix(k, []byte(id)); k, v = c.Next() {
		f := decodeFile(v)
		if f.Report == nil {
			continue
		}
		for _, key := range f.Report.Keys {
			if key.Key.Kind == symid.KindSource {
				continue // no other package has it
			}
			for _, d := range s.otherBytes(key.Key.Index(), key.Rank, f.digest) {
				if other, ok := s.goodOwner(key.Key.Index(), key.Rank, d); ok {
					return fmt.Errorf("package %s: %q has sha256 %s under key %s, package %s, which is good, has sha256 %s; delete package %s first: %w",
						id, f.Path, f.digest, key.Key.Paths()[0], other, d, other, catalog.ErrConflict)
				}
			}
		}
	}
	return nil
}

func (c RetryPackage) apply(s *state) (any, error) {
	r, err := s.row(c.Package)
	if err != nil {
		return nil, err
	}
	if err := checkWho(c.By, ""); err != nil {
		return nil, err
	}
	switch {
	case r.State == catalog.StateCommitted:
		return nil, nil
	case r.State != catalog.StateStuck && r.State != catalog.StateFailed:
		return nil, fmt.Errorf("package %s: %s, only a stuck or failed one can be retried: %w", c.Package, r.State, catalog.ErrConflict)
	case r.Released || r.Swept > 0 || s.head.Clock >= r.releaseDue():
		return nil, fmt.Errorf("package %s: its blobs are no longer kept; push it again: %w", c.Package, catalog.ErrConflict)
	}
	r.State, r.Reason, r.Attempts = catalog.StateCommitted, "", 0
	r.Token, r.VerdictIndex, r.Terminal = 0, 0, 0
	r.VerdictAt, r.Judged = time.Time{}, nil
	r.resetReport()
	s.putPackage(r)
	s.emitPackage(PackageCommitted, r.ID)
	return nil, nil
}

// resetReport forgets what an earlier validator counted; its rows carry another
// token and count no more.
func (r *packageRow) resetReport() {
	r.Reported, r.Conflicts, r.Errors, r.Warnings, r.Infos = 0, 0, 0, 0, 0
}
