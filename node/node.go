// Package node is one running symkeep server: it opens the parts, connects them,
// starts and stops them in order, and does the duties of the cluster's leader. It
// holds no domain logic: packages are judged in validate, kept in raftfsm, moved
// by replication and served by symhttp.
//
// A Node is made by New and lives in Run. Its exported methods are what symhttp
// asks of a node; they are safe for concurrent use once Run has started.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"symkeep/internal/api"
	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
	"symkeep/internal/courier"
	"symkeep/internal/gossip"
	"symkeep/internal/notify"
	"symkeep/internal/share"
	"symkeep/internal/validate/known"
	"symkeep/raftfsm"
	"symkeep/replication"
)

// A Node is one running server.
type Node struct {
	cfg     Config
	log     *slog.Logger
	id      *identity
	name    string
	started time.Time
	metrics *prometheus.Registry

	httpLn, peerLn                 net.Listener
	httpAdvertised, peerAdvertised string

	fsm      *raftfsm.FSM
	blobs    *blobstore.Store
	cache    *blobstore.Cache
	repl     *replication.Replicator
	gossip   *gossip.Gossip
	peers    *api.PeerClient
	listener *peerListener
	relay    *notify.Relay
	notifier *notify.Worker
	lease    *negativeLease
	uploads  *uploadTable
	receipts chan catalog.Receipt

	leading   atomic.Bool               // raft has said that this node leads, and not that it no longer does
	readyTerm atomic.Uint64             // term in which this leader may answer reads
	firstLed  atomic.Pointer[time.Time] // when this process became the leader first; set before readyTerm
	handing   atomic.Int32              // transfers of leadership under way
	pulse     pulse
	end       *ending
	severing  sync.WaitGroup // what may outlive Run after a disk has hung
	stream    atomic.Pointer[raftStream]
	disk      *diskWatch
	ballast   *ballast
	guard     *diskGuard
	transfer  transferWatch
	notable   notables
	drains    drainTable
	damage    *damageLog
	courier   *courier.Courier // nil: repair is done by this process
	known     *known.Store     // nil: nothing is remembered of files
	doubted   atomic.Bool      // the catalog named a blob that it has no row of
	unsure    atomic.Bool      // the catalog may have changed while this node was down, and is not compared yet
	leaving   atomic.Bool
	stopping  atomic.Bool
	memberMu  sync.Mutex // one change of the membership at a time

	mu       sync.Mutex
	cons     *consensus
	entered  chan struct{} // closed once cons is set
	closed   bool
	share    *share.Share // nil without one
	extra    []string     // gossip addresses given by cluster join
	joinFail error
}

// New opens what a node keeps and its listeners. The caller then calls Run, which
// releases them; Close releases them instead.
func New(cfg Config) (n *Node, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	n = &Node{cfg: cfg, log: cfg.Logger, started: time.Now(), entered: make(chan struct{}), metrics: prometheus.NewRegistry()}
	n.uploads, n.receipts = newUploadTable(), make(chan catalog.Receipt, receiptQueue)
	n.damage = newDamageLog()
	n.lease = newNegativeLease(n.confirmApplied)
	n.end, n.disk = newEnding(), newDiskWatch(cfg.Disk.HungAfter)
	n.ballast = newBallast(n.raftDir(), cfg.Disk, n.log)
	n.guard = &diskGuard{relieve: n.ballast.release, fail: n.fail, fence: n.fence, goOn: n.goOnDamaged, doubt: n.unsureSnapshot, loop: n.restoredAgain}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.id, err = openIdentity(cfg.DataDir); err != nil {
		return n, err
	}
	if n.blobs, err = blobstore.Open(blobstore.Config{Dir: cfg.DataDir, Marks: cfg.Disk.Marks, Logger: n.log}); err != nil {
		return n, err
	}
	if n.cache, err = blobstore.OpenCache(n.blobs, cfg.CacheBytes); err != nil {
		return n, err
	}
	n.openKnown()
	if n.fsm, err = raftfsm.Open(filepath.Join(cfg.DataDir, "fsm.db")); err != nil {
		return n, err
	}
	if c := n.fsm.ClusterID(); c != "" && c != n.id.Cluster {
		return n, fmt.Errorf("data directory %s: cluster-id says %q, the catalog is of cluster %s: restore the file: %w", cfg.DataDir, n.id.Cluster, c, catalog.ErrConflict)
	}
	if err = n.checkShare(); err != nil {
		return n, err
	}
	if n.relay, err = loadRelay(cfg, n.log); err != nil {
		return n, err
	}
	if err = n.listen(); err != nil {
		return n, err
	}
	if n.gossip, err = gossip.New(n.gossipConfig()); err != nil {
		return n, err
	}
	n.peers = api.NewPeerClient(n.ClusterID)
	n.listener = newPeerListener(n.peerLn, n.ClusterID, n.log)
	c := committed{n}
	var carries replication.Courier
	if len(cfg.CourierCommand) > 0 {
		n.courier = courier.New(courier.Config{Command: cfg.CourierCommand, Cluster: n.ClusterID, Logger: n.log,
			Addr: func(id catalog.NodeID) string { return n.peerAddr(id, "") }})
		carries = n.courier
	}
	n.repl, err = replication.New(replication.Config{
		Self: n.id.Node, Store: n.blobs, Catalog: c, Proposer: c, Peers: peers{n}, Courier: carries, Logger: n.log,
		Alive:  func(id catalog.NodeID) bool { return !n.foundDead(id) },
		Down:   n.longGone,
		Synced: n.markSynced, LayoutSynced: n.markLayoutSynced, Damaged: n.copyDamaged,
	})
	return n, err
}

