package ops

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"symkeep/agent"
	"symkeep/internal/api"
)

func clusterCommand(env Env) *cobra.Command {
	return Group("cluster", "show and change the cluster",
		clusterStatus(env),
		clusterMembers(env),
		clusterCheck(env),
		clusterWait(env),
		clusterJoin(env),
		clusterLeave(env),
		clusterDrain(env),
		clusterUndrain(env),
		clusterRemove(env),
		clusterMaintenance(env),
		clusterTransferLeader(env),
		clusterLayout(env),
		clusterRepl(env),
		clusterFeature(env),
		clusterPolicy(env),
		clusterAlarms(env),
		clusterRecover(env),
	)
}

// change asks for a change, says what was done, and prints the cluster as it is
// then.
func (r *remote) change(ctx context.Context, env Env, done string, f func(context.Context, *api.Client) error) error {
	if err := r.do(ctx, f); err != nil {
		return err
	}
	return r.changed(ctx, env, done)
}

func (r *remote) changed(ctx context.Context, env Env, done string) error {
	v, err := r.cluster(ctx)
	if err != nil {
		return fmt.Errorf("%s, but the state of the cluster is unknown: %w", done, err)
	}
	return r.tell(env, v, done)
}

func (r *remote) tell(env Env, v view, done string) error {
	return printer{env, r.json}.print(v.ClusterStatus, func(w io.Writer) error {
		if _, err := fmt.Fprintf(w, "%s\n\n", agent.Clean(done)); err != nil {
			return err
		}
		return writeStatus(w, v)
	})
}

// plan tells on standard error what is going to happen, with or without --yes.
func plan(env Env, lines ...string) {
	for i, line := range lines {
		head := "      "
		if i == 0 {
			head = "plan: "
		}
		wrapped(env.Stderr, head, line)
	}
}
