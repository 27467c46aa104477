package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"symkeep/agent"
	"symkeep/agent/agenttest"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// dial returns real clients.
func dial(t *testing.T, urls ...string) []agent.Server {
	t.Helper()
	var list []agent.Server
	for _, u := range urls {
		c, err := api.NewClient(u)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		list = append(list, c)
	}
	return list
}

func config(paths ...string) agent.Config {
	cfg := agent.DefaultConfig()
	cfg.Product, cfg.Version, cfg.Paths, cfg.Timeout = "app", "1.2.3", paths, 20*time.Second
	cfg.Labels = map[string]string{"branch": "main"}
	return cfg
}

// statuses maps the paths of a result to statuses.
func statuses(r api.Result) map[string]api.FileStatus {
	m := map[string]api.FileStatus{}
	for _, f := range r.Files {
		m[f.Path] = f.Status
	}
	return m
}

func codes(findings []catalog.Finding) []string {
	var cs []string
	for _, f := range findings {
		cs = append(cs, string(f.Severity)+" "+f.Code)
	}
	return cs
}

// A policy goes with the push. A server of a former version would drop it unnoticed,
// so one that does not give it back is refused.
func TestPushPolicy(t *testing.T) {
	c := agenttest.New(t, 1)
	cfg := config(tree(t, map[string]string{"a.sym": "MODULE Linux x86_64 0123456789ABCDEF0123456789ABCDEF0 a\n"}))
	cfg.Policy = catalog.Policy{Allow: []string{"SYM-EMPTY"}}
	if _, err := agent.Push(t.Context(), cfg, dial(t, c.URLs()...), &events{}); !errors.Is(err, catalog.ErrConflict) || !strings.Contains(err.Error(), "feature level 3") {
		t.Errorf("Push below level 3 = %v, want a conflict that names the level", err)
	}
	operator := dial(t, c.URLs()...)[0].(*api.Client)
	if _, err := operator.RaiseFeature(t.Context(), api.FeatureRequest{Level: 3}); err != nil {
		t.Fatal(err)
	}
	r, err := agent.Push(t.Context(), cfg, dial(t, c.URLs()...), &events{})
	if err != nil || r.Verdict != catalog.Good || r.Judged == nil || !r.Judged.Equal(cfg.Policy) || r.Files[0].Findings[0].Policy != catalog.Allowed {
		t.Errorf("Push = %+v, %v, want good under the policy", r, err)
	}
	c.Intercept = func(n *agenttest.Node, w http.ResponseWriter, r *http.Request) bool {
		former := r.Method == "POST" && r.URL.Path == "/api/v1/packages"
		if former {
			json.NewEncoder(w).Encode(api.OpenResponse{Package: "01J", State: catalog.StateOpen, ClusterID: c.ID})
		}
		return former
	}
	if _, err := agent.Push(t.Context(), cfg, dial(t, c.URLs()...), &events{}); err == nil || !strings.Contains(err.Error(), "former version") {
		t.Errorf("Push to a former version = %v, want a refusal", err)
	}
}

