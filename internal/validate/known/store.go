// Package known keeps small entries in files below one directory, as a bounded cache:
// what the checks of a file came to, by content and path. Losing an entry costs time
// and nothing else, so writes are not synced, and what does not read back as it was
// written is no entry. FORMAT.md specifies version 1.
package known

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"symkeep/internal/catalog"
)

// magic starts every file.
const magic = "SYMKKNW1"

// headLen is the length of magic and checksum.
const headLen = len(magic) + sha256.Size

// A Store is safe for concurrent use. One process uses a directory at a time.
type Store struct {
	dir string
	max int64 // bytes of files

	mu     sync.Mutex
	byName map[string]*list.Element
	recent *list.List // of *file, the latest used in front
	total  int64
}

type file struct {
	name string
	size int64
	used time.Time
}

// Open reads which entries are below dir, which it makes, and removes the oldest that
// exceed max bytes. Files that are no entries are removed, too.
func Open(dir string, max int64) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("known files: %w", err)
	}
	s := &Store{dir: dir, max: max, byName: map[string]*list.Element{}, recent: list.New()}
	found, err := scan(dir)
	if err != nil {
		return nil, fmt.Errorf("known files: %w", err)
	}
	for _, f := range found {
		s.byName[f.name] = s.recent.PushFront(f)
		s.total += f.size
	}
	s.drop(s.excess())
	return s, nil
}

// scan lists the entries below dir, the oldest first.
func scan(dir string) ([]*file, error) {
	var found []*file
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name := filepath.Base(path)
		if b, err := hex.DecodeString(name); err != nil || len(b) != sha256.Size {
			return os.Remove(path) // a write that did not end
		}
		found = append(found, &file{name, info.Size(), info.ModTime()})
		return nil
	})
	slices.SortFunc(found, func(a, b *file) int { return a.used.Compare(b.used) })
	return found, err
}

// nameOf is the name of the entry for content under a path.
func nameOf(d catalog.Digest, path string) string {
	h := sha256.New()
	h.Write(d[:])
	h.Write([]byte(path))
	return hex.EncodeToString(h.Sum(nil))
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name[:2], name) }

// Get returns the entry for content under a path, nil if there is none.
func (s *Store) Get(d catalog.Digest, path string) []byte {
	name := nameOf(d, path)
	s.mu.Lock()
	e, ok := s.byName[name]
	if ok {
		s.recent.MoveToFront(e)
	}
	s.mu.Unlock()
	if !ok {
		return nil
	}
	b, err := os.ReadFile(s.path(name))
	if err != nil || len(b) < headLen || string(b[:len(magic)]) != magic {
		return nil
	}
	entry := b[headLen:]
	if sum := sha256.Sum256(entry); !bytes.Equal(sum[:], b[len(magic):headLen]) {
		return nil
	}
	now := time.Now()
	os.Chtimes(s.path(name), now, now) // the order survives a restart; without it an entry only seems older
	return entry
}

// Put keeps an entry in the place of any other for the same content and path, and
// removes those that were not used for longest where there are too many bytes.
func (s *Store) Put(d catalog.Digest, path string, entry []byte) error {
	name := nameOf(d, path)
	sum := sha256.Sum256(entry)
	b := slices.Concat([]byte(magic), sum[:], entry)
	if err := s.write(name, b); err != nil {
		return fmt.Errorf("known files: %w", err)
	}
	s.mu.Lock()
	if e, ok := s.byName[name]; ok {
		s.total -= e.Value.(*file).size
		s.recent.Remove(e)
	}
	s.byName[name] = s.recent.PushFront(&file{name: name, size: int64(len(b))})
	s.total += int64(len(b))
	gone := s.excess()
	s.mu.Unlock()
	s.drop(gone)
	return nil
}

// write replaces a file in one step.
func (s *Store) write(name string, b []byte) error {
	dir := filepath.Dir(s.path(name))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "new-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), s.path(name))
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

// excess forgets entries until the rest fits, and returns their names. The caller
// holds mu, or is alone.
func (s *Store) excess() (names []string) {
	for s.total > s.max && s.recent.Len() > 0 {
		e := s.recent.Back()
		f := e.Value.(*file)
		s.recent.Remove(e)
		delete(s.byName, f.name)
		s.total -= f.size
		names = append(names, f.name)
	}
	return names
}

func (s *Store) drop(names []string) {
	for _, name := range names {
		os.Remove(s.path(name)) // one that stays is found at the next start
	}
}
