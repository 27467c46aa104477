package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"symkeep/agent"
	"symkeep/agent/agenttest"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// A sleeper is a server whose signs of life are scripted.
type sleeper struct {
	node
	asked atomic.Int32
	live  func(ctx context.Context, nth int) error
}

func (s *sleeper) Live(ctx context.Context) error { return s.live(ctx, int(s.asked.Add(1))) }

func silent(ctx context.Context, _ int) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestWatch gives a server five minutes of work, in the time of the bubble.
func TestWatch(t *testing.T) {
	for _, tt := range []struct {
		name  string
		live  func(ctx context.Context, nth int) error
		moves time.Duration // takes bytes so often, 0 for never
		gone  time.Duration // when it is given up, 0 for never
	}{
		{"lives", func(context.Context, int) error { return nil }, 0, 0},
		{"stands still", silent, 0, 9 * time.Second},
		{"host is away", func(context.Context, int) error { return errors.New("no route to host") }, 0, 6 * time.Second},
		{"misses every other question", func(ctx context.Context, nth int) error {
			if nth%2 == 0 {
				return nil
			}
			return silent(ctx, nth)
		}, 0, 0},
		{"stops later", func(ctx context.Context, nth int) error {
			if nth <= 10 {
				return nil
			}
			return silent(ctx, nth)
		}, 0, 39 * time.Second},
		{"takes no new connections", func(context.Context, int) error { return errRefused }, 0, 0},
		{"slow line full of the upload", silent, time.Second, 0},
		{"upload begun and then nothing", silent, time.Hour, 9 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sleeper{node: node{name: "http://a"}, live: tt.live}
				other := &sleeper{node: node{name: "http://b"}, live: silent}
				var told events
				p := agent.NewPool([]agent.Server{s, other}, time.Hour, &told)
				begun := time.Now()
				var given time.Duration
				err := p.Do(t.Context(), func(ctx context.Context, at agent.Server) error {
					if at != agent.Server(s) {
						return nil
					}
					if tt.moves > 0 {
						p.Moves(s)
					}
					for left := 5 * time.Minute; left > 0; left -= time.Second {
						select {
						case <-time.After(time.Second):
						case <-ctx.Done():
							given = time.Since(begun)
							return ctx.Err()
						}
						if tt.moves == time.Second {
							p.Moves(s)
						}
					}
					return nil
				})
				if err != nil || given != tt.gone {
					t.Errorf("do = %v, server given up after %v, want %v", err, given, tt.gone)
				}
				r := told.of(agent.EventRetry)
				if tt.gone > 0 && (len(r) != 1 || r[0].Server != "http://a" || !strings.HasPrefix(r[0].Message, "http://a: no sign of life")) {
					t.Errorf("told %+v, want one retry that says that a gives no sign of life", r)
				}
			})
		})
	}
}

// TestWatchInterrupted: the end of the push is no fault of the server.
func TestWatchInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5*time.Second, func() { cancel(stop) })
		var told events
		s := &sleeper{live: silent}
		err := agent.NewPool([]agent.Server{s}, time.Hour, &told).Do(ctx, func(ctx context.Context, _ agent.Server) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, stop) || len(told.of(agent.EventRetry)) != 0 {
			t.Errorf("do = %v, retries %+v, want the cause and none", err, told.of(agent.EventRetry))
		}
	})
}

// A balancer answers for its nodes, and one of them stopped in a commit.
type balancer struct {
	node
	pkg     catalog.Package
	commits int
}

func (b *balancer) Live(context.Context) error { return nil }

func (b *balancer) Open(_ context.Context, r api.OpenRequest) (api.OpenResponse, error) {
	return api.OpenResponse{Package: "p", ClusterID: b.cluster}, nil
}

func (b *balancer) AddFiles(context.Context, catalog.PackageID, api.AddFilesRequest) (api.AddFilesResponse, error) {
	return api.AddFilesResponse{}, nil
}

func (b *balancer) RenewLease(context.Context, catalog.PackageID) error { return nil }

func (b *balancer) Commit(ctx context.Context, _ catalog.PackageID, _ api.CommitRequest) (api.CommitResponse, error) {
	if b.commits++; b.commits == 1 {
		<-ctx.Done()
		return api.CommitResponse{}, ctx.Err()
	}
	return api.CommitResponse{State: catalog.StateCommitted}, nil
}

// TestCommitBehindBalancer: the answers of other nodes must not have the agent wait
// for ever for the one that stopped.
func TestCommitBehindBalancer(t *testing.T) {
	dir := tree(t, map[string]string{"a.sym": string(sym("a", 1, 0))})
	synctest.Test(t, func(t *testing.T) {
		b := &balancer{node: node{name: "http://lb", cluster: "one"}}
		cfg := config(dir)
		cfg.Timeout, cfg.NoWait = 10*time.Minute, true
		begun := time.Now()
		r, err := agent.Push(t.Context(), cfg, []agent.Server{b}, &events{})
		if took := time.Since(begun); err != nil || r.State != catalog.StateCommitted || took > 45*time.Second || took < 30*time.Second {
			t.Errorf("Push = %+v, %v after %v, want committed after the 30 s that a node may take and at most 45 s", r, err, took)
		}
	})
}

