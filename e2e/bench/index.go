package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	steadyRate = 1000 // requests per second
	steadyTime = 5 * time.Second
	startMost  = 3 * time.Second
	anonMost   = 200 << 20
)

// index starts a node over a catalog of millions of keys and has it answer misses and
// hits at a fixed rate.
func index(ctx context.Context, cfg config, t *table) error {
	n, err := newNode(cfg, "index", "")
	if err != nil {
		return err
	}
	defer func() { n.stop() }() // of the last process
	if err := n.start(ctx); err != nil {
		return err
	}
	dir := filepath.Join(cfg.dir, "index-files")
	if err := makeDirs(dir); err != nil {
		return err
	}
	f, err := makeFile(filepath.Join(dir, "held.debug"), 16<<10, code(9))
	if err != nil {
		return err
	}
	if err := n.push(ctx, f.path); err != nil {
		return err
	}
	n.stop()
	data := filepath.Join(n.dir, "data")
	if err := grow(ctx, data, cfg.keys, f); err != nil {
		return err
	}
	size, err := os.Stat(filepath.Join(data, "fsm.db"))
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := n.start(ctx); err != nil {
		return err
	}
	took := time.Since(begun)
	l := line{work: fmt.Sprintf("start over a catalog of %d keys, %.1f GB", cfg.keys, float64(size.Size())/1e9)}
	idle, err := n.anonymous()
	if err != nil {
		return err
	}
	hits, misses, err := answers(ctx, n, cfg.keys)
	if err != nil {
		return err
	}
	bare, err := bareMisses(ctx, cfg)
	if err != nil {
		return err
	}
	loaded, err := n.anonymous()
	if err != nil {
		return err
	}
	mib := func(b int64) float64 { return float64(b) / (1 << 20) }
	l.values = []value{{"ready after", took.Seconds(), "s"}, {"RssAnon", mib(idle), "MiB when ready"}, {"RssAnon", mib(loaded), "MiB after the requests"}}
	l.checks = []check{{what: "s to serve", got: took.Seconds(), bound: startMost.Seconds(), atMost: true},
		{what: "MiB", got: mib(max(idle, loaded)), bound: anonMost >> 20, atMost: true}}
	t.add(l)
	l = latencies("miss at 1,000 requests/s over these keys", misses, 1)
	l.values = append(l.values, value{"nginx", median(bare), "ms, median"}, value{"nginx", quantile(bare, 0.99), "ms, p99: what is the client's and the machine's"})
	t.add(l)
	t.add(latencies("hit at 1,000 requests/s, each of another key", hits, 0))
	return nil
}

// bareMisses are those of a server without any file, by the same client.
func bareMisses(ctx context.Context, cfg config) ([]float64, error) {
	root := filepath.Join(cfg.dir, "empty")
	if err := makeDirs(root); err != nil {
		return nil, err
	}
	nginx, err := startNginx(ctx, cfg.dir, root)
	if err != nil {
		return nil, err
	}
	defer nginx.stop()
	return steady(ctx, nginx.addr, nowhere(5000), steadyRate, steadyTime, 404)
}

// nowhere are paths under which nobody has anything.
func nowhere(n int) []string {
	var paths []string
	for i := range n {
		id := sha256.Sum256(fmt.Appendf(nil, "nowhere %d", i))
		hex := hex.EncodeToString(id[:])
		paths = append(paths, fmt.Sprintf("/module-%d.pdb/%s1/module-%d.pdb", i, hex[:32], i))
	}
	return paths
}

// answers asks for keys that are there and for some that are not.
func answers(ctx context.Context, n *node, keys int) (hits, misses []float64, err error) {
	var here []string
	packages := keys / (grownFiles * grownKeys)
	for i := range 5000 {
		here = append(here, "/"+grownKey(i*7919%packages, i*31%grownFiles, i%grownKeys).Paths()[0])
	}
	if hits, err = steady(ctx, n.addr, here, steadyRate, steadyTime, 200); err != nil {
		return nil, nil, err
	}
	misses, err = steady(ctx, n.addr, nowhere(5000), steadyRate, steadyTime, 404)
	return hits, misses, err
}

// latencies sums times up; a target of 0 is none.
func latencies(work string, ms []float64, target float64) line {
	m := median(ms)
	l := line{work: work, values: []value{{"median", m, "ms"}, {"p99", quantile(ms, 0.99), "ms"}}}
	if target > 0 {
		l.checks = []check{{what: "ms at p99", got: quantile(ms, 0.99), bound: target, atMost: true}}
	}
	return l
}
