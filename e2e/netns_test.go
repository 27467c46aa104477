package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"symkeep/internal/api"
)

// A network is a bridge in a namespace of its own with hosts on it, each a
// namespace with one address. Nothing of it touches the machine's own network.
type network struct {
	t      testing.TB
	ip     string // the program
	prefix string
}

func newNetwork(t testing.TB, hosts int) *network {
	t.Helper()
	w := &network{t: t, ip: need(t, "ip"), prefix: fmt.Sprintf("sk%d", os.Getpid())}
	t.Cleanup(func() {
		for i := range hosts + 1 {
			exec.Command(w.ip, "netns", "del", w.ns(i)).Run()
		}
	})
	if out, err := exec.Command(w.ip, "netns", "add", w.ns(0)).CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no network namespaces here: %v: %s", err, out)
		}
		t.Skipf("no network namespaces here: %v: %s", err, out)
	}
	w.in(0, "link", "add", "bridge0", "type", "bridge")
	w.in(0, "link", "set", "bridge0", "up")
	for i := 1; i <= hosts; i++ {
		w.run("netns", "add", w.ns(i))
		port := fmt.Sprintf("port%d", i)
		w.in(0, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", w.ns(i))
		w.in(0, "link", "set", port, "master", "bridge0")
		w.in(0, "link", "set", port, "up")
		w.in(i, "addr", "add", w.addr(i)+"/24", "dev", "eth0")
		w.in(i, "link", "set", "lo", "up")
		w.in(i, "link", "set", "eth0", "up")
	}
	return w
}

func (w *network) ns(host int) string   { return fmt.Sprintf("%s-%d", w.prefix, host) }
func (w *network) addr(host int) string { return fmt.Sprintf("10.77.0.%d", host) }

