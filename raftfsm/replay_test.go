package raftfsm_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

// chance draws commands that are mostly sensible for the catalog as it is.
type chance struct {
	*world
	rt     *rapid.T
	tokens map[int]uint64 // newest claim of each package
}

func (c *chance) n(limit int, what string) int { return rapid.IntRange(0, limit-1).Draw(c.rt, what) }

func (c *chance) pkg() int  { return 1 + c.n(4, "package") }
func (c *chance) blob() int { return c.n(6, "blob") }
func (c *chance) node() catalog.NodeID {
	return []catalog.NodeID{node1, node2, node3, node4}[c.n(4, "node")]
}

const node4 = catalog.NodeID("44444444-4444-4444-8444-444444444444")

// step applies one drawn command, or a batch of ticks.
func (c *chance) step() {
	p := c.pkg()
	switch c.n(35, "command") {
	case 0, 1, 2, 3, 4:
		c.push(p)
	case 5, 6, 7, 8, 9:
		c.validate(p)
	case 10:
		c.apply(raftfsm.CommitPackage{Package: pkg(p), Files: 1 + c.n(3, "files"), At: at})
	case 11:
		c.pass([]int64{1, 30_000, 61_000, 8 * day, 15 * day}[c.n(5, "time")])
	case 12, 13:
		c.apply(raftfsm.Sweep{Limit: 1 + c.n(20, "limit")})
	case 14:
		c.apply(raftfsm.DeletePackage{Package: pkg(p), By: "eve", At: at})
	case 15:
		c.apply(raftfsm.UndeletePackage{Package: pkg(p)})
	case 16:
		c.apply(raftfsm.RetryPackage{Package: pkg(p)})
	case 17:
		c.apply(raftfsm.PutReceipts{Receipts: []catalog.Receipt{c.receipt(), c.receipt()}})
	case 18:
		c.apply(raftfsm.DropHolders{Node: c.node(), Digests: []catalog.Digest{dig(c.blob()), dig(c.blob())}})
	case 19:
		c.apply(raftfsm.RetireBlobs{Blobs: []raftfsm.Retiree{{Digest: dig(c.blob()), Gen: uint64(1 + c.n(2, "gen"))}}})
	case 20:
		c.members()
	case 21:
		c.apply(raftfsm.MarkNotice{Seq: uint64(c.n(len(c.log)+1, "seq")), DelayMillis: 1000,
			State: []catalog.NoticeState{catalog.NoticePending, catalog.NoticeSent, catalog.NoticeDropped}[c.n(3, "state")]})
	case 22:
		c.apply(raftfsm.ReleaseClaim{Package: pkg(p), Token: c.tokens[p]})
	case 23:
		c.apply(raftfsm.AddFiles{Package: pkg(p), First: c.n(3, "first"), Files: []raftfsm.FileEntry{c.file(), c.file()}})
	case 24: // thousands of ticks each: one in a history is enough
		c.age(p)
	case 25:
		c.neglect(p)
	case 26:
		c.neglect(p)
	case 27:
		c.apply(raftfsm.RenewLease{Package: pkg(p), LeaseMillis: 1 + int64(c.n(100_000, "lease"))})
	case 28:
		c.apply(raftfsm.RenewClaim{Package: pkg(p), Token: c.tokens[p]})
	case 29, 30, 31, 32:
		c.operate()
	case 33:
		c.apply(raftfsm.RaiseFeature{Level: 2 + c.n(2, "level")})
	case 34:
		c.catchUp()
	}
}

// age lets a package go by, partly or to its end.
func (c *chance) age(p int) {
	if c.n(2, "delete") == 0 {
		c.apply(raftfsm.DeletePackage{Package: pkg(p), By: "eve", Reason: "old", At: at})
	}
	c.pass(15 * day)
	for range c.n(6, "sweeps") {
		c.apply(raftfsm.Sweep{Limit: 1 + c.n(5, "limit")})
	}
}

// neglect lets validators die on a package.
func (c *chance) neglect(p int) {
	for range 1 + c.n(3, "validators") {
		c.apply(raftfsm.ClaimValidation{Package: pkg(p), Node: c.node()})
		c.pass(61_000)
	}
}

