package symhttp

import (
	"errors"
	"log/slog"

	"github.com/valyala/fasthttp"
)

// Public holds what the public server needs. Every field but Cache is required.
type Public struct {
	Log     *slog.Logger
	Self    Self
	Locator Locator
	Blobs   Blobs
	Cache   Cache // nil: raw bytes are always unpacked afresh
	Health  Health

	Ingest   Ingest
	Uploads  Uploads
	Packages Packages
	Keeper   Keeper
	Cluster  Cluster
}

// NewPublic returns the server of debuggers, agents and people.
func NewPublic(cfg Config, p Public) (*Server, error) {
	if p.Locator == nil || p.Blobs == nil || p.Health == nil || p.Ingest == nil ||
		p.Uploads == nil || p.Packages == nil || p.Keeper == nil || p.Cluster == nil {
		return nil, errors.New("http server: a part of Public is missing")
	}
	var s *Server
	s, err := newServer(cfg, p.Log, p.Self, func(rc *fasthttp.RequestCtx) {})
	return s, err
}

// Peer holds what the peer server needs. Every field is required.
type Peer struct {
	Log       *slog.Logger
	Self      Self
	Consensus Consensus
	Copies    Copies
	Admission Admission
}

// NewPeer returns the server of /peer/v1 for connections that showed this
// cluster's id. They must be bare *net.TCPConn for sendfile to work.
func NewPeer(cfg Config, p Peer) (*Server, error) {
	if p.Consensus == nil || p.Copies == nil || p.Admission == nil {
		return nil, errors.New("http server: a part of Peer is missing")
	}
	return newServer(cfg, p.Log, p.Self, func(rc *fasthttp.RequestCtx) {})
}

// NewJoin returns the server for connections without a cluster id: they may call
// the join route and nothing else.
func NewJoin(cfg Config, log *slog.Logger, self Self, a Admission) (*Server, error) {
	if a == nil {
		return nil, errors.New("http server: no admission")
	}
	return newServer(cfg, log, self, func(rc *fasthttp.RequestCtx) {})
}
