package blobstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"symkeep/internal/catalog"
)

// Quarantine takes a damaged blob out of service and keeps its bytes, with the
// reason beside them, as evidence. One that is not here is fine.
func (s *Store) Quarantine(d catalog.Digest, reason string) error {
	defer s.locks.lock(d)()
	aside, err := s.setAside(d, reason)
	if aside != "" {
		s.log.Error("blob is damaged, set aside", "blob", d, "kept", aside, "err", reason)
	}
	return err
}

// QuarantineIf is Quarantine of a blob that is not damaged, if check, called under the
// digest's lock as by RemoveIf, agrees.
func (s *Store) QuarantineIf(d catalog.Digest, reason string, check func() (bool, error)) (bool, error) {
	defer s.locks.lock(d)()
	ok, err := check()
	if err != nil || !ok {
		return false, err
	}
	_, err = s.setAside(d, reason)
	return err == nil, err
}

// setAside moves a blob to quarantine and returns where it is, empty if it was not
// here. The caller holds the digest's lock.
func (s *Store) setAside(d catalog.Digest, reason string) (string, error) {
	aside := s.path("quarantine", fmt.Sprintf("%s.%d", d, s.cfg.Now().UnixNano()))
	err := s.fs.Rename(s.blobPath(d), aside)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("blob %s: quarantine: %w", d, err)
	}
	if err != nil {
		aside = ""
	} else if err := os.WriteFile(aside+reasonSuffix, []byte(reason+"\n"), 0o644); err != nil {
		s.log.Warn("reason of quarantine not kept", "blob", d, "err", err)
	}
	return aside, s.index.update(change{digest: d})
}

const reasonSuffix = ".reason"

// Quarantined returns how many damaged blobs are kept aside, and the bytes they
// take, reasons included.
func (s *Store) Quarantined() (n int, bytes int64, err error) {
	err = s.walkQuarantine(func(e quarantined) error {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // pruned meanwhile
		}
		if err != nil {
			return err
		}
		bytes += info.Size()
		if !e.reason {
			n++
		}
		return nil
	})
	return n, bytes, err
}

// PruneQuarantine removes what was set aside before olderThan, with its reasons,
// and returns the number of blobs.
func (s *Store) PruneQuarantine(olderThan time.Time) (removed int, err error) {
	err = s.walkQuarantine(func(e quarantined) error {
		if !e.at.Before(olderThan) {
			return nil
		}
		if err := s.fs.Remove(s.path("quarantine", e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if !e.reason {
			removed++
		}
		return nil
	})
	return removed, err
}

// quarantined is a file set aside: a blob or the reason beside one.
type quarantined struct {
	os.DirEntry
	at     time.Time
	reason bool
}

// walkQuarantine calls fn for each file whose name says that it is a blob of ours
// or its reason.
func (s *Store) walkQuarantine(fn func(quarantined) error) error {
	entries, err := os.ReadDir(s.path("quarantine"))
	if err != nil {
		return fmt.Errorf("blob store %s: %w", s.cfg.Dir, err)
	}
	for _, e := range entries {
		name, reason := strings.CutSuffix(e.Name(), reasonSuffix)
		digest, stamp, _ := strings.Cut(name, ".")
		if _, err := catalog.ParseDigest(digest); err != nil {
			continue // a local.db that was damaged, or none of ours
		}
		ns, err := strconv.ParseInt(stamp, 10, 64)
		if err != nil {
			continue
		}
		if err := fn(quarantined{e, time.Unix(0, ns), reason}); err != nil {
			return fmt.Errorf("blob store %s: quarantine: %w", s.cfg.Dir, err)
		}
	}
	return nil
}
