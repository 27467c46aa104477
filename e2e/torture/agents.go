package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"symkeep/internal/catalog"
)

// pushAgent pushes one package with `symkeep push`.
func (c *client) pushAgent(ctx context.Context) {
	p := c.draw()
	c.ledger.add(p)
	dir := filepath.Join(c.dir, fmt.Sprintf("push%d", p.seq))
	defer os.RemoveAll(dir)
	if err := p.write(dir); err != nil {
		c.tally.bug("the harness cannot write: %v", err)
		return
	}
	c.ledger.committing(p)
	call := c.history.now()
	patience := 2 * pushLimit
	if c.random.IntN(8) == 0 {
		patience = 50*time.Millisecond + time.Duration(c.random.Int64N(int64(2*time.Second))) // build machines die too
	}
	rctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(rctx, c.bin, "push", "--json", "--server", strings.Join(c.someURLs(), ","),
		"--product", c.product, "--version", p.version(), "--timeout", "60s", dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := lastPush(stdout.Bytes())
	if r.Package != "" {
		c.tally.check(c.ledger.opened(p, r.Package))
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || rctx.Err() != nil && !cmd.ProcessState.Exited() {
		c.tally.count("pushes", "agent killed")
		c.maybePushed(p, call)
		return
	}
	code := cmd.ProcessState.ExitCode()
	c.tally.count("pushes", fmt.Sprintf("agent exit %d", code))
	switch {
	case code == 0 && r.Verdict == catalog.Good, code == 3 && r.Verdict == catalog.Failed && r.Package != "":
		c.history.add(c.no, p, stepOpen, call, answer{})
		c.history.add(c.no, p, stepCommit, call, answer{})
		c.judged(ctx, p, r.Verdict, call)
	case code == 4: // worth a retry
		c.maybePushed(p, call)
	default:
		c.maybePushed(p, call)
		c.tally.bug("push of %s: exit status %d, verdict %q: %s", p.label(), code, r.Verdict, tail(stderr.String(), 600))
	}
}

// maybePushed enters a push that ended without a verdict.
func (c *client) maybePushed(p *pkg, call int64) {
	c.history.add(c.no, p, stepOpen, call, answer{unknown: true})
	c.history.add(c.no, p, stepCommit, call, answer{unknown: true})
}

// pushed is what the harness wants of the lines that --json prints.
type pushed struct {
	Package catalog.PackageID `json:"package"`
	Verdict catalog.Verdict   `json:"verdict"`
}

func lastPush(out []byte) (r pushed) {
	for line := range bytes.Lines(out) {
		var l pushed
		if json.Unmarshal(line, &l) == nil && l.Package != "" {
			r = l
		}
	}
	return r
}

// write writes the package's files below dir.
func (p *pkg) write(dir string) error {
	for i, f := range p.files {
		path := filepath.Join(dir, p.inPackage(i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func tail(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		s = "..." + s[len(s)-n:]
	}
	return s
}

// keepSomething deletes a good package, and mostly undeletes it again.
func (c *client) keepSomething(ctx context.Context) {
	ps := c.ledger.snapshot()
	if len(ps) < 8 {
		return
	}
	p := ps[c.random.IntN(len(ps))]
	if !c.ledger.borrow(p) {
		return
	}
	defer c.ledger.giveBack(p)
	if c.remove(ctx, p) != done || c.random.IntN(3) == 0 {
		return
	}
	c.rest(ctx, time.Second)
	for deadline := time.Now().Add(pushLimit); ctx.Err() == nil && time.Now().Before(deadline); c.rest(ctx, time.Second) {
		switch c.restore(ctx, p) {
		case done:
			c.readEverywhere(ctx, p, "after the undelete")
			return
		case refused, absurd:
			return
		}
	}
}
