package raftfsm_test

import (
	"fmt"
	"slices"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

// known returns a cluster whose catalog has an index of names.
func known(t testing.TB) *world {
	w := newCluster(t)
	w.ok(raftfsm.RaiseFeature{Level: raftfsm.FeatureKnow})
	w.pass(1)
	return w
}

// carriers returns "path package" of each carrier.
func (w *world) carriers(name string, limit int) []string {
	w.t.Helper()
	found, err := w.fsm.Carriers(name, limit)
	if err != nil {
		w.t.Fatal(err)
	}
	list := []string{}
	for _, c := range found {
		k, err := symid.ParseIndexKey(c.Key)
		if err != nil {
			w.t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s %s", k.Paths()[0], c.Package.Version))
	}
	return list
}

// pdbPath is the lookup path of key(name, age).
func pdbPath(name string, age uint32) string { return key(name, age).Paths()[0] }

// TestCarriers lists ids of a name, those of the newest package first, whatever
// became of the package.
func TestCarriers(t *testing.T) {
	w := known(t)
	w.good(1, 1, 5, key("app.pdb", 1))
	w.good(2, 2, 5, key("App.PDB", 2))
	w.good(3, 1, 5, key("app.pdb", 1)) // the same file again
	w.commit(4, 4)
	w.judge(4, failing, report(0, 5, key("app.pdb", 4)))
	w.good(5, 5, 5, key("app.pdb.x", 1))
	w.check()
	want := []string{pdbPath("app.pdb", 4) + " 1.4", pdbPath("app.pdb", 1) + " 1.3", pdbPath("app.pdb", 2) + " 1.2"}
	if got := w.carriers("APP.pdb", 9); !slices.Equal(got, want) {
		t.Errorf("Carriers = %q, want %q", got, want)
	}
	if got := w.carriers("app.pdb", 2); !slices.Equal(got, want[:2]) {
		t.Errorf("Carriers of 2 = %q, want %q", got, want[:2])
	}
	for _, name := range []string{"", "app", "app.pdb.", "a\x00b", "zzz"} {
		if got := w.carriers(name, 9); len(got) != 0 {
			t.Errorf("Carriers(%q) = %q, want none", name, got)
		}
	}
	w.ok(raftfsm.DeletePackage{Package: pkg(3)})
	w.pass(15 * day)
	w.sweep(2)
	w.check()
	want = []string{pdbPath("app.pdb", 2) + " 1.2", pdbPath("app.pdb", 1) + " 1.1"}
	if got := w.carriers("app.pdb", 9); !slices.Equal(got, want) {
		t.Errorf("Carriers after the purge = %q, want %q", got, want)
	}
}

// TestCarriersWithoutNames finds build ids by the name of the file that has them.
func TestCarriersWithoutNames(t *testing.T) {
	w := known(t)
	id := symid.BuildID("\x0a\x0b")
	w.commit(1, 1, 2)
	w.judge(1, nil, report(0, 5, symid.BuildIDKey(id, symid.Executable, "f0.pdb"), key("f0.pdb", 1)),
		report(1, 5, symid.BuildIDKey(id, symid.Debuginfo, "f1.pdb")))
	w.check()
	want := []string{"buildid/0a0b/executable 1.1", pdbPath("f0.pdb", 1) + " 1.1"}
	if got := w.carriers("F0.pdb.debug", 9); !slices.Equal(got, want) {
		t.Errorf("Carriers of f0.pdb = %q, want %q", got, want)
	}
	if got, want := w.carriers("f1.pdb", 9), []string{"buildid/0a0b/debuginfo 1.1"}; !slices.Equal(got, want) {
		t.Errorf("Carriers of f1.pdb = %q, want %q", got, want)
	}
}

// TestNamesBackfill lets an old catalog grow its index while packages come and go on
// both sides of where it has come.
func TestNamesBackfill(t *testing.T) {
	w := newCluster(t)
	w.ok(raftfsm.RaiseFeature{Level: 2})
	w.fsm.ApplyBatch(bulk(w, 1, 2500))
	if got := w.carriers("module-7.pdb", 9); len(got) != 0 || w.fsm.NamesWhole() {
		t.Errorf("Carriers at level 2 = %q, whole %v", got, w.fsm.NamesWhole())
	}
	w.check()
	w.ok(raftfsm.RaiseFeature{Level: raftfsm.FeatureKnow})
	w.check()
	rounds := 0
	for ; !w.fsm.NamesWhole(); rounds++ {
		n := 10 + 4*rounds
		w.good(n, n, 5, key("a.pdb", uint32(n)))                       // short keys sort first
		w.good(n+1, n+1, 5, key("zzzzzzzzzzzzzzzzz.pdb", uint32(n+1))) // long ones last
		w.check()
		for _, p := range []int{n, n + 1} {
			w.ok(raftfsm.DeletePackage{Package: pkg(p)})
		}
		if rounds == 1 {
			w.pass(15 * day) // and with it, the rest of the index
			w.sweep(1)
		} else {
			w.pass(1)
		}
		w.check()
		w.close()
		w.open()
	}
	if rounds != 2 {
		t.Errorf("index whole after %d rounds, want 2", rounds)
	}
	if got := w.carriers("module-7.pdb", 9); len(got) != 1 {
		t.Errorf("Carriers after the back-fill = %q, want one", got)
	}
	again := newWorld(t)
	again.fsm.ApplyBatch(w.log)
	if got, want := fingerprint(again.fsm), fingerprint(w.fsm); got != want {
		t.Error("another batching came to another catalog")
	}
	w.ok(raftfsm.RaiseFeature{Level: raftfsm.FeatureKnow})
	if !w.fsm.NamesWhole() {
		t.Error("raising to the level in use began the index anew")
	}
}

// TestContentsAtLevels hashes the index of names from its level on, and nothing new
// below: members of two builds have to agree there.
func TestContentsAtLevels(t *testing.T) {
	w := checked(t)
	before := w.checkContents().Digest
	const want = "b616a53825590c1fd8d3f822bb02516a69f0feb33319f8e33a93c7b8de6ce319"
	if before.String() != want {
		t.Errorf("contents at level 2 hash to %s, the release that brought the check has %s", before, want)
	}
	w.ok(raftfsm.RaiseFeature{Level: raftfsm.FeatureKnow})
	w.pass(1)
	known := w.checkContents().Digest
	rotten := checked(t)
	rotten.checkContents()
	rotten.ok(raftfsm.RaiseFeature{Level: raftfsm.FeatureKnow})
	rotten.pass(1)
	rotten.alter(flipIn("names"))
	if got := rotten.checkContents().Digest; got == known || known == before {
		t.Errorf("contents at level 3 %s, before %s, with a bit of a name flipped %s: want three different ones", known, before, got)
	}
}

func TestWithID(t *testing.T) {
	w := known(t)
	for i, name := range []string{"a.pdb", "a.pdb", "lib.pdb", "other-name.pdb"} {
		w.good(1+i, 1+i, 5, key(name, uint32(1+i)))
	}
	w.good(9, 9, 5, symid.BreakpadKey("a.pdb", symid.DebugID{GUID: symid.GUID{1, 2, 3, 4}, Age: 1}))
	guid := symid.GUID{1, 2, 3, 4}
	got := []string{}
	keys, err := w.fsm.WithID(symid.KindPDB, string(guid[:]), 9)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range keys {
		k, err := symid.ParseIndexKey(x)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, k.Paths()[0])
	}
	want := []string{pdbPath("a.pdb", 1), pdbPath("a.pdb", 2), pdbPath("lib.pdb", 3), pdbPath("other-name.pdb", 4)}
	if !slices.Equal(got, want) {
		t.Errorf("WithID = %q, want %q", got, want)
	}
	if some, err := w.fsm.WithID(symid.KindPDB, string(guid[:]), 3); err != nil || len(some) != 3 {
		t.Errorf("WithID of 3 = %q, %v", some, err)
	}
	for _, prefix := range []string{"\x01\x03", string(guid[:]) + "\x00\x00\x00\x09", "\xff\xff"} {
		if none, err := w.fsm.WithID(symid.KindPDB, prefix, 9); err != nil || len(none) != 0 {
			t.Errorf("WithID(%x) = %q, %v, want none", prefix, none, err)
		}
	}
}

// TestWaiting finds files by name in packages that have no verdict.
func TestWaiting(t *testing.T) {
	w := known(t)
	w.upload(1, 1)
	w.commit(2, 2)
	w.commit(3, 3)
	w.claim(3, node1)
	w.stick(4)
	w.good(5, 5, 1, key("f0.pdb", 1))
	got := map[catalog.State]int{}
	found, err := w.fsm.Waiting(map[string]bool{"f0.pdb": true}, 9)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		got[f.Package.State]++
	}
	if len(found) != 4 || got[catalog.StateOpen] != 1 || got[catalog.StateCommitted] != 2 || got[catalog.StateStuck] != 1 {
		t.Errorf("Waiting = %v, want an open, two committed and a stuck package", got)
	}
	if some, err := w.fsm.Waiting(map[string]bool{"f0.pdb": true}, 2); err != nil || len(some) != 2 {
		t.Errorf("Waiting of 2 = %v, %v", some, err)
	}
	if none, err := w.fsm.Waiting(map[string]bool{"g.pdb": true}, 9); err != nil || len(none) != 0 {
		t.Errorf("Waiting for another name = %v, %v", none, err)
	}
}

