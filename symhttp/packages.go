package symhttp

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/validate"
)

// done is the answer of calls that return nothing but success.
type done struct{}

// maxPage bounds a page of packages.
const maxPage = 500

// agents answers /api/v1: packages and the cluster.
type agents struct {
	*Server
	Public
	metrics *metrics
	table   table
	slots   chan struct{} // one per running upload
}

func (a *agents) routes() table {
	routes := []route{
		{"POST", "/api/v1/packages", a.openPackage},
		{"GET", "/api/v1/packages", a.listPackages},
		{"GET", "/api/v1/packages/*", a.onPackage(a.packageStatus)},
		{"POST", "/api/v1/packages/*/files", a.onPackage(a.addFiles)},
		{"GET", "/api/v1/packages/*/files", a.onPackage(a.listFiles)},
		{"PUT", "/api/v1/packages/*/blobs/*", a.upload},
		{"HEAD", "/api/v1/packages/*/blobs/*", a.uploadState},
		{"PUT", archiveRoute, a.addArchive},
		{"POST", "/api/v1/packages/*/commit", a.onPackage(a.commitPackage)},
		{"POST", "/api/v1/packages/*/lease", a.onPackage(plain(a.Ingest.RenewLease))},
		{"POST", "/api/v1/packages/*/delete", a.onPackage(a.deletePackage)},
		{"POST", "/api/v1/packages/*/undelete", a.onPackage(plain(a.Keeper.UndeletePackage))},
		{"POST", "/api/v1/packages/*/retry", a.onPackage(plain(a.Keeper.RetryPackage))},
		{"GET", "/api/v1/find", a.find},
		{"POST", "/api/v1/find", a.findAll},
		{"GET", "/api/v1/findings", show(a, listFindings)},
		{"GET", "/api/v1/cluster", a.clusterStatus},
		{"POST", "/api/v1/cluster/join", a.joinCluster},
		{"POST", "/api/v1/cluster/leave", a.leaveCluster},
		{"POST", "/api/v1/cluster/remove", a.onMember(a.Cluster.RemoveMember)},
		{"POST", "/api/v1/cluster/drain", a.onMember(a.Cluster.DrainMember)},
	}
	return newTable(slices.Concat(routes, a.operatorRoutes(), a.backupRoutes())...)
}

// onPackage reads the package id of the path and answers with what f returns.
func (a *agents) onPackage(f func(context.Context, *fasthttp.RequestCtx, catalog.PackageID) (any, error)) func(*fasthttp.RequestCtx, []string) {
	return func(rc *fasthttp.RequestCtx, args []string) {
		id, err := packageID(args[0])
		if err != nil {
			a.fail(rc, err)
			return
		}
		ctx, cancel := a.call()
		defer cancel()
		v, err := f(ctx, rc, id)
		a.result(rc, v, err)
	}
}

// plain adapts a call that needs no body and returns nothing.
func plain(f func(context.Context, catalog.PackageID) error) func(context.Context, *fasthttp.RequestCtx, catalog.PackageID) (any, error) {
	return func(ctx context.Context, _ *fasthttp.RequestCtx, id catalog.PackageID) (any, error) {
		return done{}, f(ctx, id)
	}
}

func (a *agents) openPackage(rc *fasthttp.RequestCtx, _ []string) {
	var r api.OpenRequest
	if err := a.read(rc, &r); err != nil {
		a.fail(rc, err)
		return
	}
	ctx, cancel := a.call()
	defer cancel()
	v, err := a.Ingest.OpenPackage(ctx, r)
	a.result(rc, v, err)
}

func (a *agents) addFiles(ctx context.Context, rc *fasthttp.RequestCtx, id catalog.PackageID) (any, error) {
	var r api.AddFilesRequest
	if err := a.read(rc, &r); err != nil {
		return nil, err
	}
	if n := len(r.Files); n > api.MaxFilesPerRequest {
		return nil, refuse(http.StatusBadRequest, "%d files in one request, at most %d are accepted", n, api.MaxFilesPerRequest)
	}
	return a.Ingest.AddFiles(ctx, id, r)
}

