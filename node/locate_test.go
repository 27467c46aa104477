package node

import (
	"errors"
	"testing"
	"time"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// testMissNow: a node states a miss at once only under its lease, and one that it stated
// before only while nothing has been applied since.
func testMissNow(t *testing.T, n *testNode) {
	f := breakpad(77, 100)
	l, err := symid.ParseLookup(f.lookup())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.lease.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() bool {
		version := n.Version()
		_, err := n.LocateNow(l.Keys)
		return err == catalog.ErrNotFound && n.StillMissing(version)
	}, func() string { return "no miss is stated at once under a held lease" })
	if n.StillMissing(n.Version() + 1) {
		t.Error("a miss of another state of the catalog is stated")
	}
	before := n.Version()
	n.push("miss-now", f)
	if c, err := n.LocateNow(l.Keys); err != nil || c.Name != f.path {
		t.Errorf("LocateNow after the push = %+v, %v, want the file", c, err)
	}
	if n.StillMissing(before) {
		t.Error("a miss from before the push is stated after it")
	}
}

// TestNoMissWithoutLease: a node that has never asked a leader states no miss.
func TestNoMissWithoutLease(t *testing.T) {
	n, _ := newLedgerNode(t)
	n.lease = newNegativeLease(nil)
	key := symid.BuildIDKey("12345678", symid.Debuginfo, "")
	if _, err := n.LocateNow([]symid.Key{key}); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("LocateNow without a lease = %v, want ErrUnavailable", err)
	}
	if n.StillMissing(n.Version()) {
		t.Error("StillMissing without a lease = true")
	}
}
