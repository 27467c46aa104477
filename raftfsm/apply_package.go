package raftfsm

import (
	"bytes"
	"fmt"
	"slices"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

func (c OpenPackage) apply(s *state) (any, error) {
	if id := s.get(bucketIdempotent, []byte(c.IdempotencyKey)); id != nil {
		r, err := s.row(catalog.PackageID(id))
		if err != nil {
			panic(fmt.Sprintf("raftfsm: log index %d: idempotency key %q: %v", s.index, c.IdempotencyKey, err))
		}
		return r.Package, nil
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if _, err := s.row(c.ID); err == nil {
		return nil, fmt.Errorf("package %s: was opened under another idempotency key: %w", c.ID, catalog.ErrConflict)
	}
	r := &packageRow{Package: catalog.Package{
		ID: c.ID, IdempotencyKey: c.IdempotencyKey, Product: c.Product, Version: c.Version, Labels: c.Labels,
		Comment: c.Comment, State: catalog.StateOpen, OpenedIndex: s.index, OpenedAt: c.At,
		Lease: s.head.Clock + catalog.ClusterTime(c.LeaseMillis), Policy: catalog.PolicyOf(c.Policy).Ref(),
	}}
	s.putPackage(r)
	s.emitPackage(PackageOpened, r.ID)
	return r.Package, nil
}

func (c OpenPackage) check() error {
	if err := checkPackageID(c.ID); err != nil {
		return err
	}
	if err := checkLease(c.ID, c.LeaseMillis); err != nil {
		return err
	}
	if n := len(c.IdempotencyKey); n == 0 || n > MaxIdempotencyKey {
		return fmt.Errorf("package %s: idempotency key of %d bytes, wanted 1 to %d: %w", c.ID, n, MaxIdempotencyKey, catalog.ErrInvalid)
	}
	if c.Product == "" || c.Version == "" {
		return fmt.Errorf("package %s: product %q, version %q: both are needed: %w", c.ID, c.Product, c.Version, catalog.ErrInvalid)
	}
	if err := catalog.PolicyOf(c.Policy).Validate(); err != nil {
		return fmt.Errorf("package %s: %w", c.ID, err)
	}
	if len(c.Labels) > catalog.MaxLabels {
		return fmt.Errorf("package %s: %d labels, at most %d are accepted: %w", c.ID, len(c.Labels), catalog.MaxLabels, catalog.ErrInvalid)
	}
	return c.checkTexts()
}

func (c OpenPackage) checkTexts() error {
	texts := []struct {
		what, text string
		limit      int
	}{
		{"product", c.Product, catalog.MaxText},
		{"version", c.Version, catalog.MaxText},
		{"comment", c.Comment, catalog.MaxComment},
	}
	names := []string{}
	for k := range c.Labels {
		names = append(names, k)
	}
	slices.Sort(names) // the first bad one is named, the same on every node
	for _, k := range names {
		texts = append(texts, struct {
			what, text string
			limit      int
		}{"label name", k, catalog.MaxText}, struct {
			what, text string
			limit      int
		}{"label " + k, c.Labels[k], catalog.MaxText})
	}
	for _, t := range texts {
		if err := catalog.CheckText(t.what, t.text, t.limit); err != nil {
			return err
		}
	}
	if len(names) > 0 && names[0] == "" {
		return fmt.Errorf("package %s: a label has no name: %w", c.ID, catalog.ErrInvalid)
	}
	return nil
}

func checkLease(id catalog.PackageID, millis int64) error {
	if millis < 1 || millis > MaxLease {
		return fmt.Errorf("package %s: lease of %d ms, wanted 1 to %d: %w", id, millis, int64(MaxLease), catalog.ErrInvalid)
	}
	return nil
}

// openRow reads a package that still takes files.
func (s *state) openRow(id catalog.PackageID) (*packageRow, error) {
	r, err := s.row(id)
	switch {
	case err != nil:
		return nil, err
	case r.State != catalog.StateOpen:
		return nil, fmt.Errorf("package %s: %s, wanted open: %w", id, r.State, catalog.ErrConflict)
	case s.head.Clock > r.Lease:
		return nil, fmt.Errorf("package %s: its lease ran out %d ms ago; push it again: %w", id, s.head.Clock-r.Lease, catalog.ErrConflict)
	}
	return r, nil
}

func (c RenewLease) apply(s *state) (any, error) {
	r, err := s.openRow(c.Package)
	if err != nil {
		return nil, err
	}
	if err := checkLease(c.Package, c.LeaseMillis); err != nil {
		return nil, err
	}
	r.Lease = s.head.Clock + catalog.ClusterTime(c.LeaseMillis)
	s.putPackage(r)
	return nil, nil
}

func (c AddFiles) apply(s *state) (any, error) {
	r, err := s.openRow(c.Package)
	if err != nil {
		return nil, err
	}
	if err := c.check(s, r); err != nil {
		return nil, err
	}
	value := AddFilesValue{Lacking: []catalog.Digest{}}
	seen := map[catalog.Digest]bool{}
	for i, f := range c.Files {
		no := c.First + i
		var lacking bool
		if no < r.Files {
			lacking = s.lacking(f.SHA256)
		} else {
			s.putFile(c.Package, no, &fileRow{digest: f.SHA256, size: f.Size, fileFacts: fileFacts{Path: f.Path, Source: f.Source}})
			s.put(bucketRefs, refKey(f.SHA256, c.Package, no), nil)
			lacking = s.reference(f.SHA256, f.Size)
			r.Bytes += f.Size
		}
		if lacking && !seen[f.SHA256] {
			value.Lacking = append(value.Lacking, f.SHA256)
		}
		seen[f.SHA256] = true
	}
	r.Files = max(r.Files, c.First+len(c.Files))
	value.Files = r.Files
	s.putPackage(r)
	return value, nil
}

// check compares the rows listed already and looks at the new ones.
func (c AddFiles) check(s *state, r *packageRow) error {
	switch {
	case c.First < 0 || c.First > r.Files:
		return fmt.Errorf("package %s: chunk begins at file %d, %d files are listed: %w", c.Package, c.First, r.Files, catalog.ErrConflict)
	case c.First+len(c.Files) > catalog.MaxFiles:
		return fmt.Errorf("package %s: %d files, at most %d are accepted: %w", c.Package, c.First+len(c.Files), catalog.MaxFiles, catalog.ErrInvalid)
	}
	for i, f := range c.Files {
		if err := c.checkFile(s, c.First+i, f); err != nil {
			return err
		}
		if no := c.First + i; no < r.Files {
			old := fileByNo(s.tx, c.Package, no)
			if old.digest != f.SHA256 || old.size != f.Size || old.Path != f.Path || old.Source != f.Source {
				return fmt.Errorf("package %s: file %d is %q, sha256 %s; this chunk says %q, sha256 %s: %w",
					c.Package, no, old.Path, old.digest, f.Path, f.SHA256, catalog.ErrConflict)
			}
		}
	}
	return nil
}

func (c AddFiles) checkFile(s *state, no int, f FileEntry) error {
	if err := catalog.CheckPath(f.Path); err != nil {
		return fmt.Errorf("package %s: file %d: %v: %w", c.Package, no, err, catalog.ErrInvalid)
	}
	if f.Source != "" {
		if err := symid.CheckSource(f.Source); err != nil {
			return fmt.Errorf("package %s: file %d %q: %v: %w", c.Package, no, f.Path, err, catalog.ErrInvalid)
		}
	}
	if f.SHA256.IsZero() || f.Size < 0 || f.Size > catalog.MaxFileBytes {
		return fmt.Errorf("package %s: file %d %q: sha256 %s, %d bytes, wanted a digest and 0 to %d bytes: %w",
			c.Package, no, f.Path, f.SHA256, f.Size, catalog.MaxFileBytes, catalog.ErrInvalid)
	}
	if b := blobByDigest(s.tx, f.SHA256); b != nil && b.isPacked() && b.rawSize != f.Size {
		return fmt.Errorf("package %s: file %d %q: %d bytes, the blob %s has %d: %w",
			c.Package, no, f.Path, f.Size, f.SHA256, b.rawSize, catalog.ErrInvalid)
	}
	return nil
}

// lacking reports whether no member holds a copy of a digest.
func (s *state) lacking(d catalog.Digest) bool {
	b := blobByDigest(s.tx, d)
	return b == nil || b.retired || s.head.live(b) == 0
}

func (c CommitPackage) apply(s *state) (any, error) {
	r, err := s.row(c.Package)
	if err != nil {
		return nil, err
	}
	quorum := catalog.WriteQuorum(s.head.Settings.Replicas, len(s.head.members))
	value := CommitValue{Package: c.Package, State: r.State, Quorum: quorum}
	if r.CommittedIndex > 0 {
		return value, nil
	}
	if r, err = s.openRow(c.Package); err != nil {
		return value, err
	}
	if c.Files != r.Files || c.Files == 0 {
		return value, fmt.Errorf("package %s: %d files are listed, the commit says %d, at least 1 is wanted: %w",
			c.Package, r.Files, c.Files, catalog.ErrConflict)
	}
	if value.Short, err = s.short(r, quorum); err != nil {
		return value, err
	}
	r.State, r.CommittedIndex, r.CommittedAt, r.Lease = catalog.StateCommitted, s.index, c.At, 0
	s.putPackage(r)
	s.emitPackage(PackageCommitted, r.ID)
	value.State = r.State
	return value, nil
}

// short lists the blobs of a package with fewer than quorum live holders; the
// error says how many.
func (s *state) short(r *packageRow, quorum int) ([]catalog.Digest, error) {
	var short []catalog.Digest
	seen := map[catalog.Digest]bool{}
	prefix := []byte(r.ID)
	c := s.tx.Bucket(bucketFiles).Cursor()
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		d, size := fileHead(v)
		b := blobByDigest(s.tx, d)
		if b.isPacked() && b.rawSize != size {
			return nil, fmt.Errorf("package %s: file %d: listed with %d bytes, the blob %s has %d: %w",
				r.ID, fileNo(k), size, d, b.rawSize, catalog.ErrInvalid)
		}
		if s.head.live(b) < quorum && !seen[d] {
			seen[d] = true
			if len(short) < MaxShort {
				short = append(short, d)
			}
		}
	}
	if len(seen) > 0 {
		return short, fmt.Errorf("package %s: %d blobs have fewer than %d verified copies on members, such as %s: %w",
			r.ID, len(seen), quorum, short[0], catalog.ErrUnavailable)
	}
	return nil, nil
}
