package blobstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

var (
	blobsBucket = []byte("blobs") // digest -> entry
	storeBucket = []byte("store") // the keys below

	formatKey = []byte("format")
	cleanKey  = []byte("clean")  // "1" while no process has the store open
	epochKey  = []byte("epoch")  // this mark and the previous one, a line each
	totalsKey = []byte("totals") // number and packed bytes of all entries, u64 each
)

const localFormat = "1"

var errLocked = errors.New("another process uses this data directory; stop it first")

func openDB(path string) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o644, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	if errors.Is(err, bolt.ErrTimeout) {
		return nil, errLocked
	}
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, b := range [][]byte{blobsBucket, storeBucket} {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// index is the two buckets. Writers that arrive together share a transaction.
type index struct {
	db *bolt.DB

	writing chan struct{} // capacity 1: held over a transaction

	mu    sync.Mutex // guards queue
	queue []*write
}

func newIndex(db *bolt.DB) *index { return &index{db: db, writing: make(chan struct{}, 1)} }

type write struct {
	changes []change
	done    chan error
}

// change sets the entry of a digest, or drops it if there is none.
type change struct {
	digest catalog.Digest
	entry  *Entry
}

// update applies changes, durably when it returns. One writer at a time carries out what
// all have queued meanwhile. The others wait for that or for their turn, whatever comes
// first: one that only waited for its turn would come to it long after its changes were
// made, and let those behind it go one by one.
func (x *index) update(changes ...change) error {
	w := &write{changes, make(chan error, 1)}
	x.mu.Lock()
	x.queue = append(x.queue, w)
	x.mu.Unlock()
	select {
	case err := <-w.done:
		return err
	case x.writing <- struct{}{}:
	}
	x.commit()
	<-x.writing
	return <-w.done
}

// commit makes one transaction of everything queued. The caller holds x.writing.
func (x *index) commit() {
	x.mu.Lock()
	all := x.queue
	x.queue = nil
	x.mu.Unlock()
	if len(all) == 0 {
		return
	}
	err := x.db.Update(func(tx *bolt.Tx) error {
		for _, w := range all {
			for _, c := range w.changes {
				if err := apply(tx, c); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for _, w := range all {
		w.done <- err
	}
}

func apply(tx *bolt.Tx, c change) error {
	b, st := tx.Bucket(blobsBucket), tx.Bucket(storeBucket)
	n, size := decodeTotals(st.Get(totalsKey))
	if old := b.Get(c.digest[:]); old != nil {
		e, err := decodeEntry(c.digest, old)
		if err != nil {
			return err
		}
		n, size = n-1, size-e.Packed.Size
	}
	if c.entry == nil {
		if err := b.Delete(c.digest[:]); err != nil {
			return err
		}
	} else {
		n, size = n+1, size+c.entry.Packed.Size
		if err := b.Put(c.digest[:], encodeEntry(*c.entry)); err != nil {
			return err
		}
	}
	t := binary.BigEndian.AppendUint64(nil, uint64(n))
	return st.Put(totalsKey, binary.BigEndian.AppendUint64(t, uint64(size)))
}

func decodeTotals(b []byte) (n, size int64) {
	if len(b) != 16 {
		return 0, 0
	}
	return int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))
}

func (x *index) totals() (n, size int64, err error) {
	err = x.db.View(func(tx *bolt.Tx) error {
		n, size = decodeTotals(tx.Bucket(storeBucket).Get(totalsKey))
		return nil
	})
	return n, size, err
}

func (x *index) get(d catalog.Digest) (e Entry, ok bool, err error) {
	err = x.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(blobsBucket).Get(d[:])
		if b == nil {
			return nil
		}
		ok = true
		e, err = decodeEntry(d, b)
		return err
	})
	return e, ok && err == nil, err
}

func (x *index) list(after catalog.Digest, limit int) ([]Entry, error) {
	var out []Entry
	err := x.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(blobsBucket).Cursor()
		k, v := c.Seek(after[:])
		if k != nil && bytes.Equal(k, after[:]) {
			k, v = c.Next()
		}
		for ; k != nil && len(out) < limit; k, v = c.Next() {
			e, err := decodeEntry(catalog.Digest(k), v)
			if err != nil {
				return err
			}
			out = append(out, e)
		}
		return nil
	})
	return out, err
}

