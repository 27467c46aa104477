package e2e

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// A balancer is haproxy with the configuration that deploy ships, in front of the
// nodes of a test.
type balancer struct {
	t       testing.TB
	addr    string
	socket  string
	logPath string
}

// startBalancer puts the nodes' addresses into deploy/haproxy/haproxy.cfg, starts
// haproxy and waits until it finds every node well.
func startBalancer(t testing.TB, nodes []*node) *balancer {
	t.Helper()
	program := need(t, "haproxy")
	cfg, err := os.ReadFile("../deploy/haproxy/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	dir := diskDir(t)
	b := &balancer{t: t, addr: freeAddr(t), socket: filepath.Join(dir, "haproxy.sock"), logPath: filepath.Join(dir, "haproxy.log")}
	text := string(cfg)
	change := func(count int, old, new string) {
		if n := strings.Count(text, old); n != count {
			t.Fatalf("haproxy.cfg: %d times %q, want %d", n, old, count)
		}
		text = strings.ReplaceAll(text, old, new)
	}
	change(1, "bind :80\n", "bind "+b.addr+"\n")
	change(1, "/run/haproxy/admin.sock", b.socket)
	for i, name := range []string{"sym-a 10.1.2.3:8480", "sym-b 10.1.2.4:8480", "sym-c 10.1.2.5:8480"} {
		change(2, "server "+name, fmt.Sprintf("server %s %s", nodes[i].name, nodes[i].http))
	}
	path := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(b.logPath)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "-db", "-f", path)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			out, _ := os.ReadFile(b.logPath)
			t.Logf("haproxy:\n%s", tail(notable(out), 6000))
		}
	})
	b.waitUp(len(nodes))
	return b
}

// notable keeps the lines of a log that tell of more than an ordinary answer.
func notable(log []byte) []byte {
	var out []byte
	for line := range strings.Lines(string(log)) {
		if !strings.Contains(line, " 200 ") && !strings.Contains(line, " 404 ") {
			out = append(out, line...)
		}
	}
	return out
}

func (b *balancer) url() string { return "http://" + b.addr }

// A balancerRow is what haproxy counts of a frontend, a backend or one server.
type balancerRow map[string]string

func (r balancerRow) number(name string) int {
	n, _ := strconv.Atoi(r[name])
	return n
}

// stats asks haproxy for its counters, by "proxy/server".
func (b *balancer) stats() (map[string]balancerRow, error) {
	conn, err := net.Dial("unix", b.socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "show stat\n"); err != nil {
		return nil, err
	}
	lines, err := csv.NewReader(conn).ReadAll()
	if err != nil || len(lines) == 0 {
		return nil, fmt.Errorf("haproxy statistics: %d lines: %v", len(lines), err)
	}
	rows := map[string]balancerRow{}
	for _, line := range lines[1:] {
		row := balancerRow{}
		for i, name := range lines[0] {
			row[name] = line[i]
		}
		rows[row["# pxname"]+"/"+row["svname"]] = row
	}
	return rows, nil
}

// waitUp waits until both backends send requests to so many nodes.
func (b *balancer) waitUp(nodes int) {
	b.t.Helper()
	eventually(b.t, 20*time.Second, fmt.Sprintf("haproxy finds %d nodes well", nodes), func() error {
		rows, err := b.stats()
		if err != nil {
			return err
		}
		for _, backend := range []string{"debuggers", "builds"} {
			if got := rows[backend+"/BACKEND"].number("act"); got != nodes {
				return fmt.Errorf("backend %s has %d", backend, got)
			}
		}
		return nil
	})
}

