package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// TestOperators tries what operators ask of a cluster on one of three nodes, while
// it is healthy and once a node is dead.
func TestOperators(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3)
	inSteps(t, nodes, []step{
		{"status", testStatus},
		{"check", testCheckHealthy},
		{"transfer", testTransfer},
		{"maintenance", testMaintenance},
		{"layout", testLayout},
		{"repl", testRepl},
		{"feature", testFeature},
		{"policy", testPolicy},
		{"alarms", testAlarms},
		{"dead", testDeadMember},
	})
}

func testStatus(t *testing.T, nodes []*testNode) {
	nodes[0].push("status", breakpad(1, 100))
	awaitHealthy(t, nodes...)
	st, err := nodes[1].c.Cluster(t.Context())
	if err != nil || st.Feature != raftfsm.MaxFeature || st.Layout == 0 || st.Moving != 0 || st.Paused || st.Alarms == nil {
		t.Errorf("status = %+v, %v, want the highest feature level, a layout, nothing on the move", st, err)
	}
	for _, s := range st.Nodes {
		if s.Weight != catalog.DefaultWeight || s.Feature != raftfsm.MaxFeature || s.Holds != 1 || s.HoldsBytes == 0 || s.Disk.Level == "" || s.Disk.Avail == 0 ||
			time.Duration(s.Clock)*time.Millisecond > time.Second || s.Lag > 100 || s.Drain != nil || s.Maintenance != 0 {
			t.Errorf("status of %s = %+v, want its one blob, disk and clock", s.Name, s)
		}
	}
}

// results picks those of a check that are not fine.
func results(r api.CheckReport, check string) (found []string) {
	for _, c := range r.Checks {
		if c.Check == check && c.Level != api.CheckOK {
			found = append(found, fmt.Sprintf("%s %s: %s", c.Level, c.Node, c.Found))
		}
	}
	return found
}

func testCheckHealthy(t *testing.T, nodes []*testNode) {
	r, err := nodes[2].c.Check(t.Context())
	if err != nil || len(r.Checks) < 12 {
		t.Fatalf("check = %+v, %v, want a result of each check", r, err)
	}
	for _, c := range r.Checks {
		if c.Level != api.CheckOK && c.Check != "fsync" && c.Check != "disk" { // as the machine is
			t.Errorf("check of a healthy cluster: %+v", c)
		}
		if c.Check == "ports" && c.Found != "every member reaches every other one, 18 ways tried" {
			t.Errorf("check of ports = %+v, want three ways from each of three nodes to two others", c)
		}
	}
}

func testTransfer(t *testing.T, nodes []*testNode) {
	leader, others := leaderOf(t, nodes...)
	hopeless := hopelessAtStepDown(t, leader)
	if err := others[0].c.TransferLeader(t.Context(), api.NodeRequest{Node: others[1].cfg.Name}); err != nil {
		t.Fatalf("transfer to %s: %v", others[1].cfg.Name, err)
	}
	if now, _ := leaderOf(t, nodes...); now != others[1] {
		t.Errorf("%s leads after the transfer, want %s", now.cfg.Name, others[1].cfg.Name)
	}
	if hopeless() {
		t.Error("a leader that steps down tells agents that there has been no leader for long")
	}
	if err := others[1].c.TransferLeader(t.Context(), api.NodeRequest{Node: others[1].cfg.Name}); err != nil {
		t.Errorf("transfer to the node that leads: %v", err)
	}
	if err := leader.c.TransferLeader(t.Context(), api.NodeRequest{}); err != nil {
		t.Errorf("transfer to any: %v", err)
	}
	if now, _ := leaderOf(t, nodes...); now == others[1] {
		t.Errorf("%s still leads after a transfer to any other", now.cfg.Name)
	}
	wantError(t, "transfer to nobody", leader.c.TransferLeader(t.Context(), api.NodeRequest{Node: "nobody"}), catalog.ErrNotFound)
	awaitHealthy(t, nodes...)
}

