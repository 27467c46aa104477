package raftfsm

import (
	"bytes"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

// maxShownFindings bounds the findings that come with a package or a file.
const maxShownFindings = 1000

// Package returns one package with its package-level findings, at most 1000, or an
// ErrNotFound.
func (f *FSM) Package(id catalog.PackageID) (catalog.Package, error) {
	var p catalog.Package
	err := f.view(func(tx *bolt.Tx) error {
		r, err := packageByID(tx, id)
		if err != nil {
			return err
		}
		p = r.Package
		p.Findings = findings(tx, r, -1, 0, maxShownFindings)
		return nil
	})
	return p, err
}

// Checked returns how many files the validator at work has reported, or the one
// that recorded the verdict.
func (f *FSM) Checked(id catalog.PackageID) (int, error) {
	n := 0
	err := f.view(func(tx *bolt.Tx) error {
		r, err := packageByID(tx, id)
		if err == nil {
			n = r.Reported
		}
		return err
	})
	return n, err
}

// PackageByKey returns the package of an idempotency key, without findings, or an
// ErrNotFound.
func (f *FSM) PackageByKey(idempotencyKey string) (catalog.Package, error) {
	var p catalog.Package
	err := f.view(func(tx *bolt.Tx) error {
		id := tx.Bucket(bucketIdempotent).Get([]byte(idempotencyKey))
		if id == nil {
			return fmt.Errorf("idempotency key %.128q: no package has it: %w", idempotencyKey, catalog.ErrNotFound)
		}
		r, err := packageByID(tx, catalog.PackageID(id))
		if err == nil {
			p = r.Package
		}
		return err
	})
	return p, err
}

// A PackageFilter narrows a listing; empty fields match everything.
type PackageFilter struct {
	Product string
	Version string
	State   catalog.State
	Labels  map[string]string
}

func (p PackageFilter) match(r *packageRow) bool {
	for k, v := range p.Labels {
		if got, ok := r.Labels[k]; !ok || got != v {
			return false
		}
	}
	return (p.Product == "" || p.Product == r.Product) && (p.Version == "" || p.Version == r.Version) &&
		(p.State == "" || p.State == r.State)
}

// Packages lists packages without findings, newest id first, from those below
// before; an empty before begins with the newest. Next is the before of the next
// page and empty at the end. A page looks at a bounded number of rows, so it may
// be short, even empty, and still have a next one.
func (f *FSM) Packages(filter PackageFilter, before catalog.PackageID, limit int) (page []catalog.Package, next catalog.PackageID, err error) {
	page = []catalog.Package{}
	err = f.view(func(tx *bolt.Tx) error {
		bucket, prefix := tx.Bucket(bucketPackages), []byte(nil)
		if filter.Product != "" {
			bucket, prefix = tx.Bucket(bucketProducts), productKey(filter.Product, "")
		}
		c := bucket.Cursor()
		k := seekBelow(c, prefix, before)
		for scanned := 0; k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Prev() {
			if len(page) >= limit || scanned >= maxScan {
				return nil
			}
			scanned++
			next = catalog.PackageID(k[len(prefix):])
			r, err := packageByID(tx, next)
			if err != nil {
				return err
			}
			if filter.match(r) {
				page = append(page, r.Package)
			}
		}
		next = ""
		return nil
	})
	return page, next, err
}

// seekBelow returns the last key below prefix+before, or the last one of prefix if
// before is empty.
func seekBelow(c *bolt.Cursor, prefix []byte, before catalog.PackageID) []byte {
	end := append(bytes.Clone(prefix), before...)
	if before == "" {
		end = append(end, 0xff)
	}
	if k, _ := c.Seek(end); k == nil {
		k, _ = c.Last()
		return k
	}
	k, _ := c.Prev()
	return k
}

// Files returns the files of a package after number after, at most limit, each
// with its findings; -1 begins with the first. Of a failed package whose blobs are
// gone only files with findings are left.
func (f *FSM) Files(id catalog.PackageID, after, limit int) ([]catalog.File, error) {
	files := []catalog.File{}
	err := f.view(func(tx *bolt.Tx) error {
		r, err := packageByID(tx, id)
		if err != nil {
			return err
		}
		c := tx.Bucket(bucketFiles).Cursor()
		for k, v := c.Seek(fileKey(id, after+1)); k != nil && bytes.HasPrefix(k, []byte(id)) && len(files) < limit; k, v = c.Next() {
			file := r.shown(decodeFile(v), fileNo(k))
			file.Findings = findings(tx, r, file.No, 0, maxShownFindings)
			files = append(files, file)
		}
		return nil
	})
	return files, err
}

// shown leaves out facts that a validator without a claim left behind.
func (r *packageRow) shown(f *fileRow, no int) catalog.File {
	if f.Token != r.activeToken() {
		f.Report = nil
	}
	return f.file(no)
}

// File returns one file with its findings, or an ErrNotFound.
func (f *FSM) File(id catalog.PackageID, no int) (catalog.File, error) {
	var file catalog.File
	err := f.view(func(tx *bolt.Tx) error {
		r, err := packageByID(tx, id)
		if err != nil {
			return err
		}
		row := fileByNo(tx, id, no)
		if no < 0 || row == nil {
			return fmt.Errorf("package %s: file %d: none: %w", id, no, catalog.ErrNotFound)
		}
		file = r.shown(row, no)
		file.Findings = findings(tx, r, no, 0, maxShownFindings)
		return nil
	})
	return file, err
}

// Findings returns the findings of file no from position first, or those of the
// package itself for -1; at most limit.
func (f *FSM) Findings(id catalog.PackageID, no, first, limit int) ([]catalog.Finding, error) {
	var found []catalog.Finding
	err := f.view(func(tx *bolt.Tx) error {
		r, err := packageByID(tx, id)
		if err == nil {
			found = findings(tx, r, no, first, limit)
		}
		return err
	})
	return found, err
}

func findings(tx *bolt.Tx, r *packageRow, no, first, limit int) []catalog.Finding {
	var found []catalog.Finding
	token := r.activeToken()
	prefix := findingPrefix(r.ID, token, no)
	c := tx.Bucket(bucketFindings).Cursor()
	for k, v := c.Seek(findingKey(r.ID, token, no, first)); k != nil && bytes.HasPrefix(k, prefix) && len(found) < limit; k, v = c.Next() {
		found = append(found, decodeFinding(v))
	}
	return found
}

// Claimable returns committed packages nobody validates, the oldest commit first.
func (f *FSM) Claimable(limit int) ([]catalog.Package, error) {
	return f.packagesOf(bucketQueue, limit)
}

// Claimed returns the packages under validation, the next deadline first.
func (f *FSM) Claimed(limit int) ([]catalog.Package, error) {
	return f.packagesOf(bucketClaims, limit)
}

// packagesOf reads the packages an index names behind 8 bytes of order.
func (f *FSM) packagesOf(bucket []byte, limit int) ([]catalog.Package, error) {
	page := []catalog.Package{}
	err := f.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		for k, _ := c.First(); k != nil && len(page) < limit; k, _ = c.Next() {
			r, err := packageByID(tx, catalog.PackageID(k[8:]))
			if err != nil {
				return err
			}
			page = append(page, r.Package)
		}
		return nil
	})
	return page, err
}

// FileWith returns the first file of a package that has a digest, or an
// ErrNotFound. What validation learned about it is left out.
func (f *FSM) FileWith(id catalog.PackageID, d catalog.Digest) (catalog.File, error) {
	var file catalog.File
	err := f.view(func(tx *bolt.Tx) error {
		prefix := append(d[:], id...)
		k, _ := tx.Bucket(bucketRefs).Cursor().Seek(prefix)
		if len(id) != packageLen || !bytes.HasPrefix(k, prefix) {
			return fmt.Errorf("package %.64q: no file with sha256 %s is listed: %w", id, d, catalog.ErrNotFound)
		}
		no := fileNo(k[32:])
		row := fileByNo(tx, id, no)
		file = catalog.File{No: no, Path: row.Path, Size: row.size, SHA256: d}
		return nil
	})
	return file, err
}
