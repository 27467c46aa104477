package rig

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestUsedSpans: every key in use is found, whatever stands in pages that are free.
func TestUsedSpans(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	put := func(bucket string, value []byte) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte(bucket))
			if err != nil {
				return err
			}
			return b.Put([]byte("the-key"), value)
		}
	}
	used := bytes.Repeat([]byte("used"), 10_000) // too large for the free pages before
	for _, step := range []func(*bolt.Tx) error{
		put("gone", bytes.Repeat([]byte{0xff}, 200<<10)), // as the header of a page it claims billions of others
		put("kept", used),
		func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("gone")) },
		put("over the first of its pages", used[:20_000]),
	} {
		if err := db.Update(step); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	spans, err := usedSpans(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(spans, func(s span) bool { return bytes.HasSuffix(file[s.from:s.from+s.size], used) }) {
		t.Errorf("spans %v lack the key in use", spans)
	}
}
