package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"symkeep/internal/api"
)

// operator runs one of the `symkeep cluster` commands as people do, checks its exit
// status, and that with --json it prints objects, one per line, and nothing else.
func operator(t testing.TB, code int, server string, args ...string) run {
	t.Helper()
	r := symkeep(t, append(append([]string{"cluster"}, args...), "--server", server)...)
	if r.code != code {
		t.Errorf("cluster %q: exit status %d, want %d\n%s%s", args, r.code, code, r.stdout, r.stderr)
	}
	if strings.Contains(r.stderr, "goroutine ") {
		t.Errorf("cluster %q panics: %s", args, r.stderr)
	}
	for _, arg := range args {
		if arg == "--json" {
			objects(t, args, r.stdout)
		}
	}
	return r
}

func objects(t testing.TB, args []string, stdout string) {
	t.Helper()
	for line := range strings.Lines(stdout) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Errorf("cluster %q prints %q, want one object per line: %v", args, line, err)
		}
	}
}

// decoded is the one object that a command printed.
func decoded[T any](t testing.TB, r run) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil {
		t.Fatalf("%q: %v\n%s", r.stdout, err, r.stderr)
	}
	return v
}

// A look is a command that changes nothing, and its exit status for a healthy
// cluster, with one node dead, and without a quorum.
type look struct {
	args             []string
	says             string // when all is well
	well, dead, lost int
}

func (l look) json() []string { return append(slices.Clone(l.args), "--json") }

var looks = []look{
	{[]string{"status"}, "healthy: tolerates 1 failure", 0, 1, 1},
	{[]string{"members"}, "ADDRESS", 0, 0, 0},
	{[]string{"check"}, " 0 errors", 0, 1, 1},
	{[]string{"alarms"}, "", 0, 0, 0},
	{[]string{"layout", "show"}, "3 replicas", 0, 0, 0},
	{[]string{"layout", "plan", "--weight", "n1=300"}, "100 -> 300", 0, 0, 0},
	{[]string{"layout", "plan", "--add", "n9:rack-z:50"}, "none -> 50", 0, 0, 0},
	{[]string{"repl", "status"}, "repair is on", 0, 0, 0},
	{[]string{"feature"}, "level 3 is in use", 0, 0, 0},
	{[]string{"wait", "--healthy", "--nodes", "3", "--timeout", "1s"}, "healthy: ", 0, 4, 4},
	{[]string{"wait", "--leader", "--timeout", "1s"}, "", 0, 0, 4},
}

// changes need a leader.
var changes = [][]string{
	{"drain", "n1"},
	{"undrain", "n1"},
	{"maintenance", "on", "n1"},
	{"maintenance", "off", "n1"},
	{"transfer-leader"},
	{"layout", "apply", "--weight", "n1=200", "--yes"},
	{"repl", "pause"},
	{"repl", "set-rate", "--repair", "1MiB"},
	{"feature", "raise", "--level", "2"},
	{"remove", "n2", "--yes", "--force"},
}

// each runs a test of every line at once: those without a leader are slow.
func each[T any](lines []T, f func(T)) {
	var wg sync.WaitGroup
	for _, line := range lines {
		wg.Go(func() { f(line) })
	}
	wg.Wait()
}

func TestOperate(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	all := urls(c.nodes...)
	keys := keysOf(t, mustPush(t, all, "operated", makePackage(t, c.dir, "operated")))
	operator(t, 0, all, "wait", "--timeout", "30s")

	for _, l := range looks {
		if r := operator(t, l.well, all, l.args...); !strings.Contains(r.stdout, l.says) {
			t.Errorf("cluster %q of a healthy cluster does not say %q:\n%s%s", l.args, l.says, r.stdout, r.stderr)
		}
		operator(t, l.well, all, l.json()...)
	}
	testHandOver(t, c)
	testLayout(t, c)
	testReplacing(t, c)
	checkServed(t, keys, c.running()...)
	testBroken(t, c)
	checkServed(t, keys, c.running()...)
	noPanics(t, c)
}

