package raftfsm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"symkeep/internal/catalog"
)

// A backup file is a header, a snapshot of the catalog, the list of the blobs that
// it refers to, and a SHA-256 over all of it. FORMAT.md has the layout.
const (
	backupMagic   = "SYMKBKUP"
	backupVersion = 1
	backupHeadLen = 168 + sha256.Size
	backupBlobLen = 32 + 32 + 8 + 8 + 8 + 1
)

// ErrBackup is wrapped by every error about the bytes of a backup file.
var ErrBackup = errors.New("backup file cannot be used")

// A BackupInfo is what a backup file says of itself.
type BackupInfo struct {
	Schema       int
	Feature      int
	ClusterID    catalog.ClusterID // at most 64 bytes are kept
	AppliedIndex uint64
	AppliedTerm  uint64
	Hash         catalog.Digest
	Created      time.Time // to the millisecond
	SnapshotSize int64     // of the catalog inside, in bytes
	Blobs        int64     // referenced, packed ones
	BlobBytes    int64     // their packed bytes; they are not in the file
}

// Size is the size of the whole file.
func (i BackupInfo) Size() int64 {
	return backupHeadLen + i.SnapshotSize + i.Blobs*backupBlobLen + sha256.Size
}

// A BackupBlob is one blob that the catalog of a backup needs.
type BackupBlob struct {
	Digest  catalog.Digest
	Gen     uint64
	RawSize int64
	Packed  catalog.Packed
}

