package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"symkeep/e2e/rig"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// A host is one machine of the rig, with what the harness wants of it.
type host struct {
	*rig.Host
	disk rig.DiskKind

	mu      sync.Mutex // one at a time starts, stops and damages it
	down    time.Time  // until then nobody starts it
	excused bool       // its process may have ended: it was killed, or its disk is bad
	points  []string   // armed
	sick    bool       // its disk misbehaves: the node may end itself
	damaged bool       // bits were flipped: it may have to be wiped
	rotten  bool       // bits of its blobs were flipped
	flipped bool       // bits of its log or catalog were flipped once: it may have diverged
	panics  bool       // its disk was bad once: it may have ended with a panic
	failed  int        // starts in a row after which it ended at once
	ended   int        // times that it ended itself with its damaged disk
	started time.Time
	read    int64 // how far its log was looked at
}

// restartDelay is how long a node is down that ended itself.
const restartDelay = 500 * time.Millisecond

// kill is kill -9, for so long.
func (h *host) kill(down time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down, h.excused = time.Now().Add(down), true
	return h.Host.Kill()
}

// with runs f while nobody else touches the host.
func (h *host) with(f func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return f()
}

// A crew is the hosts, and who looks after them: it starts nodes that are down
// again, as an init system does, and replaces disks that nothing can be made of.
type crew struct {
	rig   *rig.Rig
	hosts []*host
	tally *tally
	flags []string // of every node
	dir   string   // for evidence
	wires wires

	mu     sync.Mutex
	in     map[*host]bool  // belongs to the cluster, or is to
	alarms map[uint64]bool // that were counted, by index
}

// members returns the hosts of the cluster, in order.
func (c *crew) members() (out []*host) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hosts {
		if c.in[h] {
			out = append(out, h)
		}
	}
	return out
}

// enlist says whether a host belongs to the cluster from now on.
func (c *crew) enlist(h *host, in bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in[h] = in
}

// spares returns the others.
func (c *crew) spares() []*host {
	in := c.members()
	return slices.DeleteFunc(slices.Clone(c.hosts), func(h *host) bool { return slices.Contains(in, h) })
}

func (c *crew) urls() (us []string) {
	for _, h := range c.members() {
		us = append(us, h.URL())
	}
	return us
}

func (c *crew) places() (ps []place) {
	for _, h := range c.members() {
		ps = append(ps, place{h.Name, h.URL(), h.Peer()})
	}
	return ps
}

// joinFlags are those with which a host asks the others to take it in.
func (c *crew) joinFlags(h *host) []string {
	var addrs []string
	for _, o := range c.members() {
		if o != h {
			addrs = append(addrs, o.Gossip())
		}
	}
	return append([]string{"--join", strings.Join(addrs, ",")}, c.flags...)
}

// mind keeps the members' nodes running until ctx ends.
func (c *crew) mind(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	busy := make(chan struct{}, len(c.hosts))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, h := range c.members() {
			if h.mu.TryLock() {
				if !h.Running() && time.Now().After(h.down) {
					wg.Go(func() {
						busy <- struct{}{}
						defer func() { <-busy; h.mu.Unlock() }()
						c.revive(h)
					})
					continue
				}
				if h.failed > 0 && h.Running() && time.Since(h.started) > 5*time.Second {
					h.failed = 0
				}
				h.mu.Unlock()
			}
		}
	}
}

// revive starts a node that is down; its host is locked.
func (c *crew) revive(h *host) {
	h.points = slices.DeleteFunc(h.points, func(p string) bool {
		if h.Armed(p) {
			return false
		}
		c.tally.count("effects", "died at "+p)
		h.excused = true
		return true
	})
	excused := h.excused || h.sick || h.damaged
	if !excused && !h.started.IsZero() {
		text, _ := h.Log(h.read)
		c.tally.bug("%s ended by itself: %s", h.Name, tail(text, 1500))
	}
	if !h.excused && (h.sick || h.damaged) {
		c.tally.count("effects", "ended itself on a bad disk")
		if h.damaged {
			h.ended++
		}
	}
	if (h.failed >= 3 || h.ended >= 3) && h.damaged && !h.sick {
		c.replaceDisk(h)
	}
	_, h.read = h.Log(h.read)
	h.excused, h.started = false, time.Now()
	if err := h.Host.Start(); err != nil {
		h.failed++
		h.down = time.Now().Add(restartDelay * time.Duration(h.failed))
		if h.sick || h.damaged {
			h.excused = true
			return
		}
		c.tally.say("%s does not start: %v", h.Name, tail(err.Error(), 600))
		if h.failed > 20 {
			c.tally.bug("%s does not start, again and again: %v", h.Name, tail(err.Error(), 1500))
			h.down = time.Now().Add(time.Hour)
		}
	}
}

