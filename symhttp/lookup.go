package symhttp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"

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

	resolved *resolved
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
	if err != nil || !(rc.IsGet() || rc.IsHead()) {
		miss(rc)
		d.metrics.lookup(route, "miss", start)
		return
	}
	d.metrics.lookup(route, d.find(rc, route, l), start)
}

// find answers the lookup and returns what became of it. Bytes that cannot be
// reached are tried again, from the lookup on, until Config.ReachTimeout.
func (d *debuggers) find(rc *fasthttp.RequestCtx, route string, l symid.Lookup) string {
	if result, ok := d.quick(rc, route, l); ok {
		return result
	}
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

// repeat answers a request like one before it, in the same state of the catalog.
func (d *debuggers) repeat(rc *fasthttp.RequestCtx) bool {
	start := time.Now()
	s := d.known(rc)
	if s == nil {
		return false
	}
	result, ok := d.fromMemory(rc, s)
	if ok {
		d.metrics.lookup(s.route, result, start)
	}
	return ok
}

// quick answers what nobody has to be waited for: a miss that this node may state, and
// a hit whose answer is on the shelf.
func (d *debuggers) quick(rc *fasthttp.RequestCtx, route string, l symid.Lookup) (result string, ok bool) {
	s := d.look(rc, route, l)
	if s == nil {
		return "", false
	}
	return d.fromMemory(rc, s)
}

// wanted names the answer that a request asks for.
func wanted(rc *fasthttp.RequestCtx, l symid.Lookup, c catalog.Candidate) answerID {
	id := answerID{digest: c.Digest}
	switch ranged := rc.IsGet() && len(rc.Request.Header.Peek("Range")) > 0; {
	case l.Packed:
		id.form, id.member = formCabinet, memberName(l, c)
	case !ranged && acceptsGzip(header(rc, "Accept-Encoding")):
		id.form = formGzip
	}
	return id
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
	id := wanted(rc, l, c)
	a, o, err := d.store.prepare(ctx, c, id)
	if err != nil {
		return "", err
	}
	if a != nil {
		return d.respond(ctx, rc, l, a.representation(c))
	}
	defer o.Close()
	r, err := o.represent(id)
	if err != nil {
		return "", err
	}
	if rc.IsGet() && len(rc.Request.Header.Peek("Range")) == 0 {
		r = o.poured(id, r)
	} else if rc.IsGet() && id.form == formRaw && o.raw == nil {
		r = d.store.hot.counted(c, r)
	}
	return d.respond(ctx, rc, l, r)
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
