package raftfsm_test

import (
	"fmt"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

func TestClaim(t *testing.T) {
	w := newCluster(t)
	w.commit(1, 1)
	w.refuse(raftfsm.ClaimValidation{Package: pkg(1), Node: node4}, catalog.ErrNotFound) // no member
	var c, again catalog.Claim
	w.into(raftfsm.ClaimValidation{Package: pkg(1), Node: node1}, &c)
	if c.Token != uint64(len(w.log)) || c.Node != node1 || c.Deadline != w.fsm.ClusterTime()+raftfsm.ClaimTime {
		t.Errorf("claim = %+v", c)
	}
	w.into(raftfsm.ClaimValidation{Package: pkg(1), Node: node1}, &again)
	if again != c {
		t.Errorf("claimed again by the same node = %+v, want %+v", again, c)
	}
	w.refuse(raftfsm.ClaimValidation{Package: pkg(1), Node: node2}, catalog.ErrConflict)
	w.pass(raftfsm.ClaimTime)
	w.into(raftfsm.RenewClaim{Package: pkg(1), Token: c.Token}, &again)
	if again.Deadline != w.fsm.ClusterTime()+raftfsm.ClaimTime || again.Token != c.Token {
		t.Errorf("renewed = %+v", again)
	}
	w.refuse(raftfsm.RenewClaim{Package: pkg(1), Token: c.Token + 1}, catalog.ErrStaleToken)
	w.refuse(raftfsm.ReleaseClaim{Package: pkg(1), Token: c.Token + 1}, catalog.ErrStaleToken)
	w.ok(raftfsm.ReleaseClaim{Package: pkg(1), Token: c.Token})
	p, err := w.fsm.Package(pkg(1))
	if err != nil || p.Claim != nil || p.Attempts != 0 {
		t.Errorf("released = %+v, %v, want no claim and no attempt counted", p, err)
	}
	if token := w.claim(1, node2); token <= c.Token {
		t.Errorf("next token = %d, want more than %d", token, c.Token)
	}
	w.check()
}

func TestClaimsRunOut(t *testing.T) {
	w := newCluster(t)
	w.commit(1, 1)
	var tokens []uint64
	for i := range 3 {
		w.wantState(pkg(1), catalog.StateCommitted)
		tokens = append(tokens, w.claim(1, node1))
		w.ok(raftfsm.AddKeys{Package: pkg(1), Token: tokens[i], Reports: []catalog.FileReport{report(0, 1, key("a.pdb", 1))}})
		w.pass(raftfsm.ClaimTime + 1)
	}
	w.wantState(pkg(1), catalog.StateStuck)
	k := key("a.pdb", 1)
	if all, err := w.fsm.LookupAll(k.Index(), 10); err != nil || len(all) != 1 || all[0].State != catalog.StateStuck || w.served(k) != "" {
		t.Errorf("LookupAll of a stuck package = %+v, %v, served %q, want it shown and not served", all, err, w.served(k))
	}
	for _, token := range tokens {
		for _, c := range []raftfsm.Command{
			raftfsm.AddKeys{Package: pkg(1), Token: token, Reports: []catalog.FileReport{report(0, 1)}},
			raftfsm.AddFindings{Package: pkg(1), Token: token, Findings: failing},
			raftfsm.RecordVerdict{Package: pkg(1), Token: token, Files: 1},
			raftfsm.RenewClaim{Package: pkg(1), Token: token},
			raftfsm.ReleaseClaim{Package: pkg(1), Token: token},
		} {
			w.refuse(c, catalog.ErrStaleToken)
		}
	}
	notices, err := w.fsm.Notices(catalog.NoticePending, 10)
	if err != nil || len(notices) != 1 || notices[0].Kind != catalog.NoticeStuck || notices[0].Package != pkg(1) || !notices[0].At.Equal(at) {
		t.Errorf("Notices = %+v, %v, want that package 1 is stuck", notices, err)
	}
	w.ok(raftfsm.RetryPackage{Package: pkg(1)})
	if v := w.judge(1, nil, report(0, 1, key("a.pdb", 1))); v.Verdict != catalog.Good {
		t.Errorf("verdict after retry = %+v, want good", v)
	}
	w.check()
}

// TestManyStuck lets several packages get stuck at one instant: each has a notice
// of its own number.
func TestManyStuck(t *testing.T) {
	w := newCluster(t)
	for n := range 3 {
		w.commit(n, 1)
	}
	for range 3 {
		for n := range 3 {
			w.claim(n, node1)
		}
		w.pass(raftfsm.ClaimTime + 1)
	}
	for range 3 {
		w.ok(raftfsm.Tick{Millis: 1})
	}
	notices, err := w.fsm.Notices(catalog.NoticePending, 10)
	if err != nil || len(notices) != 3 {
		t.Errorf("Notices = %+v, %v, want 3", notices, err)
	}
	w.check()
}

// TestExpiredClaimBeforeTheTick refuses a claim whose time is over although the
// tick that ends it has other work first.
func TestExpiredClaimBeforeTheTick(t *testing.T) {
	w := newCluster(t)
	for n := range 110 {
		c := open(n)
		c.LeaseMillis = raftfsm.ClaimTime
		w.ok(c)
	}
	w.commit(200, 1)
	token := w.claim(200, node1)
	w.ok(raftfsm.Tick{Millis: raftfsm.ClaimTime + 1}) // expires 100 leases, not the claim
	w.refuse(raftfsm.RenewClaim{Package: pkg(200), Token: token}, catalog.ErrStaleToken)
	w.refuse(raftfsm.ClaimValidation{Package: pkg(200), Node: node1}, catalog.ErrConflict)
	w.ok(raftfsm.Tick{Millis: 1})
	if next := w.claim(200, node1); next == token {
		t.Errorf("token %d was given twice", token)
	}
}

func TestKeysAreHiddenUntilTheVerdict(t *testing.T) {
	w := newCluster(t)
	k := key("A.pdb", 1)
	w.commit(1, 1, 2)
	token := w.claim(1, node1)
	first, second := report(0, 5, k), report(1, 5, key("b.pdb", 1))
	add := raftfsm.AddKeys{Package: pkg(1), Token: token, Reports: []catalog.FileReport{first}}
	w.ok(add)
	w.ok(add) // the same rows again
	verdict := raftfsm.RecordVerdict{Package: pkg(1), Token: token, Files: 2, At: at}
	w.refuse(verdict, catalog.ErrConflict) // one of two is reported
	w.ok(raftfsm.AddKeys{Package: pkg(1), Token: token, Reports: []catalog.FileReport{second, first}})
	if got := w.served(k); got != "" {
		t.Errorf("hidden key is served: %q", got)
	}
	all, err := w.fsm.LookupAll(k.Index(), 10)
	if err != nil || len(all) != 1 || all[0].State != catalog.StateCommitted {
		t.Errorf("LookupAll = %+v, %v, want the candidate of a committed package", all, err)
	}
	if n, err := w.fsm.Checked(pkg(1)); n != 2 || err != nil {
		t.Errorf("Checked = %d, %v, want 2", n, err)
	}
	wrong := verdict
	wrong.Files = 1
	w.refuse(wrong, catalog.ErrConflict)
	var v, again raftfsm.VerdictValue
	w.into(verdict, &v)
	if v.Verdict != catalog.Good || v.Index != uint64(len(w.log)) {
		t.Errorf("verdict = %+v", v)
	}
	want := catalog.Candidate{Package: pkg(1), File: 0, Name: "f0.pdb", Digest: dig(1), Rank: 5, VerdictIndex: v.Index, State: catalog.StateGood}
	if got := w.lookup(key("a.PDB", 1)); len(got) != 1 || got[0] != want {
		t.Errorf("Lookup = %+v, want %+v", got, want)
	}
	verdict.Findings = failing // too late
	w.into(verdict, &again)
	if again != v {
		t.Errorf("repeated verdict = %+v, want %+v", again, v)
	}
	w.refuse(add, catalog.ErrStaleToken)
	verdict.Token++
	w.refuse(verdict, catalog.ErrStaleToken)
	f, err := w.fsm.File(pkg(1), 0)
	if err != nil || f.Kind != catalog.KindPDB || len(f.Keys) != 1 || f.Keys[0].Name != "A.pdb" || f.Path != "bin/f0.pdb" {
		t.Errorf("File = %+v, %v", f, err)
	}
	w.check()
}

func TestAddKeysRefuses(t *testing.T) {
	w := newCluster(t)
	w.commit(1, 1)
	token := w.claim(1, node1)
	w.ok(raftfsm.AddKeys{Package: pkg(1), Token: token, Reports: []catalog.FileReport{report(0, 1, key("a.pdb", 1))}})
	many := report(0, 1)
	for i := range uint32(raftfsm.MaxKeysPerFile + 1) {
		many.Keys = append(many.Keys, catalog.RankedKey{Key: key("a.pdb", i)})
	}
	withFinding := report(0, 1)
	withFinding.Findings = failing
	for _, tt := range []struct {
		name    string
		reports []catalog.FileReport
		want    error
	}{
		{"other facts", []catalog.FileReport{report(0, 2, key("a.pdb", 1))}, catalog.ErrConflict},
		{"no such file", []catalog.FileReport{report(1, 1)}, catalog.ErrInvalid},
		{"file -1", []catalog.FileReport{report(-1, 1)}, catalog.ErrInvalid},
		{"findings inside", []catalog.FileReport{withFinding}, catalog.ErrInvalid},
		{"too many keys", []catalog.FileReport{many}, catalog.ErrInvalid},
		{"negative rank", []catalog.FileReport{report(0, -1, key("a.pdb", 1))}, catalog.ErrInvalid},
		{"huge rank", []catalog.FileReport{report(0, raftfsm.MaxRank+1, key("a.pdb", 1))}, catalog.ErrInvalid},
		{"one key twice", []catalog.FileReport{report(0, 1, key("a.pdb", 1), key("A.pdb", 1))}, catalog.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.refuse(raftfsm.AddKeys{Package: pkg(1), Token: token, Reports: tt.reports}, tt.want)
		})
	}
	w.commit(2, 1)
	token = w.claim(2, node1)
	twice := []catalog.FileReport{report(0, 1), report(0, 1)}
	w.refuse(raftfsm.AddKeys{Package: pkg(2), Token: token, Reports: twice}, catalog.ErrInvalid)
	w.check()
}

