package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// ErrOtherCluster says that a server belongs to another cluster than the one the
// push began in.
var ErrOtherCluster = errors.New("server of another cluster")

// A Server is the way to one node. *api.Client is one. Methods may be called from
// several goroutines.
type Server interface {
	Base() string // URL
	// Live asks over a fresh connection whether the server lives; any answer is nil.
	Live(ctx context.Context) error
	Cluster(ctx context.Context) (api.ClusterStatus, error)
	Ingester
	Watcher
}

const (
	// refusedGrace is how long every server may refuse the connection: a node that
	// restarts is back before; a wrong URL never is.
	refusedGrace = 4 * time.Second
	firstWait    = 100 * time.Millisecond // between rounds, doubled each time
	maxWait      = 5 * time.Second
	probeTimeout = 3 * time.Second
	// stubbornRounds is how often every server may answer that it knows nothing of
	// the package, or with an error of its own making, before that is believed: one
	// that has just joined or restarted may lag behind the others.
	stubbornRounds = 3
)

// servers sends each request to one node of a cluster and fails over to the next.
// A request may therefore arrive twice; all of them are idempotent.
type servers struct {
	list    []Server
	report  Reporter
	timeout time.Duration // without progress
	probe   time.Duration // between questions whether a server lives that is asked for something

	mu       sync.Mutex
	current  int // sticky: the last one that answered
	cluster  catalog.ClusterID
	known    []bool // belongs to cluster
	progress time.Time
	took     []time.Time // when each server last took bytes of an upload
}

// newServers starts at server number start, so that many agents spread over the
// nodes.
func newServers(list []Server, start int, cfg Config, report Reporter) *servers {
	return &servers{
		list: list, report: report, timeout: cfg.Timeout, probe: cfg.Probe, current: start % len(list),
		known: make([]bool, len(list)), progress: time.Now(), took: make([]time.Time, len(list)),
	}
}

// do calls f with one server after the other until one does it. What a server
// refuses for good is returned at once. When all refuse the connection it gives
// up after refusedGrace, otherwise after the timeout without progress; those
// errors wrap catalog.ErrUnavailable. what names the request in errors.
func (p *servers) do(ctx context.Context, what string, f func(context.Context, Server) error) error {
	var refusedSince time.Time
	wait, stubborn := firstWait, 0
	for {
		r := p.round(ctx, f)
		if r.final {
			return r.err
		}
		now := time.Now()
		pause := wait/2 + rand.N(wait/2)
		if r.refused {
			if refusedSince.IsZero() {
				refusedSince = now
			}
			left := refusedGrace - now.Sub(refusedSince)
			if left <= 0 {
				return fmt.Errorf("%s: no server accepts connections: %w: check --server and that the nodes run", what, r.err)
			}
			pause = min(pause, left)
		} else {
			refusedSince = time.Time{}
		}
		if r.stubborn {
			if stubborn++; stubborn >= stubbornRounds {
				return fmt.Errorf("%s: %w", what, r.err)
			}
		}
		idle := now.Sub(p.lastProgress())
		if idle >= p.timeout {
			return fmt.Errorf("%s: no progress for %s, gave up: %w: %w", what, idle.Round(time.Second), r.err, catalog.ErrUnavailable)
		}
		if err := sleep(ctx, min(pause, p.timeout-idle)); err != nil {
			return err
		}
		wait = min(2*wait, maxWait)
	}
}

// An outcome is that of one round over all servers.
type outcome struct {
	err      error // of the last server, nil when it is done
	final    bool  // no use to go on
	refused  bool  // every server refused the connection
	stubborn bool  // every server answered, and none with a reason to try again
}

