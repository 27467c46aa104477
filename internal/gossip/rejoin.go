package gossip

import (
	"context"
	"math/rand/v2"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	joinsPerRound = 3
	// settle is how long after the start Run joins live nodes as well. A node
	// that comes back at a new address is refused as a conflict until its old
	// entry has been dead for DeadNodeReclaimTime, and nothing repeats its word.
	settle      = time.Minute
	settleEvery = 2 * time.Second // interval until then, if RejoinEvery is longer
)

// Run rejoins nodes that are missing and spreads changes of the meta, until ctx
// ends; then it stops listening. The others find this node dead unless Leave came
// first.
func (g *Gossip) Run(ctx context.Context) error {
	defer g.Close()
	eg, ctx := errgroup.WithContext(ctx)
	eg.Go(func() error { return g.rejoin(ctx) })
	eg.Go(func() error { return g.spread(ctx) })
	return eg.Wait()
}

func (g *Gossip) rejoin(ctx context.Context) error {
	for {
		if addrs := g.missing(); len(addrs) > 0 {
			if _, err := g.Join(ctx, addrs); err != nil && ctx.Err() == nil {
				g.log.Debug("rejoin got no answer", "err", err)
			}
		}
		every := g.cfg.RejoinEvery
		if time.Since(g.start) < settle {
			every = min(every, settleEvery)
		}
		tick := time.NewTimer(every)
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil
		case <-tick.C:
		}
	}
}

// missing returns a few addresses, in random order, at which nobody is alive.
func (g *Gossip) missing() []string {
	skip := map[string]bool{g.Addr(): true, "": true}
	if time.Since(g.start) > settle {
		for _, p := range g.Peers() {
			if p.State == Alive {
				skip[p.GossipAddr] = true
			}
		}
	}
	candidates := g.cfg.Seeds
	if g.cfg.Known != nil {
		candidates = append(g.cfg.Known(), candidates...)
	}
	var addrs []string
	for _, a := range candidates {
		if ip := canonical(a); !skip[ip] {
			skip[ip] = true
			addrs = append(addrs, ip)
		}
	}
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	return addrs[:min(len(addrs), joinsPerRound)]
}

// canonical turns a host name into an address where it can, so that it compares
// with what peers say of themselves.
func canonical(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	ip, err := resolve(host, nil)
	if err != nil {
		return addr
	}
	return net.JoinHostPort(ip.String(), port)
}

func (g *Gossip) spread(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.kick:
			if err := g.update(2 * time.Second); err != nil {
				g.log.Debug("meta not confirmed", "err", err)
			}
		}
	}
}

func (g *Gossip) update(timeout time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	return g.list.UpdateNode(timeout)
}
