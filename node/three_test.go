package node

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// missPath is a key that nobody has.
const missPath = "/none.pdb/0123456789ABCDEF0123456789ABCDEF1/none.pdb"

// TestThreeNodes: what is pushed through any node is served by all, the leader may
// go, and a node that comes back at other addresses is a member like before. Then a
// node leaves for good, and a wiped one comes back.
func TestThreeNodes(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3)
	inSteps(t, nodes, []step{
		{"serve", testServe},
		{"mending", testMending},
		{"no leader", testLeaderStops},
		{"heir", testAnyHeir},
		{"wiped", testWiped},
		{"leave", testLeave},
	})
}

func testServe(t *testing.T, nodes []*testNode) {
	st, err := nodes[2].ClusterStatus(t.Context())
	if err != nil || st.Tolerates != 1 {
		t.Fatalf("three healthy nodes tolerate %d, %v, want 1", st.Tolerates, err)
	}
	f := breakpad(1, 100)
	_, others := leaderOf(t, nodes...)
	others[0].push("a", f)
	for _, n := range nodes {
		n.serves(f)
		if status, _ := n.get(missPath); status != 404 {
			t.Errorf("miss from %s = %d, want 404", n.cfg.Name, status)
		}
	}
}

// testLeaderStops: the others go on without the leader, which comes back on other
// ports.
func testLeaderStops(t *testing.T, nodes []*testNode) {
	leader, others := leaderOf(t, nodes...)
	leader.halt()
	f := breakpad(2, 100)
	others[1].push("b", f)
	others[0].serves(f)
	if st, err := others[0].ClusterStatus(t.Context()); err != nil || st.Healthy || st.Tolerates != 0 {
		t.Errorf("status with a node away = healthy %t, tolerates %d, %v, want neither", st.Healthy, st.Tolerates, err)
	}
	leader.start()
	awaitHealthy(t, nodes...)
	leader.serves(breakpad(1, 100))
	leader.serves(f)
}

// testAnyHeir: a leader that goes hands over to the voter that is there, although that is
// unsure and raft would rather have one that is away.
func testAnyHeir(t *testing.T, nodes []*testNode) {
	leader, _ := leaderOf(t, nodes...)
	c := leader.consensus()
	voters := leader.otherVoters(c) // in the order in which raft takes them
	byID := func(id raft.ServerID) *testNode {
		i := slices.IndexFunc(nodes, func(n *testNode) bool { return raft.ServerID(n.id.Node) == id })
		return nodes[i]
	}
	away, there := byID(voters[0].ID), byID(voters[1].ID)
	away.halt()
	there.unsure.Store(true)
	said := len(leader.log.String())
	if err := leader.transferLeadership(t.Context(), c); err != nil {
		t.Errorf("transferLeadership = %v, want the voter that is there to lead", err)
	}
	if want := "\"handing over leadership\" node=" + leader.cfg.Name + " peer=" + string(there.id.Node); !strings.Contains(leader.log.String()[said:], want) {
		t.Errorf("the log of the leader lacks %s", want)
	}
	there.unsure.Store(false) // it need not give the lead back
	away.start()
	awaitHealthy(t, nodes...)
}

// testMending: a raft configuration and a member table that a crash left apart come
// together again, in either direction.
func testMending(t *testing.T, nodes []*testNode) {
	leader, others := leaderOf(t, nodes...)
	c := leader.consensus()
	stranger := raft.ServerID("9d0e1c1e-54a8-4b7c-9d0e-3a5f7c9b1d2e")
	if err := c.raft.AddNonvoter(stranger, "127.0.0.1:1", 0, time.Second).Error(); err != nil {
		t.Fatal(err)
	}
	lost := others[0].id.Node
	if err := c.raft.RemoveServer(raft.ServerID(lost), 0, 5*time.Second).Error(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() bool {
		roles := serverRoles(c)
		return len(roles) == 3 && roles[lost] == "voter" && roles[catalog.NodeID(stranger)] == ""
	}, func() string { return fmt.Sprintf("servers are %v, want the three members as voters", serverRoles(c)) })
}