func (p *servers) round(ctx context.Context, f func(context.Context, Server) error) outcome {
	r := outcome{refused: true, stubborn: true}
	start := p.sticky()
	for i := range p.list {
		no := (start + i) % len(p.list)
		err := p.try(ctx, no, f)
		switch {
		case err == nil:
			p.stick(no)
			return outcome{final: true}
		case ctx.Err() != nil:
			return outcome{err: context.Cause(ctx), final: true}
		case isFinal(err):
			return outcome{err: err, final: true}
		}
		p.report.Report(Event{Event: EventRetry, Server: p.list[no].Base(), Message: err.Error()})
		r.err = err
		r.refused = r.refused && isRefusedConnection(err)
		r.stubborn = r.stubborn && isStubborn(err)
	}
	return r
}

// try asks one server, after making sure once that it is of this cluster, until it
// answers or does not live any more.
func (p *servers) try(ctx context.Context, no int, f func(context.Context, Server) error) error {
	if err := p.verify(ctx, no); err != nil {
		return err
	}
	wctx, stop := p.watch(ctx, no)
	err := f(wctx, p.list[no])
	stop()
	if gone := context.Cause(wctx); err != nil && errors.Is(gone, errGone) {
		return fmt.Errorf("%s: %w", p.list[no].Base(), gone)
	}
	return err
}

func (p *servers) verify(ctx context.Context, no int) error {
	p.mu.Lock()
	cluster, known := p.cluster, p.known[no]
	p.mu.Unlock()
	if cluster == "" || known {
		return nil
	}
	pctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	st, err := p.list[no].Cluster(pctx)
	switch {
	case err != nil && ctx.Err() == nil && pctx.Err() != nil:
		return fmt.Errorf("%s: no answer for %s: %w", p.list[no].Base(), probeTimeout, catalog.ErrUnavailable)
	case err != nil:
		return err
	}
	return p.learn(no, st.ClusterID)
}

// learn records the cluster of a server. The first one heard is that of the push.
// A node that belongs to none yet is on its way into one: another may serve.
func (p *servers) learn(no int, cluster catalog.ClusterID) error {
	if cluster == "" {
		return fmt.Errorf("%s: has not joined a cluster yet: %w", p.list[no].Base(), catalog.ErrUnavailable)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cluster == "" {
		p.cluster = cluster
	}
	if p.cluster != cluster {
		return fmt.Errorf("%s: belongs to cluster %q, this push goes to cluster %q: name servers of one cluster only: %w",
			p.list[no].Base(), cluster, p.cluster, ErrOtherCluster)
	}
	p.known[no] = true
	return nil
}

// verifyAll asks every server that answers soon for its cluster, so that a wrong
// URL shows before it is needed.
func (p *servers) verifyAll(ctx context.Context) error {
	errs := make([]error, len(p.list))
	var wg sync.WaitGroup
	for no := range p.list {
		wg.Go(func() { errs[no] = p.verify(ctx, no) })
	}
	wg.Wait()
	for _, err := range errs {
		if errors.Is(err, ErrOtherCluster) {
			return err
		}
	}
	return nil
}

func (p *servers) sticky() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

func (p *servers) stick(no int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current, p.progress = no, time.Now()
}

// advanced says that bytes went out which never had before.
func (p *servers) advanced() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.progress = time.Now()
}

func (p *servers) lastProgress() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.progress
}

func (p *servers) number(s Server) int { return slices.Index(p.list, s) }

// isFinal reports whether no server can be expected to answer otherwise.
func isFinal(err error) bool {
	for _, target := range []error{ErrChanged, ErrOtherCluster, errLocal, catalog.ErrInvalid, catalog.ErrConflict, catalog.ErrStaleToken} {
		if errors.Is(err, target) {
			return true
		}
	}
	return IsRefused(err)
}

// IsRefused reports whether a server wants to be convinced who asks.
func IsRefused(err error) bool { return errors.Is(err, api.ErrRefused) }

func isStubborn(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && (e.Code == api.CodeInternal || e.Code == api.CodeNotFound)
}

// isRefusedConnection reports whether nobody can be behind the address: a refused
// connection, an unknown host. A time-out is not: the server may be busy.
func isRefusedConnection(err error) bool {
	const wsaConnRefused = syscall.Errno(10061)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, wsaConnRefused) {
		return true
	}
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// sleep waits, or returns the cause of ctx's end.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
