package api

import "symkeep/internal/catalog"

// LayoutRequest is POST /api/v1/cluster/layout/plan and .../apply: a change of where
// copies belong. Drain and Remove are for plans alone: what would be moved if these
// members went.
type LayoutRequest struct {
	Weights  map[string]int `json:"weights,omitempty"`  // by node name or id
	Replicas int            `json:"replicas,omitempty"` // 0 leaves it
	Drain    []string       `json:"drain,omitempty"`
	Remove   []string       `json:"remove,omitempty"`
	Add      []LayoutAdd    `json:"add,omitempty"`  // nodes that do not exist yet, for plans alone
	Base     uint64         `json:"base,omitempty"` // apply: the layout version that was planned on
}

// A LayoutAdd is a node that a plan supposes.
type LayoutAdd struct {
	Name   string `json:"name"`
	Zone   string `json:"zone,omitempty"`
	Weight int    `json:"weight,omitempty"` // 0 means catalog.DefaultWeight
}

// A LayoutPlan answers a LayoutRequest, and GET /api/v1/cluster/layout for a change
// of nothing.
type LayoutPlan struct {
	Base       uint64       `json:"base"` // present layout version
	Replicas   int          `json:"replicas"`
	Blobs      int64        `json:"blobs"`       // referenced
	Bytes      int64        `json:"bytes"`       // packed, each blob once
	MoveBlobs  int64        `json:"move_blobs"`  // copies that would be made
	MoveBytes  int64        `json:"move_bytes"`  // packed
	LeastBytes int64        `json:"least_bytes"` // the fewest that any placement with these shares would move
	Partitions int          `json:"partitions"`  // with another set of owners
	LostBlobs  int64        `json:"lost_blobs"`  // held by nobody but members to be removed
	Nodes      []LayoutNode `json:"nodes"`
	Kept       []uint64     `json:"kept,omitempty"` // earlier versions that members still move away from
}

// A LayoutNode is one member before and after.
type LayoutNode struct {
	ID         catalog.NodeID `json:"id,omitempty"`
	Name       string         `json:"name"`
	Zone       string         `json:"zone,omitempty"`
	Weight     int            `json:"weight"`     // 0: not in the layout
	NewWeight  int            `json:"new_weight"` // the same if it stays
	Share      float64        `json:"share"`      // of all copies, 0 to 1
	NewShare   float64        `json:"new_share"`
	Bytes      int64          `json:"bytes"` // that it should hold
	NewBytes   int64          `json:"new_bytes"`
	InBytes    int64          `json:"in_bytes"`      // that it would fetch
	SyncedUpTo uint64         `json:"layout_synced"` // layout version of which it holds all
}

// ReplStatus is how one node's repair and scrub are doing.
type ReplStatus struct {
	Node        catalog.NodeID    `json:"node"`
	Name        string            `json:"name"`
	Queue       int               `json:"queue"` // blobs waiting to be brought in, compared or removed
	Running     int               `json:"running"`
	Missing     int               `json:"missing"`
	MissBytes   int64             `json:"missing_bytes"`
	Orphans     int               `json:"orphans"`
	Paused      bool              `json:"paused"`
	Rate        int64             `json:"rate"`         // bytes per second allowed, 0: no limit
	PulledBytes int64             `json:"pulled_bytes"` // since the start, to mend placement
	Scrub       ScrubStatus       `json:"scrub"`
	Errors      map[string]string `json:"errors,omitempty"` // latest failures by digest
	Err         string            `json:"error,omitempty"`  // why this node did not say
}

// ScrubStatus is how the verification of one node's copies is doing.
type ScrubStatus struct {
	Asked       bool  `json:"asked,omitempty"` // a round was asked for and has not begun
	Running     bool  `json:"running"`
	Done        int64 `json:"done"`        // copies verified in this round
	Total       int64 `json:"total"`       // copies at its start
	Damaged     int64 `json:"damaged"`     // since the start of the process
	Quarantined int   `json:"quarantined"` // kept aside now
	Rate        int64 `json:"rate"`
	FinishedMS  int64 `json:"finished_ms,omitempty"` // Unix milliseconds at which the last full round ended
}

// ReplResponse is GET /api/v1/cluster/repl.
type ReplResponse struct {
	Paused     bool         `json:"paused"`
	RepairRate int64        `json:"repair_rate"`
	ScrubRate  int64        `json:"scrub_rate"`
	Delay      int64        `json:"repair_delay_ms"`
	Nodes      []ReplStatus `json:"nodes"`

	// Unasked says, by name, why members that should scrub could not be told to. The
	// others do.
	Unasked map[string]string `json:"unasked,omitempty"`
}

// ReplRequest is POST /api/v1/cluster/repl; what is nil stays. Scrub starts a round
// over every copy of the named nodes now, or of all.
type ReplRequest struct {
	Paused     *bool    `json:"paused,omitempty"`
	RepairRate *int64   `json:"repair_rate,omitempty"`
	ScrubRate  *int64   `json:"scrub_rate,omitempty"`
	Delay      *int64   `json:"repair_delay_ms,omitempty"`
	Scrub      bool     `json:"scrub,omitempty"`
	Nodes      []string `json:"nodes,omitempty"`
}

// CheckReport is GET /api/v1/cluster/check: what would go wrong next.
type CheckReport struct {
	OK     bool          `json:"ok"`
	Checks []CheckResult `json:"checks"`
}

// A CheckResult is one thing looked at.
type CheckResult struct {
	Check string `json:"check"`          // members, quorum, clock, fsync, ports, versions, disk, layout, copies, catalog, mail, alarms
	Node  string `json:"node,omitempty"` // the member it is about
	Level string `json:"level"`          // ok, warning, error
	Found string `json:"found"`
	Do    string `json:"do,omitempty"` // what to do about it
}

// Levels of a CheckResult.
const (
	CheckOK      = "ok"
	CheckWarning = "warning"
	CheckError   = "error"
)

// FeatureStatus is GET /api/v1/cluster/feature; POST raises the level by one, or
// to Level.
type FeatureStatus struct {
	Level   int            `json:"level"`   // in use
	Highest int            `json:"highest"` // that every member understands
	Nodes   map[string]int `json:"nodes"`   // by name; 0: did not answer
}

// FeatureRequest is POST /api/v1/cluster/feature.
type FeatureRequest struct {
	Level int `json:"level"`
}

// AlarmRequest is POST /api/v1/cluster/alarms/clear; empty fields match everything.
type AlarmRequest struct {
	Node string            `json:"node,omitempty"`
	Code catalog.AlarmCode `json:"code,omitempty"`
}

// PeerCheck is GET /peer/v1/check?ask=NODE...: what a node finds when it looks at
// itself and at the way to other members.
type PeerCheck struct {
	NowMS   int64             `json:"now_ms"`
	SyncMS  int64             `json:"fsync_p99_ms"`
	Reaches map[string]string `json:"reaches"` // "peer NODE", "gossip-tcp NODE", "gossip-udp NODE": empty text is fine, else why not
}
