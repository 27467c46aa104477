package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	bolt "go.etcd.io/bbolt"
)

// ErrClosed is what views answer once the FSM is closed.
var ErrClosed = errors.New("catalog is closed")

// An FSM is the replicated catalog of one node. Make one with Open.
type FSM struct {
	path string

	swap    sync.RWMutex // guards db against Restore and Close; readers hold it for one short transaction
	db      *bolt.DB     // nil once closed
	retired sync.WaitGroup

	head     atomic.Pointer[head] // immutable; published after each commit
	sights   sights
	feed     feed
	contents contents

	waitMu  sync.Mutex
	advance chan struct{} // closed and replaced whenever the applied index moves
}

var _ raft.BatchingFSM = (*FSM)(nil)

// Open opens or creates the catalog at path. It waits at most a second for
// another process to let go of the file, and refuses a schema it does not know.
// The caller closes it after raft has stopped.
func Open(path string) (*FSM, error) {
	db, err := openDB(path)
	if err != nil {
		return nil, err
	}
	h, err := prepare(db)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("catalog %s: %w", path, err), db.Close())
	}
	if err := os.Remove(path + restoreSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(err, db.Close())
	}
	f := &FSM{path: path, db: db, advance: make(chan struct{})}
	f.head.Store(h)
	return f, nil
}

// mmapSize is address space, not memory. A file that outgrows its mapping waits
// for every reader, and a snapshot is a slow one.
const mmapSize = 1 << 30

// openDB opens the file with the freelist kept on disk, so that the time to open
// does not grow with the file, and with every commit synced.
func openDB(path string) (*bolt.DB, error) {
	options := &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType}
	if runtime.GOOS != "windows" { // there the file itself would get that size
		options.InitialMmapSize = mmapSize
	}
	db, err := bolt.Open(path, 0o600, options)
	if err != nil {
		return nil, fmt.Errorf("catalog %s: %w", path, err)
	}
	return db, nil
}

// Close waits for readers and snapshots under way, then closes the file.
func (f *FSM) Close() error {
	f.swap.Lock()
	db := f.db
	f.db = nil
	f.sights.close()
	f.swap.Unlock()
	if db == nil {
		return nil
	}
	f.contents.reset()
	f.contents.work.Wait()
	f.retired.Wait()
	return db.Close()
}

// AppliedIndex returns the log index of the newest command or configuration that
// is durable here. Raft's no-ops and barriers never reach an FSM: when they are
// the last entries of the log this stays below raft's own applied index.
func (f *FSM) AppliedIndex() uint64 { return f.head.Load().AppliedIndex }

// WaitApplied returns nil once AppliedIndex is at or past index, else ctx's error.
func (f *FSM) WaitApplied(ctx context.Context, index uint64) error {
	for {
		f.waitMu.Lock()
		advance := f.advance
		f.waitMu.Unlock()
		if f.AppliedIndex() >= index {
			return nil
		}
		select {
		case <-advance:
		case <-ctx.Done():
			return fmt.Errorf("applied index %d, waited for %d: %w", f.AppliedIndex(), index, ctx.Err())
		}
	}
}

// publish makes a committed head visible and wakes whoever waits for it.
func (f *FSM) publish(h *head) {
	f.head.Store(h)
	f.waitMu.Lock()
	close(f.advance)
	f.advance = make(chan struct{})
	f.waitMu.Unlock()
}

// view runs fn in a read transaction. fn copies what it keeps. A panic of fn is an
// error that wraps catalog.ErrUnavailable: a row that cannot be read says nothing.
func (f *FSM) view(fn func(tx *bolt.Tx) error) (err error) {
	f.swap.RLock()
	defer f.swap.RUnlock()
	if f.db == nil {
		return ErrClosed
	}
	defer f.contents.doubt(debug.SetPanicOnFault(true), &err)
	return f.db.View(fn)
}
