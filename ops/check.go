package ops

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"symkeep/internal/api"
)

func clusterCheck(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:   "check",
		Short: "look for what would go wrong next; exit status 1 when something already is",
		Long: "Has every member look at itself and at its way to the others: quorum, clocks, disks and\n" +
			"how fast they are, ports, versions, the layout, and whether the catalogs agree. The exit\n" +
			"status is 1 when there is an error; warnings leave it 0.",
		Example: "  symkeep cluster check --server http://symbols:8480\n" +
			"  symkeep cluster check --server http://symbols:8480 --json | jq '.checks[] | select(.level != \"ok\")'",
		Args: Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var rep api.CheckReport
			err := r.do(cmd.Context(), func(ctx context.Context, c *api.Client) (err error) {
				rep, err = c.Check(ctx)
				return err
			})
			if err == nil {
				err = printer{env, r.json}.print(rep, func(w io.Writer) error { return writeCheck(w, rep) })
			}
			if err == nil && countLevel(rep, api.CheckError) > 0 {
				return &ExitError{Code: ExitFailure}
			}
			return err
		},
	}
	r.flags(c.Flags())
	return c
}

// writeCheck puts what is worst last, where a terminal shows it.
func writeCheck(w io.Writer, rep api.CheckReport) error {
	order := []string{api.CheckOK, api.CheckWarning, api.CheckError}
	checks := slices.Clone(rep.Checks)
	slices.SortStableFunc(checks, func(a, b api.CheckResult) int {
		return slices.Index(order, a.Level) - slices.Index(order, b.Level)
	})
	name, node := len("CHECK"), len("NODE")
	for _, c := range checks {
		name, node = max(name, len(c.Check)), max(node, len(orDash(c.Node)))
	}
	b := &strings.Builder{}
	line := func(level, check, on, text string) {
		wrapped(b, fmt.Sprintf("%-7s  %-*s  %-*s  ", level, name, oneLine(check), node, oneLine(on)), text)
	}
	line("LEVEL", "CHECK", "NODE", "FOUND")
	for _, c := range checks {
		text := c.Found
		if c.Do != "" {
			text += ": " + c.Do
		}
		line(c.Level, c.Check, orDash(c.Node), text)
	}
	fmt.Fprintf(b, "\n%s, %s, %s\n", plural(len(checks), "check"), plural(countLevel(rep, api.CheckWarning), "warning"), plural(countLevel(rep, api.CheckError), "error"))
	_, err := io.WriteString(w, b.String())
	return err
}

func countLevel(rep api.CheckReport, level string) int {
	n := 0
	for _, c := range rep.Checks {
		if c.Level == level {
			n++
		}
	}
	return n
}
