package raftfsm_test

import (
	"slices"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// outcome applies one receipt and returns what became of it.
func (w *world) outcome(r catalog.Receipt) raftfsm.ReceiptOutcome {
	w.t.Helper()
	var v raftfsm.ReceiptsValue
	w.into(raftfsm.PutReceipts{Receipts: []catalog.Receipt{r}}, &v)
	if len(v.Receipts) != 1 || v.Receipts[0].Digest != r.Digest {
		w.t.Fatalf("PutReceipts = %+v, want one outcome for %s", v, r.Digest)
	}
	return v.Receipts[0]
}

func (w *world) blob(n int) catalog.Blob {
	w.t.Helper()
	b, err := w.fsm.Blob(dig(n))
	if err != nil {
		w.t.Fatalf("Blob(%d) = %v", n, err)
	}
	return b
}

func TestPutReceipts(t *testing.T) {
	w := newCluster(t)
	w.ok(open(1))
	w.ok(raftfsm.AddFiles{Package: pkg(1), Files: []raftfsm.FileEntry{listing("a.pdb", 1)}})
	if out := w.outcome(receipt(1, node4)); out.Refused != raftfsm.RefusedHolders {
		t.Errorf("holder that is no member: %+v", out)
	}
	if out := w.outcome(receipt(1, node2, node4)); out.Refused != "" || out.Gen != 1 || !slices.Equal(out.Holders, []catalog.NodeID{node2}) {
		t.Errorf("first receipt: %+v, want node 2 as the only holder", out)
	}
	if out := w.outcome(receipt(1, node1)); out.Refused != "" || !slices.Equal(out.Holders, []catalog.NodeID{node1, node2}) {
		t.Errorf("second receipt: %+v, want the union", out)
	}
	other := receipt(1, node3)
	other.Packed.SHA256 = dig(77)
	if out := w.outcome(other); out.Refused != raftfsm.RefusedPacked || out.Packed != receipt(1).Packed {
		t.Errorf("other packed form: %+v, want it refused with the right one", out)
	}
	edit := func(fn func(*catalog.Receipt)) catalog.Receipt {
		r := receipt(1, node3)
		fn(&r)
		return r
	}
	for _, tt := range []struct {
		name string
		in   catalog.Receipt
		want string
	}{
		{"unreferenced", receipt(2, node1), raftfsm.RefusedUnreferenced},
		{"other raw size", edit(func(r *catalog.Receipt) { r.RawSize++ }), raftfsm.RefusedSize},
		{"no packed digest", edit(func(r *catalog.Receipt) { r.Packed.SHA256 = catalog.Digest{} }), raftfsm.RefusedInvalid},
		{"no packed size", edit(func(r *catalog.Receipt) { r.Packed.Size = 0 }), raftfsm.RefusedInvalid},
		{"negative raw size", edit(func(r *catalog.Receipt) { r.RawSize = -1 }), raftfsm.RefusedInvalid},
		{"unknown container", edit(func(r *catalog.Receipt) { r.Packed.Container = "zip" }), raftfsm.RefusedInvalid},
	} {
		if out := w.outcome(tt.in); out.Refused != tt.want {
			t.Errorf("%s: %+v, want %s", tt.name, out, tt.want)
		}
	}
	var v raftfsm.ReceiptsValue // each one is judged alone
	w.into(raftfsm.PutReceipts{Receipts: []catalog.Receipt{receipt(2, node1), receipt(1, node3)}}, &v)
	if v.Receipts[0].Refused == "" || v.Receipts[1].Refused != "" || len(w.blob(1).Holders) != 3 {
		t.Errorf("mixed receipts: %+v, holders %v", v, w.blob(1).Holders)
	}
	w.check()
}

// TestLostBlob drops every copy: then, and only then, another packed form counts.
func TestLostBlob(t *testing.T) {
	w := newCluster(t)
	w.commit(1, 1)
	other := receipt(1, node3)
	other.Packed.SHA256 = dig(77)
	w.ok(raftfsm.DropHolders{Node: node1, Digests: []catalog.Digest{dig(1), dig(2)}})
	if out := w.outcome(other); out.Refused != raftfsm.RefusedPacked {
		t.Errorf("with a copy left: %+v, want it refused", out)
	}
	w.ok(raftfsm.DropHolders{Node: node2, Digests: []catalog.Digest{dig(1)}})
	if n, any := w.fsm.MinHolders(); n != 0 || !any {
		t.Errorf("MinHolders of a lost blob = %d, %v, want 0", n, any)
	}
	if got, err := w.fsm.Lacking([]catalog.Digest{dig(1)}); err != nil || len(got) != 1 {
		t.Errorf("Lacking of a lost blob = %v, %v", got, err)
	}
	if out := w.outcome(other); out.Refused != "" || out.Packed != other.Packed {
		t.Errorf("without a copy: %+v, want it recorded", out)
	}
	w.refuse(raftfsm.DropHolders{Node: node4, Digests: []catalog.Digest{dig(1)}}, catalog.ErrNotFound)
	w.check()
}

// TestRetirement follows a blob from its last reference through retirement to its
// next generation.
func TestRetirement(t *testing.T) {
	w := newCluster(t)
	w.upload(1, 1, 2)
	w.ok(open(2))
	w.ok(raftfsm.AddFiles{Package: pkg(2), Files: []raftfsm.FileEntry{listing("a.pdb", 2)}})
	retire := func(want int, rs ...raftfsm.Retiree) {
		t.Helper()
		var v raftfsm.RetireValue
		w.into(raftfsm.RetireBlobs{Blobs: rs}, &v)
		if len(v.Retired) != want {
			t.Errorf("RetireBlobs(%v) = %+v, want %d", rs, v, want)
		}
	}
	retire(0, raftfsm.Retiree{Digest: dig(1), Gen: 1}, raftfsm.Retiree{Digest: dig(2), Gen: 1}) // both referenced
	w.ok(raftfsm.RenewLease{Package: pkg(2), LeaseMillis: 2 * day})
	w.pass(3_600_001)
	w.sweep(1)
	if b := w.blob(1); b.Refs != 0 || b.IdleAt == 0 || b.Retired {
		t.Errorf("blob of an expired package = %+v, want idle", b)
	}
	if got, err := w.fsm.Lacking([]catalog.Digest{dig(1)}); err != nil || len(got) != 0 {
		t.Errorf("an idle blob is lacking: %v, %v", got, err)
	}
	candidates := func(want int) {
		t.Helper()
		if got, err := w.fsm.RetireCandidates(day, 10); err != nil || len(got) != want {
			t.Errorf("RetireCandidates = %v, %v, want %d", got, err, want)
		}
	}
	candidates(0)
	w.pass(day)
	candidates(1)
	retire(0, raftfsm.Retiree{Digest: dig(1), Gen: 2}, raftfsm.Retiree{Digest: dig(9), Gen: 1}) // other generation, unknown
	retire(1, raftfsm.Retiree{Digest: dig(1), Gen: 1})
	retire(1, raftfsm.Retiree{Digest: dig(1), Gen: 1}) // again: the same answer
	candidates(0)
	if b := w.blob(1); !b.Retired || len(b.Holders) != 0 || b.Gen != 1 {
		t.Errorf("retired blob = %+v", b)
	}
	var v raftfsm.AddFilesValue
	w.into(raftfsm.AddFiles{Package: pkg(2), First: 1, Files: []raftfsm.FileEntry{listing("b.pdb", 1)}}, &v)
	if !slices.Equal(v.Lacking, []catalog.Digest{dig(1)}) {
		t.Errorf("listing a retired blob = %+v, want it lacking", v)
	}
	retire(0, raftfsm.Retiree{Digest: dig(1), Gen: 1}) // a late proposal about the old generation
	fresh := receipt(1, node3)
	fresh.Packed.SHA256 = dig(78)
	if out := w.outcome(fresh); out.Refused != "" || out.Gen != 2 {
		t.Errorf("receipt of the next generation: %+v, want generation 2", out)
	}
	w.check()
}

// TestReferenceBeforeRetirement takes a reference while the retirement is on its
// way: the blob stays.
func TestReferenceBeforeRetirement(t *testing.T) {
	w := newCluster(t)
	w.upload(1, 1)
	w.pass(3_600_001)
	w.sweep(10)
	w.pass(day)
	list, err := w.fsm.RetireCandidates(day, 10)
	if err != nil || len(list) != 1 {
		t.Fatalf("RetireCandidates = %v, %v", list, err)
	}
	w.ok(open(2))
	var v raftfsm.AddFilesValue
	w.into(raftfsm.AddFiles{Package: pkg(2), Files: []raftfsm.FileEntry{listing("a.pdb", 1)}}, &v)
	if len(v.Lacking) != 0 {
		t.Errorf("an idle blob with holders is lacking")
	}
	var gone raftfsm.RetireValue
	w.into(raftfsm.RetireBlobs{Blobs: list}, &gone)
	if b := w.blob(1); len(gone.Retired) != 0 || b.Retired || len(b.Holders) != 2 {
		t.Errorf("retired %v, blob %+v, want it kept", gone.Retired, b)
	}
	w.check()
}

// TestMinHoldersIsHonest removes a holder: before its entries are swept the answer
// is not the old one.
func TestMinHoldersIsHonest(t *testing.T) {
	w := newCluster(t)
	w.commit(1, 1) // on nodes 1 and 2
	w.ok(raftfsm.RemoveMember{ID: node2})
	for _, when := range []string{"before the sweep", "after it"} {
		if n, any := w.fsm.MinHolders(); n != 1 || !any || w.fsm.UnderReplicated(2) != 1 {
			t.Errorf("%s: MinHolders = %d, %v, under 2: %d, want 1 and 1", when, n, any, w.fsm.UnderReplicated(2))
		}
		w.sweep(1)
	}
	w.check()
}

// TestNeverUploaded lists blobs nobody ever sends: nothing of them stays.
func TestNeverUploaded(t *testing.T) {
	w := newCluster(t)
	w.ok(open(1))
	w.ok(raftfsm.AddFiles{Package: pkg(1), Files: []raftfsm.FileEntry{listing("a.pdb", 1)}})
	if _, any := w.fsm.MinHolders(); any {
		t.Error("a blob nobody sent counts in MinHolders")
	}
	w.pass(3_600_001)
	w.sweep(10)
	if b, err := w.fsm.Blob(dig(1)); err == nil {
		t.Errorf("Blob = %+v, want none", b)
	}
	w.check()
}

func TestHistogram(t *testing.T) {
	w := newCluster(t)
	if n := w.fsm.UnderReplicated(3); n != 0 {
		t.Errorf("UnderReplicated of nothing = %d", n)
	}
	w.commit(1, 1, 2, 3)
	w.ok(raftfsm.PutReceipts{Receipts: []catalog.Receipt{receipt(1, node3), receipt(2, node3)}})
	min, _ := w.fsm.MinHolders()
	if under, c := w.fsm.UnderReplicated(3), w.fsm.Counts(); min != 2 || under != 1 || c.Blobs != 3 || c.Packages[catalog.StateCommitted] != 1 {
		t.Errorf("min %d, under %d, counts %+v, want 2, 1, 3 blobs, 1 committed", min, under, c)
	}
	w.ok(raftfsm.RemoveMember{ID: node3}) // not swept yet: the answer may be too low, not too high
	if min, _ := w.fsm.MinHolders(); min > 2 || w.fsm.UnderReplicated(3) != 3 {
		t.Errorf("after a member left: min %d, under %d, want at most 2, 3", min, w.fsm.UnderReplicated(3))
	}
	if b := w.blob(1); len(b.Holders) != 2 {
		t.Errorf("holders with a departed member = %v, want 2", b.Holders)
	}
	if due, err := w.fsm.SweepDue(); !due || err != nil {
		t.Errorf("SweepDue = %v, %v, want true", due, err)
	}
	if rounds := w.sweep(1); rounds < 3 {
		t.Errorf("sweep of 1 row took %d rounds for 3 blobs", rounds)
	}
	if min, _ := w.fsm.MinHolders(); min != 2 || w.fsm.UnderReplicated(3) != 3 || w.fsm.UnderReplicated(2) != 0 {
		t.Errorf("after the sweep: min %d, under 3: %d, under 2: %d", min, w.fsm.UnderReplicated(3), w.fsm.UnderReplicated(2))
	}
	w.check()
}
