package main

import (
	"errors"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
	"symkeep/internal/notify"
	"symkeep/node"
	"symkeep/ops"
	"symkeep/symhttp"
)

// nodeFlags are the values of flags that need more than to be copied.
type nodeFlags struct {
	newCluster          bool
	logLevel, logFormat string
	diskFullAt          float64
}

func newNodeCommand() *cobra.Command {
	cfg := node.DefaultConfig()
	var given nodeFlags
	cmd := &cobra.Command{
		Use:   "node",
		Short: "run a node",
		Long: "Runs one node until it is interrupted. With no flags it is a cluster of one node\n" +
			"on loopback with its data in ./symkeep-data. A node with --join becomes a member\n" +
			"of a cluster; it never founds one.",
		Example: "  symkeep node\n" +
			"  symkeep node --data-dir /var/lib/symkeep --advertise sym1.example.org \\\n" +
			"    --http-addr :8480 --peer-addr :8481 --gossip-addr :8482 \\\n" +
			"    --new-cluster --insecure-cluster\n" +
			"  symkeep node --data-dir /var/lib/symkeep --advertise sym2.example.org \\\n" +
			"    --http-addr :8480 --peer-addr :8481 --gossip-addr :8482 \\\n" +
			"    --join sym1.example.org:8482 --insecure-cluster",
		Args: ops.Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := completeConfig(cmd.Flags(), given, &cfg); err != nil {
				return err
			}
			symhttp.AllowLoops()
			n, err := node.New(cfg)
			if errors.Is(err, catalog.ErrInvalid) || errors.Is(err, notify.ErrBadURL) {
				return ops.Usage("%w", err)
			}
			if err != nil {
				return err
			}
			return n.Run(cmd.Context())
		},
	}
	addNodeFlags(cmd.Flags(), &cfg, &given)
	return cmd
}

func addNodeFlags(f *pflag.FlagSet, cfg *node.Config, given *nodeFlags) {
	f.StringVar(&cfg.DataDir, "data-dir", cfg.DataDir, "`DIR` of everything the node keeps")
	f.StringVar(&cfg.Zone, "zone", "", "failure domain of the node; copies go to distinct ones")
	f.StringVar(&cfg.Name, "name", "", "name, unique in the cluster (default host name and peer port)")
	f.StringVar(&cfg.HTTPAddr, "http-addr", cfg.HTTPAddr, "public `ADDR`: debuggers, /api/v1, health, metrics")
	f.StringVar(&cfg.PeerAddr, "peer-addr", cfg.PeerAddr, "cluster-internal TCP `ADDR`: raft and /peer/v1")
	f.StringVar(&cfg.GossipAddr, "gossip-addr", cfg.GossipAddr, "memberlist `ADDR`, TCP and UDP")
	f.StringVar(&cfg.Advertise, "advertise", "", "`HOST` others reach this node at; required with a wildcard bind")
	f.StringSliceVar(&cfg.Join, "join", nil, "gossip `ADDR[,ADDR]` of members to join")
	f.BoolVar(&given.newCluster, "new-cluster", false, "found a new cluster (implied on loopback with a fresh data directory; =false waits for 'symkeep cluster join')")
	f.BoolVar(&cfg.InsecureCluster, "insecure-cluster", false, "let peer and gossip addresses leave loopback, although peers are not authenticated yet")
	f.StringVar(&cfg.ShareDir, "share-dir", "", "keep a SymStore tree of hard links in `DIR`, on the same file system as the data")
	f.StringVar(&cfg.SMTPURL, "smtp-url", "", "mail relay `URL`, "+notify.URLForm)
	f.StringVar(&cfg.SMTPPasswordFile, "smtp-password-file", "", "`FILE` with the relay's password")
	f.Int64Var(&cfg.CacheBytes, "cache-bytes", cfg.CacheBytes, "bound of the disk cache of unpacked blobs, 0 turns it off")
	f.IntVar(&cfg.Settings.Replicas, "replicas", cfg.Settings.Replicas, "copies of each blob; seeds the setting of a new cluster")
	f.StringVar(&cfg.Settings.MailFrom, "mail-from", "", "sender `ADDRESS` of verdicts; seeds the setting of a new cluster")
	f.StringSliceVar(&cfg.Settings.MailTo, "mail-to", nil, "receivers of verdicts, `ADDRESS[,ADDRESS]`; seeds the setting of a new cluster")
	f.StringVar(&given.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&given.logFormat, "log-format", "text", "text or json")
	f.Float64Var(&given.diskFullAt, "disk-full-at", 0, "share of the disk, 0 to 1, above which pushes are refused; the other marks move along; for tests")
	f.DurationVar(&cfg.Disk.HungAfter, "disk-hung-after", 0, "how long a write may take before the node ends; for tests")
	for _, name := range []string{"disk-full-at", "disk-hung-after"} {
		f.MarkHidden(name)
	}
}

// completeConfig adds what the flags do not say by themselves.
func completeConfig(flags *pflag.FlagSet, given nodeFlags, cfg *node.Config) error {
	for _, f := range []string{"replicas", "mail-from", "mail-to"} {
		if flags.Changed(f) {
			cfg.SettingsGiven = append(cfg.SettingsGiven, f)
		}
	}
	if flags.Changed("new-cluster") {
		cfg.NewCluster = node.No
		if given.newCluster {
			cfg.NewCluster = node.Yes
		}
	}
	log, err := newLogger(given.logLevel, given.logFormat)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if cfg.Disk.Marks, err = diskMarks(given.diskFullAt); err != nil {
		return err
	}
	cfg.Logger, cfg.Version, cfg.Exit = log, buildVersion(), os.Exit
	cfg.ValidatorCommand, cfg.CourierCommand = []string{self, validateCommandName}, []string{self, courierCommandName}
	return nil
}

// diskMarks moves every mark of the disk with the one at which pushes are refused; 0
// leaves them.
func diskMarks(fullAt float64) (blobstore.Marks, error) {
	if fullAt < 0 || fullAt > 1 {
		return blobstore.Marks{}, ops.Usage("disk-full-at %g: wanted a share of 0 to 1", fullAt)
	}
	m := blobstore.DefaultMarks()
	if fullAt > 0 {
		by := fullAt / m.Ingest
		m = blobstore.Marks{Warn: m.Warn * by, Rebalance: m.Rebalance * by, Ingest: fullAt, ReadOnly: min(1, m.ReadOnly*by)}
	}
	return m, nil
}

// newLogger writes to standard error.
func newLogger(level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(level))); err != nil {
		return nil, ops.Usage("log-level %q: wanted debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, opts)), nil
	}
	return nil, ops.Usage("log-format %q: wanted text or json", format)
}
