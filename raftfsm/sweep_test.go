package raftfsm_test

import (
	"errors"
	"fmt"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// TestSweepFailed releases the blobs of a failed package after 14 days and keeps
// its record and findings.
func TestSweepFailed(t *testing.T) {
	w := newCluster(t)
	k := key("a.pdb", 1)
	w.commit(1, 1, 2, 3)
	token := w.claim(1, node1)
	w.ok(raftfsm.AddKeys{Package: pkg(1), Token: token, Reports: []catalog.FileReport{report(0, 1, k), report(1, 1), report(2, 1)}})
	w.ok(raftfsm.AddFindings{Package: pkg(1), Token: token, File: 1, Findings: failing})
	w.ok(raftfsm.RecordVerdict{Package: pkg(1), Token: token, Files: 3, Findings: failing, At: at})
	w.pass(14*day - 1)
	w.sweep(100)
	if b := w.blob(1); b.Refs != 1 {
		t.Errorf("a millisecond early: blob %+v", b)
	}
	w.pass(1)
	w.refuse(raftfsm.RetryPackage{Package: pkg(1)}, catalog.ErrConflict) // too late, even before the sweep
	if rounds := w.sweep(1); rounds < 3 {
		t.Errorf("sweep of 1 row took %d rounds for 3 files", rounds)
	}
	for n := range 3 {
		if b := w.blob(n + 1); b.Refs != 0 || b.IdleAt == 0 {
			t.Errorf("blob %d = %+v, want idle", n+1, b)
		}
	}
	files, err := w.fsm.Files(pkg(1), -1, 10)
	if err != nil || len(files) != 1 || files[0].No != 1 || fmt.Sprint(files[0].Findings) != fmt.Sprint(failing) {
		t.Errorf("Files = %+v, %v, want the one with a finding", files, err)
	}
	p, err := w.fsm.Package(pkg(1))
	if err != nil || p.State != catalog.StateFailed || p.Errors != 2 || len(p.Findings) != 1 {
		t.Errorf("Package = %+v, %v, want its record and finding", p, err)
	}
	if all, err := w.fsm.LookupAll(k.Index(), 10); err != nil || len(all) != 0 {
		t.Errorf("LookupAll = %+v, %v, want none", all, err)
	}
	w.check()
	w.ok(raftfsm.DeletePackage{Package: pkg(1)})
	w.pass(14 * day)
	w.sweep(2)
	w.wantState(pkg(1), catalog.StatePurged)
	if files, err := w.fsm.Files(pkg(1), -1, 10); err != nil || len(files) != 0 {
		t.Errorf("files of a purged package = %+v, %v", files, err)
	}
	w.check()
}

// TestTrashWhileReleased trashes a failed package in the middle of its release,
// takes it back, and lets it go.
func TestTrashWhileReleased(t *testing.T) {
	w := newCluster(t)
	w.commit(1, 1, 2, 3)
	w.judge(1, failing, report(0, 1), report(1, 1), report(2, 1))
	w.pass(14 * day)
	w.ok(raftfsm.Sweep{Limit: 2})
	w.ok(raftfsm.DeletePackage{Package: pkg(1)})
	w.sweep(1)
	w.wantState(pkg(1), catalog.StateTrashed)
	w.ok(raftfsm.UndeletePackage{Package: pkg(1)})
	w.refuse(raftfsm.RetryPackage{Package: pkg(1)}, catalog.ErrConflict)
	w.ok(raftfsm.Sweep{Limit: 1})
	w.ok(raftfsm.DeletePackage{Package: pkg(1)})
	w.pass(14 * day)
	w.sweep(1)
	w.wantState(pkg(1), catalog.StatePurged)
	w.check()
}

// TestSweepPurged purges a good package and leaves nothing but its record.
func TestSweepPurged(t *testing.T) {
	w := newCluster(t)
	k := key("a.pdb", 1)
	w.good(1, 1, 1, k)
	w.ok(raftfsm.DeletePackage{Package: pkg(1), By: "eve"})
	w.pass(14 * day)
	w.sweep(1)
	w.wantState(pkg(1), catalog.StatePurged)
	if b := w.blob(1); b.Refs != 0 {
		t.Errorf("blob = %+v, want no reference", b)
	}
	if refs, err := w.fsm.FilesOf(dig(1), 10); err != nil || len(refs) != 0 {
		t.Errorf("FilesOf = %v, %v, want none", refs, err)
	}
	if all, err := w.fsm.LookupAll(k.Index(), 10); err != nil || len(all) != 0 {
		t.Errorf("LookupAll = %v, %v, want none", all, err)
	}
	w.check()
}

// TestIdempotencyKey keeps a key until 7 days after the terminal state.
func TestIdempotencyKey(t *testing.T) {
	w := newCluster(t)
	w.good(1, 1, 1, key("a.pdb", 1))
	again := open(2)
	again.IdempotencyKey = "push-1"
	w.pass(7*day - 1)
	w.sweep(10)
	w.ok(again)
	if p, err := w.fsm.PackageByKey("push-1"); err != nil || p.ID != pkg(1) {
		t.Errorf("before 7 days: %s, %v, want package 1", p.ID, err)
	}
	w.pass(1)
	w.sweep(10)
	if p, err := w.fsm.PackageByKey("push-1"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("after 7 days: %s, %v, want none", p.ID, err)
	}
	w.ok(again)
	w.wantState(pkg(2), catalog.StateOpen)
	w.check()
}

// TestExpiredIsForgotten removes an expired package with its key.
func TestExpiredIsForgotten(t *testing.T) {
	w := newCluster(t)
	w.upload(1, 1)
	w.pass(3_600_001)
	w.sweep(10)
	w.wantState(pkg(1), catalog.StateExpired)
	w.pass(7 * day)
	w.sweep(10)
	if _, err := w.fsm.Package(pkg(1)); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("Package = %v, want ErrNotFound", err)
	}
	if c := w.fsm.Counts(); len(c.Packages) != 0 {
		t.Errorf("Counts = %+v, want no package", c)
	}
	w.check()
}

func TestSweepLimits(t *testing.T) {
	w := newCluster(t)
	for _, limit := range []int{0, -1, raftfsm.MaxSweep + 1} {
		w.refuse(raftfsm.Sweep{Limit: limit}, catalog.ErrInvalid)
	}
	var v raftfsm.SweepValue
	w.into(raftfsm.Sweep{Limit: raftfsm.MaxSweep}, &v)
	if v.Rows != 0 || v.More {
		t.Errorf("sweep of nothing = %+v", v)
	}
	blobs := []int{}
	for n := range 50 {
		blobs = append(blobs, n)
	}
	w.upload(1, blobs...)
	w.pass(3_600_001)
	w.into(raftfsm.Sweep{Limit: 20}, &v)
	if v.Rows != 20 || !v.More {
		t.Errorf("sweep of 20 rows = %+v", v)
	}
	w.check()
}
