package ops

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"symkeep/agent"
	"symkeep/internal/api"
)

func clusterCommand(env Env) *cobra.Command {
	return Group("cluster", "show and change the cluster",
		clusterStatus(env), clusterJoin(env), clusterLeave(env), clusterRemove(env), clusterDrain(env))
}

func clusterStatus(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:   "status",
		Short: "show nodes and health",
		Example: "  symkeep cluster status --server http://symbols:8480\n" +
			"  symkeep cluster status --server http://symbols:8480 --json | jq .healthy",
		Args: Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := r.cluster(cmd.Context())
			if err != nil {
				return err
			}
			return printer{env, r.json}.print(st, func(w io.Writer) error { return writeStatus(w, st) })
		},
	}
	r.flags(c.Flags())
	return c
}

func (r *remote) cluster(ctx context.Context) (st api.ClusterStatus, err error) {
	err = r.do(ctx, func(ctx context.Context, c *api.Client) (err error) {
		st, err = c.Cluster(ctx)
		return err
	})
	return st, err
}

func writeStatus(w io.Writer, st api.ClusterStatus) error {
	rows := [][]string{{"NAME", "ROLE", "STATE", "LEADS", "ZONE", "HTTP", "VERSION", "APPLIED", "MISSING", "ID"}}
	for _, n := range st.Nodes {
		leads := "-"
		if n.ID == st.Leader {
			leads = "yes"
		}
		rows = append(rows, []string{n.Name, n.Role, n.State, leads, orDash(n.Zone), orDash(n.HTTPAddr), orDash(n.Version),
			strconv.FormatUint(n.AppliedIndex, 10), strconv.Itoa(n.Missing), string(n.ID)})
	}
	if err := table(w, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\ncluster %s, term %d, %d replicas; %d blobs, %d of them short of copies; %d mails waiting\n%s\n",
		st.ClusterID, st.Term, st.Replicas, st.Blobs, st.Under, st.MailQueue, agent.Clean(summary(st)))
	return err
}

// summary is one line on whether to worry.
func summary(st api.ClusterStatus) string {
	failures := fmt.Sprintf("tolerates %d failures", st.Tolerates)
	if st.Tolerates == 1 {
		failures = "tolerates 1 failure"
	}
	if st.Healthy {
		return "healthy: " + failures
	}
	why := "no reason given"
	if len(st.Reasons) > 0 {
		why = strings.Join(st.Reasons, "; ")
	}
	return "not healthy: " + why + "; " + failures
}

func clusterJoin(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:     "join ADDR[,ADDR]",
		Short:   "make a running fresh node join the cluster of these gossip addresses",
		Example: "  symkeep cluster join 10.0.0.1:8482,10.0.0.2:8482 --server http://new-node:8480",
		Args:    Args(1, -1, "gossip addresses"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.one("joins"); err != nil {
				return err
			}
			var addrs []string
			for _, a := range args {
				addrs = append(addrs, strings.FieldsFunc(a, func(r rune) bool { return r == ',' })...)
			}
			return r.change(cmd.Context(), env, func(ctx context.Context, c *api.Client) error {
				return c.ClusterJoin(ctx, api.ClusterJoinRequest{Addrs: addrs})
			})
		},
	}
	r.flags(c.Flags())
	return c
}

func clusterLeave(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:   "leave",
		Short: "make the node at --server leave its cluster for good",
		Long: "Makes the node at --server leave its cluster for good. It is refused while the node\n" +
			"holds the only copy of a blob or the others could not go on without it. The data\n" +
			"directory cannot be used again.",
		Example: "  symkeep cluster leave --server http://old-node:8480",
		Args:    Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.one("leaves"); err != nil {
				return err
			}
			// The node may be gone before it can tell how the cluster looks without it.
			err := r.do(cmd.Context(), func(ctx context.Context, c *api.Client) error { return c.ClusterLeave(ctx) })
			if err != nil {
				return err
			}
			return printer{env, r.json}.print(struct {
				Left string `json:"left"`
			}{r.servers[0]}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "the node at %s has left\n", r.servers[0])
				return err
			})
		},
	}
	r.flags(c.Flags())
	acceptYes(c)
	return c
}

func clusterRemove(env Env) *cobra.Command {
	var r remote
	var yes, force bool
	c := &cobra.Command{
		Use:     "remove NODE",
		Short:   "remove a member that will not come back, by name or id",
		Example: "  symkeep cluster remove n3 --server http://symbols:8480 --yes",
		Args:    Args(1, 1, "one node name or id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return r.planRemove(cmd.Context(), env, args[0])
			}
			return r.change(cmd.Context(), env, func(ctx context.Context, c *api.Client) error {
				return c.ClusterRemove(ctx, api.NodeRequest{Node: args[0], Force: force})
			})
		},
	}
	r.flags(c.Flags())
	yesFlag(c, &yes)
	c.Flags().BoolVar(&force, "force", false, "even if it is alive")
	return c
}

func (r *remote) planRemove(ctx context.Context, env Env, node string) error {
	st, err := r.cluster(ctx)
	if err != nil {
		return err
	}
	for _, n := range st.Nodes {
		if n.Name == node || string(n.ID) == node {
			fmt.Fprintf(env.Stderr, "would remove %s (%s, %s, %s) from cluster %s of %d nodes: the others make its copies again; it can only come back empty (%s)\n",
				agent.Clean(n.Name), n.ID, n.Role, n.State, st.ClusterID, len(st.Nodes), agent.Clean(summary(st)))
			return needYes()
		}
	}
	return fmt.Errorf("node %q: not a member of cluster %s: see `symkeep cluster status`", node, st.ClusterID)
}

func clusterDrain(env Env) *cobra.Command {
	var r remote
	var undo bool
	c := &cobra.Command{
		Use:     "drain NODE",
		Short:   "move a member's copies elsewhere before it is removed; --undo takes it back",
		Example: "  symkeep cluster drain n3 --server http://symbols:8480",
		Args:    Args(1, 1, "one node name or id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.change(cmd.Context(), env, func(ctx context.Context, c *api.Client) error {
				return c.ClusterDrain(ctx, api.NodeRequest{Node: args[0], Undo: undo})
			})
		},
	}
	r.flags(c.Flags())
	c.Flags().BoolVar(&undo, "undo", false, "take the member back")
	return c
}

// change asks for a change and prints the cluster as it is then.
func (r *remote) change(ctx context.Context, env Env, f func(context.Context, *api.Client) error) error {
	if err := r.do(ctx, f); err != nil {
		return err
	}
	st, err := r.cluster(ctx)
	if err != nil {
		return err
	}
	return printer{env, r.json}.print(st, func(w io.Writer) error { return writeStatus(w, st) })
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