func (n *Node) listen() (err error) {
	if n.httpLn, err = net.Listen("tcp", n.cfg.HTTPAddr); err != nil {
		return fmt.Errorf("http-addr: %w", err)
	}
	if n.peerLn, err = net.Listen("tcp", n.cfg.PeerAddr); err != nil {
		return fmt.Errorf("peer-addr: %w", err)
	}
	n.httpAdvertised = n.cfg.advertised(n.httpLn.Addr().String())
	n.peerAdvertised = n.cfg.advertised(n.peerLn.Addr().String())
	n.name = n.cfg.nodeName(n.peerAdvertised)
	return nil
}

func (n *Node) gossipConfig() gossip.Config {
	return gossip.Config{
		Self: gossip.Meta{
			NodeID: n.id.Node, ClusterID: n.id.Cluster, Name: n.name, PeerAddr: n.peerAdvertised,
			HTTPAddr: n.httpAdvertised, Zone: n.cfg.Zone, Version: n.cfg.Version,
		},
		BindAddr:      n.cfg.GossipAddr,
		AdvertiseHost: n.cfg.Advertise,
		Seeds:         n.cfg.Join,
		Known:         n.seeds,
		Logger:        n.log,
	}
}

// seeds returns the gossip addresses worth asking: those given, and the members'.
func (n *Node) seeds() []string {
	n.mu.Lock()
	addrs := append(append([]string(nil), n.cfg.Join...), n.extra...)
	n.mu.Unlock()
	for _, m := range n.otherMembers() {
		addrs = append(addrs, m.GossipAddr)
	}
	return addrs
}

func (n *Node) addSeeds(addrs []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.extra = addrs
}

func (n *Node) setJoinError(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.joinFail = err
}

func (n *Node) joinError() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.joinFail
}

// ClusterID returns the cluster this node belongs to, empty before it joins one.
func (n *Node) ClusterID() catalog.ClusterID {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.id.Cluster
}

// AppliedIndex is the log index that local reads reflect.
func (n *Node) AppliedIndex() uint64 { return n.fsm.AppliedIndex() }

// consensus returns raft, nil before the node belongs to a cluster.
func (n *Node) consensus() *consensus {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cons
}

