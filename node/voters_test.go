package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/symhttp"
)

// TestFourNodes: the fourth of four nodes waits for its vote, an even number of
// voters does not stay, a drained member goes, and the vote of a dead one moves.
func TestFourNodes(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 4)
	inSteps(t, nodes, []step{
		{"even", testEvenVoters},
		{"drain", testDrain},
		{"dead voter", testDeadVoter},
		{"removed alive", testRemovedAlive},
	})
}

// voters returns the ids of those with a vote.
func voters(c *consensus) (ids []string) {
	for id, role := range serverRoles(c) {
		if role == "voter" {
			ids = append(ids, string(id))
		}
	}
	slices.Sort(ids)
	return ids
}

func testEvenVoters(t *testing.T, nodes []*testNode) {
	leader, _ := leaderOf(t, nodes...)
	c := leader.consensus()
	if got := voters(c); len(got) != 3 {
		t.Fatalf("voters of four nodes are %v, want three", got)
	}
	for id, role := range serverRoles(c) {
		if m, err := leader.fsm.Member(id); role == "nonvoter" && err == nil {
			if err := c.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(m.PeerAddr), 0, 5*time.Second).Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, 10*time.Second, func() bool { return len(voters(c)) == 3 },
		func() string { return fmt.Sprintf("voters are %v, want three of the four", voters(c)) })
	awaitHealthy(t, nodes...)
	if now, _ := leaderOf(t, nodes...); now != leader {
		t.Errorf("%s leads, want %s as before: a vote to spare is not the leader's", now.cfg.Name, leader.cfg.Name)
	}
}

