package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	bolt "go.etcd.io/bbolt"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
	"symkeep/raftfsm"
)

// consensus is raft with its stores, opened once the node knows its cluster.
type consensus struct {
	raft      *raft.Raft
	log       *raftboltdb.BoltStore
	snaps     raft.SnapshotStore
	transport *raft.NetworkTransport
}

// raftTimings fit two-core machines that share a disk with others; a failover
// takes about twice the election timeout.
const (
	heartbeatTimeout = 1500 * time.Millisecond
	electionTimeout  = 1500 * time.Millisecond
	leaseTimeout     = time.Second
)

func raftConfig(id catalog.NodeID, log *slog.Logger) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(id)
	c.HeartbeatTimeout = heartbeatTimeout
	c.ElectionTimeout = electionTimeout
	c.LeaderLeaseTimeout = leaseTimeout
	c.MaxAppendEntries = 256
	c.BatchApplyCh = true
	c.SnapshotInterval = time.Duration(fault.Number("snapshot-interval-ms", 60_000)) * time.Millisecond
	c.SnapshotThreshold = fault.Number("snapshot-threshold", 32768)
	c.TrailingLogs = fault.Number("trailing-logs", 10240)
	c.ShutdownOnRemove = false
	c.NoLegacyTelemetry = true
	c.Logger = newRaftLogger(log)
	return c
}

// openConsensus opens the stores under dir, decides from their indexes whether
// the state must be restored from a snapshot, and starts raft.
func openConsensus(dir string, id catalog.NodeID, fsm *raftfsm.FSM, guard *diskGuard, stream raft.StreamLayer,
	addrs raft.ServerAddressProvider, log *slog.Logger) (*consensus, error) {
	store, snaps, err := openRaftStores(dir, log)
	if err != nil {
		return nil, err
	}
	dropped, err := dropConflicting(snaps, store)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("raft log %s: %w", dir, err), store.Close())
	}
	if dropped {
		log.Warn("raft log ended in entries that were never committed: dropped, the newest snapshot stands for it", "path", dir)
	}
	cfg := raftConfig(id, log)
	if cfg.NoSnapshotRestoreOnStart, err = skipRestore(dir, fsm.Info(), snaps, store); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	transport := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: addrs, Logger: newRaftLogger(log), Stream: stream, MaxPool: 3, Timeout: 10 * time.Second,
	})
	cache, err := raft.NewLogCache(512, guardedLog{store, guard})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	r, err := raft.NewRaft(cfg, guardedFSM{fsm, guard}, cache, guardedVotes{store, guard}, snaps, raftTransport{transport})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("raft: %w", err), transport.Close(), store.Close())
	}
	return &consensus{raft: r, log: store, snaps: snaps, transport: transport}, nil
}

func openRaftStores(dir string, log *slog.Logger) (*raftboltdb.BoltStore, raft.SnapshotStore, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	store, err := raftboltdb.New(raftboltdb.Options{
		Path: filepath.Join(dir, "raft.db"),
		BoltOptions: &bolt.Options{
			NoFreelistSync: true,
			FreelistType:   bolt.FreelistMapType,
			Timeout:        2 * time.Second,
		},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("raft log %s: %w", dir, err)
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, 1, newRaftLogger(log))
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, snaps, nil
}

// skipRestore compares the three indexes that must agree, and reports whether
// the log is replayed over the catalog as it is.
func skipRestore(dir string, state raftfsm.Info, snaps raft.SnapshotStore, log raft.LogStore) (bool, error) {
	list, err := snaps.List()
	if err != nil {
		return false, err
	}
	var snapshot uint64
	if len(list) > 0 {
		if snapshot = list[0].Index; snapshot > state.AppliedIndex && sameSnapshot(dir, list[0].ID, state) {
			snapshot = state.AppliedIndex // raft counts entries that no catalog sees
		}
	}
	last, err := log.LastIndex()
	if err != nil {
		return false, err
	}
	start, err := raftfsm.StartDecision(state.AppliedIndex, snapshot, last)
	return start == raftfsm.StartReplay, err
}

// bootstrap begins the log under dir with this node as the only voter. A log that
// has begun is left as it is. Raft must not be running.
func bootstrap(dir string, id catalog.NodeID, addr string, log *slog.Logger) error {
	store, snaps, err := openRaftStores(dir, log)
	if err != nil {
		return err
	}
	err = raft.BootstrapCluster(raftConfig(id, log), store, store, snaps, nil, raft.Configuration{Servers: []raft.Server{
		{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(addr)},
	}})
	if errors.Is(err, raft.ErrCantBootstrap) {
		err = nil
	}
	return errors.Join(err, store.Close())
}

// close stops raft and its connections, then its stores.
func (c *consensus) close() error {
	err := c.raft.Shutdown().Error()
	c.transport.CloseStreams()
	return errors.Join(err, c.transport.Close(), c.log.Close())
}

// A raftStream is the raft.StreamLayer over the peer address. Raft reads from an
// accepted connection until the other side closes it; so Close closes those too,
// and those that were dialed: afterwards nobody hears of this node.
type raftStream struct {
	net.Listener
	advertised string
	cluster    func() catalog.ClusterID

	mu     sync.Mutex
	conns  map[*raftConn]bool
	closed chan struct{}
}

func newRaftStream(ln net.Listener, advertised string, cluster func() catalog.ClusterID) *raftStream {
	return &raftStream{Listener: ln, advertised: advertised, cluster: cluster, conns: map[*raftConn]bool{}, closed: make(chan struct{})}
}

// Accept implements net.Listener. Raft asks again after every error until it has
// closed the stream itself, so it is told of the listener's end only then.
func (s *raftStream) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err != nil {
		<-s.closed
		return nil, err
	}
	return s.track(conn)
}

// track notes an open connection, so that Close closes it.
func (s *raftStream) track(conn net.Conn) (net.Conn, error) {
	c := &raftConn{conn, s}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		conn.Close()
		return nil, net.ErrClosed
	default:
		s.conns[c] = true
		return c, nil
	}
}

// Close implements net.Listener.
func (s *raftStream) Close() error {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
	return s.Listener.Close()
}

// A raftConn is an open connection that its stream knows of.
type raftConn struct {
	net.Conn
	stream *raftStream
}

// Close implements net.Conn.
func (c *raftConn) Close() error {
	c.stream.mu.Lock()
	delete(c.stream.conns, c)
	c.stream.mu.Unlock()
	return c.Conn.Close()
}

// Dial implements raft.StreamLayer.
func (s *raftStream) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := api.DialPeer(ctx, string(addr), api.PeerRaft, s.cluster())
	if err != nil {
		return nil, err
	}
	return s.track(conn)
}

// Addr implements net.Listener with the address others use.
func (s *raftStream) Addr() net.Addr { return advertisedAddr(s.advertised) }

// An advertisedAddr is host:port as others dial it; the host may be a name.
type advertisedAddr string

// Network implements net.Addr.
func (advertisedAddr) Network() string { return "tcp" }

// String implements net.Addr.
func (a advertisedAddr) String() string { return string(a) }
