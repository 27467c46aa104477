package node

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"symkeep/internal/blobstore"
)

const maxBallast = 128 << 20

// A ballast is a file that takes space away from everybody, so that there is some
// for the raft log and the catalog when the disk is full: raft cannot go on without
// a vote or an entry written down. It is removed in that case, and made anew once
// there is room.
type ballast struct {
	path  string
	size  int64 // negative: none is kept
	marks blobstore.Marks
	usage func(path string) (used, avail int64, err error)
	log   *slog.Logger

	mu      sync.Mutex // held over the file's making and removal: those are rare and quick
	stopped bool
}

func newBallast(dir string, cfg DiskConfig, log *slog.Logger) *ballast {
	marks := cfg.Marks
	if marks.Rebalance == 0 {
		marks.Rebalance = blobstore.DefaultMarks().Rebalance
	}
	return &ballast{path: filepath.Join(dir, "ballast"), size: cfg.Ballast, marks: marks, usage: blobstore.OS{}.Usage, log: log}
}

// keep makes the file if there is room for it, and gives it up when the file system
// has less than one part in a hundred left.
func (b *ballast) keep() error {
	if b.size < 0 {
		return nil
	}
	dir := filepath.Dir(b.path)
	used, avail, err := b.usage(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no cluster yet
	}
	if err != nil {
		return err
	}
	size := b.size
	if size == 0 {
		size = min(maxBallast, (used+avail)/100)
	}
	if avail < (used+avail)/100 {
		b.release("less than 1 % of the file system is left")
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := os.Lstat(b.path); err == nil || b.stopped {
		return err
	}
	if float64(used+size) > b.marks.Rebalance*float64(used+avail) {
		return nil // it would only take the space that is needed now
	}
	if err := allocate(b.path, size); err != nil {
		return errors.Join(fmt.Errorf("reserve of %d bytes: %w", size, err), os.Remove(b.path))
	}
	return nil
}

// release gives the space up and reports whether there was any.
func (b *ballast) release(why string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	st, err := os.Lstat(b.path)
	if err != nil {
		return false
	}
	if err := os.Remove(b.path); err != nil {
		b.log.Error("reserve not given up", "path", b.path, "err", err)
		return false
	}
	b.log.Error("disk is full: the reserve for the log is given up, free or add disk space now", "path", b.path, "bytes", st.Size(), "err", why)
	return true
}

// bytes returns the size of the file, 0 if there is none.
func (b *ballast) bytes() int64 {
	st, err := os.Lstat(b.path)
	if err != nil {
		return 0
	}
	return st.Size()
}

// stop lets keep make no more.
func (b *ballast) stop() {
	b.mu.Lock()
	b.stopped = true
	b.mu.Unlock()
}

// fill writes zeros, where there is no better way to take space.
func fill(f *os.File, size int64) error {
	chunk := make([]byte, 1<<20)
	for size > 0 {
		k, err := f.Write(chunk[:min(size, int64(len(chunk)))])
		if err != nil {
			return err
		}
		size -= int64(k)
	}
	return nil
}