func (w *network) run(args ...string) {
	w.t.Helper()
	if out, err := exec.Command(w.ip, args...).CombinedOutput(); err != nil {
		w.t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

func (w *network) in(host int, args ...string) {
	w.t.Helper()
	w.run(append([]string{"-n", w.ns(host)}, args...)...)
}

// cut pulls a host's cable, plug puts it back.
func (w *network) cut(host int)  { w.in(0, "link", "set", fmt.Sprintf("port%d", host), "down") }
func (w *network) plug(host int) { w.in(0, "link", "set", fmt.Sprintf("port%d", host), "up") }

// from runs a command on a host.
func (w *network) from(host int, name string, args ...string) run {
	w.t.Helper()
	return command(w.t, 2*time.Minute, w.ip, append([]string{"netns", "exec", w.ns(host), name}, args...)...)
}

// status asks a host's own node about the cluster.
func (w *network) status(host int) (api.ClusterStatus, error) {
	w.t.Helper()
	r := w.from(host, bin, "cluster", "status", "--json", "--server", w.url(host))
	var st api.ClusterStatus
	if r.stdout == "" {
		return st, fmt.Errorf("cluster status: exit status %d: %s", r.code, r.stderr)
	}
	return st, json.Unmarshal([]byte(r.stdout), &st)
}

func (w *network) waitHealthy(want int, limit time.Duration) {
	w.t.Helper()
	eventually(w.t, limit, "the hosts' cluster is healthy", func() error {
		for host := 1; host <= want; host++ {
			st, err := w.status(host)
			if err != nil {
				return err
			}
			if !st.Healthy || len(st.Nodes) != want {
				return fmt.Errorf("host %d sees %d nodes: %v", host, len(st.Nodes), st.Reasons)
			}
		}
		return nil
	})
}

func (w *network) url(host int) string { return "http://" + w.addr(host) + ":8480" }

// fetch returns status and contents of a path, asked for on a host. The status is
// 0 when the connection is reset.
func (w *network) fetch(curl string, host, node int, path string) (status int, sha256 string) {
	w.t.Helper()
	out := filepath.Join(w.t.TempDir(), "out")
	r := w.from(host, curl, "-sS", "--path-as-is", "--max-time", "60", "-o", out, "-w", "%{http_code}", w.url(node)+path)
	if r.code == 56 { // failure in receiving network data
		return 0, ""
	}
	if r.code != 0 {
		w.t.Fatalf("curl on host %d: %s%s: exit status %d: %s", host, w.url(node), path, r.code, r.stderr)
	}
	fmt.Sscan(r.stdout, &status)
	if _, err := os.Stat(out); errors.Is(err, os.ErrNotExist) {
		return status, ""
	}
	return status, hashFile(w.t, out)
}

// TestNamespaces runs each node on a host of its own and cuts the leader off.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	const hosts = 3
	curl := need(t, "curl")
	w := newNetwork(t, hosts)
	dir := diskDir(t)
	logs := map[int]string{}
	for host := 1; host <= hosts; host++ {
		logs[host] = filepath.Join(dir, fmt.Sprintf("n%d.log", host))
		log, err := os.Create(logs[host])
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"netns", "exec", w.ns(host), bin, "node", "--name", fmt.Sprintf("n%d", host),
			"--data-dir", filepath.Join(dir, fmt.Sprintf("n%d", host)), "--insecure-cluster", "--advertise", w.addr(host),
			"--http-addr", ":8480", "--peer-addr", ":8481", "--gossip-addr", "0.0.0.0:8482"}
		if host == 1 {
			args = append(args, "--new-cluster")
		} else {
			args = append(args, "--join", w.addr(1)+":8482")
		}
		cmd := exec.Command(w.ip, args...) // ip replaces itself by the node
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		log.Close()
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
			if b, err := os.ReadFile(logs[host]); err == nil && t.Failed() {
				t.Logf("log of n%d:\n%s", host, tail(b, 4000))
			}
		})
	}
	w.waitHealthy(hosts, 60*time.Second)

	push := func(from, node int, seed string) api.Result {
		t.Helper()
		r := w.from(from, bin, "push", "--json", "--server", w.url(node), "--product", seed, "--version", "1", makePackage(t, dir, seed))
		if r.code != 0 {
			t.Fatalf("push from host %d to node %d: exit status %d, want 0: %s", from, node, r.code, r.stderr)
		}
		return good(t, r)
	}
	check := func(res api.Result, from int, nodes ...int) {
		t.Helper()
		for path, want := range keysOf(t, res) {
			for _, node := range nodes {
				if status, got := w.fetch(curl, from, node, path); status != 200 || got != want {
					t.Errorf("host %d: GET %s of node %d: status %d, bytes hash to %q, want 200 and %s", from, path, node, status, got, want)
				}
			}
		}
	}
	before := push(1, 2, "before")
	check(before, 1, 3)
	eventually(t, 30*time.Second, "every node holds what was pushed", func() error {
		for _, digest := range keysOf(t, before) {
			for host := 1; host <= hosts; host++ {
				if _, err := os.Stat(filepath.Join(dir, fmt.Sprintf("n%d", host), "blobs", digest[:2], digest[2:4], digest)); err != nil {
					return err
				}
			}
		}
		return nil
	})

	st, err := w.status(1)
	if err != nil {
		t.Fatal(err)
	}
	leader := 0
	for _, s := range st.Nodes {
		if s.ID == st.Leader {
			fmt.Sscanf(s.Name, "n%d", &leader)
		}
	}
	if leader == 0 {
		t.Fatalf("leader %q is not among the nodes", st.Leader)
	}
	a, b := leader%hosts+1, (leader+1)%hosts+1
	w.cut(leader)
	begun := time.Now()
	during := push(a, b, "during")
	took := time.Since(begun)
	if took > 30*time.Second {
		t.Errorf("push after the leader was cut off took %v", took)
	}
	check(during, a, a, b)
	if status, _ := w.fetch(curl, a, b, unknownKey); status != 404 {
		t.Errorf("node %d with a quorum: GET of an unknown key: status %d, want 404", b, status)
	}
	for path := range keysOf(t, during) { // good elsewhere: a 404 here would be false
		if status, _ := w.fetch(curl, leader, leader, path); status != 0 {
			t.Errorf("node %d, cut off: GET %s: status %d, want a reset", leader, path, status)
		}
	}
	check(before, leader, leader)

	w.plug(leader)
	healed := time.Now()
	w.waitHealthy(hosts, 90*time.Second)
	t.Logf("leader n%d cut off: a push was good %v later; healthy %v after it was back", leader,
		took.Round(10*time.Millisecond), time.Since(healed).Round(10*time.Millisecond))
	check(during, a, leader)
	for host, log := range logs {
		out, err := os.ReadFile(log)
		if err != nil || strings.Contains(string(out), "panic") {
			t.Errorf("log of n%d tells of a panic, or cannot be read: %v", host, err)
		}
	}
}
