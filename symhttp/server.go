package symhttp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"
)

// A Server answers on one listener. Make one with NewPublic, NewPeer or NewJoin;
// Run it once.
type Server struct {
	cfg   Config
	log   *slog.Logger
	self  Self
	http  fasthttp.Server
	conns *conns

	// base ends when running requests are cut, waits when a drain begins: a
	// client that waits for news can ask another node.
	base, waits       context.Context
	cutBase, endWaits context.CancelFunc

	probed atomic.Int64 // when somebody last asked for readiness, Unix nanoseconds

	work []func(context.Context) error // runs beside the listener
}

// newServer prepares everything but the routes. TCP keep-alive is left to the
// listener, which has it on by default: where fasthttp cannot set it on a
// connection just gone, it stops serving.
func newServer(cfg Config, log *slog.Logger, self Self) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil || self == nil {
		return nil, errors.New("http server: no logger or no self")
	}
	s := &Server{cfg: cfg, log: log, self: self, conns: newConns(cfg.MaxConns)}
	s.work = append(s.work, s.conns.sweep)
	s.base, s.cutBase = context.WithCancel(context.Background())
	s.waits, s.endWaits = context.WithCancel(s.base)
	s.http = fasthttp.Server{
		Name:                         "symkeep",
		ErrorHandler:                 s.malformed,
		ConnState:                    s.conns.changed,
		Logger:                       serverLog{log},
		Concurrency:                  2 * cfg.MaxConns, // conns holds the limit: fasthttp's own answer over it is a 503
		ReadBufferSize:               cfg.HeaderBytes,
		WriteBufferSize:              18 << 10, // the head of an answer and 16 KiB
		ReadTimeout:                  cfg.ReadTimeout,
		WriteTimeout:                 cfg.WriteTimeout,
		IdleTimeout:                  cfg.IdleTimeout,
		MaxRequestBodySize:           1, // bodies stream from the first byte; handlers count them
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		NoDefaultContentType:         true,
		CloseOnShutdown:              true,
		LazyRequestTime:              true, // nobody asks for it
	}
	return s, nil
}

// Run serves connections of ln, which it closes, until ctx ends or ln fails. At a
// requested stop it first fails readiness and goes on serving for
// Config.NoticeTime if somebody balances load by it, ending each connection with
// the answer under way. Then running requests go on for up to Config.DrainTimeout
// and are cut. A requested stop returns nil. No request or connection is left
// behind.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	defer s.cutBase()
	limited := s.conns.limit(ln)
	g, workCtx := errgroup.WithContext(s.base)
	for _, w := range s.work {
		g.Go(func() error { return w(workCtx) })
	}
	served := make(chan error, 1)
	g.Go(func() error {
		err := s.http.Serve(limited)
		served <- err
		return err
	})
	var err error
	select {
	case <-ctx.Done():
		err = s.giveNotice(workCtx, served)
	case <-workCtx.Done():
	case err = <-served:
	}
	s.drain()
	ln.Close() // a stop that came before Serve has not: it would accept forever
	s.cutBase()
	if gerr := g.Wait(); gerr != nil && !errors.Is(gerr, context.Canceled) {
		err = gerr
	}
	s.conns.closeAll()
	<-s.conns.empty()
	if err != nil {
		return fmt.Errorf("http server on %s: %w", ln.Addr(), err)
	}
	return nil
}

// probeMemory is how long a load balancer counts after its last question.
const probeMemory = 30 * time.Second

// giveNotice goes on serving until those who ask for readiness have had time to
// send their requests elsewhere: a listener that closes before leaves connections
// in its queue that were accepted and never answered.
func (s *Server) giveNotice(work context.Context, served <-chan error) error {
	s.endWaits()
	if time.Since(time.Unix(0, s.probed.Load())) > probeMemory {
		return nil
	}
	notice := time.NewTimer(s.cfg.NoticeTime)
	defer notice.Stop()
	select {
	case <-notice.C:
		return nil
	case <-work.Done():
		return nil
	case err := <-served:
		return err
	}
}

// drain waits for running requests, then cuts what is left and waits for that.
func (s *Server) drain() {
	s.endWaits()
	s.conns.stop()
	s.conns.loops.close()
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	if err := s.http.ShutdownWithContext(ctx); err == nil {
		select {
		case <-s.conns.empty(): // fasthttp has not heard of the last that left a loop
			return
		case <-ctx.Done():
		}
	}
	s.log.Warn("requests cut at the end of the drain", "conns", s.conns.count())
	s.cutBase()
	s.conns.closeAll()
	<-s.conns.empty()
}

// handle sets the handler. A panic in it costs one request. Once a stop has begun,
// each answer ends its connection. Answers carry header
// names as their specifications spell them, ETag and X-DEBUGINFOD-SIZE: some
// scripts compare letter by letter.
func (s *Server) handle(f fasthttp.RequestHandler) {
	s.http.Handler = func(rc *fasthttp.RequestCtx) {
		rc.Response.Header.DisableNormalizing()
		defer func() {
			if r := recover(); r != nil {
				s.panicked(rc, r)
			}
			if s.waits.Err() != nil {
				rc.SetConnectionClose()
			}
		}()
		f(rc)
	}
}

// serverLog gives fasthttp's own complaints, all about single connections, the
// level they deserve.
type serverLog struct{ log *slog.Logger }

// Printf implements fasthttp.Logger.
func (l serverLog) Printf(format string, args ...any) {
	l.log.Debug("http connection", "err", fmt.Sprintf(format, args...))
}
