package symhttp

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
	"symkeep/internal/blobstore"
)

// Public holds what the public server needs. Every field but Cache and Metrics is
// required.
type Public struct {
	Log     *slog.Logger
	Self    Self
	Locator Locator
	Blobs   Blobs
	Cache   *blobstore.Cache // nil: nothing is kept on the disk
	Health  Health
	// Metrics is shown at /metrics; the server adds its own series. nil: only those.
	Metrics *prometheus.Registry

	Ingest   Ingest
	Uploads  Uploads
	Archives Archives
	Packages Packages
	Keeper   Keeper
	Cluster  Cluster
	Operator Operator
	Layouts  Layouts
	Tuning   Tuning
	Policies Policies
	Backups  Backups
}

// public routes the requests of the public address.
type public struct {
	*Server
	debuggers *debuggers
	agents    *agents
	probes    *probes
	metrics   *metrics
	scrape    fasthttp.RequestHandler
}

// NewPublic returns the server of debuggers, agents and people. It has descriptors open that
// Run closes.
func NewPublic(cfg Config, p Public) (*Server, error) {
	if p.Locator == nil || p.Blobs == nil || p.Health == nil || p.Ingest == nil ||
		p.Uploads == nil || p.Archives == nil || p.Packages == nil || p.Keeper == nil || p.Cluster == nil ||
		p.Operator == nil || p.Layouts == nil || p.Tuning == nil || p.Policies == nil || p.Backups == nil {
		return nil, errors.New("http server: a part of Public is missing")
	}
	s, err := newServer(cfg, p.Log, p.Self)
	if err != nil {
		return nil, err
	}
	if p.Metrics == nil {
		p.Metrics = prometheus.NewRegistry()
	}
	m := newMetrics(p.Metrics)
	st := &store{blobs: p.Blobs, cache: p.Cache, seen: newHeat(), shelf: newShelf(time.Now), verified: newVerified(time.Now), memory: newBudget(cfg.StreamBytes)}
	s.work = append(s.work, st.shelf.run)
	if p.Cache != nil {
		st.hot = newHot(st, p.Log)
		s.work = append(s.work, st.hot.run)
	}
	a := &agents{Server: s, Public: p, metrics: m, slots: make(chan struct{}, cfg.MaxUploads)}
	a.table = a.routes()
	h := &public{
		Server:    s,
		debuggers: &debuggers{Server: s, locator: p.Locator, store: st, metrics: m, quiet: &sometimes{logger: p.Log, now: time.Now}, resolved: newResolved()},
		agents:    a,
		probes:    &probes{s, p.Health},
		metrics:   m,
		scrape:    fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(p.Metrics, promhttp.HandlerOpts{DisableCompression: true})),
	}
	s.handle(h.route)
	if s.conns.loops, err = newLoops(h.debuggers); err != nil {
		p.Log.Warn("every connection stays with fasthttp", "err", err) // slower, no more
	}
	s.work = append(s.work, s.conns.loops.run)
	s.http.ExpectHandler = a.expect
	return s, nil
}

// route picks who answers. The roots are where clients look whether the server is
// one: Ghidra wants 200 there, symsrv asks for index2.txt and takes 404 as "one
// folder level".
func (h *public) route(rc *fasthttp.RequestCtx) {
	read := rc.IsGet() || rc.IsHead()
	if read && h.debuggers.repeat(rc) {
		return
	}
	path := rawPath(rc)
	switch {
	case strings.HasPrefix(path, "/api/"):
		h.agents.serve(rc, h.agents.table, path)
		h.metrics.call(callMethod(rc), rc.Response.StatusCode())
	case !read:
		miss(rc)
	case path == "/livez":
		h.probes.livez(rc)
	case path == "/readyz":
		h.probes.readyz(rc)
	case path == "/metrics":
		h.showMetrics(rc)
	case isRoot(path):
		text(rc, http.StatusOK, "symkeep "+h.cfg.Version+"\n")
	default:
		h.debuggers.lookup(rc, path)
	}
}

// isRoot reports whether the path is one that tells whether a server is there.
func isRoot(path string) bool {
	path = strings.Trim(path, "/")
	if strings.EqualFold(path, "symbols") {
		return true
	}
	if rest, ok := strings.CutPrefix(path, "symbols/"); ok {
		path = strings.TrimLeft(rest, "/")
	}
	return path == "" || path == "pingme.txt"
}

// callMethod is the method as a label: clients may send any word.
func callMethod(rc *fasthttp.RequestCtx) string {
	switch m := string(rc.Method()); m {
	case "GET", "HEAD", "POST", "PUT", "DELETE":
		return m
	}
	return "other"
}

func (h *public) showMetrics(rc *fasthttp.RequestCtx) {
	h.scrape(rc)
	rc.Response.Header.Set("Cache-Control", "no-store")
}
