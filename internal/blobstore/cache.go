package blobstore

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"symkeep/internal/catalog"
)

// trustTime is how long bytes are given out after they were checked. Cached files
// carry no checksums of their own, so an older one, and one that an earlier process
// left, is made again from the packed blob.
const trustTime = 15 * time.Minute

// A Form says which bytes of a blob a cached file has.
type Form string

// Forms, which end the names of their files.
const (
	FormRaw    Form = "raw"
	FormGzip   Form = "gz"     // of the gzip answer, cut out of a cabinet
	FormPacked Form = "packed" // of a blob that other nodes hold
)

// A Cache keeps bytes of blobs that are asked for often, as files in one directory,
// within a bound. What is evicted while open stays readable. Nothing in it is durable,
// everything in it can be made again. Close it. Safe for concurrent use.
type Cache struct {
	dir     string
	max     int64
	reserve func(int64) (func(), error)
	now     func() time.Time

	base    context.Context // ends with the cache, and every pour with it
	end     context.CancelFunc
	pouring sync.WaitGroup
	held    atomic.Int64 // bytes of chunks in use

	mu      sync.Mutex
	entries map[cacheKey]*list.Element
	order   *list.List // of *cached, latest use first
	bytes   int64      // of entries
	filling int64      // of pours under way
	pours   map[cacheKey]*pour
	closed  bool
}

type cacheKey struct {
	digest catalog.Digest
	form   Form
}

type cached struct {
	key    cacheKey
	size   int64
	filled time.Time
}

// OpenCache opens an empty cache under cache/ of a store's data directory. It
// holds up to max bytes, none with max 0.
func OpenCache(s *Store, max int64) (*Cache, error) {
	c := &Cache{
		dir: s.path("cache"), max: max, reserve: s.Reserve, now: s.cfg.Now,
		entries: make(map[cacheKey]*list.Element), order: list.New(), pours: make(map[cacheKey]*pour),
	}
	c.base, c.end = context.WithCancel(context.Background())
	if err := os.RemoveAll(c.dir); err != nil {
		return nil, fmt.Errorf("blob cache: %w", err)
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, fmt.Errorf("blob cache: %w", err)
	}
	return c, nil
}

// Close ends the pours under way and waits for them. It may be called again.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.pouring.Wait()
}

func (c *Cache) path(k cacheKey) string {
	return filepath.Join(c.dir, k.digest.String()+"."+string(k.form))
}

// Get opens a form of a blob, if it is here. The caller closes it.
func (c *Cache) Get(d catalog.Digest, form Form) (*os.File, bool) {
	k := cacheKey{d, form}
	c.mu.Lock()
	el, ok := c.entries[k]
	if ok && c.now().Sub(el.Value.(*cached).filled) > trustTime {
		ok = false
		c.remove(el)
	}
	if ok {
		c.order.MoveToFront(el)
	}
	c.mu.Unlock()
	if !ok {
		return nil, false
	}
	f, err := os.Open(c.path(k))
	if err != nil { // evicted meanwhile, or removed by someone
		c.drop(k)
		return nil, false
	}
	return f, true
}

// drop forgets an entry whose file has vanished.
func (c *Cache) drop(k cacheKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := os.Lstat(c.path(k)); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if el, ok := c.entries[k]; ok {
		c.bytes -= el.Value.(*cached).size
		c.order.Remove(el)
		delete(c.entries, k)
	}
}

// evict makes room for n more bytes, dropping the least recently used entries. It
// reports false, dropping nothing, if that cannot be done. c.mu is held: removing
// a file is a directory operation and keeps the bound exact.
func (c *Cache) evict(n int64) bool {
	if c.filling+n > c.max && n > 0 {
		return false
	}
	for c.bytes+c.filling+n > c.max && c.order.Len() > 0 {
		el := c.order.Back()
		if !c.remove(el) {
			return false
		}
	}
	return c.bytes+c.filling+n <= c.max
}

// remove deletes an entry and its file; false if the system keeps an open file, as
// Windows does. c.mu is held.
func (c *Cache) remove(el *list.Element) bool {
	e := el.Value.(*cached)
	if err := os.Remove(c.path(e.key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	c.order.Remove(el)
	delete(c.entries, e.key)
	c.bytes -= e.size
	return true
}

// Bytes returns how many bytes the cache holds.
func (c *Cache) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// Pouring returns how many forms are on their way.
func (c *Cache) Pouring() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pours)
}
