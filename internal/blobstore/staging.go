package blobstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
)

// syncEvery is how many bytes may be written before the file is synced, so that
// the last sync of a large blob is short.
const syncEvery = 64 << 20

// A Staging is a blob on its way into the store: a file in tmp. It is an
// io.ReadWriteSeeker, io.ReaderAt and io.WriterAt for one goroutine. The first
// error of a write or sync is final: Commit refuses, since the kernel may have
// dropped the bytes. End it with Commit, Replace or Abort.
type Staging struct {
	s        *Store
	f        File
	path     string
	space    *reservation
	end      int64 // highest offset written
	pos      int64
	unsynced int64
	err      error
	done     bool
}

// Create starts a staging for a blob of at most rawSize raw bytes that somebody is
// pushing. The error wraps catalog.ErrFull if there is no space for it.
func (s *Store) Create(rawSize int64) (*Staging, error) { return s.CreateFor(ForIngest, rawSize) }

// CreateFor is Create for any use of the space.
func (s *Store) CreateFor(use Use, rawSize int64) (*Staging, error) {
	space, err := s.reserve(use, cab.MaxPacked(rawSize))
	if err != nil {
		return nil, err
	}
	path := s.path("tmp", randomName())
	f, err := s.fs.Create(path)
	if err != nil {
		space.release()
		return nil, fmt.Errorf("stage: %w", FullError(err))
	}
	return &Staging{s: s, f: f, path: path, space: space}, nil
}

// FullError makes an error of a full disk wrap catalog.ErrFull.
func FullError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", catalog.ErrFull, err)
	}
	return err
}

// Path returns the file's path, for readers in other processes.
func (st *Staging) Path() string { return st.path }

// Write writes at the current position.
func (st *Staging) Write(p []byte) (int, error) {
	n, err := st.WriteAt(p, st.pos)
	st.pos += int64(n)
	return n, err
}

// WriteAt implements io.WriterAt.
func (st *Staging) WriteAt(p []byte, off int64) (int, error) {
	if st.err != nil {
		return 0, st.err
	}
	n, err := st.f.WriteAt(p, off)
	if end := off + int64(n); end > st.end {
		st.space.use(end - st.end)
		st.end = end
	}
	st.unsynced += int64(n)
	if err == nil && st.unsynced >= syncEvery {
		st.unsynced = 0
		err = st.f.Sync()
	}
	if err != nil {
		st.err = fmt.Errorf("stage: %w", FullError(err))
		return n, st.err
	}
	return n, nil
}

// Wrote tells of bytes that another process wrote and synced, up to an offset, or of
// its error, which is final. It returns the final error, if there is one.
func (st *Staging) Wrote(end int64, err error) error {
	if end > st.end {
		st.space.use(end - st.end)
		st.end = end
	}
	if err != nil && st.err == nil {
		st.err = fmt.Errorf("stage: %w", FullError(err))
	}
	return st.err
}

// Truncate sets the size of the file.
func (st *Staging) Truncate(size int64) error {
	if st.err == nil {
		if err := st.f.Truncate(size); err != nil {
			st.err = fmt.Errorf("stage: %w", FullError(err))
		}
	}
	return st.err
}

// ReadAt implements io.ReaderAt.
func (st *Staging) ReadAt(p []byte, off int64) (int, error) { return st.f.ReadAt(p, off) }

// Read reads from the current position.
func (st *Staging) Read(p []byte) (int, error) {
	n, err := st.f.ReadAt(p, st.pos)
	st.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// Seek implements io.Seeker.
func (st *Staging) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += st.pos
	case io.SeekEnd:
		offset += st.end
	}
	if offset < 0 {
		return st.pos, fmt.Errorf("stage: seek to %d: negative offset", offset)
	}
	st.pos = offset
	return offset, nil
}

// Commit makes the file a blob: afterwards it is durable. The packed bytes must
// have been verified to be what info says. If the store has the blob already, it
// keeps the earlier copy, whose packed bytes may be others: the entry says what
// is stored. On error nothing is stored and nothing is left.
func (st *Staging) Commit(info cab.Info) (Entry, error) {
	return st.finish(entryOf(info), keepOld)
}

// Replace is Commit, but a copy with other packed bytes gives way.
func (st *Staging) Replace(info cab.Info) (Entry, error) {
	return st.finish(entryOf(info), replaceOld)
}

// Abort throws the staging away. It does nothing after Commit or Replace.
func (st *Staging) Abort() {
	if st.done {
		return
	}
	st.done = true
	st.f.Close()
	if err := st.s.fs.Remove(st.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		st.s.log.Warn("staging file not removed", "path", st.path, "err", err)
	}
	st.space.release()
}

