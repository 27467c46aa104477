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
	"slices"
	"sync"
	"time"

	"symkeep/internal/catalog"
)

// touchEvery is how often a hit rewrites the file's time, which is what the order
// is rebuilt from after a restart.
const touchEvery = time.Minute

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
	digest  catalog.Digest
	size    int64
	touched time.Time
}

// fill is one Fill in flight; err is set before done is closed.
type fill struct {
	done chan struct{}
	err  error
}

// OpenCache opens the cache of a store, under cache/ of its data directory, with
// what an earlier process left there. It holds up to max bytes; with max 0 it is
// emptied and stays empty.
func OpenCache(s *Store, max int64) (*Cache, error) {
	c := &Cache{
		dir: s.path("cache"), max: max, reserve: s.Reserve, now: s.cfg.Now,
		entries: make(map[catalog.Digest]*list.Element), order: list.New(), fills: make(map[catalog.Digest]*fill),
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, fmt.Errorf("blob cache: %w", err)
	}
	if err := c.scan(); err != nil {
		return nil, fmt.Errorf("blob cache %s: %w", c.dir, err)
	}
	return c, nil
}

// scan finds what is there. Temporary files and strangers are removed.
func (c *Cache) scan() error {
	files, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	var found []*cached
	for _, f := range files {
		d, err := catalog.ParseDigest(f.Name())
		info, ierr := f.Info()
		if err != nil || ierr != nil || !info.Mode().IsRegular() {
			if err := os.RemoveAll(filepath.Join(c.dir, f.Name())); err != nil {
				return err
			}
			continue
		}
		found = append(found, &cached{d, info.Size(), info.ModTime()})
	}
	slices.SortFunc(found, func(a, b *cached) int { return b.touched.Compare(a.touched) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range found {
		c.entries[e.digest] = c.order.PushBack(e)
		c.bytes += e.size
	}
	c.evict(0)
	return nil
}

func (c *Cache) path(d catalog.Digest) string { return filepath.Join(c.dir, d.String()) }

// Get opens the raw bytes of a blob, if they are here. The caller closes it.
func (c *Cache) Get(d catalog.Digest) (*os.File, bool) {
	c.mu.Lock()
	el, ok := c.entries[d]
	touch := false
	if ok {
		c.order.MoveToFront(el)
		if e := el.Value.(*cached); c.now().Sub(e.touched) >= touchEvery {
			e.touched, touch = c.now(), true
		}
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
	if touch {
		now := c.now()
		_ = os.Chtimes(c.path(d), now, now) // only the order after a restart depends on it
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
		return fullError(err)
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
		return fullError(err)
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
		e := el.Value.(*cached)
		if err := os.Remove(c.path(e.digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false // Windows keeps open files; the next call tries again
		}
		c.order.Remove(el)
		delete(c.entries, e.digest)
		c.bytes -= e.size
	}
	return c.bytes+c.filling+n <= c.max
}

// Bytes returns how many bytes the cache holds.
func (c *Cache) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}
