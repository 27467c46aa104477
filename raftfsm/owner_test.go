package raftfsm_test

import (
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

// The build id of a library, and the paths under which debuggers ask for it.
const (
	ownedID   = "elf-buildid-00112233445566778899aabbccddeeff00112233"
	ownedPath = "libfoo.so/" + ownedID + "/libfoo.so"
)

var ownedKey = symid.BuildIDKey("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x00\x11\x22\x33", symid.Executable, "libfoo.so")

// named commits package n with one file of a base name that is the blob.
func (w *world) named(n, blob int, base string) {
	w.t.Helper()
	w.ok(open(n))
	w.ok(raftfsm.AddFiles{Package: pkg(n), Files: []raftfsm.FileEntry{listing("lib/"+base, blob)}})
	w.ok(raftfsm.PutReceipts{Receipts: []catalog.Receipt{receipt(blob, node1, node2)}})
	w.ok(raftfsm.CommitPackage{Package: pkg(n), Files: 1, At: at})
}

// asked returns the digest of what a path is answered with; zero is a miss.
func (w *world) asked(path string) catalog.Digest {
	w.t.Helper()
	l, err := symid.ParseLookup(path)
	if err != nil {
		w.t.Fatal(err)
	}
	c, _, err := w.fsm.Find(l.Keys)
	if err != nil {
		w.t.Fatal(err)
	}
	return c.Digest
}

// TestOwnKeyGoesFirst pushes a library and a package that assigns its path to another
// file, in both orders: debuggers are given the library whenever it is good.
func TestOwnKeyGoesFirst(t *testing.T) {
	const library, thief = 1, 2
	assigned := symid.StoreKey("libfoo.so", ownedID)
	for _, tt := range []struct {
		first, base string
	}{
		{"library", "libfoo.so"}, {"library", "LibFoo.so.1.2"}, {"thief", "libfoo.so"},
	} {
		w := newCluster(t)
		w.ok(raftfsm.RaiseFeature{Level: raftfsm.FeatureKnow})
		w.named(library, library, tt.base)
		w.named(thief, thief, "evil.so")
		if tt.first == "library" {
			w.judge(library, nil, report(0, 10, ownedKey))
			if got := w.asked(ownedPath); got != dig(library) {
				t.Errorf("%v: before the assignment %s is served", tt, got)
			}
			if v := w.judge(thief, nil, report(0, 30, assigned)); v.Verdict != catalog.Failed || v.Conflicts != 1 {
				t.Errorf("%v: verdict on the thief = %+v, want a conflict", tt, v)
			}
			f, err := w.fsm.File(pkg(thief), 0)
			if err != nil || len(f.Findings) != 1 || f.Findings[0].Code != "GEN-CONFLICT" || !strings.Contains(f.Findings[0].Message, string(pkg(library))) {
				t.Errorf("%v: findings %+v, %v, want one that names the package of the library", tt, f.Findings, err)
			}
		} else {
			w.judge(thief, nil, report(0, 30, assigned))
			if got := w.asked(ownedPath); got != dig(thief) {
				t.Errorf("%v: nobody else has the path, %s is served", tt, got)
			}
			if v := w.judge(library, nil, report(0, 10, ownedKey)); v.Verdict != catalog.Good {
				t.Errorf("%v: verdict on the library = %+v, want good", tt, v)
			}
		}
		if got := w.asked(ownedPath); got != dig(library) {
			t.Errorf("%v: after both %s is served, want the library", tt, got)
		}
		w.ok(raftfsm.DeletePackage{Package: pkg(library), At: at})
		if got, want := w.asked(ownedPath) == dig(thief), tt.first == "thief"; got != want {
			t.Errorf("%v: without the library the other file is served: %t, want %t", tt, got, want)
		}
		w.check()
	}
}

// TestAssignedBesideOwn serves the debugger support of a runtime under the id of the
// runtime, which has another name.
func TestAssignedBesideOwn(t *testing.T) {
	const runtime, support = 1, 2
	w := newCluster(t)
	w.ok(raftfsm.RaiseFeature{Level: raftfsm.FeatureKnow})
	w.named(runtime, runtime, "libfoo.so")
	w.named(support, support, "libfoodac.so")
	w.judge(runtime, nil, report(0, 10, ownedKey))
	if v := w.judge(support, nil, report(0, 10, symid.StoreKey("libfoodac.so", ownedID))); v.Verdict != catalog.Good {
		t.Errorf("verdict on the support = %+v, want good", v)
	}
	if got := w.asked("libfoodac.so/" + ownedID + "/libfoodac.so"); got != dig(support) {
		t.Errorf("support: %s is served", got)
	}
	if got := w.asked(ownedPath); got != dig(runtime) {
		t.Errorf("runtime: %s is served", got)
	}
	w.check()
}