func TestPushGood(t *testing.T) {
	c := agenttest.New(t, 1)
	files := map[string]string{"README.txt": "hi", "bin/copy.sym": ""}
	for i := range 8 { // more than one page of files
		files[fmt.Sprintf("bin/lib%d.sym", i)] = string(sym(fmt.Sprintf("lib%d", i), byte(i+1), 1000))
	}
	files["bin/copy.sym"] = files["bin/lib3.sym"]
	dir := tree(t, files)
	var told events
	r, err := agent.Push(t.Context(), config(dir), dial(t, c.URLs()...), &told)
	if err != nil || r.Verdict != catalog.Good || r.Package == "" || len(r.Files) != 10 {
		t.Fatalf("Push = %+v, %v, want a good package of 10 files", r, err)
	}
	st := statuses(r)
	if st["README.txt"] != api.FileIgnored || st["bin/lib0.sym"] != api.FileUploaded {
		t.Errorf("statuses = %v, want lib0 uploaded and README ignored", st)
	}
	if both := []api.FileStatus{st["bin/copy.sym"], st["bin/lib3.sym"]}; !slices.Contains(both, api.FileUploaded) || !slices.Contains(both, api.FileDeduplicated) {
		t.Errorf("statuses of equal files = %v, want one uploaded and one deduplicated", both)
	}
	for _, f := range r.Files {
		if f.Path == "bin/lib4.sym" && (f.Kind != catalog.KindBreakpad || len(f.Keys) != 1 || len(f.IDs) != 1) {
			t.Errorf("file = %+v, want what the server found", f)
		}
		if f.Path == "README.txt" && !slices.Equal(codes(f.Findings), []string{"info GEN-UNKNOWN"}) {
			t.Errorf("findings of an ignored file = %v, want one for information", f.Findings)
		}
		if f.Findings == nil || f.Keys == nil || f.IDs == nil {
			t.Errorf("file %s holds a null list: %+v", f.Path, f)
		}
	}
	if p := c.Packages(); len(p) != 1 || p[0].Product != "app" || p[0].Version != "1.2.3" || p[0].Labels["branch"] != "main" || p[0].Files != 9 {
		t.Errorf("server has %+v, want the package as described", p)
	}
	if n, _ := c.Uploaded(); n != 8 {
		t.Errorf("%d bodies were sent, want 8", n)
	}

	r, err = agent.Push(t.Context(), config(dir), dial(t, c.URLs()...), &events{})
	if err != nil || r.Verdict != catalog.Good {
		t.Fatalf("second Push = %+v, %v, want good", r, err)
	}
	if n, _ := c.Uploaded(); n != 8 || statuses(r)["bin/lib0.sym"] != api.FileDeduplicated {
		t.Errorf("second push sent %d bodies, want none", n-8)
	}
}

func TestPushOutcomes(t *testing.T) {
	good := string(sym("foo", 1, 0))
	for _, tt := range []struct {
		name   string
		files  map[string]string
		judge  func(catalog.Package) catalog.State
		noWait bool
		want   api.Result // Verdict and State
		codes  []string   // of a.pdb
		pushed int        // packages
	}{
		{"failed", map[string]string{"a.pdb": "garbage in a PDB", "b.sym": good}, nil, false,
			api.Result{Verdict: catalog.Failed, State: catalog.StateFailed}, []string{"error GEN-UNKNOWN"}, 1},
		{"stuck", map[string]string{"b.sym": good}, func(catalog.Package) catalog.State { return catalog.StateStuck }, false,
			api.Result{State: catalog.StateStuck}, nil, 1},
		{"no wait", map[string]string{"b.sym": good}, nil, true, api.Result{State: catalog.StateCommitted}, nil, 1},
		{"an empty file cannot be stored", map[string]string{"a.pdb": "", "b.sym": good}, nil, false,
			api.Result{Verdict: catalog.Failed}, []string{"error GEN-EMPTY"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := agenttest.New(t, 1)
			c.Judge = tt.judge
			cfg := config(tree(t, tt.files))
			cfg.NoWait = tt.noWait
			r, err := agent.Push(t.Context(), cfg, dial(t, c.URLs()...), &events{})
			if err != nil || r.Verdict != tt.want.Verdict || r.State != tt.want.State {
				t.Fatalf("Push = %+v, %v, want %+v", r, err, tt.want)
			}
			if len(c.Packages()) != tt.pushed || (r.Package != "") != (tt.pushed > 0) {
				t.Errorf("%d packages at the server, result names %q, want %d", len(c.Packages()), r.Package, tt.pushed)
			}
			for _, f := range r.Files {
				if f.Path == "a.pdb" && !slices.Equal(codes(f.Findings), tt.codes) {
					t.Errorf("findings of a.pdb = %v, want %v", codes(f.Findings), tt.codes)
				}
			}
		})
	}
}

