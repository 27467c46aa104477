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
	clients, err := Dial(r.servers)
	if err != nil {
		return err
	}
	for _, c := range clients {
		defer c.Close()
		if err = once(ctx, c, f); err == nil || ctx.Err() != nil || !errors.Is(err, catalog.ErrUnavailable) {
			return err
		}
	}
	return err
}

func once(ctx context.Context, c *api.Client, f func(context.Context, *api.Client) error) error {
	rctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	err := f(rctx, c)
	if err != nil && ctx.Err() == nil && rctx.Err() != nil {
		return fmt.Errorf("%s: no answer for %s: %w", c.Base(), answerTimeout, catalog.ErrUnavailable)
	}
	return err
}

// one refuses several servers where the answering node itself is meant.
func (r *remote) one(what string) error {
	if len(r.servers) > 1 {
		return Usage("%d servers given, wanted one: it is the node that %s", len(r.servers), what)
	}
	return nil
}
