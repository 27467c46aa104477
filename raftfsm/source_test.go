package raftfsm_test

import (
	"fmt"
	"slices"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

var (
	program = symid.BuildID("\x0a\x0b\x0c\x0d")
	uuid    = symid.GUID{9, 8, 7, 6, 5, 4, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8}
)

const mainC = "/w/Main.c"

// compiled makes good package n of the blob of a program, and of that of a source file
// under path; 0 leaves the source out.
func (w *world) compiled(n, blob, source int, path string) {
	w.t.Helper()
	w.ok(open(n))
	add := raftfsm.AddFiles{Package: pkg(n), Files: []raftfsm.FileEntry{listing("app", blob)}}
	put := raftfsm.PutReceipts{Receipts: []catalog.Receipt{receipt(blob, node1, node2)}}
	reports := []catalog.FileReport{report(0, 30, symid.BuildIDKey(program, symid.Executable, "app"), symid.MachOKey(uuid, symid.Debuginfo, "app"))}
	if source != 0 {
		f := listing("source"+path, source)
		f.Source = path
		add.Files = append(add.Files, f)
		put.Receipts = append(put.Receipts, receipt(source, node1, node2))
		reports = append(reports, report(1, 30, symid.SourceKey("", path)))
	}
	w.ok(add)
	w.ok(put)
	w.ok(raftfsm.CommitPackage{Package: pkg(n), Files: len(add.Files), At: at})
	if v := w.judge(n, nil, reports...); v.Verdict != catalog.Good {
		w.t.Fatalf("verdict on package %d = %s, want good", n, v.Verdict)
	}
	w.check()
}

// answers returns "package digest" of what answers a key, by Lookup and by Find.
func (w *world) answers(k symid.Key) string {
	w.t.Helper()
	found := w.lookup(k)
	c, ok, err := w.fsm.Find([]symid.Key{k})
	if err != nil || ok != (len(found) > 0) || ok && c != found[0] {
		w.t.Fatalf("Find(%v) = %+v, %t, %v, Lookup = %+v", k.Paths(), c, ok, err, found)
	}
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s %s", c.Package, c.Digest)
}

func served(n, blob int) string { return fmt.Sprintf("%s %s", pkg(n), dig(blob)) }

// TestSources serves a source file under the build ids of its own package alone, by
// whichever key the program has them.
func TestSources(t *testing.T) {
	w := known(t)
	w.compiled(1, 1, 2, mainC)
	for _, k := range []symid.Key{symid.SourceKey(program, mainC), symid.SourceKey(symid.BuildID(uuid[:]), mainC)} {
		if got := w.answers(k); got != served(1, 2) {
			t.Errorf("%v is served %q, want %q", k.Paths(), got, served(1, 2))
		}
	}
	for _, k := range []symid.Key{symid.SourceKey(program, "/w/main.c"), symid.SourceKey("\x0a\x0b\x0c", mainC), symid.SourceKey("", mainC),
		symid.SourceKey(symid.BuildID(pkg(1)), mainC)} {
		if got := w.answers(k); got != "" {
			t.Errorf("key %+v is served %q, want nothing", k, got)
		}
	}
	files, err := w.fsm.Files(pkg(1), -1, 10)
	if err != nil || len(files) != 2 || files[0].Source != "" || files[1].Source != mainC || !slices.Equal(files[1].Keys, []symid.Key{symid.SourceKey("", mainC)}) {
		t.Errorf("Files = %+v, %v", files, err)
	}
	w.good(2, 3, 30, symid.BuildIDKey("other", symid.Executable, "other"))
	if got := w.answers(symid.SourceKey("other", mainC)); got != "" {
		t.Errorf("a build id of another package is served %q", got)
	}
}

// TestFirstSourceStays keeps what a good package serves against later packages with the
// same program, and against other bytes under the same path, until it goes.
func TestFirstSourceStays(t *testing.T) {
	w := known(t)
	w.compiled(1, 1, 0, "")
	w.compiled(2, 1, 2, mainC)
	w.compiled(3, 1, 3, mainC)
	w.compiled(4, 1, 4, "/w/other.c")
	asked := symid.SourceKey(program, mainC)
	if got := w.answers(asked); got != served(2, 2) {
		t.Errorf("served %q, want %q", got, served(2, 2))
	}
	if got := w.answers(symid.SourceKey(program, "/w/other.c")); got != served(4, 4) {
		t.Errorf("served %q, want %q", got, served(4, 4))
	}
	w.ok(raftfsm.DeletePackage{Package: pkg(2)})
	if got := w.answers(asked); got != served(3, 3) {
		t.Errorf("after the first was deleted: served %q, want %q", got, served(3, 3))
	}
	w.ok(raftfsm.UndeletePackage{Package: pkg(2)})
	if got := w.answers(asked); got != served(2, 2) {
		t.Errorf("after the first came back: served %q, want %q", got, served(2, 2))
	}
	w.ok(raftfsm.DeletePackage{Package: pkg(2)})
	w.ok(raftfsm.DeletePackage{Package: pkg(3)})
	w.pass(15 * day)
	for range 4 {
		w.sweep(2)
	}
	w.check()
	if got := w.answers(asked); got != "" {
		t.Errorf("after both were purged: served %q", got)
	}
}

// TestSourcesByLevel refuses sources below level 3, and paths that are not clean.
func TestSourcesByLevel(t *testing.T) {
	w := newCluster(t)
	w.ok(raftfsm.RaiseFeature{Level: raftfsm.FeatureKnow - 1})
	w.ok(open(1))
	add := raftfsm.AddFiles{Package: pkg(1), Files: []raftfsm.FileEntry{listing("main.c", 1)}}
	add.Files[0].Source = mainC
	if need := raftfsm.Requires(add); need != raftfsm.FeatureKnow {
		t.Errorf("Requires = %d, want %d", need, raftfsm.FeatureKnow)
	}
	w.refuse(add, catalog.ErrConflict)
	w.ok(raftfsm.RaiseFeature{Level: raftfsm.FeatureKnow})
	for _, bad := range []string{"w/main.c", "/w/../main.c", "/w/\x01.c", "/"} {
		add.Files[0].Source = bad
		w.refuse(add, catalog.ErrInvalid)
	}
	add.Files[0].Source = mainC
	w.ok(add)
	add.Files[0].Source = "/other.c"
	w.refuse(add, catalog.ErrConflict)
}

// TestSourceKeysOfOthers refuses a report that would give a source to a build id.
func TestSourceKeysOfOthers(t *testing.T) {
	w := known(t)
	w.commit(1, 1)
	w.refuse(raftfsm.AddKeys{Package: pkg(1), Token: w.claim(1, node1), Reports: []catalog.FileReport{report(0, 30, symid.SourceKey(program, mainC))}}, catalog.ErrInvalid)
}
