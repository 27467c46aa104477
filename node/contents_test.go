package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	bolt "go.etcd.io/bbolt"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// TestContents: members that hold the same rows say so, and one whose disk changed a
// row that no command is going to read ends soon after its start. Until then it takes
// no key for unknown that the others know.
func TestContents(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3)
	file := breakpad(71, 100)
	nodes[0].push("app", file)
	awaitHealthy(t, nodes...)

	leader, others := leaderOf(t, nodes...)
	before := leader.fsm.AppliedIndex()
	others[0].doubted.Store(true)
	var told []string
	eventually(t, 40*time.Second, func() bool {
		told = nil
		for _, n := range nodes {
			if hs := n.contentHashes(); len(hs) > 0 && hs[0].Index > before {
				told = append(told, fmt.Sprint(hs[0].Index, " ", hs[0].Hash))
			}
		}
		return len(told) == 3 && told[0] == told[1] && told[0] == told[2] && !others[0].doubted.Load()
	}, func() string { return fmt.Sprintf("after a doubt the members say of their contents %q", told) })
	if as := leader.fsm.Alarms(); len(as) != 0 {
		t.Errorf("alarms of a whole cluster = %+v", as)
	}

	victim := others[0]
	victim.stay()
	victim.halt()
	flipVisible(t, victim)
	victim.start()
	served := map[int]int{} // answers by status
	eventually(t, 40*time.Second, func() bool {
		status, _ := victim.get(file.lookup())
		served[status]++
		return victim.stopping.Load()
	}, func() string { return "a node with a flipped bit goes on" })
	if served[http.StatusNotFound] > 0 || served[http.StatusOK] == 0 {
		t.Errorf("a node that has lost the row of a key answers it with %v, by status, until it ends; want what the others have", served)
	}
	err := victim.ends(40 * time.Second)
	if !errors.Is(err, catalog.ErrConflict) || !strings.Contains(err.Error(), "rows in this node's catalog file") || !strings.Contains(err.Error(), "2 of 3 members") {
		t.Fatalf("Run of a node with a flipped bit = %v, want it contradicted by 2 of 3 members", err)
	}
	eventually(t, 10*time.Second, func() bool { return standing(leader, victim, catalog.AlarmDiverged) != "" },
		func() string { return "the others know nothing of the node with a flipped bit" })
	if _, err := New(victim.cfg); !errors.Is(err, catalog.ErrConflict) || !strings.Contains(err.Error(), "--join") {
		t.Errorf("second start of it = %v, want it refused and told what to do", err)
	}
}

// TestUnsureLeader: a node that has lost a row while it was down answers no command as
// if the row had never been, although it leads and no majority contradicts it yet. Once
// one does it ends, and the others answer as before.
func TestUnsureLeader(t *testing.T) {
	t.Parallel()
	for bucket, key := range map[string]func(n *testNode) string{
		"idempotency": func(*testNode) string { return "the-key" },
		"members":     func(n *testNode) string { return string(n.id.Node) }, // how many there are is not asked of the file alone
	} {
		t.Run(bucket, func(t *testing.T) {
			t.Parallel()
			nodes := startCluster(t, 3)
			opened := nodes[0].open("the-key", breakpad(81, 100))
			awaitHealthy(t, nodes...)
			for _, n := range nodes {
				n.stay()
				n.halt()
			}
			one, third, victim := nodes[0], nodes[1], nodes[2]
			loseRow(t, victim, bucket, []byte(key(third)))
			one.start()
			victim.start()
			refuse(t, victim, one, api.OpenRequest{IdempotencyKey: "the-key", Product: "app", Version: "1"})
			third.start()
			if err := victim.ends(60 * time.Second); !errors.Is(err, catalog.ErrConflict) || !strings.Contains(err.Error(), "2 of 3 members") {
				t.Errorf("Run of a node that has lost a row = %v, want it contradicted by 2 of 3 members", err)
			}
			if got := one.open("the-key", breakpad(81, 100)); got != opened {
				t.Errorf("opened with the same key afterwards: %s, want %s", got, opened)
			}
		})
	}
}

// refuse has a node that is unsure lead, and wants a command and changes of the
// membership refused and time to go on.
func refuse(t *testing.T, victim, other *testNode, r api.OpenRequest) {
	t.Helper()
	eventually(t, 30*time.Second, func() bool {
		leader, _ := leaderOf(t, victim, other)
		return leader == victim || leader.cede(victim) == nil // HandOver would wait until it is sure
	}, func() string { return "leadership does not move to the node that has lost a row" })
	leaderOf(t, victim) // in office
	before, refused := victim.fsm.ClusterTime(), map[string]bool{}
	for until := time.Now().Add(3 * time.Second); time.Now().Before(until); {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, open := victim.OpenPackage(ctx, r)
		_, admit := victim.AdmitMember(ctx, api.JoinRequest{Member: other.self(), Feature: raftfsm.MaxFeature})
		for what, err := range map[string]error{
			"OpenPackage": open, "AdmitMember": admit,
			"MemberLeaves": victim.MemberLeaves(ctx, api.Departure{Node: other.id.Node}),
			"RaiseLevel":   victim.RaiseLevel(ctx, raftfsm.MaxFeature),
		} {
			if err == nil {
				t.Fatalf("%s of a leader that is unsure = nil, want it refused", what)
			}
			refused[what] = refused[what] || errors.Is(err, catalog.ErrUnavailable) && strings.Contains(err.Error(), "has not compared its catalog")
		}
		cancel()
	}
	for what, told := range refused {
		if !told {
			t.Errorf("%s of a leader that is unsure never says why it refuses", what)
		}
	}
	if after := victim.fsm.ClusterTime(); after <= before {
		t.Errorf("time stands still at %d under a leader that is unsure", after)
	}
	led := victim.firstLed.Load()
	past := led.Add(-unsureLimit)
	victim.firstLed.Store(&past)
	if err := victim.unsureError(); err != nil && !errors.Is(err, api.ErrNotLeader) {
		t.Errorf("after %s in office: %v, want it to go on", unsureLimit, err)
	}
	victim.firstLed.Store(led)
}

