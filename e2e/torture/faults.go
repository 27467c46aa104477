package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/e2e/rig"
)

// run does the faults of a phase, each at its time, and returns when the last one
// is over, apart from what only healing ends.
func (c *crew) run(ctx context.Context, p phase) {
	var wg sync.WaitGroup
	for _, f := range p.faults {
		wg.Go(func() {
			if !sleep(ctx, f.at) {
				return
			}
			c.tally.count("faults", string(f.kind))
			if err := c.inject(ctx, f); err != nil && ctx.Err() == nil {
				c.tally.count("faults not done", string(f.kind))
				c.tally.say("%s: %v", f.kind, tail(err.Error(), 500))
			}
		})
	}
	wg.Wait()
}

// sleep is false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// inject does one fault and ends it after its time.
func (c *crew) inject(ctx context.Context, f fault) error {
	ms := c.members()
	h := ms[f.node%len(ms)]
	switch f.kind {
	case killLeader, pauseLead, cutLeader:
		if l := c.leader(ctx); l != nil {
			h = l
		}
	}
	switch f.kind {
	case killOne, killLeader, killMost, killAll, flap, killPoint, killEach, stopPoint, pause, pauseLead, clockJump:
		return c.injectProcess(ctx, f, h)
	case cutOne, cutLeader, cutPair, cutOneWay, halves, bridge, dropUDP, lose, limitRate, delay:
		return c.injectNetwork(ctx, f, h)
	case readdress, joinSpare, drainUndo, drainRemove, leaveAgain, roll, transfer:
		return c.injectMembers(ctx, f, h)
	}
	return c.injectDisk(ctx, f)
}

// leader returns the host that leads now, nil when nobody says.
func (c *crew) leader(ctx context.Context) *host {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	l, err := c.rig.Leader(ctx)
	if err != nil {
		return nil
	}
	i := slices.IndexFunc(c.hosts, func(h *host) bool { return h.Host == l })
	return c.hosts[i]
}

// others returns the members but one, beginning behind it.
func (c *crew) others(h *host) []*host {
	ms := c.members()
	i := slices.Index(ms, h)
	return append(slices.Clone(ms[i+1:]), ms[:max(i, 0)]...)
}

func (c *crew) injectProcess(ctx context.Context, f fault, h *host) error {
	switch f.kind {
	case killOne, killLeader:
		return h.kill(f.lasts)
	case killMost:
		for _, o := range c.others(h) {
			if err := o.kill(f.lasts); err != nil {
				return err
			}
		}
	case killAll:
		for i, o := range append(c.others(h), h) {
			if err := o.kill(f.lasts/2 + time.Duration(i*f.amount)*time.Millisecond); err != nil {
				return err
			}
		}
	case flap:
		for range 4 {
			if err := h.kill(200 * time.Millisecond); err != nil || !sleep(ctx, f.lasts/4+300*time.Millisecond) {
				return err
			}
		}
	case killPoint, stopPoint:
		return c.injectPoint(ctx, f, h)
	case killEach:
		var g errgroup.Group
		for _, o := range c.members() {
			g.Go(func() error { return c.injectPoint(ctx, f, o) })
		}
		return g.Wait()
	case pause, pauseLead:
		if err := h.with(h.Pause); err != nil {
			return err
		}
		sleep(ctx, f.lasts)
		return h.Resume() // also while somebody waits for it to stop
	case clockJump:
		off := time.Duration(f.amount-500) * 20 * time.Second // up to nearly three hours
		if err := h.SetClock(off); err != nil {
			return err
		}
		sleep(ctx, f.lasts)
		return h.SetClock(0)
	}
	return nil
}

// injectPoint arms a point of a member, at which it dies or stops.
func (c *crew) injectPoint(ctx context.Context, f fault, h *host) error {
	arm := (*rig.Host).ArmKill
	if f.kind == stopPoint {
		arm = (*rig.Host).ArmStop
	}
	err := h.with(func() error {
		if f.kind != stopPoint {
			h.points = append(h.points, f.point)
		}
		return arm(h.Host, f.point)
	})
	if err != nil {
		return err
	}
	for begun := time.Now(); time.Since(begun) < f.lasts+2*time.Second && h.Armed(f.point); {
		if !sleep(ctx, 50*time.Millisecond) {
			break
		}
	}
	if h.Armed(f.point) {
		return h.with(func() error {
			c.tally.count("effects", "did not come to "+f.point)
			h.points = nil // those of other faults are taken back too
			return h.Disarm()
		})
	}
	if f.kind == stopPoint {
		c.tally.count("effects", "stopped at "+f.point)
		sleep(ctx, f.lasts)
		return h.Resume()
	}
	return nil
}

// injectNetwork does one fault of the network and ends it.
func (c *crew) injectNetwork(ctx context.Context, f fault, h *host) error {
	rest := c.others(h)
	err := c.wires.add(f, func() error { return c.disturb(f, h, rest) })
	sleep(ctx, f.lasts)
	return errors.Join(err, c.wires.end(c.rig.Net, f))
}

// disturb puts a fault of the network in force.
func (c *crew) disturb(f fault, h *host, rest []*host) error {
	net, other := c.rig.Net, rest[f.other%len(rest)]
	switch f.kind {
	case cutOne, cutLeader:
		return net.Cut(h.Host)
	case cutPair:
		return net.CutPair(h.Host, other.Host)
	case cutOneWay:
		return net.CutOneWay(h.Host, other.Host)
	case halves:
		k := 1 + f.other%len(rest)
		return net.Partition(machines(append([]*host{h}, rest[k:]...)), machines(rest[:k]))
	case bridge:
		k := 1 + f.other%max(1, len(rest)-1)
		return net.Partition(machines(rest[:k]), machines(rest[k:]))
	case dropUDP:
		return net.DropUDP(machines(append([]*host{h}, rest[:f.other%len(rest)]...))...)
	case lose:
		return net.Lose(0.02+float64(f.amount)/4000, h.Host, other.Host)
	case limitRate:
		return net.Limit(int64(20_000+f.amount*400), h.Host)
	case delay:
		return net.Delay(time.Duration(5+f.amount/4)*time.Millisecond, h.Host, other.Host)
	}
	return fmt.Errorf("no such fault: %q", f.kind)
}

// wires are the faults of the network in force. The network heals as a whole, so
// the end of one means that the others are made again.
type wires struct {
	mu    sync.Mutex
	force []wire
}

type wire struct {
	fault   fault
	disturb func() error
}

func (w *wires) add(f fault, disturb func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.force = append(w.force, wire{f, disturb})
	return disturb()
}

func (w *wires) end(net *rig.Network, f fault) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.force = slices.DeleteFunc(w.force, func(x wire) bool { return x.fault == f })
	err := net.Heal()
	for _, x := range w.force {
		err = errors.Join(err, x.disturb())
	}
	return err
}

func machines(hosts []*host) (out []*rig.Host) {
	for _, h := range hosts {
		out = append(out, h.Host)
	}
	return out
}
