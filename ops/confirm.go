package ops

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

func yesFlag(c *cobra.Command, yes *bool) {
	c.Flags().BoolVar(yes, "yes", false, "do it; without it, only the plan is printed")
}

// acceptYes takes --yes where it is not needed, because nothing is lost: scripts
// may say it everywhere.
func acceptYes(c *cobra.Command) {
	c.Flags().Bool("yes", false, "accepted, not needed")
	c.Flags().MarkHidden("yes")
}

// needYes ends a command that printed its plan.
func needYes() error { return Usage("nothing was changed: repeat with --yes to do it") }

func sorted(m map[string]string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
