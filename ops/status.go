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
)

func clusterStatus(env Env) *cobra.Command {
	var r remote
	var watch bool
	every := 2 * time.Second
	c := &cobra.Command{
		Use:   "status",
		Short: "show nodes and health; exit status 1 when it is not healthy",
		Long: "Shows the nodes of the cluster, its alarms and the copies under way, and in the last\n" +
			"line whether it is healthy, why not, and how many nodes may fail now. The exit status\n" +
			"is 1 when it is not healthy.\n\n" +
			"LAG is how many entries of the log a node is behind, SEEN when it was last heard of,\n" +
			"MISSING what it should hold and does not, QUEUE what it has yet to look after.",
		Example: "  symkeep cluster status --server http://symbols:8480\n" +
			"  symkeep cluster status --server http://a:8480,http://b:8480 --watch\n" +
			"  symkeep cluster status --server http://symbols:8480 --json | jq .healthy",
		Args: Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < 100*time.Millisecond {
				return Usage("--every %s, wanted 100ms or more", every)
			}
			if watch {
				return r.watch(cmd.Context(), env, every)
			}
			v, err := r.cluster(cmd.Context())
			if err != nil {
				return err
			}
			err = printer{env, r.json}.print(v.ClusterStatus, func(w io.Writer) error { return writeStatus(w, v) })
			if err == nil && !v.Healthy {
				return &ExitError{Code: ExitFailure}
			}
			return err
		},
	}
	r.flags(c.Flags())
	c.Flags().BoolVar(&watch, "watch", false, "print it again and again until interrupted; the exit status is 0 then")
	c.Flags().DurationVar(&every, "every", every, "how often with --watch")
	return c
}

// watch prints the state again and again. Failures are told and do not end it.
func (r *remote) watch(ctx context.Context, env Env, every time.Duration) error {
	if _, err := Dial(r.servers); err != nil {
		return err
	}
	for {
		v, err := r.cluster(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !passing(err):
			return err
		case err != nil:
			fmt.Fprintf(env.Stderr, "%s %s\n", stamp(env.Now()), oneLine(err.Error()))
		default:
			err := printer{env, r.json}.print(v.ClusterStatus, func(w io.Writer) error {
				fmt.Fprintln(w, stamp(env.Now()))
				if err := writeStatus(w, v); err != nil {
					return err
				}
				_, err := fmt.Fprintln(w)
				return err
			})
			if err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

// writeStatus ends with the summary: whoever looks at one line looks at the last.
func writeStatus(w io.Writer, v view) error {
	rows := [][]string{{"NAME", "ROLE", "STATE", "LEADS", "ZONE", "VERSION", "LAG", "SEEN", "DISK", "MISSING", "QUEUE"}}
	for _, n := range v.Nodes {
		rows = append(rows, statusRow(n, n.ID == v.Leader))
	}
	if err := table(w, rows); err != nil {
		return err
	}
	b := &strings.Builder{}
	for _, n := range v.Nodes {
		writeUnderWay(b, n)
	}
	writeAlarms(b, v)
	fmt.Fprintln(b)
	wrapped(b, "", fmt.Sprintf("cluster %s, term %d, commit %d, feature level %d; seen from %s", v.ClusterID, v.Term, v.Commit, v.Feature, v.from))
	wrapped(b, "", fmt.Sprintf("%s, %d of them short of copies; layout %d, %s; %s waiting",
		plural(v.Blobs, "blob"), v.Under, v.Layout, plural(v.Replicas, "replica"), plural(v.MailQueue, "mail")))
	for _, text := range unusual(v.ClusterStatus) {
		wrapped(b, "", text)
	}
	fmt.Fprintln(b, oneLine(summary(v.ClusterStatus)))
	_, err := io.WriteString(w, b.String())
	return err
}

// statusRow is one node in the table. What a node that is away said last is of no
// use, so nothing is shown of it.
func statusRow(n api.NodeStatus, leads bool) []string {
	lag, seen, disk, missing, queue := "-", "never", "-", "-", "-"
	switch {
	case n.LastContact >= 1000:
		seen = spanMS(n.LastContact) + " ago"
	case n.LastContact >= 0:
		seen = "now"
	}
	if n.AppliedIndex > 0 || here(n) {
		lag, missing, queue = strconv.FormatUint(n.Lag, 10), strconv.Itoa(n.Missing), strconv.Itoa(n.Queue)
		if n.MissBytes > 0 {
			missing += ", " + agent.Size(n.MissBytes)
		}
	}
	if n.Disk.Level != "" {
		disk = fmt.Sprintf("%.0f%% %s", n.Disk.Share*100, n.Disk.Level)
	}
	leader := "-"
	if leads {
		leader = "yes"
	}
	return []string{n.Name, n.Role, n.State, leader, short(orDash(n.Zone), 12), short(orDash(n.Version), 16), lag, seen, disk, missing, queue}
}

// here reports whether a node takes part now.
func here(n api.NodeStatus) bool { return n.State == "alive" || n.State == "draining" }

// writeUnderWay tells what is done with a node and what is odd about it.
func writeUnderWay(w io.Writer, n api.NodeStatus) {
	if n.Drain != nil {
		wrapped(w, "", drainText(n.Name, *n.Drain))
	}
	if n.Maintenance > 0 {
		wrapped(w, "", fmt.Sprintf("%s is in maintenance for another %s: its copies are not made elsewhere meanwhile", n.Name, spanMS(n.Maintenance)))
	}
	if here(n) && !n.Synced {
		wrapped(w, "", fmt.Sprintf("%s has not completed its first copy: it is no reason yet to count on it", n.Name))
	}
	if n.Quarantined > 0 {
		wrapped(w, "", fmt.Sprintf("%s keeps %s aside: see `symkeep cluster repl status`", n.Name, plural(n.Quarantined, "damaged copy")))
	}
	if skew := max(n.Clock, -n.Clock); skew >= 2000 {
		wrapped(w, "", fmt.Sprintf("the clock of %s is off by %s", n.Name, spanMS(n.Clock)))
	}
}

// unusual are the parts of a status that are there only when they differ from what
// is usual.
func unusual(st api.ClusterStatus) (lines []string) {
	if st.Moving > 0 {
		lines = append(lines, fmt.Sprintf("copies still move away from %s", plural(st.Moving, "earlier layout")))
	}
	if st.Paused {
		lines = append(lines, "repair is paused: `symkeep cluster repl resume` ends that")
	}
	if st.Frozen > 0 {
		lines = append(lines, fmt.Sprintf("no blob is retired for another %s", spanMS(st.Frozen)))
	}
	return lines
}

// summary is one line on whether to worry.
func summary(st api.ClusterStatus) string {
	failures := "tolerates " + plural(st.Tolerates, "failure")
	if st.Healthy {
		return "healthy: " + failures
	}
	why := "no reason given"
	if len(st.Reasons) > 0 {
		why = strings.Join(st.Reasons, "; ")
	}
	return "not healthy: " + why + "; " + failures
}
