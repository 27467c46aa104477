package symhttp_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// TestCommitTime: every file of a package has its holders asked for it, so there is
// more time for many.
func TestCommitTime(t *testing.T) {
	w := newWorld(t)
	c := client(t, start(t, testConfig(), w.public(t)))
	for _, tt := range []struct {
		files int
		want  time.Duration
	}{{0, 0}, {60_000, time.Minute}, {1 << 40, catalog.MaxFiles * time.Millisecond}, {-1 << 40, 0}} {
		begun := time.Now()
		if _, err := c.Commit(t.Context(), packageID, api.CommitRequest{Files: tt.files}); err != nil {
			t.Fatal(err)
		}
		want := testConfig().CallTimeout + tt.want
		w.set(func() {
			if got := w.deadline.Sub(begun); got < want || got > want+10*time.Second {
				t.Errorf("a commit of %d files has %v, want %v", tt.files, got, want)
			}
		})
	}
}

// TestCalls drives every route with the client that agents and operators use.
func TestCalls(t *testing.T) {
	w := newWorld(t)
	c := client(t, start(t, testConfig(), w.public(t)))
	ctx := t.Context()
	for _, tt := range []struct {
		want string
		call func() (any, error)
	}{
		{"open key app 1.0", func() (any, error) {
			return c.Open(ctx, api.OpenRequest{IdempotencyKey: "key", Product: "app", Version: "1.0"})
		}},
		{"add " + string(packageID) + " 3 2", func() (any, error) {
			return c.AddFiles(ctx, packageID, api.AddFilesRequest{First: 3, Files: []api.FileEntry{{Path: "a", Size: 1}, {Path: "b", Size: 2}}})
		}},
		{"commit " + string(packageID) + " 2", func() (any, error) {
			return c.Commit(ctx, packageID, api.CommitRequest{Files: 2})
		}},
		{"lease " + string(packageID), func() (any, error) { return nil, c.RenewLease(ctx, packageID) }},
		{"status " + string(packageID) + " 0s", func() (any, error) { return c.Package(ctx, packageID, 0) }},
		{"status " + string(packageID) + " 30s", func() (any, error) { return c.Package(ctx, packageID, 30*time.Second) }},
		{"status " + string(packageID) + " 1m0s", func() (any, error) { return c.Package(ctx, packageID, time.Hour) }},
		{"files " + string(packageID) + " -1 500", func() (any, error) { return c.Files(ctx, packageID, -1) }},
		{"files " + string(packageID) + " 499 500", func() (any, error) { return c.Files(ctx, packageID, 499) }},
		{"list    " + " 50", func() (any, error) { return c.Packages(ctx, api.PackagesQuery{}) }},
		{"list a&b 1/2 good " + string(packageID) + " 7", func() (any, error) {
			return c.Packages(ctx, api.PackagesQuery{Product: "a&b", Version: "1/2", State: catalog.StateGood, Before: packageID, Limit: 7})
		}},
		{"delete " + string(packageID) + " old", func() (any, error) {
			return nil, c.Delete(ctx, packageID, api.DeleteRequest{Reason: "old"})
		}},
		{"undelete " + string(packageID), func() (any, error) { return nil, c.Undelete(ctx, packageID) }},
		{"retry " + string(packageID), func() (any, error) { return nil, c.Retry(ctx, packageID) }},
		{"find a b+c/%&", func() (any, error) { return c.Find(ctx, api.FindQuery{Q: "a b+c/%", Name: "&"}) }},
		{"find a b++ c", func() (any, error) {
			return c.FindAll(ctx, []api.FindQuery{{Q: "a", Name: ""}, {Q: "b+", Name: "+"}, {Q: "c"}})
		}},
		{"cluster", func() (any, error) { return c.Cluster(ctx) }},
		{"join [a:1 b:2]", func() (any, error) {
			return nil, c.ClusterJoin(ctx, api.ClusterJoinRequest{Addrs: []string{"a:1", "b:2"}})
		}},
		{"leave", func() (any, error) { return nil, c.ClusterLeave(ctx) }},
		{"remove n2 true", func() (any, error) { return nil, c.ClusterRemove(ctx, api.NodeRequest{Node: "n2", Force: true}) }},
		{"drain n2 true", func() (any, error) { return nil, c.ClusterDrain(ctx, api.NodeRequest{Node: "n2", Undo: true}) }},
		{"maintenance n2 60000 false", func() (any, error) {
			return nil, c.Maintenance(ctx, api.NodeRequest{Node: "n2", For: 60_000})
		}},
		{`transfer ""`, func() (any, error) { return nil, c.TransferLeader(ctx, api.NodeRequest{}) }},
		{`transfer "n2"`, func() (any, error) { return nil, c.TransferLeader(ctx, api.NodeRequest{Node: "n2"}) }},
		{"check", func() (any, error) { return c.Check(ctx) }},
		{"clear n2 bit-rot", func() (any, error) {
			return nil, c.ClearAlarms(ctx, api.AlarmRequest{Node: "n2", Code: catalog.AlarmBitRot})
		}},
		{"plan map[] 0", func() (any, error) { return c.Layout(ctx) }},
		{"plan map[n2:50] 2", func() (any, error) {
			return c.PlanLayout(ctx, api.LayoutRequest{Weights: map[string]int{"n2": 50}, Replicas: 2})
		}},
		{"apply map[n2:50] on 4", func() (any, error) {
			return c.ApplyLayout(ctx, api.LayoutRequest{Weights: map[string]int{"n2": 50}, Base: 4})
		}},
		{"repl", func() (any, error) { return c.Repl(ctx) }},
		{"set repl true true [n2]", func() (any, error) {
			yes := true
			return c.SetRepl(ctx, api.ReplRequest{Paused: &yes, Scrub: true, Nodes: []string{"n2"}})
		}},
		{"feature", func() (any, error) { return c.Feature(ctx) }},
		{"policy", func() (any, error) { return c.Policy(ctx) }},
		{"set policy [PDB-FASTLINK] <nil>", func() (any, error) {
			return c.SetPolicy(ctx, api.PolicyRequest{Allow: &[]string{"PDB-FASTLINK"}})
		}},
		{"raise 2", func() (any, error) { return c.RaiseFeature(ctx, api.FeatureRequest{Level: 2}) }},
	} {
		if _, err := tt.call(); err != nil || w.last() != tt.want {
			t.Errorf("call = %q, %v, want %q", w.last(), err, tt.want)
		}
		for _, sentinel := range []error{catalog.ErrNotFound, catalog.ErrInvalid, catalog.ErrConflict, catalog.ErrUnavailable, catalog.ErrFull} {
			w.set(func() { w.callErr = fmt.Errorf("because: %w", sentinel) })
			_, err := tt.call()
			var e *api.Error
			if !errors.Is(err, sentinel) || !errors.As(err, &e) || e.Node != "n1" || !strings.Contains(e.Message, "because") {
				t.Errorf("%s = %v, want %v from n1", tt.want, err, sentinel)
			}
		}
		w.set(func() { w.callErr = nil })
	}
	if r, err := c.AddFiles(ctx, packageID, api.AddFilesRequest{}); err != nil || len(r.Lacking) != 1 || r.Lacking[0] != (catalog.Digest{1}) {
		t.Errorf("AddFiles = %+v, %v, want what the node said", r, err)
	}
}