func TestPushErrors(t *testing.T) {
	dir := tree(t, map[string]string{"b.sym": string(sym("foo", 1, 0))})
	fail := func(status error) func(*agenttest.Node, http.ResponseWriter, *http.Request) bool {
		return func(n *agenttest.Node, w http.ResponseWriter, _ *http.Request) bool {
			n.Fail(w, status)
			return true
		}
	}
	for _, tt := range []struct {
		name      string
		intercept func(*agenttest.Node, http.ResponseWriter, *http.Request) bool
		cfg       func(*agent.Config)
		is        error
		text      string
	}{
		{"permission", fail(api.ErrRefused), nil, api.ErrRefused, "refused"},
		{"unavailable", fail(fmt.Errorf("no leader: %w", catalog.ErrUnavailable)), nil, catalog.ErrUnavailable, "no leader"},
		{"full", fail(fmt.Errorf("12 GiB left, 20 GiB reserved: %w", catalog.ErrFull)), nil, catalog.ErrUnavailable, "12 GiB left"},
		{"invalid", fail(fmt.Errorf("product is banned: %w", catalog.ErrInvalid)), nil, catalog.ErrInvalid, "product is banned"},
		{"no product", nil, func(c *agent.Config) { c.Product = " " }, agent.ErrUsage, "product is empty"},
		{"everything at once", nil, func(c *agent.Config) { c.Version, c.Timeout, c.Uploads = "", 0, 1000 }, agent.ErrUsage, "version is empty; timeout 0s"},
		{"a long label", nil, func(c *agent.Config) { c.Labels = map[string]string{"k": strings.Repeat("x", 2000)} }, agent.ErrUsage, "label k"},
		{"no files", nil, func(c *agent.Config) { c.Paths = nil }, agent.ErrUsage, "no PATH"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := agenttest.New(t, 1)
			c.Intercept = tt.intercept
			cfg := config(dir)
			cfg.Timeout = time.Second
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			_, err := agent.Push(t.Context(), cfg, dial(t, c.URLs()...), &events{})
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Push = %v, want %q", err, tt.text)
			}
		})
	}
}

// TestPushFailsOver takes each node away at another step.
func TestPushFailsOver(t *testing.T) {
	for _, step := range []string{"POST /api/v1/packages", "/files", "/blobs/", "/commit", "GET /api/v1/packages/"} {
		t.Run(step, func(t *testing.T) {
			c := agenttest.New(t, 3)
			var victim atomic.Pointer[agenttest.Node]
			c.Intercept = func(n *agenttest.Node, w http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.Method+" "+r.URL.Path, step) {
					victim.CompareAndSwap(nil, n)
				}
				if victim.Load() == n {
					panic(http.ErrAbortHandler) // the connection drops; it never answers again
				}
				return false
			}
			dir := tree(t, map[string]string{"a.sym": string(sym("a", 1, 200_000)), "b.sym": string(sym("b", 2, 100))})
			var told events
			r, err := agent.Push(t.Context(), config(dir), dial(t, c.URLs()...), &told)
			if err != nil || r.Verdict != catalog.Good {
				t.Fatalf("Push = %+v, %v, want good", r, err)
			}
			if victim.Load() == nil || len(told.of(agent.EventRetry)) == 0 {
				t.Error("no server failed, so nothing was proved")
			}
			if len(c.Packages()) != 1 {
				t.Errorf("%d packages were opened, want 1", len(c.Packages()))
			}
		})
	}
}

func TestPushDeadServers(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	c := agenttest.New(t, 1)
	dir := tree(t, map[string]string{"a.sym": string(sym("a", 1, 0))})
	r, err := agent.Push(t.Context(), config(dir), dial(t, dead.URL, c.Nodes[0].URL), &events{})
	if err != nil || r.Verdict != catalog.Good {
		t.Errorf("Push with one dead server = %+v, %v, want good", r, err)
	}
	begun := time.Now()
	_, err = agent.Push(t.Context(), config(dir), dial(t, dead.URL), &events{})
	if took := time.Since(begun); !errors.Is(err, catalog.ErrUnavailable) || took > 5*time.Second {
		t.Errorf("Push with dead servers only = %v after %s, want ErrUnavailable within 5 s", err, took)
	}
}

