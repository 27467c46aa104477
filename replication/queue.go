package replication

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

// The queue's buckets in local.db, version 2: "resync-items-2" maps a digest to its
// due time, the packed bytes this node misses (0 if it misses none), the number of
// failed attempts and the rank; "resync-due-2" orders the same items as rank, due
// time and digest. Due times are Unix milliseconds; times and bytes are u64, attempts
// u32, ranks u8, all big-endian. Losing the queue loses only the backoff: a full pass
// refills it. Version 1, without ranks, is dropped.
var (
	itemsBucket = []byte("resync-items-2")
	dueBucket   = []byte("resync-due-2")
	oldBuckets  = [][]byte{[]byte("resync-items"), []byte("resync-due")}
)

// Ranks order what is due: blobs to be brought here by the number of their live
// copies while that is below what it should be, then those that only move. In lanes
// of their own are blobs without a live copy, which most attempts do not bring, and
// what is done without bringing anything.
const (
	rankMoves  = 0xf0
	rankLost   = 0xf8
	rankChores = 0xff
)

const (
	itemSize    = 21
	dueKeySize  = 1 + 8 + len(catalog.Digest{})
	maxHurry    = 10_000
	firstRetry  = time.Second
	maxDoubling = 6 // 64 s
)

// longestWait is the most that an item waits. One due later is due now: the wall
// clock has been set back.
const longestWait = firstRetry << maxDoubling * 5 / 4

// queue is the durable list of blobs to look at. An item leaves it only when its
// work is done.
type queue struct {
	db *bolt.DB

	writing sync.Mutex // held over a transaction and what follows its commit

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
	rank     byte
}

// outcome is what became of one item; on error it is retried. One that turned out to
// be for the other lane goes there.
type outcome struct {
	digest catalog.Digest
	err    error
	moved  *item
}