func (a *agents) commitPackage(_ context.Context, rc *fasthttp.RequestCtx, id catalog.PackageID) (any, error) {
	var r api.CommitRequest
	if err := a.read(rc, &r); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(a.base, a.cfg.CallTimeout+api.CommitTime(r.Files))
	defer cancel()
	return a.Ingest.CommitPackage(ctx, id, r)
}

func (a *agents) deletePackage(ctx context.Context, rc *fasthttp.RequestCtx, id catalog.PackageID) (any, error) {
	var r api.DeleteRequest
	if rc.Request.Header.ContentLength() != 0 {
		if err := a.read(rc, &r); err != nil {
			return nil, err
		}
	}
	return done{}, a.Keeper.DeletePackage(ctx, id, r)
}

// packageStatus waits on the server's drain as well: whoever waits for news can
// ask another node.
func (a *agents) packageStatus(ctx context.Context, rc *fasthttp.RequestCtx, id catalog.PackageID) (any, error) {
	text := string(rc.QueryArgs().Peek("wait"))
	if text == "" {
		return a.Packages.PackageStatus(ctx, id, 0)
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		return nil, refuse(http.StatusBadRequest, "wait %q: wanted a duration such as 30s", clip(text))
	}
	wait = min(wait, a.cfg.MaxWait)
	ctx, cancel := context.WithTimeout(a.waits, wait+a.cfg.CallTimeout)
	defer cancel()
	return a.Packages.PackageStatus(ctx, id, wait)
}

func (a *agents) listFiles(ctx context.Context, rc *fasthttp.RequestCtx, id catalog.PackageID) (any, error) {
	after, err := number(rc, "after", -1, -1, catalog.MaxFiles)
	if err != nil {
		return nil, err
	}
	limit, err := number(rc, "limit", api.MaxFilesPerRequest, 1, api.MaxFilesPerRequest)
	if err != nil {
		return nil, err
	}
	return a.Packages.ListFiles(ctx, id, after, limit)
}

func (a *agents) listPackages(rc *fasthttp.RequestCtx, _ []string) {
	q, err := packagesQuery(rc)
	if err != nil {
		a.fail(rc, err)
		return
	}
	ctx, cancel := a.call()
	defer cancel()
	v, err := a.Packages.ListPackages(ctx, q)
	a.result(rc, v, err)
}

func packagesQuery(rc *fasthttp.RequestCtx) (api.PackagesQuery, error) {
	args := rc.QueryArgs()
	q := api.PackagesQuery{
		Product: string(args.Peek("product")),
		Version: string(args.Peek("version")),
		State:   catalog.State(args.Peek("state")),
	}
	switch q.State {
	case "", catalog.StateOpen, catalog.StateCommitted, catalog.StateGood, catalog.StateFailed,
		catalog.StateStuck, catalog.StateTrashed, catalog.StatePurged, catalog.StateExpired:
	default:
		return q, refuse(http.StatusBadRequest, "state %q: no such state of a package", clip(string(q.State)))
	}
	if before := args.Peek("before"); len(before) > 0 {
		id, err := packageID(string(before))
		if err != nil {
			return q, err
		}
		q.Before = id
	}
	var err error
	q.Limit, err = number(rc, "limit", 50, 1, maxPage)
	return q, err
}

// listFindings is the table of codes that this build judges by.
func listFindings(context.Context) (api.FindingsResponse, error) {
	return api.FindingsResponse{Findings: validate.Checks()}, nil
}

// number reads a query parameter between lo and hi; without one it is missing.
func number(rc *fasthttp.RequestCtx, name string, missing, lo, hi int) (int, error) {
	text := string(rc.QueryArgs().Peek(name))
	if text == "" {
		return missing, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < lo || n > hi {
		return 0, refuse(http.StatusBadRequest, "%s %q: wanted a number from %d to %d", name, clip(text), lo, hi)
	}
	return n, nil
}