type onConflict int

const (
	keepOld onConflict = iota
	replaceOld
)

func (st *Staging) finish(e Entry, rule onConflict) (Entry, error) {
	if st.done {
		return Entry{}, fmt.Errorf("blob %s: staging has ended already", e.Digest)
	}
	defer st.Abort()
	if st.err != nil {
		return Entry{}, fmt.Errorf("blob %s: %w", e.Digest, st.err)
	}
	if st.end < e.Packed.Size {
		return Entry{}, fmt.Errorf("blob %s: %d bytes staged, %d announced: %w", e.Digest, st.end, e.Packed.Size, cab.ErrCorrupt)
	}
	if err := st.f.Sync(); err != nil {
		return Entry{}, fmt.Errorf("blob %s: sync: %w", e.Digest, FullError(err))
	}
	fault.Point("blob-synced")
	return st.s.adopt(st, e, rule)
}

// adopt moves a synced file into place under the digest's lock.
func (s *Store) adopt(st *Staging, e Entry, rule onConflict) (Entry, error) {
	defer s.locks.lock(e.Digest)()
	old, found, err := s.present(e.Digest)
	if err != nil {
		return Entry{}, err
	}
	if found && (rule == keepOld || old.Packed == e.Packed) {
		return old, nil
	}
	if found { // between the two writes below, the index must not vouch for the old bytes
		if err := s.index.update(change{digest: e.Digest}); err != nil {
			return Entry{}, fmt.Errorf("blob %s: local index: %w", e.Digest, FullError(err))
		}
	}
	e.StoredAt = s.now()
	e.VerifiedAt = e.StoredAt
	if err := s.place(st, e); err != nil {
		// The rename may have happened without being durable: take it back.
		if err := s.fs.Remove(s.blobPath(e.Digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("blob file not removed after a failed commit", "blob", e.Digest, "err", err)
		}
		return Entry{}, fmt.Errorf("blob %s: %w", e.Digest, FullError(err))
	}
	return e, nil
}

func (s *Store) place(st *Staging, e Entry) error {
	path := s.blobPath(e.Digest)
	if err := s.makeShard(path); err != nil {
		return err
	}
	if err := st.f.Close(); err != nil { // before the rename: Windows refuses otherwise
		return err
	}
	if err := s.fs.Rename(st.path, path); err != nil {
		return err
	}
	fault.Point("blob-renamed")
	if err := s.syncShard(path); err != nil {
		return err
	}
	if err := s.index.update(change{e.Digest, &e}); err != nil {
		return err
	}
	fault.Point("blob-indexed")
	return nil
}

// present returns the entry of a blob whose file is really there; a file that a
// crash left without an entry is taken in.
func (s *Store) present(d catalog.Digest) (Entry, bool, error) {
	e, found, err := s.index.get(d)
	if err != nil {
		return Entry{}, false, fmt.Errorf("blob %s: local index: %w", d, err)
	}
	if !found {
		return Entry{}, false, nil
	}
	f, err := s.fs.Open(s.blobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, false, nil
	}
	if err != nil {
		return Entry{}, false, fmt.Errorf("blob %s: %w", d, err)
	}
	return e, true, f.Close()
}

// makeShard makes both directories of a blob.
func (s *Store) makeShard(blob string) error {
	low := filepath.Dir(blob)
	s.mu.Lock()
	known := s.shards[low]
	s.mu.Unlock()
	if known {
		return nil
	}
	if err := s.fs.Mkdir(filepath.Dir(low)); err != nil {
		return err
	}
	return s.fs.Mkdir(low)
}

// syncShard makes what a blob's directory holds durable, and the two directories
// themselves. A directory that exists may be the work of another upload, or of a crashed
// process, that did not get to sync it: each is synced once per process by whoever does
// not know of that yet.
func (s *Store) syncShard(blob string) error {
	low := filepath.Dir(blob)
	high := filepath.Dir(low)
	dirs := []string{low}
	var fresh []string
	s.mu.Lock()
	for _, dir := range []string{low, high} {
		if !s.shards[dir] {
			dirs, fresh = append(dirs, filepath.Dir(dir)), append(fresh, dir)
		}
	}
	s.mu.Unlock()
	var g errgroup.Group
	for _, dir := range dirs { // at the same time: a journal writes them in one go
		g.Go(func() error { return s.fs.SyncDir(dir) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	s.mu.Lock()
	for _, dir := range fresh {
		s.shards[dir] = true
	}
	s.mu.Unlock()
	return nil
}
