package raftfsm_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

func TestOpenPackage(t *testing.T) {
	w := newCluster(t)
	var p catalog.Package
	w.into(open(1), &p)
	if p.ID != pkg(1) || p.State != catalog.StateOpen || p.OpenedIndex != uint64(len(w.log)) || p.Lease != w.fsm.ClusterTime()+3_600_000 {
		t.Errorf("opened %+v", p)
	}
	again := open(2)
	again.IdempotencyKey = "push-1"
	w.into(again, &p)
	if p.ID != pkg(1) {
		t.Errorf("the same idempotency key opened %s, want %s", p.ID, pkg(1))
	}
	if got, err := w.fsm.PackageByKey("push-1"); err != nil || got.ID != pkg(1) {
		t.Errorf("PackageByKey = %s, %v, want %s", got.ID, err, pkg(1))
	}
	for _, tt := range []struct {
		name string
		edit func(*raftfsm.OpenPackage)
		want error
	}{
		{"id taken", func(c *raftfsm.OpenPackage) { c.ID = pkg(1) }, catalog.ErrConflict},
		{"id short", func(c *raftfsm.OpenPackage) { c.ID = "01JD" }, catalog.ErrInvalid},
		{"id lower case", func(c *raftfsm.OpenPackage) { c.ID = catalog.PackageID(strings.ToLower(string(pkg(3)))) }, catalog.ErrInvalid},
		{"id not Crockford", func(c *raftfsm.OpenPackage) { c.ID = "U" + pkg(3)[1:] }, catalog.ErrInvalid},
		{"no idempotency key", func(c *raftfsm.OpenPackage) { c.IdempotencyKey = "" }, catalog.ErrInvalid},
		{"long idempotency key", func(c *raftfsm.OpenPackage) { c.IdempotencyKey = strings.Repeat("k", 129) }, catalog.ErrInvalid},
		{"no product", func(c *raftfsm.OpenPackage) { c.Product = "" }, catalog.ErrInvalid},
		{"no version", func(c *raftfsm.OpenPackage) { c.Version = "" }, catalog.ErrInvalid},
		{"long product", func(c *raftfsm.OpenPackage) { c.Product = strings.Repeat("p", catalog.MaxText+1) }, catalog.ErrInvalid},
		{"NUL in product", func(c *raftfsm.OpenPackage) { c.Product = "a\x00b" }, catalog.ErrInvalid},
		{"long comment", func(c *raftfsm.OpenPackage) { c.Comment = strings.Repeat("c", catalog.MaxComment+1) }, catalog.ErrInvalid},
		{"label without a name", func(c *raftfsm.OpenPackage) { c.Labels = map[string]string{"": "x"} }, catalog.ErrInvalid},
		{"control character in a label", func(c *raftfsm.OpenPackage) { c.Labels = map[string]string{"a": "\x01"} }, catalog.ErrInvalid},
		{"too many labels", func(c *raftfsm.OpenPackage) {
			c.Labels = map[string]string{}
			for i := range catalog.MaxLabels + 1 {
				c.Labels[fmt.Sprint(i)] = ""
			}
		}, catalog.ErrInvalid},
		{"no lease", func(c *raftfsm.OpenPackage) { c.LeaseMillis = 0 }, catalog.ErrInvalid},
		{"endless lease", func(c *raftfsm.OpenPackage) { c.LeaseMillis = raftfsm.MaxLease + 1 }, catalog.ErrInvalid},
	} {
		c := open(3)
		tt.edit(&c)
		t.Run(tt.name, func(t *testing.T) { w.refuse(c, tt.want) })
	}
	w.check()
}