func TestRemoval(t *testing.T) {
	w := known(t)
	w.good(1, 1, 1, key("a.pdb", 1))
	if _, err := w.fsm.Removal(pkg(1)); err == nil {
		t.Error("Removal of a good package succeeded")
	}
	w.ok(raftfsm.DeletePackage{Package: pkg(1), By: "eve"})
	w.pass(2 * day)
	if got, err := w.fsm.Removal(pkg(1)); err != nil || got != (raftfsm.Removal{AgoMillis: 2 * day, KeptMillis: 12 * day}) {
		t.Errorf("Removal after two days = %+v, %v", got, err)
	}
	w.pass(13 * day)
	w.sweep(100)
	if got, err := w.fsm.Removal(pkg(1)); err != nil || got != (raftfsm.Removal{AgoMillis: 15 * day}) {
		t.Errorf("Removal after the purge = %+v, %v", got, err)
	}
}

// BenchmarkNameStep is what one Tick adds while the index of names is being made.
func BenchmarkNameStep(b *testing.B) {
	w := newCluster(b)
	w.ok(raftfsm.RaiseFeature{Level: 2})
	for p := 1; p <= 10; p++ {
		w.fsm.ApplyBatch(bulk(w, p, 10_000))
	}
	w.ok(raftfsm.RaiseFeature{Level: raftfsm.FeatureKnow})
	for b.Loop() {
		w.ok(raftfsm.Tick{Millis: 1, At: at})
	}
	if w.fsm.NamesWhole() {
		b.Fatal("the index was whole before the end")
	}
}
