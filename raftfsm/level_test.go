package raftfsm_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

// levelOne is a log as a cluster of the first release writes it.
func levelOne(t testing.TB) *world {
	w, _ := history(t)
	w.ok(raftfsm.PutMember{Member: memberRow(node4, "n2"), Replaces: node2})
	w.ok(raftfsm.PutMember{Member: memberRow(node2, "n5")}) // the replaced one comes back
	w.ok(raftfsm.MarkSynced{Node: node4})
	w.ok(raftfsm.SetDraining{Node: node1, Draining: true})
	w.ok(raftfsm.PutSettings{Settings: catalog.Settings{Replicas: 2, MailFrom: "symkeep@example.com", MailTo: []string{"build@example.com"}}})
	w.ok(raftfsm.SetDraining{Node: node1})
	w.pass(15 * day)
	w.sweep(100)
	w.ok(raftfsm.RetireBlobs{Blobs: []raftfsm.Retiree{{Digest: dig(12), Gen: 1}, {Digest: dig(10), Gen: 1}}})
	w.stick(70)
	return w
}

// TestLevelOneAsBefore compares every row and the rolling hash at level 1 with those
// that the first release came to from the same log.
func TestLevelOneAsBefore(t *testing.T) {
	sum := sha256.Sum256([]byte(fingerprint(levelOne(t).fsm)))
	const want = "119a4dbd68c3b2f9f6ea86f44a6ab155a4a1563e5c0f21f980ae1a97e290515c"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("catalog of level 1 has sha256 %s, the first release wrote %s", got, want)
	}
}

// TestGatedByLevel refuses at level 1 whatever needs level 2, and takes it once the
// level is raised.
func TestGatedByLevel(t *testing.T) {
	weighty := memberRow(node1, "n1")
	weighty.Weight = 50
	commands := []raftfsm.Command{
		raftfsm.ChangeSettings{Replicas: ptr(2)},
		raftfsm.ApplyLayout{Base: 1, Replicas: 3},
		raftfsm.MarkLayoutSynced{Node: node1, Version: 1},
		raftfsm.SetMaintenance{Node: node1, Millis: 1},
		raftfsm.RaiseAlarm{Alarm: catalog.Alarm{Node: node1, Code: catalog.AlarmDiskFull}},
		raftfsm.ClearAlarm{Node: node1},
		raftfsm.FreezeRetiring{Millis: 1},
		raftfsm.CheckContents{},
		raftfsm.PutSettings{Settings: catalog.Settings{Replicas: 2, RepairPaused: true}},
		raftfsm.PutSettings{Settings: catalog.Settings{Replicas: 2, RepairDelay: 1}},
		raftfsm.PutMember{Member: weighty},
	}
	for _, c := range commands {
		w := newCluster(t)
		if need := raftfsm.Requires(c); need != 2 {
			t.Errorf("Requires(%T) = %d, want 2", c, need)
		}
		if r := w.refuse(c, catalog.ErrConflict); r.Index == 0 {
			t.Errorf("%T at level 1 = %+v", c, r)
		}
		w.ok(raftfsm.RaiseFeature{Level: 2})
		if c, ok := c.(raftfsm.ApplyLayout); ok && w.fsm.Layout().Version != c.Base {
			t.Errorf("first layout is %d, want %d", w.fsm.Layout().Version, c.Base)
		}
		if _, ok := c.(raftfsm.ApplyLayout); !ok {
			w.ok(c)
		}
		w.check()
	}
	for _, c := range samples {
		if need := raftfsm.Requires(c); need != 1 && c.Kind() >= raftfsm.KindOpenPackage && c.Kind() < raftfsm.KindCheckContents {
			t.Errorf("Requires(%T) = %d, want 1", c, need)
		}
	}
	w := newWorld(t)
	w.refuse(raftfsm.CreateCluster{ClusterID: cluster, Settings: catalog.Settings{Replicas: 1, ScrubRate: 1}}, catalog.ErrConflict)
}

// TestGatedByLevelKnow refuses below level 3 what members of level 2 cannot read.
func TestGatedByLevelKnow(t *testing.T) {
	quality := report(0, 1, key("a.pdb", 1))
	quality.Quality = []catalog.Quality{catalog.QualityPublic, catalog.QualityLines}
	for name, rep := range map[string]catalog.FileReport{
		"quality":   quality,
		"store key": report(0, 1, symid.StoreKey("dac.dll", "5e67ab1c7f000")),
	} {
		w := newCluster(t)
		w.ok(raftfsm.RaiseFeature{Level: raftfsm.FeatureKnow - 1})
		w.commit(1, 1)
		token := w.claim(1, node1)
		add := raftfsm.AddKeys{Package: pkg(1), Token: token, Reports: []catalog.FileReport{rep}}
		if need := raftfsm.Requires(add); need != raftfsm.FeatureKnow {
			t.Errorf("%s: Requires = %d, want %d", name, need, raftfsm.FeatureKnow)
		}
		w.refuse(add, catalog.ErrConflict)
		w.ok(raftfsm.RaiseFeature{Level: raftfsm.FeatureKnow})
		w.ok(add)
		w.check()
		files, err := w.fsm.Files(pkg(1), -1, 10)
		if err != nil || len(files) != 1 || len(files[0].Quality) != len(rep.Quality) || files[0].Keys[0] != rep.Keys[0].Key {
			t.Errorf("%s: Files = %+v, %v", name, files, err)
		}
	}
}