func TestCallErrors(t *testing.T) {
	w := newWorld(t)
	addr := start(t, testConfig(), w.public(t))
	id := string(packageID)
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		contain                  string
	}{
		{"not JSON", "POST", "/api/v1/packages", "{", 400, "not the JSON"},
		{"wrong type", "POST", "/api/v1/packages", `{"product":7}`, 400, "product"},
		{"empty", "POST", "/api/v1/packages", "", 400, "empty"},
		{"method", "DELETE", "/api/v1/packages", "", 405, "POST or GET"},
		{"method of a blob", "POST", blobPath(), "", 405, "PUT or HEAD"},
		{"no route", "GET", "/api/v1/nope", "", 404, "no such route"},
		{"no route below", "GET", "/api/v1/packages/" + id + "/nope", "", 404, "no such route"},
		{"other version", "GET", "/api/v2/packages", "", 404, "no such route"},
		{"trailing slash", "GET", "/api/v1/packages/", "", 404, "no such route"},
		{"short id", "GET", "/api/v1/packages/01JD", "", 400, "26 characters"},
		{"traversal", "GET", "/api/v1/packages/../../etc/passwd", "", 404, "no such route"},
		{"escaped traversal", "GET", "/api/v1/packages/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "", 400, "26 characters"},
		{"wait", "GET", "/api/v1/packages/" + id + "?wait=soon", "", 400, "30s"},
		{"negative wait", "GET", "/api/v1/packages/" + id + "?wait=-1s", "", 400, "30s"},
		{"after", "GET", "/api/v1/packages/" + id + "/files?after=x", "", 400, "after"},
		{"limit", "GET", "/api/v1/packages?limit=501", "", 400, "1 to 500"},
		{"state", "GET", "/api/v1/packages?state=nice", "", 400, "no such state"},
		{"before", "GET", "/api/v1/packages?before=1", "", 400, "26 characters"},
		{"find nothing", "GET", "/api/v1/find", "", 400, "query of 0 bytes"},
		{"find a long name", "GET", "/api/v1/find?q=a&name=" + strings.Repeat("x", 256), "", 400, "name of 256 bytes"},
		{"find no queries", "POST", "/api/v1/find", "{}", 400, "0 queries"},
		{"find one nothing", "POST", "/api/v1/find", `{"queries":[{"q":"a"},{}]}`, 400, "query of 0 bytes"},
		{"find too many", "POST", "/api/v1/find", `{"queries":[` + strings.Repeat(`{"q":"a"},`, api.MaxFindQueries) + `{"q":"a"}]}`, 400, "201 queries"},
		{"join nobody", "POST", "/api/v1/cluster/join", "{}", 400, "0 gossip addresses"},
		{"remove nobody", "POST", "/api/v1/cluster/remove", "{}", 400, "no node named"},
		{"maintain nobody", "POST", "/api/v1/cluster/maintenance", `{"for_ms":1}`, 400, "no node named"},
		{"plan nothing", "POST", "/api/v1/cluster/layout/plan", "", 400, "empty"},
		{"weights of text", "POST", "/api/v1/cluster/layout/apply", `{"weights":{"a":"b"}}`, 400, "weights"},
		{"clear by GET", "GET", "/api/v1/cluster/alarms/clear", "", 405, "POST"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, addr)
			lines := []string{"Content-Length: " + fmt.Sprint(len(tt.body))}
			c.send(t, request(tt.method, tt.path, lines...)+tt.body)
			a, err := c.receive(tt.method)
			if err != nil {
				t.Fatal(err)
			}
			if a.StatusCode != tt.status || !strings.Contains(string(a.body), tt.contain) || !strings.HasPrefix(string(a.body), `{"error":{"code":`) {
				t.Errorf("%s %s = %d %s, want %d with %q", tt.method, tt.path, a.StatusCode, a.body, tt.status, tt.contain)
			}
			for name, want := range map[string]string{
				api.HeaderIndex: "42", api.HeaderNode: "n1", api.HeaderCluster: string(clusterID),
				"Content-Type": "application/json", "Cache-Control": "no-store",
			} {
				if got := a.Header.Get(name); got != want {
					t.Errorf("header %s = %q, want %q", name, got, want)
				}
			}
			if tt.status == 405 && a.Header.Get("Allow") == "" {
				t.Error("no Allow header")
			}
		})
	}
	if got := w.every(); len(got) > 0 {
		t.Errorf("calls = %q, want none", got)
	}
}

