package rig

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// A Damage is one flipped bit.
type Damage struct {
	Path   string // of the file
	Offset int64  // of the byte
	Bit    uint
}

// String names the place.
func (d Damage) String() string { return fmt.Sprintf("%s: byte %d, bit %d", d.Path, d.Offset, d.Bit) }

// Flip flips one bit of a file, in place.
func (d Damage) Flip() error {
	f, err := os.OpenFile(d.Path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var b [1]byte
	if _, err = f.ReadAt(b[:], d.Offset); err == nil {
		b[0] ^= 1 << d.Bit
		_, err = f.WriteAt(b[:], d.Offset)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// anywhere chooses a bit of a file.
func anywhere(rng *rand.Rand, path string) (Damage, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Damage{}, err
	}
	if info.Size() == 0 {
		return Damage{}, fmt.Errorf("%s: empty, no bit to flip", path)
	}
	return Damage{path, rng.Int64N(info.Size()), rng.UintN(8)}, nil
}

// flip flips a bit of a file of a host, anywhere in it.
func (h *Host) flip(path string) (Damage, error) {
	d, err := anywhere(h.rng(), path)
	if err != nil {
		return d, err
	}
	return d, d.Flip()
}

// rng goes on from the seed and what the host was damaged with before.
func (h *Host) rng() *rand.Rand {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.random == nil {
		h.random = h.rig.Rand(uint64(h.number))
	}
	return h.random
}

// Blobs returns the paths of the blobs on this host, sorted.
func (h *Host) Blobs() (paths []string, err error) {
	top := filepath.Join(h.DataDir(), "blobs")
	err = filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // renamed away while we look
		case err == nil && e.Type().IsRegular() && len(e.Name()) == 64:
			paths = append(paths, path)
		}
		return err
	})
	return paths, err
}

// FlipBlob flips a bit of a random blob of the node, which may run.
func (h *Host) FlipBlob() (Damage, error) {
	blobs, err := h.Blobs()
	if err != nil {
		return Damage{}, err
	}
	if len(blobs) == 0 {
		return Damage{}, fmt.Errorf("%s: holds no blob: %w", h.Name, fs.ErrNotExist)
	}
	return h.flip(blobs[h.rng().IntN(len(blobs))])
}

// FlipRaft flips a bit in a used page of raft.db. The node must not run.
func (h *Host) FlipRaft() (Damage, error) {
	return h.flipUsed(filepath.Join(h.DataDir(), "raft", "raft.db"))
}

// FlipFSM flips a bit in a used page of fsm.db. The node must not run.
func (h *Host) FlipFSM() (Damage, error) { return h.flipUsed(filepath.Join(h.DataDir(), "fsm.db")) }

// FlipSnapshot flips a bit in the newest snapshot. The node must not run. The error
// wraps fs.ErrNotExist when there is none.
func (h *Host) FlipSnapshot() (Damage, error) {
	if h.Running() {
		return Damage{}, fmt.Errorf("%s: its node runs", h.Name)
	}
	found, err := filepath.Glob(filepath.Join(h.DataDir(), "raft", "snapshots", "*", "state.bin"))
	if err != nil {
		return Damage{}, err
	}
	// Names are term-index-milliseconds. One that ends in .tmp was never finished.
	found = slices.DeleteFunc(found, func(p string) bool { return strings.HasSuffix(filepath.Dir(p), ".tmp") })
	if len(found) == 0 {
		return Damage{}, fmt.Errorf("%s: no snapshot: %w", h.Name, fs.ErrNotExist)
	}
	newest := slices.MaxFunc(found, func(a, b string) int {
		return strings.Compare(moment(a), moment(b))
	})
	return h.flip(newest)
}

// moment is the last part of a snapshot's name, of a fixed width for centuries.
func moment(path string) string {
	name := filepath.Base(filepath.Dir(path))
	return name[strings.LastIndexByte(name, '-')+1:]
}

// flipUsed flips a bit of a key or value that is part of the present state of a
// bbolt file.
func (h *Host) flipUsed(path string) (Damage, error) {
	if h.Running() {
		return Damage{}, fmt.Errorf("%s: its node runs", h.Name)
	}
	spans, err := usedSpans(path)
	if err != nil {
		return Damage{}, fmt.Errorf("%s: %w", path, err)
	}
	span := spans[h.rng().IntN(len(spans))]
	d := Damage{path, span.from + h.rng().Int64N(span.size), h.rng().UintN(8)}
	return d, d.Flip()
}

// A span is a piece of a file.
type span struct{ from, size int64 }

// usedSpans returns where the leaves of a bbolt file that are in use hold their
// keys and values. A bit elsewhere may mean nothing.
func usedSpans(path string) (spans []span, err error) {
	f, err := os.Open(path) // bolt.Open would make a missing file
	if err != nil {
		return nil, err
	}
	defer f.Close()
	db, err := bolt.Open(path, 0o644, nil)
	if err != nil {
		return nil, err
	}
	size := int64(db.Info().PageSize)
	err = db.View(func(tx *bolt.Tx) error {
		for id := 2; ; { // after the two meta pages
			p, err := tx.Page(id)
			if err != nil || p == nil {
				return err
			}
			if p.Type == "leaf" {
				if err := appendElements(&spans, f, int64(id)*size, p.Count); err != nil {
					return err
				}
			}
			if id++; p.Type != "free" { // what a free one says is of its former use
				id += p.OverflowCount
			}
		}
	})
	if err = errors.Join(err, db.Close()); err == nil && len(spans) == 0 {
		err = errors.New("no key in use")
	}
	return spans, err
}

// appendElements reads the table of a leaf: after a header of 16 bytes, 16 bytes
// per element: flags, distance from here to the key, sizes of key and value.
func appendElements(spans *[]span, f *os.File, page int64, count int) error {
	for i := range int64(count) {
		var e [16]byte
		at := page + 16 + 16*i
		if _, err := f.ReadAt(e[:], at); err != nil {
			return err
		}
		word := func(i int) int64 { return int64(binary.NativeEndian.Uint32(e[4*i:])) }
		*spans = append(*spans, span{at + word(1), max(word(2)+word(3), 1)})
	}
	return nil
}
