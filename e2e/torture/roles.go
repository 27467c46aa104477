package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// operateLimit is how long an operator tries the same command.
const operateLimit = 75 * time.Second

// injectMembers does what operators do, under load.
func (c *crew) injectMembers(ctx context.Context, f fault, h *host) error {
	switch f.kind {
	case readdress:
		return h.with(func() error {
			h.excused, h.down = true, time.Now().Add(f.lasts/4)
			if err := h.Host.Kill(); err != nil {
				return err
			}
			if err := h.Host.Readdress(); err != nil {
				return err
			}
			h.SetFlags(c.joinFlags(h)...)
			return nil
		})
	case roll:
		return c.roll(ctx)
	case transfer:
		return c.operate(ctx, func(ctx context.Context, at *api.Client) error {
			return at.TransferLeader(ctx, api.NodeRequest{Node: h.Name})
		})
	case joinSpare:
		return c.grow()
	case drainUndo:
		err := c.operate(ctx, func(ctx context.Context, at *api.Client) error {
			return at.ClusterDrain(ctx, api.NodeRequest{Node: h.Name})
		})
		if err != nil {
			return err
		}
		sleep(ctx, f.lasts)
		return c.undrain(ctx, h)
	case drainRemove, leaveAgain:
		return c.shrink(ctx, f, h)
	}
	return fmt.Errorf("no such fault: %q", f.kind)
}

// operate gives a command to one member after the other until one carries it out.
func (c *crew) operate(ctx context.Context, do func(context.Context, *api.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, operateLimit)
	defer cancel()
	for i := 0; ; i++ {
		ms := c.members()
		err := c.command(ctx, ms[i%len(ms)], do)
		if err == nil || errors.Is(err, catalog.ErrInvalid) || !sleep(ctx, 500*time.Millisecond) {
			return err
		}
	}
}

func (c *crew) command(ctx context.Context, at *host, do func(context.Context, *api.Client) error) error {
	client, err := at.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return do(ctx, client)
}

// roll stops and starts each node in turn, as an upgrade does.
func (c *crew) roll(ctx context.Context) error {
	for _, h := range c.members() {
		if err := h.with(func() error { return c.halt(h) }); err != nil {
			return err
		}
		if !sleep(ctx, 2500*time.Millisecond) {
			break
		}
	}
	return nil
}

// stopLimit is how long a node may take for a requested stop.
const stopLimit = 45 * time.Second

// halt stops a node; one that does not end says where its goroutines are, and is
// killed.
func (c *crew) halt(h *host) error {
	pid := h.PID()
	if pid == 0 {
		return nil
	}
	h.excused = true
	err := h.Stop(stopLimit)
	if err == nil || h.sick {
		return nil
	}
	if !h.Running() {
		c.tally.bug("%s did not stop well: %v", h.Name, err)
		return nil
	}
	_, at := h.Log(0)
	syscall.Kill(pid, syscall.SIGQUIT)
	h.Wait(5 * time.Second)
	text, _ := h.Log(at)
	dump := filepath.Join(c.dir, fmt.Sprintf("%s-%d.goroutines", h.Name, pid))
	c.tally.bug("%s does not stop within %v: %v; its goroutines are in %s %v", h.Name, stopLimit, err, dump,
		os.WriteFile(dump, []byte(text), 0o644))
	return h.Host.Kill()
}

// grow takes a spare host in.
func (c *crew) grow() error {
	spares := c.spares()
	if len(spares) == 0 {
		return errors.New("every host is a member")
	}
	h := spares[0]
	return h.with(func() error {
		if err := h.Host.Wipe(); err != nil {
			return err
		}
		h.SetFlags(c.joinFlags(h)...)
		h.started, h.failed = time.Time{}, 0
		c.enlist(h, true) // it is started by whoever minds the members
		return nil
	})
}

// grown waits until every member is known as one that holds its copies.
func (c *crew) grown(ctx context.Context) error {
	return c.operate(ctx, func(ctx context.Context, at *api.Client) error {
		st, err := at.Cluster(ctx)
		if err != nil {
			return err
		}
		synced := 0
		for _, n := range st.Nodes {
			if n.Synced {
				synced++
			}
		}
		if want := len(c.members()); synced != want {
			return fmt.Errorf("%d of %d members hold their copies: %w", synced, want, catalog.ErrUnavailable)
		}
		return nil
	})
}

// shrink takes a member out, once what it holds is held by others. It is called
// with more members than there are replicas, or first takes one in.
func (c *crew) shrink(ctx context.Context, f fault, h *host) error {
	if len(c.spares()) > 0 {
		if err := c.grow(); err != nil {
			return err
		}
		if err := c.grown(ctx); err != nil {
			return fmt.Errorf("grown before shrinking: %w", err)
		}
	}
	err := c.operate(ctx, func(ctx context.Context, at *api.Client) error {
		return at.ClusterDrain(ctx, api.NodeRequest{Node: h.Name})
	})
	if err == nil {
		err = c.drained(ctx, h)
	}
	if err == nil {
		err = c.takeOut(ctx, f, h)
	}
	if err != nil {
		return errors.Join(err, c.undrain(ctx, h))
	}
	return nil
}

func (c *crew) undrain(ctx context.Context, h *host) error {
	return c.operate(ctx, func(ctx context.Context, at *api.Client) error {
		return at.ClusterDrain(ctx, api.NodeRequest{Node: h.Name, Undo: true})
	})
}

// takeOut ends the membership of a host that nothing is needed of.
func (c *crew) takeOut(ctx context.Context, f fault, h *host) error {
	var err error
	h.with(func() error { h.excused = true; return nil }) // a node without a cluster may end itself
	if f.kind == leaveAgain {
		err = c.operate(ctx, func(ctx context.Context, _ *api.Client) error {
			return c.command(ctx, h, func(ctx context.Context, at *api.Client) error {
				err := at.ClusterLeave(ctx)
				if gone, _ := c.removed(ctx, h); gone {
					return nil
				}
				return err
			})
		})
	} else {
		err = c.operate(ctx, func(ctx context.Context, at *api.Client) error {
			err := at.ClusterRemove(ctx, api.NodeRequest{Node: h.Name, Force: true})
			if errors.Is(err, catalog.ErrNotFound) {
				return nil // an earlier attempt did it
			}
			return err
		})
	}
	if err != nil {
		return err
	}
	c.enlist(h, false)
	return h.with(h.Host.Kill)
}

// drained waits until nothing is needed of a member any more.
func (c *crew) drained(ctx context.Context, h *host) error {
	return c.operate(ctx, func(ctx context.Context, at *api.Client) error {
		st, err := at.Cluster(ctx)
		if err != nil {
			return err
		}
		for _, n := range st.Nodes {
			if n.Name == h.Name && (n.Drain == nil || !n.Drain.Finished) {
				return fmt.Errorf("%s is not drained: %+v: %w", h.Name, n.Drain, catalog.ErrUnavailable)
			}
		}
		return nil
	})
}

// removed reports whether the others no longer list a member.
func (c *crew) removed(ctx context.Context, h *host) (bool, error) {
	for _, o := range c.others(h) {
		st, err := o.Status(ctx)
		if err != nil || st.Leader == "" {
			continue
		}
		for _, n := range st.Nodes {
			if n.Name == h.Name {
				return false, nil
			}
		}
		return true, nil
	}
	return false, errors.New("nobody tells")
}