// hopelessAtStepDown has a leader, as if it had led for an hour, asked whether it is
// leaderless in the moment in which raft makes it a follower: no new leader is known then.
// What it returns says, afterwards, whether it was.
func hopelessAtStepDown(t *testing.T, leader *testNode) func() bool {
	leader.started = leader.started.Add(-time.Hour)
	c, said := leader.consensus(), make(chan bool, 1)
	o := raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		if o.Data == raft.Follower {
			select {
			case said <- leader.leaderless():
			default: // it stepped down before
			}
		}
		return false
	})
	c.raft.RegisterObserver(o)
	return func() bool {
		t.Helper()
		c.raft.DeregisterObserver(o)
		select {
		case hopeless := <-said:
			return hopeless
		default:
			t.Error("raft was not seen to make the leader a follower")
			return false
		}
	}
}

func testMaintenance(t *testing.T, nodes []*testNode) {
	n, ctx := nodes[0], t.Context()
	left := func() time.Duration {
		m, err := n.memberNamed("n2")
		if err != nil {
			t.Fatal(err)
		}
		return n.maintained(m)
	}
	if err := n.c.Maintenance(ctx, api.NodeRequest{Node: "n2"}); err != nil || left() < 59*time.Minute || left() > time.Hour {
		t.Errorf("maintenance for the default = %v, %s left, want an hour", err, left())
	}
	if err := n.c.Maintenance(ctx, api.NodeRequest{Node: "n2", For: 5 * time.Minute.Milliseconds()}); err != nil || left() > 5*time.Minute {
		t.Errorf("maintenance for 5 minutes = %v, %s left", err, left())
	}
	wantError(t, "maintenance for 8 days", n.c.Maintenance(ctx, api.NodeRequest{Node: "n2", For: 8 * 24 * time.Hour.Milliseconds()}), catalog.ErrInvalid)
	if st, err := n.ClusterStatus(ctx); err != nil || !st.Healthy {
		t.Errorf("maintenance of a node that is there: healthy %t, %v, %v", st.Healthy, st.Reasons, err)
	}
	if err := n.c.Maintenance(ctx, api.NodeRequest{Node: "n2", Undo: true}); err != nil || left() != 0 {
		t.Errorf("end of maintenance = %v, %s left", err, left())
	}
}

func testLayout(t *testing.T, nodes []*testNode) {
	n, ctx := nodes[1], t.Context()
	now, err := n.c.Layout(ctx)
	if err != nil || now.Base == 0 || len(now.Nodes) != 3 || now.MoveBlobs != 0 || now.Partitions != 0 || now.Blobs != 1 || now.Nodes[0].Share == 0 {
		t.Fatalf("layout = %+v, %v, want three nodes and nothing to move", now, err)
	}
	change := api.LayoutRequest{Weights: map[string]int{"n3": 25}, Replicas: 2, Base: now.Base}
	plan, err := n.c.PlanLayout(ctx, change)
	if err != nil || plan.Base != now.Base || plan.Partitions == 0 || plan.Nodes[2].NewWeight != 25 || plan.Nodes[2].Weight != 100 || plan.Nodes[2].NewShare >= plan.Nodes[0].NewShare {
		t.Errorf("plan = %+v, %v, want a smaller share for n3", plan, err)
	}
	for what, r := range map[string]api.LayoutRequest{
		"no weight":      {Weights: map[string]int{"n3": 0}},
		"17 replicas":    {Replicas: 17},
		"one twice":      {Weights: map[string]int{"n3": 1, string(nodes[2].id.Node): 2}},
		"nobody left":    {Drain: []string{"n1", "n2", "n3"}},
		"weight removed": {Remove: []string{"n1"}, Drain: []string{"n1"}, Add: []api.LayoutAdd{{Name: ""}}},
	} {
		_, err := n.c.PlanLayout(ctx, r)
		wantError(t, "plan of "+what, err, catalog.ErrInvalid)
	}
	_, err = n.c.PlanLayout(ctx, api.LayoutRequest{Weights: map[string]int{"n9": 1}})
	wantError(t, "plan for nobody", err, catalog.ErrNotFound)
	if p, err := n.c.PlanLayout(ctx, api.LayoutRequest{Remove: []string{"n1"}, Add: []api.LayoutAdd{{Name: "n4", Zone: "z"}}}); err != nil || len(p.Nodes) != 4 || p.Nodes[3].ID != "" || p.Nodes[3].InBytes != p.Bytes || p.LostBlobs != 0 {
		t.Errorf("plan with another node = %+v, %v, want a copy of all on it", p, err)
	}

	_, err = n.c.ApplyLayout(ctx, api.LayoutRequest{Drain: []string{"n1"}, Base: now.Base})
	wantError(t, "apply of a drain", err, catalog.ErrInvalid)
	_, err = n.c.ApplyLayout(ctx, api.LayoutRequest{Base: now.Base})
	wantError(t, "apply of nothing", err, catalog.ErrInvalid)
	applied, err := n.c.ApplyLayout(ctx, change)
	if err != nil || applied.Base != now.Base+1 || n.fsm.Settings().Replicas != 2 {
		t.Fatalf("apply = base %d, %v, want %d", applied.Base, err, now.Base+1)
	}
	_, err = n.c.ApplyLayout(ctx, change)
	wantError(t, "apply on a layout that has passed", err, catalog.ErrConflict)
	awaitHealthy(t, nodes...)
	if _, err := n.c.ApplyLayout(ctx, api.LayoutRequest{Weights: map[string]int{"n3": 100}, Replicas: 3, Base: applied.Base}); err != nil {
		t.Fatalf("apply of the way back: %v", err)
	}
	awaitHealthy(t, nodes...)
}

