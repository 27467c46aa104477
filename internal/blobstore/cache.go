package blobstore

import (
	"container/list"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"symkeep/internal/catalog"
)

// trustTime is how long raw bytes are given out after their digest was checked.
// Raw files carry no checksums of their own, so an older one, and one that an
// earlier process left, is made again from the packed blob.
const trustTime = 15 * time.Minute

// A Cache keeps the raw bytes of blobs that are asked for often, as files in one
// directory, within a bound. What is evicted while open stays readable. Nothing
// in it is durable, everything in it can be made again. Safe for concurrent use.
type Cache struct {
	dir     string
	max     int64
	reserve func(int64) (func(), error)
	now     func() time.Time

	mu      sync.Mutex
	entries map[catalog.Digest]*list.Element
	order   *list.List // of *cached, latest use first
	bytes   int64      // of entries
	filling int64      // of fills in flight
	fills   map[catalog.Digest]*fill
}

type cached struct {
	digest catalog.Digest
	size   int64
	filled time.Time
}

// fill is one Fill in flight; err is set before done is closed.
type fill struct {
	done chan struct{}
	err  error
}

// OpenCache opens an empty cache under cache/ of a store's data directory. It
// holds up to max bytes, none with max 0.
func OpenCache(s *Store, max int64) (*Cache, error) {
	c := &Cache{
		dir: s.path("cache"), max: max, reserve: s.Reserve, now: s.cfg.Now,
		entries: make(map[catalog.Digest]*list.Element), order: list.New(), fills: make(map[catalog.Digest]*fill),
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return nil, fmt.Errorf("blob cache: %w", err)
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, fmt.Errorf("blob cache: %w", err)
	}
	return c, nil
}

func (c *Cache) path(d catalog.Digest) string { return filepath.Join(c.dir, d.String()) }

// Get opens the raw bytes of a blob, if they are here. The caller closes it.
func (c *Cache) Get(d catalog.Digest) (*os.File, bool) {
	c.mu.Lock()
	el, ok := c.entries[d]
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
	f, err := os.Open(c.path(d))
	if err != nil { // evicted meanwhile, or removed by someone
		c.drop(d)
		return nil, false
	}
	return f, true
}

// drop forgets an entry whose file has vanished.
func (c *Cache) drop(d catalog.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := os.Lstat(c.path(d)); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if el, ok := c.entries[d]; ok {
		c.bytes -= el.Value.(*cached).size
		c.order.Remove(el)
		delete(c.entries, d)
	}
}

// Fill adds a blob of size raw bytes, which write produces, and returns once it
// is in. Bytes that are not the blob are refused. Of several calls for one blob at
// the same time one writes and all get its result. The error wraps
// catalog.ErrFull if the cache or the disk has no room: serve without it then.
func (c *Cache) Fill(d catalog.Digest, size int64, write func(io.Writer) error) error {
	c.mu.Lock()
	if _, ok := c.entries[d]; ok {
		c.mu.Unlock()
		return nil
	}
	if f, ok := c.fills[d]; ok {
		c.mu.Unlock()
		<-f.done
		return f.err
	}
	if !c.evict(size) {
		c.mu.Unlock()
		return fmt.Errorf("blob cache: blob %s: %d bytes do not fit into %d: %w", d, size, c.max, catalog.ErrFull)
	}
	f := &fill{done: make(chan struct{}), err: errors.New("blob cache: writer panicked")}
	c.fills[d] = f
	c.filling += size
	c.mu.Unlock()

	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.fills, d)
		c.filling -= size
		if f.err == nil {
			c.entries[d] = c.order.PushFront(&cached{d, size, c.now()})
			c.bytes += size
		}
		close(f.done)
	}()
	if err := c.store(d, size, write); err != nil {
		f.err = fmt.Errorf("blob cache: blob %s: %w", d, err)
	} else {
		f.err = nil
	}
	return f.err
}

func (c *Cache) store(d catalog.Digest, size int64, write func(io.Writer) error) (err error) {
	release, err := c.reserve(size)
	if err != nil {
		return err
	}
	defer release()
	tmp := filepath.Join(c.dir, "tmp-"+randomName())
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return FullError(err)
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	h := sha256.New()
	lw := &limitedWriter{io.MultiWriter(f, h), size}
	err = write(lw)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return FullError(err)
	}
	if got := catalog.Digest(h.Sum(nil)); lw.left != 0 || got != d {
		return fmt.Errorf("got %d bytes with SHA-256 %s, wanted %d with %s", size-lw.left, got, size, d)
	}
	return os.Rename(tmp, c.path(d))
}

// limitedWriter refuses more bytes than announced, before they reach the disk.
type limitedWriter struct {
	w    io.Writer
	left int64
}

// Write implements io.Writer.
func (l *limitedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		return 0, errors.New("more bytes than announced")
	}
	n, err := l.w.Write(p)
	l.left -= int64(n)
	return n, err
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
	if err := os.Remove(c.path(e.digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	c.order.Remove(el)
	delete(c.entries, e.digest)
	c.bytes -= e.size
	return true
}

// Bytes returns how many bytes the cache holds.
func (c *Cache) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}
