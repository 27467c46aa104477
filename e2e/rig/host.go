package rig

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A Host is one machine with one node on it.
type Host struct {
	Name string // n1, n2 and so on: the node's name too

	rig    *Rig
	number int
	moves  int
	dir    string // of everything of this host
	faults string // directory of internal/fault
	flags  []string
	found  bool // the next start founds the cluster
	disk   disk

	mu     sync.Mutex
	addr   string
	proc   *process   // nil when none runs
	random *rand.Rand // of damage
}

func newHost(r *Rig, number int) *Host {
	h := &Host{Name: fmt.Sprintf("n%d", number), rig: r, number: number}
	h.dir = filepath.Join(r.cfg.Dir, h.Name)
	h.faults = filepath.Join(h.dir, "faults")
	return h
}

// Number is the host's number, from 1.
func (h *Host) Number() int { return h.number }

// Addr is the host's address, without a port.
func (h *Host) Addr() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.addr
}

func (h *Host) setAddr(a string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addr = a
}

// URL is where the node's public server is.
func (h *Host) URL() string { return "http://" + h.Addr() + ":8480" }

// Peer is the node's peer address, for TCP.
func (h *Host) Peer() string { return h.Addr() + ":8481" }

// Gossip is the node's gossip address, as --join takes it.
func (h *Host) Gossip() string { return h.Addr() + ":8482" }

// DataDir is the node's data directory.
func (h *Host) DataDir() string { return filepath.Join(h.dir, "disk", "data") }

// LogPath is where all of the node's processes write to, one after the other.
func (h *Host) LogPath() string { return filepath.Join(h.dir, "node.log") }

// port is the name of the bridges' end of one of the host's cables.
func (h *Host) port(side string) string { return fmt.Sprintf("%s%d", side, h.number) }

// Log returns what was logged from this offset on, 0 for all, and where it ends.
func (h *Host) Log(from int64) (text string, end int64) {
	b, err := os.ReadFile(h.LogPath())
	if err != nil || from > int64(len(b)) {
		return "", from
	}
	return string(b[from:]), int64(len(b))
}

// SetFlags replaces what Start passes beyond Config.Flags. Start adds whom to join,
// all other hosts, unless these flags say it or name a new cluster.
func (h *Host) SetFlags(flags ...string) { h.flags = append([]string(nil), flags...) }

// arguments are those of the node's process.
func (h *Host) arguments() []string {
	args := []string{"node", "--name", h.Name, "--data-dir", h.DataDir(), "--insecure-cluster", "--advertise", h.Addr(),
		"--http-addr", ":8480", "--peer-addr", ":8481", "--gossip-addr", "0.0.0.0:8482"}
	args = append(append(args, h.rig.cfg.Flags...), h.flags...)
	if said := strings.Join(args, " ") + " "; strings.Contains(said, " --join") || strings.Contains(said, " --new-cluster") {
		return args
	}
	if h.found {
		return append(args, "--new-cluster")
	}
	for _, o := range h.rig.hosts {
		if o != h {
			args = append(args, "--join", o.Gossip())
		}
	}
	return args
}

// Wipe empties the data directory of a node that does not run.
func (h *Host) Wipe() error {
	if h.Running() {
		return fmt.Errorf("wipe %s: its node runs", h.Name)
	}
	var errs []error
	for _, dir := range []string{filepath.Join(h.DataDir(), "raft"), h.DataDir()} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			if path := filepath.Join(dir, e.Name()); path != h.disk.raftMount {
				errs = append(errs, os.RemoveAll(path))
			}
		}
	}
	return errors.Join(errs...)
}

// Readdress gives the host another address, at which its node is started next. The
// node must not run.
func (h *Host) Readdress() error {
	if h.Running() {
		return fmt.Errorf("readdress %s: its node runs", h.Name)
	}
	return h.rig.Net.readdress(h)
}

// ArmKill makes the node kill itself when it next comes to a point of
// internal/fault.
func (h *Host) ArmKill(point string) error { return h.arm("kill-" + point) }

// ArmStop makes the node stop, as with SIGSTOP, when it next comes to the point.
func (h *Host) ArmStop(point string) error { return h.arm("stop-" + point) }

func (h *Host) arm(name string) error {
	return os.WriteFile(filepath.Join(h.faults, name), nil, 0o644)
}

// Armed reports whether the node has yet to come to an armed point.
func (h *Host) Armed(point string) bool {
	_, err1 := os.Stat(filepath.Join(h.faults, "kill-"+point))
	_, err2 := os.Stat(filepath.Join(h.faults, "stop-"+point))
	return err1 == nil || err2 == nil
}

// Disarm takes every point back.
func (h *Host) Disarm() error {
	var errs []error
	for _, prefix := range []string{"kill-", "stop-"} {
		armed, err := filepath.Glob(filepath.Join(h.faults, prefix+"*"))
		errs = append(errs, err)
		for _, path := range armed {
			if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// SetNumber changes a number that internal/fault lets tests change, from the
// node's next start on: "snapshot-threshold" (log entries), "snapshot-interval-ms",
// "trailing-logs". Heal does not set it back.
func (h *Host) SetNumber(name string, value uint64) error {
	return os.WriteFile(filepath.Join(h.faults, name), fmt.Append(nil, value), 0o644)
}

// SetClock puts the node's wall clock off by so much; 0 sets it right.
func (h *Host) SetClock(off time.Duration) error {
	path := filepath.Join(h.faults, "clock")
	if off == 0 {
		if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := os.WriteFile(path+".new", []byte(off.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path) // never seen half written
}

// heal ends what Rig.Heal ends.
func (h *Host) heal() error {
	errs := []error{h.healDisk(), h.Disarm(), h.SetClock(0)}
	if h.Running() {
		errs = append(errs, h.Resume())
	}
	return errors.Join(errs...)
}