func TestAddFiles(t *testing.T) {
	w := newCluster(t)
	w.commit(9, 7) // blob 7 is stored
	w.ok(open(1))
	chunk := raftfsm.AddFiles{Package: pkg(1), Files: []raftfsm.FileEntry{listing("a.pdb", 1), listing("b.pdb", 7), listing("c.pdb", 1)}}
	for _, round := range []string{"first", "again"} {
		var v raftfsm.AddFilesValue
		w.into(chunk, &v)
		if v.Files != 3 || !slices.Equal(v.Lacking, []catalog.Digest{dig(1)}) {
			t.Errorf("%s: AddFiles = %+v, want 3 files, lacking blob 1 once", round, v)
		}
	}
	if b, err := w.fsm.Blob(dig(1)); err != nil || b.Refs != 2 || b.Gen != 1 {
		t.Errorf("Blob = %+v, %v, want 2 references, generation 1", b, err)
	}
	var v raftfsm.AddFilesValue
	w.into(raftfsm.AddFiles{Package: pkg(1), First: 2, Files: []raftfsm.FileEntry{listing("c.pdb", 1), listing("d.pdb", 2)}}, &v)
	if v.Files != 4 || len(v.Lacking) != 2 {
		t.Errorf("overlapping chunk = %+v, want 4 files, 2 lacking", v)
	}
	negative, huge, wrongSize := listing("e.pdb", 3), listing("e.pdb", 3), listing("e.pdb", 7)
	negative.Size, huge.Size, wrongSize.Size = -1, catalog.MaxFileBytes+1, 12
	for _, tt := range []struct {
		name string
		cmd  raftfsm.AddFiles
		want error
	}{
		{"other digest", raftfsm.AddFiles{First: 0, Files: []raftfsm.FileEntry{listing("a.pdb", 2)}}, catalog.ErrConflict},
		{"other path", raftfsm.AddFiles{First: 0, Files: []raftfsm.FileEntry{listing("z.pdb", 1)}}, catalog.ErrConflict},
		{"new row, then other path", raftfsm.AddFiles{First: 3, Files: []raftfsm.FileEntry{listing("x.pdb", 2), listing("y.pdb", 3)}}, catalog.ErrConflict},
		{"gap", raftfsm.AddFiles{First: 5, Files: []raftfsm.FileEntry{listing("e.pdb", 3)}}, catalog.ErrConflict},
		{"before the first", raftfsm.AddFiles{First: -1, Files: []raftfsm.FileEntry{listing("e.pdb", 3)}}, catalog.ErrConflict},
		{"path escapes", raftfsm.AddFiles{First: 4, Files: []raftfsm.FileEntry{listing("../e.pdb", 3)}}, catalog.ErrInvalid},
		{"no digest", raftfsm.AddFiles{First: 4, Files: []raftfsm.FileEntry{{Path: "e.pdb"}}}, catalog.ErrInvalid},
		{"negative size", raftfsm.AddFiles{First: 4, Files: []raftfsm.FileEntry{negative}}, catalog.ErrInvalid},
		{"huge size", raftfsm.AddFiles{First: 4, Files: []raftfsm.FileEntry{huge}}, catalog.ErrInvalid},
		{"not the size of the stored blob", raftfsm.AddFiles{First: 4, Files: []raftfsm.FileEntry{wrongSize}}, catalog.ErrInvalid},
	} {
		tt.cmd.Package = pkg(1)
		t.Run(tt.name, func(t *testing.T) { w.refuse(tt.cmd, tt.want) })
	}
	w.refuse(raftfsm.AddFiles{Package: pkg(9), Files: chunk.Files}, catalog.ErrConflict) // committed
	w.refuse(raftfsm.AddFiles{Package: pkg(5), Files: chunk.Files}, catalog.ErrNotFound)
	w.check()
}

