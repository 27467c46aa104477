package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// packagesOf returns how many packages a status counts, and how many of them are
// good.
func packagesOf(st api.ClusterStatus) (all, good int) {
	for state, n := range st.Packages {
		all += n
		if state == string(catalog.StateGood) {
			good += n
		}
	}
	return all, good
}

func TestKillLeaderDuringPushes(t *testing.T) {
	const pushes = 10
	c := newCluster(t, 3, nil)
	dirs, running := make([]string, pushes), make([]*pushing, pushes)
	for i := range dirs {
		dirs[i] = makePackage(t, c.dir, fmt.Sprintf("part%d", i))
	}
	leader := c.leader()
	rest := c.others(leader)
	for i := range running {
		running[i] = startPush(t, urls(rest[i%2], rest[1-i%2]), fmt.Sprintf("part%d", i), dirs[i])
	}
	judged := 0
	eventually(t, 60*time.Second, "some of the packages good", func() error {
		st, err := rest[0].status()
		if err != nil {
			return err
		}
		all, good := packagesOf(st)
		if judged = good; good < 2 {
			return fmt.Errorf("%d packages, %d good", all, good)
		}
		return nil
	})
	leader.kill()
	t.Logf("killed the leader %s with %d of %d packages judged", leader.name, judged, pushes)
	if judged == pushes {
		t.Errorf("every package was judged before the kill")
	}

	var results []api.Result
	first := 0
	for i, p := range running {
		r := p.wait(t, 2*time.Minute)
		if r.code == 0 {
			first++
			results = append(results, good(t, r))
			continue
		}
		t.Logf("push %d: exit status %d: %s", i, r.code, tail([]byte(r.stderr), 300))
		results = append(results, mustPush(t, urls(rest...), fmt.Sprintf("part%d", i), dirs[i]))
	}
	keys := keysOf(t, results...)
	checkServed(t, keys, rest...)
	leader.start()
	c.waitHealthy(3, 60*time.Second)
	checkServed(t, keys, c.nodes...)
	t.Logf("%d pushes: %d good at the first try, %d after reruns; %d keys x %d nodes identical",
		pushes, first, len(results), len(keys), len(c.nodes))
}

func TestKillValidator(t *testing.T) {
	c := newCluster(t, 3, nil)
	file := makeHugeELF(t, filepath.Join(c.dir, "large.debug"), 192<<20)
	p := startPush(t, urls(c.nodes...), "large", file.path)
	client := func(n *node) (api.PackagesPage, error) {
		a, err := api.NewClient(n.url())
		if err != nil {
			return api.PackagesPage{}, err
		}
		defer a.Close()
		return a.Packages(t.Context(), api.PackagesQuery{})
	}
	var pkg catalog.PackageID
	var victim *node
	for deadline := time.Now().Add(2 * time.Minute); victim == nil; {
		page, err := client(c.nodes[0])
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("no claim seen: %v", err)
		}
		for _, q := range page.Packages {
			if q.Claim != nil {
				pkg, victim = q.ID, c.byID(t, q.Claim.Node)
			}
		}
	}
	victim.kill()
	killed := time.Now()
	other := c.running()[0]
	if st, err := other.packageStatus(t, pkg); err != nil || st.State != catalog.StateCommitted {
		t.Fatalf("package is %q right after its validator %s was killed, want committed: %v", st.State, victim.name, err)
	}
	r := p.wait(t, 120*time.Second)
	if r.code != 0 {
		t.Fatalf("push: exit status %d, want 0\n%s", r.code, tail([]byte(r.stderr), 3000))
	}
	res := good(t, r)
	t.Logf("killed %s while it validated; verdict %v later", victim.name, time.Since(killed).Round(10*time.Millisecond))
	if st, err := other.packageStatus(t, pkg); err != nil || st.State != catalog.StateGood {
		t.Errorf("package is %q, want good: %v", st.State, err)
	}
	checkServed(t, keysOf(t, res), c.running()...)
	victim.start()
	c.waitHealthy(3, 60*time.Second)
	checkServed(t, keysOf(t, res), victim)
}

