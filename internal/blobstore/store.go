// Package blobstore is one node's directory of packed blobs. It owns the files,
// their durability and the space they may take; what is in them is internal/cab's
// business, which node should hold them is replication's.
//
// A blob file is named by the SHA-256 of its raw bytes and describes itself. An
// index in local.db makes the start and every lookup independent of how many
// there are; it is rebuilt from the files when it is missing or older than they
// are. A blob counts only after its file, its directory and its index entry are
// durable; a crash before that leaves no trace but a file that Reconcile adopts.
// FORMAT.md describes the directory and local.db.
//
// All methods are safe for concurrent use. Changes of one digest take its lock,
// so that a blob is never removed under the hands of someone who stores it.
package blobstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
)

// Config of a Store.
type Config struct {
	// Dir is the data directory; it is made if missing. One process may use it.
	Dir string
	// Marks say how full the file system may become; a field of 0 is its default.
	Marks Marks
	// FS is the file system; nil means the real one.
	FS FS
	// Now is the clock of the stamps; nil means fault.Now.
	Now func() time.Time
	// Logger may be nil.
	Logger *slog.Logger
}

// An Entry is what the store knows of one blob.
type Entry struct {
	Digest     catalog.Digest
	Packed     catalog.Packed
	RawSize    int64  // bytes
	Name       string // member name in the packed file
	StoredAt   time.Time
	VerifiedAt time.Time // when every packed byte was last compared with its hash
}

// A Store is an open directory. Close it.
type Store struct {
	cfg   Config
	fs    FS
	log   *slog.Logger
	db    *bolt.DB
	index *index
	locks keyLocks
	dirty bool // the last process did not close the store

	mu       sync.Mutex      // guards what follows
	reserved int64           // bytes promised to stagings and not written yet
	shards   map[string]bool // directories that are durable in theirs
}

// Open opens the directory, empties tmp, and rebuilds the index if it has to.
func Open(cfg Config) (*Store, error) {
	if err := cfg.Marks.Validate(); err != nil {
		return nil, err
	}
	cfg.Marks = cfg.Marks.orDefault()
	if cfg.FS == nil {
		cfg.FS = OS{}
	}
	if cfg.Now == nil {
		cfg.Now = fault.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{cfg: cfg, fs: cfg.FS, log: cfg.Logger, shards: make(map[string]bool)}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("blob store %s: %w", cfg.Dir, err)
	}
	if err := s.openIndex(); err != nil {
		if s.db != nil {
			s.db.Close()
		}
		return nil, fmt.Errorf("blob store %s: %w", cfg.Dir, err)
	}
	return s, nil
}

// prepare makes the directories and removes what a crash left in tmp.
func (s *Store) prepare() error {
	if err := os.MkdirAll(s.cfg.Dir, 0o755); err != nil {
		return err
	}
	for _, d := range []string{"blobs", "tmp", "quarantine"} {
		if err := s.fs.Mkdir(s.path(d)); err != nil {
			return err
		}
	}
	if err := s.fs.SyncDir(s.cfg.Dir); err != nil {
		return err
	}
	left, err := os.ReadDir(s.path("tmp"))
	if err != nil {
		return err
	}
	for _, e := range left {
		if err := os.RemoveAll(s.path("tmp", e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) openIndex() error {
	path := s.path("local.db")
	db, err := openDB(path)
	if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errLocked) {
		aside := s.path("quarantine", fmt.Sprintf("local.db.%d", s.cfg.Now().UnixNano()))
		s.log.Warn("local index is damaged, rebuilding it from the blobs", "path", path, "kept", aside, "err", err)
		if err := s.fs.Rename(path, aside); err != nil {
			return err
		}
		db, err = openDB(path)
	}
	if err != nil {
		return err
	}
	s.db = db
	s.index = newIndex(db)
	onDisk, _ := os.ReadFile(s.path("blobs", "epoch"))
	state, err := s.index.state()
	if err != nil {
		return err
	}
	s.dirty = !state.clean
	if !state.valid || !state.knows(string(onDisk)) {
		if err := s.rebuild(); err != nil {
			return fmt.Errorf("rebuild local.db: %w", err)
		}
		s.dirty = false
	}
	return s.newEpoch(state.epoch)
}

// newEpoch marks the index and the directory as belonging together: first the
// index, which remembers the previous mark as well, then the directory.
func (s *Store) newEpoch(previous string) error {
	epoch := randomName()
	if err := s.index.open(epoch, previous); err != nil {
		return err
	}
	tmp := s.path("tmp", "epoch")
	if err := os.WriteFile(tmp, []byte(epoch), 0o644); err != nil {
		return err
	}
	return s.fs.Rename(tmp, s.path("blobs", "epoch"))
}

// Close closes the store. Open files stay readable.
func (s *Store) Close() error {
	return errors.Join(s.index.close(), s.db.Close())
}

// DB returns local.db for others who keep a bucket of their own in it. The store
// owns the buckets "blobs" and "store".
func (s *Store) DB() *bolt.DB { return s.db }

// Dir returns the data directory.
func (s *Store) Dir() string { return s.cfg.Dir }

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.cfg.Dir}, parts...)...)
}

func (s *Store) blobPath(d catalog.Digest) string { return PathIn(s.path("blobs"), d) }

