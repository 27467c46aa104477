// Package gossip tells which nodes are reachable now and at which addresses. It
// is the only package that imports hashicorp/memberlist.
//
// What it says is a hint: membership is decided by the committed member table,
// never here. Nodes of another cluster are refused; a node without a cluster id
// is a joiner, is shown and counts for nothing.
//
// memberlist forgets a dead node after half a minute and never reconnects two
// halves of a healed partition, so this package remembers the dead for status and
// Run rejoins whoever is missing. All methods are safe for concurrent use; none
// blocks but Join, Leave and Run.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Config of a Gossip.
type Config struct {
	// Self is what this node says of itself. NodeID is required; ClusterID is
	// empty until the node has joined a cluster.
	Self Meta
	// BindAddr is the host:port to listen on, TCP and UDP. Port 0 picks one.
	BindAddr string
	// AdvertiseHost is the host name or address others reach this node at. It is
	// required when BindAddr is a wildcard, and resolved once.
	AdvertiseHost string
	// Seeds are gossip addresses of members, host:port, as given to --join.
	Seeds []string
	// Known returns the gossip addresses of the committed members. It is called
	// from Run and may be nil.
	Known func() []string
	// RejoinEvery is the interval of the rejoin loop; 0 means 15 s.
	RejoinEvery time.Duration
	// ProbeInterval is the interval of failure detection; 0 means 1 s. A silent
	// node is dead after 4 to 8 of them, and the time to notice.
	ProbeInterval time.Duration
	// Logger receives memberlist's own lines too, at debug and warn.
	Logger *slog.Logger
	// Now is the clock of LastSeen; nil means time.Now.
	Now func() time.Time
}

// A Gossip is this node's view of who is reachable.
type Gossip struct {
	cfg   Config
	log   *slog.Logger
	table *table
	list  *memberlist.Memberlist
	addr  string
	kick  chan struct{} // the meta changed
	start time.Time

	mu     sync.Mutex // guards stop, so that Leave never follows it
	closed bool
}

