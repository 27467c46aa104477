package rig

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// A Config says what a rig is made of.
type Config struct {
	Dir   string       // on a file system that syncs; logs stay there after Close; without blanks
	Hosts int          // 1 to 32
	Bin   string       // symkeep, built with the tag "faults" (see Build)
	Seed  uint64       // of the choice of what is damaged, and where
	Disk  Disk         // of every host
	Disks map[int]Disk // of single hosts, by number
	Flags []string     // of every node, beyond its name, directory, addresses and whom to join
	Env   []string     // of every node, NAME=VALUE
}

// A Rig is some hosts on a network of their own.
type Rig struct {
	Net *Network

	cfg   Config
	claim *claim
	hosts []*Host

	closing sync.Once
	closed  error
}

// New makes the hosts and their network and disks; no node runs yet. What a rig
// left behind whose process is gone is removed first.
func New(cfg Config) (_ *Rig, err error) {
	if err := Supported(); err != nil {
		return nil, err
	}
	if cfg.Hosts < 1 || cfg.Hosts > maxHosts {
		return nil, fmt.Errorf("rig: %d hosts, wanted 1 to %d", cfg.Hosts, maxHosts)
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, fmt.Errorf("rig: %w", err)
	}
	if strings.ContainsAny(cfg.Dir, " \t\n\\") {
		return nil, fmt.Errorf("rig: directory %q: blanks and backslashes are escaped in the table of mounts: use another", cfg.Dir)
	}
	if err := sweepLeftovers(); err != nil {
		return nil, fmt.Errorf("rig: what an earlier one left behind: %w", err)
	}
	r := &Rig{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("rig: %w", err), r.Close())
		}
	}()
	if r.claim, err = newClaim(cfg.Dir); err != nil {
		return nil, err
	}
	for i := 1; i <= cfg.Hosts; i++ {
		h := newHost(r, i)
		r.hosts = append(r.hosts, h)
		if err := os.MkdirAll(h.faults, 0o755); err != nil {
			return nil, err
		}
	}
	if r.Net, err = newNetwork(r.claim.prefix, r.hosts); err != nil {
		return nil, err
	}
	for _, h := range r.hosts {
		if err := h.attachDisk(); err != nil {
			return nil, fmt.Errorf("disk of %s: %w", h.Name, err)
		}
	}
	return r, nil
}

// Close kills the nodes and removes everything that New made but the files under
// Config.Dir that are not on a disk of their own. It may be called twice.
func (r *Rig) Close() error {
	r.closing.Do(func() {
		if r.claim == nil {
			return
		}
		var errs []error
		for _, h := range r.hosts {
			errs = append(errs, h.Kill())
		}
		if r.Net != nil {
			r.Net.stopDelays()
		}
		for _, h := range r.hosts {
			errs = append(errs, h.detachDisk())
		}
		if err := sweep(r.claim.prefix, r.cfg.Dir); err != nil {
			errs = append(errs, err, r.claim.file.Close()) // the next rig tries again
		} else {
			errs = append(errs, r.claim.drop())
		}
		r.closed = errors.Join(errs...)
	})
	return r.closed
}

// Host returns host number i, counted from 1.
func (r *Rig) Host(i int) *Host { return r.hosts[i-1] }

// Hosts returns all hosts.
func (r *Rig) Hosts() []*Host { return append([]*Host(nil), r.hosts...) }

// Running returns the hosts whose node's process lives.
func (r *Rig) Running() []*Host { return r.Others() }

// Others returns the running hosts but these.
func (r *Rig) Others(but ...*Host) (out []*Host) {
	for _, h := range r.hosts {
		if h.Running() && !contains(but, h) {
			out = append(out, h)
		}
	}
	return out
}

func contains(hosts []*Host, h *Host) bool {
	for _, o := range hosts {
		if o == h {
			return true
		}
	}
	return false
}

// URLs returns the URLs of hosts, as --server takes them.
func URLs(hosts ...*Host) string {
	var us []string
	for _, h := range hosts {
		us = append(us, h.URL())
	}
	return strings.Join(us, ",")
}

// Outside is the address at which the hosts reach the harness, without a port.
func (r *Rig) Outside() string { return r.Net.outside() }

// Rand returns a source of random numbers that begins with Config.Seed, another
// one for each stream. It is for one goroutine.
func (r *Rig) Rand(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(r.cfg.Seed, stream)) }

// Heal ends every fault of the network and of the disks, disarms every point and
// sets the clocks right. Processes that were stopped go on; those that ended stay
// so, and damaged bytes stay damaged.
func (r *Rig) Heal() error {
	errs := []error{r.Net.Heal()}
	for _, h := range r.hosts {
		errs = append(errs, h.heal())
	}
	return errors.Join(errs...)
}
