package node

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	bolt "go.etcd.io/bbolt"

	"symkeep/internal/catalog"
)

// TestSealEntry: an entry comes back as it was, every bit that differs is noticed, and
// one that the first builds stored is taken as it is.
func TestSealEntry(t *testing.T) {
	entry := &raft.Log{Index: 77, Term: 3, Type: raft.LogCommand, Data: []byte("\x10\x01{}"), AppendedAt: time.Unix(9, 0)}
	sealed := sealEntry(entry)
	if entry.Extensions != nil {
		t.Errorf("sealEntry left %x in the entry that raft goes on with", entry.Extensions)
	}
	if got := fmt.Sprintf("%x", sealed.Extensions); got != "0189828da8" {
		t.Errorf("sum = %s, want that of raftfsm/FORMAT.md, 0189828da8", got)
	}
	read := *sealed
	if err := unsealEntry(77, &read); err != nil || fmt.Sprint(read) != fmt.Sprint(*entry) {
		t.Errorf("unsealEntry = %+v, %v, want %+v", read, err, *entry)
	}
	damaged := map[string]raft.Log{}
	for bit := range 64 {
		l := *sealed
		l.Index ^= 1 << bit
		damaged[fmt.Sprint("index ", bit)] = l
		l = *sealed
		l.Term ^= 1 << bit
		damaged[fmt.Sprint("term ", bit)] = l
	}
	for bit := range 8 {
		l := *sealed
		l.Type ^= 1 << bit
		damaged[fmt.Sprint("type ", bit)] = l
	}
	for bit := range 8 * len(sealed.Data) {
		l := *sealed
		l.Data = flipped(l.Data, bit)
		damaged[fmt.Sprint("data ", bit)] = l
	}
	for bit := range 8 * len(sealed.Extensions) {
		l := *sealed
		l.Extensions = flipped(l.Extensions, bit)
		damaged[fmt.Sprint("sum ", bit)] = l
	}
	shorter := *sealed
	shorter.Data = shorter.Data[:len(shorter.Data)-1]
	damaged["shorter"] = shorter
	for name, l := range damaged {
		if err := unsealEntry(77, &l); !errors.Is(err, errLogDamaged) {
			t.Errorf("%s: unsealEntry = %v, want errLogDamaged", name, err)
		}
	}
	old := *entry
	if err := unsealEntry(77, &old); err != nil {
		t.Errorf("unsealEntry of an entry without a sum = %v", err)
	}
}

func flipped(b []byte, bit int) []byte {
	b = bytes.Clone(b)
	b[bit/8] ^= 1 << (bit % 8)
	return b
}

