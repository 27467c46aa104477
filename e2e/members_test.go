package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"symkeep/internal/catalog"
)

// mustRun runs symkeep and fails the test unless it exits with the code and its
// standard error holds the text.
func mustRun(t testing.TB, code int, says string, args ...string) run {
	t.Helper()
	r := symkeep(t, args...)
	if r.code != code || !strings.Contains(r.stderr, says) {
		t.Fatalf("symkeep %q: exit status %d, want %d and %q\n%s%s", args, r.code, code, says, r.stdout, r.stderr)
	}
	return r
}

// isMember reports whether a running node sees a member of that name.
func (n *node) isMember(name string) (bool, error) {
	st, err := n.status()
	for _, s := range st.Nodes {
		if s.Name == name {
			return true, err
		}
	}
	return false, err
}

func TestMembership(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	first := c.nodes[0]
	res := mustPush(t, urls(c.nodes...), "before", makePackage(t, c.dir, "before"))
	keys := keysOf(t, res)

	// A fresh node waits, answers no debugger, and joins when it is told to.
	fresh := c.add("n4", "--new-cluster=false")
	fresh.start()
	if err := wantReset(fresh); err != nil {
		t.Errorf("node without a cluster: %v", err)
	}
	mustRun(t, 4, "", "push", "--server", fresh.url(), "--timeout", "2s", "--product", "p", "--version", "1", filepath.Join(c.dir, "before"))
	mustRun(t, 0, "", "cluster", "join", first.gossip, "--server", fresh.url())
	c.waitHealthy(4, 60*time.Second)
	checkServed(t, keys, fresh)
	missAgain(t, fresh)
	mustRun(t, 1, "belongs to cluster", "cluster", "join", first.gossip, "--server", fresh.url())

	// A name that belongs to a living member is refused.
	twin := c.add("n4", "--join", first.gossip)
	twin.dir += "-twin"
	twin.logPath += "-twin"
	twin.start()
	eventually(t, 20*time.Second, "the refusal in the twin's log", func() error {
		if !strings.Contains(twin.log(t), "is alive: start the node with another --name") {
			return fmt.Errorf("log: %s", tail([]byte(twin.log(t)), 500))
		}
		return nil
	})
	twin.kill()

	// Removing a living member wants --force; leaving does not.
	mustRun(t, 2, "--yes", "cluster", "remove", "n4", "--server", first.url())
	mustRun(t, 1, "alive", "cluster", "remove", "n4", "--yes", "--server", first.url())
	if ok, err := first.isMember("n4"); !ok || err != nil {
		t.Errorf("n4 is a member: %v, %v, want it to be after a refused removal", ok, err)
	}
	mustRun(t, 0, "", "cluster", "leave", "--yes", "--server", fresh.url())
	eventually(t, 20*time.Second, "n4 gone", func() error {
		ok, err := first.isMember("n4")
		if err == nil && ok {
			err = fmt.Errorf("still a member")
		}
		return err
	})
	fresh.kill()
	c.waitHealthy(3, 60*time.Second)

	// A dead member can be removed, and comes back empty.
	gone := c.others(c.leader())[0]
	gone.kill()
	rest := c.running()
	eventually(t, 30*time.Second, gone.name+" found dead and removed", func() error {
		r := symkeep(t, "cluster", "remove", gone.name, "--yes", "--server", urls(rest...))
		if r.code != 0 {
			return fmt.Errorf("exit status %d: %s", r.code, r.stderr)
		}
		return nil
	})
	if err := os.RemoveAll(gone.dir); err != nil {
		t.Fatal(err)
	}
	gone.flags = []string{"--join", rest[0].gossip}
	gone.start()
	c.waitHealthy(3, 60*time.Second)
	checkServed(t, keys, gone)

	// The leader leaves: another one leads, nothing is lost.
	leader := c.leader()
	mustRun(t, 0, "", "cluster", "leave", "--yes", "--server", leader.url())
	leader.kill()
	c.waitHealthy(2, 60*time.Second)
	mustPush(t, urls(c.running()...), "after", makePackage(t, c.dir, "after"))
	checkServed(t, keys, c.running()...)
	noPanics(t, c)
}

// TestMovedNodes starts nodes again at other addresses.
func TestMovedNodes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	res := mustPush(t, urls(c.nodes...), "p", makePackage(t, c.dir, "moved"))
	move := func(n *node) {
		n.http, n.peer, n.gossip = freeAddr(t), freeAddr(t), freeAddr(t)
	}
	for _, n := range []*node{c.others(c.leader())[0], c.leader()} {
		n.kill()
		move(n)
		begun := time.Now()
		n.start()
		c.waitHealthy(3, 90*time.Second)
		st, err := c.others(n)[0].status()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range st.Nodes {
			if s.Name == n.name && (s.HTTPAddr != n.http || s.PeerAddr != n.peer || s.GossipAddr != n.gossip) {
				t.Errorf("%s is listed at %s %s %s, wants %s %s %s", n.name, s.HTTPAddr, s.PeerAddr, s.GossipAddr, n.http, n.peer, n.gossip)
			}
		}
		t.Logf("%s followed to its new addresses in %v", n.name, time.Since(begun).Round(10*time.Millisecond))
		checkServed(t, keysOf(t, res), c.nodes...)
	}
	mustPush(t, c.nodes[0].url(), "p", makePackage(t, c.dir, "moved2"))
}

// TestForeignCluster lets a node of another cluster gossip with this one.
func TestForeignCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	other := newCluster(t, 1, nil)
	foreign := other.nodes[0]
	theirs := mustPush(t, foreign.url(), "theirs", makePackage(t, other.dir, "theirs"))
	foreign.stop()
	foreign.name = "stranger"
	foreign.flags = []string{"--join", n.gossip}
	foreign.start()
	eventually(t, 30*time.Second, "the stranger leads its own cluster again", func() error {
		st, err := foreign.status()
		if err == nil && st.Leader == "" {
			err = fmt.Errorf("no leader: %v", st.Reasons)
		}
		return err
	})
	if ok, err := n.isMember("stranger"); ok || err != nil {
		t.Errorf("a node of another cluster is a member: %v, %v", ok, err)
	}
	mustRun(t, 1, "belongs to cluster", "cluster", "join", n.gossip, "--server", foreign.url())
	r := mustRun(t, 1, "servers of one cluster only", "push", "--server", urls(n, foreign), "--product", "p", "--version", "1", makePackage(t, c.dir, "both"))
	if strings.Contains(r.stdout, string(catalog.Good)) {
		t.Errorf("push to two clusters: %s", r.stdout)
	}
	ours := mustPush(t, n.url(), "ours", makePackage(t, c.dir, "ours"))
	checkServed(t, keysOf(t, ours), n)
	checkServed(t, keysOf(t, theirs), foreign)
	for path := range keysOf(t, theirs) {
		if code, _ := get(t, n, path); code != 404 {
			t.Errorf("GET %s of the other cluster's file: status %d, want 404", path, code)
		}
	}
	noPanics(t, c)
	noPanics(t, other)
}