// New listens and starts answering. Call Run, which also stops it; Close stops a
// Gossip that was never run.
func New(cfg Config) (*Gossip, error) {
	if cfg.RejoinEvery <= 0 {
		cfg.RejoinEvery = 15 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Self.Flags &^= Leaving
	encoded, err := cfg.Self.Encode()
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	g := &Gossip{cfg: cfg, log: cfg.Logger, kick: make(chan struct{}, 1), start: time.Now()}
	g.table = newTable(cfg.Self, encoded, cfg.Now)
	mc, err := memberlistConfig(cfg, g.table)
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	if g.list, err = memberlist.Create(mc); err != nil {
		return nil, fmt.Errorf("gossip on %s: %w", cfg.BindAddr, err)
	}
	g.addr = g.list.LocalNode().Address()
	return g, nil
}

func memberlistConfig(cfg Config, t *table) (*memberlist.Config, error) {
	host, portText, err := net.SplitHostPort(cfg.BindAddr)
	if err != nil {
		return nil, fmt.Errorf("bind address %q: %w", cfg.BindAddr, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("bind address %q: port %q is not a number from 0 to 65535", cfg.BindAddr, portText)
	}
	bind, err := resolve(host, net.IPv4zero)
	if err != nil {
		return nil, fmt.Errorf("bind address %q: %w", cfg.BindAddr, err)
	}
	advertise := bind
	if cfg.AdvertiseHost != "" {
		if advertise, err = resolve(cfg.AdvertiseHost, nil); err != nil {
			return nil, fmt.Errorf("advertise host %q: %w", cfg.AdvertiseHost, err)
		}
	}
	if advertise.IsUnspecified() {
		return nil, fmt.Errorf("bind address %q is a wildcard: say with --advertise which host others reach this node at", cfg.BindAddr)
	}
	mc := memberlist.DefaultLANConfig()
	mc.Name = string(cfg.Self.NodeID)
	mc.BindAddr, mc.BindPort = bind.String(), int(port)
	mc.AdvertiseAddr, mc.AdvertisePort = advertise.String(), int(port)
	mc.ProbeTimeout = time.Second // a loaded node with two processors answers late
	if cfg.ProbeInterval > 0 {
		mc.ProbeInterval = cfg.ProbeInterval
		mc.ProbeTimeout = min(mc.ProbeTimeout, cfg.ProbeInterval)
	}
	mc.SuspicionMaxTimeoutMult = 2       // not 6: in a small cluster hardly anybody is there to confirm
	mc.TCPTimeout = 3 * time.Second      // Run waits for at most one dial
	mc.DeadNodeReclaimTime = time.Second // names are random: who comes with one has its data directory
	mc.GossipToTheDeadTime = 30 * time.Second
	mc.Delegate, mc.Events, mc.Alive, mc.Ping = t, t, t, t
	mc.LogOutput = nil
	mc.Logger = log.New(&logWriter{cfg.Logger, t}, "", 0)
	return mc, nil
}

// resolve returns an address of host, IPv4 before IPv6; empty for no host.
func resolve(host string, empty net.IP) (net.IP, error) {
	if host == "" && empty != nil {
		return empty, nil
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip, nil
	}
	ips, err := net.LookupIP(host)
	if err != nil {
		return nil, err
	}
	for _, ip := range ips {
		if ip.To4() != nil {
			return ip, nil
		}
	}
	return ips[0], nil
}

// Addr returns the advertised host:port.
func (g *Gossip) Addr() string { return g.addr }

// Self returns what this node says of itself.
func (g *Gossip) Self() Meta { return g.table.selfMeta() }

// Peers returns every other node ever heard of, sorted by node id: the reachable
// ones and up to 256 that are gone. Nodes of another cluster are never among them.
func (g *Gossip) Peers() []Peer { return g.table.peers() }

// Changed receives a value after Peers has changed; changes coalesce. There is
// one channel: give it to one reader.
func (g *Gossip) Changed() <-chan struct{} { return g.table.changed }

// SetMeta lets edit change what this node says of itself; the node id stays. Run
// spreads it. Errors wrap ErrBadMeta and leave the meta as it was.
func (g *Gossip) SetMeta(edit func(*Meta)) error {
	if err := g.table.setMeta(edit); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	select {
	case g.kick <- struct{}{}:
	default:
	}
	return nil
}

// Join exchanges state with the nodes at the gossip addresses, one after the
// other, and returns how many answered. It fails if none did.
func (g *Gossip) Join(ctx context.Context, addrs []string) (int, error) {
	n := 0
	var errs []error
	for _, a := range addrs {
		if ctx.Err() != nil {
			return n, ctx.Err()
		}
		if _, err := g.list.Join([]string{a}); err != nil {
			errs = append(errs, fmt.Errorf("gossip: join %s: %w", a, err))
			continue
		}
		n++
	}
	if n > 0 {
		return n, nil
	}
	return 0, errors.Join(errs...)
}

// Leave tells the others that this node goes for good, waiting up to timeout
// until the word is out. They show it as left at once. A node that restarts must
// not call it.
func (g *Gossip) Leave(timeout time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errors.New("gossip: leave: already stopped")
	}
	// memberlist does not tell its event delegate a departure from a failure:
	// the flag does, so it is sent first.
	if err := g.table.setMeta(func(m *Meta) { m.Flags |= Leaving }); err != nil {
		return fmt.Errorf("gossip: leave: %w", err)
	}
	if err := g.list.UpdateNode(timeout / 2); err != nil {
		g.log.Warn("leaving flag not confirmed", "err", err)
	}
	if err := g.list.Leave(timeout / 2); err != nil {
		return fmt.Errorf("gossip: leave: %w", err)
	}
	return nil
}

// Close stops listening without a word: the others find this node dead.
func (g *Gossip) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	return g.list.Shutdown()
}
