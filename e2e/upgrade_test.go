//go:build upgrade

// This file is for scripts/upgrade-check.sh, which builds the program of an earlier
// commit. TestOldData, which needs no history, is in every run.

package e2e

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"symkeep/internal/api"
)

// TestRollingUpgrade replaces the nodes of a cluster of an earlier build one by one,
// one of them back and forth, under load. Nothing is lost or answered wrongly, the
// feature level cannot be raised before the last node is new, and can then.
func TestRollingUpgrade(t *testing.T) {
	old := os.Getenv("SYMKEEP_OLD_BIN")
	if old == "" {
		t.Fatal("SYMKEEP_OLD_BIN is not set: run scripts/upgrade-check.sh")
	}
	c := &cluster{t: t, dir: diskDir(t)}
	for _, name := range []string{"n1", "n2", "n3"} {
		n := c.add(name)
		n.bin = old
		if name != "n1" {
			n.flags = []string{"--join", c.nodes[0].gossip}
		}
		n.start()
	}
	c.waitHealthy(3, 60*time.Second)
	lb := startBalancer(t, c.nodes)
	first := mustPush(t, lb.url(), "old", makePackage(t, c.dir, "old"))
	readers := startLoad(t, lb.url(), 50, 4, keysOf(t, first))

	const packages = 60
	dirs := make([]string, packages)
	for i := range dirs {
		dirs[i] = makePackage(t, c.dir, "up"+string(rune('a'+i%26))+string(rune('a'+i/26)))
	}
	stop := make(chan struct{})
	var pushing sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); pushing.Wait() })
	t.Cleanup(end)
	pushed := []api.Result{first}
	pushing.Go(func() {
		for i, dir := range dirs {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond): // not all of them at the start
			}
			r, err := tryPush(lb.url(), "upgrade", dir)
			if err != nil {
				t.Errorf("push %d: %v", i, err)
				return
			}
			pushed = append(pushed, r)
			readers.add(keysOf(t, r))
		}
	})

	change := func(n *node, program, what string) {
		t.Helper()
		if level := c.feature(); level > 1 {
			t.Errorf("feature level %d before %s is %s, want 1", level, n.name, what)
		}
		n.stop()
		n.bin = program
		n.start()
		eventually(t, 20*time.Second, n.name+" is ready", n.ready)
		lb.waitUp(3)
		c.waitHealthy(3, 60*time.Second)
		t.Logf("%s is %s", n.name, what)
	}
	leader := c.leader()
	others := c.others(leader)
	change(others[0], bin, "new")
	r := symkeep(t, "cluster", "feature", "raise", "--server", others[0].url())
	if r.code == 0 {
		t.Error("the feature level was raised with old nodes in the cluster")
	}
	change(others[0], old, "old again")
	change(others[0], bin, "new")
	change(leader, bin, "new") // a new or an old one leads now
	change(others[1], bin, "new")
	mustRun(t, 0, "", "cluster", "feature", "raise", "--server", leader.url())
	c.waitHealthy(3, 60*time.Second)
	if level := c.feature(); level != 2 {
		t.Errorf("feature level %d after it was raised, want 2", level)
	}
	end()
	readers.stop().mustBeRight(t, "debuggers")
	pushed = append(pushed, mustPush(t, lb.url(), "new", makePackage(t, c.dir, "new")))
	checkServed(t, keysOf(t, pushed...), c.nodes...)
	t.Logf("%d pushes good; debuggers: %v", len(pushed), readers.stop())
	noPanics(t, c)

	// What is raised stays raised: an older build stops at the first entry of the log
	// that it does not know, and the new one goes on from there.
	n := others[0]
	n.stop()
	n.bin = old
	n.launch()
	mustRun(t, 0, "", "cluster", "maintenance", "on", n.name, "--for", "1m", "--server", leader.url())
	select {
	case <-n.done:
		n.cmd = nil
	case <-time.After(20 * time.Second):
		t.Fatalf("%s runs an old build in a cluster of level 2", n.name)
	}
	if log := n.log(t); !strings.Contains(log, "upgrade this node") {
		t.Errorf("log of %s does not say what to do: %s", n.name, tail([]byte(log), 500))
	}
	n.bin = bin
	n.start()
	c.waitHealthy(3, 60*time.Second)
	checkServed(t, keysOf(t, pushed...), n)
}

// feature is the highest feature level that a running node knows to be in use; old
// builds do not say.
func (c *cluster) feature() (level int) {
	c.t.Helper()
	for _, n := range c.running() {
		st, err := n.status()
		if err != nil {
			c.t.Fatal(err)
		}
		level = max(level, st.Feature)
	}
	return level
}
