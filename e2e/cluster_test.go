package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"symkeep/e2e/rig"
	"symkeep/internal/api"
)

// bin is the program under test.
var bin string

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if code, ok := rig.Child(); ok {
		return code
	}
	if code, ok := identifyChild(); ok {
		return code
	}
	defer removeFaultBin()
	bin = os.Getenv("SYMKEEP_BIN")
	if bin == "" {
		dir, err := os.MkdirTemp("", "symkeep-e2e")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = filepath.Join(dir, "symkeep")
		build := exec.Command("go", "build", "-o", bin, "symkeep/cmd/symkeep")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

// A cluster is some nodes on loopback, each a process.
type cluster struct {
	t     testing.TB
	dir   string
	nodes []*node
}

// A node is one process and its directory. It can be killed and started again.
type node struct {
	t                  testing.TB
	name, dir          string
	http, peer, gossip string
	flags              []string // beyond the addresses
	logPath            string
	bin                string // the program, if it is another one than that under test

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// newCluster starts n nodes and waits until they are a healthy cluster. The flags
// go to every node; those for the founder alone are in founder.
func newCluster(t testing.TB, n int, founder []string, flags ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: diskDir(t)}
	for i := range n {
		nd := c.add(fmt.Sprintf("n%d", i+1), flags...)
		if i == 0 {
			nd.flags = append(nd.flags, founder...)
		} else {
			nd.flags = append(nd.flags, "--join", c.nodes[0].gossip)
		}
		nd.start()
	}
	c.waitHealthy(n, 60*time.Second)
	return c
}

// add prepares a node without starting it.
func (c *cluster) add(name string, flags ...string) *node {
	n := &node{
		t: c.t, name: name, dir: filepath.Join(c.dir, name), flags: append([]string(nil), flags...),
		http: freeAddr(c.t), peer: freeAddr(c.t), gossip: freeAddr(c.t), logPath: filepath.Join(c.dir, name+".log"),
	}
	c.nodes = append(c.nodes, n)
	c.t.Cleanup(func() {
		n.kill()
		if c.t.Failed() {
			b, _ := os.ReadFile(n.logPath)
			c.t.Logf("log of %s:\n%s", n.name, tail(b, 6000))
		}
	})
	return n
}

// diskDir returns a directory on a real file system that is removed with the test.
func diskDir(t testing.TB) string {
	t.Helper()
	base := os.Getenv("SYMKEEP_E2E_DIR")
	if base == "" {
		base = "../tmp"
	}
	base, err := filepath.Abs(base)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(base, "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// freeAddr returns a loopback address whose port is free for TCP and UDP. The port
// lies below those that the system gives to outgoing connections, so that nobody
// takes it while its node is down; it is returned once only.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 200 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(22_000))
		if _, taken := takenAddrs.LoadOrStore(addr, true); taken {
			continue
		}
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		pc, err := net.ListenPacket("udp", addr)
		ln.Close()
		if err == nil {
			pc.Close()
			return addr
		}
	}
	t.Fatal("no port is free for TCP and UDP")
	return ""
}

var takenAddrs sync.Map

// launch runs the node's process.
func (n *node) launch() {
	n.t.Helper()
	args := append([]string{"node", "--name", n.name, "--data-dir", n.dir,
		"--http-addr", n.http, "--peer-addr", n.peer, "--gossip-addr", n.gossip}, n.flags...)
	log, err := os.OpenFile(n.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	n.cmd = exec.Command(cmp.Or(n.bin, bin), args...)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatalf("start %s: %v", n.name, err)
	}
	n.done = make(chan struct{})
	go func() {
		n.cmd.Wait()
		close(n.done)
	}()
}

// start runs the node's process and returns once it listens.
func (n *node) start() {
	n.t.Helper()
	n.launch()
	eventually(n.t, 15*time.Second, n.name+" listens", func() error {
		select {
		case <-n.done:
			b, _ := os.ReadFile(n.logPath)
			return fatalError{fmt.Errorf("%s ended: %v\n%s", n.name, n.cmd.ProcessState, tail(b, 3000))}
		default:
		}
		conn, err := net.Dial("tcp", n.http)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// kill is kill -9; it returns once the process is gone.
func (n *node) kill() {
	if n.cmd == nil {
		return
	}
	n.cmd.Process.Kill()
	<-n.done
	n.cmd = nil
}

// stop is a requested stop; it returns once the process is gone.
func (n *node) stop() {
	n.t.Helper()
	n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.done:
	case <-time.After(40 * time.Second):
		n.t.Fatalf("%s does not stop", n.name)
	}
	if !n.cmd.ProcessState.Success() {
		n.t.Errorf("%s stopped with %v, want success", n.name, n.cmd.ProcessState)
	}
	n.cmd = nil
}

func (n *node) url() string { return "http://" + n.http }

// running returns the nodes whose process lives.
func (c *cluster) running() (out []*node) {
	for _, n := range c.nodes {
		if n.cmd != nil {
			out = append(out, n)
		}
	}
	return out
}

// urls returns the URLs of nodes, as --server takes them.
func urls(nodes ...*node) string {
	var us []string
	for _, n := range nodes {
		us = append(us, n.url())
	}
	return strings.Join(us, ",")
}

// status asks one node about the cluster.
func (n *node) status() (api.ClusterStatus, error) {
	client, err := api.NewClient(n.url())
	if err != nil {
		return api.ClusterStatus{}, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return client.Cluster(ctx)
}

// waitHealthy waits until every running node sees want healthy members.
func (c *cluster) waitHealthy(want int, limit time.Duration) {
	c.t.Helper()
	eventually(c.t, limit, fmt.Sprintf("%d nodes healthy", want), func() error {
		for _, n := range c.running() {
			st, err := n.status()
			if err != nil {
				return err
			}
			if !st.Healthy || len(st.Nodes) != want {
				return fmt.Errorf("%s sees %d nodes, not healthy: %v", n.name, len(st.Nodes), st.Reasons)
			}
		}
		return nil
	})
}

// leader returns the node that the running ones agree leads.
func (c *cluster) leader() *node {
	c.t.Helper()
	var found *node
	eventually(c.t, 30*time.Second, "a leader", func() error {
		st, err := c.running()[0].status()
		if err != nil {
			return err
		}
		for _, s := range st.Nodes {
			if s.ID == st.Leader {
				for _, n := range c.running() {
					if n.name == s.Name {
						found = n
						return nil
					}
				}
			}
		}
		return fmt.Errorf("leader %q is not running", st.Leader)
	})
	return found
}

// others returns the running nodes but one.
func (c *cluster) others(but *node) (out []*node) {
	for _, n := range c.running() {
		if n != but {
			out = append(out, n)
		}
	}
	return out
}

// A run is one finished command.
type run struct {
	code           int
	stdout, stderr string
}

// symkeep runs the program under test to its end.
func symkeep(t testing.TB, args ...string) run {
	t.Helper()
	return command(t, 3*time.Minute, bin, args...)
}

func command(t testing.TB, limit time.Duration, name string, args ...string) run {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s %v: not done after %v\n%s\n%s", name, args, limit, stdout.String(), stderr.String())
	}
	return run{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// push pushes paths and returns the exit code and the result object.
func push(t testing.TB, server, product string, paths ...string) (int, api.Result) {
	t.Helper()
	args := append([]string{"push", "--json", "--server", server, "--product", product, "--version", "1.0"}, paths...)
	r := symkeep(t, args...)
	return r.code, lastResult(t, r)
}

// lastResult decodes the result object, the last line of --json output.
func lastResult(t testing.TB, r run) api.Result {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	var res api.Result
	last := lines[len(lines)-1]
	if last == "" {
		return res
	}
	if err := json.Unmarshal([]byte(last), &res); err != nil {
		t.Fatalf("result line %q: %v\n%s", last, err, r.stderr)
	}
	return res
}

// get fetches a path from a node and returns status and body.
func get(t testing.TB, n *node, path string) (int, []byte) {
	t.Helper()
	resp, err := http.Get(n.url() + path)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatalf("GET %s%s: %v", n.url(), path, err)
	}
	return resp.StatusCode, b.Bytes()
}

// fatalError ends eventually at once.
type fatalError struct{ error }

// eventually polls f until it returns nil; it fails the test after limit.
func eventually(t testing.TB, limit time.Duration, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		var fatal fatalError
		if time.Now().After(deadline) || errors.As(err, &fatal) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(50 * time.Millisecond) // polling a process; nothing to wait on
	}
}

// need returns the path of a program. A test is skipped without it, but not in CI.
func need(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		for _, dir := range []string{"", "/usr/sbin/", "/sbin/"} {
			if p, err := exec.LookPath(dir + name); err == nil {
				return p
			}
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%v: not installed, and CI must not skip; scripts/need.sh installs it", names)
	}
	t.Skipf("%v: not installed; scripts/need.sh installs it", names)
	return ""
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		b = b[len(b)-n:]
	}
	return b
}