func TestFindings(t *testing.T) {
	w := newCluster(t)
	w.commit(1, 1)
	token := w.claim(1, node1)
	note := catalog.Finding{Code: "GEN-NOTE", Severity: catalog.Info, Message: "seen"}
	warn := catalog.Finding{Code: "GEN-WARN", Severity: catalog.Warning, Message: "look"}
	add := func(file, first int, fs ...catalog.Finding) raftfsm.AddFindings {
		return raftfsm.AddFindings{Package: pkg(1), Token: token, File: file, First: first, Findings: fs}
	}
	w.ok(add(0, 0, note, warn))
	w.ok(add(0, 0, note, warn))       // again
	w.ok(add(0, 1, warn, failing[0])) // overlapping
	w.ok(add(-1, 0, note))
	for _, tt := range []struct {
		name string
		cmd  raftfsm.AddFindings
		want error
	}{
		{"other finding", add(0, 0, warn), catalog.ErrConflict},
		{"gap", add(0, 4, warn), catalog.ErrConflict},
		{"before the first", add(0, -1, warn), catalog.ErrConflict},
		{"no such file", add(1, 0, warn), catalog.ErrInvalid},
		{"file -2", add(-2, 0, warn), catalog.ErrInvalid},
		{"no code", add(0, 3, catalog.Finding{Severity: catalog.Info}), catalog.ErrInvalid},
		{"unknown severity", add(0, 3, catalog.Finding{Code: "X", Severity: "fatal"}), catalog.ErrInvalid},
		{"long message", add(0, 3, catalog.Finding{Code: "X", Severity: catalog.Info, Message: strings.Repeat("m", raftfsm.MaxFindingBytes+1)}), catalog.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) { w.refuse(tt.cmd, tt.want) })
	}
	w.ok(raftfsm.AddKeys{Package: pkg(1), Token: token, Reports: []catalog.FileReport{report(0, 1, key("a.pdb", 1))}})
	var v raftfsm.VerdictValue
	w.into(raftfsm.RecordVerdict{Package: pkg(1), Token: token, Files: 1, Findings: []catalog.Finding{warn}, At: at}, &v)
	p, err := w.fsm.Package(pkg(1))
	if v.Verdict != catalog.Failed || err != nil || p.Errors != 1 || p.Warnings != 2 || p.Infos != 2 {
		t.Errorf("verdict %+v on %+v, %v, want failed, 1 error, 2 warnings, 2 infos", v, p, err)
	}
	if fmt.Sprint(p.Findings) != fmt.Sprint([]catalog.Finding{note, warn}) {
		t.Errorf("findings of the package = %v", p.Findings)
	}
	files, err := w.fsm.Files(pkg(1), -1, 10)
	if err != nil || len(files) != 1 || fmt.Sprint(files[0].Findings) != fmt.Sprint([]catalog.Finding{note, warn, failing[0]}) {
		t.Errorf("Files = %+v, %v", files, err)
	}
	if page, err := w.fsm.Findings(pkg(1), 0, 1, 1); err != nil || len(page) != 1 || page[0] != warn {
		t.Errorf("Findings from 1 = %v, %v", page, err)
	}
	if got := w.served(key("a.pdb", 1)); got != "" {
		t.Errorf("a failed package is served: %q", got)
	}
	w.check()
}

