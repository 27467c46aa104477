package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"symkeep/e2e/rig"
)

func TestMain(m *testing.M) {
	if code, ok := rig.Child(); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// A loner is one real node on loopback.
type loner struct {
	place
	dir string
}

func newLoner(t *testing.T) loner {
	t.Helper()
	bin := os.Getenv("SYMKEEP_BIN")
	if bin == "" {
		var err error
		if bin, err = rig.Build(t.Context(), t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	addrs := freeAddrs(t)
	l := loner{place{"n1", "http://" + addrs[0], addrs[1]}, t.TempDir()}
	l.start(t, bin, addrs)
	return l
}

// freeAddrs returns loopback addresses that were free a moment ago.
func freeAddrs(t *testing.T) (addrs [3]string) {
	t.Helper()
	for i := range addrs {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		addrs[i] = ln.Addr().String()
	}
	return addrs
}

func (l loner) start(t *testing.T, bin string, addrs [3]string) {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(bin, "node", "--name", l.name, "--data-dir", l.dir, "--http-addr", addrs[0],
		"--peer-addr", addrs[1], "--gossip-addr", addrs[2], "--replicas", "1")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("log of the node: %s", tail(log.String(), 3000))
		}
	})
}

func (l loner) urls() []string { return []string{l.url} }

// one is a site of one URL.
type one string

func (o one) urls() []string { return []string{string(o)} }

// worked returns a workload at a site that has pushed some packages to it.
func worked(t *testing.T, s site, packages int, seed uint64) (*workload, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	w := &workload{site: s, dir: t.TempDir(), product: t.Name(), ledger: newLedger(), history: newHistory(), tally: newTally(&out), pool: newPool()}
	c := w.client(1, seed)
	err := rig.Eventually(t.Context(), 20*time.Second, func() error {
		resp, err := http.Get(s.urls()[0] + "/readyz?for=ingest")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for good := 0; good < packages; {
		c.pushDirect(t.Context())
		ps := w.ledger.snapshot()
		if _, v, _, _ := w.ledger.view(ps[len(ps)-1]); v != "" {
			good++
		}
	}
	return w, &out
}

// A liar passes requests on to a node and answers, and spoils some of either.
type liar struct {
	*httputil.ReverseProxy
	lies func(*http.Request) (status int, body string) // 0: none
	bend func(*http.Response)
}

func newLiar(t *testing.T, target string) (*liar, one) {
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{ReverseProxy: httputil.NewSingleHostReverseProxy(u)}
	l.ModifyResponse = func(r *http.Response) error {
		if l.bend != nil {
			l.bend(r)
		}
		return nil
	}
	s := httptest.NewServer(l)
	t.Cleanup(s.Close)
	return l, one(s.URL)
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if l.lies != nil {
		if status, body := l.lies(r); status != 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			io.WriteString(w, body)
			return
		}
	}
	l.ReverseProxy.ServeHTTP(w, r)
}

// TestMutations: a cluster that breaks a promise is found out. The node is real,
// what stands before it lies.
func TestMutations(t *testing.T) {
	node := newLoner(t)
	for i, tt := range []struct {
		name string
		says string
		lie  func(l *liar)
	}{
		{"truth", "", func(*liar) {}},
		{"false 404", "false 404", func(l *liar) {
			var n atomic.Int64
			l.lies = func(r *http.Request) (int, string) {
				if strings.HasPrefix(r.URL.Path, "/lib") && n.Add(1)%2 == 0 {
					return http.StatusNotFound, ""
				}
				return 0, ""
			}
		}},
		{"wrong bytes", "wrong bytes", func(l *liar) {
			l.bend = func(r *http.Response) {
				if strings.HasPrefix(r.Request.URL.Path, "/lib") && r.StatusCode == 200 {
					b, _ := io.ReadAll(r.Body)
					if len(b) > 0 {
						b[len(b)-1] ^= 1
					}
					r.Body = io.NopCloser(bytes.NewReader(b))
				}
			}
		}},
		{"error for a debugger", "status 503", func(l *liar) {
			l.lies = func(r *http.Request) (int, string) {
				if strings.HasPrefix(r.URL.Path, "/lib") {
					return http.StatusServiceUnavailable, ""
				}
				return 0, ""
			}
		}},
		{"delete that is not done", "no order of its", func(l *liar) {
			l.lies = func(r *http.Request) (int, string) {
				if strings.HasSuffix(r.URL.Path, "/delete") {
					return http.StatusOK, "{}"
				}
				return 0, ""
			}
		}},
		{"package forgotten", "no order of its", func(l *liar) {
			l.lies = func(r *http.Request) (int, string) {
				if r.Method == "GET" && strings.HasPrefix(r.URL.Path, "/api/v1/packages/") {
					return http.StatusNotFound, `{"error":{"code":"not_found","message":"no such package"}}`
				}
				return 0, ""
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, site := newLiar(t, node.url)
			w, out := worked(t, site, 3, uint64(i))
			tt.lie(l)
			c := w.client(2, uint64(i))
			work(t, c)
			a, err := newAudit(t.Context(), w, []place{{node.name, site.urls()[0], node.peer}}, 6, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			report(config{dir: t.TempDir()}, w.tally, w.history)
			found := w.tally.violations()
			if tt.says == "" && len(found) > 0 || tt.says != "" && !strings.Contains(strings.Join(found, "\n"), tt.says) {
				t.Errorf("violations %q, want %q\n%s", found, tt.says, tail(out.String(), 3000))
			}
		})
	}
}

// work does a little of everything.
func work(t *testing.T, c *client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	for range 4 { // some give up on purpose
		c.pushDirect(ctx)
	}
	for range 40 {
		c.readSomething(ctx)
	}
	for _, p := range c.ledger.snapshot() {
		if c.ledger.borrow(p) {
			c.remove(ctx, p)
			c.consult(ctx, p)
			c.restore(ctx, p)
			c.readEverywhere(ctx, p, "after the undelete")
		}
	}
}

// TestAuditMissesBlob removes a blob behind the node's back.
func TestAuditMissesBlob(t *testing.T) {
	t.Parallel()
	node := newLoner(t)
	w, out := worked(t, node, 2, 99)
	a, err := newAudit(t.Context(), w, []place{node.place}, 6, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.settle(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := a.countCopies(t.Context()); err != nil || len(w.tally.violations()) > 0 {
		t.Fatalf("countCopies = %v, %q, want nothing wrong\n%s", err, w.tally.violations(), out)
	}
	removed := 0
	err = filepath.WalkDir(filepath.Join(node.dir, "blobs"), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || len(e.Name()) < 64 || removed > 0 {
			return err
		}
		removed++
		return os.Remove(path)
	})
	if err != nil || removed != 1 {
		t.Fatalf("removed %d blobs: %v", removed, err)
	}
	if err := a.countCopies(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found := strings.Join(w.tally.violations(), "\n"); !strings.Contains(found, "has 0 copies, wanted 1") {
		t.Errorf("violations %q, want a blob without copies", found)
	}
}
