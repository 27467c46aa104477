package replication

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

// The queue's buckets in local.db, version 1: "resync-items" maps a digest to its
// due time, the packed bytes this node misses (0 if it misses none) and the number
// of failed attempts; "resync-due" orders the same items as due time and digest.
// Due times are Unix milliseconds; times and bytes are u64, attempts u32, all
// big-endian. Losing the queue loses only the backoff: a full pass refills it.
var (
	itemsBucket = []byte("resync-items")
	dueBucket   = []byte("resync-due")
)

const (
	itemSize    = 20
	maxHurry    = 10_000
	firstRetry  = time.Second
	maxDoubling = 6 // 64 s
)

// queue is the durable list of blobs to look at. An item leaves it only when its
// work is done.
type queue struct {
	db *bolt.DB

	mu    sync.Mutex
	sizes queueSizes
}

// queueSizes counts the items, and those whose blob this node misses.
type queueSizes struct {
	items, missing int
	bytes          int64
}

func (s *queueSizes) count(i item, by int) {
	s.items += by
	if i.missing > 0 {
		s.missing += by
		s.bytes += int64(by) * i.missing
	}
}

// item is one blob's place in the queue.
type item struct {
	digest   catalog.Digest
	due      time.Time
	missing  int64 // packed bytes
	attempts int
}

// outcome is what became of one item; on error it is retried.
type outcome struct {
	digest catalog.Digest
	err    error
}

func openQueue(db *bolt.DB) (*queue, error) {
	q := &queue{db: db}
	return q, db.Update(func(tx *bolt.Tx) error {
		items, err := tx.CreateBucketIfNotExists(itemsBucket)
		_, err2 := tx.CreateBucketIfNotExists(dueBucket)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		return items.ForEach(func(k, v []byte) error {
			i, err := decodeItem(k, v)
			q.sizes.count(i, 1)
			return err
		})
	})
}

func (i item) dueKey() []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(i.due.UnixMilli())), i.digest[:]...)
}

func (i item) encode() []byte {
	v := binary.BigEndian.AppendUint64(nil, uint64(i.due.UnixMilli()))
	v = binary.BigEndian.AppendUint64(v, uint64(i.missing))
	return binary.BigEndian.AppendUint32(v, uint32(i.attempts))
}

func decodeItem(k, v []byte) (item, error) {
	if len(k) != len(catalog.Digest{}) || len(v) != itemSize {
		return item{}, fmt.Errorf("queue item of %d and %d bytes, wanted 32 and %d; remove local.db to rebuild it", len(k), len(v), itemSize)
	}
	return item{
		digest:   catalog.Digest(k),
		due:      time.UnixMilli(int64(binary.BigEndian.Uint64(v))),
		missing:  int64(binary.BigEndian.Uint64(v[8:])),
		attempts: int(binary.BigEndian.Uint32(v[16:])),
	}, nil
}

// queueTx is one change of the queue and of its sizes.
type queueTx struct {
	items, due *bolt.Bucket
	sizes      queueSizes
}

func (t *queueTx) get(d catalog.Digest) (item, bool, error) {
	v := t.items.Get(d[:])
	if v == nil {
		return item{}, false, nil
	}
	i, err := decodeItem(d[:], v)
	return i, err == nil, err
}

func (t *queueTx) remove(d catalog.Digest) error {
	old, ok, err := t.get(d)
	if err != nil || !ok {
		return err
	}
	t.sizes.count(old, -1)
	return errors.Join(t.due.Delete(old.dueKey()), t.items.Delete(d[:]))
}

func (t *queueTx) put(i item) error {
	if err := t.remove(i.digest); err != nil {
		return err
	}
	t.sizes.count(i, 1)
	return errors.Join(t.items.Put(i.digest[:], i.encode()), t.due.Put(i.dueKey(), nil))
}