// testHandOver hands over leadership and announces absence.
func testHandOver(t *testing.T, c *cluster) {
	all := urls(c.nodes...)
	for _, n := range c.nodes {
		operator(t, 0, all, "transfer-leader", n.name)
		if st := decoded[api.ClusterStatus](t, operator(t, 0, all, "status", "--json")); nodeNamed(t, st, n.name).ID != st.Leader {
			t.Errorf("leadership was handed to %s, and %s leads", n.name, st.Leader)
		}
	}
	operator(t, 0, all, "transfer-leader", "--json")
	operator(t, 1, all, "transfer-leader", "n9")

	operator(t, 0, all, "maintenance", "on", "n2", "--for", "10m")
	left := nodeNamed(t, decoded[api.ClusterStatus](t, operator(t, 0, all, "status", "--json")), "n2").Maintenance
	if limit := (10 * time.Minute).Milliseconds(); left <= limit-60_000 || left > limit {
		t.Errorf("maintenance of 10m: %d ms left, want nearly all of it", left)
	}
	operator(t, 0, all, "maintenance", "off", "n2", "--json")
	operator(t, 1, all, "maintenance", "on", "n9")

	operator(t, 0, all, "repl", "pause")
	rate := decoded[api.ReplResponse](t, operator(t, 0, all, "repl", "set-rate", "--repair", "200MiB", "--scrub", "100MiB", "--delay", "1h", "--json"))
	if !rate.Paused || rate.RepairRate != 200<<20 || rate.ScrubRate != 100<<20 || rate.Delay != time.Hour.Milliseconds() {
		t.Errorf("repl set-rate: %+v, want a pause, 200 MiB/s, 100 MiB/s and 1 h", rate)
	}
	operator(t, 0, all, "repl", "resume")
	operator(t, 0, all, "repl", "set-rate", "--repair", "0", "--delay", "0")
	scrubbed := decoded[api.ReplResponse](t, operator(t, 0, all, "repl", "scrub", "--wait", "--timeout", "30s", "--json"))
	for _, n := range scrubbed.Nodes {
		if n.Scrub.FinishedMS == 0 || n.Scrub.Damaged > 0 {
			t.Errorf("repl scrub --wait: %+v, want a whole round and no damage", n)
		}
	}
	if len(scrubbed.Nodes) != 3 {
		t.Errorf("repl scrub: %d nodes, want 3", len(scrubbed.Nodes))
	}
	operator(t, 1, all, "repl", "scrub", "n9")
	operator(t, 0, all, "alarms", "clear")
}

// testLayout changes weights by a plan, and is refused when the plan is outdated.
func testLayout(t *testing.T, c *cluster) {
	all := urls(c.nodes...)
	p := decoded[api.LayoutPlan](t, operator(t, 0, all, "layout", "plan", "--replicas", "2", "--weight", "n1=200", "--json"))
	base := fmt.Sprint(p.Base)
	operator(t, 2, all, "layout", "apply", "--replicas", "2", "--weight", "n1=200", "--base", base)
	applied := decoded[api.LayoutPlan](t, operator(t, 0, all, "layout", "apply", "--replicas", "2", "--weight", "n1=200", "--base", base, "--yes", "--json"))
	if applied.Base != p.Base+1 || applied.Replicas != 2 {
		t.Errorf("layout apply on %d: layout %d with %d replicas, want the next with 2", p.Base, applied.Base, applied.Replicas)
	}
	operator(t, 1, all, "layout", "apply", "--weight", "n1=300", "--base", base, "--yes")
	operator(t, 0, all, "wait", "--healthy", "--timeout", "30s")
	operator(t, 0, all, "layout", "apply", "--replicas", "3", "--weight", "n1=100", "--yes")
	operator(t, 0, all, "wait", "--healthy", "--timeout", "30s")
	operator(t, 1, all, "layout", "plan", "--weight", "n9=100")
}

