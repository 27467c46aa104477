package raftfsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/hashicorp/raft"
	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
	"symkeep/internal/fault"
)

// A snapshot is a header, the bytes of the database file as one transaction sees
// it, and the SHA-256 of both. FORMAT.md has the layout.
const (
	snapshotMagic   = "SYMKSNAP"
	snapshotVersion = 1
	snapshotHeadLen = 8 + 4 + 4 + 8 + 8 + 8 + 32 + 64
	restoreSuffix   = ".new"
)

// ErrSnapshot is wrapped by every error about the bytes of a snapshot.
var ErrSnapshot = errors.New("malformed snapshot")

// A SnapshotInfo is what a snapshot says of itself.
type SnapshotInfo struct {
	Schema       int
	Size         int64 // of the database inside, in bytes
	AppliedIndex uint64
	AppliedTerm  uint64
	Hash         catalog.Digest
	ClusterID    catalog.ClusterID // at most 64 bytes are kept
}

// Same reports whether a catalog file holds exactly the snapshot's state.
func (s SnapshotInfo) Same(i Info) bool {
	return s.AppliedIndex == i.AppliedIndex && s.Hash == i.Hash && s.ClusterID == i.ClusterID
}

func (s SnapshotInfo) encode() []byte {
	b := append(make([]byte, 0, snapshotHeadLen), snapshotMagic...)
	b = binary.BigEndian.AppendUint32(b, snapshotVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(s.Schema))
	b = binary.BigEndian.AppendUint64(b, uint64(s.Size))
	b = binary.BigEndian.AppendUint64(b, s.AppliedIndex)
	b = binary.BigEndian.AppendUint64(b, s.AppliedTerm)
	b = append(b, s.Hash[:]...)
	var id [64]byte
	copy(id[:], s.ClusterID)
	return append(b, id[:]...)
}

// ReadSnapshotInfo reads the header at the start of a snapshot. Errors wrap
// ErrSnapshot.
func ReadSnapshotInfo(r io.Reader) (SnapshotInfo, error) {
	b := make([]byte, snapshotHeadLen)
	if _, err := io.ReadFull(r, b); err != nil {
		return SnapshotInfo{}, fmt.Errorf("snapshot header: %w: %w", err, ErrSnapshot)
	}
	u32, u64 := binary.BigEndian.Uint32, binary.BigEndian.Uint64
	if v := u32(b[8:]); string(b[:8]) != snapshotMagic || v != snapshotVersion {
		return SnapshotInfo{}, fmt.Errorf("snapshot begins with %q version %d, wanted %q version %d: %w",
			b[:8], v, snapshotMagic, snapshotVersion, ErrSnapshot)
	}
	s := SnapshotInfo{Schema: int(u32(b[12:])), Size: int64(u64(b[16:])), AppliedIndex: u64(b[24:]), AppliedTerm: u64(b[32:]),
		Hash: catalog.Digest(b[40:72]), ClusterID: catalog.ClusterID(bytes.TrimRight(b[72:136], "\x00"))}
	if s.Schema != schemaVersion || s.Size < 1 || s.Size > math.MaxInt64/2 {
		return SnapshotInfo{}, fmt.Errorf("snapshot of schema %d, %d bytes; this build reads schema %d: %w", s.Schema, s.Size, schemaVersion, ErrSnapshot)
	}
	return s, nil
}

// Snapshot implements raft.FSM: it opens a read transaction, Persist writes what
// that sees while Apply goes on.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	f.swap.RLock()
	defer f.swap.RUnlock()
	if f.db == nil {
		return nil, ErrClosed
	}
	tx, err := f.db.Begin(false)
	if err != nil {
		return nil, fmt.Errorf("catalog %s: %w", f.path, err)
	}
	return &snapshot{tx}, nil
}

type snapshot struct{ tx *bolt.Tx }

// Persist implements raft.FSMSnapshot.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := writeSnapshot(sink, s.tx); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return err
	}
	fault.Point("snapshot-persisted")
	return nil
}

// Release implements raft.FSMSnapshot.
func (s *snapshot) Release() { _ = s.tx.Rollback() } // the only error is a second Release

// WriteSnapshot writes a snapshot of the catalog as it is now, for backups. It
// holds a read transaction until it returns.
func (f *FSM) WriteSnapshot(w io.Writer) error {
	s, err := f.Snapshot()
	if err != nil {
		return err
	}
	defer s.Release()
	return writeSnapshot(w, s.(*snapshot).tx)
}

func writeSnapshot(w io.Writer, tx *bolt.Tx) error {
	h, err := loadHead(tx)
	if err != nil {
		return err
	}
	return writeSnapshotOf(w, tx, h)
}

