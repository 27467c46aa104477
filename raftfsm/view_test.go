package raftfsm_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

func ids(ps []catalog.Package) string {
	var list []string
	for _, p := range ps {
		list = append(list, strings.TrimLeft(string(p.ID[6:]), "0"))
	}
	return strings.Join(list, " ")
}

func TestPackages(t *testing.T) {
	w := newCluster(t)
	for n := 1; n <= 6; n++ {
		c := open(n)
		if n%2 == 0 {
			c.Product, c.Labels = "tool", map[string]string{"branch": "dev", "os": "linux"}
		}
		w.ok(c)
	}
	w.ok(raftfsm.RenewLease{Package: pkg(6), LeaseMillis: 7_200_000})
	w.pass(3_600_001)
	for _, tt := range []struct {
		name   string
		filter raftfsm.PackageFilter
		before catalog.PackageID
		limit  int
		want   string
		next   catalog.PackageID
	}{
		{"all", raftfsm.PackageFilter{}, "", 10, "6 5 4 3 2 1", ""},
		{"first page", raftfsm.PackageFilter{}, "", 2, "6 5", pkg(5)},
		{"second page", raftfsm.PackageFilter{}, pkg(5), 2, "4 3", pkg(3)},
		{"last page", raftfsm.PackageFilter{}, pkg(3), 2, "2 1", ""},
		{"before the first", raftfsm.PackageFilter{}, pkg(1), 2, "", ""},
		{"product", raftfsm.PackageFilter{Product: "tool"}, "", 10, "6 4 2", ""},
		{"product, second page", raftfsm.PackageFilter{Product: "tool"}, pkg(6), 1, "4", pkg(4)},
		{"prefix of a product", raftfsm.PackageFilter{Product: "too"}, "", 10, "", ""},
		{"product behind the last", raftfsm.PackageFilter{Product: "zzz"}, "", 10, "", ""},
		{"version", raftfsm.PackageFilter{Version: "1.3"}, "", 10, "3", ""},
		{"state", raftfsm.PackageFilter{State: catalog.StateOpen}, "", 10, "6", ""},
		{"label", raftfsm.PackageFilter{Labels: map[string]string{"branch": "dev"}}, "", 10, "6 4 2", ""},
		{"two labels, one other", raftfsm.PackageFilter{Labels: map[string]string{"branch": "dev", "os": "mac"}}, "", 10, "", ""},
		{"all at once", raftfsm.PackageFilter{Product: "app", Version: "1.1", State: catalog.StateExpired}, "", 10, "1", ""},
	} {
		page, next, err := w.fsm.Packages(tt.filter, tt.before, tt.limit)
		if got := ids(page); err != nil || got != tt.want || next != tt.next {
			t.Errorf("%s: Packages = %q, next %q, %v, want %q, %q", tt.name, got, next, err, tt.want, tt.next)
		}
	}
}

func TestQueueViews(t *testing.T) {
	w := newCluster(t)
	for n := 1; n <= 4; n++ {
		w.commit(n, 1)
	}
	w.claim(3, node1)
	w.pass(1000)
	w.claim(2, node2)
	waiting, err := w.fsm.Claimable(10)
	if got := ids(waiting); err != nil || got != "1 4" {
		t.Errorf("Claimable = %q, %v, want 1 4", got, err)
	}
	claimed, err := w.fsm.Claimed(10)
	if got := ids(claimed); err != nil || got != "3 2" || claimed[0].Claim.Node != node1 {
		t.Errorf("Claimed = %q, %v, want 3 2", got, err)
	}
	if one, err := w.fsm.Claimable(1); err != nil || ids(one) != "1" {
		t.Errorf("Claimable(1) = %q, %v, want 1", ids(one), err)
	}
}

