package symhttp

import (
	"context"
	"net"

	"github.com/valyala/fasthttp"
)

// ParseRange is parseRange with its outcome as a status code.
func ParseRange(header string, size int64) (off, n int64, status int) {
	s, r := parseRange(header, size)
	return s.off, s.n, map[rangeResult]int{rangeWhole: 200, rangePart: 206, rangeOut: 416}[r]
}

var (
	AcceptsGzip = acceptsGzip
	MatchesETag = matchesETag
)

// Handler is what the server does with one request.
func (s *Server) Handler() fasthttp.RequestHandler { return s.http.Handler }

// PatientConn wraps a connection as a server does; sweep is what the server runs.
func PatientConn(inner net.Conn) (conn net.Conn, sweep func(context.Context) error) {
	c := newConns(16)
	conn = newPatientConn(inner, nil)
	c.changed(conn, fasthttp.StateNew)
	return conn, c.sweep
}

// HeadWaits says that something follows the next write to a PatientConn.
func HeadWaits(conn net.Conn) { conn.(*patientConn).headWaits() }
