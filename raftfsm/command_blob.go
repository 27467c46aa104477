package raftfsm

import "symkeep/internal/catalog"

// PutReceipts records that members hold verified copies. A receipt counts only for
// a referenced blob and for holders in the member table. The first packed form
// wins while a copy of it exists. Each receipt is judged alone; the value is a
// ReceiptsValue.
type PutReceipts struct {
	Receipts []catalog.Receipt `json:"receipts"`
}

// ReceiptsValue answers PutReceipts, in the order of the receipts.
type ReceiptsValue struct {
	Receipts []ReceiptOutcome `json:"receipts"`
}

// A ReceiptOutcome says what became of one receipt.
type ReceiptOutcome struct {
	Digest  catalog.Digest   `json:"digest"`
	Refused string           `json:"refused,omitempty"` // empty if it was recorded; else one of the Refused constants
	Gen     uint64           `json:"gen,omitempty"`
	Packed  catalog.Packed   `json:"packed,omitzero"` // what the cluster keeps: refetch it if yours differs
	Holders []catalog.NodeID `json:"holders,omitempty"`
}

// Reasons to refuse a receipt.
const (
	RefusedUnreferenced = "unreferenced" // no file of any package lists the digest
	RefusedPacked       = "packed"       // another packed form is the cluster's: see Packed
	RefusedSize         = "size"         // the raw size differs from the verified one
	RefusedHolders      = "holders"      // no holder is a member
	RefusedInvalid      = "invalid"      // the receipt itself makes no sense
)

// DropHolders records that a node no longer has copies: lost, quarantined or moved
// away. Copies it never had are ignored.
type DropHolders struct {
	Node    catalog.NodeID   `json:"node"`
	Digests []catalog.Digest `json:"digests"`
}

// A Retiree names a blob at one generation.
type Retiree struct {
	Digest catalog.Digest `json:"digest"`
	Gen    uint64         `json:"gen"`
}

// RetireBlobs ends blobs nobody references. From this index the digest answers
// "lacking", and nodes that applied it may unlink their copies. Each one is judged
// alone: a reference or another generation keeps it, and so does a freeze. The value
// is a RetireValue.
type RetireBlobs struct {
	Blobs []Retiree `json:"blobs"`
}

// RetireValue answers RetireBlobs.
type RetireValue struct {
	Retired      []Retiree `json:"retired"`             // those that ended, now or earlier at that generation
	FrozenMillis int64     `json:"frozen_ms,omitempty"` // nothing was retired: cluster time left of a freeze
}

// Sweep removes at most Limit rows of what is over: references of expired, failed
// and trashed packages past their time, hidden keys, holder entries of departed
// members, old idempotency keys and notices. The value is a SweepValue.
type Sweep struct {
	Limit int `json:"limit"` // rows, 1 to MaxSweep
}

// MaxSweep bounds Sweep.Limit.
const MaxSweep = 10_000

// SweepValue answers Sweep.
type SweepValue struct {
	Rows int  `json:"rows"`
	More bool `json:"more"` // other rows are due now
}

// Kind implements Command.
func (PutReceipts) Kind() Kind { return KindPutReceipts }

// Kind implements Command.
func (DropHolders) Kind() Kind { return KindDropHolders }

// Kind implements Command.
func (RetireBlobs) Kind() Kind { return KindRetireBlobs }

// Kind implements Command.
func (Sweep) Kind() Kind { return KindSweep }