func TestFileViews(t *testing.T) {
	w := newCluster(t)
	w.ok(open(1))
	add := raftfsm.AddFiles{Package: pkg(1), Files: []raftfsm.FileEntry{listing("x64/a.pdb", 1), listing("b.dll", 2), listing("x86/c.pdb", 1)}}
	w.ok(add)
	page, err := w.fsm.Files(pkg(1), 0, 1)
	if err != nil || len(page) != 1 || page[0].No != 1 || page[0].Path != "b.dll" || page[0].Size != 1002 || page[0].SHA256 != dig(2) {
		t.Errorf("Files after 0 = %+v, %v, want b.dll", page, err)
	}
	refs, err := w.fsm.FilesOf(dig(1), 10)
	if want := []raftfsm.FileRef{{Package: pkg(1), No: 0, Path: "x64/a.pdb"}, {Package: pkg(1), No: 2, Path: "x86/c.pdb"}}; err != nil || !slices.Equal(refs, want) {
		t.Errorf("FilesOf = %+v, %v, want %+v", refs, err, want)
	}
	if f, err := w.fsm.FileWith(pkg(1), dig(1)); err != nil || f.No != 0 || f.Path != "x64/a.pdb" || f.Size != 1001 || f.SHA256 != dig(1) {
		t.Errorf("FileWith = %+v, %v, want x64/a.pdb", f, err)
	}
	_, missing := w.fsm.FileWith(pkg(1), dig(9))
	_, short := w.fsm.FileWith(pkg(1)[:10], dig(1))
	_, file := w.fsm.File(pkg(1), 3)
	_, before := w.fsm.File(pkg(1), -1)
	_, files := w.fsm.Files(pkg(2), -1, 10)
	_, none := w.fsm.Package("")
	for i, err := range []error{missing, short, file, before, files, none} {
		if !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("view %d of nothing = %v, want ErrNotFound", i, err)
		}
	}
	all, err := w.fsm.Blobs(catalog.Digest{}, 10)
	if err != nil || len(all) != 2 {
		t.Fatalf("Blobs = %+v, %v, want 2", all, err)
	}
	if rest, err := w.fsm.Blobs(all[0].Digest, 10); err != nil || len(rest) != 1 || rest[0].Digest != all[1].Digest {
		t.Errorf("Blobs after the first = %+v, %v", rest, err)
	}
}

// TestLookupOrder has candidates of several ranks, verdicts and bytes.
func TestLookupOrder(t *testing.T) {
	w := newCluster(t)
	k := key("a.pdb", 1)
	w.good(4, 1, 1, k)
	w.good(3, 1, 1, k)
	w.good(2, 2, 9, k)
	w.good(1, 3, 4, k)
	if got := w.served(k); got != "2 1 4 3" {
		t.Errorf("served %q, want rank, then verdict: 2 1 4 3", got)
	}
	w.ok(raftfsm.DeletePackage{Package: pkg(2)})
	if got := w.served(k); got != "1 4 3" {
		t.Errorf("served %q, want 1 4 3", got)
	}
	all, err := w.fsm.LookupAll(k.Index(), 10)
	if err != nil || len(all) != 4 || all[3].State != catalog.StateTrashed || all[3].Package != pkg(2) {
		t.Errorf("LookupAll = %+v, %v, want the trashed one last", all, err)
	}
	if some, err := w.fsm.LookupAll(k.Index(), 2); err != nil || len(some) != 2 {
		t.Errorf("LookupAll(2) = %+v, %v", some, err)
	}
}

// TestKeysApart stores keys whose stored forms begin alike.
func TestKeysApart(t *testing.T) {
	w := newCluster(t)
	long := symid.BuildID("\x01\x02\x03\x04\x05\x06\x07\x08\x02\x09\x0a")
	keys := []symid.Key{
		symid.BuildIDKey(long[:8], symid.Debuginfo, ""), symid.BuildIDKey(long, symid.Debuginfo, ""),
		symid.BuildIDKey(long[:8], symid.Executable, ""), symid.WasmKey("a", long[:8]), symid.WasmKey("ab", long[:8]),
	}
	for n, k := range keys {
		w.good(n+1, n+1, 1, k)
	}
	for n, k := range keys {
		if got := w.served(k); got != fmt.Sprint(n+1) {
			t.Errorf("key %d is served by %q, want %d", n, got, n+1)
		}
	}
}

