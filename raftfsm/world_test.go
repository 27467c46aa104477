package raftfsm_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

var at = time.Date(2026, 5, 17, 8, 30, 0, 0, time.UTC)

const (
	cluster = catalog.ClusterID("6f0e1d4e-3f9b-4f58-9d0a-0d8f5c2f3a11")
	node1   = catalog.NodeID("11111111-1111-4111-8111-111111111111")
	node2   = catalog.NodeID("22222222-2222-4222-8222-222222222222")
	node3   = catalog.NodeID("33333333-3333-4333-8333-333333333333")
	day     = 24 * 3_600_000
)

// world is one catalog and the log that made it.
type world struct {
	t    testing.TB
	fsm  *raftfsm.FSM
	path string
	log  []*raft.Log
}

// newWorld returns an empty catalog.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "fsm.db")}
	w.open()
	t.Cleanup(func() { w.close() })
	return w
}

// newCluster returns a catalog with three members and mail switched on.
func newCluster(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.ok(raftfsm.CreateCluster{ClusterID: cluster, At: at,
		Settings: catalog.Settings{Replicas: 3, MailFrom: "symkeep@example.com", MailTo: []string{"build@example.com"}}})
	for i, id := range []catalog.NodeID{node1, node2, node3} {
		w.ok(raftfsm.PutMember{Member: memberRow(id, fmt.Sprintf("n%d", i+1))})
	}
	return w
}

func memberRow(id catalog.NodeID, name string) catalog.Member {
	return catalog.Member{ID: id, Name: name, PeerAddr: name + ":8481", HTTPAddr: name + ":8480", GossipAddr: name + ":8482", Version: "1.0"}
}

func (w *world) open() {
	w.t.Helper()
	f, err := raftfsm.Open(w.path)
	if err != nil {
		w.t.Fatalf("Open = %v", err)
	}
	raftfsm.NoSync(f)
	w.fsm = f
}

func (w *world) close() {
	w.t.Helper()
	if err := w.fsm.Close(); err != nil {
		w.t.Errorf("Close = %v", err)
	}
}

// entry encodes a command as the next log entry.
func (w *world) entry(c raftfsm.Command) *raft.Log {
	w.t.Helper()
	b, err := raftfsm.Encode(c)
	if err != nil {
		w.t.Fatalf("Encode(%T) = %v", c, err)
	}
	l := &raft.Log{Index: uint64(len(w.log) + 1), Term: 1, Type: raft.LogCommand, Data: b}
	w.log = append(w.log, l)
	return l
}

func (w *world) do(c raftfsm.Command) raftfsm.Result {
	w.t.Helper()
	return w.fsm.Apply(w.entry(c)).(raftfsm.Result)
}

// ok applies a command that must succeed and returns its log index.
func (w *world) ok(c raftfsm.Command) uint64 {
	w.t.Helper()
	r := w.do(c)
	if err := r.AsError(); err != nil {
		w.t.Fatalf("%T%+v = %v, want success", c, c, err)
	}
	return r.Index
}

// into applies a command that must succeed and decodes its value.
func (w *world) into(c raftfsm.Command, v any) {
	w.t.Helper()
	r := w.do(c)
	if err := errors.Join(r.AsError(), r.Into(v)); err != nil {
		w.t.Fatalf("%T%+v = %v, want success", c, c, err)
	}
}

// refuse applies a command that must be refused without changing a row.
func (w *world) refuse(c raftfsm.Command, want error) raftfsm.Result {
	w.t.Helper()
	before := raftfsm.Sum(w.fsm)
	r := w.do(c)
	if err := r.AsError(); !errors.Is(err, want) {
		w.t.Fatalf("%T%+v = %v, want %v", c, c, err, want)
	}
	if after := raftfsm.Sum(w.fsm); after != before {
		w.t.Fatalf("%T%+v was refused and changed rows", c, c)
	}
	return r
}

// pass lets cluster time go by in one batch.
func (w *world) pass(millis int64) {
	w.t.Helper()
	var batch []*raft.Log
	for ; millis > 0; millis -= raftfsm.MaxTick {
		if len(batch) > 0 && millis >= raftfsm.MaxTick { // the same bytes again: weeks are thousands of ticks
			l := *batch[0]
			l.Index = uint64(len(w.log) + 1)
			w.log, batch = append(w.log, &l), append(batch, &l)
			continue
		}
		batch = append(batch, w.entry(raftfsm.Tick{Millis: min(millis, raftfsm.MaxTick), At: at}))
	}
	w.fsm.ApplyBatch(batch)
}

// sweep runs until nothing is due, limit rows at a time, and returns the rounds.
func (w *world) sweep(limit int) int {
	w.t.Helper()
	for n := 1; n < 10_000; n++ {
		var v raftfsm.SweepValue
		w.into(raftfsm.Sweep{Limit: limit}, &v)
		if !v.More {
			return n
		}
	}
	w.t.Fatalf("sweep of %d rows never ends", limit)
	return 0
}

func (w *world) check() {
	w.t.Helper()
	for _, broken := range raftfsm.CheckInvariants(w.fsm) {
		w.t.Error(broken)
	}
}

