package ops

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"symkeep/internal/catalog"
	"symkeep/internal/validate"
)

func findingsCommand(env Env) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "findings [CODE]",
		Short: "list what can be found in a package, or explain one code",
		Long: "Lists the codes of findings with their severity and what each means, or explains one:\n" +
			"what to do about it, and whether a policy may allow it. It is the table that this\n" +
			"program judges by; no server is asked.",
		Example: "  symkeep findings\n  symkeep findings PDB-FASTLINK\n  symkeep findings --json | jq -r .code",
		Args:    Args(0, 1, "one CODE or none"),
		RunE: func(_ *cobra.Command, args []string) error {
			p, checks := printer{env, asJSON}, validate.Checks()
			if len(args) == 0 {
				return p.printChecks(checks)
			}
			for _, c := range checks {
				if strings.EqualFold(c.Code, args[0]) {
					return p.print(c, func(w io.Writer) error { return explain(w, c) })
				}
			}
			return Usage("%q is no code of a finding, `symkeep findings` lists them", args[0])
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, one object per line")
	return c
}

func (p printer) printChecks(checks []catalog.Check) error {
	rows := [][]string{{"CODE", "SEVERITY", "WHAT IS WRONG"}}
	for _, c := range checks {
		if p.json {
			if err := p.print(c, nil); err != nil {
				return err
			}
		}
		rows = append(rows, []string{c.Code, string(c.Severity), c.Summary})
	}
	if p.json {
		return nil
	}
	return table(p.env.Stdout, rows)
}

func explain(w io.Writer, c catalog.Check) error {
	policy := "may be allowed and denied"
	switch {
	case c.Fixed != "":
		policy = "cannot be allowed: " + c.Fixed
	case validate.CheckPolicy(catalog.Policy{Deny: []string{c.Code}}) != nil:
		policy = "none: it is no check"
	}
	rows := [][]string{{"code", c.Code}, {"severity", string(c.Severity)}, {"format", c.Format}, {"found", c.Summary}}
	if c.Advice != "" {
		rows = append(rows, []string{"what to do", c.Advice})
	}
	return table(w, append(rows, []string{"policy", policy}))
}
