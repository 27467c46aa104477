package rig

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"symkeep/internal/api"
)

// A Config says what a rig is made of.
type Config struct {
	Dir   string       // absolute, on a file system that syncs; logs stay there after Close
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

	hosts []*Host
}

var errNotYet = errors.New("rig: not written yet")

// Child does the work of a process that the rig started from the test's own
// program, such as serving a file system. A TestMain calls it first, and if ok
// exits with the code at once.
func Child() (code int, ok bool) { return 0, false }

// Build builds symkeep into dir, statically, with tags such as "faults", and
// returns the program's path.
func Build(ctx context.Context, dir string, tags ...string) (string, error) { return "", errNotYet }

// Supported returns nil where this process may make rigs, and otherwise what is
// missing.
func Supported() error { return errNotYet }

// New makes the hosts and their network and disks; no node runs yet. What a rig
// left behind whose process is gone is removed first.
func New(cfg Config) (*Rig, error) { return nil, errNotYet }

// Close kills the nodes and removes everything that New made but the files under
// Config.Dir that are not on a disk of their own. It may be called twice.
func (r *Rig) Close() error { return errNotYet }

// Host returns host number i, counted from 1.
func (r *Rig) Host(i int) *Host { return r.hosts[i-1] }

// Hosts returns all hosts.
func (r *Rig) Hosts() []*Host { return r.hosts }

// Running returns the hosts whose node's process lives.
func (r *Rig) Running() []*Host { return nil }

// Others returns the running hosts but these.
func (r *Rig) Others(but ...*Host) []*Host { return nil }

// URLs returns the URLs of hosts, as --server takes them.
func URLs(hosts ...*Host) string { return "" }

// Outside is the address at which the hosts reach the harness, without a port.
func (r *Rig) Outside() string { return "" }

// Rand returns a source of random numbers that begins with Config.Seed. It is for
// one goroutine.
func (r *Rig) Rand(stream uint64) *rand.Rand { return nil }

// StartCluster starts every node, the first as the founder, and waits until all
// are members and healthy.
func (r *Rig) StartCluster(ctx context.Context) error { return errNotYet }

// WaitHealthy waits until every running node says that the cluster has want
// members and is healthy. The error is the latest reason why not.
func (r *Rig) WaitHealthy(ctx context.Context, want int) error { return errNotYet }

// Leader waits until most of the running nodes name the same leader and its process
// runs, and returns its host.
func (r *Rig) Leader(ctx context.Context) (*Host, error) { return nil, errNotYet }

// Heal ends every fault of the network and of the disks, disarms every point and
// sets the clocks right. Processes that were stopped go on; those that ended stay
// so, and damaged bytes stay damaged.
func (r *Rig) Heal() error { return errNotYet }

// Status asks this host's node about the cluster. The answer may take 5 s.
func (h *Host) Status(ctx context.Context) (api.ClusterStatus, error) {
	return api.ClusterStatus{}, errNotYet
}

// Client returns a client of this host's node; the caller closes it.
func (h *Host) Client() (*api.Client, error) { return nil, errNotYet }

// Eventually calls f every 50 ms until it returns nil, and otherwise returns its
// latest error after the limit or at the end of ctx.
func Eventually(ctx context.Context, limit time.Duration, f func() error) error { return errNotYet }