func (w *world) state(id catalog.PackageID) catalog.State {
	w.t.Helper()
	p, err := w.fsm.Package(id)
	if err != nil {
		w.t.Fatalf("Package(%s) = %v", id, err)
	}
	return p.State
}

func (w *world) wantState(id catalog.PackageID, want catalog.State) {
	w.t.Helper()
	if got := w.state(id); got != want {
		w.t.Fatalf("package %s is %s, want %s", id, got, want)
	}
}

// pkg makes the id of package n.
func pkg(n int) catalog.PackageID {
	return catalog.PackageID(fmt.Sprintf("01JD3Z%020d", n))
}

// dig makes the digest of blob n.
func dig(n int) catalog.Digest {
	return catalog.Digest{0: byte(n*37 + 1), 1: byte(n >> 8), 31: byte(n)}
}

func open(n int) raftfsm.OpenPackage {
	return raftfsm.OpenPackage{ID: pkg(n), IdempotencyKey: fmt.Sprintf("push-%d", n), Product: "app",
		Version: fmt.Sprintf("1.%d", n), Labels: map[string]string{"branch": "main"}, LeaseMillis: 3_600_000, At: at}
}

// listing makes the entry of a file with blob n.
func listing(path string, n int) raftfsm.FileEntry {
	return raftfsm.FileEntry{Path: path, Size: int64(1000 + n), SHA256: dig(n)}
}

func receipt(n int, holders ...catalog.NodeID) catalog.Receipt {
	return catalog.Receipt{Digest: dig(n), RawSize: int64(1000 + n), Holders: holders,
		Packed: catalog.Packed{SHA256: dig(n + 1000), Size: 500, Container: catalog.ContainerCab}}
}

// key makes a PDB key.
func key(name string, age uint32) symid.Key {
	return symid.PDBKey(name, symid.DebugID{GUID: symid.GUID{1, 2, 3, 4}, Age: age})
}

func report(no, rank int, keys ...symid.Key) catalog.FileReport {
	r := catalog.FileReport{No: no, Kind: catalog.KindPDB, Arch: "x86_64"}
	for _, k := range keys {
		r.Keys = append(r.Keys, catalog.RankedKey{Key: k, Rank: rank})
	}
	return r
}

// upload opens package n and lists blobs as files f0.pdb, f1.pdb and so on, each
// held by two members.
func (w *world) upload(n int, blobs ...int) {
	w.t.Helper()
	w.ok(open(n))
	add := raftfsm.AddFiles{Package: pkg(n)}
	put := raftfsm.PutReceipts{}
	for i, b := range blobs {
		add.Files = append(add.Files, listing(fmt.Sprintf("bin/f%d.pdb", i), b))
		put.Receipts = append(put.Receipts, receipt(b, node1, node2))
	}
	w.ok(add)
	w.ok(put)
}

// commit uploads and commits package n.
func (w *world) commit(n int, blobs ...int) {
	w.t.Helper()
	w.upload(n, blobs...)
	w.ok(raftfsm.CommitPackage{Package: pkg(n), Files: len(blobs), At: at})
}

func (w *world) claim(n int, node catalog.NodeID) uint64 {
	w.t.Helper()
	var c catalog.Claim
	w.into(raftfsm.ClaimValidation{Package: pkg(n), Node: node}, &c)
	return c.Token
}

// judge claims package n, sends the reports and records the verdict.
func (w *world) judge(n int, findings []catalog.Finding, reports ...catalog.FileReport) raftfsm.VerdictValue {
	w.t.Helper()
	token := w.claim(n, node1)
	w.ok(raftfsm.AddKeys{Package: pkg(n), Token: token, Reports: reports})
	var v raftfsm.VerdictValue
	w.into(raftfsm.RecordVerdict{Package: pkg(n), Token: token, Files: len(reports), Findings: findings, At: at}, &v)
	return v
}

// good makes package n with one file of blob under k.
func (w *world) good(n, blob, rank int, k symid.Key) {
	w.t.Helper()
	w.commit(n, blob)
	if v := w.judge(n, nil, report(0, rank, k)); v.Verdict != catalog.Good {
		w.t.Fatalf("verdict on package %d = %s, want good", n, v.Verdict)
	}
}

func (w *world) lookup(k symid.Key) []catalog.Candidate {
	w.t.Helper()
	found, err := w.fsm.Lookup(k.Index())
	if err != nil {
		w.t.Fatalf("Lookup = %v", err)
	}
	first, ok, err := w.fsm.Find([]symid.Key{k})
	if err != nil || ok != (len(found) > 0) || ok && first != found[0] {
		w.t.Errorf("Find(%v) = %+v, %t, %v; Lookup = %+v", k, first, ok, err, found)
	}
	return found
}

// served lists the packages of a lookup, in order.
func (w *world) served(k symid.Key) string {
	w.t.Helper()
	var ids []string
	for _, c := range w.lookup(k) {
		ids = append(ids, strings.TrimLeft(string(c.Package[6:]), "0"))
	}
	return strings.Join(ids, " ")
}

var failing = []catalog.Finding{{Code: "PDB-TRUNC", Severity: catalog.Error, Message: "file ends at 12 bytes, 4096 were expected: build it again"}}
