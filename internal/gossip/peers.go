package gossip

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"symkeep/internal/catalog"
)

// maxGone bounds the nodes remembered after they went away.
const maxGone = 256

// A State says how a node is doing, as far as this one can tell.
type State string

// States of a peer.
const (
	Alive   State = "alive"
	Suspect State = "suspect" // it missed the last probe of this node
	Dead    State = "dead"
	Left    State = "left" // it said that it goes
)

// A Peer is another node.
type Peer struct {
	Meta
	State      State
	GossipAddr string
	LastSeen   time.Time // when it was last known to be alive
}

// Joiner reports whether the node has no cluster yet.
func (p Peer) Joiner() bool { return p.ClusterID == "" }

// table is what the delegates fill. memberlist calls them with its own lock held,
// so they only copy and never call back.
type table struct {
	now     func() time.Time
	changed chan struct{}

	mu      sync.Mutex
	self    Meta
	encoded []byte
	nodes   map[catalog.NodeID]*Peer
}

func newTable(self Meta, encoded []byte, now func() time.Time) *table {
	return &table{now: now, changed: make(chan struct{}, 1), self: self, encoded: encoded, nodes: make(map[catalog.NodeID]*Peer)}
}

func (t *table) selfMeta() Meta {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.self
}

func (t *table) setMeta(edit func(*Meta)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.self
	edit(&m)
	m.NodeID = t.self.NodeID
	b, err := m.Encode()
	if err != nil {
		return err
	}
	t.self, t.encoded = m, b
	return nil
}

func (t *table) peers() []Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	ps := make([]Peer, 0, len(t.nodes))
	for _, p := range t.nodes {
		if !t.foreign(p.Meta) {
			ps = append(ps, *p)
		}
	}
	slices.SortFunc(ps, func(a, b Peer) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return ps
}

// foreign reports whether the node belongs to another cluster.
func (t *table) foreign(m Meta) bool {
	return t.self.ClusterID != "" && m.ClusterID != "" && m.ClusterID != t.self.ClusterID
}

func (t *table) signal() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// NotifyAlive judges every alive message, our own included. It implements
// memberlist.AliveDelegate.
func (t *table) NotifyAlive(n *memberlist.Node) error {
	m, err := DecodeMeta(n.Meta)
	if err != nil {
		return fmt.Errorf("node at %s: %w", n.Address(), err)
	}
	if n.Name != string(m.NodeID) {
		return fmt.Errorf("node at %s calls itself %.40q, its meta says %s", n.Address(), n.Name, m.NodeID)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.foreign(m) {
		return fmt.Errorf("node %s at %s is of cluster %s, this one is %s", m.NodeID, n.Address(), m.ClusterID, t.self.ClusterID)
	}
	if p := t.nodes[m.NodeID]; p != nil && p.State == Suspect {
		p.State, p.LastSeen = Alive, t.now() // it refuted
		t.signal()
	}
	return nil
}

// NotifyJoin implements memberlist.EventDelegate.
func (t *table) NotifyJoin(n *memberlist.Node) { t.note(n, Alive) }

// NotifyUpdate implements memberlist.EventDelegate.
func (t *table) NotifyUpdate(n *memberlist.Node) { t.note(n, Alive) }

// NotifyLeave implements memberlist.EventDelegate, for the dead and the left.
func (t *table) NotifyLeave(n *memberlist.Node) { t.note(n, Dead) }

func (t *table) note(n *memberlist.Node, s State) {
	m, err := DecodeMeta(n.Meta)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil || m.NodeID == t.self.NodeID {
		return
	}
	if s == Dead && m.Flags&Leaving != 0 {
		s = Left
	}
	p := t.nodes[m.NodeID]
	if p == nil {
		p = &Peer{}
		t.nodes[m.NodeID] = p
	}
	if s == Alive || p.State == Alive || p.State == "" {
		p.LastSeen = t.now()
	}
	p.Meta, p.State, p.GossipAddr = m, s, n.Address()
	if s != Alive {
		t.forgetOldest()
	}
	t.signal()
}

// forgetOldest keeps the number of remembered nodes bounded.
func (t *table) forgetOldest() {
	var oldest *Peer
	gone := 0
	for _, p := range t.nodes {
		if p.State != Dead && p.State != Left {
			continue
		}
		gone++
		if oldest == nil || p.LastSeen.Before(oldest.LastSeen) {
			oldest = p
		}
	}
	if gone > maxGone {
		delete(t.nodes, oldest.NodeID)
	}
}

// suspect notes that a node missed a probe.
func (t *table) suspect(id catalog.NodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.nodes[id]; p != nil && p.State == Alive {
		p.State = Suspect
		t.signal()
	}
}

// NotifyPingComplete implements memberlist.PingDelegate.
func (t *table) NotifyPingComplete(n *memberlist.Node, _ time.Duration, _ []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.nodes[catalog.NodeID(n.Name)]
	if p == nil || (p.State != Alive && p.State != Suspect) {
		return
	}
	p.LastSeen = t.now()
	if p.State == Suspect {
		p.State = Alive
		t.signal()
	}
}

// AckPayload implements memberlist.PingDelegate.
func (t *table) AckPayload() []byte { return nil }

// NodeMeta implements memberlist.Delegate. Encode has bounded the result.
func (t *table) NodeMeta(int) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.encoded
}

// NotifyMsg implements memberlist.Delegate: there are no user messages.
func (t *table) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (t *table) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (t *table) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (t *table) MergeRemoteState([]byte, bool) {}