func TestLease(t *testing.T) {
	w := newCluster(t)
	w.upload(1, 1)
	w.pass(3_600_000) // to the last millisecond
	w.ok(raftfsm.RenewLease{Package: pkg(1), LeaseMillis: 5000})
	w.refuse(raftfsm.RenewLease{Package: pkg(1), LeaseMillis: 0}, catalog.ErrInvalid)
	w.upload(2, 1)
	w.pass(5001)
	w.wantState(pkg(1), catalog.StateExpired)
	w.wantState(pkg(2), catalog.StateOpen)
	for _, c := range []raftfsm.Command{
		raftfsm.RenewLease{Package: pkg(1), LeaseMillis: 5000},
		raftfsm.CommitPackage{Package: pkg(1), Files: 1, At: at},
		raftfsm.AddFiles{Package: pkg(1), First: 1, Files: []raftfsm.FileEntry{listing("b.pdb", 2)}},
		raftfsm.DeletePackage{Package: pkg(1)},
		raftfsm.UndeletePackage{Package: pkg(1)},
		raftfsm.RetryPackage{Package: pkg(1)},
		raftfsm.ClaimValidation{Package: pkg(1), Node: node1},
	} {
		w.refuse(c, catalog.ErrConflict)
	}
	w.sweep(100)
	if b, err := w.fsm.Blob(dig(1)); err != nil || b.Refs != 1 {
		t.Errorf("Blob after the sweep = %+v, %v, want the reference of package 2 only", b, err)
	}
	w.check()
}

// TestTickIsBounded opens more packages than one tick may expire: the rest is
// refused at once, and expired by the next ticks.
func TestTickIsBounded(t *testing.T) {
	w := newCluster(t)
	for n := range 120 {
		w.ok(open(n))
	}
	w.pass(3_600_000)
	var v raftfsm.TickValue
	w.into(raftfsm.Tick{Millis: 1}, &v)
	if v.Expired != 100 || !v.More {
		t.Errorf("first tick = %+v, want 100 expired and more", v)
	}
	w.wantState(pkg(119), catalog.StateOpen)
	w.refuse(raftfsm.RenewLease{Package: pkg(119), LeaseMillis: 5000}, catalog.ErrConflict)
	w.into(raftfsm.Tick{Millis: 1}, &v)
	if v.Expired != 20 || v.More {
		t.Errorf("second tick = %+v, want the other 20", v)
	}
	for _, millis := range []int64{0, -1, raftfsm.MaxTick + 1} {
		w.refuse(raftfsm.Tick{Millis: millis}, catalog.ErrInvalid)
	}
	w.check()
}

func TestCommitPackage(t *testing.T) {
	w := newCluster(t)
	w.ok(open(1))
	w.refuse(raftfsm.CommitPackage{Package: pkg(1), Files: 0, At: at}, catalog.ErrConflict) // nothing listed
	w.ok(raftfsm.AddFiles{Package: pkg(1), Files: []raftfsm.FileEntry{listing("a.pdb", 1), listing("b.pdb", 2), listing("c.pdb", 2)}})
	w.refuse(raftfsm.CommitPackage{Package: pkg(1), Files: 2, At: at}, catalog.ErrConflict)
	commit := raftfsm.CommitPackage{Package: pkg(1), Files: 3, At: at}
	short := func(want ...catalog.Digest) {
		t.Helper()
		var v raftfsm.CommitValue
		r := w.refuse(commit, catalog.ErrUnavailable)
		if err := r.Into(&v); err != nil || v.Quorum != 2 || !slices.Equal(v.Short, want) {
			t.Errorf("commit = %+v, %v, want short %v of quorum 2", v, err, want)
		}
	}
	short(dig(1), dig(2))
	w.ok(raftfsm.PutReceipts{Receipts: []catalog.Receipt{receipt(1, node1, node2), receipt(2, node1)}})
	short(dig(2))
	w.ok(raftfsm.PutReceipts{Receipts: []catalog.Receipt{receipt(2, node1, node1)}}) // the same node is one holder
	short(dig(2))
	w.ok(raftfsm.PutReceipts{Receipts: []catalog.Receipt{receipt(2, node3)}})
	w.ok(raftfsm.RemoveMember{ID: node3}) // no member: its copy does not count
	short(dig(2))
	w.ok(raftfsm.DropHolders{Node: node1, Digests: []catalog.Digest{dig(1)}})
	short(dig(1), dig(2))
	w.ok(raftfsm.PutReceipts{Receipts: []catalog.Receipt{receipt(1, node1), receipt(2, node2)}})
	index := w.ok(commit)
	p, err := w.fsm.Package(pkg(1))
	if err != nil || p.State != catalog.StateCommitted || p.CommittedIndex != index || !p.CommittedAt.Equal(at) || p.Bytes != 1001+1002+1002 {
		t.Errorf("committed %+v, %v", p, err)
	}
	w.ok(commit) // again: nothing changes
	if again, err := w.fsm.Package(pkg(1)); err != nil || again.CommittedIndex != index {
		t.Errorf("second commit moved the index to %d, %v", again.CommittedIndex, err)
	}
	w.refuse(raftfsm.CommitPackage{Package: pkg(7), Files: 1}, catalog.ErrNotFound)
	w.check()
}