func TestPushRefusesOtherCluster(t *testing.T) {
	one, two := agenttest.New(t, 1), agenttest.New(t, 1)
	dir := tree(t, map[string]string{"a.sym": string(sym("a", 1, 0))})
	_, err := agent.Push(t.Context(), config(dir), dial(t, one.Nodes[0].URL, two.Nodes[0].URL), &events{})
	if !errors.Is(err, agent.ErrOtherCluster) || !strings.Contains(err.Error(), string(one.ID)) || !strings.Contains(err.Error(), string(two.ID)) {
		t.Errorf("Push = %v, want ErrOtherCluster with both ids", err)
	}
	n1, _ := one.Uploaded()
	n2, _ := two.Uploaded()
	if n1+n2 != 0 {
		t.Errorf("%d files were sent, want none", n1+n2)
	}
}

// TestPushResumes cuts an upload; the next attempt sends the rest only.
func TestPushResumes(t *testing.T) {
	content := sym("a", 1, 1_000_000)
	cfg := config(tree(t, map[string]string{"a.sym": string(content)}))
	t.Run("packed", func(t *testing.T) { testPushResumes(t, cfg, 3000, packedSize(t, "a.sym", content)) })
	cfg.Raw = true
	t.Run("raw", func(t *testing.T) { testPushResumes(t, cfg, 300_000, int64(len(content))) })
}

func testPushResumes(t *testing.T, cfg agent.Config, cut, want int64) {
	c := agenttest.New(t, 1)
	var puts atomic.Int32
	c.Intercept = func(_ *agenttest.Node, _ http.ResponseWriter, r *http.Request) bool {
		if r.Method == "PUT" && puts.Add(1) == 1 {
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(io.LimitReader(r.Body, cut), brokenReader{}), r.Body}
		}
		return false
	}
	r, err := agent.Push(t.Context(), cfg, dial(t, c.URLs()...), &events{})
	if err != nil || r.Verdict != catalog.Good {
		t.Fatalf("Push = %+v, %v, want good", r, err)
	}
	if _, bytes := c.Uploaded(); puts.Load() != 2 || bytes != want {
		t.Errorf("%d bodies with %d bytes arrived, want 2 with %d", puts.Load(), bytes, want)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the line is cut") }

// TestPushCommitLacks loses a blob between upload and commit.
func TestPushCommitLacks(t *testing.T) {
	c := agenttest.New(t, 1)
	content := sym("a", 1, 0)
	d := c.Put(content)
	var commits atomic.Int32
	c.Intercept = func(_ *agenttest.Node, _ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/commit") && commits.Add(1) == 1 {
			c.Forget(d)
		}
		return false
	}
	r, err := agent.Push(t.Context(), config(tree(t, map[string]string{"a.sym": string(content)})), dial(t, c.URLs()...), &events{})
	if err != nil || r.Verdict != catalog.Good || statuses(r)["a.sym"] != api.FileUploaded || commits.Load() != 2 {
		t.Errorf("Push = %+v, %v after %d commits, want good, uploaded, 2", r, err, commits.Load())
	}
}

