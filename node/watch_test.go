package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	bolt "go.etcd.io/bbolt"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// TestWatches: what raft and a catalog cannot mend themselves ends a node of a real
// cluster with a reason, and the next start goes on, or says what to do.
func TestWatches(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3)
	inSteps(t, nodes, []step{
		{"snapshot loop", testSnapshotLoop},
		{"hand-over stuck", testTransferStuck},
		{"diverged", testDiverged},
	})
}

// tick commits k commands through a node.
func (n *testNode) tick(k int) {
	n.t.Helper()
	var failed atomic.Pointer[error]
	var left atomic.Int64
	left.Store(int64(k))
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := n.propose(n.t.Context(), raftfsm.Tick{Millis: 1}); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		n.t.Fatalf("tick through %s: %v", n.cfg.Name, *err)
	}
}

// testSnapshotLoop makes a follower whose log ends in entries that were never
// committed, and a leader that has only a snapshot for it: raft sends that again and
// again. The watch ends the follower, and its next start drops the entries.
func testSnapshotLoop(t *testing.T, nodes []*testNode) {
	follower, others := leaderOf(t, nodes...) // it becomes one below
	follower.stay()
	follower.halt()
	leader, rest := leaderOf(t, others...)
	leader.tick(50)
	before := leader.consensus().raft.CurrentTerm()
	if err := leader.transferLeadership(t.Context(), leader.consensus()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() bool {
		leader, rest = leaderOf(t, others...)
		return leader.consensus().raft.CurrentTerm() > before
	}, func() string { return "no other term began" })
	leader.tick(50)
	c := leader.consensus()
	reload := c.raft.ReloadableConfig()
	reload.TrailingLogs = 1
	if err := c.raft.ReloadConfig(reload); err != nil {
		t.Fatal(err)
	}
	if err := c.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	first := forgeSuffix(t, follower, before, c.raft.LastIndex()+500)

	follower.start()
	err := follower.ends(30 * time.Second)
	if err == nil || !strings.Contains(err.Error(), "snapshots in a row were installed") {
		t.Fatalf("Run of a follower in a snapshot loop = %v, want that said", err)
	}
	follower.start()
	eventually(t, 10*time.Second, func() bool { return standing(leader, follower, catalog.AlarmSnapshotLoop) != "" },
		func() string { return "the cluster knows nothing of the snapshot loop" })
	clearAlarms(t, leader)
	awaitHealthy(t, nodes...)
	if !strings.Contains(follower.log.String(), "entries that were never committed: dropped") {
		t.Errorf("the log of the follower says nothing of the entries from %d on that it dropped", first)
	}
	follower.push("after the loop", breakpad(21, 100))
	rest[0].serves(breakpad(21, 100))
}

