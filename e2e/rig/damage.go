package rig

// A Damage is one flipped bit.
type Damage struct {
	Path   string // of the file
	Offset int64  // of the byte
	Bit    uint
}

// FlipBlob flips a bit of a random blob of the node, which may run.
func (h *Host) FlipBlob() (Damage, error) { return Damage{}, errNotYet }

// FlipRaft flips a bit in a used page of raft.db. The node must not run.
func (h *Host) FlipRaft() (Damage, error) { return Damage{}, errNotYet }

// FlipFSM flips a bit in a used page of fsm.db. The node must not run.
func (h *Host) FlipFSM() (Damage, error) { return Damage{}, errNotYet }

// FlipSnapshot flips a bit in the newest snapshot. The node must not run. The error
// wraps fs.ErrNotExist when there is none.
func (h *Host) FlipSnapshot() (Damage, error) { return Damage{}, errNotYet }
