// Command torture proves that a cluster loses nothing: it runs real nodes on hosts
// of their own, has clients push, delete and read at all of them, and breaks
// processes, networks, disks and clocks meanwhile. Everything that a client was
// told has to be true at every node ever after.
//
//	go run ./e2e/torture -seed 1 -duration 5m
//
// needs root, since the hosts are network namespaces. The seed fixes the number of
// nodes, their disks, the schedule of faults and what each client chooses; -plan
// prints that schedule. The exit status is 1 when a promise was broken; then the
// directory named at the end has the nodes' logs and the histories. Status 2 means
// that the harness itself could not work.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"symkeep/e2e/rig"
)

// A config is one run.
type config struct {
	seed     uint64
	duration time.Duration // of the whole run, the audit included; about
	nodes    int           // 0: the seed chooses
	bin      string        // symkeep with the tag "faults"; built when empty
	dir      string
	mail     string // scripts/mailserver.sh
	from     int    // first phase to run
}

func main() {
	if code, ok := rig.Child(); ok {
		os.Exit(code)
	}
	var cfg config
	flag.Uint64Var(&cfg.seed, "seed", 1, "of every choice")
	flag.DurationVar(&cfg.duration, "duration", 5*time.Minute, "of the run, the audit included")
	flag.IntVar(&cfg.nodes, "nodes", 0, "3 or 5; 0 leaves it to the seed")
	flag.StringVar(&cfg.bin, "bin", "", "symkeep, built with -tags faults; built when empty")
	flag.StringVar(&cfg.dir, "dir", "", "for data and logs, on a file system that syncs (default tmp/torture-SEED)")
	flag.StringVar(&cfg.mail, "mailserver", "scripts/mailserver.sh", "the script that runs a mail server")
	flag.IntVar(&cfg.from, "from", 1, "first phase of the schedule to run")
	plan := flag.Int("plan", 0, "print so many phases of the schedule and end")
	flag.Parse()
	if *plan > 0 {
		p := newPlanner(cfg.seed, cfg.long())
		for range *plan {
			fmt.Println(p.next())
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	bugs, err := run(ctx, cfg)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(2)
	case bugs > 0:
		os.Exit(1)
	}
}

// long reports whether there is time for faults that take minutes.
func (c config) long() bool { return c.duration >= 15*time.Minute }

// complete fills in what was left out.
func (c *config) complete(ctx context.Context) error {
	if c.nodes == 0 {
		c.nodes = 3 + 2*int(c.seed%2) // seed 1, which CI runs, has five
	}
	if c.dir == "" {
		c.dir = filepath.Join("tmp", fmt.Sprintf("torture-%d", c.seed))
	}
	var err error
	if c.dir, err = filepath.Abs(c.dir); err != nil {
		return err
	}
	if c.mail, err = filepath.Abs(c.mail); err != nil {
		return err
	}
	if err := rig.Supported(); err != nil {
		return err
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	if c.bin == "" {
		c.bin, err = rig.Build(ctx, c.dir, "faults")
	}
	return err
}

// run tortures one cluster and returns the number of broken promises.
func run(ctx context.Context, cfg config) (bugs int, err error) {
	if err := cfg.complete(ctx); err != nil {
		return 0, err
	}
	t := newTally(os.Stdout)
	t.say("seed %d, %d nodes, %v", cfg.seed, cfg.nodes, cfg.duration)
	r, box, c, err := build(ctx, cfg, t)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, box.close(), r.Close()) }()
	w := &workload{site: c, bin: cfg.bin, dir: cfg.dir, product: "torture", ledger: newLedger(), history: newHistory(), tally: t, pool: newPool()}
	if err := torture(ctx, cfg, c, w, box); err != nil {
		return 0, err
	}
	c.inspectLogs()
	report(cfg, t, w.history)
	return len(t.violations()), nil
}

// report says how it was, and keeps the evidence if a promise was broken.
func report(cfg config, t *tally, h *history) {
	bad, err := h.check(time.Minute)
	t.check(err)
	for _, b := range bad {
		path, err := b.draw(cfg.dir)
		t.bug("%s %s: no order of its %d operations explains the answers: %s %v", b.pkg.label(), b.pkg.id, len(b.ops), path, err)
		b.list(t.out)
	}
	t.say("%d operations in the history", h.len())
	t.print()
	if n := len(t.violations()); n > 0 {
		path := filepath.Join(cfg.dir, "history.txt")
		t.say("%d VIOLATIONS; evidence in %s, operations in %s %v; run again with -seed %d", n, cfg.dir, path, h.dump(path), cfg.seed)
		for _, v := range t.violations() {
			t.say("  %s", tail(v, 300))
		}
		return
	}
	t.say("nothing lost, nothing false, with seed %d", cfg.seed)
}