// TestCommitOfOtherSize lists a file with a size that turns out wrong.
func TestCommitOfOtherSize(t *testing.T) {
	w := newCluster(t)
	w.ok(open(1))
	f := listing("a.pdb", 1)
	f.Size = 5
	w.ok(raftfsm.AddFiles{Package: pkg(1), Files: []raftfsm.FileEntry{f}})
	w.ok(raftfsm.PutReceipts{Receipts: []catalog.Receipt{receipt(1, node1, node2)}})
	w.refuse(raftfsm.CommitPackage{Package: pkg(1), Files: 1, At: at}, catalog.ErrInvalid)
}

func TestSmallClusterQuorum(t *testing.T) {
	w := newWorld(t)
	w.ok(raftfsm.CreateCluster{ClusterID: cluster, Settings: catalog.DefaultSettings(), At: at})
	w.ok(raftfsm.PutMember{Member: memberRow(node1, "n1")})
	w.ok(open(1))
	w.ok(raftfsm.AddFiles{Package: pkg(1), Files: []raftfsm.FileEntry{listing("a.pdb", 1)}})
	w.ok(raftfsm.PutReceipts{Receipts: []catalog.Receipt{receipt(1, node1)}})
	w.ok(raftfsm.CommitPackage{Package: pkg(1), Files: 1, At: at}) // one member: one copy will do
}

