package ops

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"symkeep/agent"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

func clusterDrain(env Env) *cobra.Command {
	var r remote
	var p patience
	var undo, wait bool
	c := &cobra.Command{
		Use:   "drain NODE",
		Short: "move a member's copies elsewhere, before it is removed",
		Long: "Moves a member's copies to the others. It goes on serving until it is removed. With\n" +
			"--wait the progress is told until nothing on it is needed any more; an interrupt ends\n" +
			"the waiting, not the drain.",
		Example: "  symkeep cluster drain n3 --server http://symbols:8480\n" +
			"  symkeep cluster drain n3 --server http://symbols:8480 --wait --timeout 2h",
		Args: Args(1, 1, "one node name or id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.check(); err != nil {
				return err
			}
			if undo {
				return r.undrain(cmd.Context(), env, args[0])
			}
			return r.drain(cmd.Context(), env, args[0], wait, &p)
		},
	}
	r.flags(c.Flags())
	p.flag(c.Flags(), 0)
	acceptYes(c)
	c.Flags().BoolVar(&wait, "wait", false, "tell the progress until the member can be removed")
	c.Flags().BoolVar(&undo, "undo", false, "take the member back, like undrain")
	c.Flags().MarkHidden("undo")
	return c
}

func clusterUndrain(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:     "undrain NODE",
		Short:   "take a draining member back",
		Example: "  symkeep cluster undrain n3 --server http://symbols:8480",
		Args:    Args(1, 1, "one node name or id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.undrain(cmd.Context(), env, args[0])
		},
	}
	r.flags(c.Flags())
	acceptYes(c)
	return c
}

func (r *remote) undrain(ctx context.Context, env Env, node string) error {
	return r.change(ctx, env, fmt.Sprintf("%s is taken back: it gets its share of the copies again", node), func(ctx context.Context, c *api.Client) error {
		return c.ClusterDrain(ctx, api.NodeRequest{Node: node, Undo: true})
	})
}

func (r *remote) drain(ctx context.Context, env Env, node string, wait bool, p *patience) error {
	v, err := r.cluster(ctx)
	if err != nil {
		return err
	}
	n, err := v.node(node)
	if err != nil {
		return err
	}
	if n.State != "draining" {
		r.planDrain(ctx, env, n)
	}
	request := func(ctx context.Context, c *api.Client) error {
		return c.ClusterDrain(ctx, api.NodeRequest{Node: string(n.ID)})
	}
	if !wait {
		return r.change(ctx, env, fmt.Sprintf("%s is draining: `symkeep cluster drain %s --wait` tells how far it is", n.Name, n.Name), request)
	}
	if err := r.do(ctx, request); err != nil {
		return err
	}
	return r.waitDrained(ctx, env, n.ID, p)
}

// planDrain tells what a drain moves. Not to know is no reason to stop: nothing is
// lost by a drain.
func (r *remote) planDrain(ctx context.Context, env Env, n api.NodeStatus) {
	p, err := r.planLayout(ctx, api.LayoutRequest{Drain: []string{string(n.ID)}})
	if err == nil {
		plan(env, fmt.Sprintf("drain %s: the others make %s of %s; it serves on until it is removed",
			n.Name, plural(p.MoveBlobs, "copy"), agent.Size(p.MoveBytes)))
	}
}

// drainProgress is one line of JSON of drain --wait.
type drainProgress struct {
	Node catalog.NodeID `json:"node"`
	Name string         `json:"name"`
	api.DrainProgress
	Rate float64 `json:"copies_per_second,omitempty"` // needed copies made elsewhere, since the start
	ETA  int64   `json:"eta_ms,omitempty"`            // 0 when it is not known
}

// waitDrained tells the progress of a drain until the member can be removed.
func (r *remote) waitDrained(ctx context.Context, env Env, id catalog.NodeID, p *patience) error {
	begun, first, told := env.Now(), int64(-1), api.DrainProgress{Blobs: -1}
	return p.wait(ctx, func(ctx context.Context) (bool, string, error) {
		v, err := r.cluster(ctx)
		if err != nil {
			return false, "", err
		}
		n, err := v.node(string(id))
		switch {
		case err != nil:
			return false, "", err
		case n.Drain == nil && here(n) && n.State != "draining":
			return false, "", fmt.Errorf("%s is not draining any more: somebody took it back", n.Name)
		case n.Drain == nil:
			return false, n.Name + " has not said how far it is", nil
		}
		if first < 0 {
			first = n.Drain.Needed
		}
		now := drainProgress{Node: n.ID, Name: n.Name, DrainProgress: *n.Drain}
		now.estimate(first, env.Now().Sub(begun))
		if *n.Drain != told {
			told = *n.Drain
			if err := now.print(env, r.json); err != nil {
				return false, "", err
			}
		}
		return n.Drain.Finished, drainText(n.Name, *n.Drain), nil
	})
}

func (d *drainProgress) estimate(first int64, took time.Duration) {
	if made := first - d.Needed; made > 0 && took > 0 {
		d.Rate = float64(made) / took.Seconds()
		d.ETA = int64(float64(d.Needed) / d.Rate * 1000)
	}
}

// print tells the progress on standard error; the end of it is the result.
func (d *drainProgress) print(env Env, json bool) error {
	if json {
		return agent.WriteJSON(env.Stdout, d)
	}
	var w io.Writer = env.Stderr
	text := drainText(d.Name, d.DrainProgress)
	if d.Finished {
		w = env.Stdout
	} else if d.Rate > 0 {
		text += fmt.Sprintf("; %.1f/s, about %s left", d.Rate, spanMS(max(d.ETA, 1000)))
	}
	_, err := fmt.Fprintln(w, oneLine(text))
	return err
}

func drainText(name string, d api.DrainProgress) string {
	if d.Finished {
		return fmt.Sprintf("%s is drained, nothing on it is needed: `symkeep cluster remove %s --yes`, then stop it", name, name)
	}
	return fmt.Sprintf("%s is draining: %s (%s) still on it, %d of them needed", name, plural(d.Blobs, "copy"), agent.Size(d.Bytes), d.Needed)
}
