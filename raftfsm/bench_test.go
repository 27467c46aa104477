package raftfsm_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

const chunk = 1000 // files per command

// bulk makes the log of one package with n files, each with a key of its own.
func bulk(w *world, p, n int) []*raft.Log {
	var log []*raft.Log
	log = append(log, w.entry(open(p)))
	for first := 0; first < n; first += chunk {
		add, put := raftfsm.AddFiles{Package: pkg(p), First: first}, raftfsm.PutReceipts{}
		for i := first; i < min(n, first+chunk); i++ {
			add.Files = append(add.Files, raftfsm.FileEntry{Path: fmt.Sprintf("bin/module-%d/module-%d.pdb", i%100, i), Size: 1000, SHA256: wide(p, i)})
			put.Receipts = append(put.Receipts, catalog.Receipt{Digest: wide(p, i), RawSize: 1000, Holders: []catalog.NodeID{node1, node2},
				Packed: catalog.Packed{SHA256: wide(p+1000, i), Size: 500, Container: catalog.ContainerCab}})
		}
		log = append(log, w.entry(add))
		for half := range 2 {
			part := put.Receipts[half*len(put.Receipts)/2 : (half+1)*len(put.Receipts)/2]
			log = append(log, w.entry(raftfsm.PutReceipts{Receipts: part}))
		}
	}
	log = append(log, w.entry(raftfsm.CommitPackage{Package: pkg(p), Files: n, At: at}))
	token := uint64(len(w.log) + 1)
	log = append(log, w.entry(raftfsm.ClaimValidation{Package: pkg(p), Node: node1}))
	for first := 0; first < n; first += chunk {
		add := raftfsm.AddKeys{Package: pkg(p), Token: token}
		for i := first; i < min(n, first+chunk); i++ {
			add.Reports = append(add.Reports, report(i, 5, wideKey(p, i)))
		}
		log = append(log, w.entry(add))
	}
	return append(log, w.entry(raftfsm.RecordVerdict{Package: pkg(p), Token: token, Files: n, At: at}))
}

// wide spreads digests over the whole range, as hashes do.
func wide(p, i int) catalog.Digest {
	x := uint64(p)<<32 | uint64(i+1)
	x *= 0x9e3779b97f4a7c15
	var d catalog.Digest
	for j := range d {
		d[j] = byte(x >> (8 * (j % 8)))
	}
	return d
}

func wideKey(p, i int) symid.Key {
	d := wide(p, i)
	return symid.PDBKey(fmt.Sprintf("module-%d.pdb", i), symid.DebugID{GUID: symid.GUID(d[:16]), Age: 1})
}

// BenchmarkPackage applies a package of 10,000 files from open to verdict.
func BenchmarkPackage(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		w := newCluster(b)
		log := bulk(w, 1, 10_000)
		b.StartTimer()
		w.fsm.ApplyBatch(log)
	}
}

// BenchmarkContents hashes a catalog of 100,000 files, with the rests it takes.
func BenchmarkContents(b *testing.B) {
	w := newCluster(b)
	w.ok(raftfsm.RaiseFeature{Level: 2})
	for p := 1; p <= 10; p++ {
		w.fsm.ApplyBatch(bulk(w, p, 10_000))
	}
	rows := strings.Count(raftfsm.Dump(w.fsm), "\n")
	if file, err := os.Stat(w.path); err == nil {
		b.SetBytes(file.Size())
	}
	for b.Loop() {
		b.StopTimer()
		w.pass(raftfsm.CheckPause)
		l := w.entry(raftfsm.CheckContents{})
		b.StartTimer()
		w.fsm.Apply(l)
		raftfsm.AwaitContents(w.fsm)
	}
	if err := w.fsm.Damage(); err != nil || len(w.fsm.Contents()) == 0 {
		b.Fatalf("Contents = %v, Damage = %v", w.fsm.Contents(), err)
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkLookup(b *testing.B) { benchmarkFind(b, 1, true) }

// BenchmarkMiss looks up keys that nobody has, between those that somebody has.
func BenchmarkMiss(b *testing.B) { benchmarkFind(b, 2, false) }

// benchmarkFind looks up the keys of a package, of which only number 1 is there.
func benchmarkFind(b *testing.B, p int, want bool) {
	w := newCluster(b)
	w.fsm.ApplyBatch(bulk(w, 1, 50_000))
	var keys []symid.Key
	for i := range 50_000 {
		keys = append(keys, wideKey(p, i))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 7919) % len(keys)
		if c, found, err := w.fsm.Find(keys[i : i+1]); err != nil || found != want {
			b.Fatalf("Find = %v, %t, %v", c, found, err)
		}
	}
}

// TestBigPackage carries 12,000 files through, in several transactions.
func TestBigPackage(t *testing.T) {
	if testing.Short() {
		t.Skip("12,000 files")
	}
	t.Parallel()
	w := newCluster(t)
	const files = 12_000
	for _, r := range w.fsm.ApplyBatch(bulk(w, 1, files)) {
		if err := r.(raftfsm.Result).AsError(); err != nil {
			t.Fatal(err)
		}
	}
	w.wantState(pkg(1), catalog.StateGood)
	for i := 0; i < files; i += 3989 {
		if found := w.lookup(wideKey(1, i)); len(found) != 1 || found[0].Digest != wide(1, i) {
			t.Errorf("Lookup of file %d = %+v", i, found)
		}
	}
	if n := w.fsm.Counts().Blobs; n != files {
		t.Errorf("%d blobs, want %d", n, files)
	}
}

// BenchmarkCommit applies the one step whose cost grows with a package: the check
// of every blob's holders.
func BenchmarkCommit(b *testing.B) {
	w := newCluster(b)
	log := bulk(w, 1, 50_000)
	at := 0
	for i, l := range log {
		if raftfsm.Kind(l.Data[0]) == raftfsm.KindCommitPackage {
			at = i
		}
	}
	w.fsm.ApplyBatch(log[:at])
	b.ResetTimer()
	for range b.N {
		// Another number of files is refused before the check; one blob without
		// copies is refused after it, so the check can be repeated.
		b.StopTimer()
		w.log = w.log[:w.fsm.AppliedIndex()]
		w.ok(raftfsm.DropHolders{Node: node1, Digests: []catalog.Digest{wide(1, 0)}})
		l := w.entry(raftfsm.CommitPackage{Package: pkg(1), Files: 50_000})
		b.StartTimer()
		if r := w.fsm.Apply(l).(raftfsm.Result); r.Code != "unavailable" {
			b.Fatalf("commit = %+v, want it refused for one blob", r)
		}
	}
}

// BenchmarkPackageKnown is BenchmarkPackage with the index of names.
func BenchmarkPackageKnown(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		w := known(b)
		log := bulk(w, 1, 10_000)
		b.StartTimer()
		w.fsm.ApplyBatch(log)
	}
}