func writeSnapshotOf(w io.Writer, tx *bolt.Tx, h *head) error {
	sum := sha256.New()
	out := io.MultiWriter(w, sum)
	info := SnapshotInfo{Schema: h.Schema, Size: tx.Size(), AppliedIndex: h.AppliedIndex, AppliedTerm: h.AppliedTerm,
		Hash: h.Hash, ClusterID: h.ClusterID}
	if _, err := out.Write(info.encode()); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if _, err := tx.WriteTo(out); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if _, err := w.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// Restore implements raft.FSM: the snapshot replaces the catalog. It goes to a file
// beside the catalog first, is verified and synced there, and takes its place by a
// rename; until then nothing changes, and a failed restore leaves the old catalog
// as it was. A snapshot older than the catalog is refused with catalog.ErrConflict:
// raft would install one that reaches it astray, and what has been answered from
// the newer state must stay true. Restore closes r.
func (f *FSM) Restore(r io.ReadCloser) (err error) {
	defer func() { err = errors.Join(err, r.Close()) }()
	fresh := f.path + restoreSuffix
	info, err := receive(fresh, r)
	fault.Point("restore-received")
	if err == nil {
		err = f.checkNewer(info)
	}
	if err != nil {
		return errors.Join(err, removeIfThere(fresh))
	}
	db, h, err := openRestored(fresh, info)
	if err != nil {
		return errors.Join(err, removeIfThere(fresh))
	}
	if err := f.replace(db, h, fresh); err != nil {
		return errors.Join(err, db.Close(), removeIfThere(fresh))
	}
	f.feed.lose()
	return nil
}

func (f *FSM) checkNewer(info SnapshotInfo) error {
	h := f.head.Load()
	if h.ClusterID == info.ClusterID && h.AppliedIndex > info.AppliedIndex {
		return fmt.Errorf("snapshot of log index %d: the catalog is at %d already: %w", info.AppliedIndex, h.AppliedIndex, catalog.ErrConflict)
	}
	return nil
}

// receive writes the database of a snapshot to path, checks its hash and syncs it.
func receive(path string, r io.Reader) (info SnapshotInfo, err error) {
	sum := sha256.New()
	info, err = ReadSnapshotInfo(io.TeeReader(r, sum))
	if err != nil {
		return info, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	n, err := io.CopyN(io.MultiWriter(file, sum), r, info.Size)
	if err != nil {
		return info, fmt.Errorf("snapshot: %d of %d bytes: %w: %w", n, info.Size, err, ErrSnapshot)
	}
	if err := checkTrailer(r, sum); err != nil {
		return info, err
	}
	return info, file.Sync()
}

func checkTrailer(r io.Reader, sum hash.Hash) error {
	var trailer [sha256.Size + 1]byte
	n, err := io.ReadFull(r, trailer[:])
	if n != sha256.Size || !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("snapshot trailer of %d bytes, wanted %d and the end: %w", n, sha256.Size, ErrSnapshot)
	}
	if got := sum.Sum(nil); !bytes.Equal(got, trailer[:n]) {
		return fmt.Errorf("snapshot has sha256 %x, its trailer says %x: %w", got, trailer[:n], ErrSnapshot)
	}
	return nil
}

// openRestored opens a received database and compares it with the header. Its hash
// says that it came as it was sent, not that it was sound there, and bbolt panics over
// pages that are not.
func openRestored(path string, info SnapshotInfo) (db *bolt.DB, h *head, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("snapshot: the file inside is damaged: %v: %w", r, ErrSnapshot)
			if db != nil {
				err = errors.Join(err, db.Close())
			}
			db, h = nil, nil
		}
	}()
	db, err = openDB(path)
	if err != nil {
		return nil, nil, fmt.Errorf("snapshot: %w: %w", err, ErrSnapshot)
	}
	err = db.View(func(tx *bolt.Tx) error {
		h, err = loadHead(tx)
		return err
	})
	if err == nil && (h.AppliedIndex != info.AppliedIndex || h.Hash != info.Hash) {
		err = fmt.Errorf("snapshot holds log index %d, its header says %d", h.AppliedIndex, info.AppliedIndex)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("snapshot: %w: %w", err, ErrSnapshot), db.Close())
	}
	return db, h, nil
}

// replace puts db, open under the name fresh, in the catalog's place. Readers that
// began before see the old state to their end.
func (f *FSM) replace(db *bolt.DB, h *head, fresh string) error {
	f.swap.Lock()
	defer f.swap.Unlock()
	if f.db == nil {
		return ErrClosed
	}
	if err := os.Rename(fresh, f.path); err != nil {
		return err
	}
	old := f.db
	f.db = db
	f.sights.close()
	f.contents.reset()
	f.publish(h)
	f.retired.Go(func() { _ = old.Close() }) // waits for a snapshot under way; nothing was left to write
	return syncDir(filepath.Dir(f.path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
