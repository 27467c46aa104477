package raftfsm_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

var update = flag.Bool("update", false, "rewrite golden files")

// samples has one command of each kind with every field set.
var samples = []raftfsm.Command{
	raftfsm.CreateCluster{ClusterID: cluster, At: at,
		Settings: catalog.Settings{Replicas: 3, MailFrom: "symkeep@example.com", MailTo: []string{"build@example.com"}}},
	raftfsm.PutMember{Replaces: node2, Member: catalog.Member{ID: node1, Name: "n1", PeerAddr: "n1:8481", HTTPAddr: "n1:8480",
		GossipAddr: "n1:8482", Zone: "a", Version: "1.0", JoinedIndex: 7, JoinedAt: at, Synced: true, Draining: true, Slot: node3}},
	raftfsm.RemoveMember{ID: node1},
	raftfsm.MarkSynced{Node: node1},
	raftfsm.SetDraining{Node: node1, Draining: true},
	raftfsm.PutSettings{Settings: catalog.Settings{Replicas: 2}},
	raftfsm.RaiseFeature{Level: 1},
	raftfsm.Tick{Millis: 1000, At: at},
	raftfsm.ChangeSettings{Replicas: ptr(2), MailFrom: ptr("symkeep@example.com"), MailTo: &[]string{"ops@example.com"},
		RepairDelay: ptr(int64(60_000)), RepairRate: ptr(int64(1 << 20)), RepairPaused: ptr(true), ScrubRate: ptr(int64(2 << 20))},
	raftfsm.ApplyLayout{Base: 3, Weights: map[catalog.NodeID]int{node1: 50, node2: 200}, Replicas: 2},
	raftfsm.MarkLayoutSynced{Node: node1, Version: 3},
	raftfsm.SetMaintenance{Node: node1, Millis: 3_600_000},
	raftfsm.RaiseAlarm{Alarm: catalog.Alarm{Node: node1, Code: catalog.AlarmBitRot, Text: "2 copies were damaged: look at the disk", Index: 7, At: at}},
	raftfsm.ClearAlarm{Node: node1, Code: catalog.AlarmBitRot},
	raftfsm.FreezeRetiring{Millis: 3_600_000},
	raftfsm.OpenPackage{ID: pkg(1), IdempotencyKey: "push-1", Product: "app", Version: "1.1",
		Labels: map[string]string{"branch": "main", "arch": "x64"}, Comment: "nightly", LeaseMillis: 3_600_000, At: at},
	raftfsm.AddFiles{Package: pkg(1), First: 2, Files: []raftfsm.FileEntry{listing("bin/a.pdb", 1), listing("bin/b.pdb", 2)}},
	raftfsm.RenewLease{Package: pkg(1), LeaseMillis: 60_000},
	raftfsm.CommitPackage{Package: pkg(1), Files: 4, At: at},
	raftfsm.DeletePackage{Package: pkg(1), By: "eve", Reason: "wrong branch", At: at},
	raftfsm.UndeletePackage{Package: pkg(1), By: "eve"},
	raftfsm.RetryPackage{Package: pkg(1), By: "eve"},
	raftfsm.PutReceipts{Receipts: []catalog.Receipt{receipt(1, node1, node2)}},
	raftfsm.DropHolders{Node: node1, Digests: []catalog.Digest{dig(1)}},
	raftfsm.RetireBlobs{Blobs: []raftfsm.Retiree{{Digest: dig(1), Gen: 3}}},
	raftfsm.Sweep{Limit: 500},
	raftfsm.ClaimValidation{Package: pkg(1), Node: node1},
	raftfsm.RenewClaim{Package: pkg(1), Token: 42},
	raftfsm.ReleaseClaim{Package: pkg(1), Token: 42},
	raftfsm.AddKeys{Package: pkg(1), Token: 42, Reports: []catalog.FileReport{{No: 1, Kind: catalog.KindPDB, Arch: "x86_64",
		IDs:  []catalog.IDs{{Arch: "x86_64", BuildID: "aa", DebugID: "BB1", CodeID: "CC"}},
		Keys: []catalog.RankedKey{{Key: key("a.pdb", 1), Rank: 3}}}}},
	raftfsm.AddFindings{Package: pkg(1), Token: 42, File: -1, First: 1, Findings: failing},
	raftfsm.RecordVerdict{Package: pkg(1), Token: 42, Files: 4, Findings: failing, At: at},
	raftfsm.MarkNotice{Seq: 9, State: catalog.NoticePending, Attempts: 2, DelayMillis: 60_000, Error: "connection refused"},
	raftfsm.CheckContents{},
}

