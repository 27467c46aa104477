package blobstore_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"symkeep/internal/blobstore"
)

// TestQuarantined: what is set aside is counted, and goes once it is old enough,
// with its reason. Other files in the directory are left alone.
func TestQuarantined(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := open(t, blobstore.Config{Dir: t.TempDir(), Now: func() time.Time { return now }})
	want := func(when string, n int, bytes int64) {
		t.Helper()
		if gotN, gotBytes, err := s.Quarantined(); gotN != n || gotBytes != bytes || err != nil {
			t.Errorf("Quarantined %s = %d, %d bytes, %v, want %d, %d", when, gotN, gotBytes, err, n, bytes)
		}
	}
	want("of a new store", 0, 0)
	old, young := mustPut(t, s, "x", raw(1, 1000)), mustPut(t, s, "y", raw(2, 5000))
	const reason = "bits fell over"
	if err := s.Quarantine(old.Digest, reason); err != nil {
		t.Fatal(err)
	}
	aside := filepath.Join(s.Dir(), "quarantine", "local.db.17")
	if err := os.WriteFile(aside, []byte("not ours to count"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if err := s.Quarantine(young.Digest, reason); err != nil {
		t.Fatal(err)
	}
	both := old.Packed.Size + young.Packed.Size + 2*int64(len(reason)+1)
	want("after two", 2, both)
	for _, tt := range []struct {
		olderThan time.Time
		removed   int
	}{{now.Add(-time.Hour), 0}, {now, 1}, {now, 0}, {now.Add(time.Second), 1}} {
		if n, err := s.PruneQuarantine(tt.olderThan); n != tt.removed || err != nil {
			t.Errorf("PruneQuarantine(%s) = %d, %v, want %d", tt.olderThan, n, err, tt.removed)
		}
	}
	want("after both are pruned", 0, 0)
	if names := left(t, s, "quarantine"); len(names) != 1 {
		t.Errorf("quarantine holds %q after pruning, want local.db.17 alone", names)
	}
}