// TestUnsureHandsOver: a node that is unsure lets one lead that is sure, and commands
// are taken.
func TestUnsureHandsOver(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3)
	nodes[0].open("the-key", breakpad(82, 100))
	awaitHealthy(t, nodes...)
	sure, others := leaderOf(t, nodes...)
	again := others[0]
	for _, n := range others {
		n.stay()
		n.halt()
	}
	loseRow(t, again, "idempotency", []byte("the-key")) // no comparison of two makes it sure
	again.start()
	eventually(t, 30*time.Second, func() bool {
		return again.consensus() != nil && sure.leads() && sure.cede(again) == nil
	}, func() string { return "leadership does not move to the node that was started again" })
	eventually(t, 10*time.Second, sure.leads, func() string { return "the node that was started again goes on leading, unsure" })
	for i := range 10 {
		again.open(fmt.Sprint("key ", i))
	}
	if !again.unsure.Load() || !sure.leads() {
		t.Errorf("the node that was started again is unsure: %t, the other leads: %t, want both", again.unsure.Load(), sure.leads())
	}
}

// cede has raft make another node the leader, whether that is fit to lead or not.
func (n *testNode) cede(to *testNode) error {
	return n.consensus().raft.LeadershipTransferToServer(raft.ServerID(to.id.Node), raft.ServerAddress(to.peerAdvertised)).Error()
}

// flipVisible flips a bit of the row that makes a package visible, of a halted node.
func flipVisible(t *testing.T, n *testNode) {
	t.Helper()
	changeBucket(t, n.catalogFile(), "visible", func(b *bolt.Bucket) error {
		k, v := b.Cursor().First()
		if len(v) != 16 {
			return fmt.Errorf("visible row %q = %q", k, v)
		}
		k, v = bytes.Clone(k), bytes.Clone(v)
		v[7] ^= 1
		return b.Put(k, v)
	})
}

// loseRow takes a row out of a halted node's catalog.
func loseRow(t *testing.T, n *testNode, bucket string, key []byte) {
	t.Helper()
	changeBucket(t, n.catalogFile(), bucket, func(b *bolt.Bucket) error {
		if b.Get(key) == nil {
			return fmt.Errorf("bucket %s has no row %q", bucket, key)
		}
		return b.Delete(key)
	})
}

func (n *testNode) catalogFile() string { return filepath.Join(n.cfg.DataDir, "fsm.db") }

// changeBucket changes a bucket of a bbolt file that nobody has open.
func changeBucket(t *testing.T, path, bucket string, change func(*bolt.Bucket) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error { return change(tx.Bucket([]byte(bucket))) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestContentAgreement: digests of contents are compared with such alone.
func TestContentAgreement(t *testing.T) {
	content := func(index uint64, hash string) api.CatalogHash {
		return api.CatalogHash{Index: index, Hash: hash, Content: true}
	}
	mine := []api.CatalogHash{content(2000, "b"), content(900, "a")}
	step := api.CatalogHash{Index: 2000, Hash: "x", Step: true}
	newest := api.CatalogHash{Index: 2000, Hash: "y"}
	said := func(name string, contents ...api.CatalogHash) api.PeerStatus {
		return api.PeerStatus{Name: name, Hashes: []api.CatalogHash{newest, step}, Contents: contents}
	}
	for _, tt := range []struct {
		name   string
		others []api.PeerStatus
		want   opinion // differs: a part of it
	}{
		{"steps only", []api.PeerStatus{said("x"), said("y")}, opinion{}},
		{"all agree", []api.PeerStatus{said("x", mine...), said("y", mine...)}, opinion{agreed: 2000, backed: true}},
		{"one not done", []api.PeerStatus{said("x", mine...), said("y", mine[1])}, opinion{agreed: 900, backed: true}},
		{"one other", []api.PeerStatus{said("x", content(2000, "c")), said("y", mine...)}, opinion{differs: "(1 of 3 members)", upheld: true, backed: true}},
		{"one other, one not done", []api.PeerStatus{said("x", content(2000, "c")), said("y", mine[1])}, opinion{differs: "(1 of 3 members)", backed: true}},
		{"two others", []api.PeerStatus{said("x", content(2000, "c")), said("y", content(2000, "c"))},
			opinion{differs: "after log index 2000 the rows in this node's catalog file are not those of x, y (2 of 3 members)", diverged: true}},
	} {
		got := agreement(mine, tt.others, 3)
		if got.diverged != tt.want.diverged || got.upheld != tt.want.upheld || got.backed != tt.want.backed || !strings.Contains(got.differs, tt.want.differs) || (got.differs == "") != (tt.want.differs == "") || tt.want.differs == "" && got.agreed != tt.want.agreed {
			t.Errorf("%s: agreement = %+v, want %+v", tt.name, got, tt.want)
		}
	}
	if a := agreement([]api.CatalogHash{step}, []api.PeerStatus{{Contents: []api.CatalogHash{content(2000, "c")}}, {}}, 3); a.differs != "" {
		t.Errorf("a step compared with contents: %+v", a)
	}
}