func TestConflictWithGoodPackage(t *testing.T) {
	k := key("a.pdb", 1)
	for _, tt := range []struct {
		name       string
		blob, rank int
		spoil      func(w *world) // happens to package 1 before package 2 comes
		verdict    catalog.Verdict
		served     string
	}{
		{"other bytes, equal rank", 2, 5, nil, catalog.Failed, "1"},
		{"same bytes", 1, 5, nil, catalog.Good, "1 2"},
		{"richer", 2, 6, nil, catalog.Good, "2 1"},
		{"poorer", 2, 4, nil, catalog.Good, "1 2"},
		{"first one is trashed", 2, 5, func(w *world) { w.ok(raftfsm.DeletePackage{Package: pkg(1)}) }, catalog.Good, "2"},
		{"first one came back", 2, 5, func(w *world) {
			w.ok(raftfsm.DeletePackage{Package: pkg(1)})
			w.ok(raftfsm.UndeletePackage{Package: pkg(1)})
		}, catalog.Failed, "1"},
		{"first one is purged", 2, 5, func(w *world) {
			w.ok(raftfsm.DeletePackage{Package: pkg(1)})
			w.pass(14 * day)
			w.sweep(1)
		}, catalog.Good, "2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newCluster(t)
			w.good(1, 1, 5, k)
			if tt.spoil != nil {
				tt.spoil(w)
			}
			w.commit(2, tt.blob)
			v := w.judge(2, nil, report(0, tt.rank, k, key("other.pdb", 2)))
			if got := w.served(k); v.Verdict != tt.verdict || got != tt.served {
				t.Errorf("verdict %s, served %q, want %s, %q", v.Verdict, got, tt.verdict, tt.served)
			}
			files, err := w.fsm.Files(pkg(2), -1, 10)
			if err != nil {
				t.Fatal(err)
			}
			if found := files[0].Findings; (tt.verdict == catalog.Failed) != (len(found) == 1 && found[0].Code == "GEN-CONFLICT" &&
				found[0].Severity == catalog.Error && strings.Contains(found[0].Message, string(pkg(1))) && strings.Contains(found[0].Message, k.Paths()[0])) {
				t.Errorf("findings = %+v", found)
			}
			w.check()
		})
	}
}

