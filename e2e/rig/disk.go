package rig

import "time"

// A Disk is what a data directory lies on. The zero value is the file system of
// Config.Dir, which can be filled or frozen by nobody.
type Disk struct {
	Kind DiskKind
	Size int64 // DiskLoop: bytes, default 96 MiB
	Raft int64 // DiskLoop: bytes of another disk for the directory raft; 0: none
}

// A DiskKind is how the faults of a disk are made.
type DiskKind int

// Disk kinds.
const (
	DiskPlain DiskKind = iota // no faults
	DiskLoop                  // ext4 of its own: can be full or frozen
	DiskFUSE                  // passed through by the rig: can be slow, hang or fail
)

// A Volume is one file system of a host.
type Volume string

// Volumes.
const (
	Data Volume = "data" // everything, or everything but raft
	Raft Volume = "raft" // with Disk.Raft
)

// Fill leaves so many bytes free on a DiskLoop.
func (h *Host) Fill(v Volume, left int64) error { return errNotYet }

// Free takes back what Fill took.
func (h *Host) Free(v Volume) error { return errNotYet }

// Space returns size and free bytes of a volume.
func (h *Host) Space(v Volume) (size, free int64, err error) { return 0, 0, errNotYet }

// Freeze makes every write to a DiskLoop wait, as a hung disk does; the waiting
// process ignores even SIGKILL.
func (h *Host) Freeze(v Volume) error { return errNotYet }

// Thaw ends Freeze.
func (h *Host) Thaw(v Volume) error { return errNotYet }

// A Sickness is how a DiskFUSE misbehaves from now on; the zero value is health.
type Sickness struct {
	SlowSync  time.Duration // each fsync takes so much longer
	FailSync  bool          // each fsync fails with EIO, and what it was for is not said
	HangSync  bool          // each fsync waits until the sickness is over
	FailRead  string        // reads of files whose path below the data directory has this prefix fail with EIO
	FailWrite bool          // each write fails with EIO
	HangWrite bool          // each write waits until the sickness is over
	Only      string        // fsync and writes: of files whose path has this prefix; empty: all
}

// Sicken sets how a DiskFUSE misbehaves.
func (h *Host) Sicken(s Sickness) error { return errNotYet }