// TestPolicyByLevel refuses policies, and what they did to findings, below level 3.
func TestPolicyByLevel(t *testing.T) {
	for _, c := range []raftfsm.Command{
		raftfsm.CreateCluster{ClusterID: cluster, Settings: catalog.Settings{Replicas: 1, Policy: &lax}},
		raftfsm.PutSettings{Settings: catalog.Settings{Replicas: 1, Policy: &catalog.Policy{}}},
		raftfsm.ChangeSettings{Policy: &catalog.Policy{}},
		raftfsm.OpenPackage{ID: pkg(2), IdempotencyKey: "k2", Product: "p", Version: "1", LeaseMillis: 1, Policy: &lax},
		raftfsm.AddFindings{Package: pkg(1), Findings: weighed},
		raftfsm.RecordVerdict{Package: pkg(1), Findings: weighed},
		raftfsm.RecordVerdict{Package: pkg(1), Policy: &lax},
	} {
		w := newCluster(t)
		w.ok(raftfsm.RaiseFeature{Level: raftfsm.FeatureKnow - 1})
		w.commit(1, 1)
		if need := raftfsm.Requires(c); need != raftfsm.FeatureKnow {
			t.Errorf("Requires(%T%+v) = %d, want %d", c, c, need, raftfsm.FeatureKnow)
		}
		w.refuse(c, catalog.ErrConflict)
	}
}

// levelThree is a catalog with all that came with level 3: the index of names, a policy
// of the cluster, a package that was pushed with another one, qualities, store keys,
// weighed findings.
func levelThree(t testing.TB) *world {
	w := filled(t)
	w.ok(raftfsm.RaiseFeature{Level: raftfsm.FeatureKnow})
	w.pass(1) // counts the names of before
	w.good(5, 5, 5, symid.BuildIDKey("\x01\x02", symid.Debuginfo, "f0.pdb"))
	w.ok(raftfsm.ChangeSettings{Policy: &catalog.Policy{Deny: []string{"PDB-AGE"}}})
	c := open(8)
	c.Policy = &catalog.Policy{Allow: []string{"PDB-FASTLINK"}}
	w.ok(c)
	w.ok(raftfsm.AddFiles{Package: pkg(8), Files: []raftfsm.FileEntry{listing("bin/f0.pdb", 8)}})
	w.ok(raftfsm.PutReceipts{Receipts: []catalog.Receipt{receipt(8, node1, node2)}})
	w.ok(raftfsm.CommitPackage{Package: pkg(8), Files: 1, At: at})
	rep := report(0, 2, key("f0.pdb", 8))
	rep.Keys = append(rep.Keys, catalog.RankedKey{Key: symid.StoreKey("f0.dll", "5e67ab1c7f000"), Rank: 2})
	rep.Quality = []catalog.Quality{catalog.QualityPublic, catalog.QualityLines}
	token := w.claim(8, node1)
	w.ok(raftfsm.AddKeys{Package: pkg(8), Token: token, Reports: []catalog.FileReport{rep}})
	w.ok(raftfsm.AddFindings{Package: pkg(8), Token: token, File: 0, Findings: weighed[:1]})
	w.ok(raftfsm.RecordVerdict{Package: pkg(8), Token: token, Files: 1, At: at,
		Policy: &catalog.Policy{Allow: []string{"PDB-FASTLINK"}, Deny: []string{"PDB-AGE"}}})
	return w
}

// TestPolicyKept finds the policies in the settings, in the package and, until it is
// judged anew, beside its verdict; a conflict stays an error whatever they allow.
func TestPolicyKept(t *testing.T) {
	w := levelThree(t)
	w.close()
	w.open()
	p, err := w.fsm.Package(pkg(8))
	if err != nil || p.State != catalog.StateGood || catalog.PolicyOf(p.Policy).String() != "allows PDB-FASTLINK" ||
		catalog.PolicyOf(p.Judged).String() != "allows PDB-FASTLINK, denies PDB-AGE" {
		t.Errorf("Package = %+v, %v, want good with both policies", p, err)
	}
	if got := catalog.PolicyOf(w.fsm.Settings().Policy).String(); got != "denies PDB-AGE" {
		t.Errorf("policy of the cluster = %q", got)
	}
	w.ok(raftfsm.ChangeSettings{Policy: &catalog.Policy{}})
	if s := w.fsm.Settings(); s.Policy != nil {
		t.Errorf("settings after the policy was cleared = %+v", s)
	}
	c := open(9)
	c.Policy = &catalog.Policy{Allow: []string{"GEN-CONFLICT"}}
	w.ok(c)
	w.ok(raftfsm.AddFiles{Package: pkg(9), Files: []raftfsm.FileEntry{listing("bin/f0.pdb", 9)}})
	w.ok(raftfsm.PutReceipts{Receipts: []catalog.Receipt{receipt(9, node1, node2)}})
	w.ok(raftfsm.CommitPackage{Package: pkg(9), Files: 1, At: at})
	token := w.claim(9, node1)
	w.ok(raftfsm.AddKeys{Package: pkg(9), Token: token, Reports: []catalog.FileReport{report(0, 2, key("f0.pdb", 8))}})
	var v raftfsm.VerdictValue
	w.into(raftfsm.RecordVerdict{Package: pkg(9), Token: token, Files: 1, At: at, Policy: c.Policy}, &v)
	if v.Verdict != catalog.Failed || v.Conflicts != 1 {
		t.Errorf("verdict on a conflict that was allowed = %+v, want failed", v)
	}
	w.ok(raftfsm.RetryPackage{Package: pkg(9)})
	if p, err := w.fsm.Package(pkg(9)); err != nil || p.Judged != nil || p.Policy == nil {
		t.Errorf("package to be judged anew = %+v, %v, want its own policy alone", p, err)
	}
	w.check()
}

