package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

// A shelf is a catalog with packages of one file each.
type shelf struct {
	*ledger
	n     *Node
	count int
}

func newShelf(t *testing.T, level int) *shelf {
	n, l := newLedgerNode(t)
	n.lease = newNegativeLease(func(context.Context) error { return nil })
	t.Cleanup(n.lease.stop)
	l.apply(raftfsm.RaiseFeature{Level: level})
	l.apply(raftfsm.Tick{Millis: 1})
	return &shelf{ledger: l, n: n}
}

// open lists a file in a new package.
func (s *shelf) open(path string) catalog.PackageID {
	s.t.Helper()
	s.count++
	id := catalog.PackageID(fmt.Sprintf("01JD3Z%020d", s.count))
	s.apply(raftfsm.OpenPackage{ID: id, IdempotencyKey: string(id), Product: "app", Version: fmt.Sprint(s.count), LeaseMillis: 3_600_000})
	d := catalog.Digest{byte(s.count), 1}
	s.apply(raftfsm.AddFiles{Package: id, Files: []raftfsm.FileEntry{{Path: path, Size: 10, SHA256: d}}})
	s.apply(raftfsm.PutReceipts{Receipts: []catalog.Receipt{{Digest: d, RawSize: 10, Holders: []catalog.NodeID{"self", "away"},
		Packed: catalog.Packed{SHA256: catalog.Digest{byte(s.count), 2}, Size: 5, Container: catalog.ContainerCab}}}})
	return id
}

// commit commits a package of one file.
func (s *shelf) commit(path string) catalog.PackageID {
	s.t.Helper()
	id := s.open(path)
	s.apply(raftfsm.CommitPackage{Package: id, Files: 1})
	return id
}

// report claims a package and sends the keys of its file.
func (s *shelf) report(id catalog.PackageID, keys ...symid.Key) (token uint64) {
	s.t.Helper()
	token = s.apply(raftfsm.ClaimValidation{Package: id, Node: "self"}).Index
	r := catalog.FileReport{Kind: catalog.KindPDB}
	if s.fsm.FeatureLevel() >= raftfsm.FeatureKnow {
		r.Quality = []catalog.Quality{catalog.QualityPublic, catalog.QualityLines}
	}
	for _, k := range keys {
		r.Keys = append(r.Keys, catalog.RankedKey{Key: k, Rank: 5})
	}
	s.apply(raftfsm.AddKeys{Package: id, Token: token, Reports: []catalog.FileReport{r}})
	return token
}

// judge gives a package of a file with keys its verdict.
func (s *shelf) judge(path string, findings []catalog.Finding, keys ...symid.Key) catalog.PackageID {
	s.t.Helper()
	id := s.commit(path)
	token := s.report(id, keys...)
	if len(findings) > 0 {
		s.apply(raftfsm.AddFindings{Package: id, Token: token, Findings: findings})
	}
	s.apply(raftfsm.RecordVerdict{Package: id, Token: token, Files: 1})
	return id
}

func (s *shelf) good(path string, keys ...symid.Key) catalog.PackageID {
	s.t.Helper()
	return s.judge(path, nil, keys...)
}

// find answers one query.
func (s *shelf) find(q, name string) api.FindResponse {
	s.t.Helper()
	got, err := s.n.FindKeys(context.Background(), []api.FindQuery{{Q: q, Name: name}})
	if err != nil || len(got) != 1 || got[0].Query != q {
		s.t.Fatalf("FindKeys(%q) = %+v, %v", q, got, err)
	}
	return got[0]
}

// want checks an answer and what its sentences hold.
func (s *shelf) want(q string, answer api.Answer, text, next string) api.FindResponse {
	s.t.Helper()
	got := s.find(q, "")
	if got.Answer != answer || !strings.Contains(got.Text, text) || !strings.Contains(got.Next, next) || (got.Next == "") != (answer == api.AnswerServed) {
		s.t.Errorf("find %s = %s\n  %s\n  %s\nwant %s with %q and %q", q, got.Answer, got.Text, got.Next, answer, text, next)
	}
	return got
}

