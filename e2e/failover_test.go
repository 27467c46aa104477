package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"symkeep/internal/api"
)

// long reports whether this is a measuring run, which takes its time.
func long() bool { return os.Getenv("SYMKEEP_E2E_LONG") != "" }

// durations are measurements of one thing.
type durations []time.Duration

func (d durations) median() time.Duration { return percentile(d, 0.5) }

// String gives what a report wants to know of them.
func (d durations) String() string {
	r := func(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
	return fmt.Sprintf("median %v, min %v, max %v of %d", r(d.median()), r(slices.Min(d)), r(slices.Max(d)), len(d))
}

// write commits something small through a node: it opens a package.
func (n *node) write(ctx context.Context, key string) error {
	client, err := api.NewClient(n.url())
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Open(ctx, api.OpenRequest{IdempotencyKey: key, Product: "failover", Version: "1"})
	return err
}

// TestFailover kills the leader again and again. Writes through the other nodes go
// on, whole pushes included, and what they hold they serve all the time. A measuring
// run also wants the median of each to be 5 s at most: elsewhere the time says more
// about the machine.
func TestFailover(t *testing.T) {
	const limit, readsPerSecond = 5 * time.Second, 50
	rounds := 3
	if long() {
		rounds = 20
	}
	c := newCluster(t, 3, nil)
	keys := keysOf(t, mustPush(t, urls(c.nodes...), "before", makePackage(t, c.dir, "before")))
	c.waitHealthy(3, 30*time.Second)
	var writes, pushes durations
	for round := range rounds {
		leader := c.leader()
		rest := c.others(leader)
		dir := makePackage(t, c.dir, fmt.Sprintf("failover%d", round))
		var readers []*load
		for _, n := range rest {
			readers = append(readers, startLoad(t, n.url(), readsPerSecond, 0, keys))
		}
		leader.kill()
		killed := time.Now()
		p := startPush(t, urls(rest...), "failover", dir)
		eventually(t, 30*time.Second, "a write after the leader was killed", func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			return rest[round%2].write(ctx, filepath.Base(dir))
		})
		writes = append(writes, time.Since(killed))
		r := p.wait(t, time.Minute)
		pushes = append(pushes, time.Since(killed))
		if r.code != 0 {
			t.Fatalf("push: exit status %d, want 0\n%s", r.code, tail([]byte(r.stderr), 2000))
		}
		for i, l := range readers {
			read := l.stop()
			read.mustBeRight(t, "readers at "+rest[i].name)
			t.Logf("round %d: first write %v after the kill, push good %v after it; readers at %s: %v", round+1,
				writes[round].Round(10*time.Millisecond), pushes[round].Round(10*time.Millisecond), rest[i].name, read)
		}
		checkServed(t, keysOf(t, good(t, r)), rest...)
		leader.start()
		c.waitHealthy(3, 60*time.Second)
	}
	t.Logf("first write after the kill: %v", writes)
	t.Logf("a push begun at the kill is good: %v", pushes)
	if long() && (writes.median() > limit || pushes.median() > limit) {
		t.Errorf("median of the first write %v, of the push %v, want at most %v", writes.median(), pushes.median(), limit)
	}
	noPanics(t, c)
}
