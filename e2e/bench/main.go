// Command bench measures symkeep beside nginx and elfutils debuginfod: the same work
// against each in turn, in several rounds, on this machine and in this run.
//
//	go run ./e2e/bench
//
// builds symkeep, starts every server on the loopback interface, prints a table of
// medians with the ratios wanted beside those measured, and writes the same to
// tmp/bench.txt. What matters are the ratios: servers and clients share the processors.
// It takes some thirteen minutes and 12 GB of disk, of which nothing stays, and gives up after
// a quarter of an hour. Only processes that it started are stopped.
//
// Each part of the table can be measured alone, see -parts. The exit status is 1 when a
// part could not be measured; a target that was missed is a line of the table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A config is one run.
type config struct {
	bin    string        // symkeep; built when empty
	dir    string        // for data; emptied first and removed afterwards
	out    string        // the table
	parts  string        // names, separated by commas; empty: all
	rounds int           // of each shot
	shot   time.Duration // one load on one server
	keys   int           // in the catalog of the part index
	huge   int64         // bytes of the file of the part memory
}

// limit is how long a run may take.
const limit = 15 * time.Minute

// A part measures some lines of the table.
type part struct {
	name string
	run  func(context.Context, config, *table) error
}

var parts = []part{
	{"serve", serve}, {"foreign", foreign}, {"range", ranges}, {"pack", pack}, {"push", push}, {"memory", memory},
	{"index", index}, // last: what a slow machine has no time left for
}

func main() {
	var cfg config
	flag.StringVar(&cfg.bin, "bin", "", "symkeep; built when empty")
	flag.StringVar(&cfg.dir, "dir", "tmp/bench", "for data; it is emptied")
	flag.StringVar(&cfg.out, "out", "tmp/bench.txt", "where the table goes, beside standard output")
	flag.StringVar(&cfg.parts, "parts", "", "serve, foreign, range, pack, push, memory, index; empty: all")
	flag.IntVar(&cfg.rounds, "rounds", 3, "times that each load is put on each server, in turn")
	flag.DurationVar(&cfg.shot, "shot", 2*time.Second, "one load on one server, in whole seconds")
	flag.IntVar(&cfg.keys, "keys", 5_000_000, "in the catalog of the part index")
	flag.Int64Var(&cfg.huge, "huge", 6<<30, "bytes of the file of the part memory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures every part that is wanted; one that fails does not keep the others.
func run(ctx context.Context, cfg config) (err error) {
	if err := cfg.complete(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(cfg.dir)) }()
	t := newTable()
	var errs []error
	for _, p := range parts {
		if !cfg.wants(p.name) {
			continue
		}
		begun := time.Now()
		if err := p.run(ctx, cfg, t); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
			if ctx.Err() != nil {
				break
			}
		}
		fmt.Fprintf(os.Stderr, "bench: %s took %.0f s\n", p.name, time.Since(begun).Seconds())
	}
	text := t.String()
	fmt.Print(text)
	errs = append(errs, os.MkdirAll(filepath.Dir(cfg.out), 0o755), os.WriteFile(cfg.out, []byte(text), 0o644))
	return errors.Join(errs...)
}

func (c config) wants(part string) bool {
	return c.parts == "" || strings.Contains(","+c.parts+",", ","+part+",")
}

// complete makes the directory and the program.
func (c *config) complete(ctx context.Context) error {
	if c.rounds < 1 || c.shot < time.Second || c.keys < 1000 || c.huge < 1<<20 {
		return errors.New("wanted at least 1 round, shots of 1s, 1000 keys and a file of 1 MiB")
	}
	var err error
	if c.dir, err = filepath.Abs(c.dir); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(c.dir), os.MkdirAll(c.dir, 0o755)); err != nil {
		return err
	}
	if c.bin != "" {
		c.bin, err = filepath.Abs(c.bin)
		return err
	}
	c.bin = filepath.Join(c.dir, "symkeep")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", c.bin, "./cmd/symkeep")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build symkeep: %w: %s", err, out)
	}
	return nil
}
