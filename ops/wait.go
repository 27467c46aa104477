package ops

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"symkeep/internal/api"
)

func clusterWait(env Env) *cobra.Command {
	var r remote
	var g goal
	var p patience
	c := &cobra.Command{
		Use:   "wait",
		Short: "wait until the cluster is as wanted; exit status 4 when it does not get there",
		Long: "Waits until one of the servers says that the cluster is healthy, or as the flags want\n" +
			"it, and prints the state then. What is still lacking is told on standard error. Servers\n" +
			"that are down are waited for; after --timeout the exit status is 4.",
		Example: "  symkeep cluster wait --healthy --server http://symbols:8480\n" +
			"  symkeep cluster wait --healthy --nodes 3 --timeout 2m --server http://a:8480,http://b:8480\n" +
			"  symkeep cluster wait --leader --server http://symbols:8480",
		Args: Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.check(); err != nil {
				return err
			}
			if g.nodes < 0 {
				return Usage("--nodes %d, wanted 1 or more", g.nodes)
			}
			g.healthy = g.healthy || !g.leader && g.nodes == 0
			return r.wait(cmd.Context(), env, g, &p)
		},
	}
	r.flags(c.Flags())
	p.flag(c.Flags(), 5*time.Minute)
	f := c.Flags()
	f.BoolVar(&g.healthy, "healthy", false, "every member in its final role, every blob with all its copies; the default")
	f.BoolVar(&g.leader, "leader", false, "there is a leader")
	f.IntVar(&g.nodes, "nodes", 0, "there are `N` members, each of them alive; 0 for any number")
	return c
}

// A goal is what `cluster wait` waits for.
type goal struct {
	healthy, leader bool
	nodes           int
}

// lacks says what is not yet as wanted.
func (g goal) lacks(st api.ClusterStatus) []string {
	var why []string
	if g.leader && st.Leader == "" {
		why = append(why, "there is no leader")
	}
	if g.nodes > 0 {
		if len(st.Nodes) != g.nodes {
			why = append(why, fmt.Sprintf("%s, wanted %d", plural(len(st.Nodes), "member"), g.nodes))
		}
		for _, n := range st.Nodes {
			if !here(n) && !g.healthy { // else it is among the reasons
				why = append(why, fmt.Sprintf("node %s is %s", n.Name, n.State))
			}
		}
	}
	if g.healthy && !st.Healthy {
		why = append(why, st.Reasons...)
		if len(why) == 0 {
			why = append(why, "not healthy")
		}
	}
	return why
}

func (r *remote) wait(ctx context.Context, env Env, g goal, p *patience) error {
	var last view
	told := ""
	tell := func(text string) {
		if text != told {
			fmt.Fprintf(env.Stderr, "waiting: %s\n", oneLine(text))
			told = text
		}
	}
	err := p.wait(ctx, func(ctx context.Context) (bool, string, error) {
		v, why, err := r.nearest(ctx, g)
		switch {
		case err != nil:
			if ctx.Err() == nil && passing(err) {
				tell(err.Error())
			}
			return false, "", err
		case len(why) > 0:
			tell(strings.Join(why, "; "))
		}
		last = v
		return len(why) == 0, strings.Join(why, "; "), nil
	})
	if last.from == "" {
		return err
	}
	shown := printer{env, r.json}.print(last.ClusterStatus, func(w io.Writer) error { return writeStatus(w, last) })
	if err == nil {
		err = shown
	}
	return err
}

// nearest asks the servers until one says that the goal is reached; if none does,
// it returns what the first one said.
func (r *remote) nearest(ctx context.Context, g goal) (best view, why []string, err error) {
	err = r.try(ctx, viewTimeout, func(ctx context.Context, c *api.Client) (bool, error) {
		st, err := c.Cluster(ctx)
		if err != nil {
			return false, err
		}
		lacks := g.lacks(st)
		if best.from == "" || len(lacks) == 0 {
			best, why = view{st, c.Base()}, lacks
		}
		return len(lacks) == 0, nil
	})
	if best.from != "" && ctx.Err() == nil {
		err = nil
	}
	return best, why, err
}