// replaceDisk is what a person does with a node that refuses its own data.
func (c *crew) replaceDisk(h *host) {
	c.tally.say("%s gets an empty disk for its damaged one", h.Name)
	c.tally.count("effects", "replaced a damaged disk")
	if err := h.Host.Wipe(); err != nil {
		c.tally.say("wipe of %s: %v", h.Name, err)
	}
	h.SetFlags(c.joinFlags(h)...)
	h.damaged, h.failed, h.ended = false, 0, 0
}

// heal ends every fault and waits until the cluster is healthy. It is a violation
// if that takes longer than the limit.
func (c *crew) heal(ctx context.Context, limit time.Duration) bool {
	if err := c.rig.Heal(); err != nil {
		c.tally.say("heal: %v", err)
	}
	for _, h := range c.hosts {
		h.mu.Lock()
		h.down = time.Time{}
		if h.Running() {
			h.Resume()
		}
		h.mu.Unlock()
	}
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := c.waitHealthy(ctx)
	if err == nil {
		err = c.repair(ctx)
	}
	took := time.Since(begun)
	if err != nil {
		c.tally.bug("not healthy %v after every fault ended: %v\n%s", took.Round(time.Millisecond), err, c.describe())
		return false
	}
	c.tally.say("healthy after %v", took.Round(time.Millisecond))
	for _, h := range c.hosts {
		h.with(func() error { h.sick, h.points = false, nil; return nil }) // not before: a node may end itself late
	}
	return true
}

// waitHealthy waits until every member runs and says that the cluster has all of
// them and is healthy. The error is the latest reason why not.
func (c *crew) waitHealthy(ctx context.Context) error {
	for {
		err := c.unhealthy(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond): // polling processes; nothing to wait on
		}
	}
}

func (c *crew) unhealthy(ctx context.Context) error {
	hosts := c.members()
	for _, h := range hosts {
		if !h.Running() {
			return fmt.Errorf("%s does not run", h.Name)
		}
		rctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		st, err := h.Status(rctx)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %v", h.Name, err)
		}
		for _, a := range st.Alarms {
			c.clear(ctx, h, st, a)
		}
		if !st.Healthy || len(st.Nodes) != len(hosts) {
			return fmt.Errorf("%s sees %d members of %d: %v", h.Name, len(st.Nodes), len(hosts), st.Reasons)
		}
	}
	return nil
}

// clear is what an operator does about an alarm once its cause is gone. That a node
// diverged is a violation, unless bits of its disk were flipped.
func (c *crew) clear(ctx context.Context, at *host, st api.ClusterStatus, a catalog.Alarm) {
	c.mu.Lock()
	known := c.alarms[a.Index]
	c.alarms[a.Index] = true
	c.mu.Unlock()
	if !known {
		c.tally.count("alarms", string(a.Code))
		for _, n := range st.Nodes {
			i := slices.IndexFunc(c.hosts, func(h *host) bool { return h.Name == n.Name })
			if a.Code == catalog.AlarmDiverged && n.ID == a.Node && i >= 0 && !c.hosts[i].flipped {
				c.tally.bug("alarm: %s", a.Text)
			}
		}
	}
	client, err := at.Client()
	if err != nil {
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := client.ClearAlarms(ctx, api.AlarmRequest{Node: string(a.Node), Code: a.Code}); err != nil {
		c.tally.say("alarm %s of %s is not cleared: %v", a.Code, a.Node, err)
	}
}

// describe tells what each node thinks of the cluster.
func (c *crew) describe() string {
	var b strings.Builder
	for _, h := range c.members() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		st, err := h.Status(ctx)
		cancel()
		fmt.Fprintf(&b, "  %s running %v: ", h.Name, h.Running())
		if err != nil {
			fmt.Fprintf(&b, "%v\n", err)
			continue
		}
		fmt.Fprintf(&b, "leader %s, term %d, reasons %q, alarms %v\n", st.Leader, st.Term, st.Reasons, st.Alarms)
		for _, n := range st.Nodes {
			fmt.Fprintf(&b, "    %s %s %s %s applied %d, missing %d, synced %v, queue %d, quarantined %d, orphans %d\n",
				n.Name, n.ID, n.Role, n.State, n.AppliedIndex, n.Missing, n.Synced, n.Queue, n.Quarantined, n.Orphans)
		}
	}
	for _, h := range c.members() {
		client, err := h.Client()
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if repl, err := client.Repl(ctx); err == nil {
			for _, n := range repl.Nodes {
				fmt.Fprintf(&b, "  repair at %s: queue %d, running %d, missing %d, errors %v %s\n", n.Name, n.Queue, n.Running, n.Missing, n.Errors, n.Err)
			}
		}
		cancel()
		client.Close()
		break
	}
	return b.String()
}
