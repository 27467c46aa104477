package raftfsm

import "symkeep/internal/catalog"

// The commands of this file are of feature level 2: a leader proposes them only
// once that level is raised, see Requires.

// ChangeSettings changes those cluster-wide settings that are set here.
type ChangeSettings struct {
	Replicas     *int      `json:"replicas,omitempty"`
	MailFrom     *string   `json:"mail_from,omitempty"`
	MailTo       *[]string `json:"mail_to,omitempty"`
	RepairDelay  *int64    `json:"repair_delay_ms,omitempty"`
	RepairRate   *int64    `json:"repair_rate,omitempty"`
	RepairPaused *bool     `json:"repair_paused,omitempty"`
	ScrubRate    *int64    `json:"scrub_rate,omitempty"`

	Policy *catalog.Policy `json:"policy,omitempty"` // one without codes ends the present one; level 3
}

// ApplyLayout changes weights and the number of replicas. It is refused with
// ErrConflict unless Base is the version of the present layout: what it was planned
// on. The value is the new catalog.Layout.
type ApplyLayout struct {
	Base     uint64                 `json:"base"`
	Weights  map[catalog.NodeID]int `json:"weights,omitempty"`
	Replicas int                    `json:"replicas,omitempty"` // 0 leaves it
}

// MarkLayoutSynced records that a member holds all that a layout version gives it.
// Layouts before the lowest one that a member of the present layout has recorded are
// forgotten. A version below the recorded one is success, one above the present
// layout's is ErrConflict.
type MarkLayoutSynced struct {
	Node    catalog.NodeID `json:"node"`
	Version uint64         `json:"version"`
}

// SetMaintenance announces that a member will be away, for Millis of cluster time
// from now; 0 ends it.
type SetMaintenance struct {
	Node   catalog.NodeID `json:"node"`
	Millis int64          `json:"millis"` // at most MaxMaintenance
}

// MaxMaintenance bounds SetMaintenance.Millis: a week.
const MaxMaintenance = 7 * 24 * 3600 * 1000

// RaiseAlarm records an alarm of a member and mails it. If one of the same node and
// code stands already, that one takes the new text and nothing is mailed. At most
// MaxAlarms stand; the oldest gives way, AlarmDiverged last. The alarms of a member that is removed or
// replaced end with it, except AlarmDiverged: what made a catalog come out
// different may be in every member, so a person has to clear it.
type RaiseAlarm struct {
	Alarm catalog.Alarm `json:"alarm"`
}

// MaxAlarms bounds the standing alarms.
const MaxAlarms = 100

// ClearAlarm ends an alarm; an empty Code all of the node, an empty Node all there
// are of the code. One that does not stand is success.
type ClearAlarm struct {
	Node catalog.NodeID    `json:"node,omitempty"`
	Code catalog.AlarmCode `json:"code,omitempty"`
}

// FreezeRetiring stops RetireBlobs, and with it the removal of bytes, for Millis of
// cluster time from now; 0 ends a freeze. A restored catalog begins with one: blobs
// newer than its backup look unreferenced there.
type FreezeRetiring struct {
	Millis int64 `json:"millis"` // at most MaxFreeze
}

// MaxFreeze bounds FreezeRetiring.Millis: 90 days.
const MaxFreeze = 90 * 24 * 3600 * 1000

// CheckContents has every member compute the digest of its catalog as it is after
// this entry, see FSM.Contents: what disks did to their files shows. It is refused
// with ErrConflict until CheckPause has passed since the last one.
type CheckContents struct{}

// CheckPause is the cluster time between two CheckContents, in milliseconds.
const CheckPause = 10_000

// Kind implements Command.
func (ChangeSettings) Kind() Kind { return KindChangeSettings }

// Kind implements Command.
func (ApplyLayout) Kind() Kind { return KindApplyLayout }

// Kind implements Command.
func (MarkLayoutSynced) Kind() Kind { return KindMarkLayoutSynced }

// Kind implements Command.
func (SetMaintenance) Kind() Kind { return KindSetMaintenance }

// Kind implements Command.
func (RaiseAlarm) Kind() Kind { return KindRaiseAlarm }

// Kind implements Command.
func (ClearAlarm) Kind() Kind { return KindClearAlarm }

// Kind implements Command.
func (FreezeRetiring) Kind() Kind { return KindFreezeRetiring }

// Kind implements Command.
func (CheckContents) Kind() Kind { return KindCheckContents }