// TestKeys pages through the keys of some kinds; each comes once, however many
// packages carry it.
func TestKeys(t *testing.T) {
	w := newCluster(t)
	keys := []symid.Key{
		key("a.pdb", 1), key("b.pdb", 1), key("longer-name.pdb", 1), symid.PEKey("a.exe", symid.CodeID{Timestamp: 1, ImageSize: 2}),
		symid.BuildIDKey("\x01\x02\x03\x04", symid.Debuginfo, ""), symid.BreakpadKey("a.pdb", symid.DebugID{Age: 1}),
	}
	for n, k := range keys {
		w.good(2*n+1, n, 1, k)
		w.good(2*n+2, n, 2, k)
	}
	for _, tt := range []struct {
		kinds []symid.Kind
		want  []symid.Key
	}{
		{[]symid.Kind{symid.KindPE, symid.KindPDB}, []symid.Key{keys[3], keys[0], keys[1], keys[2]}},
		{[]symid.Kind{symid.KindBuildID}, keys[4:5]},
		{[]symid.Kind{symid.KindBreakpad}, keys[5:]},
		{[]symid.Kind{symid.KindWasm}, nil},
	} {
		want := []symid.IndexKey{}
		for _, k := range tt.want {
			want = append(want, k.Index())
		}
		for limit := 1; limit < 6; limit++ {
			got, after := []symid.IndexKey{}, symid.IndexKey("")
			for {
				page, err := w.fsm.Keys(tt.kinds, after, limit)
				if err != nil {
					t.Fatal(err)
				}
				if len(page) == 0 {
					break
				}
				got, after = append(got, page...), page[len(page)-1]
			}
			if !slices.Equal(got, want) {
				t.Errorf("Keys(%v) by %d = %q, want %q", tt.kinds, limit, got, want)
			}
		}
	}
}

// TestPopularKey gives one key to many packages: a lookup names few of them and
// finds the other bytes behind them.
func TestPopularKey(t *testing.T) {
	w := newCluster(t)
	k := key("runtime.pdb", 1)
	for n := 1; n <= 30; n++ {
		w.good(n, 1, 5, k)
	}
	w.good(40, 2, 3, k)
	found := w.lookup(k)
	if len(found) != 9 || found[0].Package != pkg(1) || found[8].Package != pkg(40) {
		t.Errorf("Lookup = %d candidates, want the eight oldest of one digest and the other one", len(found))
	}
	if all, err := w.fsm.LookupAll(k.Index(), 100); err != nil || len(all) != 9 {
		t.Errorf("LookupAll = %d, %v", len(all), err)
	}
}

// TestCopies changes what views return: the catalog does not.
func TestCopies(t *testing.T) {
	w := newCluster(t)
	w.commit(1, 1)
	s, ms := w.fsm.Settings(), w.fsm.Members()
	s.MailTo[0], ms[0].Name = "spam@example.com", "evil"
	w.fsm.Counts().Packages[catalog.StateGood] = 9
	p, err := w.fsm.Package(pkg(1))
	if err != nil {
		t.Fatal(err)
	}
	p.Labels["branch"] = "evil"
	again, err := w.fsm.Package(pkg(1))
	if s, c := w.fsm.Settings(), w.fsm.Counts(); err != nil || s.MailTo[0] != "build@example.com" || again.Labels["branch"] != "main" ||
		w.fsm.Members()[0].Name != "n1" || c.Packages[catalog.StateGood] != 0 {
		t.Errorf("settings %+v, package %+v, counts %+v", s, again, c)
	}
	w.check()
}