func testRepl(t *testing.T, nodes []*testNode) {
	n, ctx := nodes[2], t.Context()
	yes, no, rate, delay := true, false, int64(1<<20), int64(60_000)
	r, err := n.c.SetRepl(ctx, api.ReplRequest{Paused: &yes, RepairRate: &rate, ScrubRate: &rate, Delay: &delay, Scrub: true, Nodes: []string{"n1", "n3"}})
	if err != nil || !r.Paused || r.RepairRate != rate || r.ScrubRate != rate || r.Delay != delay || len(r.Nodes) != 3 || !r.Nodes[0].Paused || r.Nodes[0].Name != "n1" {
		t.Errorf("repl = %+v, %v, want what was set", r, err)
	}
	eventually(t, 10*time.Second, func() bool {
		r, err := n.c.Repl(ctx)
		return err == nil && r.Nodes[0].Scrub.FinishedMS > 0 && r.Nodes[2].Scrub.FinishedMS > 0
	}, func() string { r, err := n.c.Repl(ctx); return fmt.Sprintf("scrubs do not end: %+v, %v", r, err) })
	zero := int64(0)
	if r, err := n.c.SetRepl(ctx, api.ReplRequest{Paused: &no, RepairRate: &zero, ScrubRate: &zero, Delay: &zero}); err != nil || r.Paused || r.Delay != catalog.DefaultRepairDelay.Milliseconds() {
		t.Errorf("repl = %+v, %v, want the defaults", r, err)
	}
	minus := int64(-1)
	_, err = n.c.SetRepl(ctx, api.ReplRequest{RepairRate: &minus})
	wantError(t, "a negative rate", err, catalog.ErrInvalid)
	_, err = n.c.SetRepl(ctx, api.ReplRequest{Paused: &yes, Nodes: []string{"n1"}})
	wantError(t, "pausing one node", err, catalog.ErrInvalid)
	_, err = n.c.SetRepl(ctx, api.ReplRequest{Scrub: true, Nodes: []string{"n9"}})
	wantError(t, "a scrub of nobody", err, catalog.ErrNotFound)
}

func testFeature(t *testing.T, nodes []*testNode) {
	n, ctx := nodes[0], t.Context()
	st, err := n.c.Feature(ctx)
	if err != nil || st.Level != raftfsm.MaxFeature || st.Highest != raftfsm.MaxFeature || len(st.Nodes) != 3 || st.Nodes["n2"] != raftfsm.MaxFeature {
		t.Errorf("feature = %+v, %v", st, err)
	}
	_, err = n.c.RaiseFeature(ctx, api.FeatureRequest{})
	wantError(t, "raise above what the build knows", err, catalog.ErrInvalid)
	if st, err := n.c.RaiseFeature(ctx, api.FeatureRequest{Level: raftfsm.MaxFeature}); err != nil || st.Level != raftfsm.MaxFeature {
		t.Errorf("raise to the level in use = %+v, %v", st, err)
	}
	old := n.self()
	old.ID, old.Name, old.PeerAddr = "9d0e1c1e-54a8-4b7c-9d0e-3a5f7c9b1d2e", "old", "127.0.0.1:1"
	_, err = n.AdmitMember(ctx, api.JoinRequest{Member: old, Fresh: true})
	wantError(t, "a joiner of the former version", err, catalog.ErrConflict)
}

