package ops

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"symkeep/internal/api"
)

func clusterMaintenance(env Env) *cobra.Command {
	c := Group("maintenance", "announce that a member will be away for a while", maintenanceOn(env), maintenanceOff(env))
	c.Long = "Announces that a member will be away for a while, for an upgrade or new hardware: its\n" +
		"copies are not made again elsewhere meanwhile, and other members lead."
	return c
}

func maintenanceOn(env Env) *cobra.Command {
	var r remote
	length := time.Hour
	c := &cobra.Command{
		Use:     "on NODE",
		Short:   "begin the maintenance of a member",
		Example: "  symkeep cluster maintenance on n3 --for 30m --server http://symbols:8480",
		Args:    Args(1, 1, "one node name or id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if length < time.Second {
				return Usage("--for %s, wanted 1s or more", length)
			}
			done := fmt.Sprintf("%s is in maintenance for %s; `symkeep cluster maintenance off %s` ends it", args[0], span(length), args[0])
			return r.change(cmd.Context(), env, done, func(ctx context.Context, c *api.Client) error {
				return c.Maintenance(ctx, api.NodeRequest{Node: args[0], For: length.Milliseconds()})
			})
		},
	}
	r.flags(c.Flags())
	acceptYes(c)
	c.Flags().DurationVar(&length, "for", length, "how long; it ends by itself")
	return c
}

func maintenanceOff(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:     "off NODE",
		Short:   "end the maintenance of a member",
		Example: "  symkeep cluster maintenance off n3 --server http://symbols:8480",
		Args:    Args(1, 1, "one node name or id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.change(cmd.Context(), env, args[0]+" is not in maintenance any more", func(ctx context.Context, c *api.Client) error {
				return c.Maintenance(ctx, api.NodeRequest{Node: args[0], Undo: true})
			})
		},
	}
	r.flags(c.Flags())
	acceptYes(c)
	return c
}

func clusterTransferLeader(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:   "transfer-leader [NODE]",
		Short: "make another voter lead, or the one named",
		Example: "  symkeep cluster transfer-leader --server http://symbols:8480\n" +
			"  symkeep cluster transfer-leader n2 --server http://symbols:8480",
		Args: Args(0, 1, "at most one node name or id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var to string
			if len(args) > 0 {
				to = args[0]
			}
			err := r.do(cmd.Context(), func(ctx context.Context, c *api.Client) error {
				return c.TransferLeader(ctx, api.NodeRequest{Node: to})
			})
			if err != nil {
				return err
			}
			v, err := r.cluster(cmd.Context())
			if err != nil {
				return fmt.Errorf("leadership is handed over, but the state of the cluster is unknown: %w", err)
			}
			return r.tell(env, v, fmt.Sprintf("%s leads, term %d", orDash(v.name(v.Leader)), v.Term))
		},
	}
	r.flags(c.Flags())
	acceptYes(c)
	return c
}