// testWiped: a node that lost its data comes back under its name, in the place of
// what it was; while that lives, it is refused.
func testWiped(t *testing.T, nodes []*testNode) {
	_, others := leaderOf(t, nodes...)
	n := others[0]
	old := n.id.Node
	n.halt()
	if err := os.RemoveAll(n.cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	n.cfg.Join = nil
	for _, o := range nodes {
		if o != n {
			n.cfg.Join = append(n.cfg.Join, o.gossip.Addr())
		}
	}
	n.start()
	eventually(t, 20*time.Second, func() bool { // it replaces the old one once that is found dead
		_, err := n.fsm.Member(n.id.Node)
		return err == nil
	}, func() string { return fmt.Sprint("the wiped node is no member: ", n.joinError()) })
	awaitHealthy(t, nodes...)
	if _, err := nodes[0].fsm.Member(old); err == nil {
		t.Errorf("member %s is still there although %s took its place", old, n.id.Node)
	}
	n.serves(breakpad(1, 100))
}

// testLeave: the leader leaves for good; what it leaves behind is a healthy cluster
// of two, the last of which does not go.
func testLeave(t *testing.T, nodes []*testNode) {
	leader, others := leaderOf(t, nodes...)
	if err := leader.c.ClusterLeave(t.Context()); err != nil {
		t.Fatalf("leave: %v", err)
	}
	awaitHealthy(t, others...)
	others[0].push("after leaving", breakpad(3, 100))
	if err := leader.ends(10 * time.Second); err != nil {
		t.Errorf("Run of a node that left = %v, want nil", err)
	}
	leader.start() // with the data of a member
	eventually(t, 10*time.Second, func() bool { return leader.joinError() != nil },
		func() string { return "a node that left does not say that it is no member" })
	wantError(t, "announcement of a node that left", leader.joinError(), catalog.ErrConflict)
	if ms := others[0].members(); len(ms) != 2 {
		t.Errorf("members after one left = %v, want two", ms)
	}
	leader.halt()

	leader, others = leaderOf(t, others...)
	others[0].halt()
	err := leader.RemoveMember(t.Context(), api.NodeRequest{Node: others[0].cfg.Name})
	wantError(t, "removal of a member gossip has not found dead", err, catalog.ErrConflict)
}

// TestNoMajority: without a quorum nothing is promised. A push is refused as
// unavailable, and a miss is no 404.
func TestNoMajority(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3)
	f := breakpad(1, 100)
	nodes[0].push("a", f)
	leader, others := leaderOf(t, nodes...)
	var stopping sync.WaitGroup
	for _, n := range others {
		stopping.Go(n.halt)
	}
	stopping.Wait()
	eventually(t, 10*time.Second, func() bool { return !leader.leads() && !leader.lease.held() },
		func() string { return "the last of three nodes still leads" })
	if status, _ := leader.get(missPath); status != 0 {
		t.Errorf("miss without a quorum = %d, want a reset connection", status)
	}
	if status, body := leader.get(f.lookup()); status != 200 || !bytes.Equal(body, f.bytes) {
		t.Errorf("hit without a quorum = %d, want 200", status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := leader.OpenPackage(ctx, api.OpenRequest{IdempotencyKey: "b", Product: "p", Version: "1"})
	wantError(t, "open without a quorum", err, catalog.ErrUnavailable)
	begun := time.Now()
	if status, _ := leader.get(missPath); status != 0 {
		t.Errorf("another miss without a quorum = %d, want a reset connection", status)
	}
	if took := time.Since(begun); took > missTimeout+time.Second {
		t.Errorf("a miss without a quorum took %s, want at most %s", took, missTimeout)
	}
	testLeaderless(t, leader)
}

// testLeaderless: a node that has heard of no leader for a while says so at once to
// an agent, which can ask another node.
func testLeaderless(t *testing.T, n *testNode) {
	t.Helper()
	eventually(t, 2*leaderPatience, n.leaderless, func() string { return "a node without a leader hopes for one" })
	for what, call := range map[string]func() error{
		"open": func() error {
			_, err := n.OpenPackage(t.Context(), api.OpenRequest{IdempotencyKey: "c", Product: "p", Version: "1"})
			return err
		},
		"add files": func() error {
			_, err := n.AddFiles(t.Context(), "01", api.AddFilesRequest{Files: []api.FileEntry{breakpad(2, 100).entry()}})
			return err
		},
		"renew":  func() error { return n.RenewLease(t.Context(), "01") },
		"commit": func() error { _, err := n.CommitPackage(t.Context(), "01", api.CommitRequest{}); return err },
	} {
		begun := time.Now()
		wantError(t, what+" without a leader", call(), catalog.ErrUnavailable)
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("%s without a leader took %s, want an answer at once", what, took)
		}
	}
}
