package rig

import (
	"os"
	"time"
)

// A Host is one machine with one node on it.
type Host struct {
	Name string // n1, n2 and so on: the node's name too

	number int
}

// Number is the host's number, from 1.
func (h *Host) Number() int { return h.number }

// Addr is the host's address, without a port.
func (h *Host) Addr() string { return "" }

// URL is where the node's public server is.
func (h *Host) URL() string { return "" }

// Peer is the node's peer address, for TCP.
func (h *Host) Peer() string { return "" }

// Gossip is the node's gossip address, as --join takes it.
func (h *Host) Gossip() string { return "" }

// DataDir is the node's data directory. It exists while the node's disk does.
func (h *Host) DataDir() string { return "" }

// LogPath is where all of the node's processes write to, one after the other.
func (h *Host) LogPath() string { return "" }

// Log returns what was logged from this offset on, 0 for all, and where it ends.
func (h *Host) Log(from int64) (string, int64) { return "", 0 }

// SetFlags sets what Start passes from now on, beyond Config.Flags: --new-cluster
// or --join and whatever else.
func (h *Host) SetFlags(flags ...string) {}

// Start runs the node and returns once it listens, or with an error once it has
// ended or 20 s have passed.
func (h *Host) Start() error { return errNotYet }

// Launch runs the node and returns at once.
func (h *Host) Launch() error { return errNotYet }

// Running reports whether the node's process lives, stopped ones too.
func (h *Host) Running() bool { return false }

// PID is the process id of the node, 0 when it does not run.
func (h *Host) PID() int { return 0 }

// Kill is kill -9. It returns once the process is gone; a frozen disk is thawed
// for that.
func (h *Host) Kill() error { return errNotYet }

// Pause is SIGSTOP, Resume is SIGCONT.
func (h *Host) Pause() error { return errNotYet }

// Resume makes a paused process go on.
func (h *Host) Resume() error { return errNotYet }

// Stop is SIGTERM. It waits for the end, at most so long, and returns an error
// unless the process ended with status 0.
func (h *Host) Stop(limit time.Duration) error { return errNotYet }

// Wait waits for the process to end by itself, at most so long.
func (h *Host) Wait(limit time.Duration) (*os.ProcessState, error) { return nil, errNotYet }

// Restart kills the node if it runs, and starts it.
func (h *Host) Restart() error { return errNotYet }

// Wipe empties the data directory of a node that does not run.
func (h *Host) Wipe() error { return errNotYet }

// Readdress gives the host another address, at which its node is started next. The
// node must not run.
func (h *Host) Readdress() error { return errNotYet }

// ArmKill makes the node kill itself when it next comes to a point of
// internal/fault; ArmStop makes it stop there as with SIGSTOP.
func (h *Host) ArmKill(point string) error { return errNotYet }

// ArmStop makes the node stop, as with SIGSTOP, when it next comes to the point.
func (h *Host) ArmStop(point string) error { return errNotYet }

// Armed reports whether the node has yet to come to an armed point.
func (h *Host) Armed(point string) bool { return false }

// Disarm takes every point back.
func (h *Host) Disarm() error { return errNotYet }

// SetClock puts the node's wall clock off by so much; 0 sets it right.
func (h *Host) SetClock(off time.Duration) error { return errNotYet }
