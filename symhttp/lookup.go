package symhttp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// debuggers answers the lookup routes.
type debuggers struct {
	*Server
	locator Locator
	store   *store
	metrics *metrics
	quiet   *sometimes
}

// errNobody says that no node can answer for the key now.
var errNobody = errors.New("nobody can tell")

// lookup serves one debugger request. Whatever is not a key is a miss: debuggers
// probe for file.ptr and index2.txt, and some stop asking a server that answers a
// miss with anything but 404.
func (d *debuggers) lookup(rc *fasthttp.RequestCtx, path string) {
	start := time.Now()
	l, err := symid.ParseLookup(path)
	route := routeOf(l, err)
	if err != nil || l.Source != "" || !(rc.IsGet() || rc.IsHead()) { // sources are not served yet
		miss(rc)
		d.metrics.lookup(route, "miss", start)
		return
	}
	d.metrics.lookup(route, d.find(rc, l), start)
}

// find answers the lookup and returns what became of it. Bytes that cannot be
// reached are tried again, from the lookup on, until Config.ReachTimeout.
func (d *debuggers) find(rc *fasthttp.RequestCtx, l symid.Lookup) string {
	ctx, cancel := context.WithTimeout(d.base, d.cfg.ReachTimeout)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		result, err := d.try(ctx, rc, l)
		switch {
		case err == nil:
			return result
		case errors.Is(err, errMiss):
			miss(rc)
			return "miss"
		case errors.Is(err, errNobody):
			d.quiet.log("lookup not answered", err)
			reset(rc)
			return "unanswered"
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			d.quiet.log("blob not reached", err)
			reset(rc)
			return "unreached"
		}
	}
}

// errMiss is the cluster's word that there is nothing to serve.
var errMiss = errors.New("miss")

// try answers the lookup once. Errors other than errMiss and errNobody may pass.
func (d *debuggers) try(ctx context.Context, rc *fasthttp.RequestCtx, l symid.Lookup) (string, error) {
	if l.Section != "" {
		return d.section(ctx, rc, l)
	}
	c, err := d.locate(ctx, l.Keys)
	if err != nil {
		return "", err
	}
	if l.Packed {
		return d.cabinet(ctx, rc, l, c)
	}
	return d.whole(ctx, rc, l, c)
}

// locate asks for the candidate to serve.
func (d *debuggers) locate(ctx context.Context, keys []symid.Key) (catalog.Candidate, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.LookupTimeout)
	defer cancel()
	c, err := d.locator.Locate(ctx, keys)
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, catalog.ErrNotFound):
		return c, errMiss
	}
	return c, fmt.Errorf("%w: %w", errNobody, err)
}

// whole serves a file as it is, gzip encoded if the client asks for that.
func (d *debuggers) whole(ctx context.Context, rc *fasthttp.RequestCtx, l symid.Lookup, c catalog.Candidate) (string, error) {
	ranged := rc.IsGet() && len(rc.Request.Header.Peek("Range")) > 0
	gzip := !ranged && acceptsGzip(header(rc, "Accept-Encoding"))
	open := d.store.openRaw
	if gzip {
		open = d.store.openPacked
	}
	o, err := open(ctx, c)
	if err != nil {
		return "", err
	}
	defer o.Close()
	r := representation{o: o, size: o.size, etag: rawTag(c.Digest), rangeable: true, body: o.rawBody}
	if gzip && o.cab.Info().GzipSize < o.size {
		r.encoding, r.rangeable = "gzip", false
		r.size, r.etag = o.cab.Info().GzipSize, gzipTag(c.Digest, o.cab.Info().PackedSHA256)
		r.body = o.wholeGzip
	} else if o.raw == nil && rc.IsGet() {
		d.store.hot.asked(c, o.size)
	}
	return d.respond(ctx, rc, l, r)
}

// cabinet serves the .pd_ form.
func (d *debuggers) cabinet(ctx context.Context, rc *fasthttp.RequestCtx, l symid.Lookup, c catalog.Candidate) (string, error) {
	o, err := d.store.openPacked(ctx, c)
	if err != nil {
		return "", err
	}
	defer o.Close()
	name := o.cab.Info().Name
	if want := memberName(l, c); symid.Fold(want) != symid.Fold(name) {
		name = want
	}
	_, info, err := o.cab.Rehead(name)
	if errors.Is(err, cab.ErrNoCabinet) || errors.Is(err, cab.ErrName) {
		return "", errMiss // only the raw name has an answer
	}
	if err != nil {
		return "", err
	}
	return d.respond(ctx, rc, l, representation{
		o: o, size: info.PackedSize, etag: packedTag(info.PackedSHA256), rangeable: true,
		body: o.cabinetNamed(name),
	})
}

// memberName is the file name that the client wants to unpack.
func memberName(l symid.Lookup, c catalog.Candidate) string {
	switch k := l.Keys[0]; {
	case k.Kind == symid.KindBreakpad:
		return symid.SymStem(k.Name) + ".sym"
	case k.Name != "":
		return k.Name
	}
	return c.Name
}

// routeOf names the route for metrics; the set is small and fixed.
func routeOf(l symid.Lookup, err error) string {
	switch {
	case err != nil:
		return "none"
	case l.Source != "":
		return "source"
	case l.Section != "":
		return "section"
	case l.Leaf == "" && l.Keys[0].Artifact == symid.Debuginfo:
		return "debuginfo"
	case l.Leaf == "":
		return "executable"
	case l.Keys[0].Kind == symid.KindBreakpad:
		return "breakpad"
	case l.Packed:
		return "packed"
	}
	return "store"
}

// fromDebuginfod reports whether the route is one of debuginfod's.
func fromDebuginfod(l symid.Lookup) bool { return l.Leaf == "" }

// tooLarge reports whether the client refuses files of that size.
func tooLarge(rc *fasthttp.RequestCtx, size int64) bool {
	limit, ok := parseOffset(string(rc.Request.Header.Peek("X-DEBUGINFOD-MAXSIZE")))
	return ok && limit > 0 && size > limit
}

// statusOf names an answer for metrics.
func statusOf(status int) string {
	switch status {
	case http.StatusNotModified:
		return "not_modified"
	case http.StatusPartialContent:
		return "partial"
	case http.StatusNotAcceptable, http.StatusRequestedRangeNotSatisfiable:
		return "not_acceptable"
	}
	return "hit"
}
