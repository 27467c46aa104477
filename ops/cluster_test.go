package ops_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"symkeep/agent/agenttest"
	"symkeep/internal/api"
	"symkeep/ops"
)

// newRoot returns a program that has the commands of this package.
func newRoot(env ops.Env) *cobra.Command {
	root := ops.Group("symkeep", "", ops.Commands(env)...)
	root.SilenceErrors, root.SilenceUsage = true, true
	return root
}

// needed are arguments that a command cannot do without, by its path.
var needed = map[string][]string{
	"symkeep package show":            {"01JD3Z8QGQ4T6V2W8XN5RAYE7B"},
	"symkeep package delete":          {"01JD3Z8QGQ4T6V2W8XN5RAYE7B"},
	"symkeep package undelete":        {"01JD3Z8QGQ4T6V2W8XN5RAYE7B"},
	"symkeep package retry":           {"01JD3Z8QGQ4T6V2W8XN5RAYE7B"},
	"symkeep find":                    {"1a58ff734bb1f734df5c"},
	"symkeep cluster join":            {"10.0.0.1:8482"},
	"symkeep cluster drain":           {"n2"},
	"symkeep cluster undrain":         {"n2"},
	"symkeep cluster remove":          {"n2"},
	"symkeep cluster maintenance on":  {"n2"},
	"symkeep cluster maintenance off": {"n2"},
	"symkeep cluster layout plan":     {"--replicas", "2"},
	"symkeep cluster layout apply":    {"--replicas", "2"},
	"symkeep cluster repl set-rate":   {"--repair", "1MiB"},
	"symkeep cluster wait":            {"--timeout", "30s"},
	"symkeep cluster transfer-leader": {},
	"symkeep cluster alarms clear":    {},
	"symkeep cluster feature raise":   {},
	"symkeep cluster repl scrub":      {"--wait"},
	"symkeep cluster repl pause":      {},
	"symkeep cluster repl resume":     {},
	"symkeep cluster repl status":     {},
	"symkeep cluster layout show":     {},
	"symkeep cluster leave":           {},
	"symkeep cluster members":         {},
	"symkeep cluster status":          {},
	"symkeep cluster check":           {},
	"symkeep cluster feature":         {},
	"symkeep cluster alarms":          {},
	"symkeep package list":            {},
}

// Every command that asks a server ends with 5 when it is refused, at once and
// without a word on standard output.
func TestRefused(t *testing.T) {
	c := agenttest.New(t, 1)
	c.Intercept = func(n *agenttest.Node, w http.ResponseWriter, _ *http.Request) bool {
		n.Fail(w, api.ErrRefused)
		return true
	}
	var visit func(c *cobra.Command, f func(path string))
	visit = func(c *cobra.Command, f func(path string)) {
		if c.Flags().Lookup("server") != nil {
			f(c.CommandPath())
		}
		for _, s := range c.Commands() {
			visit(s, f)
		}
	}
	seen := 0
	visit(newRoot(ops.Env{}), func(path string) {
		args, known := needed[path]
		if !known {
			return // not one of the cluster's
		}
		seen++
		var stdout, stderr bytes.Buffer
		root := newRoot(ops.Env{Stdout: &stdout, Stderr: &stderr, Now: time.Now})
		root.SetArgs(append(append(strings.Fields(path)[1:], args...), "--server", c.Nodes[0].URL, "--json"))
		err := root.ExecuteContext(t.Context())
		if code := ops.ExitCode(err); code != ops.ExitRefused || stdout.Len() > 0 {
			t.Errorf("%s: exit status %d (%v), standard output %q, want %d and nothing", path, code, err, stdout.String(), ops.ExitRefused)
		}
	})
	if seen != len(needed) {
		t.Errorf("%d commands were tried, want %d: which one is gone?", seen, len(needed))
	}
}

// A watcher cancels when it has seen what it was to see.
type watcher struct {
	mu   sync.Mutex
	text strings.Builder
	seen func(text string)
}

func (w *watcher) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(b)
	w.seen(w.text.String())
	return len(b), nil
}

// watch goes on while the servers are away, and ends well when it is interrupted.
func TestWatch(t *testing.T) {
	c := agenttest.New(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout := &watcher{seen: func(text string) {
		switch strings.Count(text, "\nhealthy: ") {
		case 2:
			c.Kill("n1")
		case 4:
			cancel()
		}
	}}
	stderr := &watcher{seen: func(string) { c.Revive("n1") }}
	root := newRoot(ops.Env{Stdout: stdout, Stderr: stderr, Now: func() time.Time { return time.Unix(1e9, 0) }})
	root.SetArgs([]string{"cluster", "status", "--watch", "--every", "100ms", "--server", c.Nodes[0].URL})
	if err := root.ExecuteContext(ctx); err != nil {
		t.Errorf("watch ends with %v, want nil", err)
	}
	if text := stderr.text.String(); !strings.HasPrefix(text, "2001-09-09 01:46:40Z http://") {
		t.Errorf("watch said %q while the server was away, want when and which", text)
	}
	if n := strings.Count(stdout.text.String(), "2001-09-09 01:46:40Z\nNAME"); n != 4 {
		t.Errorf("watch printed %d tables with their time, want 4:\n%s", n, stdout.text.String())
	}
}

// Of several servers, one that is cut off is not believed while another one knows a
// leader.
func TestCutOff(t *testing.T) {
	c, cut := agenttest.New(t, 3), agenttest.New(t, 3)
	cut.Kill("n2")
	cut.Kill("n3")
	var stdout, stderr bytes.Buffer
	root := newRoot(ops.Env{Stdout: &stdout, Stderr: &stderr, Now: time.Now})
	root.SetArgs([]string{"cluster", "status", "--server", cut.Nodes[0].URL + "," + c.Nodes[0].URL})
	if err := root.ExecuteContext(t.Context()); err != nil || !strings.Contains(stdout.String(), "seen from "+c.Nodes[0].URL) {
		t.Errorf("status of a server that is cut off and one that is not: %v\n%s", err, stdout.String())
	}
}
