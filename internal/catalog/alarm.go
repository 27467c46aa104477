package catalog

import "time"

// An Alarm is something an operator has to act on. It stands until it is cleared, or
// the member it is about is removed; AlarmDiverged stands also then.
type Alarm struct {
	Node  NodeID    `json:"node"` // the member it is about
	Code  AlarmCode `json:"code"`
	Text  string    `json:"text"` // what was found, and what to do
	Index uint64    `json:"index,omitempty"`
	At    time.Time `json:"at,omitzero"` // display only
}

// An AlarmCode says what kind of alarm it is. The codes are stable.
type AlarmCode string

// Alarm codes.
const (
	AlarmDiverged     AlarmCode = "catalog-diverged" // the node applied the same log to another result and has stopped
	AlarmBitRot       AlarmCode = "bit-rot"          // copies on the node were damaged and are mended
	AlarmSuspectDisk  AlarmCode = "suspect-disk"     // several copies were damaged within a day
	AlarmDiskFull     AlarmCode = "disk-full"        // a watermark is reached
	AlarmDiskSlow     AlarmCode = "disk-slow"        // a write takes long
	AlarmDiskHung     AlarmCode = "disk-hung"        // a write did not come back
	AlarmSnapshotLoop AlarmCode = "snapshot-loop"    // the node is sent snapshot after snapshot without getting on
	AlarmClock        AlarmCode = "clock-skew"       // the wall clock is far from that of the leader
	AlarmStuck        AlarmCode = "transfer-stuck"   // a hand-over of leadership did not end
)
