package ops

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"symkeep/agent"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

func clusterRepl(env Env) *cobra.Command {
	c := Group("repl", "see and steer repair and scrub",
		replStatus(env),
		replPause(env, "pause", "stop repair everywhere; what a push or a reader waits for still moves", true),
		replPause(env, "resume", "let repair go on", false),
		replSetRate(env),
		replScrub(env))
	c.Long = "Repair brings copies to where they belong; scrub verifies the copies that are there."
	return c
}

func replStatus(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:   "status",
		Short: "show how repair and scrub are doing on each node",
		Long: "Shows for each node what repair has yet to do and how far the present round of scrub is.\n" +
			"PULLED counts since the start of the process; LAST ROUND is when scrub last ended one.",
		Example: "  symkeep cluster repl status --server http://symbols:8480",
		Args:    Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			resp, err := r.repl(cmd.Context())
			if err != nil {
				return err
			}
			return r.printRepl(env, resp)
		},
	}
	r.flags(c.Flags())
	return c
}

func (r *remote) repl(ctx context.Context) (resp api.ReplResponse, err error) {
	err = r.do(ctx, func(ctx context.Context, c *api.Client) (err error) {
		resp, err = c.Repl(ctx)
		return err
	})
	return resp, err
}

func (r *remote) setRepl(ctx context.Context, req api.ReplRequest) (resp api.ReplResponse, err error) {
	err = r.do(ctx, func(ctx context.Context, c *api.Client) (err error) {
		resp, err = c.SetRepl(ctx, req)
		return err
	})
	return resp, err
}

func (r *remote) printRepl(env Env, resp api.ReplResponse) error {
	return printer{env, r.json}.print(resp, func(w io.Writer) error { return writeRepl(w, resp) })
}

func replPause(env Env, verb, short string, paused bool) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:     verb,
		Short:   short,
		Example: "  symkeep cluster repl " + verb + " --server http://symbols:8480",
		Args:    Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			resp, err := r.setRepl(cmd.Context(), api.ReplRequest{Paused: &paused})
			if err != nil {
				return err
			}
			return r.printRepl(env, resp)
		},
	}
	r.flags(c.Flags())
	acceptYes(c)
	return c
}

func replSetRate(env Env) *cobra.Command {
	var r remote
	var repair, scrub sizeFlag
	var delay time.Duration
	c := &cobra.Command{
		Use:   "set-rate",
		Short: "limit repair and scrub, and say when the copies of a lost node are made again",
		Long: "Sets how many bytes per second each node may pull for repair and read for scrub, and how\n" +
			"long a member must be away before its copies are made again elsewhere. It holds for the\n" +
			"whole cluster at once; what is not named stays.",
		Example: "  symkeep cluster repl set-rate --repair 50MiB --scrub 10MiB --server http://symbols:8480\n" +
			"  symkeep cluster repl set-rate --repair 0 --delay 15m --server http://symbols:8480",
		Args: Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			req := api.ReplRequest{RepairRate: repair.n, ScrubRate: scrub.n}
			if cmd.Flags().Changed("delay") {
				if delay < 0 || delay > catalog.MaxRepairDelay {
					return Usage("--delay %s, wanted 0 to %s", delay, catalog.MaxRepairDelay)
				}
				ms := delay.Milliseconds()
				req.Delay = &ms
			}
			if req.RepairRate == nil && req.ScrubRate == nil && req.Delay == nil {
				return Usage("nothing to set: name --repair, --scrub or --delay")
			}
			resp, err := r.setRepl(cmd.Context(), req)
			if err != nil {
				return err
			}
			return r.printRepl(env, resp)
		},
	}
	r.flags(c.Flags())
	acceptYes(c)
	f := c.Flags()
	f.Var(&repair, "repair", "`BYTES` per second, such as 50MiB; 0 is no limit")
	f.Var(&scrub, "scrub", "`BYTES` per second, such as 10MiB; 0 leaves it to the node")
	f.DurationVar(&delay, "delay", 0, fmt.Sprintf("how long a member is waited for, such as 15m; 0 is the default, %s", span(catalog.DefaultRepairDelay)))
	return c
}

func writeRepl(w io.Writer, resp api.ReplResponse) error {
	rows := [][]string{{"NAME", "QUEUE", "RUNNING", "MISSING", "ORPHANS", "PULLED", "SCRUB", "LAST ROUND", "DAMAGED", "KEPT ASIDE"}}
	for _, n := range resp.Nodes {
		if n.Err != "" {
			rows = append(rows, []string{n.Name, "no answer"})
			continue
		}
		missing := strconv.Itoa(n.Missing)
		if n.MissBytes > 0 {
			missing += ", " + agent.Size(n.MissBytes)
		}
		scrub, last := "-", "-"
		if n.Scrub.Running {
			scrub = fmt.Sprintf("%d of %d", n.Scrub.Done, n.Scrub.Total)
		}
		if n.Scrub.FinishedMS > 0 {
			last = stamp(time.UnixMilli(n.Scrub.FinishedMS))
		}
		rows = append(rows, []string{n.Name, strconv.Itoa(n.Queue), strconv.Itoa(n.Running), missing, strconv.Itoa(n.Orphans),
			agent.Size(n.PulledBytes), scrub, last, strconv.FormatInt(n.Scrub.Damaged, 10), strconv.Itoa(n.Scrub.Quarantined)})
	}
	if err := table(w, rows); err != nil {
		return err
	}
	b := &strings.Builder{}
	fmt.Fprintln(b)
	for _, n := range resp.Nodes {
		if n.Err != "" {
			wrapped(b, "", fmt.Sprintf("%s: %s", n.Name, n.Err))
		}
		for _, digest := range byName(n.Errors) {
			wrapped(b, "", fmt.Sprintf("%s: blob %s: %s", n.Name, digest, n.Errors[digest]))
		}
	}
	state := "repair is on"
	if resp.Paused {
		state = "repair is PAUSED"
	}
	fmt.Fprintf(b, "%s; repair rate %s, scrub rate %s per node; copies of a lost node are made again after %s\n",
		state, limit(resp.RepairRate, "unlimited"), limit(resp.ScrubRate, "up to the node"), delayText(resp.Delay))
	_, err := io.WriteString(w, b.String())
	return err
}

func delayText(ms int64) string {
	return span(catalog.Settings{RepairDelay: ms}.RepairAfter())
}