// TestPushInterrupted stops a push during its second upload; the same command
// then sends what is missing.
func TestPushInterrupted(t *testing.T) {
	c := agenttest.New(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	c.Intercept = func(n *agenttest.Node, w http.ResponseWriter, r *http.Request) bool {
		if done, _ := c.Uploaded(); r.Method == "PUT" && done == 1 {
			held := false
			once.Do(func() { held = true })
			if held {
				io.CopyN(io.Discard, r.Body, 1000)
				cancel()
				io.Copy(io.Discard, r.Body) // until the agent hangs up
				return true
			}
		}
		return false
	}
	large, small := sym("large", 1, 500_000), sym("small", 2, 200_000)
	cfg := config(tree(t, map[string]string{"large.sym": string(large), "small.sym": string(small)}))
	cfg.Uploads = 1
	r, err := agent.Push(ctx, cfg, dial(t, c.URLs()...), &events{})
	var stopped *agent.Interrupted
	if !errors.As(err, &stopped) || !errors.Is(err, context.Canceled) || stopped.Committed || stopped.Package != r.Package || stopped.Done < int64(len(large)) {
		t.Fatalf("Push = %+v, %v, want an Interrupted that knows the large file is there", r, err)
	}
	_, before := c.Uploaded()
	r, err = agent.Push(t.Context(), cfg, dial(t, c.URLs()...), &events{})
	if err != nil || r.Verdict != catalog.Good || statuses(r)["large.sym"] != api.FileDeduplicated {
		t.Fatalf("second Push = %+v, %v, want good without the large file", r, err)
	}
	if _, after := c.Uploaded(); after-before > int64(len(small)) {
		t.Errorf("second push sent %d bytes, want at most %d", after-before, len(small))
	}
}

// A stopper cancels at an event.
type stopper struct {
	at     agent.EventKind
	cancel context.CancelFunc
}

func (s stopper) Report(e agent.Event) {
	if e.Event == s.at {
		s.cancel()
	}
}

func TestPushInterruptedLate(t *testing.T) {
	dir := tree(t, map[string]string{"a.sym": string(sym("a", 1, 0))})
	for _, tt := range []struct {
		name      string
		at        agent.EventKind
		intercept bool // at the commit
		text      string
	}{
		{"scanned", agent.EventScanned, false, "nothing was uploaded"},
		{"opened", agent.EventOpened, false, "run the same command again"},
		{"committing", "", true, "was committed: see `symkeep package show"},
		{"committed", agent.EventCommitted, false, "is committed and will be validated"},
	} {
		c := agenttest.New(t, 1)
		c.Judge = func(catalog.Package) catalog.State { return catalog.StateCommitted }
		ctx, cancel := context.WithCancel(t.Context())
		c.Intercept = func(_ *agenttest.Node, _ http.ResponseWriter, r *http.Request) bool {
			if !tt.intercept || !strings.HasSuffix(r.URL.Path, "/commit") {
				return false
			}
			io.Copy(io.Discard, r.Body)
			cancel()
			<-r.Context().Done()
			return true
		}
		_, err := agent.Push(ctx, config(dir), dial(t, c.URLs()...), stopper{tt.at, cancel})
		cancel()
		var stopped *agent.Interrupted
		if !errors.As(err, &stopped) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("Push stopped when %s = %v, want %q", tt.name, err, tt.text)
		}
	}
}

// TestPushSeesChange lets a file change after the scan.
func TestPushSeesChange(t *testing.T) {
	c := agenttest.New(t, 1)
	dir := tree(t, map[string]string{"a.sym": string(sym("a", 1, 1000))})
	c.Intercept = func(_ *agenttest.Node, _ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/files") {
			os.WriteFile(filepath.Join(dir, "a.sym"), sym("a", 1, 5000), 0o644)
		}
		return false
	}
	_, err := agent.Push(t.Context(), config(dir), dial(t, c.URLs()...), &events{})
	if !errors.Is(err, agent.ErrChanged) || !strings.Contains(err.Error(), "a.sym") {
		t.Errorf("Push = %v, want ErrChanged that names a.sym", err)
	}
	if n, _ := c.Uploaded(); n != 0 {
		t.Errorf("%d bodies were sent, want none", n)
	}
}

func TestPushPackageGone(t *testing.T) {
	c := agenttest.New(t, 1)
	c.Judge = func(catalog.Package) catalog.State { return catalog.StateTrashed }
	_, err := agent.Push(t.Context(), config(tree(t, map[string]string{"a.sym": string(sym("a", 1, 0))})), dial(t, c.URLs()...), &events{})
	if err == nil || !strings.Contains(err.Error(), "is trashed, wanted a verdict") {
		t.Errorf("Push = %v, want an error about the state", err)
	}
}

