package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// A site is where clients find the cluster: the URLs of the members of now, those
// that are down too.
type site interface {
	urls() []string
}

// A workload is all clients of one cluster.
type workload struct {
	site    site
	bin     string // the program whose push is the agent
	dir     string // scratch
	product string // of every package
	ledger  *ledger
	history *history
	tally   *tally
	pool    *pool

	held atomic.Bool // nobody begins to push

	mu     sync.Mutex
	recent []*file   // contents that packages may share
	rivals [][]*file // contents that packages may compete with
}

// A client is one of them, with choices of its own.
type client struct {
	*workload
	no     int
	random *rand.Rand
	web    *http.Client
	fresh  *http.Client // a connection per request
}

func (w *workload) client(no int, seed uint64) *client {
	return &client{
		workload: w, no: no, random: rand.New(rand.NewPCG(seed, uint64(1000+no))),
		web:   &http.Client{Timeout: readLimit, Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 4}},
		fresh: &http.Client{Timeout: readLimit, Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}},
	}
}

// Numbers of clients of each kind.
const (
	agents  = 2
	pushers = 3
	readers = 3
	keepers = 2
	lookers = 1
)

// run has the clients at work until ctx ends; those in the middle of something
// finish it before the deadline of work.
func (w *workload) run(ctx, work context.Context, seed uint64) error {
	var g errgroup.Group
	no := 0
	start := func(n int, pause time.Duration, do func(*client, context.Context)) {
		for range n {
			c := w.client(no, seed)
			pushes := no < agents+pushers
			no++
			g.Go(func() error {
				for ctx.Err() == nil {
					if !pushes || !w.held.Load() {
						do(c, work)
					}
					c.rest(ctx, pause)
				}
				return nil
			})
		}
	}
	start(agents, time.Second, (*client).pushAgent)
	start(pushers, 800*time.Millisecond, (*client).pushDirect)
	start(readers, 40*time.Millisecond, (*client).readSomething)
	start(keepers, 2500*time.Millisecond, (*client).keepSomething)
	start(lookers, 300*time.Millisecond, (*client).look)
	return g.Wait()
}

// rest waits half to one and a half times so long.
func (c *client) rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d/2 + time.Duration(c.random.Int64N(int64(d)))):
	}
}

// anyURL picks a member.
func (c *client) anyURL() string {
	us := c.site.urls()
	return us[c.random.IntN(len(us))]
}

// someURLs picks two or more members, in random order.
func (c *client) someURLs() []string {
	us := c.site.urls()
	c.random.Shuffle(len(us), func(i, j int) { us[i], us[j] = us[j], us[i] })
	return us[:min(len(us), 2+c.random.IntN(2))]
}

// A pool keeps one API client per URL.
type pool struct {
	mu      sync.Mutex
	clients map[string]*api.Client
}

func newPool() *pool { return &pool{clients: map[string]*api.Client{}} }

func (p *pool) at(url string) *api.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.clients[url]
	if c == nil {
		var err error
		if c, err = api.NewClient(url); err != nil {
			panic(fmt.Sprintf("torture: %v", err)) // our own URLs are well formed
		}
		p.clients[url] = c
	}
	return c
}

// An ending is what a client makes of an error.
type ending int

const (
	done    ending = iota
	never          // it was not even sent
	refused        // the cluster says no, for good
	unknown        // it may happen, or have happened
	absurd         // no answer of a sound cluster
)

// ended sorts the error of one request.
func ended(err error) (ending, answer) {
	var answered *api.Error
	switch {
	case err == nil:
		return done, answer{}
	case errors.Is(err, syscall.ECONNREFUSED):
		return never, answer{}
	case !errors.As(err, &answered):
		return unknown, answer{unknown: true}
	case errors.Is(err, catalog.ErrNotFound):
		return refused, answer{refused: refusedMissing}
	case errors.Is(err, catalog.ErrConflict):
		return refused, answer{refused: refusedConflict}
	case errors.Is(err, catalog.ErrUnavailable), errors.Is(err, catalog.ErrFull), errors.Is(err, api.ErrNotLeader):
		return unknown, answer{unknown: true}
	}
	return absurd, answer{unknown: true}
}

// try makes one request about a package at one node and enters it into the
// history, unless nothing was sent. An absurd answer is a violation.
func (c *client) try(ctx context.Context, p *pkg, s step, do func(context.Context, *api.Client) (answer, error)) (answer, ending) {
	url := c.anyURL()
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	call := c.history.now()
	a, err := do(ctx, c.pool.at(url))
	end, b := ended(err)
	if end != done {
		a = b
	}
	if end == absurd {
		c.tally.bug("%s of %s %s at %s: %v", s, p.label(), c.ledger.identity(p), url, err)
	}
	if end != never {
		c.history.addFrom(fmt.Sprint(url, " ", err), c.no, p, s, call, a)
	}
	c.tally.count("calls", string(s)+" "+outcomeName(end, err))
	return a, end
}

func outcomeName(end ending, err error) string {
	switch end {
	case done:
		return "ok"
	case never:
		return "not sent"
	case unknown:
		if errors.Is(err, catalog.ErrFull) {
			return "full"
		}
		return "unknown"
	}
	if err != nil && strings.Contains(err.Error(), "conflict") {
		return "conflict"
	}
	return "refused"
}

// Limits of one request.
const (
	callLimit = 30 * time.Second
	readLimit = 20 * time.Second
	pushLimit = 100 * time.Second
)
