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
}

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
}

// DefaultSettings returns what a new cluster starts with.
func DefaultSettings() Settings { return Settings{Replicas: 3} }

// Validate reports every problem at once; errors wrap ErrInvalid.
func (s Settings) Validate() error {
	var bad []string
	if s.Replicas < 1 || s.Replicas > 16 {
		bad = append(bad, fmt.Sprintf("replicas %d, wanted 1 to 16", s.Replicas))
	}
	if len(s.MailTo) > 0 && s.MailFrom == "" {
		bad = append(bad, "mail-to is set, mail-from is not")
	}
	if slices.Contains(s.MailTo, "") {
		bad = append(bad, "mail-to holds an empty address")
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
}

// A NoticeKind says what a notice is about.
type NoticeKind string

// Kinds of notice.
const (
	NoticeVerdict NoticeKind = "verdict"
	NoticeStuck   NoticeKind = "stuck"
)

// A NoticeState says what became of a notice.
type NoticeState string

// States of a notice.
const (
	NoticePending NoticeState = "pending"
	NoticeSent    NoticeState = "sent"
	NoticeDropped NoticeState = "dropped" // given up; a person was told through status
)
