package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// maxLost bounds the digests that a result names.
const maxLost = 1000

// fill brings in every blob that is found, several at a time, and counts what the
// packages have of them.
func (r *restore) fill(ctx context.Context, fsm *raftfsm.FSM) error {
	r.have = make(map[catalog.Digest]bool, len(r.wanted))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(2, runtime.NumCPU()))
	for _, b := range r.wanted {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error { return r.bring(gctx, b) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	sum, err := fsm.Servable(ctx, func(d catalog.Digest) bool { return r.have[d] })
	r.result.Packages, r.result.Servable, r.result.Lacking = sum.Good, sum.Whole, sum.Lacking
	return err
}

// bring finds a sound copy of one blob and makes it this directory's. The form that
// the cluster had is taken rather than another; any sound one will do, since no
// member is left to disagree.
func (r *restore) bring(ctx context.Context, b raftfsm.BackupBlob) error {
	target := blobstore.PathIn(filepath.Join(r.cfg.DataDir, "blobs"), b.Digest)
	var other, damaged string
	for _, path := range append([]string{target}, r.candidates(b.Digest)...) {
		packed, err := blobstore.VerifyPath(ctx, path, b.Digest)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			r.cfg.Logger.Warn("blob not usable", "blob", b.Digest, "path", path, "err", err)
			damaged = path
		case packed == b.Packed:
			return r.take(b, path, target)
		case other == "":
			other = path
		}
	}
	if other != "" {
		return r.take(b, other, target)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if damaged != "" {
		r.result.Blobs.Damaged++
	} else {
		r.result.Blobs.Missing++
	}
	if len(r.result.Blobs.Lost) < maxLost {
		r.result.Blobs.Lost = append(r.result.Blobs.Lost, b.Digest)
	}
	return removeFile(target)
}

// candidates are the places where a directory may have a blob: that of a backup, a
// data directory, or its blobs directory.
func (r *restore) candidates(d catalog.Digest) (paths []string) {
	for _, dir := range r.cfg.Blobs {
		paths = append(paths, blobstore.PathIn(dir, d), blobstore.PathIn(filepath.Join(dir, "blobs"), d))
	}
	return paths
}

// take puts a verified file in place, by a hard link where that is possible: packed
// files never change.
func (r *restore) take(b raftfsm.BackupBlob, from, target string) error {
	count := &r.result.Blobs.There
	if from != target {
		var err error
		if count, err = r.place(from, target); err != nil {
			return fmt.Errorf("blob %s: %w", b.Digest, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	*count++
	r.result.Blobs.Bytes += b.Packed.Size
	r.have[b.Digest] = true
	return nil
}

func (r *restore) place(from, target string) (count *int64, err error) {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return nil, err
	}
	if err := removeFile(target); err != nil { // damaged, or of another form
		return nil, err
	}
	if err := os.Link(from, target); err == nil {
		return &r.result.Blobs.Linked, syncPath(target)
	}
	return &r.result.Blobs.Copied, copyFile(from, target)
}

// copyFile copies a file durably, but for its directory.
func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	tmp := to + ".tmp"
	dst, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if err = errors.Join(err, dst.Sync(), dst.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return os.Rename(tmp, to)
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// buildIndex makes the directories of the blobs durable and has the store describe
// what is in them.
func (r *restore) buildIndex() error {
	blobs := filepath.Join(r.cfg.DataDir, "blobs")
	err := filepath.WalkDir(blobs, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path == blobs:
			return nil
		case err != nil:
			return err
		case e.IsDir():
			return syncPath(path)
		case strings.HasSuffix(path, ".tmp"): // of an interrupted run
			return os.Remove(path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s, err := blobstore.Open(blobstore.Config{Dir: r.cfg.DataDir, Logger: r.cfg.Logger})
	if err != nil {
		return err
	}
	return s.Close()
}