func (n *Node) awaitConsensus(ctx context.Context) (*consensus, error) {
	select {
	case <-n.entered:
		return n.consensus(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// enter makes this node part of a cluster, for good, and starts raft. It does
// nothing if that has happened.
func (n *Node) enter(cluster catalog.ClusterID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cons != nil || n.closed {
		return nil
	}
	if err := n.id.setCluster(cluster); err != nil {
		return err
	}
	worker, err := n.newNotifier(cluster)
	if err != nil {
		return err
	}
	stream := newRaftStream(n.listener.raft, n.peerAdvertised, n.ClusterID)
	n.stream.Store(stream)
	c, err := openConsensus(n.raftDir(), n.id.Node, n.fsm, n.guard, stream, n, n.log)
	if err != nil {
		return err
	}
	n.beginUnsure(c)
	n.cons, n.notifier = c, worker
	close(n.entered)
	return n.gossip.SetMeta(func(m *gossip.Meta) { m.ClusterID = cluster })
}

// begin decides what a start means: go on with the cluster of the data directory,
// found one, or wait to be let into one.
func (n *Node) begin() error {
	if id := n.ClusterID(); id != "" {
		founding, err := n.id.isFounding()
		if err != nil {
			return err
		}
		if founding { // the last process ended on the way
			return n.found(id)
		}
		if n.cfg.NewCluster == Yes {
			n.log.Info("data directory belongs to a cluster already, new-cluster is ignored", "node", n.name)
		}
		return n.enter(id)
	}
	if !n.cfg.foundsCluster() {
		if len(n.cfg.Join) > 0 {
			n.log.Info("waiting to join a cluster", "node", n.name, "peer", fmt.Sprint(n.cfg.Join))
		} else {
			n.log.Warn("waiting: this node is in no cluster; run `symkeep cluster join`, or start it with --join ADDR to join one or with --new-cluster to found one", "node", n.name)
		}
		return nil
	}
	id, err := n.id.found()
	if err != nil {
		return err
	}
	return n.found(id)
}

// found makes this node the first voter of a cluster. Until founded says so, a
// crash on the way leaves it to the next start.
func (n *Node) found(id catalog.ClusterID) error {
	n.mu.Lock()
	err := n.id.setCluster(id)
	n.mu.Unlock()
	if err != nil {
		return err
	}
	if err := bootstrap(n.raftDir(), n.id.Node, n.peerAdvertised, n.log); err != nil {
		return err
	}
	n.log.Info("founding a cluster", "node", n.name)
	if err := n.id.founded(); err != nil {
		return err
	}
	return n.enter(id)
}

func (n *Node) raftDir() string { return filepath.Join(n.cfg.DataDir, "raft") }

// Run serves until ctx ends, a part fails or the node has left its cluster. The edge
// closes first: readiness, leadership and requests; then the workers stop, then raft
// and the stores. A requested stop returns nil.
//
// When a disk hangs Run returns although goroutines are left that wait for it: the
// process is to end.
func (n *Node) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	n.severing.Go(func() { ended <- n.run(ctx) })
	select {
	case err := <-ended:
		return err
	case <-n.end.hung:
	}
	select {
	case <-ended:
	case <-time.After(hangPatience):
	}
	<-n.end.set
	return n.end.err
}

func (n *Node) run(ctx context.Context) (err error) {
	defer func() { err = n.joinCause(err, n.Close()) }()
	if err := n.begin(); err != nil {
		return err
	}
	servers, err := n.newServers()
	if err != nil {
		return err
	}
	coreCtx, stopCore := context.WithCancel(context.WithoutCancel(ctx))
	defer stopCore()
	core, coreCtx := errgroup.WithContext(coreCtx)
	edgeCtx, stopEdge := context.WithCancel(ctx)
	defer stopEdge()
	context.AfterFunc(coreCtx, stopEdge) // a failed worker closes the edge too
	defer n.lease.stop()

	for _, work := range []func(context.Context) error{
		n.pulse.Run, n.listener.Run, n.gossip.Run, n.runElection, n.runAnnounce, n.runLeadership, n.runValidator,
		n.runSessions, n.runReceipts, n.runChanges, n.runPeerChanges, n.runReplication, n.runShare, n.runSettingsCheck, n.runDamage,
		n.runDiskWatch, n.runRoom, n.runAlarms, n.runAudit, n.runContents, n.runTransferWatch, n.runMemberWatch,
	} {
		core.Go(func() error { return work(coreCtx) })
	}
	core.Go(func() error { return n.runEnding(coreCtx, stopEdge) })
	core.Go(func() error { return servers.peer.Run(coreCtx, n.listener.http) })
	core.Go(func() error { return servers.join.Run(coreCtx, n.listener.joiner) })
	core.Go(func() error {
		defer stopCore()
		edge, edgeRun := errgroup.WithContext(edgeCtx)
		edge.Go(func() error { return servers.public.Run(edgeRun, n.httpLn) })
		edge.Go(func() error {
			<-edgeRun.Done()
			n.withdraw()
			return nil
		})
		return edge.Wait()
	})
	n.log.Info("node runs", "node", n.name, "http", n.httpAdvertised, "peer", n.peerAdvertised, "gossip", n.gossip.Addr())
	return core.Wait()
}

// withdraw fails readiness and hands leadership over. Gossip is not told: this
// node comes back, or is found dead.
func (n *Node) withdraw() {
	n.stopping.Store(true)
	c := n.consensus()
	if c == nil || n.end.failed() != nil {
		return
	}
	if n.leads() && len(n.members()) > 1 {
		_ = n.transferLeadership(context.Background(), c) // else the others elect one
	}
}

func (n *Node) stopError() error {
	if n.stopping.Load() {
		return errors.New("the node is stopping")
	}
	return nil
}

// Close releases everything, once; later calls do nothing. Run calls it. A request
// that is still held somewhere finds raft and the stores closed, which they say.
func (n *Node) Close() error {
	n.mu.Lock()
	c, closed := n.cons, n.closed
	n.closed = true
	n.mu.Unlock()
	if closed {
		return nil
	}
	n.lease.stop()
	var errs []error
	if c != nil {
		errs = append(errs, c.close())
	}
	if n.gossip != nil {
		errs = append(errs, n.gossip.Close())
	}
	if n.peers != nil {
		n.peers.Close()
	}
	if n.courier != nil {
		n.courier.Close()
	}
	for _, ln := range []net.Listener{n.httpLn, n.peerLn} {
		if ln != nil {
			if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if n.fsm != nil {
		errs = append(errs, n.fsm.Close())
	}
	if n.cache != nil {
		n.cache.Close()
	}
	if n.blobs != nil {
		errs = append(errs, n.blobs.Close())
	}
	return errors.Join(errs...)
}
