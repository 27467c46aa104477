package raftfsm

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

// The rolling hash covers what the log said, not what a disk makes of it later:
// bbolt keeps no checksum of its pages. The digest of the contents does.

const (
	contentsKept  = 8
	contentsBurst = time.Millisecond / 4 // of work, then no less rest: a debugger may wait for the processor
	contentsLimit = time.Hour            // a read transaction keeps old pages from being used again
	contentsRows  = 64                   // between two looks at the clock

	// checkYields is how long a transaction may take while a digest is computed:
	// a file that outgrows its mapping waits for every reader.
	checkYields = 5 * time.Second
)

// ErrDamaged is wrapped by errors about a catalog file that holds what no sequence
// of commands can have made.
var ErrDamaged = errors.New("catalog file is damaged")

// Contents is the digest over every key and value of the catalog as it was after a
// log index. Nodes that applied the same log have the same one.
type Contents struct {
	Index  uint64
	Digest catalog.Digest
}

// contents is what an FSM knows of its own rows. The zero value is ready.
type contents struct {
	work   sync.WaitGroup
	doubts atomic.Uint64

	mu     sync.Mutex
	walk   *walk      // under way, or nil
	done   []Contents // newest first
	damage error
}

// A walk hashes one state.
type walk struct{ cancel context.CancelFunc }

// Contents returns the digests of the newest states that a CheckContents named, at
// most 8, newest first. The newest of all may still be in work. They are of the
// file as it is now: a restore forgets them.
func (f *FSM) Contents() []Contents {
	f.contents.mu.Lock()
	defer f.contents.mu.Unlock()
	return slices.Clone(f.contents.done)
}

// Damage returns an error that wraps ErrDamaged once a CheckContents met keys that
// are out of order, that cannot be found by themselves, or pages that cannot be
// read.
func (f *FSM) Damage() error {
	f.contents.mu.Lock()
	defer f.contents.mu.Unlock()
	return f.contents.damage
}

// Doubts counts the views that met a row they could not read. It says that the
// contents ought to be checked.
func (f *FSM) Doubts() uint64 { return f.contents.doubts.Load() }

// ContentsChecked is the cluster time of the newest CheckContents; 0: never.
func (f *FSM) ContentsChecked() catalog.ClusterTime { return f.head.Load().CheckedAt }

// doubt turns the panic of a view into an error. The fault of a page that is not
// where another one says it is counts among them.
func (c *contents) doubt(before bool, err *error) {
	debug.SetPanicOnFault(before)
	if r := recover(); r != nil {
		c.doubts.Add(1)
		*err = fmt.Errorf("catalog: a row cannot be read: %v: %w: %w", r, ErrDamaged, catalog.ErrUnavailable)
	}
}

// damagedPages turns the panic of a write into one with an error that wraps ErrDamaged if
// it is bbolt's, over pages that no bbolt has written. Any other goes on as it is, also one
// of bbolt with an error of its own.
func damagedPages(before bool) {
	debug.SetPanicOnFault(before)
	r := recover()
	if r == nil {
		return
	}
	_, isError := r.(error)
	_, fault := r.(runtime.Error)
	if (!isError || fault) && panickedIn("go.etcd.io/bbolt.") {
		panic(fmt.Errorf("catalog: a row cannot be written: %v: %w", r, ErrDamaged))
	}
	panic(r)
}

// panickedIn reports, to a function deferred, whether the code that panics is in the
// package.
func panickedIn(pkg string) bool {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for panicked := false; ; {
		frame, more := frames.Next()
		switch {
		case frame.Function == "runtime.gopanic":
			panicked = true
		case panicked && !strings.HasPrefix(frame.Function, "runtime."):
			return strings.HasPrefix(frame.Function, pkg)
		}
		if !more {
			return false
		}
	}
}