func TestPushOverdue(t *testing.T) {
	c := agenttest.New(t, 1)
	c.Judge = func(catalog.Package) catalog.State { return catalog.StateCommitted }
	cfg := config(tree(t, map[string]string{"a.sym": string(sym("a", 1, 0))}))
	cfg.Timeout = time.Second
	r, err := agent.Push(t.Context(), cfg, dial(t, c.URLs()...), &events{})
	if !errors.Is(err, catalog.ErrUnavailable) || !strings.Contains(err.Error(), "no verdict") || r.Package == "" {
		t.Errorf("Push = %+v, %v, want ErrUnavailable about the package", r, err)
	}
}

// TestPushMemory sends a file that is far larger than the memory it may take: packed,
// and raw once that is refused.
func TestPushMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("sends 256 MiB")
	}
	c := agenttest.New(t, 1)
	dir := tree(t, map[string]string{"big.sym": string(sym("big", 1, 0))})
	if err := os.Truncate(filepath.Join(dir, "big.sym"), 256<<20); err != nil {
		t.Fatal(err)
	}
	var bodies atomic.Int32
	c.Intercept = func(_ *agenttest.Node, w http.ResponseWriter, r *http.Request) bool {
		if r.Method != "PUT" {
			return false
		}
		n, err := io.Copy(io.Discard, r.Body)
		if packed := r.Header.Get(api.HeaderUploadPacked) != ""; err != nil || !packed && n != 256<<20 || packed && n > 1<<20 {
			t.Errorf("body = %d bytes, %v, want 256 MiB, or below 1 if it is packed: %v", n, err, packed)
		}
		bodies.Add(1)
		n1 := c.Nodes[0]
		n1.Fail(w, fmt.Errorf("nothing is stored: %w", catalog.ErrInvalid))
		return true
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	_, err := agent.Push(t.Context(), config(dir), dial(t, c.URLs()...), &events{})
	runtime.ReadMemStats(&after)
	if err == nil || bodies.Load() != 2 {
		t.Fatalf("Push = %v after %d bodies, want the error of a server that stores nothing after 2", err, bodies.Load())
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
		t.Errorf("Push of 256 MiB allocated %d MiB in total, want less than 64", got>>20)
	}
}

func TestCheck(t *testing.T) {
	good := string(sym("foo", 1, 0))
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  catalog.Verdict
		codes map[string][]string
	}{
		{"good", map[string]string{"b.sym": good, "notes.txt": "hi"}, catalog.Good, map[string][]string{"notes.txt": {"info GEN-UNKNOWN"}}},
		{"failed", map[string]string{"b.sym": good, "a.dll": "<html>login</html>"}, catalog.Failed, map[string][]string{"a.dll": {"error GEN-HTML"}}},
		{"empty", map[string]string{"b.sym": good, "a.dll": ""}, catalog.Failed, map[string][]string{"a.dll": {"error GEN-EMPTY"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := agent.Check(t.Context(), agent.Config{Paths: []string{tree(t, tt.files)}}, &events{})
			if err != nil || r.Verdict != tt.want || r.Package != "" || r.State != "" {
				t.Fatalf("Check = %+v, %v, want %s", r, err, tt.want)
			}
			for _, f := range r.Files {
				if !slices.Equal(codes(f.Findings), tt.codes[f.Path]) && !(len(f.Findings) == 0 && tt.codes[f.Path] == nil) {
					t.Errorf("findings of %s = %v, want %v", f.Path, codes(f.Findings), tt.codes[f.Path])
				}
			}
			if st := statuses(r); st["b.sym"] != api.FileChecked || (tt.name == "good" && st["notes.txt"] != api.FileIgnored) {
				t.Errorf("statuses = %v, want checked and ignored", st)
			}
		})
	}
}