func TestWipedFollower(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	var results []api.Result
	for i := range 5 {
		name := fmt.Sprintf("wipe%d", i)
		results = append(results, mustPush(t, urls(c.nodes[i%3]), name, makePackage(t, c.dir, name)))
	}
	large := int64(128 << 20)
	if long() {
		large = 2 << 30
	}
	dir, _ := makeIncompressible(t, c.dir, "wipe-large", large)
	results = append(results, mustPush(t, urls(c.nodes...), "wipe-large", dir))
	keys := keysOf(t, results...)
	c.waitHealthy(3, 60*time.Second)

	victim := c.others(c.leader())[0]
	rest := c.others(victim)
	victim.kill()
	if err := os.RemoveAll(victim.dir); err != nil {
		t.Fatal(err)
	}
	syscall.Sync()
	wiped := time.Now()
	victim.flags = []string{"--join", rest[0].gossip + "," + rest[1].gossip}
	victim.start()
	steps := watchMissing(t, rest[0], victim, 5*time.Minute)
	took := time.Since(wiped)
	c.waitHealthy(3, 30*time.Second)
	var made []madeCopy
	for name, size := range victim.copies(t) {
		made = append(made, madeCopy{rest[0], name, size})
	}
	syscall.Sync()
	copying := timeCopies(t, c, rest[:1], made)
	t.Logf("%s whole again %v after the wipe; verified copies of its %d files took %v; bytes missing on the way: %v",
		victim.name, took.Round(10*time.Millisecond), len(made), copying.Round(10*time.Millisecond), steps)
	if len(steps) == 0 {
		t.Errorf("cluster status never told what %s misses", victim.name)
	}
	// The cluster waits until gossip has found the old process dead. Half the speed of
	// plain copies is what a repair has to reach. Other tests run at the same time,
	// except in the measuring run.
	limit := 10 * time.Second
	if !long() {
		limit *= 3
	}
	if took > limit+2*copying {
		t.Errorf("%s whole again after %v, want at most %v and twice %v of copying", victim.name, took, limit, copying)
	}
	for _, n := range rest {
		n.kill()
	}
	checkServed(t, keys, victim)
	for range 3 {
		if err := wantReset(victim); err != nil {
			t.Errorf("%s without a quorum: %v", victim.name, err)
		}
	}
	checkServed(t, keys, victim) // the breaker of misses does not touch hits
	for _, n := range rest {
		n.start()
	}
	c.waitHealthy(3, 60*time.Second)
	missAgain(t, victim)
	for _, n := range c.nodes {
		checkMiss(t, n)
	}
	t.Logf("%d keys identical from %s alone", len(keys), victim.name)
}

// watchMissing waits until a node that came back empty holds everything and the
// cluster is healthy, and returns the bytes it missed, each time they were fewer.
func watchMissing(t testing.TB, asked, victim *node, limit time.Duration) (steps []int64) {
	t.Helper()
	eventually(t, limit, victim.name+" is whole again", func() error {
		st, err := asked.status()
		if err != nil {
			return err
		}
		for _, s := range st.Nodes {
			if s.Name == victim.name && s.MissBytes > 0 && (len(steps) == 0 || s.MissBytes < steps[len(steps)-1]) {
				steps = append(steps, s.MissBytes)
			}
		}
		if !st.Healthy {
			return fmt.Errorf("%v", st.Reasons)
		}
		return nil
	})
	return steps
}

func TestRestarts(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	var results []api.Result
	for i := range 3 {
		name := fmt.Sprintf("restart%d", i)
		results = append(results, mustPush(t, urls(c.nodes[i]), name, makePackage(t, c.dir, name)))
	}
	keys := keysOf(t, results...)
	for i, n := range c.nodes {
		n.kill()
		name := fmt.Sprintf("away%d", i)
		r := mustPush(t, urls(c.running()...), name, makePackage(t, c.dir, name))
		for k, v := range keysOf(t, r) {
			keys[k] = v
		}
		checkServed(t, keys, c.running()...)
		n.start()
		c.waitHealthy(3, 60*time.Second)
		checkServed(t, keys, n)
	}
	for _, n := range c.nodes {
		n.kill()
	}
	down := time.Now()
	for _, n := range c.nodes {
		n.start()
	}
	c.waitHealthy(3, 60*time.Second)
	t.Logf("healthy %v after all three were killed", time.Since(down).Round(10*time.Millisecond))
	checkServed(t, keys, c.nodes...)
	for _, n := range c.nodes {
		checkMiss(t, n)
	}
	for _, n := range c.nodes { // not waiting for the one before: for a while nobody may be able to vouch for a miss
		n.stop()
		n.start()
	}
	c.waitHealthy(3, 60*time.Second)
	checkServed(t, keys, c.nodes...)
	for _, n := range c.nodes {
		missAgain(t, n)
	}
}

func TestReadYourUpload(t *testing.T) {
	const pushes = 20
	c := newCluster(t, 3, nil)
	for i := range pushes {
		name := fmt.Sprintf("read%d", i)
		made := makeSym(t, c.dir, name, 0)
		for _, n := range c.nodes { // leases on the miss of this very key, held by everyone
			checkMiss(t, n)
		}
		res := mustPush(t, c.nodes[i%3].url(), name, made.path)
		checkServed(t, keysOf(t, res), c.nodes...)
		if t.Failed() {
			t.Fatalf("push %d: good, but not served everywhere", i)
		}
	}
	t.Logf("%d pushes, each served by all nodes at the first try", pushes)
}
