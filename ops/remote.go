package ops

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// answerTimeout bounds one request; a leader may have to be elected first.
const answerTimeout = 30 * time.Second

// viewTimeout bounds a request for the state of the cluster, for which no leader
// is needed: a server that hangs must not keep the next one from being asked.
const viewTimeout = 8 * time.Second

// A remote is the flags by which commands reach a cluster.
type remote struct {
	servers []string
	json    bool
}

func (r *remote) flags(f *pflag.FlagSet) {
	ServerFlag(f, &r.servers)
	f.BoolVar(&r.json, "json", false, "print JSON, one object per line")
}

// ServerFlag adds --server.
func ServerFlag(f *pflag.FlagSet, servers *[]string) {
	f.StringSliceVar(servers, "server", nil, "`URL` of a node, such as http://symbols:8480; several are tried in turn (required)")
}

// Dial returns a client per URL of --server. A host and port alone means http.
func Dial(servers []string) ([]*api.Client, error) {
	if len(servers) == 0 {
		return nil, Usage("no server given: set --server or SYMKEEP_SERVER")
	}
	var clients []*api.Client
	seen := map[string]bool{}
	for _, s := range servers {
		s = strings.TrimSpace(s)
		if s != "" && !strings.Contains(s, "://") {
			s = "http://" + s
		}
		s = strings.TrimRight(s, "/")
		if seen[s] {
			continue
		}
		seen[s] = true
		c, err := api.NewClient(s)
		if err != nil {
			return nil, &ExitError{ExitUsage, err}
		}
		clients = append(clients, c)
	}
	return clients, nil
}

// do asks one server after the other until one answers.
func (r *remote) do(ctx context.Context, f func(context.Context, *api.Client) error) error {
	return r.try(ctx, answerTimeout, func(ctx context.Context, c *api.Client) (bool, error) { return true, f(ctx, c) })
}

// try asks one server after the other until f says that an answer is enough. A
// server that is unavailable is passed over; the error names all of them.
func (r *remote) try(ctx context.Context, limit time.Duration, f func(context.Context, *api.Client) (enough bool, err error)) error {
	clients, err := Dial(r.servers)
	if err != nil {
		return err
	}
	var failed error
	for _, c := range clients {
		defer c.Close()
		enough, err := once(ctx, limit, c, f)
		switch {
		case err == nil && enough:
			return nil
		case err == nil:
		case ctx.Err() != nil || !errors.Is(err, catalog.ErrUnavailable):
			return err
		case failed == nil:
			failed = err
		default:
			failed = fmt.Errorf("%w; %w", failed, err)
		}
	}
	return failed
}

func once(ctx context.Context, limit time.Duration, c *api.Client, f func(context.Context, *api.Client) (bool, error)) (bool, error) {
	rctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	enough, err := f(rctx, c)
	if err != nil && ctx.Err() == nil && rctx.Err() != nil {
		err = fmt.Errorf("%s: no answer for %s: %w", c.Base(), limit, catalog.ErrUnavailable)
	}
	return enough, err
}

// A view is the cluster as one server sees it.
type view struct {
	api.ClusterStatus
	from string // URL of the server
}

// cluster asks for the state of the cluster. The first server that knows a leader
// is believed, else the first that answers: one that is cut off knows least.
func (r *remote) cluster(ctx context.Context) (view, error) {
	var best view
	err := r.try(ctx, viewTimeout, func(ctx context.Context, c *api.Client) (bool, error) {
		st, err := c.Cluster(ctx)
		if err == nil && (best.from == "" || st.Leader != "") {
			best = view{st, c.Base()}
		}
		return st.Leader != "", err
	})
	if best.from != "" && ctx.Err() == nil {
		return best, nil
	}
	return best, err
}

// node returns the member with a name or id.
func (v view) node(name string) (api.NodeStatus, error) {
	for _, n := range v.Nodes {
		if n.Name == name || string(n.ID) == name {
			return n, nil
		}
	}
	return api.NodeStatus{}, fmt.Errorf("node %q: not a member of cluster %s: see `symkeep cluster members`", name, v.ClusterID)
}

// name returns the name of a member, or its id when it is not one any more.
func (v view) name(id catalog.NodeID) string {
	for _, n := range v.Nodes {
		if n.ID == id {
			return n.Name
		}
	}
	return string(id)
}

// one refuses several servers where the answering node itself is meant.
func (r *remote) one(what string) error {
	if len(r.servers) > 1 {
		return Usage("%d servers given, wanted one: it is the node that %s", len(r.servers), what)
	}
	return nil
}
