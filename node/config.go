package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"symkeep/internal/catalog"
)

// A Config says how one node runs. DefaultConfig fills it, Validate checks it.
type Config struct {
	DataDir string // directory of everything the node keeps; created when missing
	Name    string // unique in the cluster; empty: host name and peer port
	Zone    string // failure domain, free text up to 32 bytes

	HTTPAddr   string // host:port of the public server
	PeerAddr   string // host:port of cluster-internal TCP
	GossipAddr string // host:port of memberlist, TCP and UDP
	Advertise  string // host others reach this node at; required with a wildcard bind

	Join       []string // gossip addresses of members
	NewCluster Choice   // start a new cluster; automatic: see Node

	// InsecureCluster lets the peer and gossip addresses leave loopback although
	// nothing on them is authenticated yet.
	InsecureCluster bool

	ShareDir         string // SymStore tree of hard links; empty: none
	SMTPURL          string // smtp[s]://user@host:port; empty: this node sends no mail
	SMTPPasswordFile string
	CacheBytes       int64 // bound of the disk cache of unpacked blobs; 0: off

	// Settings seed the cluster-wide settings when this node creates the cluster.
	// Later they are compared with the committed ones; a difference is logged for
	// each one that SettingsGiven names.
	Settings      catalog.Settings
	SettingsGiven []string // names of the flags that were given

	Version string // of the program, shown in status

	// CourierCommand starts a process that moves the bytes of repair, at a low
	// priority: the program and its arguments. Empty: the node does it itself.
	CourierCommand []string
	// ValidatorCommand starts a validator child: the program and its arguments.
	ValidatorCommand []string
	ValidatorMemory  int64         // bytes a validator child may use, default 2 GiB
	DrainTimeout     time.Duration // how long requests may finish at a stop, default 15 s

	Disk DiskConfig
	// Exit ends the process, with a status, when a node that stops itself does not end
	// in order, as on a disk that hangs; nil: nothing does.
	Exit func(status int)

	Logger *slog.Logger
}

// A Choice is yes, no, or left to the node.
type Choice int

// Choices.
const (
	Automatic Choice = iota
	Yes
	No
)

// DefaultConfig is a one-node cluster on loopback.
func DefaultConfig() Config {
	return Config{
		DataDir:         "symkeep-data",
		HTTPAddr:        "127.0.0.1:8480",
		PeerAddr:        "127.0.0.1:8481",
		GossipAddr:      "127.0.0.1:8482",
		CacheBytes:      4 << 30,
		Settings:        catalog.DefaultSettings(),
		ValidatorMemory: 2 << 30,
		DrainTimeout:    15 * time.Second,
		Logger:          slog.Default(),
	}
}

// Validate reports every problem at once. Errors wrap catalog.ErrInvalid.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf(format+": %w", append(args, catalog.ErrInvalid)...))
	}
	if c.DataDir == "" {
		bad("data-dir is empty")
	}
	for _, a := range []struct{ flag, addr string }{
		{"http-addr", c.HTTPAddr}, {"peer-addr", c.PeerAddr}, {"gossip-addr", c.GossipAddr},
	} {
		host, _, err := net.SplitHostPort(a.addr)
		switch {
		case err != nil:
			bad("%s %q: wanted host:port", a.flag, a.addr)
		case isWildcard(host) && c.Advertise == "":
			bad("%s %q listens on every address: name with --advertise the host others reach this node at", a.flag, a.addr)
		case a.flag != "http-addr" && !isLoopback(host) && !c.InsecureCluster:
			bad("%s %q is reachable from other hosts, and peers are not authenticated yet: anyone who reaches it can read and change everything; use a loopback address, or say --insecure-cluster on a network you trust", a.flag, a.addr)
		}
	}
	if len(c.Zone) > 32 {
		bad("zone %q: %d bytes, at most 32", c.Zone, len(c.Zone))
	}
	if err := catalog.CheckText("name", c.Name, 64); err != nil || strings.ContainsAny(c.Name, " \t\n/") {
		bad("name %q: wanted at most 64 bytes without blanks or slashes", c.Name)
	}
	if len(c.Join) > 0 && c.NewCluster == Yes {
		bad("join and new-cluster exclude each other: a node either joins or founds")
	}
	for _, a := range c.Join {
		if _, _, err := net.SplitHostPort(a); err != nil {
			bad("join %q: wanted host:port of a member's gossip address", a)
		}
	}
	if c.CacheBytes < 0 {
		bad("cache-bytes %d: negative", c.CacheBytes)
	}
	if err := c.Settings.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// foundsCluster reports whether a node with a fresh data directory starts a new
// cluster: when told to, or when all three addresses are loopback and nobody is
// to be joined. A lost volume must not become an empty second cluster.
func (c *Config) foundsCluster() bool {
	switch c.NewCluster {
	case Yes:
		return true
	case No:
		return false
	}
	for _, a := range []string{c.HTTPAddr, c.PeerAddr, c.GossipAddr} {
		if host, _, err := net.SplitHostPort(a); err != nil || !isLoopback(host) {
			return false
		}
	}
	return len(c.Join) == 0
}

// advertised returns the address that others use for a listener bound to addr.
func (c *Config) advertised(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || (c.Advertise == "" && !isWildcard(host)) {
		return addr
	}
	return net.JoinHostPort(c.Advertise, port)
}

// nodeName returns the configured name, or host name and peer port.
func (c *Config) nodeName(peerAddr string) string {
	if c.Name != "" {
		return c.Name
	}
	host, err := os.Hostname()
	if err != nil || len(host) > 48 {
		host = "node"
	}
	_, port, _ := net.SplitHostPort(peerAddr)
	return host + "-" + port
}

func isWildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || (ip != nil && ip.IsUnspecified())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