// TestPolicyRefused takes no policy whose codes are no codes, and no finding that a
// policy cannot have made.
func TestPolicyRefused(t *testing.T) {
	w := newCluster(t)
	w.ok(raftfsm.RaiseFeature{Level: raftfsm.FeatureKnow})
	w.commit(1, 1)
	token := w.claim(1, node1)
	w.ok(raftfsm.AddKeys{Package: pkg(1), Token: token, Reports: []catalog.FileReport{report(0, 1)}})
	bad := &catalog.Policy{Allow: []string{"B", "A"}}
	c := open(2)
	c.Policy = bad
	for _, c := range []raftfsm.Command{
		c,
		raftfsm.ChangeSettings{Policy: bad},
		raftfsm.RecordVerdict{Package: pkg(1), Token: token, Files: 1, Policy: bad},
		raftfsm.RecordVerdict{Package: pkg(1), Token: token, Files: 1, Findings: []catalog.Finding{{Code: "A", Severity: catalog.Error, Policy: catalog.Allowed}}},
		raftfsm.AddFindings{Package: pkg(1), Token: token, Findings: []catalog.Finding{{Code: "A", Severity: catalog.Info, Policy: catalog.Denied}}},
		raftfsm.AddFindings{Package: pkg(1), Token: token, Findings: []catalog.Finding{{Code: "A", Severity: catalog.Info, Policy: "ignored"}}},
	} {
		w.refuse(c, catalog.ErrInvalid)
	}
}

// TestRaiseOldCatalog goes on with the catalog of the first release at its level,
// and then raises it.
func TestRaiseOldCatalog(t *testing.T) {
	old := newWorld(t)
	if err := old.fsm.Restore(golden(t, goldenOne)); err != nil {
		t.Fatal(err)
	}
	before := fingerprint(old.fsm)
	old.close()
	old.open()
	if got := fingerprint(old.fsm); got != before {
		t.Errorf("opened = %s, want %s", got, before)
	}
	old.log = filled(t).log // the log that made it
	if l := old.fsm.Layout(); l.Version != 0 || len(l.Nodes) != 2 || l.Replicas != 3 {
		t.Errorf("Layout at level 1 = %+v, want two members, version 0", l)
	}
	old.good(5, 5, 1, key("b.pdb", 1))
	old.ok(raftfsm.RaiseFeature{Level: 2})
	if l := old.fsm.Layout(); l.Version != 1 || len(l.Nodes) != 2 || old.fsm.FeatureLevel() != 2 {
		t.Errorf("Layout at level 2 = %+v, want two members, version 1", l)
	}
	old.ok(raftfsm.SetMaintenance{Node: node1, Millis: 1000})
	old.check()
	want := fingerprint(old.fsm)
	old.close()
	old.open()
	if got := fingerprint(old.fsm); got != want {
		t.Errorf("opened = %s, want %s", got, want)
	}
	old.check()
}

// TestHigherLevel refuses a catalog and a snapshot of a newer build by name.
func TestHigherLevel(t *testing.T) {
	w := newCluster(t)
	snap := io.NopCloser(bytes.NewReader(raftfsm.ForceFeature(w.fsm, 7)))
	target := newCluster(t)
	want := fingerprint(target.fsm)
	if err := target.fsm.Restore(snap); !errors.Is(err, raftfsm.ErrSnapshot) || !strings.Contains(err.Error(), "feature level 7") {
		t.Errorf("Restore = %v, want a refusal that names the level", err)
	}
	if got := fingerprint(target.fsm); got != want {
		t.Errorf("after a refused snapshot = %s, want %s", got, want)
	}
	if err := w.fsm.Close(); err != nil {
		t.Fatal(err)
	}
	if f, err := raftfsm.Open(w.path); !errors.Is(err, catalog.ErrInvalid) || !strings.Contains(err.Error(), "run the version that wrote it") {
		t.Errorf("Open = %v, %v, want a refusal that says what to do", f, err)
	}
}
