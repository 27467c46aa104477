package e2e

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// debugging is a machine with stripped programs, and a cluster for the rest of them.
type debugging struct {
	fixture
	*cluster
	programs map[string]stripped
	turn     int // counts sessions
}

// newDebugging has the C program of the fixture.
func newDebugging(f fixture, c *cluster) *debugging {
	return &debugging{fixture: f, cluster: c, programs: map[string]stripped{"app": {f.path("good/linux/app"), f.ids["BUILD_ID"]}}}
}

// A stripped program was compiled by this test; its symbols were pushed.
type stripped struct {
	path string
	id   string // build id
}

// get is the path by which debuginfod clients ask for something of the program.
func (p stripped) get(what string) string { return "/buildid/" + p.id + "/" + what }

// A session is one command of a client that begins with an empty cache.
type session struct {
	name    string
	program string   // stripped, in the working directory; none if empty
	args    []string // the command
	prints  []string // on standard output or standard error
	file    []byte   // the contents of the file whose path the command prints

	// gets are the requests for our programs that succeed, in their order. Such a session
	// asks one node, by a recorder, and a server that is down. One that does not say asks
	// all nodes and the server that is down: whatever one of them answers will do.
	gets []string
}

// play runs sessions beside each other. Each asks another node than the one before.
func (d *debugging) play(t *testing.T, sessions []session) {
	for _, s := range sessions {
		turn := d.turn
		d.turn++
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if s.gets == nil {
				d.check(t, s, d.nodes[0].url(), d.nodes[1].url(), d.nodes[2].url())
				return
			}
			rec := newRecorder(t, d.nodes[turn%len(d.nodes)])
			d.check(t, s, rec.url)
			rec.check(t, d.programs, s.gets)
		})
	}
}

func (d *debugging) check(t *testing.T, s session, servers ...string) {
	t.Helper()
	r := d.run(t, d.desk(t, s.program), servers, s.args)
	out := r.stdout + r.stderr
	for _, want := range s.prints {
		if !strings.Contains(out, want) {
			t.Errorf("%s does not print %q", s.args[0], want)
		}
	}
	if s.file != nil {
		if got, err := os.ReadFile(strings.TrimSpace(r.stdout)); err != nil || !bytes.Equal(got, s.file) {
			t.Errorf("%v = %d bytes, %v, want the %d that were pushed", s.args, len(got), err, len(s.file))
		}
	}
	if t.Failed() {
		t.Logf("%v: exit %d, printed:\n%s", s.args, r.code, tail([]byte(out), 6000))
	}
}

// run starts a client in dir. The servers are its only source of debug information,
// and one more is down. That one comes last, because LLVM does not ask the servers
// behind one that it cannot reach; the others ask all at once.
func (d *debugging) run(t *testing.T, dir string, servers, args []string) run {
	t.Helper()
	return command(t, time.Minute, "env", append([]string{"-C", dir, "HOME=" + dir, "DEBUGINFOD_CACHE_PATH=" + filepath.Join(dir, "cache"),
		"DEBUGINFOD_URLS=" + strings.Join(append(slices.Clone(servers), "http://"+freeAddr(t)), " "), "DEBUGINFOD_TIMEOUT=20", "TERM=dumb"}, args...)...)
}

// desk is a fresh directory with a stripped program and nothing beside it.
func (d *debugging) desk(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	if name == "" {
		return dir
	}
	b, err := os.ReadFile(d.programs[name].path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A recorder is an HTTP proxy in front of a node that keeps what was asked for.
type recorder struct {
	url string

	mu       sync.Mutex
	requests []request
}

type request struct {
	path   string
	status int
}

func newRecorder(t *testing.T, n *node) *recorder {
	t.Helper()
	target, err := url.Parse(n.url())
	if err != nil {
		t.Fatal(err)
	}
	rec := &recorder{}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{DisableCompression: true},
		ModifyResponse: func(resp *http.Response) error {
			rec.mu.Lock()
			defer rec.mu.Unlock()
			rec.requests = append(rec.requests, request{resp.Request.URL.EscapedPath(), resp.StatusCode})
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // a reset stays one
	}
	srv := httptest.NewServer(proxy)
	t.Cleanup(srv.Close)
	rec.url = srv.URL
	return rec
}

// check fails the test unless the requests for the programs that succeeded are want,
// and every other was a miss.
func (rec *recorder) check(t *testing.T, programs map[string]stripped, want []string) {
	t.Helper()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	var got []string
	for _, r := range rec.requests {
		ours := false
		for _, p := range programs {
			ours = ours || strings.HasPrefix(r.path, p.get(""))
		}
		switch {
		case ours && r.status == http.StatusOK:
			got = append(got, r.path)
		case r.status != http.StatusNotFound:
			t.Errorf("GET %s = %d, want 404", r.path, r.status)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the client got %q, want %q, of all it asked for: %v", got, want, rec.requests)
	}
}
