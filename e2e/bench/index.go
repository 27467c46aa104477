package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	steadyRate   = 1000 // requests per second
	steadyTime   = 3 * time.Second
	steadyRounds = 7 // of it, as milliseconds that the host takes away decide a p99
	startMost    = 3 * time.Second
	anonMost     = 200 << 20
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
	tails, err := steadily(ctx, cfg, n)
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
	t.add(tails)
	return nil
}

// steadily times misses and hits of the node and, in turn with them, misses of a server
// without any file. Beside all of them the node checks the contents of its catalog, as it
// does after each start; what nginx has to wait for is that, the client and the machine.
func steadily(ctx context.Context, cfg config, n *node) (l line, err error) {
	root := filepath.Join(cfg.dir, "empty")
	if err := makeDirs(root); err != nil {
		return l, err
	}
	nginx, err := startNginx(ctx, cfg.dir, root)
	if err != nil {
		return l, err
	}
	defer nginx.stop()
	const each = int(steadyRate * steadyTime / time.Second) // every request is another one
	none, here := nowhere(steadyRounds*each), grownPaths(cfg.keys, steadyRounds*each)
	loads := []*steadyLoad{
		{who: "symkeep", addr: n.addr, paths: none, status: 404},
		{who: "nginx", addr: nginx.addr, paths: none, status: 404},
		{who: "hits", addr: n.addr, paths: here, status: 200},
	}
	before, err := readTicks()
	if err != nil {
		return l, err
	}
	for round := range steadyRounds {
		for _, load := range from(round, loads) {
			ms, err := steady(ctx, load.addr, load.paths[round*each:][:each], steadyRate, steadyTime, load.status)
			if err != nil {
				return l, err
			}
			load.medians = append(load.medians, median(ms))
			load.tails = append(load.tails, quantile(ms, 0.99))
		}
	}
	after, err := readTicks()
	if err != nil {
		return l, err
	}
	l.work = fmt.Sprintf("miss at 1,000 requests/s over these keys, %d rounds", steadyRounds)
	for _, load := range loads {
		l.values = append(l.values, value{load.who, median(load.medians), "ms, median"},
			value{load.who, median(load.tails), "ms, p99"},
			value{load.who, slices.Max(load.tails), "ms, p99 of the worst round"})
	}
	l.values = append(l.values, value{"the host", 100 * (after.stolen - before.stolen) / (after.all - before.all), "% of the processors' time taken away"})
	l.checks = []check{{what: "ms at p99", got: median(loads[0].tails), bound: 1, atMost: true}}
	return l, nil
}

// A steadyLoad is requests at a fixed rate, with what their rounds came to, in milliseconds.
type steadyLoad struct {
	who            string
	addr           string
	paths          []string
	status         int
	medians, tails []float64
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

// grownPaths are n paths of keys all over a grown catalog.
func grownPaths(keys, n int) []string {
	var paths []string
	packages := keys / (grownFiles * grownKeys)
	for i := range n {
		paths = append(paths, "/"+grownKey(i*7919%packages, i*31%grownFiles, i%grownKeys).Paths()[0])
	}
	return paths
}
