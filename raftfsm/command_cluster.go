package raftfsm

import (
	"time"

	"symkeep/internal/catalog"
)

// MaxFeature is the highest feature level this build understands.
const MaxFeature = 3

// CreateCluster is the first command of a cluster. Repeating it with the same id
// changes nothing; with another id it is refused with ErrConflict.
type CreateCluster struct {
	ClusterID catalog.ClusterID `json:"cluster_id"`
	Settings  catalog.Settings  `json:"settings"`
	At        time.Time         `json:"at"`
}

// PutMember inserts a member or updates the name, addresses, zone and version of
// one. JoinedIndex, Synced, Draining, Slot, Maintenance and LayoutSynced are the
// catalog's to set: a new member is neither synced nor draining. The weight counts
// for a new member; later ApplyLayout changes it. Another member of the same name
// is ErrConflict, unless Replaces names it: then that row goes in the same step and
// the new member takes over its placement slot, and its weight if it brings none.
// The value is the member.
type PutMember struct {
	Member   catalog.Member `json:"member"`
	Replaces catalog.NodeID `json:"replaces,omitempty"`
}

// RemoveMember removes a member; one that is not there is success. Its copies stop
// counting at this index. The last member is ErrConflict.
type RemoveMember struct {
	ID catalog.NodeID `json:"id"`
}

// MarkSynced records that a member's first full copy is complete.
type MarkSynced struct {
	Node catalog.NodeID `json:"node"`
}

// SetDraining starts or ends the emptying of a member.
type SetDraining struct {
	Node     catalog.NodeID `json:"node"`
	Draining bool           `json:"draining"`
}

// PutSettings replaces the cluster-wide settings.
type PutSettings struct {
	Settings catalog.Settings `json:"settings"`
}

// RaiseFeature allows what a newer build writes, once every member understands it.
// A level that is reached already is success.
type RaiseFeature struct {
	Level int `json:"level"` // at most MaxFeature, or Encode refuses it
}

// Tick advances cluster time, the only clock of the catalog, and does a bounded
// amount of what is due: leases and claims that ran out. The value is a TickValue.
type Tick struct {
	Millis int64     `json:"millis"`      // 1 to MaxTick: how much time passed since the last tick
	At     time.Time `json:"at,omitzero"` // the leader's wall clock, shown in the notice of a package that got stuck
}

// TickValue answers Tick.
type TickValue struct {
	Now     catalog.ClusterTime `json:"now"`
	Expired int                 `json:"expired"` // leases and claims ended by this tick
	More    bool                `json:"more"`    // others are due: the next tick goes on
}

// MarkNotice records what became of an attempt to send a notice. A notice that is
// sent or dropped stays so; marking it again is success.
type MarkNotice struct {
	Seq         uint64              `json:"seq"`
	State       catalog.NoticeState `json:"state"`
	Attempts    int                 `json:"attempts"`
	DelayMillis int64               `json:"delay_millis"` // pending: not again before so much cluster time
	Error       string              `json:"error,omitempty"`
}

// Kind implements Command.
func (CreateCluster) Kind() Kind { return KindCreateCluster }

// Kind implements Command.
func (PutMember) Kind() Kind { return KindPutMember }

// Kind implements Command.
func (RemoveMember) Kind() Kind { return KindRemoveMember }

// Kind implements Command.
func (MarkSynced) Kind() Kind { return KindMarkSynced }

// Kind implements Command.
func (SetDraining) Kind() Kind { return KindSetDraining }

// Kind implements Command.
func (PutSettings) Kind() Kind { return KindPutSettings }

// Kind implements Command.
func (RaiseFeature) Kind() Kind { return KindRaiseFeature }

// Kind implements Command.
func (Tick) Kind() Kind { return KindTick }

// Kind implements Command.
func (MarkNotice) Kind() Kind { return KindMarkNotice }
