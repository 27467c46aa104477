package ops

import (
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"symkeep/agent"
)

// An Env is what commands need of their surroundings.
type Env struct {
	Stdout io.Writer
	Stderr io.Writer
	User   string           // who deletes, for the record; may be empty
	Now    func() time.Time // for rates and estimates

	Offline Offline
}

// Commands returns the top-level commands of this package.
func Commands(env Env) []*cobra.Command {
	return []*cobra.Command{
		packageCommand(env),
		findCommand(env),
		findingsCommand(env),
		clusterCommand(env),
		backupCommand(env),
		fsckCommand(env),
	}
}

// Group makes a command that only has others below it. Called without one of
// them it is a usage error.
func Group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: needSubcommand, SuggestionsMinimumDistance: 2,
		DisableFlagsInUseLine: true,
	}
	c.AddCommand(subs...)
	return c
}

// groupOr makes a command that does something by itself and has others below it.
func groupOr(alone *cobra.Command, subs ...*cobra.Command) *cobra.Command {
	run := alone.RunE
	alone.Args, alone.SuggestionsMinimumDistance = cobra.ArbitraryArgs, 2
	alone.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return needSubcommand(cmd, args)
		}
		return run(cmd, args)
	}
	alone.AddCommand(subs...)
	return alone
}

func needSubcommand(cmd *cobra.Command, args []string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	all := strings.Join(names, ", ")
	if len(args) == 0 {
		return Usage("no command given, wanted one of %s", all)
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return Usage("unknown command %q, did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return Usage("unknown command %q, wanted one of %s", args[0], all)
}

// Args makes a check of the number of arguments; max -1 means any number.
func Args(min, max int, names string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < min || max >= 0 && len(args) > max {
			if max == 0 {
				return Usage("unexpected argument %q", args[0])
			}
			return Usage("%d arguments, wanted %s", len(args), names)
		}
		return nil
	}
}

// A printer writes answers as JSON lines or for people.
type printer struct {
	env  Env
	json bool
}

// print writes v as JSON, or else calls text.
func (p printer) print(v any, text func(w io.Writer) error) error {
	if p.json {
		return agent.WriteJSON(p.env.Stdout, v)
	}
	return text(p.env.Stdout)
}

// table writes rows in columns; the first row is the head.
func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		cells := make([]string, len(r))
		for i, cell := range r {
			cells[i] = oneLine(cell)
		}
		line := strings.Join(cells, "\t")
		io.WriteString(t, strings.TrimRight(line, "\t ")+"\n")
	}
	return t.Flush()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