// testDrain: a member is not given up while blobs need it; it is once its copies are
// elsewhere, and comes back before that if somebody thinks better of it.
func testDrain(t *testing.T, nodes []*testNode) {
	ctx, n := t.Context(), nodes[0]
	var files []content
	for i := range 12 {
		files = append(files, breakpad(uint64(100+i), 1000))
	}
	n.push("drain", files...)
	awaitHealthy(t, nodes...)
	leader, others := leaderOf(t, nodes...)
	// Nothing moves while repair is paused: the drain cannot be finished.
	yes, no := true, false
	if _, err := n.c.SetRepl(ctx, api.ReplRequest{Paused: &yes}); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(others, func(o *testNode) bool { st, _, err := o.blobs.Totals(); return err == nil && st > 0 })
	if i < 0 {
		t.Fatal("no node but the leader holds a blob")
	}
	goes := others[i]
	if err := n.c.ClusterDrain(ctx, api.NodeRequest{Node: goes.cfg.Name}); err != nil {
		t.Fatal(err)
	}
	var drain *api.DrainProgress
	progress := func(st api.ClusterStatus) {
		drain = nil
		for _, s := range st.Nodes {
			if s.Name == goes.cfg.Name {
				drain = s.Drain
			}
		}
	}
	st, err := leader.c.Cluster(ctx)
	progress(st)
	if err != nil || st.Healthy || drain == nil || drain.Finished || drain.Needed == 0 || drain.Bytes == 0 {
		t.Fatalf("status of a drain that cannot go on = %+v, healthy %t, %v", drain, st.Healthy, err)
	}
	for what, err := range map[string]error{
		"removal": leader.c.ClusterRemove(ctx, api.NodeRequest{Node: goes.cfg.Name}),
		"leave":   goes.c.ClusterLeave(ctx),
		// As if the copies had been counted while others still had them.
		"departure": leader.MemberLeaves(ctx, api.Departure{Node: goes.id.Node, UnlessNeeded: true}),
	} {
		wantError(t, what+" before the drain is finished", err, catalog.ErrConflict)
		if want := fmt.Sprintf("without it %d blobs, ", drain.Needed); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s before the drain is finished: error %q, want %q in it", what, err, want)
		}
	}
	if err := n.c.ClusterDrain(ctx, api.NodeRequest{Node: goes.cfg.Name, Undo: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.c.SetRepl(ctx, api.ReplRequest{Paused: &no}); err != nil {
		t.Fatal(err)
	}
	awaitHealthy(t, nodes...)
	if err := n.c.ClusterDrain(ctx, api.NodeRequest{Node: goes.cfg.Name}); err != nil {
		t.Fatal(err)
	}
	awaitHealthy(t, nodes...) // it stays a member, and is no reason once it is finished
	st, err = leader.c.Cluster(ctx)
	if progress(st); err != nil || drain == nil || !drain.Finished || drain.Needed != 0 {
		t.Errorf("status of a finished drain = %+v, %v", drain, err)
	}
	if err := n.c.ClusterDrain(ctx, api.NodeRequest{Node: goes.cfg.Name, Undo: true}); err != nil {
		t.Fatal(err)
	}
	awaitHealthy(t, nodes...)
	for _, f := range files {
		n.serves(f)
	}
}

// testDeadVoter: the vote of a voter that has been dead for long goes to the node
// that waits, one step at a time; a planned absence does not count.
func testDeadVoter(t *testing.T, nodes []*testNode) {
	leader, others := leaderOf(t, nodes...)
	c := leader.consensus()
	roles := serverRoles(c)
	dead := others[slices.IndexFunc(others, func(n *testNode) bool { return roles[n.id.Node] == "voter" })]
	waits := others[slices.IndexFunc(others, func(n *testNode) bool { return roles[n.id.Node] == "nonvoter" })]
	if err := leader.c.Maintenance(t.Context(), api.NodeRequest{Node: dead.cfg.Name}); err != nil {
		t.Fatal(err)
	}
	dead.halt()
	eventually(t, 20*time.Second, func() bool { return leader.gone(dead.id.Node) }, func() string { return "the node is not found dead" })
	round := func() {
		t.Helper()
		leader.memberMu.Lock()
		defer leader.memberMu.Unlock()
		if err := leader.balanceVotersAfter(context.WithoutCancel(t.Context()), c, time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	round()
	if got := serverRoles(c); got[dead.id.Node] != "voter" || got[waits.id.Node] != "nonvoter" {
		t.Fatalf("roles with a voter in maintenance are %v, want %v", got, roles)
	}
	if err := leader.c.Maintenance(t.Context(), api.NodeRequest{Node: dead.cfg.Name, Undo: true}); err != nil {
		t.Fatal(err)
	}
	round()
	eventually(t, 10*time.Second, func() bool { // by the leader's next rounds
		got := serverRoles(c)
		return got[dead.id.Node] == "nonvoter" && got[waits.id.Node] == "voter" && len(voters(c)) == 3
	}, func() string {
		return fmt.Sprintf("roles are %v, want the vote of %s with %s", serverRoles(c), dead.id.Node, waits.id.Node)
	})
	dead.start()
	awaitHealthy(t, nodes...)
	if got := serverRoles(c); got[dead.id.Node] != "nonvoter" {
		t.Errorf("role of the node that came back is %s, want nonvoter", got[dead.id.Node])
	}
}

// testRemovedAlive: a drained member is removed while it runs, and finds out although
// nobody tells it.
func testRemovedAlive(t *testing.T, nodes []*testNode) {
	leader, others := leaderOf(t, nodes...)
	goes, ctx := others[0], t.Context()
	name := goes.cfg.Name
	wantError(t, "removal of a member that is alive", leader.c.ClusterRemove(ctx, api.NodeRequest{Node: name}), catalog.ErrConflict)
	if err := leader.c.ClusterDrain(ctx, api.NodeRequest{Node: name}); err != nil {
		t.Fatal(err)
	}
	awaitHealthy(t, nodes...)
	if err := others[1].c.ClusterRemove(ctx, api.NodeRequest{Node: name}); err != nil {
		t.Fatalf("removal of a drained member: %v", err)
	}
	awaitHealthy(t, leader, others[1], others[2])
	eventually(t, 20*time.Second, func() bool {
		return slices.ContainsFunc(goes.Ready(ctx, symhttp.ForServe), func(c symhttp.Check) bool { return c.Name == "member" && errors.Is(c.Err, catalog.ErrConflict) })
	}, func() string { return fmt.Sprint("the removed node is ready: ", goes.Ready(ctx, symhttp.ForServe)) })
}