// samplesKnow has the commands with fields that came with level 3.
var samplesKnow = []raftfsm.Command{
	raftfsm.PutSettings{Settings: catalog.Settings{Replicas: 2, Policy: &lax}},
	raftfsm.ChangeSettings{Policy: &lax},
	raftfsm.OpenPackage{ID: pkg(1), IdempotencyKey: "push-1", Product: "app", Version: "1.1", LeaseMillis: 3_600_000, At: at, Policy: &lax},
	raftfsm.AddFiles{Package: pkg(1), First: 2, Files: []raftfsm.FileEntry{{Path: ".source/w/a.c", Size: 1001, SHA256: dig(1), Source: "/w/a.c"}}},
	raftfsm.AddKeys{Package: pkg(1), Token: 42, Reports: []catalog.FileReport{{No: 1, Kind: catalog.KindPDB, Quality: catalog.Qualities,
		Keys: []catalog.RankedKey{{Key: symid.StoreKey("dac.dll", "5e67ab1c7f000"), Rank: 3}}}}},
	raftfsm.AddFindings{Package: pkg(1), Token: 42, File: 1, Findings: weighed},
	raftfsm.RecordVerdict{Package: pkg(1), Token: 42, Files: 4, Findings: weighed, At: at, Policy: &lax},
}

var lax = catalog.Policy{Allow: []string{"PDB-FASTLINK"}, Deny: []string{"PDB-AGE", "PDB-NOLINES"}}

var weighed = []catalog.Finding{
	{Code: "PDB-FASTLINK", Severity: catalog.Warning, Message: "f1.pdb: no symbols", Policy: catalog.Allowed},
	{Code: "PDB-AGE", Severity: catalog.Error, Message: "f1.pdb: ages differ", Policy: catalog.Denied},
}

func ptr[T any](v T) *T { return &v }

// TestCommandGolden pins the log form of every kind, and of what a feature level adds
// to one: these files are kept forever.
func TestCommandGolden(t *testing.T) {
	seen := map[raftfsm.Kind]bool{}
	for _, c := range samples {
		seen[c.Kind()] = true
		commandGolden(t, c, "")
	}
	for _, k := range raftfsm.AllKinds() {
		if !seen[k] {
			t.Errorf("kind %d has no golden file", k)
		}
	}
	for _, c := range samplesKnow {
		if need := raftfsm.Requires(c); need != raftfsm.FeatureKnow {
			t.Errorf("Requires(%T%+v) = %d, want %d", c, c, need, raftfsm.FeatureKnow)
		}
		commandGolden(t, c, "-level3")
	}
}

func commandGolden(t *testing.T, c raftfsm.Command, suffix string) {
	t.Helper()
	name := strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", c), "raftfsm."))
	path := filepath.Join("testdata", fmt.Sprintf("command-%03d-%s%s.golden", c.Kind(), name, suffix))
	b, err := raftfsm.Encode(c)
	if err != nil {
		t.Errorf("Encode(%T) = %v", c, err)
		return
	}
	if *update {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("Encode(%T) = %q, want %q", c, b, want)
	}
	if got, err := raftfsm.Decode(want); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("Decode(%q) = %+v, %v, want %+v", want, got, err, c)
	}
}

func TestDecodeRefuses(t *testing.T) {
	body := `{"millis":1}`
	for _, tt := range []struct {
		name string
		in   string
	}{
		{"empty", ""},
		{"kind only", "\x08"},
		{"unknown kind", "\xff\x01" + body},
		{"kind zero", "\x00\x01" + body},
		{"unknown version", "\x08\x02" + body},
		{"version zero", "\x08\x00" + body},
		{"unknown field", "\x08\x01{\"millis\":1,\"more\":2}"},
		{"unknown nested field", "\x06\x01{\"settings\":{\"replicas\":1,\"x\":1}}"},
		{"trailing bytes", "\x08\x01" + body + "x"},
		{"two bodies", "\x08\x01" + body + body},
		{"no body", "\x08\x01"},
		{"wrong type", "\x08\x01{\"millis\":\"1\"}"},
		{"newer feature level", fmt.Sprintf("\x07\x01{\"level\":%d}", raftfsm.MaxFeature+1)},
		{"too long", "\x08\x01{\"millis\":1" + strings.Repeat(" ", raftfsm.MaxCommandBytes) + "}"},
	} {
		if c, err := raftfsm.Decode([]byte(tt.in)); !errors.Is(err, raftfsm.ErrUndecodable) {
			t.Errorf("%s: Decode = %v, %v, want ErrUndecodable", tt.name, c, err)
		}
	}
}