// TestUndeleteConflict: a package does not come back beside another good one that has
// other bytes under its key. Logs of feature level 1 come out as they always did.
func TestUndeleteConflict(t *testing.T) {
	k, other := key("a.pdb", 1), key("other.pdb", 2)
	for _, tt := range []struct {
		name       string
		level      int
		blob, rank int
		spoil      func(w *world) // happens before the undelete
		err        error
		served     string // under both keys
	}{
		{"other bytes, equal rank", 2, 2, 5, nil, catalog.ErrConflict, "2"},
		{"other bytes at level 1", 1, 2, 5, nil, nil, "1 2"},
		{"same bytes", 2, 1, 5, nil, nil, "1 2"},
		{"richer", 2, 2, 6, nil, nil, "2 1"},
		{"poorer", 2, 2, 4, nil, nil, "1 2"},
		{"the other one is trashed", 2, 2, 5, func(w *world) { w.ok(raftfsm.DeletePackage{Package: pkg(2)}) }, nil, "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newCluster(t)
			w.ok(raftfsm.RaiseFeature{Level: tt.level})
			w.commit(1, 9, 1) // the second of two files, and the second of its keys
			if v := w.judge(1, nil, report(0, 5, key("b.pdb", 1)), report(1, 5, other, k)); v.Verdict != catalog.Good {
				t.Fatalf("verdict %+v", v)
			}
			w.ok(raftfsm.DeletePackage{Package: pkg(1)})
			w.commit(2, tt.blob)
			if v := w.judge(2, nil, report(0, tt.rank, k, other)); v.Verdict != catalog.Good {
				t.Fatalf("verdict %+v", v)
			}
			if tt.spoil != nil {
				tt.spoil(w)
			}
			if tt.err != nil {
				if r := w.refuse(raftfsm.UndeletePackage{Package: pkg(1)}, tt.err); !strings.Contains(r.Error, string(pkg(2))) {
					t.Errorf("refusal %q, want one that names package %s", r.Error, pkg(2))
				}
				w.wantState(pkg(1), catalog.StateTrashed)
				w.ok(raftfsm.DeletePackage{Package: pkg(2)}) // what the refusal says to do
				w.ok(raftfsm.UndeletePackage{Package: pkg(1)})
				w.refuse(raftfsm.UndeletePackage{Package: pkg(2)}, catalog.ErrConflict)
				w.ok(raftfsm.DeletePackage{Package: pkg(1)})
				w.ok(raftfsm.UndeletePackage{Package: pkg(2)})
			} else {
				w.ok(raftfsm.UndeletePackage{Package: pkg(1)})
			}
			for _, k := range []symid.Key{k, other} {
				if got := w.served(k); got != tt.served {
					t.Errorf("served under %s: %q, want %q", k.Paths()[0], got, tt.served)
				}
			}
			w.check()
		})
	}
}