// beginContents hashes the state as it is now in the background, unless an earlier
// one is still in work. The caller holds swap and is the only writer.
func (f *FSM) beginContents(index uint64) {
	c := &f.contents
	ctx, cancel := context.WithTimeout(context.Background(), contentsLimit)
	w := &walk{cancel}
	c.mu.Lock()
	busy := c.walk != nil
	if !busy {
		c.walk = w
	}
	c.mu.Unlock()
	if busy {
		cancel()
		return
	}
	tx, err := f.db.Begin(false)
	if err != nil {
		c.end(w, Contents{}, err)
		return
	}
	buckets := bucketsOf(f.FeatureLevel())
	c.work.Go(func() {
		digest, err := digestOf(ctx, tx, buckets)
		_ = tx.Rollback() // the only error is a second one
		c.end(w, Contents{index, digest}, err)
	})
}

// end records what a walk came to, unless the catalog was replaced meanwhile.
func (c *contents) end(w *walk, sum Contents, err error) {
	w.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.walk != w {
		return
	}
	c.walk = nil
	switch {
	case err == nil:
		c.done = slices.Insert(c.done, 0, sum)
		c.done = c.done[:min(len(c.done), contentsKept)]
	case errors.Is(err, ErrDamaged) && c.damage == nil:
		c.damage = err
	}
}

// yield gives a walk up that may be what a transaction waits for.
func (c *contents) yield() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.walk != nil {
		c.walk.cancel()
	}
}

// reset forgets what was learned of a file that is not the catalog any more.
func (c *contents) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.walk != nil {
		c.walk.cancel()
	}
	c.walk, c.done, c.damage = nil, nil, nil
}

// digestOf hashes every row of the buckets in order, at no more than half the speed of a core.
// Errors wrap ErrDamaged, or are ctx's.
func digestOf(ctx context.Context, tx *bolt.Tx, buckets [][]byte) (d catalog.Digest, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	s := &contentsSum{sum: sha256.New(), began: time.Now()}
	s.out = bufio.NewWriterSize(s.sum, 64<<10)
	for _, name := range buckets {
		if err := s.bucket(ctx, tx, name); err != nil {
			return d, fmt.Errorf("bucket %s: %w", name, err)
		}
	}
	s.out.Flush() // a hash takes everything
	return catalog.Digest(s.sum.Sum(nil)), nil
}

type contentsSum struct {
	sum   hash.Hash
	out   *bufio.Writer
	rows  int
	began time.Time // of the burst of work
}

// bucket hashes its name, number of rows and rows. A key must be behind the one
// before and be found where a lookup goes for it: pages that lead there may be
// damaged, too.
func (s *contentsSum) bucket(ctx context.Context, tx *bolt.Tx, name []byte) error {
	b := tx.Bucket(name)
	if b == nil {
		return fmt.Errorf("none: %w", ErrDamaged)
	}
	s.part(name)
	var rows uint64
	var before []byte
	c, find := b.Cursor(), b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if rows > 0 && bytes.Compare(before, k) >= 0 {
			return fmt.Errorf("key %.64x behind %.64x: %w", k, before, ErrDamaged)
		}
		if at, _ := find.Seek(k); !bytes.Equal(at, k) {
			return fmt.Errorf("key %.64x is not where it is looked for: %w", k, ErrDamaged)
		}
		if v == nil {
			return fmt.Errorf("key %.64x is a bucket: %w", k, ErrDamaged)
		}
		s.part(k)
		s.part(v)
		before = k // stays while the transaction does
		rows++
		if s.rows++; s.rows%contentsRows == 0 {
			if err := s.rest(ctx); err != nil {
				return err
			}
		}
	}
	s.out.Write(binary.BigEndian.AppendUint64(nil, rows))
	return ctx.Err()
}

// part writes the length of b and b.
func (s *contentsSum) part(b []byte) {
	var n [binary.MaxVarintLen64]byte
	s.out.Write(n[:binary.PutUvarint(n[:], uint64(len(b)))])
	s.out.Write(b)
}

// rest leaves the core to others for as long as the work took.
func (s *contentsSum) rest(ctx context.Context) error {
	worked := time.Since(s.began)
	if worked < contentsBurst {
		return ctx.Err()
	}
	pause := time.NewTimer(worked)
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-pause.C:
		s.began = time.Now()
		return nil
	}
}