func openQueue(db *bolt.DB) (*queue, error) {
	q := &queue{db: db}
	return q, db.Update(func(tx *bolt.Tx) error {
		for _, b := range oldBuckets {
			if tx.Bucket(b) == nil {
				continue
			}
			if err := tx.DeleteBucket(b); err != nil {
				return err
			}
		}
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
	return append(binary.BigEndian.AppendUint64([]byte{i.rank}, uint64(i.due.UnixMilli())), i.digest[:]...)
}

func (i item) encode() []byte {
	v := binary.BigEndian.AppendUint64(nil, uint64(i.due.UnixMilli()))
	v = binary.BigEndian.AppendUint64(v, uint64(i.missing))
	return append(binary.BigEndian.AppendUint32(v, uint32(i.attempts)), i.rank)
}

func decodeItem(k, v []byte) (item, error) {
	if len(k) != len(catalog.Digest{}) || len(v) != itemSize {
		return item{}, fmt.Errorf("queue item of %d and %d bytes, wanted 32 and %d; stop the node and remove local.db to rebuild it", len(k), len(v), itemSize)
	}
	return item{
		digest:   catalog.Digest(k),
		due:      time.UnixMilli(int64(binary.BigEndian.Uint64(v))),
		missing:  int64(binary.BigEndian.Uint64(v[8:])),
		attempts: int(binary.BigEndian.Uint32(v[16:])),
		rank:     v[20],
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

// offer adds items, due now. Those that are there already keep their place in time
// and take the new rank.
func (q *queue) offer(now time.Time, items []item) error {
	if len(items) == 0 {
		return nil
	}
	return q.update(func(t *queueTx) error {
		for _, i := range items {
			old, ok, err := t.get(i.digest)
			if err != nil {
				return err
			}
			if ok && old.rank == i.rank && old.missing == i.missing {
				continue
			}
			i.due = now
			if ok {
				i.due, i.attempts = old.due, old.attempts
			}
			if err := t.put(i); err != nil {
				return err
			}
		}
		return nil
	})
}

// change settles outcomes and adds items, due now, in one transaction. An item
// that was there keeps its attempts.
func (q *queue) change(now time.Time, add []item, done []outcome) error {
	if len(add)+len(done) == 0 {
		return nil
	}
	return q.update(func(t *queueTx) error {
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
		return nil
	})
}

func (t *queueTx) settle(now time.Time, o outcome) error {
	old, ok, err := t.get(o.digest)
	switch {
	case err != nil:
		return err
	case o.moved != nil:
		i := *o.moved
		i.due, i.attempts = now, old.attempts
		return t.put(i)
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

// A lane is a range of ranks.
type lane struct{ from, to byte }

var (
	pullLane  = lane{0, rankLost - 1}
	lostLane  = lane{rankLost, rankChores - 1}
	choreLane = lane{rankChores, 0xff}
)

func laneOf(rank byte) lane {
	return lanes[slices.IndexFunc(lanes[:], func(l lane) bool { return l.has(rank) })]
}

func (l lane) has(rank byte) bool { return l.from <= rank && rank <= l.to }

// among returns those of the digests that have an item.
func (q *queue) among(digests []catalog.Digest) (out []catalog.Digest, err error) {
	if len(digests) == 0 || q.size().items == 0 {
		return nil, nil
	}
	err = q.db.View(func(tx *bolt.Tx) error {
		items := tx.Bucket(itemsBucket)
		for _, d := range digests {
			if items.Get(d[:]) != nil {
				out = append(out, d)
			}
		}
		return nil
	})
	return out, err
}

// take returns up to n items of a lane that are due and not skipped, the lowest rank
// first, and how long until another one may be; a negative time if there is none.
func (q *queue) take(now time.Time, l lane, n int, skip map[catalog.Digest]bool) (items []item, wait time.Duration, err error) {
	wait = -1
	err = q.db.View(func(tx *bolt.Tx) error {
		t := queueTx{items: tx.Bucket(itemsBucket), due: tx.Bucket(dueBucket)}
		c := t.due.Cursor()
		k, _ := c.Seek([]byte{l.from})
		for k != nil && k[0] <= l.to {
			if len(k) != dueKeySize {
				return fmt.Errorf("queue key of %d bytes, wanted %d; stop the node and remove local.db to rebuild it", len(k), dueKeySize)
			}
			d := catalog.Digest(k[9:])
			later := time.UnixMilli(int64(binary.BigEndian.Uint64(k[1:]))).Sub(now)
			switch {
			case skip[d]:
				k, _ = c.Next()
			case later > 0 && later <= longestWait:
				if wait < 0 || later < wait {
					wait = later
				}
				// The next that may be due: of this rank, what the clock has left behind.
				k, _ = c.Seek(item{rank: k[0], due: now.Add(longestWait + time.Millisecond)}.dueKey())
			case len(items) == n:
				wait = 0
				return nil
			default:
				i, ok, err := t.get(d)
				if err != nil {
					return err
				}
				if ok {
					items = append(items, i)
				}
				k, _ = c.Next()
			}
		}
		return nil
	})
	return items, wait, err
}

// hurry makes up to maxHurry items due now.
func (q *queue) hurry(now time.Time) error {
	return q.update(func(t *queueTx) error {
		var later []item
		c := t.due.Cursor()
		for k, _ := c.First(); len(k) == dueKeySize && len(later) < maxHurry; {
			if !time.UnixMilli(int64(binary.BigEndian.Uint64(k[1:]))).After(now) { // on to those of its rank that wait
				k, _ = c.Seek(item{rank: k[0], due: now.Add(time.Millisecond)}.dueKey())
				continue
			}
			i, ok, err := t.get(catalog.Digest(k[9:]))
			if err != nil {
				return err
			}
			if ok {
				later = append(later, i)
			}
			k, _ = c.Next()
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

// update runs fn in a transaction of its own and takes over the sizes it leaves.
func (q *queue) update(fn func(*queueTx) error) error {
	q.writing.Lock()
	defer q.writing.Unlock()
	t := queueTx{sizes: q.size()}
	err := q.db.Update(func(tx *bolt.Tx) error {
		t.items, t.due = tx.Bucket(itemsBucket), tx.Bucket(dueBucket)
		return fn(&t)
	})
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sizes = t.sizes
	return nil
}