// TestStates applies each command that moves a package to packages in every state.
func TestStates(t *testing.T) {
	const same = catalog.State("")
	w := newCluster(t)
	build := map[catalog.State]func(n int){
		catalog.StateOpen:      func(n int) { w.upload(n, 1) },
		catalog.StateCommitted: func(n int) { w.commit(n, 1) },
		catalog.StateGood:      func(n int) { w.good(n, 1, 0, key("a.pdb", 1)) },
		catalog.StateFailed:    func(n int) { w.commit(n, 1); w.judge(n, failing, report(0, 0)) },
		catalog.StateStuck:     func(n int) { w.stick(n) },
		catalog.StateExpired:   func(n int) { w.upload(n, 1); w.pass(3_600_001) },
		catalog.StateTrashed: func(n int) {
			w.good(n, 1, 0, key("a.pdb", 1))
			w.ok(raftfsm.DeletePackage{Package: pkg(n)})
		},
		catalog.StatePurged: func(n int) {
			w.good(n, 1, 0, key("a.pdb", 1))
			w.ok(raftfsm.DeletePackage{Package: pkg(n)})
			w.pass(14 * day)
			w.sweep(100)
		},
	}
	n := 0
	for _, tt := range []struct {
		from                            catalog.State
		del, undelete, retry, claim, do catalog.State // what follows; same: no change; refused: an error
	}{
		{catalog.StateOpen, "refused", "refused", "refused", "refused", catalog.StateCommitted},
		{catalog.StateCommitted, "refused", "refused", same, catalog.StateCommitted, same},
		{catalog.StateGood, catalog.StateTrashed, same, "refused", "refused", same},
		{catalog.StateFailed, catalog.StateTrashed, same, catalog.StateCommitted, "refused", same},
		{catalog.StateStuck, catalog.StateTrashed, same, catalog.StateCommitted, "refused", same},
		{catalog.StateExpired, "refused", "refused", "refused", "refused", "refused"},
		{catalog.StateTrashed, same, catalog.StateGood, "refused", "refused", same},
		{catalog.StatePurged, same, "refused", "refused", "refused", same},
	} {
		for i, want := range []catalog.State{tt.del, tt.undelete, tt.retry, tt.claim, tt.do} {
			n++
			build[tt.from](n)
			w.wantState(pkg(n), tt.from)
			c := []raftfsm.Command{raftfsm.DeletePackage{Package: pkg(n), By: "eve", At: at}, raftfsm.UndeletePackage{Package: pkg(n)},
				raftfsm.RetryPackage{Package: pkg(n)}, raftfsm.ClaimValidation{Package: pkg(n), Node: node1},
				raftfsm.CommitPackage{Package: pkg(n), Files: 1, At: at}}[i]
			switch want {
			case "refused":
				w.refuse(c, catalog.ErrConflict)
				want = tt.from
			case same:
				w.ok(c)
				want = tt.from
			default:
				w.ok(c)
			}
			if got := w.state(pkg(n)); got != want {
				t.Errorf("%T on a package in state %s made it %s, want %s", c, tt.from, got, want)
			}
		}
	}
	for _, c := range []raftfsm.Command{raftfsm.DeletePackage{Package: pkg(0)}, raftfsm.UndeletePackage{Package: pkg(0)},
		raftfsm.RetryPackage{Package: pkg(0)}, raftfsm.ClaimValidation{Package: pkg(0), Node: node1},
		raftfsm.AddKeys{Package: pkg(0)}, raftfsm.AddFindings{Package: pkg(0)}, raftfsm.RecordVerdict{Package: pkg(0)},
		raftfsm.RenewClaim{Package: pkg(0)}, raftfsm.ReleaseClaim{Package: pkg(0)}, raftfsm.RenewLease{Package: pkg(0), LeaseMillis: 1}} {
		w.refuse(c, catalog.ErrNotFound)
	}
	w.check()
}

// stick makes package n stuck.
func (w *world) stick(n int) {
	w.t.Helper()
	w.commit(n, 1)
	for range 3 {
		w.claim(n, node1)
		w.pass(61_000)
	}
}

func TestDeleteAndUndelete(t *testing.T) {
	w := newCluster(t)
	k := key("a.pdb", 1)
	w.good(1, 1, 0, k)
	w.ok(raftfsm.DeletePackage{Package: pkg(1), By: "eve", Reason: "wrong branch", At: at})
	if got := w.served(k); got != "" {
		t.Errorf("a trashed package is served: %q", got)
	}
	p, err := w.fsm.Package(pkg(1))
	if err != nil || p.Previous != catalog.StateGood || p.Reason != "deleted by eve: wrong branch" {
		t.Errorf("trashed %+v, %v", p, err)
	}
	w.pass(14*day - 1)
	w.sweep(10)
	w.ok(raftfsm.UndeletePackage{Package: pkg(1), By: "eve"})
	if got := w.served(k); got != "1" {
		t.Errorf("after undelete %q is served, want package 1", got)
	}
	if p, err = w.fsm.Package(pkg(1)); err != nil || p.Previous != "" || p.Reason != "" {
		t.Errorf("undeleted %+v, %v", p, err)
	}
	w.ok(raftfsm.DeletePackage{Package: pkg(1)})
	w.pass(14 * day)
	w.refuse(raftfsm.UndeletePackage{Package: pkg(1)}, catalog.ErrConflict) // too late, even before the sweep
	w.check()
}