// PathIn returns where a directory of blobs has one.
func PathIn(blobs string, d catalog.Digest) string {
	h := d.String()
	return filepath.Join(blobs, h[:2], h[2:4], h)
}

// Path returns where the blob is or would be. The file is never changed in place.
func (s *Store) Path(d catalog.Digest) string { return s.blobPath(d) }

// Stat returns what is known of a blob, from the index alone. The error wraps
// catalog.ErrNotFound if it is not here.
func (s *Store) Stat(d catalog.Digest) (Entry, error) {
	e, ok, err := s.index.get(d)
	if err != nil {
		return Entry{}, fmt.Errorf("blob %s: local index: %w", d, err)
	}
	if !ok {
		return Entry{}, fmt.Errorf("blob %s: not on this node: %w", d, catalog.ErrNotFound)
	}
	return e, nil
}

// Has reports whether the index lists the blob.
func (s *Store) Has(d catalog.Digest) bool {
	_, err := s.Stat(d)
	return err == nil
}

// Settle waits for a change of the blob that is under way. A removal that begins
// later has its check called later, so that what is promised after Settle is seen
// by it.
func (s *Store) Settle(d catalog.Digest) { s.locks.lock(d)() }

// OpenBlob opens the packed file; the caller closes it. A blob whose file has
// vanished is dropped from the index. The error wraps catalog.ErrNotFound if it
// is not here.
func (s *Store) OpenBlob(d catalog.Digest) (*os.File, Entry, error) {
	e, err := s.Stat(d)
	if err != nil {
		return nil, Entry{}, err
	}
	f, err := s.fs.Open(s.blobPath(d))
	if err == nil {
		return f, e, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, Entry{}, fmt.Errorf("blob %s: %w", d, err)
	}
	if err := s.forgetMissing(d); err != nil {
		return nil, Entry{}, err
	}
	return nil, Entry{}, fmt.Errorf("blob %s: its file has vanished from this node: %w", d, catalog.ErrNotFound)
}

// forgetMissing drops the entry of a blob that has no file.
func (s *Store) forgetMissing(d catalog.Digest) error {
	defer s.locks.lock(d)()
	if _, err := os.Lstat(s.blobPath(d)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.log.Warn("blob file has vanished", "blob", d)
	return s.index.update(change{digest: d})
}

// List returns up to limit entries in digest order, those after the given digest;
// the zero digest starts at the beginning.
func (s *Store) List(after catalog.Digest, limit int) ([]Entry, error) {
	return s.index.list(after, limit)
}

// Totals returns the number of blobs and the sum of their packed sizes.
func (s *Store) Totals() (blobs, bytes int64, err error) { return s.index.totals() }

// SetVerified notes that every packed byte of the copy was just compared with its
// hash. It does nothing if the copy is another one by now.
func (s *Store) SetVerified(d catalog.Digest, packed catalog.Packed) error {
	defer s.locks.lock(d)()
	e, ok, err := s.index.get(d)
	if err != nil || !ok || e.Packed != packed {
		return err
	}
	e.VerifiedAt = s.now()
	return s.index.update(change{d, &e})
}

// Remove deletes a blob; one that is not here is fine.
func (s *Store) Remove(d catalog.Digest) error {
	_, err := s.RemoveIf(d, func() (bool, error) { return true, nil })
	return err
}

// RemoveIf deletes a blob if check, called under the digest's lock, agrees. While
// check runs nobody can store the blob, and whoever stored it before has returned.
func (s *Store) RemoveIf(d catalog.Digest, check func() (bool, error)) (bool, error) {
	defer s.locks.lock(d)()
	ok, err := check()
	if err != nil || !ok {
		return false, err
	}
	if err := s.fs.Remove(s.blobPath(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("blob %s: %w", d, err)
	}
	return true, s.index.update(change{digest: d})
}

// Verify reads a whole blob and compares it with its hashes, without inflating.
// On success the time is noted. Errors wrap cab.ErrFormat or cab.ErrCorrupt if
// the copy is damaged, catalog.ErrNotFound if there is none; the store is left as
// it is.
func (s *Store) Verify(ctx context.Context, d catalog.Digest) (Entry, error) {
	f, e, err := s.OpenBlob(d)
	if err != nil {
		return Entry{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Entry{}, fmt.Errorf("blob %s: %w", d, err)
	}
	info, err := cab.Verify(ctx, f, st.Size())
	if err != nil {
		return Entry{}, fmt.Errorf("blob %s: %w", d, err)
	}
	if got := entryOf(info); got.Digest != d || got.Packed != e.Packed {
		return Entry{}, fmt.Errorf("blob %s: file holds blob %s packed as %s, index says %s: %w",
			d, got.Digest, got.Packed.SHA256, e.Packed.SHA256, cab.ErrCorrupt)
	}
	e.VerifiedAt = s.now()
	return e, s.SetVerified(d, e.Packed)
}

// now is the time as the index keeps it.
func (s *Store) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }

func entryOf(info cab.Info) Entry {
	return Entry{
		Digest:  info.RawSHA256,
		Packed:  catalog.Packed{SHA256: info.PackedSHA256, Size: info.PackedSize, Container: catalog.Container(info.Container)},
		RawSize: info.RawSize,
		Name:    info.Name,
	}
}

func randomName() string {
	var b [12]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
