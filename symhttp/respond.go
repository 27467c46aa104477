package symhttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// A refusal is an error of HTTP itself, with the status it has to have.
type refusal struct {
	status int
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// refuse returns an error for the client's request as such.
func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Errorf(format+": %w", append(args, catalog.ErrInvalid)...)}
}

// fail answers an error of /api/v1 and /peer/v1. It is the one place where errors
// become status codes.
func (s *Server) fail(rc *fasthttp.RequestCtx, err error) {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = fmt.Errorf("no answer in time: %v: %w", err, catalog.ErrUnavailable)
	}
	e := api.NewError(err, s.cfg.Node)
	var r *refusal
	if errors.As(err, &r) {
		e.Status = r.status
	}
	var off *OffsetError
	if errors.As(err, &off) {
		rc.Response.Header.Set(api.HeaderUploadOffset, strconv.FormatInt(off.Acked, 10))
	}
	switch e.Status {
	case http.StatusServiceUnavailable:
		rc.Response.Header.Set("Retry-After", "1")
	case http.StatusInternalServerError:
		s.log.Error("request not answered", "route", string(rc.Path()), "err", err)
	}
	s.reply(rc, e.Status, struct {
		Error *api.Error `json:"error"`
	}{e})
}

// result answers a call: its error, or its value.
func (s *Server) result(rc *fasthttp.RequestCtx, value any, err error) {
	if err != nil {
		s.fail(rc, err)
		return
	}
	s.reply(rc, http.StatusOK, value)
}

// reply sends a JSON value, with who says so.
func (s *Server) reply(rc *fasthttp.RequestCtx, status int, value any) {
	b, err := json.Marshal(value)
	if err != nil {
		s.log.Error("answer is not JSON", "route", string(rc.Path()), "err", err)
		status, b = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"the answer cannot be written as JSON"}}`)
	}
	s.stamp(rc)
	rc.SetStatusCode(status)
	rc.SetContentType("application/json")
	rc.Response.Header.Set("Cache-Control", "no-store")
	rc.SetBody(append(b, '\n'))
}

// stamp names the answering node, its cluster and how far it has read the log.
func (s *Server) stamp(rc *fasthttp.RequestCtx) {
	h := &rc.Response.Header
	h.Set(api.HeaderIndex, strconv.FormatUint(s.self.AppliedIndex(), 10))
	h.Set(api.HeaderNode, s.cfg.Node)
	if id := s.self.ClusterID(); id != "" {
		h.Set(api.HeaderCluster, string(id))
	}
}

// miss answers a debugger that there is no such file: an empty 404 that nobody
// may keep. Some clients store any body, of whatever status, as the file.
func miss(rc *fasthttp.RequestCtx) { empty(rc, http.StatusNotFound) }

// empty answers a status without a body.
func empty(rc *fasthttp.RequestCtx, status int) {
	rc.Response.ResetBody()
	rc.SetStatusCode(status)
	rc.Response.Header.Set("Cache-Control", "no-store")
	rc.Response.Header.SetContentLength(0)
}

// text answers a person or a probe.
func text(rc *fasthttp.RequestCtx, status int, body string) {
	rc.SetStatusCode(status)
	rc.SetContentType("text/plain; charset=utf-8")
	rc.Response.Header.Set("Cache-Control", "no-store")
	rc.SetBodyString(body)
	rc.Response.Header.SetContentLength(len(body))
}

// reset ends the connection with a RST and no answer: clients take it as "ask
// again", which no status code means to all of them.
func reset(rc *fasthttp.RequestCtx) {
	conn := rc.Conn()
	rc.HijackSetNoResponse(true)
	rc.Hijack(func(net.Conn) { abort(conn) }) // fasthttp closes it afterwards
}

// abort makes the next close of conn a RST.
func abort(conn net.Conn) {
	if c, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		c.SetLinger(0)
	}
}

// panicked answers a request whose handler panicked. Debuggers get a reset: they
// would remember a 500.
func (s *Server) panicked(rc *fasthttp.RequestCtx, r any) {
	s.log.Error("request handler panicked", "route", string(rc.Path()), "err", fmt.Sprint(r), "stack", string(debug.Stack()))
	rc.Response.Reset()
	if path := rawPath(rc); strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/peer/") {
		rc.SetConnectionClose()
		s.fail(rc, errors.New("internal error; the server's log has the details"))
		return
	}
	reset(rc)
}

// malformed answers what is not HTTP, or too much of it, without a body.
func (s *Server) malformed(rc *fasthttp.RequestCtx, err error) {
	status := http.StatusBadRequest
	var tooBig *fasthttp.ErrSmallBuffer
	var netErr net.Error
	switch {
	case errors.As(err, &tooBig):
		status = http.StatusRequestHeaderFieldsTooLarge
	case errors.As(err, &netErr) && netErr.Timeout():
		status = http.StatusRequestTimeout
	case errors.Is(err, fasthttp.ErrorInvalidURI):
		status = http.StatusNotFound // no key looks like that
	}
	rc.Response.Reset()
	empty(rc, status)
}

// rawPath returns the path of a request as it came: neither decoded nor cleaned,
// without the query. A # belongs to the path, since some clients escape nothing.
func rawPath(rc *fasthttp.RequestCtx) string {
	uri := rc.Request.Header.RequestURI()
	if len(uri) == 0 || uri[0] != '/' {
		return string(rc.URI().PathOriginal()) // absolute form
	}
	path, _, _ := strings.Cut(string(uri), "?")
	return path
}
