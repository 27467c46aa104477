package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"symkeep/agent"
	"symkeep/internal/api"
)

func clusterMembers(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:   "members",
		Short: "list the members with ids and addresses",
		Long: "Lists the committed members of the cluster. ADDRESS is the host with the ports for\n" +
			"HTTP, peers and gossip, FEATURE the highest level a node's build understands; - is a\n" +
			"node that does not answer.",
		Example: "  symkeep cluster members --server http://symbols:8480\n" +
			"  symkeep cluster members --server http://symbols:8480 --json | jq -r .gossip_addr",
		Args: Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := r.cluster(cmd.Context())
			if err != nil {
				return err
			}
			if !r.json {
				return writeMembers(env.Stdout, v)
			}
			for _, n := range v.Nodes {
				if err := agent.WriteJSON(env.Stdout, n); err != nil {
					return err
				}
			}
			return nil
		},
	}
	r.flags(c.Flags())
	return c
}

func writeMembers(w io.Writer, v view) error {
	rows := [][]string{{"NAME", "ID", "ZONE", "WEIGHT", "FEATURE", "JOINED", "ADDRESS"}}
	for _, n := range v.Nodes {
		feature, joined := "-", "-"
		if n.Feature > 0 {
			feature = strconv.Itoa(n.Feature)
		}
		if !n.JoinedAt.IsZero() {
			joined = n.JoinedAt.UTC().Format(time.DateOnly)
		}
		rows = append(rows, []string{n.Name, string(n.ID), short(orDash(n.Zone), 12), strconv.Itoa(n.Weight), feature, joined, addresses(n)})
	}
	return table(w, rows)
}

// addresses prints the three addresses of a node, shortened when the host is the
// same, as it nearly always is.
func addresses(n api.NodeStatus) string {
	host, ports := "", []string{}
	for _, addr := range []string{n.HTTPAddr, n.PeerAddr, n.GossipAddr} {
		h, p, err := net.SplitHostPort(addr)
		if err != nil || host != "" && h != host {
			return strings.Join([]string{orDash(n.HTTPAddr), orDash(n.PeerAddr), orDash(n.GossipAddr)}, " ")
		}
		host, ports = h, append(ports, p)
	}
	return net.JoinHostPort(host, strings.Join(ports, "/"))
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
			done := "the node has joined; it gets its copies and then its vote: `symkeep cluster wait --healthy` waits for that"
			return r.change(cmd.Context(), env, done, func(ctx context.Context, c *api.Client) error {
				return c.ClusterJoin(ctx, api.ClusterJoinRequest{Addrs: addrs})
			})
		},
	}
	r.flags(c.Flags())
	acceptYes(c)
	return c
}

func clusterLeave(env Env) *cobra.Command {
	var r remote
	var p patience
	c := &cobra.Command{
		Use:   "leave",
		Short: "make the node at --server leave its cluster for good",
		Long: "Makes the node at --server leave its cluster for good. If blobs would have too few\n" +
			"copies without it, it is drained first, which may take long: the progress is told, an\n" +
			"interrupt leaves it draining. The data directory cannot be used again.",
		Example: "  symkeep cluster leave --server http://old-node:8480",
		Args:    Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(r.one("leaves"), p.check()); err != nil {
				return err
			}
			if err := r.emptyForLeave(cmd.Context(), env, &p); err != nil {
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
	p.flag(c.Flags(), 0)
	acceptYes(c)
	return c
}

// emptyForLeave tells the plan, and drains the node if copies have to be made
// elsewhere first.
func (r *remote) emptyForLeave(ctx context.Context, env Env, p *patience) error {
	v, err := r.cluster(ctx)
	if err != nil {
		return err
	}
	plan(env, fmt.Sprintf("the node at %s leaves cluster %s of %s for good (%s)",
		v.from, v.ClusterID, plural(len(v.Nodes), "node"), summary(v.ClusterStatus)))
	n, err := v.node(string(v.AnsweredBy))
	if err != nil {
		return nil // whether it may leave is the cluster's to say
	}
	move, err := r.planLayout(ctx, api.LayoutRequest{Remove: []string{string(n.ID)}})
	if err != nil || move.MoveBlobs == 0 {
		return nil
	}
	return r.drain(ctx, env, string(n.ID), true, p)
}