// shard returns the digests of one shard.
func (x *index) shard(sh shard) (map[catalog.Digest]bool, error) {
	out := make(map[catalog.Digest]bool)
	prefix := sh[:]
	err := x.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(blobsBucket).Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			out[catalog.Digest(k)] = true
		}
		return nil
	})
	return out, err
}

// dbState is what the index says of itself.
type dbState struct {
	valid           bool // it has this build's format
	clean           bool
	epoch, previous string
}

// knows reports whether the directory with that mark is the index's own.
func (s dbState) knows(mark string) bool {
	return mark != "" && (mark == s.epoch || mark == s.previous)
}

func (x *index) state() (s dbState, err error) {
	err = x.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(storeBucket)
		s.valid = string(b.Get(formatKey)) == localFormat
		s.clean = string(b.Get(cleanKey)) == "1"
		cur, prev, _ := bytes.Cut(b.Get(epochKey), []byte("\n"))
		s.epoch, s.previous = string(cur), string(prev)
		return nil
	})
	return s, err
}

func (x *index) open(epoch, previous string) error {
	return x.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(storeBucket)
		return errors.Join(
			b.Put(formatKey, []byte(localFormat)),
			b.Put(cleanKey, []byte("0")),
			b.Put(epochKey, []byte(epoch+"\n"+previous)))
	})
}

func (x *index) close() error {
	return x.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(storeBucket).Put(cleanKey, []byte("1")) })
}

// clear drops every entry.
func (x *index) clear() error {
	return x.db.Update(func(tx *bolt.Tx) error {
		if err := tx.DeleteBucket(blobsBucket); err != nil {
			return err
		}
		if err := tx.Bucket(storeBucket).Delete(totalsKey); err != nil {
			return err
		}
		_, err := tx.CreateBucket(blobsBucket)
		return err
	})
}

// entryV1 is: format byte 1, container byte ('c' or 'g'), packed SHA-256, then
// i64 big-endian each: packed size, raw size, stored and verified in Unix
// milliseconds; then the name.
const (
	entryV1    = 1
	entryFixed = 2 + 32 + 4*8
)

func encodeEntry(e Entry) []byte {
	b := make([]byte, 0, entryFixed+len(e.Name))
	kind := byte('c')
	if e.Packed.Container == catalog.ContainerGzip {
		kind = 'g'
	}
	b = append(b, entryV1, kind)
	b = append(b, e.Packed.SHA256[:]...)
	for _, v := range []int64{e.Packed.Size, e.RawSize, e.StoredAt.UnixMilli(), e.VerifiedAt.UnixMilli()} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return append(b, e.Name...)
}

func decodeEntry(d catalog.Digest, b []byte) (Entry, error) {
	if len(b) < entryFixed || b[0] != entryV1 {
		return Entry{}, fmt.Errorf("local index: entry of blob %s has %d bytes and format %d, wanted at least %d and %d; remove local.db to rebuild it",
			d, len(b), append(b, 0)[0], entryFixed, entryV1)
	}
	e := Entry{Digest: d, Packed: catalog.Packed{SHA256: catalog.Digest(b[2:34]), Container: catalog.ContainerCab}}
	if b[1] == 'g' {
		e.Packed.Container = catalog.ContainerGzip
	}
	num := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[34+8*i:])) }
	e.Packed.Size, e.RawSize = num(0), num(1)
	e.StoredAt, e.VerifiedAt = time.UnixMilli(num(2)).UTC(), time.UnixMilli(num(3)).UTC()
	e.Name = string(b[entryFixed:])
	return e, nil
}