func TestBodyLimits(t *testing.T) {
	w := newWorld(t)
	cfg := testConfig()
	cfg.JSONBytes = 64 << 10
	addr := start(t, cfg, w.public(t))
	big := `{"product":"` + strings.Repeat("x", 80<<10) + `"}`
	for _, tt := range []struct{ name, request string }{
		{"announced", request("POST", "/api/v1/packages", fmt.Sprintf("Content-Length: %d", len(big))) + big},
		{"announced, not sent", request("POST", "/api/v1/packages", "Content-Length: 999999999", "Expect: 100-continue")},
		{"chunked", request("POST", "/api/v1/packages", "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(big), big)},
	} {
		c := dial(t, addr)
		c.send(t, tt.request)
		if a, err := c.receive("POST"); err != nil || a.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %v, %v, want 413", tt.name, a.Response, err)
		}
	}
	files := bytes.Repeat([]byte(`{"path":"a"},`), api.MaxFilesPerRequest+1)
	body := `{"files":[` + strings.TrimSuffix(string(files), ",") + `]}`
	c := dial(t, addr)
	c.send(t, request("POST", "/api/v1/packages/"+string(packageID)+"/files", fmt.Sprintf("Content-Length: %d", len(body)))+body)
	if a, err := c.receive("POST"); err != nil || a.StatusCode != 400 || !strings.Contains(string(a.body), "at most 500") {
		t.Errorf("too many files: %v %s, %v, want 400", a.Response, a.body, err)
	}
	chunked := dial(t, addr) // small chunked bodies are fine
	chunked.send(t, request("POST", "/api/v1/packages", "Transfer-Encoding: chunked")+"10\r\n{\"product\":\"app\"\r\n1\r\n}\r\n0\r\n\r\n")
	if a, err := chunked.receive("POST"); err != nil || a.StatusCode != 200 || w.last() != "open  app " {
		t.Errorf("chunked: %v, %v, call %q", a.Response, err, w.last())
	}
}
