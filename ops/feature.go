package ops

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"symkeep/internal/api"
)

func clusterFeature(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:   "feature",
		Short: "show the feature level in use, and what the members understand",
		Long: "Shows the feature level: what the members may write into the log and the catalog. A\n" +
			"cluster that was upgraded works at its old level until somebody raises it.",
		Example: "  symkeep cluster feature --server http://symbols:8480",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.feature(cmd.Context(), env, func(ctx context.Context, c *api.Client) (api.FeatureStatus, error) { return c.Feature(ctx) })
		},
	}
	r.flags(c.Flags())
	return groupOr(c, featureRaise(env))
}

func featureRaise(env Env) *cobra.Command {
	var r remote
	var level int
	c := &cobra.Command{
		Use:   "raise",
		Short: "raise the feature level, after every node was upgraded",
		Long: "Raises the feature level by one, or to --level. It is refused while a member does not\n" +
			"understand that level, and cannot be taken back: older builds cannot join any more.",
		Example: "  symkeep cluster feature raise --server http://symbols:8480",
		Args:    Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if level < 0 {
				return Usage("--level %d, wanted 1 or more", level)
			}
			return r.feature(cmd.Context(), env, func(ctx context.Context, c *api.Client) (api.FeatureStatus, error) {
				return c.RaiseFeature(ctx, api.FeatureRequest{Level: level})
			})
		},
	}
	r.flags(c.Flags())
	acceptYes(c)
	c.Flags().IntVar(&level, "level", 0, "raise it to this level; 0 for the next")
	return c
}

func (r *remote) feature(ctx context.Context, env Env, ask func(context.Context, *api.Client) (api.FeatureStatus, error)) error {
	var st api.FeatureStatus
	err := r.do(ctx, func(ctx context.Context, c *api.Client) (err error) {
		st, err = ask(ctx, c)
		return err
	})
	if err != nil {
		return err
	}
	return printer{env, r.json}.print(st, func(w io.Writer) error { return writeFeature(w, st) })
}

func writeFeature(w io.Writer, st api.FeatureStatus) error {
	rows := [][]string{{"NAME", "UNDERSTANDS"}}
	for _, name := range byName(st.Nodes) {
		level := "did not answer"
		if st.Nodes[name] > 0 {
			level = "level " + strconv.Itoa(st.Nodes[name])
		}
		rows = append(rows, []string{name, level})
	}
	if err := table(w, rows); err != nil {
		return err
	}
	text := fmt.Sprintf("level %d is in use", st.Level)
	if st.Highest > st.Level {
		text += fmt.Sprintf("; every member understands level %d: `symkeep cluster feature raise`", st.Highest)
	}
	_, err := fmt.Fprintf(w, "\n%s\n", text)
	return err
}
