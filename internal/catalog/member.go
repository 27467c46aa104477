package catalog

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A NodeID is the random UUID kept in a node's data directory, in its 36-character
// lower-case form. A wiped node is a new node.
type NodeID string

// A ClusterID is the random UUID of a cluster.
type ClusterID string

// A Member is a row of the committed member table, the only membership that
// counts. Gossip is a hint about liveness and addresses.
type Member struct {
	ID          NodeID    `json:"id"`
	Name        string    `json:"name"` // unique among members
	PeerAddr    string    `json:"peer_addr"`
	HTTPAddr    string    `json:"http_addr"`
	GossipAddr  string    `json:"gossip_addr"`
	Zone        string    `json:"zone,omitempty"`
	Version     string    `json:"version"`
	JoinedIndex uint64    `json:"joined_index"`
	JoinedAt    time.Time `json:"joined_at,omitzero"` // display only
	Synced      bool      `json:"synced"`             // its first full copy is complete
	Draining    bool      `json:"draining,omitempty"`
	Slot        NodeID    `json:"slot,omitempty"` // placement identity: its own id, or that of the member it replaced

	Weight       int         `json:"weight,omitempty"`        // its share of the copies, 1 to MaxWeight; 0 means DefaultWeight
	Maintenance  ClusterTime `json:"maintenance,omitempty"`   // until then its absence is planned: its copies are not made anew elsewhere
	LayoutSynced uint64      `json:"layout_synced,omitempty"` // newest layout version of which it holds all it should
}

// Weights of members in a layout.
const (
	DefaultWeight = 100
	MaxWeight     = 10_000
)

// PlacementID is the identity that placement hashes: a replacement takes the slot
// of the member it replaced, so that nothing else moves.
func (m Member) PlacementID() NodeID {
	if m.Slot != "" {
		return m.Slot
	}
	return m.ID
}

// Settings are cluster-wide and live in the replicated state.
type Settings struct {
	Replicas int      `json:"replicas"` // copies of each blob, 1 to 16
	MailFrom string   `json:"mail_from,omitempty"`
	MailTo   []string `json:"mail_to,omitempty"`

	RepairDelay  int64 `json:"repair_delay_ms,omitempty"` // how long a member must be away before its copies are made anew, ms; 0 means DefaultRepairDelay
	RepairRate   int64 `json:"repair_rate,omitempty"`     // bytes per second that each node pulls to mend placement; 0 is no limit
	RepairPaused bool  `json:"repair_paused,omitempty"`   // nothing is pulled but what a push or a reader waits for
	ScrubRate    int64 `json:"scrub_rate,omitempty"`      // bytes per second that each node verifies; 0 leaves it to the node

	Policy *Policy `json:"policy,omitempty"` // for every package that is validated from now on; since feature level 3
}

// DefaultRepairDelay is the Settings.RepairDelay of a cluster that sets none.
const DefaultRepairDelay = 15 * time.Minute

// MaxRepairDelay bounds Settings.RepairDelay.
const MaxRepairDelay = 7 * 24 * time.Hour

// RepairAfter returns RepairDelay as a duration.
func (s Settings) RepairAfter() time.Duration {
	if s.RepairDelay == 0 {
		return DefaultRepairDelay
	}
	return time.Duration(s.RepairDelay) * time.Millisecond
}

// DefaultSettings returns what a new cluster starts with.
func DefaultSettings() Settings { return Settings{Replicas: 3} }

// Validate reports every problem at once; errors wrap ErrInvalid.
func (s Settings) Validate() error {
	var bad []string
	if s.RepairDelay < 0 || s.RepairDelay > MaxRepairDelay.Milliseconds() {
		bad = append(bad, fmt.Sprintf("repair delay of %d ms, wanted 0 to %d", s.RepairDelay, MaxRepairDelay.Milliseconds()))
	}
	if s.RepairRate < 0 || s.ScrubRate < 0 {
		bad = append(bad, fmt.Sprintf("rates of %d and %d bytes per second: negative", s.RepairRate, s.ScrubRate))
	}
	if s.Replicas < 1 || s.Replicas > 16 {
		bad = append(bad, fmt.Sprintf("replicas %d, wanted 1 to 16", s.Replicas))
	}
	if len(s.MailTo) > 0 && s.MailFrom == "" {
		bad = append(bad, "mail-to is set, mail-from is not")
	}
	if slices.Contains(s.MailTo, "") {
		bad = append(bad, "mail-to holds an empty address")
	}
	if err := PolicyOf(s.Policy).Validate(); err != nil {
		bad = append(bad, err.Error())
	}
	if len(bad) > 0 {
		return fmt.Errorf("settings: %s: %w", strings.Join(bad, "; "), ErrInvalid)
	}
	return nil
}

// WriteQuorum is W: how many distinct members must hold a blob before a package
// that needs it may commit.
func WriteQuorum(replicas, members int) int {
	return max(1, min(2, replicas, members))
}

// A Notice is one message that the cluster owes people. It is sent at least once.
type Notice struct {
	Seq      uint64      `json:"seq"` // log index of the cause: order and identity
	Package  PackageID   `json:"package"`
	Kind     NoticeKind  `json:"kind"`
	State    NoticeState `json:"state"`
	Attempts int         `json:"attempts"`
	Next     ClusterTime `json:"next"`            // not before
	Error    string      `json:"error,omitempty"` // of the last attempt
	At       time.Time   `json:"at"`              // display and Date header: wall clock of the cause
	Alarm    *Alarm      `json:"alarm,omitempty"` // of a NoticeAlarm
}

// A NoticeKind says what a notice is about.
type NoticeKind string

// Kinds of notice.
const (
	NoticeVerdict NoticeKind = "verdict"
	NoticeStuck   NoticeKind = "stuck"
	NoticeAlarm   NoticeKind = "alarm" // Notice.Alarm says which; there is no package
)

// A NoticeState says what became of a notice.
type NoticeState string

// States of a notice.
const (
	NoticePending NoticeState = "pending"
	NoticeSent    NoticeState = "sent"
	NoticeDropped NoticeState = "dropped" // given up; a person was told through status
)
