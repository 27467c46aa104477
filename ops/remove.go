package ops

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"symkeep/agent"
	"symkeep/internal/api"
)

func clusterRemove(env Env) *cobra.Command {
	var r remote
	var yes, force bool
	c := &cobra.Command{
		Use:   "remove NODE",
		Short: "remove a member that will not come back, by name or id",
		Long: "Removes a member that will not come back, or one that was drained. Without --yes only\n" +
			"the plan is printed: what is lost, what is copied, and who votes then. A member that\n" +
			"is alive and a member that holds the only copy of a blob are refused without --force.",
		Example: "  symkeep cluster remove n3 --server http://symbols:8480\n" +
			"  symkeep cluster remove n3 --server http://symbols:8480 --yes",
		Args: Args(1, 1, "one node name or id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := r.planRemove(cmd.Context(), env, args[0])
			if err != nil {
				return err
			}
			if !yes {
				return needYes()
			}
			return r.change(cmd.Context(), env, fmt.Sprintf("%s is removed", n.Name), func(ctx context.Context, c *api.Client) error {
				return c.ClusterRemove(ctx, api.NodeRequest{Node: string(n.ID), Force: force})
			})
		},
	}
	r.flags(c.Flags())
	yesFlag(c, &yes)
	c.Flags().BoolVar(&force, "force", false, "even if it is alive, and even if blobs are lost with it")
	return c
}

// planRemove tells what goes with a member.
func (r *remote) planRemove(ctx context.Context, env Env, node string) (api.NodeStatus, error) {
	v, err := r.cluster(ctx)
	if err != nil {
		return api.NodeStatus{}, err
	}
	n, err := v.node(node)
	if err != nil {
		return n, err
	}
	lines := []string{fmt.Sprintf("remove %s (%s, %s, %s%s) from cluster %s of %s",
		n.Name, n.ID, n.Role, n.State, heard(n), v.ClusterID, plural(len(v.Nodes), "node"))}
	p, err := r.planLayout(ctx, api.LayoutRequest{Remove: []string{string(n.ID)}})
	if ctx.Err() != nil {
		return n, ctx.Err()
	}
	lines = append(lines, lossText(p, err), votesText(v, n), "it can come back only with an empty data directory; "+summary(v.ClusterStatus))
	plan(env, lines...)
	return n, nil
}

func heard(n api.NodeStatus) string {
	switch {
	case n.LastContact < 0:
		return ", not heard of"
	case n.LastContact < 1000:
		return ""
	}
	return fmt.Sprintf(", heard of %s ago", spanMS(n.LastContact))
}

// lossText says what is lost with the members of a plan, and what is copied.
func lossText(p api.LayoutPlan, err error) string {
	switch {
	case err != nil:
		return fmt.Sprintf("what is lost with it is unknown: %v", err)
	case p.LostBlobs > 0:
		return fmt.Sprintf("LOST with it: %s of which it has the only copy; drain it first if it can still be reached; the others make %s of copies again",
			plural(p.LostBlobs, "blob"), agent.Size(p.MoveBytes))
	}
	return fmt.Sprintf("nothing is lost: every blob on it is on another node as well; the others make %s of copies again", agent.Size(p.MoveBytes))
}

// votesText says who decides without a member.
func votesText(v view, gone api.NodeStatus) string {
	voters, alive := 0, 0
	for _, n := range v.Nodes {
		if n.Role != "voter" || n.ID == gone.ID {
			continue
		}
		voters++
		if here(n) {
			alive++
		}
	}
	text := fmt.Sprintf("of the other %s %d vote, %d of them alive", plural(len(v.Nodes)-1, "node"), voters, alive)
	if alive < voters/2+1 {
		text += ": too few to decide anything, also its removal"
	}
	return text
}