var (
	guid = symid.GUID{0x5a, 0x98, 0x32, 0xe5, 15: 0xff}
	elf  = symid.BuildID("0123456789abcdefghij")
)

func pdbKey(name string, age uint32) symid.Key {
	return symid.PDBKey(name, symid.DebugID{GUID: guid, Age: age})
}

func path(k symid.Key) string { return k.Paths()[0] }

// TestFindAnswers goes through every answer that a package can give.
func TestFindAnswers(t *testing.T) {
	s := newShelf(t, raftfsm.FeatureKnow)
	k := pdbKey("app.pdb", 1)
	broken := []catalog.Finding{{Code: "PDB-TRUNC", Severity: catalog.Error, Message: "cut at 7"}, {Code: "PDB-DIR", Severity: catalog.Error, Message: "bad"}}
	s.want(path(k), api.AnswerNeverSeen, "goes back 14 days", "push the files of the build")

	failed := s.judge("bin/app.pdb", broken, k)
	got := s.want(path(k), api.AnswerFailed, "PDB-TRUNC: cut at 7; and 1 more", "symkeep package show "+string(failed))
	if len(got.Found) != 1 || len(got.Found[0].Findings) != 2 || got.Found[0].KnownUntil.IsZero() {
		t.Errorf("found of a failed package = %+v", got.Found)
	}

	committed := s.commit("bin/app.pdb")
	token := s.report(committed, k)
	s.want(path(k), api.AnswerPending, "package "+string(committed)+", app 2, which is waiting for its verdict", "symkeep package show "+string(committed))
	s.apply(raftfsm.RecordVerdict{Package: committed, Token: token, Files: 1})
	got = s.want(path(k), api.AnswerServed, "on away, self; gives public, lines", "")
	if len(got.Found) != 2 || !got.Found[0].Served || got.Found[0].Candidate.Package != committed || len(got.Near) != 0 {
		t.Errorf("found of a good package = %+v", got)
	}

	s.apply(raftfsm.DeletePackage{Package: committed, By: "eve", Reason: "wrong build"})
	s.apply(raftfsm.Tick{Millis: 600_000})
	got = s.want(path(k), api.AnswerDeleted, "deleted by eve: wrong build", "symkeep package undelete "+string(committed))
	f := got.Found[slices.IndexFunc(got.Found, func(f api.FoundFile) bool { return f.Candidate.Package == committed })]
	if kept := f.KnownUntil.Sub(f.DeletedAt); kept.Hours() != 14*24 || f.Reason == "" {
		t.Errorf("deleted file = %+v, kept for %v, want 14 days", f, kept)
	}

	s.apply(raftfsm.UndeletePackage{Package: committed})
	s.apply(raftfsm.DropHolders{Node: "self", Digests: []catalog.Digest{{2, 1}}})
	s.apply(raftfsm.DropHolders{Node: "away", Digests: []catalog.Digest{{2, 1}}})
	s.want(path(k), api.AnswerLost, "no member of the cluster holds its bytes", "push the same files again")
}

// TestFindPurged tells of a package until its rows are swept, and no longer.
func TestFindPurged(t *testing.T) {
	s := newShelf(t, raftfsm.FeatureKnow)
	k := pdbKey("app.pdb", 1)
	id := s.good("app.pdb", k)
	s.apply(raftfsm.DeletePackage{Package: id, By: "eve"})
	for range 14*24*6 + 1 {
		s.apply(raftfsm.Tick{Millis: 600_000})
	}
	s.apply(raftfsm.Sweep{Limit: 1})
	s.want(path(k), api.AnswerDeleted, "deleted by eve", "push the files again")
	s.apply(raftfsm.Sweep{Limit: 100})
	s.want(path(k), api.AnswerNeverSeen, "goes back 14 days", "push the files")
}

