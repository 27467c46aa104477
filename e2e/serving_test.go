package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// A pushing is a push under way.
type pushing struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	ended          chan struct{}
}

// startPush starts a push without waiting for it. It is killed with the test.
func startPush(t testing.TB, server, product string, args ...string) *pushing {
	t.Helper()
	p := &pushing{ended: make(chan struct{})}
	args = append([]string{"push", "--json", "--server", server, "--product", product, "--version", "1.0"}, args...)
	p.cmd = exec.Command(bin, args...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

// wait returns how the push ended.
func (p *pushing) wait(t testing.TB, limit time.Duration) run {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		p.cmd.Process.Kill()
		<-p.ended
		t.Fatalf("push: not done after %v\n%s\n%s", limit, tail(p.stdout.Bytes(), 3000), tail(p.stderr.Bytes(), 3000))
	}
	return run{p.cmd.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()}
}

// mustPush pushes and fails the test unless the verdict is good.
func mustPush(t testing.TB, server, product string, paths ...string) api.Result {
	t.Helper()
	r := symkeep(t, append([]string{"push", "--json", "--server", server, "--product", product, "--version", "1.0"}, paths...)...)
	if r.code != 0 {
		t.Fatalf("push %s: exit status %d, want 0\n%s\n%s", product, r.code, tail([]byte(r.stdout), 3000), tail([]byte(r.stderr), 3000))
	}
	return good(t, r)
}

// good returns the result of a push that exited with 0.
func good(t testing.TB, r run) api.Result {
	t.Helper()
	res := lastResult(t, r)
	if res.Verdict != catalog.Good || len(res.Files) == 0 {
		t.Fatalf("push: exit status 0 with verdict %q and %d files", res.Verdict, len(res.Files))
	}
	return res
}

// keysOf returns the SHA-256 that each lookup path of good packages must have.
func keysOf(t testing.TB, results ...api.Result) map[string]string {
	t.Helper()
	keys := map[string]string{}
	for _, r := range results {
		for _, f := range r.Files {
			if len(f.Keys) == 0 {
				t.Errorf("file %s of package %s has no key", f.Path, r.Package)
			}
			for _, k := range f.Keys {
				keys["/"+k] = f.SHA256.String()
			}
		}
	}
	return keys
}

// once asks for one path over a connection of its own.
func once(n *node, path string) (*http.Response, error) {
	client := &http.Client{Timeout: 3 * time.Minute, Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	return client.Get(n.url() + path)
}

// checkServed fails the test unless every node answers every key, at the first
// try, with the bytes of that SHA-256.
func checkServed(t testing.TB, keys map[string]string, nodes ...*node) {
	t.Helper()
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() {
			for path, want := range keys {
				resp, err := once(n, path)
				if err != nil {
					t.Errorf("%s: GET %s: %v", n.name, path, err)
					continue
				}
				if resp.StatusCode != http.StatusOK {
					t.Errorf("%s: GET %s: status %d, want 200", n.name, path, resp.StatusCode)
				} else if got := hashOf(t, resp.Body); got != want {
					t.Errorf("%s: GET %s: bytes hash to %s, want %s", n.name, path, got, want)
				}
				resp.Body.Close()
			}
		})
	}
	wg.Wait()
}

// unknownKey is a well-formed key that nobody pushes.
const unknownKey = "/nobody.pdb/00112233445566778899AABBCCDDEEFF1/nobody.pdb"

// checkMiss fails the test unless the node answers an unknown key with 404.
func checkMiss(t testing.TB, n *node) {
	t.Helper()
	resp, err := once(n, unknownKey)
	if err != nil {
		t.Errorf("%s: GET of an unknown key: %v, want 404", n.name, err)
		return
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("%s: GET of an unknown key: status %d, want 404", n.name, resp.StatusCode)
	}
}

// missAgain waits until a node answers unknown keys that could not do so a moment
// ago: its breaker holds for 5 s.
func missAgain(t testing.TB, n *node) {
	t.Helper()
	eventually(t, 10*time.Second, n.name+" answers unknown keys", func() error {
		resp, err := once(n, unknownKey)
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	checkMiss(t, n)
}

// wantReset returns nil if the node answers an unknown key by a reset of the
// connection, soon.
func wantReset(n *node) error {
	begun := time.Now()
	resp, err := once(n, unknownKey)
	took := time.Since(begun)
	switch {
	case err == nil:
		resp.Body.Close()
		return fmt.Errorf("GET of an unknown key: status %d, want a reset", resp.StatusCode)
	case !errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("GET of an unknown key: %v, want a reset", err)
	case took > 6*time.Second:
		return fmt.Errorf("GET of an unknown key: reset after %v, want it sooner", took)
	}
	return nil
}

// packageStatus asks a node about a package.
func (n *node) packageStatus(t testing.TB, id catalog.PackageID) (api.PackageStatus, error) {
	t.Helper()
	client, err := api.NewClient(n.url())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	return client.Package(t.Context(), id, 0)
}

// noPanics fails the test if a node's log tells of a panic.
func noPanics(t testing.TB, c *cluster) {
	t.Helper()
	for _, n := range c.nodes {
		for line := range strings.SplitSeq(n.log(t), "\n") {
			if strings.Contains(line, "panic") || strings.HasPrefix(line, "goroutine ") {
				t.Errorf("log of %s: %s", n.name, line)
				break
			}
		}
	}
}

// byID returns the node that has a member id.
func (c *cluster) byID(t testing.TB, id catalog.NodeID) *node {
	t.Helper()
	for _, n := range c.nodes {
		b, err := os.ReadFile(filepath.Join(n.dir, "node-id"))
		if err == nil && strings.TrimSpace(string(b)) == string(id) {
			return n
		}
	}
	t.Fatalf("no node has id %s", id)
	return nil
}

// log returns all that a node has logged.
func (n *node) log(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(n.logPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