// offer adds items, due now, unless they are there already.
func (q *queue) offer(now time.Time, items []item) error {
	if len(items) == 0 {
		return nil
	}
	return q.db.Update(func(tx *bolt.Tx) error {
		t := queueTx{tx.Bucket(itemsBucket), tx.Bucket(dueBucket), q.size()}
		for _, i := range items {
			if t.items.Get(i.digest[:]) != nil {
				continue
			}
			i.due = now
			if err := t.put(i); err != nil {
				return err
			}
		}
		tx.OnCommit(func() { q.setSize(t.sizes) })
		return nil
	})
}

// change settles outcomes and adds items, due now, in one transaction. An item
// that was there keeps its attempts.
func (q *queue) change(now time.Time, add []item, done []outcome) error {
	if len(add)+len(done) == 0 {
		return nil
	}
	return q.db.Update(func(tx *bolt.Tx) error {
		// There is one writing transaction at a time, so the sizes stand still.
		t := queueTx{tx.Bucket(itemsBucket), tx.Bucket(dueBucket), q.size()}
		for _, o := range done {
			if err := t.settle(now, o); err != nil {
				return err
			}
		}
		for _, i := range add {
			old, _, err := t.get(i.digest)
			if err != nil {
				return err
			}
			i.due, i.attempts = now, old.attempts
			if err := t.put(i); err != nil {
				return err
			}
		}
		tx.OnCommit(func() { q.setSize(t.sizes) })
		return nil
	})
}

func (t *queueTx) settle(now time.Time, o outcome) error {
	old, ok, err := t.get(o.digest)
	switch {
	case err != nil:
		return err
	case o.err == nil:
		return t.remove(o.digest)
	case !ok:
		old.digest = o.digest
	}
	old.due = now.Add(backoff(old.attempts))
	old.attempts++
	return t.put(old)
}

// backoff returns 1 s doubled per attempt up to 64 s, a quarter more or less.
func backoff(attempts int) time.Duration {
	d := firstRetry << min(attempts, maxDoubling)
	return d - d/4 + rand.N(d/2)
}

// take returns up to n items that are due and not skipped, and when the next one
// will be; the zero time if there is none.
func (q *queue) take(now time.Time, n int, skip map[catalog.Digest]bool) (items []item, next time.Time, err error) {
	err = q.db.View(func(tx *bolt.Tx) error {
		t := queueTx{items: tx.Bucket(itemsBucket), due: tx.Bucket(dueBucket)}
		c := t.due.Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			if len(k) != 8+len(catalog.Digest{}) {
				return fmt.Errorf("queue key of %d bytes, wanted 40; remove local.db to rebuild it", len(k))
			}
			d := catalog.Digest(k[8:])
			if skip[d] {
				continue
			}
			at := time.UnixMilli(int64(binary.BigEndian.Uint64(k)))
			if at.After(now) || len(items) == n {
				next = at
				return nil
			}
			i, _, err := t.get(d)
			if err != nil {
				return err
			}
			i.digest = d
			items = append(items, i)
		}
		return nil
	})
	return items, next, err
}

// hurry makes up to maxHurry items due now.
func (q *queue) hurry(now time.Time) error {
	return q.db.Update(func(tx *bolt.Tx) error {
		t := queueTx{tx.Bucket(itemsBucket), tx.Bucket(dueBucket), q.size()}
		var later []item
		c := t.due.Cursor()
		from := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli())+1)
		for k, _ := c.Seek(from); len(k) == 8+len(catalog.Digest{}) && len(later) < maxHurry; k, _ = c.Next() {
			i, ok, err := t.get(catalog.Digest(k[8:]))
			if err != nil {
				return err
			}
			if ok {
				later = append(later, i)
			}
		}
		for _, i := range later {
			i.due = now
			if err := t.put(i); err != nil {
				return err
			}
		}
		return nil
	})
}

func (q *queue) size() queueSizes {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.sizes
}

func (q *queue) setSize(s queueSizes) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sizes = s
}
