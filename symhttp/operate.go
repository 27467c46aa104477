package symhttp

import (
	"context"
	"net/http"

	"github.com/valyala/fasthttp"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// maxAsked bounds the members that one check asks about.
const maxAsked = 1024

// operatorRoutes are those of /api/v1/cluster beside the membership.
func (a *agents) operatorRoutes() []route {
	return []route{
		{"POST", "/api/v1/cluster/maintenance", a.onMember(a.Operator.MaintainMember)},
		{"POST", "/api/v1/cluster/transfer-leader", a.transferLeader},
		{"GET", "/api/v1/cluster/check", show(a, a.Operator.CheckCluster)},
		{"POST", "/api/v1/cluster/alarms/clear", a.clearAlarms},
		{"GET", "/api/v1/cluster/layout", a.showLayout},
		{"POST", "/api/v1/cluster/layout/plan", change(a, a.Layouts.PlanLayout)},
		{"POST", "/api/v1/cluster/layout/apply", change(a, a.Layouts.ApplyLayout)},
		{"GET", "/api/v1/cluster/repl", show(a, a.Tuning.ReplStatus)},
		{"POST", "/api/v1/cluster/repl", change(a, a.Tuning.SetRepl)},
		{"GET", "/api/v1/cluster/policy", show(a, a.Policies.ShowPolicy)},
		{"POST", "/api/v1/cluster/policy", change(a, a.Policies.SetPolicy)},
		{"GET", "/api/v1/cluster/feature", show(a, a.Tuning.FeatureStatus)},
		{"POST", "/api/v1/cluster/feature", change(a, a.Tuning.RaiseFeature)},
	}
}

// show answers with what f returns.
func show[T any](a *agents, f func(context.Context) (T, error)) func(*fasthttp.RequestCtx, []string) {
	return func(rc *fasthttp.RequestCtx, _ []string) {
		ctx, cancel := a.call()
		defer cancel()
		v, err := f(ctx)
		a.result(rc, v, err)
	}
}

// change reads a request from the body and answers with what f makes of it.
func change[R, T any](a *agents, f func(context.Context, R) (T, error)) func(*fasthttp.RequestCtx, []string) {
	return func(rc *fasthttp.RequestCtx, _ []string) {
		var r R
		if err := a.read(rc, &r); err != nil {
			a.fail(rc, err)
			return
		}
		ctx, cancel := a.call()
		defer cancel()
		v, err := f(ctx, r)
		a.result(rc, v, err)
	}
}

func (a *agents) showLayout(rc *fasthttp.RequestCtx, _ []string) {
	ctx, cancel := a.call()
	defer cancel()
	v, err := a.Layouts.PlanLayout(ctx, api.LayoutRequest{})
	a.result(rc, v, err)
}

// transferLeader needs no name: any voter will do.
func (a *agents) transferLeader(rc *fasthttp.RequestCtx, args []string) {
	change(a, func(ctx context.Context, r api.NodeRequest) (done, error) {
		return done{}, a.Operator.TransferLeader(ctx, r)
	})(rc, args)
}

func (a *agents) clearAlarms(rc *fasthttp.RequestCtx, args []string) {
	change(a, func(ctx context.Context, r api.AlarmRequest) (done, error) {
		return done{}, a.Operator.ClearAlarms(ctx, r)
	})(rc, args)
}

func (h *peers) checkNode(rc *fasthttp.RequestCtx, _ []string) {
	texts := rc.QueryArgs().PeekMulti("ask")
	if len(texts) > maxAsked {
		h.fail(rc, refuse(http.StatusBadRequest, "%d members to look for, at most %d are accepted", len(texts), maxAsked))
		return
	}
	ask := make([]catalog.NodeID, len(texts))
	for i, t := range texts {
		ask[i] = catalog.NodeID(t)
	}
	ctx, cancel := h.call()
	defer cancel()
	v, err := h.Orders.CheckNode(ctx, ask)
	h.result(rc, v, err)
}

func (h *peers) scrubNow(rc *fasthttp.RequestCtx, _ []string) {
	ctx, cancel := h.call()
	defer cancel()
	h.result(rc, done{}, h.Orders.ScrubNow(ctx))
}

func (h *peers) handOver(rc *fasthttp.RequestCtx, _ []string) {
	to := string(rc.QueryArgs().Peek("to"))
	if to != "" && len(to) != 36 {
		h.fail(rc, refuse(http.StatusBadRequest, "node %q: wanted the 36 characters of a node id, or none", clip(to)))
		return
	}
	ctx, cancel := h.call()
	defer cancel()
	h.result(rc, done{}, h.Orders.HandOver(ctx, catalog.NodeID(to)))
}

func (h *peers) raiseLevel(rc *fasthttp.RequestCtx, _ []string) {
	var r api.FeatureRequest
	if err := h.read(rc, &r); err != nil {
		h.fail(rc, err)
		return
	}
	ctx, cancel := h.call()
	defer cancel()
	h.result(rc, done{}, h.Orders.RaiseLevel(ctx, r.Level))
}
