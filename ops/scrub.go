package ops

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"symkeep/internal/api"
)

func replScrub(env Env) *cobra.Command {
	var r remote
	var p patience
	var wait bool
	c := &cobra.Command{
		Use:   "scrub [NODE...]",
		Short: "verify every copy now, on the nodes named or on all",
		Long: "Makes nodes verify every copy they hold, beginning now. Damaged copies are put aside and\n" +
			"fetched again. With --wait the exit status is 1 when damage was found.",
		Example: "  symkeep cluster repl scrub --server http://symbols:8480\n" +
			"  symkeep cluster repl scrub n3 --wait --server http://symbols:8480",
		Args: Args(0, -1, "node names or ids"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.check(); err != nil {
				return err
			}
			before, err := r.repl(cmd.Context())
			if err != nil {
				return err
			}
			resp, err := r.setRepl(cmd.Context(), api.ReplRequest{Scrub: true, Nodes: args})
			if err != nil {
				return err
			}
			if !wait {
				return r.printRepl(env, resp)
			}
			return r.waitScrubbed(cmd.Context(), env, before, args, &p)
		},
	}
	r.flags(c.Flags())
	p.flag(c.Flags(), 0)
	acceptYes(c)
	c.Flags().BoolVar(&wait, "wait", false, "wait for the end of the round")
	return c
}

// waitScrubbed waits until each node has ended a round after the one it had ended
// before. It looks twice: a round that was under way when another was asked for ends
// first, and the other begins at once.
func (r *remote) waitScrubbed(ctx context.Context, env Env, before api.ReplResponse, names []string, p *patience) error {
	old := map[string]api.ScrubStatus{}
	for _, n := range before.Nodes {
		old[string(n.Node)] = n.Scrub
	}
	var now api.ReplResponse
	told, ended := "", 0
	err := p.wait(ctx, func(ctx context.Context) (bool, string, error) {
		resp, err := r.repl(ctx)
		if err != nil {
			return false, "", err
		}
		now = resp
		why := strings.Join(unscrubbed(resp, old, names), "; ")
		if why != told && why != "" {
			fmt.Fprintf(env.Stderr, "waiting: %s\n", oneLine(why))
			told = why
		}
		ended++
		if why != "" {
			ended = 0
		} else {
			why = "a round has ended, the one asked for may only begin"
		}
		return ended == 2, why, nil
	})
	if err != nil {
		return err
	}
	if err := r.printRepl(env, now); err != nil {
		return err
	}
	for _, n := range now.Nodes {
		if chosen(n, names) && n.Scrub.Damaged > old[string(n.Node)].Damaged {
			return &ExitError{Code: ExitFailure}
		}
	}
	return nil
}

func unscrubbed(resp api.ReplResponse, old map[string]api.ScrubStatus, names []string) []string {
	var why []string
	for _, n := range resp.Nodes {
		switch {
		case !chosen(n, names):
		case n.Err != "":
			why = append(why, fmt.Sprintf("%s does not answer: %s", n.Name, n.Err))
		case n.Scrub.Running || n.Scrub.FinishedMS <= old[string(n.Node)].FinishedMS:
			why = append(why, fmt.Sprintf("%s has verified %d of %d copies", n.Name, n.Scrub.Done, n.Scrub.Total))
		}
	}
	return why
}

func chosen(n api.ReplStatus, names []string) bool {
	return len(names) == 0 || slices.Contains(names, n.Name) || slices.Contains(names, string(n.Node))
}