// TestGuardedLog: raft reads what it wrote, and no sums. A damaged entry ends the node
// where others can go on without it.
func TestGuardedLog(t *testing.T) {
	store, err := raftboltdb.NewBoltStore(filepath.Join(t.TempDir(), "raft.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	alone, failed, fenced := false, error(nil), 0
	g := &diskGuard{
		fail:  func(err error) { failed = err },
		fence: func() { fenced++ },
		goOn:  func(error) bool { return alone },
	}
	log := guardedLog{store, g}
	if err := log.StoreLogs([]*raft.Log{{Index: 1, Term: 1, Data: []byte("one")}, {Index: 2, Term: 1, Data: []byte("two")}}); err != nil {
		t.Fatal(err)
	}
	rotten := sealEntry(&raft.Log{Index: 2, Term: 1, Data: []byte("two")})
	rotten.Data = []byte("twp")
	if err := store.StoreLog(rotten); err != nil {
		t.Fatal(err)
	}
	var e raft.Log
	if err := log.GetLog(1, &e); err != nil || string(e.Data) != "one" || e.Extensions != nil {
		t.Errorf("GetLog(1) = %+v, %v, want what was stored", e, err)
	}
	if err := log.GetLog(3, &e); !errors.Is(err, raft.ErrLogNotFound) || failed != nil {
		t.Errorf("GetLog(3) = %v, the node ends with %v, want raft.ErrLogNotFound alone", err, failed)
	}
	alone = true
	if err := log.GetLog(2, &e); err != nil || failed != nil {
		t.Errorf("GetLog of a damaged entry = %v, the node ends with %v, want it to go on where it is alone", err, failed)
	}
	alone = false
	if err := log.GetLog(2, &e); err != nil || e.Index != 2 || e.Type != raft.LogNoop || !errors.Is(failed, errLogDamaged) || fenced != 1 || !strings.Contains(failed.Error(), "log index 2") || !strings.Contains(failed.Error(), "join as a new node") {
		t.Errorf("GetLog of a damaged entry = %+v, %v, the node is cut off %d times and ends with %v; want nothing that raft panics on, and what to do", e, err, fenced, failed)
	}
}

// TestDamagedLog: a node with a damaged entry in its log ends when it is started; the
// others go on.
func TestDamagedLog(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3)
	opened := nodes[0].open("the-key", breakpad(91, 100))
	awaitHealthy(t, nodes...)
	victim := nodes[2]
	victim.stay()
	victim.halt()
	for name, rot := range map[string]func(entry []byte) []byte{
		"data":      func(e []byte) []byte { return flipped(e, 8*bytes.Index(e, []byte("the-key"))) },
		"no entry":  func(e []byte) []byte { return flipped(e, 7) },
		"cut short": func(e []byte) []byte { return e[:20] },
	} {
		mend := rotLog(t, victim, []byte("the-key"), rot)
		victim.start()
		err := victim.ends(20 * time.Second)
		if !errors.Is(err, errLogDamaged) || !strings.Contains(err.Error(), "join as a new node") {
			t.Fatalf("%s: Run of a node with a damaged entry = %v, want errLogDamaged and what to do", name, err)
		}
		mend()
	}
	if got := nodes[0].open("the-key", breakpad(91, 100)); got != opened {
		t.Errorf("opened with the same key afterwards: %s, want %s", got, opened)
	}
}

// TestDamagedLogAlone: nobody else has the log of a node that is alone; it goes on.
func TestDamagedLogAlone(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, "n1")
	n.start()
	awaitHealthy(t, n)
	opened := n.open("the-key", breakpad(92, 100))
	n.stay()
	n.halt()
	rotLog(t, n, []byte("the-key"), func(e []byte) []byte { return flipped(e, 8*bytes.Index(e, []byte("the-key"))) })
	n.start()
	leaderOf(t, n)
	var as []catalog.Alarm
	eventually(t, 10*time.Second, func() bool {
		as = n.localAlarms()
		return len(as) == 1 && strings.Contains(as[0].Text, "CRC-32C")
	}, func() string { return fmt.Sprintf("alarms %+v, want one of the damaged entry", as) })
	if got := n.open("the-key", breakpad(92, 100)); got != opened {
		t.Errorf("opened with the same key after damage to the log: %s, want %s", got, opened)
	}
}

// rotLog damages the first entry of a halted node's log that has a text. What it returns
// mends it.
func rotLog(t *testing.T, n *testNode, text []byte, rot func(entry []byte) []byte) (mend func()) {
	t.Helper()
	var key, entry []byte
	put := func(value func() []byte) {
		changeBucket(t, filepath.Join(n.cfg.DataDir, "raft", "raft.db"), "logs", func(b *bolt.Bucket) error {
			c := b.Cursor()
			for k, v := c.First(); k != nil && key == nil; k, v = c.Next() {
				if bytes.Contains(v, text) {
					key, entry = bytes.Clone(k), bytes.Clone(v)
				}
			}
			if key == nil {
				return fmt.Errorf("no entry with %q", text)
			}
			return b.Put(key, value())
		})
	}
	put(func() []byte { return rot(entry) })
	return func() { put(func() []byte { return entry }) }
}
