package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"symkeep/agent"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// A node is a server as far as failover goes.
type node struct {
	agent.Server
	name    string
	cluster catalog.ClusterID
}

func (n *node) Base() string { return n.name }

func (n *node) Cluster(context.Context) (api.ClusterStatus, error) {
	return api.ClusterStatus{ClusterID: n.cluster}, nil
}

var (
	errRefused = fmt.Errorf("dial: %w: %w", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, catalog.ErrUnavailable)
	errNoHost  = fmt.Errorf("dial: %w: %w", &net.DNSError{IsNotFound: true}, catalog.ErrUnavailable)
	errBusy    = &api.Error{Code: api.CodeUnavailable, Message: "no leader"}
)

// TestGivesUp measures how long a request is tried, in the time of the bubble.
func TestGivesUp(t *testing.T) {
	for _, tt := range []struct {
		name   string
		errs   []error // per server, always
		within [2]time.Duration
		is     error
	}{
		{"every connection refused", []error{errRefused, errRefused}, [2]time.Duration{time.Second, 5 * time.Second}, catalog.ErrUnavailable},
		{"unknown host", []error{errNoHost}, [2]time.Duration{time.Second, 5 * time.Second}, catalog.ErrUnavailable},
		{"one refused, one busy", []error{errRefused, errBusy}, [2]time.Duration{10 * time.Minute, 10*time.Minute + 5*time.Second}, catalog.ErrUnavailable},
		{"disk full", []error{&api.Error{Code: api.CodeFull}}, [2]time.Duration{10 * time.Minute, 10*time.Minute + 5*time.Second}, catalog.ErrUnavailable},
		{"permission", []error{&api.Error{Code: api.CodeRefused}}, [2]time.Duration{0, 0}, api.ErrRefused},
		{"invalid", []error{&api.Error{Code: api.CodeInvalid}}, [2]time.Duration{0, 0}, catalog.ErrInvalid},
		{"unknown package everywhere", []error{&api.Error{Code: api.CodeNotFound}}, [2]time.Duration{1, time.Second}, catalog.ErrNotFound},
		{"broken server", []error{&api.Error{Code: api.CodeInternal, Message: "boom"}}, [2]time.Duration{1, time.Second}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var list []agent.Server
				for i := range tt.errs {
					list = append(list, &node{name: fmt.Sprint(i)})
				}
				begun := time.Now()
				err := agent.NewPool(list, 10*time.Minute, &events{}).Do(t.Context(), func(_ context.Context, s agent.Server) error {
					return tt.errs[slices.Index(list, s)]
				})
				took := time.Since(begun)
				if err == nil || tt.is != nil && !errors.Is(err, tt.is) || took < tt.within[0] || took > tt.within[1] {
					t.Errorf("do gave up after %s with %v, want %v within %v", took, err, tt.is, tt.within)
				}
			})
		})
	}
}

func TestServerComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		err := agent.NewPool([]agent.Server{&node{}}, time.Minute, &events{}).Do(t.Context(), func(context.Context, agent.Server) error {
			if time.Since(begun) < agent.RefusedGrace-time.Second {
				return errRefused
			}
			return nil
		})
		if err != nil {
			t.Errorf("do with a server that is away for a moment = %v, want success", err)
		}
	})
}

func TestFailoverSticks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := []agent.Server{&node{name: "a"}, &node{name: "b"}, &node{name: "c"}}
		var told events
		p := agent.NewPool(list, time.Minute, &told)
		var asked []string
		for range 2 {
			err := p.Do(t.Context(), func(_ context.Context, s agent.Server) error {
				asked = append(asked, s.Base())
				if s.Base() == "a" {
					return errBusy
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"a", "b", "b"}; !slices.Equal(asked, want) {
			t.Errorf("asked %q, want %q", asked, want)
		}
		if r := told.of(agent.EventRetry); len(r) != 1 || r[0].Server != "a" || r[0].Message != "no leader" {
			t.Errorf("retries told = %+v, want one of server a", r)
		}
	})
}

func TestOtherClusterRefused(t *testing.T) {
	list := []agent.Server{&node{name: "a", cluster: "one"}, &node{name: "b", cluster: "two"}}
	p := agent.NewPool(list, time.Minute, &events{})
	if err := p.Learn(0, list[0]); err != nil {
		t.Fatal(err)
	}
	err := p.Do(t.Context(), func(_ context.Context, s agent.Server) error {
		if s.Base() == "b" {
			t.Error("a request went to a server of another cluster")
		}
		return errBusy
	})
	if !errors.Is(err, agent.ErrOtherCluster) {
		t.Errorf("do = %v, want ErrOtherCluster", err)
	}
}

// TestNodeWithoutCluster: a wiped node that is on its way back into the cluster is
// no server of another one.
func TestNodeWithoutCluster(t *testing.T) {
	list := []agent.Server{&node{name: "joined", cluster: "one"}, &node{name: "fresh"}, &node{name: "other", cluster: "one"}}
	p := agent.NewPool(list, time.Minute, &events{})
	if err := p.Learn(0, list[0]); err != nil {
		t.Fatal(err)
	}
	var asked []string
	err := p.Do(t.Context(), func(_ context.Context, s agent.Server) error {
		asked = append(asked, s.Base())
		if s.Base() == "joined" {
			return errBusy
		}
		return nil
	})
	if want := []string{"joined", "other"}; err != nil || !slices.Equal(asked, want) {
		t.Errorf("asked %q, %v, want %q and success", asked, err, want)
	}
}

func TestCancelledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(stop) })
		err := agent.NewPool([]agent.Server{&node{}}, time.Hour, &events{}).Do(ctx, func(context.Context, agent.Server) error { return errBusy })
		if !errors.Is(err, stop) {
			t.Errorf("do after the end of ctx = %v, want its cause", err)
		}
	})
}