// forgeSuffix appends entries of a term to the log of a halted node, up to an index,
// as a leader does that is cut off. It returns the first one's index.
func forgeSuffix(t *testing.T, n *testNode, term, last uint64) (first uint64) {
	t.Helper()
	store, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(n.cfg.DataDir, "raft", "raft.db"), BoltOptions: &bolt.Options{Timeout: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	end, err := store.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	b, err := raftfsm.Encode(raftfsm.Tick{Millis: 1})
	if err != nil {
		t.Fatal(err)
	}
	var forged []*raft.Log
	for i := end + 1; i <= last; i++ {
		forged = append(forged, &raft.Log{Index: i, Term: term, Type: raft.LogCommand, Data: b})
	}
	if err := store.StoreLogs(forged); err != nil {
		t.Fatal(err)
	}
	return end + 1
}

// standing returns the text of an alarm about a node as another one knows it.
func standing(asked, about *testNode, code catalog.AlarmCode) string {
	for _, a := range asked.fsm.Alarms() {
		if a.Node == about.id.Node && a.Code == code {
			return a.Text
		}
	}
	return ""
}

// stuckIn puts a leader into that state and waits until its watch has seen it, or
// reports true because it leads no more.
func stuckIn(leader *testNode) (deposed bool) {
	leader.stay()
	r := leader.consensus().raft
	state := reflect.ValueOf(r).Elem().FieldByName("leaderState")
	flag := (*int32)(unsafe.Pointer(state.FieldByName("leadershipTransferInProgress").UnsafeAddr()))
	atomic.StoreInt32(flag, 1)
	for begun := time.Now(); time.Since(begun) < transferStuck; time.Sleep(50 * time.Millisecond) {
		if r.State() == raft.Follower {
			return true
		}
	}
	return false
}

// testTransferStuck puts a leader's raft into the state in which a hand-over that met
// a step-down leaves it: every command is refused, for good.
func testTransferStuck(t *testing.T, nodes []*testNode) {
	leader, _ := leaderOf(t, nodes...)
	for stuckIn(leader) {
		leader, _ = leaderOf(t, nodes...) // a busy machine elected another one, which is not stuck
	}
	err := leader.ends(15 * time.Second)
	if err == nil || !strings.Contains(err.Error(), "hand-over of leadership has not ended") {
		t.Fatalf("Run of a leader stuck in a hand-over = %v, want that said", err)
	}
	leader.start()
	eventually(t, 20*time.Second, func() bool { return standing(nodes[0], leader, catalog.AlarmStuck) != "" },
		func() string { return "the cluster knows nothing of the hand-over" })
	clearAlarms(t, leader)
	awaitHealthy(t, nodes...)
}

// clearAlarms ends every alarm, as an operator does.
func clearAlarms(t *testing.T, n *testNode) {
	t.Helper()
	if err := n.ClearAlarms(t.Context(), api.AlarmRequest{}); err != nil {
		t.Fatal(err)
	}
}

// TestCopiesOutOfReach: a file whose only copies are on dead members can be pushed
// again.
func TestCopiesOutOfReach(t *testing.T) {
	t.Parallel()
	var nodes []*testNode
	for i := range 3 {
		n := newTestNode(t, fmt.Sprint("n", i))
		n.cfg.Settings.Replicas = 1
		if i > 0 {
			n.cfg.Join = []string{nodes[0].gossip.Addr()}
		}
		n.start()
		nodes = append(nodes, n)
	}
	awaitHealthy(t, nodes...)
	f := breakpad(61, 1000)
	nodes[0].push("first", f)
	var row catalog.Blob
	var copies int
	eventually(t, 20*time.Second, func() bool { // the node that took the push keeps its copy for a while, listed at first, then not
		copies = 0
		for _, n := range nodes {
			if n.blobs.Has(f.digest()) {
				copies++
			}
		}
		var err error
		row, err = nodes[0].fsm.Blob(f.digest())
		return err == nil && len(row.Holders) == 1 && copies == 1
	}, func() string {
		return fmt.Sprintf("the blob is held by %v, with %d copies, want one", row.Holders, copies)
	})
	var living []*testNode
	for _, n := range nodes {
		if slices.Contains(row.Holders, n.id.Node) {
			n.halt()
		} else {
			living = append(living, n)
		}
	}
	leader, _ := leaderOf(t, living...)
	eventually(t, 20*time.Second, func() bool { return leader.outOfReach(f.digest()) }, func() string { return "the holder is not found dead" })
	id := leader.open("second", f)
	r, err := leader.c.Commit(t.Context(), id, api.CommitRequest{Files: 1})
	if err != nil || !slices.Equal(r.Lacking, []catalog.Digest{f.digest()}) {
		t.Fatalf("commit while the only copy is out of reach = %+v, %v, want the blob asked for again", r, err)
	}
	leader.commit(id, f)
	if st := leader.await(id); st.State != catalog.StateGood {
		t.Errorf("package is %s, want good", st.State)
	}
	for _, n := range living {
		n.serves(f)
	}
}

// testDiverged takes a row out of one node's catalog. What it then makes of the log
// differs from what the others make of it, which it finds out, and stops.
func testDiverged(t *testing.T, nodes []*testNode) {
	f := breakpad(22, 100)
	nodes[0].push("to be lost", f)
	awaitHealthy(t, nodes...)
	_, others := leaderOf(t, nodes...)
	victim := others[0]
	victim.stay()
	victim.halt()
	d := f.digest()
	loseRow(t, victim, "blobs", d[:])
	victim.start()
	awaitHealthy(t, nodes...)
	leader, others := leaderOf(t, nodes...)
	leader.open("lists it again", f) // which blobs lack copies is part of the result
	leader.tick(raftfsm.HashStep)
	err := victim.ends(30 * time.Second)
	if !errors.Is(err, catalog.ErrConflict) || !strings.Contains(err.Error(), "2 of 3 members") {
		t.Fatalf("Run of a node whose catalog diverged = %v, want it contradicted by 2 of 3 members", err)
	}
	eventually(t, 10*time.Second, func() bool { return standing(leader, victim, catalog.AlarmDiverged) != "" },
		func() string { return "the others know nothing of the node that diverged" })
	_, err = New(victim.cfg)
	if !errors.Is(err, catalog.ErrConflict) || !strings.Contains(fmt.Sprint(err), "--join") {
		t.Errorf("start of a node that diverged = %v, want it refused and told what to do", err)
	}
	leader.push("goes on", breakpad(23, 100))
}

func TestAgreement(t *testing.T) {
	step := func(index uint64, hash string) api.CatalogHash {
		return api.CatalogHash{Index: index, Hash: hash, Step: true}
	}
	said := func(name string, hashes ...api.CatalogHash) api.PeerStatus {
		return api.PeerStatus{Name: name, Hashes: hashes}
	}
	mine := []api.CatalogHash{step(2000, "b"), step(1000, "a")}
	for _, tt := range []struct {
		name    string
		others  []api.PeerStatus
		members int
		want    opinion // differs: a part of it
	}{
		{"alone", nil, 1, opinion{agreed: 2000}},
		{"all agree", []api.PeerStatus{said("x", mine...), said("y", mine...)}, 3, opinion{agreed: 2000}},
		{"one behind", []api.PeerStatus{said("x", mine...), said("y", step(1000, "a"))}, 3, opinion{agreed: 1000}},
		{"one silent", []api.PeerStatus{said("x", mine...), {}}, 3, opinion{}},
		{"one other", []api.PeerStatus{said("x", step(2000, "c")), said("y", mine...)}, 3, opinion{differs: "below log index 2000 this node made another catalog of the log than x (1 of 3 members)"}},
		{"two others", []api.PeerStatus{said("x", step(2000, "c")), said("y", step(2000, "c"))}, 3, opinion{differs: "than x, y (2 of 3 members)", diverged: true}},
		{"two others that differ", []api.PeerStatus{said("x", step(2000, "c")), said("y", step(2000, "d"))}, 3, opinion{differs: "(1 of 3 members)"}},
		{"two of five", []api.PeerStatus{said("x", step(2000, "c")), said("y", step(2000, "c"))}, 5, opinion{differs: "(2 of 5 members)"}},
		{"one of two", []api.PeerStatus{said("x", step(2000, "c"))}, 2, opinion{differs: "(1 of 2 members)"}},
		{"a newest command is no step", []api.PeerStatus{said("x", api.CatalogHash{Index: 2000, Hash: "c"})}, 2, opinion{}},
	} {
		got := agreement(mine, tt.others, tt.members)
		if got.agreed != tt.want.agreed || got.diverged != tt.want.diverged || !strings.Contains(got.differs, tt.want.differs) || (got.differs == "") != (tt.want.differs == "") {
			t.Errorf("%s: agreement = %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// TestDropConflicting: a log is dropped only where it contradicts the snapshot.
func TestDropConflicting(t *testing.T) {
	for _, tt := range []struct {
		name       string
		snapshot   [2]uint64 // index, term; 0: none
		first, end uint64    // of the log, all of term 3
		drops      bool
	}{
		{"no snapshot", [2]uint64{}, 1, 9, false},
		{"agrees", [2]uint64{5, 3}, 1, 9, false},
		{"older term", [2]uint64{5, 4}, 1, 9, true},
		{"at its end", [2]uint64{9, 4}, 1, 9, true},
		{"log ends before", [2]uint64{9, 4}, 1, 8, false},
		{"log begins after", [2]uint64{5, 3}, 6, 9, false},
	} {
		log, snaps := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
		for i := tt.first; i <= tt.end; i++ {
			log.StoreLog(&raft.Log{Index: i, Term: 3})
		}
		if tt.snapshot[0] > 0 {
			sink, err := snaps.Create(1, tt.snapshot[0], tt.snapshot[1], raft.Configuration{}, 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			sink.Close()
		}
		dropped, err := dropConflicting(snaps, log)
		last, _ := log.LastIndex()
		if err != nil || dropped != tt.drops || (last == 0) != tt.drops {
			t.Errorf("%s: dropConflicting = %t, %v and the log ends at %d, want %t", tt.name, dropped, err, last, tt.drops)
		}
	}
}

// TestRestoresInARow: only snapshots that nothing follows count.
func TestRestoresInARow(t *testing.T) {
	var got []int
	g := &diskGuard{loop: func(restores int, _ uint64) { got = append(got, restores) }}
	for _, r := range [][2]uint64{{5, 100}, {100, 100}, {100, 120}, {130, 200}, {200, 200}} {
		g.countRestore(r[0], r[1])
	}
	if want := []int{1, 2, 3, 1, 2}; !reflect.DeepEqual(got, want) {
		t.Errorf("restores in a row = %v, want %v", got, want)
	}
}

// TestSlowFollowerGoesOn: a follower that is sent snapshot after snapshot ends only
// if its log contradicts them: a new start mends nothing else.
func TestSlowFollowerGoesOn(t *testing.T) {
	for _, tt := range []struct {
		name string
		term uint64 // of its log at the snapshot's index
		ends bool
	}{{"slow", 3, false}, {"contradicts", 2, true}} {
		n, _ := newLedgerNode(t)
		n.cfg.DataDir = t.TempDir()
		store, snaps, err := openRaftStores(n.raftDir(), n.log)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		sink, err := snaps.Create(1, 5, 3, raft.Configuration{}, 1, nil)
		if err := errors.Join(err, sink.Close(), store.StoreLog(&raft.Log{Index: 5, Term: tt.term})); err != nil {
			t.Fatal(err)
		}
		n.cons = &consensus{log: store, snaps: snaps}
		n.restoredAgain(snapshotLoop-1, 5)
		if err := n.end.failed(); err != nil {
			t.Errorf("%s: after %d snapshots: %v", tt.name, snapshotLoop-1, err)
		}
		n.restoredAgain(snapshotLoop, 5)
		if err := n.end.failed(); (err != nil) != tt.ends {
			t.Errorf("%s: after %d snapshots the node ends with %v, want %t", tt.name, snapshotLoop, err, tt.ends)
		}
	}
}

// TestHangAfterFailure: a disk that fails first and then hangs must not keep the
// process from ending, and the first reason stands.
func TestHangAfterFailure(t *testing.T) {
	n, _ := newLedgerNode(t)
	var err error
	for _, ln := range []*net.Listener{&n.httpLn, &n.peerLn} {
		if *ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	failed := errors.New("the disk fails")
	n.fail(failed)
	n.hang(errors.New("disk hangs"))
	n.hang(errors.New("disk hangs still"))
	n.severing.Wait()
	select {
	case <-n.end.hung:
	default:
		t.Error("Run waits for a disk that hangs after it has failed")
	}
	if got := n.end.failed(); got != failed {
		t.Errorf("the node ends with %v, want %v", got, failed)
	}
	if _, err := net.Dial("tcp", n.peerLn.Addr().String()); err == nil {
		t.Error("a node whose disk hangs still listens")
	}
}

// TestDiskWatch: a write under way makes the disk slow and then hung, but not while
// the process itself stands still.
func TestDiskWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDiskWatch(0)
		p := &diskProbe{dir: "/d", what: "raft directory", count: 1, busy: true}
		w.probes = append(w.probes, p)
		run := func(d time.Duration) (err error) {
			for end := time.Now().Add(d); time.Now().Before(end) && err == nil; {
				time.Sleep(judgeEvery)
				err = w.judge()
			}
			return err
		}
		if err := run(slowWrite / 2); err != nil || w.slow() != "" {
			t.Errorf("after %s: %v, slow %q, want neither", slowWrite/2, err, w.slow())
		}
		time.Sleep(time.Hour) // stopped with its machine
		if err := w.judge(); err != nil || w.slow() != "" {
			t.Errorf("after a standstill: %v, slow %q, want neither", err, w.slow())
		}
		if err := run(slowWrite); err != nil || !strings.Contains(w.slow(), "raft directory /d: a write of 4096 bytes takes more than 2s") {
			t.Errorf("after %s: %v, slow %q, want it slow", 3*slowWrite/2, err, w.slow())
		}
		if err := run(hungWrite); err == nil || !strings.Contains(err.Error(), "disk hangs: a write of 4096 bytes to the raft directory /d") {
			t.Errorf("judge after %s = %v, want that the disk hangs", slowWrite+hungWrite, err)
		}
		w.note(p, time.Second, nil)
		if w.judge(); w.stalled() != nil {
			t.Errorf("stalled after the write came back = %v, want nil", w.stalled())
		}
		time.Sleep(slowKept + time.Second)
		if w.slow() != "" {
			t.Errorf("slow %s after the write came back: %q", slowKept+time.Second, w.slow())
		}
		w.note(p, time.Millisecond, errors.New("disk broke"))
		if !strings.Contains(w.slow(), "disk broke") {
			t.Errorf("slow after a failed write = %q, want why", w.slow())
		}
		for i := range 300 {
			w.note(p, time.Duration(i)*time.Millisecond, nil)
		}
		if got := w.p99(); got != 296*time.Millisecond {
			t.Errorf("p99 of 0 to 299 ms = %s, want 296ms", got)
		}
	})
}

// TestShareElsewhere: a share directory that cannot have links to the data ends the
// start, before there is a cluster.
func TestShareElsewhere(t *testing.T) {
	other, err := os.MkdirTemp("/dev/shm", "share")
	if err != nil {
		t.Skip("no second file system: ", err)
	}
	t.Cleanup(func() { os.RemoveAll(other) })
	n := newTestNode(t, "n")
	n.cfg.ShareDir = filepath.Join(other, "deep", "share")
	if _, err := New(n.cfg); !errors.Is(err, catalog.ErrInvalid) || !strings.Contains(err.Error(), "one file system") {
		t.Errorf("New with a share directory on another file system = %v, want ErrInvalid that says so", err)
	}
	if _, err := os.Stat(filepath.Join(n.cfg.DataDir, "cluster-id")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("cluster-id after that: %v, want none", err)
	}
	n.cfg.ShareDir = filepath.Join(t.TempDir(), "deep", "share")
	node, err := New(n.cfg)
	if err != nil {
		t.Fatalf("New with a share directory beside the data = %v", err)
	}
	node.Close()
}

// TestRepeats: raft's lines about one peer are said once a minute.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lockedBuffer
		log := newRaftLogger(slog.New(slog.NewTextHandler(&out, nil)))
		for i := range 100 {
			log.Warn("failed to heartbeat to", "peer", "n2", "term", i)
			log.Warn("failed to heartbeat to", "peer", "n3", "term", i)
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		log.With("x", 1).Warn("failed to heartbeat to", "peer", "n2", "term", 7)
		said := out.String()
		if n2, n3 := strings.Count(said, "peer=n2"), strings.Count(said, "peer=n3"); n2 != 2 || n3 != 1 || !strings.Contains(said, "times=99") {
			t.Errorf("raft said %d lines of n2 and %d of n3, want 2 with the 99 left out, and 1:\n%s", n2, n3, said)
		}
	})
}
