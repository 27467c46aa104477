package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"symkeep/e2e/rig"
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
		h.damaged, h.panics = true, true
	}
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
