package raftfsm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// Views for people who ask why a key is not served. Each looks at a bounded number
// of rows.

// maxNameScan bounds the rows of one name that are looked at: the newest ones.
const maxNameScan = 512

// A Carrier is a key, and a package that a validator found it in.
type Carrier struct {
	Key     symid.IndexKey
	Package catalog.Package // without findings
}

// NamesWhole reports whether Carriers knows of every key. It does not below feature
// level 3, and for a while after the level was reached.
func (f *FSM) NamesWhole() bool {
	h := f.head.Load()
	return h.Feature >= FeatureKnow && h.Naming == nil
}

// Carriers returns keys of files with a base name, whatever their id and whatever
// became of their package: each key once, with the newest package that carries it,
// newest package first, at most limit. The name is folded here; that of a file with
// split debug data may be given without .debug.
func (f *FSM) Carriers(name string, limit int) ([]Carrier, error) {
	var found []Carrier
	err := f.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketNames)
		if b == nil || name == "" || strings.IndexByte(name, 0) >= 0 {
			return nil
		}
		folded := IndexName(name)
		prefix, seen := namePrefix(folded), map[symid.IndexKey]bool{}
		c := b.Cursor()
		k := seekBelow(c, prefix, "")
		for n := 0; k != nil && bytes.HasPrefix(k, prefix) && len(found) < limit && n < maxNameScan; n++ {
			row := decodeName(k, len(folded))
			if key := row.key(); !seen[key] {
				seen[key] = true
				p, err := packageByID(tx, row.pkg)
				if err != nil {
					return err
				}
				found = append(found, Carrier{key, p.Package})
			}
			k, _ = c.Prev()
		}
		return nil
	})
	return found, err
}

// key is the index key that the row's candidates have.
func (r nameRow) key() symid.IndexKey {
	switch symid.Kind(r.id[0]) {
	case symid.KindBuildID, symid.KindMachO:
		return r.id
	}
	return r.id + symid.IndexKey(r.name)
}

// WithID returns keys of a kind whose id begins with prefix, under any name, shorter
// keys first, at most limit.
func (f *FSM) WithID(kind symid.Kind, prefix string, limit int) ([]symid.IndexKey, error) {
	var keys []symid.IndexKey
	err := f.view(func(tx *bolt.Tx) error {
		want := append([]byte{byte(kind)}, prefix...)
		c := tx.Bucket(bucketCandidates).Cursor()
		// The length of the key goes first in a row: one step per length that occurs.
		for n := len(want) + 1; n <= 0xffff && len(keys) < limit; {
			k, _ := c.Seek(append(binary.BigEndian.AppendUint16(nil, uint16(n)), want...))
			if k == nil {
				break
			}
			switch have := int(binary.BigEndian.Uint16(k)); {
			case have > n:
				n = have
				continue
			case !bytes.HasPrefix(k[2:], want):
				n++
				continue
			}
			for k != nil && int(binary.BigEndian.Uint16(k)) == n && bytes.HasPrefix(k[2:], want) && len(keys) < limit {
				key := symid.IndexKey(k[2 : len(k)-candidateTail])
				keys = append(keys, key)
				k, _ = c.Seek(pastKey(key))
			}
			n++
		}
		return nil
	})
	return keys, err
}

// A Waiting file is listed by a package that has no verdict yet.
type Waiting struct {
	Package catalog.Package // without findings
	File    int
	Path    string
}

// Waiting returns files of packages that are open, committed or stuck whose base
// name is one of names, which are folded; at most limit. Keys of such files may not
// be known yet. It looks at the first 50,000 files.
func (f *FSM) Waiting(names map[string]bool, limit int) ([]Waiting, error) {
	w := waitingScan{names: names, limit: limit}
	err := f.view(func(tx *bolt.Tx) error {
		for _, bucket := range [][]byte{bucketClaims, bucketQueue, bucketLeases} {
			c := tx.Bucket(bucket).Cursor()
			for k, _ := c.First(); k != nil && !w.full(); k, _ = c.Next() {
				if err := w.packageOf(tx, k[8:]); err != nil {
					return err
				}
			}
		}
		return w.stuck(tx, f.head.Load().States[catalog.StateStuck])
	})
	return w.found, err
}

type waitingScan struct {
	names   map[string]bool
	limit   int
	scanned int // rows
	found   []Waiting
}

func (w *waitingScan) full() bool { return len(w.found) >= w.limit || w.scanned >= maxScan }

// stuck looks for the n stuck packages, of which there is no list, newest first.
func (w *waitingScan) stuck(tx *bolt.Tx, n int) error {
	c := tx.Bucket(bucketPackages).Cursor()
	for k, v := c.Last(); k != nil && n > 0 && !w.full(); k, v = c.Prev() {
		w.scanned++
		if !bytes.Contains(v, []byte(`"state":"stuck"`)) { // spares decoding: a row that says so elsewhere is decoded
			continue
		}
		if r := decodePackage(v); r.State == catalog.StateStuck {
			n--
			if err := w.packageOf(tx, k); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *waitingScan) packageOf(tx *bolt.Tx, id []byte) error {
	r, err := packageByID(tx, catalog.PackageID(id))
	if err != nil {
		return err
	}
	c := tx.Bucket(bucketFiles).Cursor()
	for k, v := c.Seek(id); k != nil && bytes.HasPrefix(k, id) && !w.full(); k, v = c.Next() {
		w.scanned++
		row := decodeFile(v)
		if w.names[IndexName(symid.BaseName(row.Path))] {
			w.found = append(w.found, Waiting{r.Package, fileNo(k), row.Path})
		}
	}
	return nil
}

// A Removal says when a package was deleted and until when its keys are known, in
// milliseconds of cluster time from now. KeptMillis is 0 once it is being purged.
type Removal struct {
	AgoMillis  int64
	KeptMillis int64
}

// Removal returns the removal of a package that is trashed or purged, else an
// ErrNotFound.
func (f *FSM) Removal(id catalog.PackageID) (Removal, error) {
	var out Removal
	err := f.view(func(tx *bolt.Tx) error {
		r, err := packageByID(tx, id)
		if err != nil {
			return err
		}
		if r.State != catalog.StateTrashed && r.State != catalog.StatePurged {
			return fmt.Errorf("package %s: %s, not deleted: %w", id, r.State, catalog.ErrNotFound)
		}
		ago := int64(f.head.Load().Clock - r.TrashedAt)
		out = Removal{max(ago, 0), max(KeepTrashed-ago, 0)}
		return nil
	})
	return out, err
}