func (i BackupInfo) encode() []byte {
	b := append(make([]byte, 0, backupHeadLen), backupMagic...)
	b = binary.BigEndian.AppendUint32(b, backupVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(i.Schema))
	b = binary.BigEndian.AppendUint64(b, uint64(i.Feature))
	for _, v := range []uint64{i.AppliedIndex, i.AppliedTerm, uint64(i.Created.UnixMilli()), uint64(i.SnapshotSize), uint64(i.Blobs), uint64(i.BlobBytes)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = append(b, i.Hash[:]...)
	var id [64]byte
	copy(id[:], i.ClusterID)
	b = append(b, id[:]...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func decodeBackupInfo(b []byte) (BackupInfo, error) {
	u32, u64 := binary.BigEndian.Uint32, binary.BigEndian.Uint64
	if string(b[:8]) != backupMagic {
		return BackupInfo{}, fmt.Errorf("begins with %q, wanted %q: this is no backup of symkeep: %w", b[:8], backupMagic, ErrBackup)
	}
	if v := u32(b[8:]); v != backupVersion {
		return BackupInfo{}, fmt.Errorf("version %d, this build reads %d; use the version that wrote it: %w", v, backupVersion, ErrBackup)
	}
	if got, want := sha256.Sum256(b[:168]), b[168:backupHeadLen]; !bytes.Equal(got[:], want) {
		return BackupInfo{}, fmt.Errorf("header has sha256 %x, it says %x: the file is damaged, use another backup: %w", got, want, ErrBackup)
	}
	i := BackupInfo{Schema: int(u32(b[12:])), Feature: int(u64(b[16:])), AppliedIndex: u64(b[24:]), AppliedTerm: u64(b[32:]),
		Created: time.UnixMilli(int64(u64(b[40:]))).UTC(), SnapshotSize: int64(u64(b[48:])), Blobs: int64(u64(b[56:])), BlobBytes: int64(u64(b[64:])),
		Hash: catalog.Digest(b[72:104]), ClusterID: catalog.ClusterID(bytes.TrimRight(b[104:168], "\x00"))}
	const most = math.MaxInt64 / 1024
	switch {
	case i.Schema != schemaVersion || i.Feature < 1 || i.Feature > MaxFeature:
		return i, fmt.Errorf("schema %d and feature level %d, this build reads %d and levels to %d; use the version that wrote it, or a newer one: %w",
			i.Schema, i.Feature, schemaVersion, MaxFeature, ErrBackup)
	case i.SnapshotSize < snapshotHeadLen || i.SnapshotSize > most || i.Blobs < 0 || i.Blobs > most:
		return i, fmt.Errorf("catalog of %d bytes and %d blobs: out of bounds: %w", i.SnapshotSize, i.Blobs, ErrBackup)
	}
	return i, nil
}

// A Backup is the catalog as it was at one index, ready to be written. It holds a
// read transaction: close it.
type Backup struct {
	snap *snapshot
	head *head
	info BackupInfo
}

// Backup begins a backup of the catalog as it is now.
func (f *FSM) Backup(created time.Time) (*Backup, error) {
	snap, err := f.Snapshot()
	if err != nil {
		return nil, err
	}
	b := &Backup{snap: snap.(*snapshot)}
	if b.head, err = loadHead(b.snap.tx); err != nil {
		b.Close()
		return nil, err
	}
	h := b.head
	b.info = BackupInfo{Schema: h.Schema, Feature: h.Feature, ClusterID: h.ClusterID, AppliedIndex: h.AppliedIndex, AppliedTerm: h.AppliedTerm,
		Hash: h.Hash, Created: created.UTC().Truncate(time.Millisecond), SnapshotSize: snapshotHeadLen + b.snap.tx.Size() + sha256.Size}
	err = b.each(func(_ catalog.Digest, r *blobRow) error {
		b.info.Blobs++
		b.info.BlobBytes += r.packed.Size
		return nil
	})
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Info says what the backup will hold.
func (b *Backup) Info() BackupInfo { return b.info }

// Close ends the transaction. It may be called while WriteTo fails, not while it
// runs.
func (b *Backup) Close() { b.snap.Release() }

// each calls fn for every referenced, packed blob in digest order. A row that cannot be
// read is an error that wraps ErrDamaged and catalog.ErrUnavailable: another member's
// catalog is sound.
func (b *Backup) each(fn func(d catalog.Digest, r *blobRow) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("backup: a row cannot be read: %v: %w: %w", r, ErrDamaged, catalog.ErrUnavailable)
		}
	}()
	return b.snap.tx.Bucket(bucketBlobs).ForEach(func(k, v []byte) error {
		if r := mustBlob(v); r.refs > 0 && r.isPacked() {
			return fn(catalog.Digest(k), r)
		}
		return nil
	})
}

// WriteTo writes the backup file, Info().Size() bytes. It is called once.
func (b *Backup) WriteTo(w io.Writer) (int64, error) {
	sum := sha256.New()
	counted := &counter{w: w}
	out := bufio.NewWriterSize(io.MultiWriter(counted, sum), 256<<10)
	_, err := out.Write(b.info.encode())
	if err == nil {
		err = writeSnapshotOf(out, b.snap.tx, b.head)
	}
	if err == nil {
		err = b.each(func(d catalog.Digest, r *blobRow) error {
			_, err := out.Write(BackupBlob{d, r.gen, r.rawSize, r.packed}.encode())
			return err
		})
	}
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		_, err = counted.Write(sum.Sum(nil))
	}
	if err != nil {
		return counted.n, fmt.Errorf("backup: %w", err)
	}
	return counted.n, nil
}

type counter struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (b BackupBlob) encode() []byte {
	row := append(make([]byte, 0, backupBlobLen), b.Digest[:]...)
	row = append(row, b.Packed.SHA256[:]...)
	row = binary.BigEndian.AppendUint64(row, b.Gen)
	row = binary.BigEndian.AppendUint64(row, uint64(b.RawSize))
	row = binary.BigEndian.AppendUint64(row, uint64(b.Packed.Size))
	return append(row, byte(slices.Index(containers, b.Packed.Container)+1))
}

func decodeBackupBlob(row []byte) (BackupBlob, error) {
	u64 := binary.BigEndian.Uint64
	b := BackupBlob{Digest: catalog.Digest(row[:32]), Gen: u64(row[64:]), RawSize: int64(u64(row[72:])),
		Packed: catalog.Packed{SHA256: catalog.Digest(row[32:64]), Size: int64(u64(row[80:]))}}
	c := int(row[88])
	if c < 1 || c > len(containers) || b.RawSize < 0 || b.Packed.Size < 1 {
		return b, fmt.Errorf("blob %s: container %d, %d bytes packed into %d: the file is damaged, use another backup: %w",
			b.Digest, c, b.RawSize, b.Packed.Size, ErrBackup)
	}
	b.Packed.Container = containers[c-1]
	return b, nil
}

// A BackupReader reads a backup file from its beginning: the header, then the
// catalog, then the blobs. Nothing that it gave counts before Next has returned
// io.EOF, because only the end of the file vouches for the rest.
type BackupReader struct {
	info  BackupInfo
	in    *bufio.Reader
	sum   hash.Hash
	read  int64
	snap  io.LimitedReader // what is left of the catalog
	blobs int64            // that are left
}

// ReadBackup reads the header of a backup file. Its errors, and those of the
// BackupReader, wrap ErrBackup unless they are r's own.
func ReadBackup(r io.Reader) (*BackupReader, error) {
	b := &BackupReader{in: bufio.NewReaderSize(r, 256<<10), sum: sha256.New()}
	head := make([]byte, backupHeadLen)
	if err := b.fill(head); err != nil {
		return nil, err
	}
	info, err := decodeBackupInfo(head)
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	b.info, b.blobs = info, info.Blobs
	b.snap = io.LimitedReader{R: readerFunc(b.some), N: info.SnapshotSize}
	return b, nil
}

type readerFunc func(p []byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// some reads bytes that count for the hash.
func (b *BackupReader) some(p []byte) (int, error) {
	n, err := b.in.Read(p)
	b.sum.Write(p[:n])
	b.read += int64(n)
	if err == io.EOF {
		err = b.cut()
	}
	return n, err
}

func (b *BackupReader) fill(p []byte) error {
	_, err := io.ReadFull(readerFunc(b.some), p)
	return err
}

func (b *BackupReader) cut() error {
	want := int64(backupHeadLen)
	if b.info.SnapshotSize > 0 {
		want = b.info.Size()
	}
	return fmt.Errorf("backup: ends after %d bytes, wanted %d: it was cut short, save it again or use another one: %w", b.read, want, ErrBackup)
}

// Catalog returns the snapshot of the catalog, to be read before Next is called:
// what is left of it then is skipped.
func (b *BackupReader) Catalog() io.Reader { return &b.snap }

// Next returns one blob after the other, in digest order. At the end it returns
// io.EOF if the file is whole and ends there.
func (b *BackupReader) Next() (BackupBlob, error) {
	if b.snap.N > 0 {
		if _, err := io.Copy(io.Discard, &b.snap); err != nil {
			return BackupBlob{}, err
		}
	}
	if b.blobs == 0 {
		return BackupBlob{}, b.end()
	}
	b.blobs--
	var row [backupBlobLen]byte
	if err := b.fill(row[:]); err != nil {
		return BackupBlob{}, err
	}
	blob, err := decodeBackupBlob(row[:])
	if err != nil {
		return blob, fmt.Errorf("backup: %w", err)
	}
	return blob, nil
}

func (b *BackupReader) end() error {
	got := b.sum.Sum(nil)
	var want [sha256.Size]byte
	if err := b.fill(want[:]); err != nil {
		return err
	}
	if !bytes.Equal(got, want[:]) {
		return fmt.Errorf("backup: has sha256 %x, its end says %x: the file is damaged, use another backup: %w", got, want, ErrBackup)
	}
	switch _, err := b.in.ReadByte(); {
	case err == nil:
		return fmt.Errorf("backup: goes on after its end at %d bytes: the file is damaged, use another backup: %w", b.read, ErrBackup)
	case err != io.EOF:
		return err
	}
	return io.EOF
}

// VerifyBackup reads a whole backup file and calls each, unless it is nil, for
// every blob. What each was told counts only if the error is nil.
func VerifyBackup(r io.Reader, each func(BackupBlob) error) (BackupInfo, error) {
	b, err := ReadBackup(r)
	if err != nil {
		return BackupInfo{}, err
	}
	info, err := ReadSnapshotInfo(b.Catalog())
	if err == nil && (info.AppliedIndex != b.info.AppliedIndex || info.ClusterID != b.info.ClusterID || info.Hash != b.info.Hash) {
		err = fmt.Errorf("catalog of cluster %s at log index %d, the header says %s at %d", info.ClusterID, info.AppliedIndex, b.info.ClusterID, b.info.AppliedIndex)
	}
	if err != nil && !errors.Is(err, ErrBackup) {
		err = fmt.Errorf("backup: %w: use another backup: %w", err, ErrBackup)
	}
	for err == nil {
		var blob BackupBlob
		if blob, err = b.Next(); err == nil && each != nil {
			err = each(blob)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return b.info, err
}

var _ io.WriterTo = (*Backup)(nil)
