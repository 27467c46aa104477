// Command symkeep is the whole program: the server, the build-side agent and the
// operator's tool. This package is the command tree, the flags and where their
// values come from, and the exit status; it holds no logic.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"symkeep/agent"
	"symkeep/ops"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.LookupEnv)
	stop()
	os.Exit(code)
}

// run executes one command line and returns the exit status. lookup reads the
// environment.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, lookup func(string) (string, bool)) int {
	root := newRootCommand(stdout, stderr, lookup)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	code := ops.ExitCode(err)
	if err == nil || isSilent(err) {
		return code
	}
	fmt.Fprintf(stderr, "%s: %s\n", cmd.CommandPath(), agent.Clean(message(cmd, err, code)))
	return code
}

// message is the text of an error; a usage error is one line that says where to
// read on.
func message(cmd *cobra.Command, err error, code int) string {
	text := err.Error()
	if code == ops.ExitUsage {
		text = strings.ReplaceAll(text, "\n", "; ") + fmt.Sprintf(" (see `%s --help`)", cmd.CommandPath())
	}
	return text
}
