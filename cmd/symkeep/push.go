package main

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"symkeep/agent"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/ops"
)

func newPushCommand(env ops.Env) *cobra.Command {
	cfg := agent.DefaultConfig()
	var servers, labels []string
	var policy ops.PolicyFlags
	var sources sourceFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "push --server URL[,URL] --product P --version V PATH...",
		Short: "upload the symbols and executables of a build, and wait for the verdict",
		Long: "Scan files and folders, upload what the cluster does not have yet as one package, and\n" +
			"wait until it is validated and served by every node. Exit status 3 means that the\n" +
			"package failed validation, 4 that it is worth a retry. An interrupted push exits\n" +
			"with 1; the same command again sends only what is missing. --allow turns errors of a\n" +
			"code into warnings, --deny warnings into errors; the cluster may deny what a push\n" +
			"allows. `symkeep findings` lists the codes.\n\n" + sourcesHelp,
		Example: "  symkeep push --server http://symbols:8480 --product app --version 1.2.3 build/\n" +
			"  symkeep push --server http://a:8480,http://b:8480 --product app --version 1.2.3 --label branch=main --json build/bin app.pdb\n" +
			"  symkeep push --server http://symbols:8480 --product app --version 1.2.3 --allow ELF-DWO --deny PDB-NOLINES,PDB-STRIPPED build/\n" +
			"  symkeep push --server http://symbols:8480 --product app --version 1.2.3 --sources --source-root /usr/src/app-1.2.3=$PWD build/",
		Args: ops.Args(1, -1, "one or more PATHs"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.Paths = args
			var err error
			if cfg.Labels, err = labelMap(labels); err != nil {
				return err
			}
			if cfg.Policy, err = policy.Policy(); err != nil {
				return err
			}
			if cfg.Sources, err = sources.parse(); err != nil {
				return err
			}
			list, err := dial(servers)
			if err != nil {
				return err
			}
			return show(env, asJSON, func(r agent.Reporter) (api.Result, error) { return agent.Push(cmd.Context(), cfg, list, r) })
		},
	}
	f := c.Flags()
	ops.ServerFlag(f, &servers)
	f.StringVar(&cfg.Product, "product", "", "`PRODUCT` that was built (required)")
	f.StringVar(&cfg.Version, "version", "", "`VERSION` of it (required)")
	f.StringArrayVar(&labels, "label", nil, "`KEY=VALUE` to find the package by, such as branch=main; may be repeated")
	f.StringVar(&cfg.Comment, "comment", "", "free `TEXT`")
	policy.Add(f)
	sources.add(f)
	f.BoolVar(&asJSON, "json", false, "print JSON, one object per line: events, last the result")
	f.BoolVar(&cfg.NoWait, "no-wait", false, "return once the cluster has the package, without a verdict")
	f.DurationVar(&cfg.Timeout, "timeout", cfg.Timeout, "give up after this time without progress")
	f.IntVar(&cfg.Uploads, "uploads", cfg.Uploads, "files sent at once; up to four times as many where they are small, and not over 16 for that")
	f.BoolVar(&cfg.Raw, "raw", false, "send files unpacked: the nodes pack them, this machine does not")
	f.IntVar(&cfg.Workers, "workers", cfg.Workers, "files read at once; 0 for four per CPU, at most 16")
	return c
}

func newCheckCommand(env ops.Env) *cobra.Command {
	var cfg agent.Config
	var asJSON bool
	var policy ops.PolicyFlags
	var sources sourceFlags
	c := &cobra.Command{
		Use:     "check PATH...",
		Short:   "scan and validate files as push would, here, without a network",
		Example: "  symkeep check build/\n  symkeep check --json build/bin app.pdb\n  symkeep check --deny PDB-NOLINES build/\n  symkeep check --sources build/",
		Args:    ops.Args(1, -1, "one or more PATHs"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.Paths = args
			var err error
			if cfg.Policy, err = policy.Policy(); err != nil {
				return err
			}
			if cfg.Sources, err = sources.parse(); err != nil {
				return err
			}
			return show(env, asJSON, func(r agent.Reporter) (api.Result, error) { return agent.Check(cmd.Context(), cfg, r) })
		},
	}
	policy.Add(c.Flags())
	sources.add(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, one object per line: events, last the result")
	c.Flags().IntVar(&cfg.Workers, "workers", 0, "files read at once; 0 for four per CPU, at most 16")
	return c
}

// show runs a push or check with the reporter that suits standard error, prints
// its result and turns the verdict into an exit status.
func show(env ops.Env, asJSON bool, do func(agent.Reporter) (api.Result, error)) error {
	report, finish := reporter(env, asJSON)
	r, err := do(report)
	finish()
	if err != nil {
		if asJSON {
			agent.WriteJSON(env.Stdout, agent.Event{Event: agent.EventError, Package: r.Package, Message: err.Error()})
		}
		return err
	}
	if asJSON {
		err = agent.WriteJSON(env.Stdout, r)
	} else {
		err = agent.WriteReport(env.Stdout, r)
	}
	switch {
	case err != nil:
		return err
	case r.Verdict == catalog.Failed:
		return &ops.ExitError{Code: ops.ExitVerdict}
	case r.State == catalog.StateStuck:
		return &ops.ExitError{Code: ops.ExitUnavailable}
	}
	return nil
}

func reporter(env ops.Env, asJSON bool) (agent.Reporter, func()) {
	if asJSON {
		return agent.NewJSONLines(env.Stdout, time.Now), func() {}
	}
	if f, ok := env.Stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) && enableEscapes(f) {
		bars := agent.NewBars(f, func() int { return columns(f) }, time.Now)
		return bars, bars.Close
	}
	return agent.NewLines(env.Stderr, time.Now), func() {}
}

func columns(f *os.File) int {
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil || w <= 0 {
		return 80
	}
	return w
}

func dial(servers []string) ([]agent.Server, error) {
	clients, err := ops.Dial(servers)
	var list []agent.Server
	for _, c := range clients {
		list = append(list, c)
	}
	return list, err
}

func labelMap(labels []string) (map[string]string, error) {
	m := map[string]string{}
	for _, l := range labels {
		k, v, ok := strings.Cut(l, "=")
		if _, twice := m[k]; !ok || k == "" || twice {
			return nil, ops.Usage("--label %q: wanted KEY=VALUE, each key once", l)
		}
		m[k] = v
	}
	return m, nil
}
