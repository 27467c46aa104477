package symhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"symkeep/internal/catalog"
)

// A route is one method and path of /api/v1 or /peer/v1. An element * of the path
// matches any one element and is handed to the handler.
type route struct {
	method, path string
	handle       func(rc *fasthttp.RequestCtx, args []string)
}

// table finds routes. Paths are compared as they came, not decoded: no element of
// ours needs an escape, and so no element can hide a separator.
type table struct{ routes []tableRoute }

type tableRoute struct {
	route
	elems []string
}

func newTable(routes ...route) table {
	var t table
	for _, r := range routes {
		t.routes = append(t.routes, tableRoute{r, strings.Split(r.path, "/")})
	}
	return t
}

// find returns the handler for a request, or the methods the path has.
func (t table) find(method, path string) (r *tableRoute, args, allow []string) {
	elems := strings.Split(path, "/")
	for i := range t.routes {
		args, ok := t.routes[i].match(elems)
		switch {
		case !ok:
		case t.routes[i].method == method:
			return &t.routes[i], args, nil
		default:
			allow = append(allow, t.routes[i].method)
		}
	}
	return nil, nil, slices.Compact(allow)
}

func (r *tableRoute) match(elems []string) (args []string, ok bool) {
	if len(elems) != len(r.elems) {
		return nil, false
	}
	for i, want := range r.elems {
		switch {
		case want == "*" && elems[i] != "":
			args = append(args, elems[i])
		case want != elems[i]:
			return nil, false
		}
	}
	return args, true
}

// serve runs the handler of the table that fits, else answers 404 or 405.
func (s *Server) serve(rc *fasthttp.RequestCtx, t table, path string) {
	r, args, allow := t.find(string(rc.Method()), path)
	switch {
	case r != nil:
		r.handle(rc, args)
	case len(allow) > 0:
		rc.Response.Header.Set("Allow", strings.Join(allow, ", "))
		s.fail(rc, refuse(http.StatusMethodNotAllowed, "method %s of %s: wanted %s", rc.Method(), clip(path), strings.Join(allow, " or ")))
	default:
		s.fail(rc, fmt.Errorf("path %q: no such route: %w", clip(path), catalog.ErrNotFound))
	}
}

// call returns a context for one call into the node.
func (s *Server) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.base, s.cfg.CallTimeout)
}

// read decodes a JSON body of bounded size into v. Unknown fields are ignored. An
// absent body leaves v alone where that is allowed.
func (s *Server) read(rc *fasthttp.RequestCtx, v any) error {
	b, err := readBody(rc, s.cfg.JSONBytes)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return refuse(http.StatusBadRequest, "body is empty, wanted a JSON object")
	}
	if err := json.Unmarshal(b, v); err != nil {
		return refuse(http.StatusBadRequest, "body is not the JSON object wanted: %v", err)
	}
	return nil
}

// readBody returns a body of at most limit bytes. It never takes the client's
// word for the length.
func readBody(rc *fasthttp.RequestCtx, limit int64) ([]byte, error) {
	n := int64(rc.Request.Header.ContentLength())
	if n > limit {
		rc.SetConnectionClose()
		return nil, refuse(http.StatusRequestEntityTooLarge, "body of %d bytes, at most %d are accepted", n, limit)
	}
	r := rc.RequestBodyStream()
	if r == nil {
		return nil, nil
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		rc.SetConnectionClose()
		return nil, refuse(http.StatusBadRequest, "body ends after %d bytes: %v", len(b), err)
	case int64(len(b)) > limit:
		rc.SetConnectionClose()
		return nil, refuse(http.StatusRequestEntityTooLarge, "body of over %d bytes, at most %d are accepted", limit, limit)
	case n >= 0 && int64(len(b)) < n:
		rc.SetConnectionClose()
		return nil, refuse(http.StatusBadRequest, "body of %d bytes, the header announced %d", len(b), n)
	}
	return b, nil
}

// packageID reads a package id from a path.
func packageID(s string) (catalog.PackageID, error) {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	id := strings.ToUpper(s)
	if len(id) != 26 || strings.Trim(id, alphabet) != "" {
		return "", refuse(http.StatusBadRequest, "package id %q: wanted 26 characters of Crockford base 32", clip(s))
	}
	return catalog.PackageID(id), nil
}

// digest reads a blob digest from a path.
func digest(s string) (catalog.Digest, error) {
	d, err := catalog.ParseDigest(s)
	if err != nil {
		return d, &refusal{http.StatusBadRequest, errors.Join(err, catalog.ErrInvalid)}
	}
	return d, nil
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