// TestFindWaiting knows of files by name while their keys are not known.
func TestFindWaiting(t *testing.T) {
	s := newShelf(t, raftfsm.FeatureKnow)
	id := s.open("bin/App.pdb")
	got := s.want(path(pdbKey("app.pdb", 1)), api.AnswerPending, "still being uploaded, has a file of this name: bin/App.pdb", "package show "+string(id))
	if len(got.Waiting) != 1 || len(got.Found) != 0 {
		t.Errorf("waiting = %+v, found = %+v", got.Waiting, got.Found)
	}
	s.open("sym/app.sym")
	s.want(path(symid.BreakpadKey("app.pdb", symid.DebugID{GUID: guid})), api.AnswerPending, "pp.pdb", "show")
	s.open("lib/libz.so.debug")
	if got := s.find(path(symid.BuildIDKey(elf, symid.Debuginfo, "")), "libz.so"); got.Answer != api.AnswerPending {
		t.Errorf("build id of a file under way = %+v", got)
	}
	stuck := s.commit("bin/sad.pdb")
	for range 3 {
		s.apply(raftfsm.ClaimValidation{Package: stuck, Node: "self"})
		s.apply(raftfsm.Tick{Millis: raftfsm.ClaimTime + 1})
	}
	s.want(path(pdbKey("sad.pdb", 1)), api.AnswerStuck, "stuck", "symkeep package retry "+string(stuck))
}

// TestFindNear names what is almost the key, and what that means.
func TestFindNear(t *testing.T) {
	s := newShelf(t, raftfsm.FeatureKnow)
	other := symid.DebugID{GUID: symid.GUID{1}, Age: 1}
	uuid := symid.GUID{7, 7, 7}
	short := symid.BuildID("0123456789abcdef")
	s.good("app.pdb", pdbKey("app.pdb", 2))
	s.good("prog", symid.BuildIDKey(elf, symid.Executable, "prog"))
	s.good("img", symid.MachOKey(uuid, symid.Debuginfo, "img"))
	s.good("app.exe", symid.PEKey("app.exe", symid.CodeID{Timestamp: 1, ImageSize: 0x1000}))
	failed := s.judge("bad.pdb", []catalog.Finding{{Code: "X", Severity: catalog.Error}}, symid.PDBKey("bad.pdb", other))
	fromELF := elf.DebugID(binary.LittleEndian)
	for _, tt := range []struct {
		key      symid.Key
		relation api.Relation
		near     symid.Key
		next     string
	}{
		{pdbKey("app.pdb", 1), api.OtherAge, pdbKey("app.pdb", 2), "not of the same link"},
		{pdbKey("renamed.pdb", 2), api.OtherName, pdbKey("app.pdb", 2), "was renamed"},
		{symid.PDBKey("APP.pdb", symid.DebugID{GUID: symid.GUID{2}}), api.OtherID, pdbKey("app.pdb", 2), "another build"},
		{symid.PDBKey("bad.pdb", symid.DebugID{Age: 3}), api.OtherID, symid.PDBKey("bad.pdb", other), "package show " + string(failed)},
		{symid.BreakpadKey("app.pdb", symid.DebugID{GUID: guid, Age: 2}), api.OtherForm, pdbKey("app.pdb", 2), "dump_syms"},
		{symid.BreakpadKey("prog", fromELF), api.OtherForm, symid.BuildIDKey(elf, symid.Executable, ""), "dump_syms"},
		{symid.BuildIDKey(elf, symid.Debuginfo, ""), api.OtherArtifact, symid.BuildIDKey(elf, symid.Executable, ""), "only the executable was pushed"},
		{symid.BuildIDKey(short, symid.Executable, ""), api.OtherForm, symid.BuildIDKey(elf, symid.Executable, ""), "push the file itself"},
		{symid.MachOKey(uuid, symid.Executable, "img"), api.OtherArtifact, symid.MachOKey(uuid, symid.Debuginfo, ""), "only debug information was pushed"},
		{symid.BreakpadKey("img", symid.DebugID{GUID: uuid}), api.OtherForm, symid.MachOKey(uuid, symid.Debuginfo, ""), "dump_syms"},
		{symid.PEKey("b.exe", symid.CodeID{Timestamp: 1, ImageSize: 0x1000}), api.OtherName, symid.PEKey("app.exe", symid.CodeID{Timestamp: 1, ImageSize: 0x1000}), "renamed"},
	} {
		got := s.want(path(tt.key), api.AnswerNeverSeen, "nearest: "+path(tt.near), tt.next)
		if len(got.Near) == 0 || got.Near[0].Relation != tt.relation || got.Near[0].Key != path(tt.near) {
			t.Errorf("find %s: near = %+v, want %s %s first", path(tt.key), got.Near, tt.relation, path(tt.near))
		}
	}
	if got := s.find("buildid/ffff/debuginfo", "/usr/bin/prog"); len(got.Near) != 1 || got.Near[0].Relation != api.OtherID {
		t.Errorf("build id with a name: near = %+v, want the other build of prog", got.Near)
	}
}

