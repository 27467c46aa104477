package api

import (
	"time"

	"symkeep/internal/catalog"
)

// ClusterStatus is GET /api/v1/cluster and the one line of `cluster status --json`.
type ClusterStatus struct {
	ClusterID  catalog.ClusterID `json:"cluster_id"`
	AnsweredBy catalog.NodeID    `json:"answered_by"` // the node that was asked
	Leader     catalog.NodeID    `json:"leader"`      // empty when there is none
	Term       uint64            `json:"term"`
	Healthy    bool              `json:"healthy"`
	Tolerates  int               `json:"tolerates"`         // members that may fail with nothing lost and writes going on
	Reasons    []string          `json:"reasons,omitempty"` // why it is not healthy
	Replicas   int               `json:"replicas"`
	Commit     uint64            `json:"commit_index"`
	Blobs      int               `json:"blobs"`              // referenced
	Under      int               `json:"under_replicated"`   // of those, with fewer copies than wanted
	Packages   map[string]int    `json:"packages,omitempty"` // by state
	MailQueue  int               `json:"mail_queue"`
	Feature    int               `json:"feature"` // level of the commands and rows in use
	Layout     uint64            `json:"layout_version"`
	Moving     int               `json:"layouts_kept,omitempty"` // earlier layouts that members still move away from
	Paused     bool              `json:"repair_paused,omitempty"`
	Frozen     int64             `json:"retiring_frozen_ms,omitempty"` // no blob is retired for so long
	Alarms     []catalog.Alarm   `json:"alarms"`
	Nodes      []NodeStatus      `json:"nodes"`
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
	JoinedAt     time.Time      `json:"joined_at,omitzero"`
	Missing      int            `json:"missing"`         // blobs it should hold and does not yet
	LastContact  int64          `json:"last_contact_ms"` // -1 when never

	Lag         uint64         `json:"applied_lag"` // log entries behind the leader's commit index
	Feature     int            `json:"feature"`     // highest level its build understands
	Weight      int            `json:"weight"`
	MissBytes   int64          `json:"missing_bytes"`            // packed bytes of Missing
	Holds       int64          `json:"blobs"`                    // copies on it
	HoldsBytes  int64          `json:"blob_bytes"`               // packed
	Queue       int            `json:"repair_queue"`             // blobs to bring, compare or remove
	Quarantined int            `json:"quarantined"`              // damaged copies kept aside
	Orphans     int            `json:"orphans"`                  // copies the catalog knows nothing of
	Maintenance int64          `json:"maintenance_ms,omitempty"` // its absence is planned for so long
	Drain       *DrainProgress `json:"drain,omitempty"`          // while it is draining
	Disk        DiskStatus     `json:"disk"`
	Clock       int64          `json:"clock_skew_ms"` // its wall clock less that of the node that answers
}

// A DrainProgress says how far a draining member is.
type DrainProgress struct {
	Blobs    int64 `json:"blobs"`    // copies still listed on it
	Bytes    int64 `json:"bytes"`    // packed
	Needed   int64 `json:"needed"`   // of them, those without which a blob would have too few copies
	Finished bool  `json:"finished"` // nothing is needed: it can be removed
}

// A DiskStatus is how full and how fast a node's disk is.
type DiskStatus struct {
	Used   int64   `json:"used_bytes"`
	Avail  int64   `json:"avail_bytes"`
	Share  float64 `json:"share"` // used and promised part, 0 to 1
	Level  string  `json:"level"` // ok, warn, no-rebalance, no-ingest, read-only
	SyncMS int64   `json:"fsync_p99_ms"`
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
	Contents     []CatalogHash  `json:"contents,omitempty"` // apart from Hashes: the first builds took all of those for rolling ones
	Unfit        string         `json:"unfit,omitempty"`    // why another member should lead; the first builds do not say

	Feature     int             `json:"feature"` // highest level this build understands; absent means 1
	Holds       int64           `json:"blob_count"`
	HoldsBytes  int64           `json:"blob_bytes"`
	MissBytes   int64           `json:"missing_bytes"`
	Queue       int             `json:"repair_queue"`
	Quarantined int             `json:"quarantined"`
	Orphans     int             `json:"orphans"`
	Disk        DiskStatus      `json:"disk"`
	Now         int64           `json:"now_ms"` // wall clock, Unix milliseconds
	Repl        *ReplStatus     `json:"repl,omitempty"`
	Alarms      []catalog.Alarm `json:"alarms,omitempty"` // of this moment; those that stand are in the catalog
}

// A CatalogHash is the rolling hash over the commands up to a log index, or, for a
// step, over those below it. With Content it is the digest of the rows after a log
// index. It is the same on every node.
type CatalogHash struct {
	Index   uint64 `json:"index"`
	Hash    string `json:"hash"` // hex
	Step    bool   `json:"step,omitempty"`
	Content bool   `json:"content,omitempty"`
}

// JoinRequest is POST /peer/v1/join, the only route open to a connection without
// a cluster id. A known id updates the member's addresses.
type JoinRequest struct {
	Member    catalog.Member `json:"member"`
	Fresh     bool           `json:"fresh,omitempty"`     // the node has never been in a cluster
	Feature   int            `json:"feature,omitempty"`   // highest level its build understands; absent means 1
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

// NodeRequest names a member by id or name, for remove, drain, maintenance and
// transfer-leader.
type NodeRequest struct {
	Node  string `json:"node"`             // transfer-leader: may be empty, any voter then
	Undo  bool   `json:"undo,omitempty"`   // drain, maintenance: take the member back
	For   int64  `json:"for_ms,omitempty"` // maintenance: how long
	Force bool   `json:"force,omitempty"`  // remove: even if it is alive
}

// A Departure is POST /peer/v1/leave: a member that goes for good.
type Departure struct {
	Node         catalog.NodeID
	UnlessNeeded bool // refused while blobs need its copies
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
