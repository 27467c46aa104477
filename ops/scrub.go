package ops

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

func replScrub(env Env) *cobra.Command {
	var r remote
	var p patience
	var wait bool
	c := &cobra.Command{
		Use:   "scrub [NODE...]",
		Short: "verify every copy now, on the nodes named or on all",
		Long: "Makes nodes verify every copy they hold, beginning now. Damaged copies are put aside and\n" +
			"fetched again. With --wait the exit status is 1 when damage was found. It is 1 also when a\n" +
			"node could not be told; the others verify their copies all the same.",
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
			asked := scrubbing(resp, args)
			if wait {
				err = r.waitScrubbed(cmd.Context(), env, before, asked, &p)
			} else {
				err = r.printRepl(env, resp)
			}
			if err == nil {
				err = unasked(resp)
			}
			return err
		},
	}
	r.flags(c.Flags())
	p.flag(c.Flags(), 0)
	acceptYes(c)
	c.Flags().BoolVar(&wait, "wait", false, "wait for the end of the round")
	return c
}

// scrubbing returns the ids of the nodes that were told to scrub.
func scrubbing(resp api.ReplResponse, names []string) map[catalog.NodeID]bool {
	asked := map[catalog.NodeID]bool{}
	for _, n := range resp.Nodes {
		named := len(names) == 0 || slices.Contains(names, n.Name) || slices.Contains(names, string(n.Node))
		asked[n.Node] = named && resp.Unasked[n.Name] == ""
	}
	return asked
}

// unasked is the error that names the nodes which could not be told to scrub, nil if
// there are none.
func unasked(resp api.ReplResponse) error {
	var why []string
	for _, name := range byName(resp.Unasked) {
		why = append(why, fmt.Sprintf("%s: %s", name, resp.Unasked[name]))
	}
	if len(why) == 0 {
		return nil
	}
	return &ExitError{ExitFailure, fmt.Errorf("not told to scrub: %s; the others do, ask these again once they are back", oneLine(strings.Join(why, "; ")))}
}

// waitScrubbed waits until each node that was told has ended the round it was told to
// make: one that was under way before ends first.
func (r *remote) waitScrubbed(ctx context.Context, env Env, before api.ReplResponse, asked map[catalog.NodeID]bool, p *patience) error {
	old := map[string]api.ScrubStatus{}
	for _, n := range before.Nodes {
		old[string(n.Node)] = n.Scrub
	}
	var now api.ReplResponse
	told := ""
	err := p.wait(ctx, func(ctx context.Context) (bool, string, error) {
		resp, err := r.repl(ctx)
		if err != nil {
			return false, "", err
		}
		now = resp
		why := strings.Join(unscrubbed(resp, old, asked), "; ")
		if why != told && why != "" {
			fmt.Fprintf(env.Stderr, "waiting: %s\n", oneLine(why))
			told = why
		}
		return why == "", why, nil
	})
	if err != nil {
		return err
	}
	if err := r.printRepl(env, now); err != nil {
		return err
	}
	for _, n := range now.Nodes {
		if asked[n.Node] && n.Scrub.Damaged > old[string(n.Node)].Damaged {
			return &ExitError{Code: ExitFailure}
		}
	}
	return nil
}

func unscrubbed(resp api.ReplResponse, old map[string]api.ScrubStatus, asked map[catalog.NodeID]bool) []string {
	var why []string
	for _, n := range resp.Nodes {
		switch {
		case !asked[n.Node]:
		case n.Err != "":
			why = append(why, fmt.Sprintf("%s does not answer: %s", n.Name, n.Err))
		case n.Scrub.Asked:
			why = append(why, fmt.Sprintf("%s has yet to begin", n.Name))
		case n.Scrub.Running || n.Scrub.FinishedMS == old[string(n.Node)].FinishedMS: // not a time before it: clocks are set back
			why = append(why, fmt.Sprintf("%s has verified %d of %d copies", n.Name, n.Scrub.Done, n.Scrub.Total))
		}
	}
	return why
}
