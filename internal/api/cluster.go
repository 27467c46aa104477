package api

import "symkeep/internal/catalog"

// ClusterStatus is GET /api/v1/cluster and the one line of `cluster status --json`.
type ClusterStatus struct {
	ClusterID catalog.ClusterID `json:"cluster_id"`
	Leader    catalog.NodeID    `json:"leader"` // empty when there is none
	Term      uint64            `json:"term"`
	Healthy   bool              `json:"healthy"`
	Tolerates int               `json:"tolerates"`         // members that may fail with nothing lost and writes going on
	Reasons   []string          `json:"reasons,omitempty"` // why it is not healthy
	Replicas  int               `json:"replicas"`
	Commit    uint64            `json:"commit_index"`
	Blobs     int               `json:"blobs"`              // referenced
	Under     int               `json:"under_replicated"`   // of those, with fewer copies than wanted
	Packages  map[string]int    `json:"packages,omitempty"` // by state
	MailQueue int               `json:"mail_queue"`
	Nodes     []NodeStatus      `json:"nodes"`
}

// A NodeStatus is one member of a ClusterStatus.
type NodeStatus struct {
	ID           catalog.NodeID `json:"id"`
	Name         string         `json:"name"`
	Role         string         `json:"role"`  // voter, nonvoter
	State        string         `json:"state"` // alive, suspect, dead, left, draining
	HTTPAddr     string         `json:"http_addr"`
	PeerAddr     string         `json:"peer_addr"`
	GossipAddr   string         `json:"gossip_addr"`
	Zone         string         `json:"zone"`
	Version      string         `json:"version"`
	AppliedIndex uint64         `json:"applied_index"`
	Synced       bool           `json:"synced"`
	Missing      int            `json:"missing"`         // blobs it should hold and does not yet
	LastContact  int64          `json:"last_contact_ms"` // -1 when never
}

// PeerStatus is GET /peer/v1/status: what a node says about itself.
type PeerStatus struct {
	ID           catalog.NodeID `json:"id"`
	Name         string         `json:"name"`
	Version      string         `json:"version"`
	Term         uint64         `json:"term"`
	Leader       catalog.NodeID `json:"leader"`
	IsLeader     bool           `json:"is_leader"`
	LastIndex    uint64         `json:"last_index"`
	AppliedIndex uint64         `json:"applied_index"`
	Blobs        int            `json:"blobs"`
	Missing      int            `json:"missing"`
	FSMHash      string         `json:"fsm_hash"`
	Hashes       []CatalogHash  `json:"hashes,omitempty"`
}

// A CatalogHash is the rolling hash over the commands up to a log index, or, for a
// step, over those below it. It is the same on every node.
type CatalogHash struct {
	Index uint64 `json:"index"`
	Hash  string `json:"hash"` // hex
	Step  bool   `json:"step,omitempty"`
}

// JoinRequest is POST /peer/v1/join, the only route open to a connection without
// a cluster id. A known id updates the member's addresses.
type JoinRequest struct {
	Member    catalog.Member `json:"member"`
	Fresh     bool           `json:"fresh,omitempty"`     // the node has never been in a cluster
	Forwarded bool           `json:"forwarded,omitempty"` // by a member, to the leader: no further hop
}

// JoinResponse answers a JoinRequest.
type JoinResponse struct {
	ClusterID catalog.ClusterID `json:"cluster_id"`
	Leader    catalog.NodeID    `json:"leader"`
	Peers     []catalog.Member  `json:"peers"`
}

// ClusterJoinRequest is POST /api/v1/cluster/join: it tells a running fresh node
// to join the cluster that these gossip addresses belong to.
type ClusterJoinRequest struct {
	Addrs []string `json:"addrs"`
}

// NodeRequest names a member by id or name, for remove and drain.
type NodeRequest struct {
	Node  string `json:"node"`
	Undo  bool   `json:"undo,omitempty"`  // drain: take the member back
	Force bool   `json:"force,omitempty"` // remove: even if it is alive
}

// HaveRequest is POST /peer/v1/have.
type HaveRequest struct {
	Digests []catalog.Digest `json:"digests"` // at most MaxHave
}

// MaxHave bounds one HaveRequest.
const MaxHave = 4096

// HaveResponse holds one entry per digest asked; nil where there is no copy.
type HaveResponse struct {
	Have []*catalog.Packed `json:"have"`
}

// FetchRequest is POST /peer/v1/blobs/DIGEST/fetch: pull the blob from a member
// and answer once it is durable and verified.
type FetchRequest struct {
	Source  catalog.NodeID `json:"source"`
	RawSize int64          `json:"raw_size"`
	Packed  catalog.Packed `json:"packed"`
}

// ReadIndexResponse is POST /peer/v1/read-index, answered by a leader that a
// quorum has just confirmed.
type ReadIndexResponse struct {
	Index uint64 `json:"index"`
}

// LookupResponse is GET /peer/v1/lookup?key=HEX: an answer that stands, because
// the node leads or holds a negative lease.
type LookupResponse struct {
	Index      uint64              `json:"index"`
	Candidates []catalog.Candidate `json:"candidates"`
}