// TestConcurrentConflict validates two packages side by side, their keys and
// verdicts in every order: the verdict that comes second sees the first.
func TestConcurrentConflict(t *testing.T) {
	k := key("a.pdb", 1)
	for _, tt := range []struct {
		order  string // 1, 2: keys of that package; v, w: its verdict
		served string
	}{
		{"12vw", "1"}, {"12wv", "2"}, {"21vw", "1"}, {"21wv", "2"}, {"1v2w", "1"}, {"2w1v", "2"},
	} {
		t.Run(tt.order, func(t *testing.T) {
			w := newCluster(t)
			w.commit(1, 1)
			w.commit(2, 2)
			tokens := map[int]uint64{1: w.claim(1, node1), 2: w.claim(2, node2)}
			var verdicts []catalog.Verdict
			for _, step := range tt.order {
				switch step {
				case '1', '2':
					n := int(step - '0')
					w.ok(raftfsm.AddKeys{Package: pkg(n), Token: tokens[n], Reports: []catalog.FileReport{report(0, 5, k)}})
				default:
					n := int(step-'v') + 1
					var v raftfsm.VerdictValue
					w.into(raftfsm.RecordVerdict{Package: pkg(n), Token: tokens[n], Files: 1, At: at}, &v)
					verdicts = append(verdicts, v.Verdict)
				}
			}
			if got := w.served(k); got != tt.served || verdicts[0] != catalog.Good || verdicts[1] != catalog.Failed {
				t.Errorf("verdicts %v, served %q, want good, failed, %q", verdicts, got, tt.served)
			}
			w.check()
		})
	}
}

// TestConflictIsRetried removes the cause of a conflict and validates again.
func TestConflictIsRetried(t *testing.T) {
	w := newCluster(t)
	k := key("a.pdb", 1)
	w.good(1, 1, 5, k)
	w.commit(2, 2)
	if v := w.judge(2, nil, report(0, 5, k)); v.Verdict != catalog.Failed || v.Conflicts != 1 {
		t.Fatalf("verdict = %+v, want a conflict", v)
	}
	w.ok(raftfsm.DeletePackage{Package: pkg(1)})
	w.ok(raftfsm.RetryPackage{Package: pkg(2)})
	if v := w.judge(2, nil, report(0, 5, k)); v.Verdict != catalog.Good {
		t.Errorf("verdict after retry = %+v, want good", v)
	}
	p, err := w.fsm.Package(pkg(2))
	if got := w.served(k); got != "2" || err != nil || p.Errors != 0 {
		t.Errorf("served %q by %+v, %v, want package 2 without errors", got, p, err)
	}
	w.check()
}

