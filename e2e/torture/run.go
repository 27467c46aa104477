package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/e2e/rig"
)

// replicas is how many copies there are of each blob.
const replicas = 3

// Times within a run.
const (
	healLimit = 100 * time.Second // from the end of the last fault until healthy
	holdAfter = 15 * time.Second  // so long into it nobody pushes any more
	reserve   = 55 * time.Second  // for the audit
)

// build makes hosts, one of them a spare, and starts a cluster of the others.
func build(ctx context.Context, cfg config, t *tally) (r *rig.Rig, box *mailbox, c *crew, err error) {
	total := cfg.nodes + 1
	kinds := diskKinds(cfg.seed, total)
	scale := max(1, int64(cfg.duration/(5*time.Minute)))
	rc := rig.Config{
		Dir: filepath.Join(cfg.dir, "hosts"), Hosts: total, Bin: cfg.bin, Seed: cfg.seed, Disks: map[int]rig.Disk{},
		Flags: []string{"--insecure-cluster", "--cache-bytes", "8388608", "--replicas", fmt.Sprint(replicas)},
	}
	for i, k := range kinds {
		rc.Disks[i+1] = rig.Disk{Kind: k}
		if k == rig.DiskLoop {
			rc.Disks[i+1] = rig.Disk{Kind: k, Size: scale * (256 << 20), Raft: scale * (128 << 20)}
		}
	}
	if r, err = rig.New(rc); err != nil {
		return nil, nil, nil, err
	}
	box, err = openMailbox(filepath.Join(cfg.dir, "mail"), cfg.mail, r.Outside())
	if err != nil {
		return nil, nil, nil, errors.Join(err, r.Close())
	}
	c = &crew{rig: r, tally: t, in: map[*host]bool{}, alarms: map[uint64]bool{}, flags: box.flags(), dir: cfg.dir}
	for i, h := range r.Hosts() {
		if err := snapshotOften(h); err != nil {
			return nil, nil, nil, errors.Join(err, box.close(), r.Close())
		}
		h := &host{Host: h, disk: kinds[i]}
		c.hosts = append(c.hosts, h)
		c.enlist(h, i < cfg.nodes)
	}
	if err := c.found(ctx, box); err != nil {
		return nil, nil, nil, errors.Join(err, box.close(), r.Close())
	}
	return r, box, c, nil
}

// snapshotOften makes a node snapshot every few seconds and keep few log entries, so
// that one that was away is sent a snapshot.
func snapshotOften(h *rig.Host) error {
	return errors.Join(h.SetNumber("snapshot-threshold", 400), h.SetNumber("snapshot-interval-ms", 3000), h.SetNumber("trailing-logs", 150))
}

// diskKinds has the seed choose what each host's disk can suffer: mostly being full
// or frozen, for one in three syncs that are slow, fail or hang.
func diskKinds(seed uint64, hosts int) []rig.DiskKind {
	kinds := make([]rig.DiskKind, hosts)
	for i := range kinds {
		kinds[i] = rig.DiskLoop
		if i%3 == 0 {
			kinds[i] = rig.DiskFUSE
		}
	}
	rand.New(rand.NewPCG(seed, 2)).Shuffle(hosts, func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	return kinds
}

// found starts the members.
func (c *crew) found(ctx context.Context, box *mailbox) error {
	for i, h := range c.members() {
		flags := c.joinFlags(h)
		if i == 0 {
			flags = append([]string{"--new-cluster"}, append(box.founderFlags(), c.flags...)...)
		}
		h.SetFlags(flags...)
		h.started = time.Now()
		if err := h.Start(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return c.waitHealthy(ctx)
}

// torture runs the clients and the schedule until it is time for the audit, and
// then that.
func torture(ctx context.Context, cfg config, c *crew, w *workload, box *mailbox) (err error) {
	begun := time.Now()
	first, err := c.term(ctx)
	if err != nil {
		return err
	}
	minding, stopMinding := context.WithCancel(ctx)
	clients, stopClients := context.WithCancel(ctx)
	work, stopWork := context.WithCancel(ctx)
	var g, crowd errgroup.Group
	g.Go(func() error { return c.mind(minding) })
	crowd.Go(func() error { return w.run(clients, work, cfg.seed) })
	defer func() {
		stopClients()
		stopWork()
		stopMinding()
		err = errors.Join(err, crowd.Wait(), g.Wait())
	}()
	plan := newPlanner(cfg.seed, cfg.long())
	for plan.no < cfg.from-1 {
		plan.next()
	}
	for ctx.Err() == nil && time.Since(begun) < cfg.duration-reserve {
		p := plan.next()
		c.tally.say("%v", p)
		pctx, cancel := context.WithDeadline(ctx, begun.Add(cfg.duration-reserve/2))
		c.run(pctx, p)
		cancel()
		// A cluster that is pushed to without a pause is hardly ever whole on slow machines.
		hold := time.AfterFunc(holdAfter, func() { w.held.Store(true) })
		healthy := c.heal(ctx, healLimit)
		hold.Stop()
		w.held.Store(false)
		if !healthy {
			break // whatever follows says nothing new
		}
	}
	stopClients()
	time.AfterFunc(25*time.Second, stopWork)
	if err := crowd.Wait(); err != nil {
		return err
	}
	c.heal(ctx, healLimit)
	c.tally.say("clients are done: %s", c.tally.group("pushes"))
	a, err := newAudit(ctx, w, c.places(), cfg.seed, replicas)
	if err != nil {
		return err
	}
	if err := a.run(ctx); err != nil {
		return err
	}
	if err := a.checkMail(ctx, box, 20*time.Second); err != nil {
		return err
	}
	last, err := c.term(ctx)
	c.tally.add("elections", "terms", int(last-first))
	return err
}

// term returns the raft term of now.
func (c *crew) term(ctx context.Context) (uint64, error) {
	st, err := c.members()[0].Status(ctx)
	return st.Term, err
}

// inspectLogs looks for what no node may ever log.
func (c *crew) inspectLogs() {
	nevers := []string{"DATA RACE", "fatal error:", "goroutine stack exceeds"}
	if !slices.ContainsFunc(c.hosts, func(h *host) bool { return h.flipped }) {
		nevers = append(nevers, "catalogs differ", "catalog-diverged")
	}
	for _, h := range c.hosts {
		text, _ := h.Log(0)
		for line := range strings.Lines(text) {
			for _, never := range nevers {
				if h.panics && strings.HasPrefix(line, "fatal error: fault") {
					continue // bbolt follows a damaged page number in a goroutine of its own: nobody can recover that
				}
				if strings.Contains(line, never) {
					c.tally.bug("log of %s: %s", h.Name, tail(line, 600))
				}
			}
			if strings.HasPrefix(line, "panic:") && !h.panics {
				c.tally.bug("log of %s: %s", h.Name, tail(line, 600))
			}
		}
	}
}
