package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

// Inspect calls each for every entry in the index of a directory that no store has
// open, and changes nothing. The error is fs.ErrNotExist without an index.
func Inspect(dir string, each func(Entry) error) error {
	path := filepath.Join(dir, "local.db")
	if _, err := os.Stat(path); err != nil {
		return err
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return fmt.Errorf("local index %s: %w", path, err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		blobs := tx.Bucket(blobsBucket)
		if blobs == nil {
			return fmt.Errorf("local index %s: no entries in it: %w", path, fs.ErrInvalid)
		}
		return blobs.ForEach(func(k, v []byte) error {
			if len(k) != len(catalog.Digest{}) {
				return fmt.Errorf("local index %s: key of %d bytes: %w", path, len(k), fs.ErrInvalid)
			}
			e, err := decodeEntry(catalog.Digest(k), v)
			if err != nil {
				return err
			}
			return each(e)
		})
	})
	return errors.Join(err, db.Close())
}

// ForgetIndex makes the next Open read every blob file anew. What others keep in
// local.db stays.
func ForgetIndex(dir string) error {
	if err := os.Remove(filepath.Join(dir, "blobs", "epoch")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Walk calls each with the path and the digest of every file below the blobs of a
// directory that is named like one, in the order of digests. Files that are named
// otherwise go to odd.
func Walk(dir string, each func(d catalog.Digest, path string) error, odd func(path string) error) error {
	root := filepath.Join(dir, "blobs")
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() || path == filepath.Join(root, "epoch"):
			return nil
		}
		d, err := catalog.ParseDigest(e.Name())
		if err != nil || path != PathIn(root, d) {
			return odd(path)
		}
		return each(d, path)
	})
}

// VerifyFile compares every byte of a packed file with its hashes and with the digest
// it should have. The error is cab.ErrCorrupt or cab.ErrFormat where it differs.
func VerifyFile(ctx context.Context, f *os.File, d catalog.Digest) (catalog.Packed, error) {
	st, err := f.Stat()
	if err != nil {
		return catalog.Packed{}, err
	}
	info, err := cab.Verify(ctx, f, st.Size())
	if err != nil {
		return catalog.Packed{}, err
	}
	if info.RawSHA256 != d {
		return catalog.Packed{}, fmt.Errorf("%s: holds blob %x, wanted %s: %w", f.Name(), info.RawSHA256, d, cab.ErrCorrupt)
	}
	return entryOf(info).Packed, nil
}

// VerifyPath is VerifyFile of the file there.
func VerifyPath(ctx context.Context, path string, d catalog.Digest) (catalog.Packed, error) {
	f, err := os.Open(path)
	if err != nil {
		return catalog.Packed{}, err
	}
	defer f.Close()
	return VerifyFile(ctx, f, d)
}