// TestPushStopped stops the node that a push has come to, at each of its steps.
func TestPushStopped(t *testing.T) {
	large := sym("large", 1, 8<<20) // more than a connection buffers
	for _, tt := range []struct {
		name string
		at   func(r *http.Request) bool
		read int64 // bytes of the body until it stops
	}{
		{"open", func(r *http.Request) bool { return r.Method == "POST" && r.URL.Path == "/api/v1/packages" }, 0},
		{"add files", func(r *http.Request) bool { return r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/files") }, 0},
		{"ask for the offset", func(r *http.Request) bool { return r.Method == "HEAD" }, 0},
		{"upload, nothing read", func(r *http.Request) bool { return r.Method == "PUT" }, 0},
		{"upload, some read", func(r *http.Request) bool { return r.Method == "PUT" }, 300_000},
		{"commit", func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/commit") }, 0},
		{"wait for the verdict", func(r *http.Request) bool { return r.Method == "GET" && r.URL.Query().Has("wait") }, 0},
		{"read the findings", func(r *http.Request) bool { return r.Method == "GET" && strings.HasSuffix(r.URL.Path, "/files") }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := agenttest.New(t, 2)
			var victim atomic.Pointer[agenttest.Node]
			c.Intercept = func(n *agenttest.Node, _ http.ResponseWriter, r *http.Request) bool {
				if !tt.at(r) || !victim.CompareAndSwap(nil, n) {
					return false
				}
				if tt.read == 0 {
					n.Stop()
				} else {
					r.Body = stopping{io.LimitReader(r.Body, tt.read), r.Body, n}
				}
				return false
			}
			cfg := config(tree(t, map[string]string{"large.sym": string(large), "b.sym": string(sym("b", 2, 100))}))
			cfg.Probe = 200 * time.Millisecond
			var told events
			begun := time.Now()
			r, err := agent.Push(t.Context(), cfg, dial(t, c.URLs()...), &told)
			// A server that is not given up by its silence costs 45 s at least.
			if took := time.Since(begun); err != nil || r.Verdict != catalog.Good || took > 30*time.Second {
				t.Fatalf("Push = %+v, %v after %v, want good in a moment", r, err, took)
			}
			n := victim.Load()
			if n == nil {
				t.Fatal("no server stopped, so nothing was proved")
			}
			if !slices.ContainsFunc(told.of(agent.EventRetry), func(e agent.Event) bool {
				return e.Server == n.URL && strings.Contains(e.Message, "no sign of life")
			}) {
				t.Errorf("retries %+v, want one that says that %s gives no sign of life", told.of(agent.EventRetry), n.URL)
			}
			n.Resume()
			n.Close() // waits for what it does with the requests it still had
			if p := c.Packages(); len(p) != 1 || p[0].State != catalog.StateGood || p[0].Files != 2 {
				t.Errorf("after the node went on there are packages %+v, want one good one of 2 files", p)
			}
		})
	}
}

// stopping is a body that makes the node stop once it was read.
type stopping struct {
	io.Reader
	rest io.ReadCloser
	n    *agenttest.Node
}

func (s stopping) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err == io.EOF {
		s.n.Stop()
		return s.rest.Read(p)
	}
	return n, err
}

func (s stopping) Close() error { return s.rest.Close() }

// resumer makes a node go on when the agent has given it up so many times.
type resumer struct {
	n    *agenttest.Node
	left *atomic.Int32
}

func (r resumer) Report(e agent.Event) {
	if e.Event == agent.EventRetry && r.left.Add(-1) == 0 {
		r.n.Resume()
	}
}

// TestPushStoppedAlone: the only server is tried again until it goes on, or until
// the time without progress is over.
func TestPushStoppedAlone(t *testing.T) {
	for _, tt := range []struct {
		name    string
		retries int32 // until it goes on
		is      error
	}{
		{"goes on", 2, nil},
		{"for good", 1 << 20, catalog.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := agenttest.New(t, 1)
			var once sync.Once
			c.Intercept = func(n *agenttest.Node, _ http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/commit") {
					once.Do(n.Stop)
				}
				return false
			}
			cfg := config(tree(t, map[string]string{"a.sym": string(sym("a", 1, 1000))}))
			cfg.Probe, cfg.Timeout = 100*time.Millisecond, 10*time.Second
			if tt.is != nil {
				cfg.Timeout = 2 * time.Second
			}
			var left atomic.Int32
			left.Store(tt.retries)
			begun := time.Now()
			r, err := agent.Push(t.Context(), cfg, dial(t, c.URLs()...), resumer{c.Nodes[0], &left})
			took := time.Since(begun)
			if !errors.Is(err, tt.is) || tt.is == nil && r.Verdict != catalog.Good || tt.is != nil && took < cfg.Timeout {
				t.Errorf("Push = %+v, %v after %v, want %v", r, err, took, tt.is)
			}
			if tt.is != nil && !strings.Contains(fmt.Sprint(err), "no sign of life") {
				t.Errorf("Push = %v, want to hear of no sign of life", err)
			}
			if n := len(c.Packages()); n != 1 {
				t.Errorf("%d packages were opened, want 1", n)
			}
		})
	}
}
