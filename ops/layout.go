package ops

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"symkeep/internal/api"
)

func clusterLayout(env Env) *cobra.Command {
	return Group("layout", "show and change where copies belong", layoutShow(env), layoutPlan(env), layoutApply(env))
}

func layoutShow(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:     "show",
		Short:   "show each member's weight and its share of the copies",
		Example: "  symkeep cluster layout show --server http://symbols:8480",
		Args:    Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var p api.LayoutPlan
			err := r.do(cmd.Context(), func(ctx context.Context, c *api.Client) (err error) {
				p, err = c.Layout(ctx)
				return err
			})
			if err != nil {
				return err
			}
			return printer{env, r.json}.print(p, func(w io.Writer) error { return writeLayout(w, p) })
		},
	}
	r.flags(c.Flags())
	return c
}

func layoutPlan(env Env) *cobra.Command {
	var r remote
	var ch layoutChange
	c := &cobra.Command{
		Use:   "plan",
		Short: "tell what a change would move, without changing anything",
		Long: "Tells each member's share before and after a change, and how many bytes it moves. Also\n" +
			"members that come, go or drain can be supposed. Nothing is changed: weights and the\n" +
			"number of replicas are applied by `symkeep cluster layout apply`, members by join, drain\n" +
			"and remove.",
		Example: "  symkeep cluster layout plan --weight n3=200 --server http://symbols:8480\n" +
			"  symkeep cluster layout plan --drain n1 --add n4:rack-b:150 --server http://symbols:8480\n" +
			"  symkeep cluster layout plan --replicas 2 --server http://symbols:8480",
		Args: Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := ch.request()
			if err != nil {
				return err
			}
			if ch.empty() {
				return Usage("nothing to plan: set --weight, --replicas, --drain, --remove or --add")
			}
			p, err := r.planLayout(cmd.Context(), req)
			if err != nil {
				return err
			}
			return printer{env, r.json}.print(p, func(w io.Writer) error {
				if err := writePlan(w, p); err != nil {
					return err
				}
				_, err := fmt.Fprintln(w, ch.next(p.Base))
				return err
			})
		},
	}
	r.flags(c.Flags())
	ch.flags(c.Flags())
	f := c.Flags()
	f.StringSliceVar(&ch.drain, "drain", nil, "suppose that `NODE` drains")
	f.StringSliceVar(&ch.remove, "remove", nil, "suppose that `NODE` is removed")
	f.StringSliceVar(&ch.add, "add", nil, "suppose that `NAME[:ZONE[:WEIGHT]]` joins")
	return c
}

func layoutApply(env Env) *cobra.Command {
	var r remote
	var ch layoutChange
	var yes bool
	var base uint64
	c := &cobra.Command{
		Use:   "apply",
		Short: "change weights or the number of replicas",
		Long: "Changes the weights of members or the number of replicas. Without --yes only the plan is\n" +
			"printed. With --base the change is refused unless the layout is still the one that was\n" +
			"planned on.",
		Example: "  symkeep cluster layout apply --weight n3=200 --server http://symbols:8480\n" +
			"  symkeep cluster layout apply --weight n3=200 --base 7 --server http://symbols:8480 --yes",
		Args: Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := ch.request()
			if err != nil {
				return err
			}
			if ch.empty() {
				return Usage("nothing to change: set --weight or --replicas")
			}
			return r.applyLayout(cmd.Context(), env, req, base, yes)
		},
	}
	r.flags(c.Flags())
	ch.flags(c.Flags())
	yesFlag(c, &yes)
	c.Flags().Uint64Var(&base, "base", 0, "`VERSION` of the layout that was planned on; 0 for the present one")
	return c
}

func (r *remote) planLayout(ctx context.Context, req api.LayoutRequest) (p api.LayoutPlan, err error) {
	err = r.do(ctx, func(ctx context.Context, c *api.Client) (err error) {
		p, err = c.PlanLayout(ctx, req)
		return err
	})
	return p, err
}

// applyLayout applies what was planned a moment ago, or on base: somebody else's
// change in between is not overrun.
func (r *remote) applyLayout(ctx context.Context, env Env, req api.LayoutRequest, base uint64, yes bool) error {
	p, err := r.planLayout(ctx, req)
	if err != nil {
		return err
	}
	if base != 0 && base != p.Base {
		return fmt.Errorf("the layout is version %d now, %d was planned on: look at `symkeep cluster layout plan` again", p.Base, base)
	}
	if !yes {
		err := printer{env, r.json}.print(p, func(w io.Writer) error { return writePlan(w, p) })
		if err == nil {
			err = needYes()
		}
		return err
	}
	req.Base = p.Base
	err = r.do(ctx, func(ctx context.Context, c *api.Client) (err error) {
		p, err = c.ApplyLayout(ctx, req)
		return err
	})
	if err != nil {
		return err
	}
	return printer{env, r.json}.print(p, func(w io.Writer) error {
		if err := writePlan(w, p); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "applied as layout %d; `symkeep cluster wait --healthy` waits for the copies\n", p.Base)
		return err
	})
}
