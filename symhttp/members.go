package symhttp

import (
	"context"
	"net/http"

	"github.com/valyala/fasthttp"

	"symkeep/internal/api"
)

// maxJoinAddrs bounds the gossip addresses of one join.
const maxJoinAddrs = 64

func (a *agents) clusterStatus(rc *fasthttp.RequestCtx, _ []string) {
	ctx, cancel := a.call()
	defer cancel()
	v, err := a.Cluster.ClusterStatus(ctx)
	a.result(rc, v, err)
}

func (a *agents) joinCluster(rc *fasthttp.RequestCtx, _ []string) {
	var r api.ClusterJoinRequest
	err := a.read(rc, &r)
	if n := len(r.Addrs); err == nil && (n == 0 || n > maxJoinAddrs) {
		err = refuse(http.StatusBadRequest, "%d gossip addresses, wanted 1 to %d", n, maxJoinAddrs)
	}
	if err != nil {
		a.fail(rc, err)
		return
	}
	ctx, cancel := a.call()
	defer cancel()
	a.result(rc, done{}, a.Cluster.JoinCluster(ctx, r))
}

func (a *agents) leaveCluster(rc *fasthttp.RequestCtx, _ []string) {
	ctx, cancel := a.call()
	defer cancel()
	a.result(rc, done{}, a.Cluster.LeaveCluster(ctx))
}

// onMember reads which member is meant.
func (a *agents) onMember(f func(context.Context, api.NodeRequest) error) func(*fasthttp.RequestCtx, []string) {
	return func(rc *fasthttp.RequestCtx, _ []string) {
		var r api.NodeRequest
		err := a.read(rc, &r)
		if err == nil && r.Node == "" {
			err = refuse(http.StatusBadRequest, "no node named: wanted the id or the name of a member")
		}
		if err != nil {
			a.fail(rc, err)
			return
		}
		ctx, cancel := a.call()
		defer cancel()
		a.result(rc, done{}, f(ctx, r))
	}
}
