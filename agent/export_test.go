package agent

import (
	"context"
	"io"
	"time"
)

// ReportPairs is reportPairs.
var ReportPairs = reportPairs

// RefusedGrace is refusedGrace.
const RefusedGrace = refusedGrace

// A Pool is the servers of one push.
type Pool struct{ s *servers }

// NewPool returns servers that start at the first one.
func NewPool(list []Server, timeout time.Duration, report Reporter) Pool {
	cfg := DefaultConfig()
	cfg.Timeout = timeout
	return Pool{newServers(list, 0, cfg, report)}
}

// Do is servers.do.
func (p Pool) Do(ctx context.Context, f func(context.Context, Server) error) error {
	return p.s.do(ctx, "test", f)
}

// Moves is servers.moves.
func (p Pool) Moves(s Server) { p.s.moves(s) }

// Learn is servers.learn.
func (p Pool) Learn(no int, s Server) error {
	st, err := s.Cluster(context.Background())
	if err != nil {
		return err
	}
	return p.s.learn(no, st.ClusterID)
}

// OpenBody opens f at offset for sending.
func OpenBody(f *File, offset int64) (io.ReadCloser, error) {
	b, err := openBody(context.Background(), f, offset, func(int64) {})
	if err != nil {
		return nil, err
	}
	return b, nil
}