// TestOtherValidatorSaysOther lets a second validator report other keys than the
// first: nothing of the first stays.
func TestOtherValidatorSaysOther(t *testing.T) {
	w := newCluster(t)
	w.commit(1, 1)
	token := w.claim(1, node1)
	w.ok(raftfsm.AddKeys{Package: pkg(1), Token: token, Reports: []catalog.FileReport{report(0, 5, key("old.pdb", 1), key("both.pdb", 1))}})
	w.ok(raftfsm.AddFindings{Package: pkg(1), Token: token, File: 0, Findings: failing})
	w.pass(raftfsm.ClaimTime + 1)
	if v := w.judge(1, nil, report(0, 6, key("both.pdb", 1), key("new.pdb", 1))); v.Verdict != catalog.Good {
		t.Errorf("verdict = %+v, want good: the finding was of a lost claim", v)
	}
	for name, want := range map[string]string{"old.pdb": "", "both.pdb": "1", "new.pdb": "1"} {
		if got := w.served(key(name, 1)); got != want {
			t.Errorf("%s is served by %q, want %q", name, got, want)
		}
	}
	w.check()
}

func TestNotices(t *testing.T) {
	w := newCluster(t)
	w.good(1, 1, 5, key("a.pdb", 1))
	w.commit(2, 2)
	w.judge(2, failing, report(0, 5))
	pending := func() []catalog.Notice {
		t.Helper()
		list, err := w.fsm.Notices(catalog.NoticePending, 10)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	list := pending()
	if len(list) != 2 || list[0].Package != pkg(1) || list[0].Kind != catalog.NoticeVerdict || list[0].Seq >= list[1].Seq {
		t.Fatalf("Notices = %+v, want those of packages 1 and 2", list)
	}
	w.ok(raftfsm.MarkNotice{Seq: list[0].Seq, State: catalog.NoticePending, Attempts: 1, DelayMillis: 5000, Error: "refused"})
	if n := pending()[0]; n.Attempts != 1 || n.Error != "refused" || n.Next != w.fsm.ClusterTime()+5000 {
		t.Errorf("tried notice = %+v", n)
	}
	if due, err := w.fsm.DueNotices(10); err != nil || len(due) != 1 || due[0].Seq != list[1].Seq {
		t.Errorf("DueNotices = %+v, %v, want only the one that does not wait", due, err)
	}
	w.ok(raftfsm.MarkNotice{Seq: list[0].Seq, State: catalog.NoticeSent, Attempts: 2})
	w.ok(raftfsm.MarkNotice{Seq: list[0].Seq, State: catalog.NoticeDropped, Attempts: 3}) // sent stays sent
	w.ok(raftfsm.MarkNotice{Seq: list[1].Seq, State: catalog.NoticeDropped, Attempts: 9})
	for state, want := range map[catalog.NoticeState]uint64{catalog.NoticeSent: list[0].Seq, catalog.NoticeDropped: list[1].Seq} {
		if got, err := w.fsm.Notices(state, 10); err != nil || len(got) != 1 || got[0].Seq != want {
			t.Errorf("Notices(%s) = %+v, %v, want %d", state, got, err, want)
		}
	}
	w.refuse(raftfsm.MarkNotice{Seq: 1, State: catalog.NoticeSent}, catalog.ErrNotFound)
	w.good(3, 3, 5, key("c.pdb", 1))
	seq := pending()[0].Seq
	w.refuse(raftfsm.MarkNotice{Seq: seq, State: "lost"}, catalog.ErrInvalid)
	w.refuse(raftfsm.MarkNotice{Seq: seq, State: catalog.NoticePending, DelayMillis: -1}, catalog.ErrInvalid)
	w.pass(30 * day)
	w.sweep(5)
	if got, err := w.fsm.Notices(catalog.NoticeSent, 10); err != nil || len(got) != 0 {
		t.Errorf("after 30 days sent notices = %+v, %v, want none", got, err)
	}
	w.ok(raftfsm.PutSettings{Settings: catalog.Settings{Replicas: 3}})
	w.good(4, 4, 5, key("d.pdb", 1))
	if got := pending(); len(got) != 1 || got[0].Seq != seq {
		t.Errorf("without mail-to notices = %+v, want only the old one", got)
	}
	w.check()
}
