package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"symkeep/e2e/rig"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// injectDisk breaks the disk of one member: what two copies are kept for.
func (c *crew) injectDisk(ctx context.Context, f fault) error {
	need := rig.DiskKind(-1)
	switch f.kind {
	case fullBlobs, fullRaft, freeze:
		need = rig.DiskLoop
	case slowSync, failSync, hangSync:
		need = rig.DiskFUSE
	}
	var fit []*host
	for _, h := range c.members() {
		if need < 0 || h.disk == need {
			fit = append(fit, h)
		}
	}
	if len(fit) == 0 {
		return errors.New("no member has such a disk")
	}
	h := fit[f.node%len(fit)]
	switch f.kind {
	case fullBlobs, fullRaft, freeze:
		return c.injectLoop(ctx, f, h)
	case slowSync, failSync, hangSync:
		return c.injectSick(ctx, f, h)
	case wipe:
		return h.with(func() error {
			h.excused, h.down = true, time.Now().Add(f.lasts/2)
			if err := h.Host.Kill(); err != nil {
				return err
			}
			h.SetFlags(c.joinFlags(h)...)
			return h.Host.Wipe()
		})
	}
	return c.injectFlip(ctx, f, h)
}

func (c *crew) injectLoop(ctx context.Context, f fault, h *host) error {
	volume := rig.Data
	if f.kind == fullRaft {
		volume = rig.Raft
	}
	h.with(func() error { h.sick, h.panics = true, true; return nil })
	if f.kind == freeze {
		if f.amount%2 == 0 {
			volume = rig.Raft
		}
		if err := h.Freeze(volume); err != nil {
			return err
		}
		sleep(ctx, f.lasts)
		return h.Thaw(volume)
	}
	left := int64(f.amount) << 9 // up to 500 KB
	if err := h.Fill(volume, left); err != nil {
		return err
	}
	sleep(ctx, f.lasts+3*time.Second)
	return h.Free(volume)
}

func (c *crew) injectSick(ctx context.Context, f fault, h *host) error {
	h.with(func() error { h.sick, h.panics = true, true; return nil })
	s := rig.Sickness{}
	switch f.kind {
	case slowSync:
		s.SlowSync = 200*time.Millisecond + time.Duration(f.amount)*time.Millisecond
	case failSync:
		s.FailSync, s.FailWrite = true, f.amount%3 == 0
	case hangSync:
		s.HangSync = true
	}
	s.Only = []string{"", "", "raft", "blobs", "fsm.db"}[f.other%5]
	if err := h.Sicken(s); err != nil {
		return err
	}
	sleep(ctx, f.lasts+2*time.Second)
	return h.Sicken(rig.Sickness{})
}

// injectFlip flips bits. Those of the blobs it flips under the running node, the
// others while the node is down.
func (c *crew) injectFlip(_ context.Context, f fault, h *host) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.kind != flipBlob {
		h.excused, h.down = true, time.Now().Add(f.lasts/4)
		if err := h.Host.Kill(); err != nil {
			return err
		}
		h.damaged, h.flipped, h.panics = true, true, true
	}
	h.rotten = f.kind == flipBlob
	flip := map[kind]func() (rig.Damage, error){
		flipBlob: h.FlipBlob, flipRaft: h.FlipRaft, flipFSM: h.FlipFSM, flipSnapshot: h.FlipSnapshot,
	}[f.kind]
	for range 1 + f.amount%4 {
		d, err := flip()
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("nothing to damage: %w", err)
		}
		if err != nil {
			return err
		}
		c.tally.say("%s: bit %d at %d of %s flipped", h.Name, d.Bit, d.Offset, d.Path)
	}
	return nil
}

// repair is what a person does with disks that were damaged, once the cluster is
// healthy otherwise: blobs are scrubbed, and a node whose log or catalog was damaged
// and that runs all the same gets an empty disk, before another node is damaged.
func (c *crew) repair(ctx context.Context) error {
	for _, h := range c.members() {
		var rotten, damaged bool
		h.with(func() error {
			rotten, damaged, h.rotten = h.rotten, h.damaged, false
			return nil
		})
		switch {
		case rotten:
			if err := c.scrub(ctx, h); err != nil {
				return fmt.Errorf("scrub of %s: %w", h.Name, err)
			}
		case damaged:
			c.tally.count("effects", "ran on with a damaged disk")
			err := h.with(func() error {
				h.excused = true
				if err := h.Host.Kill(); err != nil {
					return err
				}
				c.replaceDisk(h)
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return c.waitHealthy(ctx)
}

// scrub has a node verify all its copies, and waits for the end of that.
func (c *crew) scrub(ctx context.Context, h *host) error {
	before := int64(-1)
	return c.operate(ctx, func(ctx context.Context, at *api.Client) error {
		if before < 0 {
			r, err := at.SetRepl(ctx, api.ReplRequest{Scrub: true, Nodes: []string{h.Name}})
			if err != nil {
				return err
			}
			before = 0
			for _, n := range r.Nodes {
				if n.Name == h.Name {
					before = n.Scrub.FinishedMS
				}
			}
		}
		r, err := at.Repl(ctx)
		if err != nil {
			return err
		}
		for _, n := range r.Nodes {
			if n.Name == h.Name && n.Scrub.FinishedMS > before && !n.Scrub.Running {
				c.tally.add("effects", "damaged copies found", int(n.Scrub.Damaged))
				return nil
			}
		}
		return fmt.Errorf("a round of %s is under way: %+v: %w", h.Name, r.Nodes, catalog.ErrUnavailable)
	})
}