func testAlarms(t *testing.T, nodes []*testNode) {
	n, ctx := nodes[1], t.Context()
	codes := func() (out []string) {
		st, err := nodes[0].ClusterStatus(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range st.Alarms {
			if a.Node == n.id.Node {
				out = append(out, string(a.Code))
			}
		}
		slices.Sort(out)
		return out
	}
	await := func(want ...string) {
		t.Helper()
		eventually(t, 10*time.Second, func() bool { return slices.Equal(codes(), want) }, func() string { return fmt.Sprintf("alarms are %q, want %q", codes(), want) })
	}
	n.noteDamage(catalog.Digest{1}, errors.New("flipped\nbits"))
	await("bit-rot")
	if st, _ := nodes[0].ClusterStatus(ctx); !st.Healthy {
		t.Errorf("one mended copy: healthy %t, %v", st.Healthy, st.Reasons)
	}
	n.noteDamage(catalog.Digest{2}, errors.New("more of them"))
	await("bit-rot", "suspect-disk")
	if st, _ := nodes[0].ClusterStatus(ctx); st.Healthy || !strings.Contains(fmt.Sprint(st.Reasons), "suspect-disk on n2") {
		t.Errorf("a suspect disk: healthy %t, %v", st.Healthy, st.Reasons)
	}
	r, err := nodes[0].c.Check(ctx)
	if err != nil || len(results(r, "alarms")) != 2 {
		t.Errorf("check of alarms = %q, %v, want both", results(r, "alarms"), err)
	}
	wantError(t, "clearing for nobody", nodes[0].c.ClearAlarms(ctx, api.AlarmRequest{Node: "n9"}), catalog.ErrNotFound)
	if err := nodes[0].c.ClearAlarms(ctx, api.AlarmRequest{Node: "n2", Code: catalog.AlarmSuspectDisk}); err != nil {
		t.Fatal(err)
	}
	await("bit-rot")
	if err := nodes[0].c.ClearAlarms(ctx, api.AlarmRequest{Node: string(n.id.Node)}); err != nil {
		t.Fatal(err)
	}
	await()

	// What the last process left is no alarm: it is dropped, and others are told.
	left := filepath.Join(n.cfg.DataDir, lastAlarm)
	if err := os.WriteFile(left, []byte(strings.Repeat("x", 2000)+" text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	n.tellLast(lctx)
	cancel()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file of the last alarm that nobody takes: %v, want it dropped", err)
	}

	leader, _ := leaderOf(t, nodes...)
	m, _ := leader.memberNamed("n2")
	view := memberView{member: m, answered: true, skew: -time.Hour, maybe: time.Millisecond}
	if leader == n { // a leader does not judge itself
		m, _ = leader.memberNamed("n3")
		n, view.member = nodes[2], m
	}
	leader.judgeClocks(ctx, []memberView{view})
	await("clock-skew")
	view.skew = 25 * time.Second // neither far off nor well
	leader.judgeClocks(ctx, []memberView{view})
	await("clock-skew")
	view.skew = 0
	leader.judgeClocks(ctx, []memberView{view})
	await()
	if got := leader.fsm.Counts().PendingNotices; got != 0 {
		t.Logf("%d mails wait", got) // nobody is named to get them
	}
	awaitHealthy(t, nodes...)
}

// testDeadMember: one of three is gone for good.
func testDeadMember(t *testing.T, nodes []*testNode) {
	leader, others := leaderOf(t, nodes...)
	dead, n, ctx := others[1], others[0], t.Context()
	name := dead.cfg.Name
	if err := n.c.Maintenance(ctx, api.NodeRequest{Node: name}); err != nil {
		t.Fatal(err)
	}
	dead.halt()
	eventually(t, 20*time.Second, func() bool { return n.gone(dead.id.Node) && leader.gone(dead.id.Node) }, func() string { return name + " is not found dead" })
	st, err := n.c.Cluster(ctx)
	if err != nil || st.Healthy || st.Tolerates != 0 || !strings.Contains(fmt.Sprint(st.Reasons), "node "+name+" is dead as planned") {
		t.Errorf("status = healthy %t, tolerates %d, %v, %v, want the planned absence as reason", st.Healthy, st.Tolerates, st.Reasons, err)
	}
	r, err := n.c.Check(ctx)
	if got := results(r, "members"); err != nil || r.OK || len(got) != 1 || !strings.HasPrefix(got[0], "warning "+name+": dead, as planned") {
		t.Errorf("check of members = %q, %v, want %s", got, err, name)
	}
	if got := results(r, "quorum"); len(got) != 1 || !strings.Contains(got[0], "if one more fails, nothing can be pushed") {
		t.Errorf("check of the quorum = %q, want that none may fail", got)
	}
	if got := results(r, "ports"); len(got) != 0 {
		t.Errorf("check of ports = %q, want none about the dead node", got)
	}
	if fs, err := n.c.Feature(ctx); err != nil || fs.Nodes[name] != 0 {
		t.Errorf("feature = %+v, %v, want 0 for %s", fs, err, name)
	}
	if rs, err := n.c.Repl(ctx); err != nil || !slices.ContainsFunc(rs.Nodes, func(s api.ReplStatus) bool { return s.Name == name && s.Err != "" }) {
		t.Errorf("repl = %+v, %v, want that %s does not answer", rs, err, name)
	}
	if rs, err := n.c.SetRepl(ctx, api.ReplRequest{Scrub: true}); err != nil || len(rs.Unasked) != 1 || rs.Unasked[name] == "" {
		t.Errorf("a scrub of all with one dead = %+v, %v, want that %s alone was not told", rs.Unasked, err, name)
	}
	_, err = n.c.SetRepl(ctx, api.ReplRequest{Scrub: true, Nodes: []string{name}})
	wantError(t, "a scrub of the dead", err, catalog.ErrUnavailable)
	wantError(t, "transfer to the dead", n.c.TransferLeader(ctx, api.NodeRequest{Node: name}), catalog.ErrConflict)
	wantError(t, "leaving while another is dead", n.c.ClusterLeave(ctx), catalog.ErrConflict)
	if _, err := n.c.Layout(ctx); err != nil {
		t.Errorf("layout: %v", err)
	}
	if err := n.c.ClusterRemove(ctx, api.NodeRequest{Node: name}); err != nil { // its blobs are elsewhere
		t.Fatalf("removal of the dead: %v", err)
	}
	awaitHealthy(t, leader, n)
	r, err = n.c.Check(ctx)
	if got := fmt.Sprint(results(r, "quorum"), results(r, "layout")); err != nil || !strings.Contains(got, "2 voters tolerate no more failures than 1") || !strings.Contains(got, "3 copies are wanted of each blob, 2 members keep any") {
		t.Errorf("check of two nodes = %s, %v, want the even voters and the copies", got, err)
	}
}

// TestFormerLevel: a cluster of the former version goes on at its level until
// somebody raises it, and says so where that matters.
func TestFormerLevel(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, "n")
	n.cfg.HTTPAddr, n.cfg.PeerAddr, n.cfg.GossipAddr = deadAddr(t), deadAddr(t), deadAddr(t)
	writeDeadLog(t, n.cfg)
	n.start()
	leaderOf(t, n)
	ctx := t.Context()
	if level := n.fsm.FeatureLevel(); level != 1 {
		t.Fatalf("feature level = %d, want that of the log, 1", level)
	}
	for what, err := range map[string]error{
		"maintenance": n.c.Maintenance(ctx, api.NodeRequest{Node: "n"}),
		"layout":      second(n.c.ApplyLayout(ctx, api.LayoutRequest{Replicas: 2})),
		"repl":        second(n.c.SetRepl(ctx, api.ReplRequest{Paused: new(bool)})),
		"clear":       n.c.ClearAlarms(ctx, api.AlarmRequest{}),
	} {
		wantError(t, what+" at the former level", err, catalog.ErrConflict)
		if err == nil || !strings.Contains(err.Error(), "symkeep cluster feature raise") {
			t.Errorf("%s at the former level: error %q does not say what to do", what, err)
		}
	}
	if b, err := raftfsm.Encode(raftfsm.ClearAlarm{}); err != nil {
		t.Fatal(err)
	} else if _, err := n.Propose(ctx, b); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("a forwarded command above the level: error = %v, want ErrConflict", err)
	}
	if err := n.raiseAlarm(ctx, catalog.AlarmBitRot, "x"); err != nil || len(n.fsm.Alarms()) > 0 {
		t.Errorf("raiseAlarm at the former level = %v, %v, want that nothing happens", err, n.fsm.Alarms())
	}
	if _, err := n.c.Layout(ctx); err != nil {
		t.Errorf("layout at the former level: %v", err)
	}
	r, err := n.c.Check(ctx)
	if got := results(r, "versions"); err != nil || len(got) != 1 || !strings.Contains(got[0], "the cluster uses 1") {
		t.Errorf("check of versions = %q, %v, want that the level can be raised", got, err)
	}
	st, err := n.c.RaiseFeature(ctx, api.FeatureRequest{})
	if err != nil || st.Level != 2 {
		t.Fatalf("raise = %+v, %v, want level 2", st, err)
	}
	if err := n.c.Maintenance(ctx, api.NodeRequest{Node: "n"}); err != nil {
		t.Errorf("maintenance after the raise: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestDamageLog: an alarm is raised at once, again after a day, and an old damage
// counts no more.
func TestDamageLog(t *testing.T) {
	l, start := newDamageLog(), time.Now()
	want := func(at time.Duration, codes string, count int) {
		t.Helper()
		got, k, _ := l.due(start.Add(at))
		if fmt.Sprint(got) != codes || k != count {
			t.Errorf("due after %s = %v of %d damages, want %s of %d", at, got, k, codes, count)
		}
		for _, c := range got {
			l.done(c, start.Add(at))
		}
	}
	want(0, "[]", 0)
	l.note(catalog.Digest{1}, errors.New("a"), start)
	want(time.Second, "[bit-rot]", 1)
	want(2*time.Second, "[]", 1)
	l.note(catalog.Digest{1}, errors.New("a"), start.Add(time.Hour))
	want(time.Hour, "[suspect-disk]", 2)
	l.note(catalog.Digest{1}, errors.New("a"), start.Add(24*time.Hour+time.Minute))
	want(24*time.Hour+time.Minute, "[bit-rot]", 2)
	want(72*time.Hour, "[]", 0)
	for range maxDamages + 10 {
		l.note(catalog.Digest{1}, errors.New("a"), start.Add(100*time.Hour))
	}
	want(100*time.Hour, "[bit-rot suspect-disk]", maxDamages)
}

// TestCountsAgainst: what is not the package's fault does not make it stuck.
func TestCountsAgainst(t *testing.T) {
	_, noProgram := runChild(t.Context(), child{[]string{filepath.Join(t.TempDir(), "none")}, 1 << 30, time.Minute, nil}, nil, catalog.Policy{})
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("%w: crashed", errChildDied), true},
		{errors.New("validator: cannot"), true},
		{fmt.Errorf("file: %w", catalog.ErrNotFound), true},
		{fmt.Errorf("report: %w", catalog.ErrInvalid), true},
		{fmt.Errorf("holder: %w", catalog.ErrUnavailable), false},
		{fmt.Errorf("disk: %w", catalog.ErrFull), false},
		{noProgram, false},
	} {
		if got := countsAgainst(tt.err); got != tt.want {
			t.Errorf("countsAgainst(%v) = %t, want %t", tt.err, got, tt.want)
		}
	}
}

// TestAlarmText: an alarm is one line of bounded length, whatever the error held.
func TestAlarmText(t *testing.T) {
	for in, want := range map[string]string{"a\nb": "a; b", "a\x1b[1m\r\x7fb\xff": "a [1m  b"} {
		if got := alarmText(in); got != want {
			t.Errorf("alarmText(%q) = %q, want %q", in, got, want)
		}
	}
	long := alarmText(strings.Repeat("é", maxAlarmText))
	if err := catalog.CheckText("alarm", long, maxAlarmText); err != nil || len(long) < maxAlarmText-2 {
		t.Errorf("alarmText of a long text: %d bytes, %v", len(long), err)
	}
}