// TestEncodeRefuses checks that nothing gets into the log that would stop nodes.
func TestEncodeRefuses(t *testing.T) {
	long := raftfsm.AddFiles{Package: pkg(1)}
	for i := range 4000 {
		long.Files = append(long.Files, listing(fmt.Sprintf("some/long/path/of/a/file-%d.pdb", i), i))
	}
	bad := key("a.pdb", 1)
	bad.ID = "short"
	for _, c := range []raftfsm.Command{
		long,
		raftfsm.RaiseFeature{Level: raftfsm.MaxFeature + 1},
		raftfsm.AddKeys{Package: pkg(1), Reports: []catalog.FileReport{report(0, 1, bad)}},
	} {
		if b, err := raftfsm.Encode(c); !errors.Is(err, catalog.ErrInvalid) {
			t.Errorf("Encode(%T) = %d bytes, %v, want ErrInvalid", c, len(b), err)
		}
	}
}

func TestResultTravels(t *testing.T) {
	w := newCluster(t)
	r := w.do(raftfsm.RenewLease{Package: pkg(9), LeaseMillis: 1})
	if err := r.AsError(); !errors.Is(err, catalog.ErrNotFound) || errors.Is(err, catalog.ErrConflict) || !strings.Contains(err.Error(), string(pkg(9))) {
		t.Errorf("AsError = %v, want ErrNotFound that names the package", err)
	}
	if err := (raftfsm.Result{Code: "of-a-newer-build", Error: "no"}).AsError(); err == nil || err.Error() != "no" {
		t.Errorf("AsError of an unknown code = %v, want an error", err)
	}
	if err := (raftfsm.Result{}).Into(&struct{}{}); !errors.Is(err, catalog.ErrInvalid) {
		t.Errorf("Into without a value = %v, want ErrInvalid", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range slices.Concat(samples, samplesKnow) {
		b, err := raftfsm.Encode(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := raftfsm.Decode(b)
		if err != nil {
			if !errors.Is(err, raftfsm.ErrUndecodable) {
				t.Fatalf("Decode(%q) = %v, want ErrUndecodable", b, err)
			}
			return
		}
		again, err := raftfsm.Encode(c)
		if err != nil {
			if len(b) < raftfsm.MaxCommandBytes/8 { // escapes make it longer
				t.Fatalf("Encode(Decode(%q)) = %v", b, err)
			}
			return
		}
		c2, err := raftfsm.Decode(again)
		if err != nil {
			t.Fatalf("Decode(Encode(Decode(%q))) = %v", b, err)
		}
		third, err := raftfsm.Encode(c2)
		if err != nil || !bytes.Equal(third, again) {
			t.Fatalf("Encode(Decode(%q)) = %q, %v", again, third, err)
		}
	})
}

// FuzzApply runs whatever decodes: no command may panic or break an invariant.
func FuzzApply(f *testing.F) {
	for _, c := range slices.Concat(samples, samplesKnow) {
		b, err := raftfsm.Encode(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := raftfsm.Decode(b)
		if err != nil {
			return
		}
		if _, err := raftfsm.Encode(c); err != nil {
			return // nobody could have proposed it
		}
		w := newCluster(t)
		w.good(1, 1, 1, key("a.pdb", 1))
		w.commit(2, 2)
		w.claim(2, node2)
		w.upload(3, 1, 2)
		if n := len(b) % 3; n > 0 { // of two out of three inputs, the highest level
			w.ok(raftfsm.RaiseFeature{Level: raftfsm.MaxFeature})
			w.ok(raftfsm.RaiseAlarm{Alarm: catalog.Alarm{Node: node1, Code: catalog.AlarmBitRot}})
		}
		before := raftfsm.Sum(w.fsm)
		if r := w.do(c); r.Code != "" && raftfsm.Sum(w.fsm) != before {
			t.Errorf("%T%+v was refused and changed rows", c, c)
		}
		w.check()
	})
}

func FuzzBlobRow(f *testing.F) {
	f.Add([]byte{1, 0, 1, 232, 7, 2, 0, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err := raftfsm.DecodeBlobRow(b)
		if err != nil {
			return
		}
		if two, err := raftfsm.DecodeBlobRow(one); err != nil || !bytes.Equal(one, two) {
			t.Errorf("row %x became %x, then %x, %v", b, one, two, err)
		}
	})
}