// TestRollingRestart restarts every node after the other, as an upgrade does, while
// debuggers read and builds push through haproxy. Nobody notices: no answer is a
// 5xx or a false 404, no connection breaks, every push is good at once.
func TestRollingRestart(t *testing.T) {
	const readsPerSecond, pushers, perPusher = 100, 2, 100
	c := newCluster(t, 3, nil)
	lb := startBalancer(t, c.nodes)
	keys := keysOf(t, mustPush(t, lb.url(), "before", makePackage(t, c.dir, "before")))
	var dirs [pushers][perPusher]string
	for p := range dirs {
		for i := range dirs[p] {
			dirs[p][i] = makePackage(t, c.dir, fmt.Sprintf("roll%d-%d", p, i))
		}
	}
	begun := time.Now()
	readers := startLoad(t, lb.url(), readsPerSecond, 4, keys)

	stop := make(chan struct{})
	var pushing sync.WaitGroup
	endPushes := sync.OnceFunc(func() { close(stop); pushing.Wait() })
	t.Cleanup(endPushes)
	var mu sync.Mutex
	var pushed []api.Result
	for p := range pushers {
		pushing.Go(func() {
			for i, dir := range dirs[p] {
				select {
				case <-stop:
					return
				default:
				}
				r, err := tryPush(lb.url(), "roll", dir)
				if err != nil {
					t.Errorf("push %d of pusher %d: %v", i, p, err)
					return
				}
				readers.add(keysOf(t, r)) // whoever is asked knows them now
				mu.Lock()
				pushed = append(pushed, r)
				mu.Unlock()
			}
		})
	}
	for _, n := range c.nodes {
		leads := c.leader() == n
		down := time.Now()
		n.stop()
		stopped := time.Since(down)
		n.start()
		eventually(t, 20*time.Second, n.name+" is ready", n.ready)
		lb.waitUp(3)
		c.waitHealthy(3, 30*time.Second)
		t.Logf("%s (leader: %t) stopped within %v, was whole again %v later", n.name, leads,
			stopped.Round(10*time.Millisecond), (time.Since(down) - stopped).Round(10*time.Millisecond))
	}
	endPushes()
	read := readers.stop()
	took := time.Since(begun)

	read.mustBeRight(t, "debuggers")
	if read.misses == 0 {
		t.Error("nobody asked for an unknown key")
	}
	rows, err := lb.stats()
	if err != nil {
		t.Fatal(err)
	}
	front := rows["symbols/FRONTEND"]
	if front.number("hrsp_5xx") > 0 || front.number("hrsp_2xx") == 0 {
		t.Errorf("haproxy gave %d answers of 5xx and %d of 2xx, want none of the former", front.number("hrsp_5xx"), front.number("hrsp_2xx"))
	}
	if want := 3 * pushers; len(pushed) < want {
		t.Errorf("%d pushes during the restarts, want %d or more", len(pushed), want)
	}
	t.Logf("restarted 3 nodes in %v; %d pushes good; debuggers: %v", took.Round(10*time.Millisecond), len(pushed), read)
	for _, backend := range []string{"debuggers", "builds"} {
		row := rows[backend+"/BACKEND"]
		t.Logf("haproxy, %s: %d connections tried again, %d requests moved to another node, %d broken by a node",
			backend, row.number("wretr"), row.number("wredis"), row.number("eresp"))
	}
	checkServed(t, keysOf(t, pushed...), c.nodes...)
	noPanics(t, c)
}

// tryPush is mustPush for goroutines other than the test's own.
func tryPush(server, product string, paths ...string) (r api.Result, err error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(bin, append([]string{"push", "--json", "--server", server, "--product", product, "--version", "1.0"}, paths...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("%w: %s", err, tail(stderr.Bytes(), 2000))
	}
	lines := bytes.Split(bytes.TrimSpace(stdout.Bytes()), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &r); err != nil {
		return r, err
	}
	if r.Verdict != catalog.Good || len(r.Files) == 0 {
		return r, fmt.Errorf("verdict %q with %d files, want good", r.Verdict, len(r.Files))
	}
	return r, nil
}

// ready returns nil if the node says that it can serve.
func (n *node) ready() error {
	resp, err := http.Get(n.url() + "/readyz")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %s", resp.StatusCode, b)
	}
	return nil
}