// testReplacing lets a fourth node come, drains it to the end and removes it.
func testReplacing(t *testing.T, c *cluster) {
	all := urls(c.nodes...)
	fresh := c.add("n4", "--new-cluster=false")
	fresh.start()
	operator(t, 0, fresh.url(), "join", c.nodes[0].gossip)
	operator(t, 0, all, "wait", "--healthy", "--nodes", "4", "--timeout", "60s")
	operator(t, 1, all, "remove", "n4", "--yes")

	operator(t, 0, all, "drain", "n4")
	operator(t, 0, all, "undrain", "n4")
	r := operator(t, 0, all, "drain", "n4", "--wait", "--timeout", "60s", "--json")
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, `"needed":0,"finished":true`) {
		t.Errorf("drain --wait ends with %s, want it finished", last)
	}
	if r := operator(t, 0, all, "remove", "n4", "--yes"); !strings.Contains(r.stderr, "nothing is lost") {
		t.Errorf("the plan of removing a drained node does not say that nothing is lost:\n%s", r.stderr)
	}
	fresh.kill()
	operator(t, 0, all, "wait", "--healthy", "--nodes", "3", "--timeout", "60s")
	operator(t, 1, all, "remove", "n4", "--yes")
}

// testBroken kills one node and then the leader, and starts them again.
func testBroken(t *testing.T, c *cluster) {
	nodes := c.running()
	all := urls(nodes...)
	lead := c.leader()
	gone := c.others(lead)[0]
	gone.kill()
	eventually(t, 30*time.Second, gone.name+" is found dead", func() error {
		st, err := lead.status()
		if state := nodeNamed(t, st, gone.name).State; err == nil && state != "dead" {
			err = fmt.Errorf("it is %s", state)
		}
		return err
	})
	each(looks, func(l look) { operator(t, l.dead, all, l.args...) })
	if r := operator(t, 1, all, "status"); !strings.Contains(r.stdout, "\nnot healthy: node "+gone.name+" is dead") || !strings.HasSuffix(r.stdout, "tolerates 0 failures\n") {
		t.Errorf("status with %s dead ends with %q", gone.name, tail([]byte(r.stdout), 200))
	}
	operator(t, 2, all, "remove", gone.name)
	operator(t, 4, gone.url(), "status")
	if r := operator(t, 1, all, "transfer-leader", gone.name); r.stdout != "" {
		t.Errorf("transfer-leader to a dead node prints %q", r.stdout)
	}

	lead.kill()
	last := c.running()[0]
	eventually(t, 30*time.Second, "there is no leader", func() error {
		st, err := last.status()
		if err == nil && st.Leader != "" {
			err = fmt.Errorf("%s leads", st.Leader)
		}
		return err
	})
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		each(looks, func(l look) { operator(t, l.lost, all, l.json()...) })
	}()
	each(changes, func(args []string) {
		if r := operator(t, 4, last.url(), append(slices.Clone(args), "--json")...); r.stdout != "" || r.stderr == "" {
			t.Errorf("cluster %q without a leader prints %q and says %q, want only why not", args, r.stdout, r.stderr)
		}
	})

	<-asked

	// What a script does after a power cut: it waits while nodes still start.
	done := make(chan run)
	go func() { done <- operator(t, 0, all, "wait", "--healthy", "--nodes", "3", "--timeout", "60s") }()
	gone.start()
	lead.start()
	if r := <-done; !strings.HasSuffix(r.stdout, "\nhealthy: tolerates 1 failure\n") {
		t.Errorf("wait --healthy ends with %q", tail([]byte(r.stdout), 200))
	}
}

func nodeNamed(t testing.TB, st api.ClusterStatus, name string) api.NodeStatus {
	t.Helper()
	for _, n := range st.Nodes {
		if n.Name == name {
			return n
		}
	}
	t.Errorf("status lists no node %s", name)
	return api.NodeStatus{}
}
