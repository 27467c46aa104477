package ops

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"symkeep/agent"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

func clusterAlarms(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:   "alarms",
		Short: "list the alarms that stand",
		Long: "Lists the alarms that stand: what a node found that somebody has to act on. One that\n" +
			"ends by itself is taken back; the others stand until `symkeep cluster alarms clear`.",
		Example: "  symkeep cluster alarms --server http://symbols:8480\n" +
			"  symkeep cluster alarms --server http://symbols:8480 --json | jq -r .code",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := r.cluster(cmd.Context())
			if err != nil {
				return err
			}
			return r.printAlarms(env, v, v.Alarms, "no alarm stands")
		},
	}
	r.flags(c.Flags())
	return groupOr(c, alarmsClear(env))
}

// printAlarms prints one alarm per line of JSON, or for people all of them.
func (r *remote) printAlarms(env Env, v view, alarms []catalog.Alarm, none string) error {
	if r.json {
		for _, a := range alarms {
			if err := agent.WriteJSON(env.Stdout, a); err != nil {
				return err
			}
		}
		return nil
	}
	if len(alarms) == 0 {
		_, err := fmt.Fprintln(env.Stdout, none)
		return err
	}
	v.Alarms = alarms
	b := &strings.Builder{}
	writeAlarms(b, v)
	_, err := io.WriteString(env.Stdout, b.String())
	return err
}

func writeAlarms(w io.Writer, v view) {
	for _, a := range v.Alarms {
		since := ""
		if !a.At.IsZero() {
			since = " since " + stamp(a.At)
		}
		wrapped(w, "", fmt.Sprintf("alarm %s on %s%s: %s", a.Code, orDash(v.name(a.Node)), since, a.Text))
	}
}

func alarmsClear(env Env) *cobra.Command {
	var r remote
	var code string
	c := &cobra.Command{
		Use:   "clear [NODE]",
		Short: "end the alarms of a node, of a code, or all",
		Example: "  symkeep cluster alarms clear n3 --code bit-rot --server http://symbols:8480\n" +
			"  symkeep cluster alarms clear --server http://symbols:8480",
		Args: Args(0, 1, "at most one node name or id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := api.AlarmRequest{Code: catalog.AlarmCode(code)}
			before, err := r.cluster(cmd.Context())
			if err != nil {
				return err
			}
			// A node that is gone has alarms still, named by its id.
			if len(args) > 0 {
				req.Node = args[0]
				if n, err := before.node(args[0]); err == nil {
					req.Node = string(n.ID)
				}
			}
			matching := before.matching(req)
			if len(matching) == 0 && (req.Node != "" || req.Code != "") {
				return fmt.Errorf("no alarm matches: see `symkeep cluster alarms`")
			}
			err = r.do(cmd.Context(), func(ctx context.Context, c *api.Client) error { return c.ClearAlarms(ctx, req) })
			if err != nil {
				return err
			}
			if !r.json && len(matching) > 0 {
				fmt.Fprintf(env.Stdout, "cleared %s:\n", plural(len(matching), "alarm"))
			}
			return r.printAlarms(env, before, matching, "no alarm stands")
		},
	}
	r.flags(c.Flags())
	acceptYes(c)
	c.Flags().StringVar(&code, "code", "", "only alarms of this `CODE`, such as bit-rot")
	return c
}

func (v view) matching(req api.AlarmRequest) []catalog.Alarm {
	return slices.DeleteFunc(slices.Clone(v.Alarms), func(a catalog.Alarm) bool {
		return req.Node != "" && req.Node != string(a.Node) || req.Code != "" && req.Code != a.Code
	})
}
