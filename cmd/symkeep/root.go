package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"symkeep/ops"
)

// version is set by the linker when a release is built.
var version string

func newRootCommand(stdout, stderr io.Writer, lookup func(string) (string, bool)) *cobra.Command {
	root := ops.Group("symkeep", "a symbol server that is a cluster")
	root.Long = "symkeep keeps symbols and executables of builds and serves them to every debugger.\n\n" +
		"Every flag can also be set by an environment variable (--http-addr is\n" +
		"SYMKEEP_HTTP_ADDR) and by a key of the YAML file that --config names (http-addr).\n" +
		"A flag beats the environment, the environment beats the file.\n\n" +
		"Exit status: 0 success or verdict good, 1 error or interrupted, 2 wrong flag or\n" +
		"argument, 3 verdict failed, 4 unavailable and worth a retry, 5 refused."
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return ops.Usage("%w", err) })
	root.PersistentFlags().String("config", "", "YAML `FILE` with values of flags")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return applySettings(cmd, lookup) }

	env := ops.Env{Stdout: stdout, Stderr: stderr, User: currentUser(), Now: time.Now, Offline: offline{}}
	root.AddCommand(newNodeCommand(), newValidateCommand(), newCourierCommand(), newPushCommand(env), newCheckCommand(env), newVersionCommand(env))
	root.AddCommand(ops.Commands(env)...)
	return root
}

func newVersionCommand(env ops.Env) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "print the version of this program",
		Example: "  symkeep version",
		Args:    ops.Args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(env.Stdout, "symkeep %s %s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// buildVersion is what the linker was told, else what the module system knows.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

func currentUser() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	if host, err := os.Hostname(); err == nil {
		return u.Username + "@" + host
	}
	return u.Username
}

// isSilent reports whether everything about err was said already.
func isSilent(err error) bool {
	var e *ops.ExitError
	return errors.As(err, &e) && e.Err == nil
}