func (c *chance) file() raftfsm.FileEntry {
	return listing(fmt.Sprintf("f%d.pdb", c.n(2, "path")), c.blob())
}

func (c *chance) receipt() catalog.Receipt {
	r := receipt(c.blob(), c.node(), c.node())
	if c.n(4, "other packed") == 0 {
		r.Packed.SHA256 = dig(5000)
	}
	return r
}

func (c *chance) push(p int) {
	o := open(p)
	o.IdempotencyKey = fmt.Sprintf("push-%d-%d", p, c.n(2, "key"))
	c.apply(o)
	add, put := raftfsm.AddFiles{Package: pkg(p)}, raftfsm.PutReceipts{}
	for i := range 1 + c.n(3, "files") {
		b := c.blob()
		add.Files = append(add.Files, listing(fmt.Sprintf("f%d.pdb", i), b))
		put.Receipts = append(put.Receipts, receipt(b, c.node(), c.node()))
	}
	c.apply(add)
	c.apply(put)
	c.apply(raftfsm.CommitPackage{Package: pkg(p), Files: len(add.Files), At: at})
}

func (c *chance) validate(p int) {
	r := c.apply(raftfsm.ClaimValidation{Package: pkg(p), Node: c.node()})
	if r.Code == "" {
		c.tokens[p] = r.Index
	}
	token := c.tokens[p]
	row, err := c.fsm.Package(pkg(p))
	if err != nil {
		return
	}
	add := raftfsm.AddKeys{Package: pkg(p), Token: token}
	for no := range row.Files {
		add.Reports = append(add.Reports, report(no, c.n(2, "rank"), c.keys()...))
	}
	c.apply(add)
	if c.n(4, "findings") == 0 {
		c.apply(raftfsm.AddFindings{Package: pkg(p), Token: token, File: c.n(4, "file") - 1, First: c.n(2, "first"), Findings: failing})
	}
	if c.n(3, "verdict") > 0 {
		c.apply(raftfsm.RecordVerdict{Package: pkg(p), Token: token, Files: row.Files, At: at})
	}
}

func (c *chance) keys() []symid.Key {
	var keys []symid.Key
	for age := range uint32(1 + c.n(2, "keys")) {
		keys = append(keys, key("a.pdb", age+uint32(c.n(2, "age"))*10))
	}
	return keys
}

func (c *chance) members() {
	id := c.node()
	m := memberRow(id, fmt.Sprintf("n%d", c.n(5, "name")))
	switch c.n(4, "member command") {
	case 0:
		c.apply(raftfsm.RemoveMember{ID: id})
	case 1:
		c.apply(raftfsm.PutMember{Member: m, Replaces: c.node()})
	case 2:
		c.apply(raftfsm.PutMember{Member: m})
	case 3:
		c.apply(raftfsm.SetDraining{Node: id, Draining: true})
	}
}

// operate draws what an operator or a node's watch does.
func (c *chance) operate() {
	node := c.node()
	switch c.n(8, "operator command") {
	case 0:
		replicas, delay := c.n(5, "replicas"), int64(c.n(3, "delay"))-1
		c.apply(raftfsm.ChangeSettings{Replicas: &replicas, RepairDelay: &delay})
	case 1:
		base := c.fsm.Layout().Version + uint64(c.n(4, "base")/3)
		c.apply(raftfsm.ApplyLayout{Base: base, Replicas: c.n(4, "replicas"),
			Weights: map[catalog.NodeID]int{node: 100 * c.n(3, "weight"), c.node(): 50}})
	case 2:
		c.apply(raftfsm.MarkLayoutSynced{Node: node, Version: uint64(c.n(20, "version"))})
	case 3:
		c.apply(raftfsm.SetMaintenance{Node: node, Millis: int64(c.n(100_000, "maintenance"))})
	case 4:
		codes := []catalog.AlarmCode{catalog.AlarmBitRot, catalog.AlarmDiverged}
		c.apply(raftfsm.RaiseAlarm{Alarm: catalog.Alarm{Node: node, Code: codes[c.n(2, "code")], Text: fmt.Sprint(c.n(2, "text")), At: at}})
	case 5:
		c.apply(raftfsm.ClearAlarm{Node: []catalog.NodeID{"", node}[c.n(2, "node")], Code: catalog.AlarmBitRot})
	case 6:
		c.apply(raftfsm.FreezeRetiring{Millis: int64(c.n(2, "freeze")) * 9 * day})
	case 7:
		c.apply(raftfsm.CheckContents{})
	}
}

