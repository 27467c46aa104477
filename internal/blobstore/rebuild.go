package blobstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

const rebuildBatch = 1000 // entries per transaction

// rebuild makes a new index from the files.
func (s *Store) rebuild() error {
	if err := s.index.clear(); err != nil {
		return err
	}
	shards, err := s.listShards()
	if err != nil {
		return err
	}
	found := 0
	for _, sh := range shards {
		names, err := s.shardFiles(sh)
		if err != nil {
			return err
		}
		for part := range slices.Chunk(names, rebuildBatch) {
			var batch []change
			for _, d := range part {
				if e, ok := s.describe(d); ok {
					batch = append(batch, change{d, &e})
				}
			}
			if err := s.index.update(batch...); err != nil {
				return err
			}
			found += len(batch)
		}
	}
	if found > 0 {
		s.log.Info("local index rebuilt from the blobs", "blobs", found)
	}
	return nil
}

// NeedsReconcile reports whether the last process ended without Close.
func (s *Store) NeedsReconcile() bool { return s.dirty }

// Reconcile compares index and files, shard by shard, while the store is in use:
// files without an entry, which a crash leaves behind, are taken in, entries
// without a file are dropped. It may take long; ctx ends it.
func (s *Store) Reconcile(ctx context.Context) error {
	shards, err := s.listShards()
	if err != nil {
		return fmt.Errorf("blob store %s: %w", s.cfg.Dir, err)
	}
	known := make(map[shard]bool, len(shards))
	for _, sh := range shards {
		known[sh] = true
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.reconcileShard(sh); err != nil {
			return fmt.Errorf("blob store %s: shard %s: %w", s.cfg.Dir, sh, err)
		}
	}
	return s.reconcileRest(ctx, known)
}

// reconcileRest drops entries whose very shard directory is missing.
func (s *Store) reconcileRest(ctx context.Context, known map[shard]bool) error {
	var after catalog.Digest
	for {
		page, err := s.index.list(after, rebuildBatch)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, e := range page {
			after = e.Digest
			if known[shardOf(e.Digest)] {
				continue
			}
			if err := s.forgetMissing(e.Digest); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (s *Store) reconcileShard(sh shard) error {
	indexed, err := s.index.shard(sh)
	if err != nil {
		return err
	}
	files, err := s.shardFiles(sh)
	if err != nil {
		return err
	}
	for _, d := range files {
		if indexed[d] {
			delete(indexed, d)
		} else if err := s.takeIn(d); err != nil {
			return err
		}
	}
	for d := range indexed {
		if err := s.forgetMissing(d); err != nil {
			return err
		}
	}
	return nil
}

// takeIn adds a file that has no entry. Its last sync may be missing, so it is
// synced now.
func (s *Store) takeIn(d catalog.Digest) error {
	defer s.locks.lock(d)()
	if _, found, err := s.index.get(d); err != nil || found {
		return err
	}
	e, ok := s.describe(d)
	if !ok {
		return nil
	}
	f, err := s.fs.Open(s.blobPath(d))
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	s.log.Info("blob without index entry taken in", "blob", d, "bytes", e.Packed.Size)
	return s.index.update(change{d, &e})
}

// describe asks a blob file what it is. One that is not the blob its name says,
// or not readable, is set aside.
func (s *Store) describe(d catalog.Digest) (Entry, bool) {
	e, err := s.readEntry(d)
	if err == nil {
		return e, true
	}
	if !errors.Is(err, cab.ErrFormat) && !errors.Is(err, cab.ErrCorrupt) {
		s.log.Warn("blob file not readable", "blob", d, "err", err)
		return Entry{}, false
	}
	aside := s.path("quarantine", fmt.Sprintf("%s.%d", d, s.cfg.Now().UnixNano()))
	s.log.Error("blob is damaged, set aside", "blob", d, "kept", aside, "err", err)
	if err := s.fs.Rename(s.blobPath(d), aside); err != nil {
		s.log.Warn("damaged blob not set aside", "blob", d, "err", err)
	}
	return Entry{}, false
}

func (s *Store) readEntry(d catalog.Digest) (Entry, error) {
	f, err := s.fs.Open(s.blobPath(d))
	if err != nil {
		return Entry{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Entry{}, err
	}
	r, err := cab.Open(f, st.Size())
	if err != nil {
		return Entry{}, err
	}
	e := entryOf(r.Info())
	if e.Digest != d || e.Packed.Size != st.Size() {
		return Entry{}, fmt.Errorf("holds blob %s in %d bytes, file has %d: %w", e.Digest, e.Packed.Size, st.Size(), cab.ErrCorrupt)
	}
	e.StoredAt = st.ModTime()
	return e, nil
}

// shard is the first two bytes of the digests in one directory.
type shard [2]byte

func shardOf(d catalog.Digest) shard { return shard{d[0], d[1]} }

// String returns the path below blobs/.
func (sh shard) String() string { return fmt.Sprintf("%02x/%02x", sh[0], sh[1]) }

// listShards returns the shard directories there are.
func (s *Store) listShards() ([]shard, error) {
	var out []shard
	high, err := os.ReadDir(s.path("blobs"))
	if err != nil {
		return nil, err
	}
	for _, h := range high {
		hb, err := hex.DecodeString(h.Name())
		if err != nil || len(hb) != 1 || !h.IsDir() {
			continue
		}
		low, err := os.ReadDir(s.path("blobs", h.Name()))
		if err != nil {
			return nil, err
		}
		for _, l := range low {
			lb, err := hex.DecodeString(l.Name())
			if sh := (shard{hb[0], 0}); err == nil && len(lb) == 1 && l.IsDir() {
				sh[1] = lb[0]
				if sh.String() == h.Name()+"/"+l.Name() { // lower case
					out = append(out, sh)
				}
			}
		}
	}
	return out, nil
}

// shardFiles lists the blobs of one shard directory, which may be missing.
func (s *Store) shardFiles(sh shard) ([]catalog.Digest, error) {
	dir := s.path("blobs", sh.String())
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []catalog.Digest
	for _, e := range entries {
		d, err := catalog.ParseDigest(e.Name())
		if err != nil || d.String() != e.Name() || shardOf(d) != sh {
			s.log.Warn("file in the blob store is none of ours", "path", dir, "name", e.Name())
			continue
		}
		out = append(out, d)
	}
	return out, nil
}