// TestFindBare reads ids without a name.
func TestFindBare(t *testing.T) {
	s := newShelf(t, raftfsm.FeatureKnow)
	s.good("app.pdb", pdbKey("app.pdb", 2))
	s.want(guid.String(), api.AnswerServed, "served", "")
	s.want(strings.ToLower(guid.String())+"2", api.AnswerServed, "served", "")
	got := s.want(guid.String()+"3", api.AnswerNeverSeen, "nearest: "+path(pdbKey("app.pdb", 2)), "same link")
	if len(got.Near) != 1 || got.Near[0].Relation != api.OtherAge {
		t.Errorf("near = %+v, want the other age", got.Near)
	}
	s.good("prog", symid.BuildIDKey(elf, symid.Executable, "prog"))
	s.want(elf.String(), api.AnswerPartial, "only the executable is served", "push the unstripped file")
	s.good("prog.debug", symid.BuildIDKey(elf, symid.Debuginfo, "prog.debug"))
	s.want(elf.String(), api.AnswerServed, "served", "")
	code := symid.CodeID{Timestamp: 0x5ab38077, ImageSize: 0x9000}
	s.want(code.String(), api.AnswerNeverSeen, "never seen", "push")
	s.good("app.exe", symid.PEKey("app.exe", code))
	s.want(code.String(), api.AnswerServed, "served", "")
}

// TestFindWithoutNames answers at the level of an older release, without near misses
// by name, and says so.
func TestFindWithoutNames(t *testing.T) {
	s := newShelf(t, 2)
	s.good("app.pdb", pdbKey("app.pdb", 2))
	got := s.want(path(symid.PDBKey("app.pdb", symid.DebugID{Age: 1})), api.AnswerNeverSeen, "not all names are indexed yet", "push")
	if len(got.Near) != 0 {
		t.Errorf("near = %+v, want none", got.Near)
	}
	s.want(path(pdbKey("app.pdb", 1)), api.AnswerNeverSeen, "same GUID with another age", "same link")
}

func TestFindMany(t *testing.T) {
	s := newShelf(t, raftfsm.FeatureKnow)
	s.good("app.pdb", pdbKey("app.pdb", 2))
	var queries []api.FindQuery
	for age := range uint32(api.MaxFindQueries) {
		queries = append(queries, api.FindQuery{Q: path(pdbKey("app.pdb", age))})
	}
	got, err := s.n.FindKeys(context.Background(), queries)
	if err != nil || len(got) != len(queries) || got[2].Answer != api.AnswerServed || got[3].Answer != api.AnswerNeverSeen {
		t.Fatalf("FindKeys of %d = %d answers, %v", len(queries), len(got), err)
	}
	if got, err := s.n.FindKeys(context.Background(), []api.FindQuery{queries[0], {Q: "zzz"}}); !errors.Is(err, catalog.ErrInvalid) || !strings.Contains(err.Error(), `"zzz"`) {
		t.Errorf("FindKeys with one that is no query = %v, %v", got, err)
	}
	s.n.lease = newNegativeLease(func(context.Context) error { return errors.New("no leader") })
	t.Cleanup(s.n.lease.stop)
	if got, err := s.n.FindKeys(context.Background(), queries[:1]); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("FindKeys without a lease = %v, %v, want it unavailable", got, err)
	}
}