// catchUp has every member of the layout say that it holds all it should.
func (c *chance) catchUp() {
	l := c.fsm.Layout()
	for _, n := range l.Nodes {
		c.apply(raftfsm.MarkLayoutSynced{Node: n.ID, Version: l.Version})
	}
}

// apply runs a command and checks that a refusal changed nothing.
func (c *chance) apply(cmd raftfsm.Command) raftfsm.Result {
	before := raftfsm.Sum(c.fsm)
	r := c.do(cmd)
	if r.Code != "" && raftfsm.Sum(c.fsm) != before {
		c.rt.Fatalf("%T%+v was refused (%s) and changed rows", cmd, cmd, r.Error)
	}
	for _, broken := range raftfsm.CheckInvariants(c.fsm) {
		c.rt.Fatalf("after %T%+v: %s", cmd, cmd, broken)
	}
	return r
}

// TestReplay draws histories and checks that every way to reach their end leads to
// the same catalog: other batches, a snapshot in the middle, a restart with the
// log replayed from too early.
func TestReplay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := &chance{world: newCluster(t), rt: rt, tokens: map[int]uint64{}}
		for range rapid.IntRange(10, 80).Draw(rt, "steps") {
			c.step()
		}
		want := fingerprint(c.fsm)
		batched := newWorld(t)
		inBatches(rt, batched.fsm, c.log)
		if got := fingerprint(batched.fsm); got != want {
			rt.Fatalf("replayed in batches = %s, want %s", got, want)
		}
		cut := rapid.IntRange(0, len(c.log)).Draw(rt, "snapshot at")
		from := rapid.IntRange(0, cut).Draw(rt, "replay from")
		source, target := newWorld(t), newWorld(t)
		inBatches(rt, source.fsm, c.log[:cut])
		inBatches(rt, target.fsm, c.log[:from]) // what a restore must discard
		if err := target.fsm.Restore(snapshotOf(t, source.fsm)); err != nil {
			rt.Fatal(err)
		}
		raftfsm.NoSync(target.fsm)
		target.close()
		target.open()
		inBatches(rt, target.fsm, c.log[from:])
		if got := fingerprint(target.fsm); got != want {
			rt.Fatalf("snapshot at %d, replay from %d = %s, want %s", cut, from, got, want)
		}
		sums := map[uint64]catalog.Digest{}
		for _, w := range []*world{c.world, batched, source, target} {
			raftfsm.AwaitContents(w.fsm)
			if err := w.fsm.Damage(); err != nil {
				rt.Fatal(err)
			}
			for _, at := range w.fsm.Contents() {
				if other, known := sums[at.Index]; known && other != at.Digest {
					rt.Fatalf("contents at log index %d hash to %s and to %s", at.Index, at.Digest, other)
				}
				sums[at.Index] = at.Digest
			}
		}
		if _, err := batched.fsm.BeginAnew("another", day); err != nil {
			rt.Fatal(err)
		}
		for _, broken := range raftfsm.CheckInvariants(batched.fsm) {
			rt.Fatalf("begun anew: %s", broken)
		}
		for _, w := range []*world{c.world, batched, source, target} {
			w.close()
			os.RemoveAll(filepath.Dir(w.path))
		}
	})
}

func inBatches(rt *rapid.T, f *raftfsm.FSM, log []*raft.Log) {
	for len(log) > 0 {
		n := rapid.IntRange(1, 64).Draw(rt, "batch")
		n = min(n*n, len(log))
		f.ApplyBatch(log[:n])
		log = log[n:]
	}
}

// fingerprint is everything a catalog holds.
func fingerprint(f *raftfsm.FSM) string {
	stored, _ := raftfsm.HeadJSON(f)
	return stored + "\n" + raftfsm.Dump(f)
}

func snapshotOf(t testing.TB, f *raftfsm.FSM) io.ReadCloser {
	t.Helper()
	var b bytes.Buffer
	if err := f.WriteSnapshot(&b); err != nil {
		t.Fatal(err)
	}
	return io.NopCloser(&b)
}
