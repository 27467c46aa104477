package agent_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"symkeep/agent"
	"symkeep/agent/agenttest"
	"symkeep/internal/api"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

// packedSize returns how large the packed file of content is.
func packedSize(t *testing.T, name string, content []byte) int64 {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "packed"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := cab.NewWriter(f, cab.Options{RawSize: int64(len(content)), Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	info, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return info.PackedSize
}

// TestPushPacks: what goes over the line is the packed file, or the raw one where
// nobody takes the other.
func TestPushPacks(t *testing.T) {
	content := sym("a", 1, 6<<20) // over the size from which every server is asked first
	raw, packed := int64(len(content)), packedSize(t, "a.sym", content)
	for _, tt := range []struct {
		name    string
		prepare func(*testing.T, *agenttest.Cluster, *agent.Config)
		bodies  int
		want    int64
		sentRaw bool // with a reason that is told
	}{
		{"packed", func(*testing.T, *agenttest.Cluster, *agent.Config) {}, 1, packed, false},
		{"asked for raw", func(_ *testing.T, _ *agenttest.Cluster, cfg *agent.Config) { cfg.Raw = true }, 1, raw, false},
		{"older nodes", func(_ *testing.T, c *agenttest.Cluster, _ *agent.Config) {
			for _, n := range c.Nodes {
				n.RawOnly = true
			}
		}, 1, raw, false},
		{"an older node behind the same URL", func(_ *testing.T, c *agenttest.Cluster, _ *agent.Config) {
			c.Intercept = func(_ *agenttest.Node, _ http.ResponseWriter, r *http.Request) bool {
				if r.Method == "PUT" {
					r.Header.Del(api.HeaderUploadPacked)
				}
				return false
			}
		}, 1, raw, true},
		{"no temporary directory", func(t *testing.T, _ *agenttest.Cluster, _ *agent.Config) {
			t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
		}, 1, raw, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := agenttest.New(t, 2)
			dir := tree(t, map[string]string{"a.sym": string(content)})
			cfg := config(dir)
			tt.prepare(t, c, &cfg)
			var es events
			r, err := agent.Push(t.Context(), cfg, dial(t, c.URLs()...), &es)
			if err != nil || r.Verdict != catalog.Good || statuses(r)["a.sym"] != api.FileUploaded {
				t.Fatalf("Push = %+v, %v, want good", r, err)
			}
			if n, bytes := c.Uploaded(); n != tt.bodies || bytes != tt.want {
				t.Errorf("%d bodies with %d bytes arrived, want %d with %d", n, bytes, tt.bodies, tt.want)
			}
			if told := len(es.of(agent.EventSentRaw)) > 0; told != tt.sentRaw {
				t.Errorf("event %s = %v, want %v", agent.EventSentRaw, told, tt.sentRaw)
			}
			if r, err = agent.Push(t.Context(), cfg, dial(t, c.URLs()...), &es); err != nil || statuses(r)["a.sym"] != api.FileDeduplicated {
				t.Fatalf("second Push = %+v, %v, want it deduplicated", r, err)
			}
			if n, _ := c.Uploaded(); n != tt.bodies {
				t.Errorf("second push sent %d bodies, want none", n-tt.bodies)
			}
		})
	}
}

// TestPushFailsOverToAnOlderNode: the node that takes packed files stops in the middle
// of one.
func TestPushFailsOverToAnOlderNode(t *testing.T) {
	for _, size := range []int{100_000, 6 << 20} {
		c := agenttest.New(t, 2)
		content := sym("a", 1, size)
		c.Nodes[1].RawOnly = true
		c.Intercept = func(n *agenttest.Node, _ http.ResponseWriter, r *http.Request) bool {
			if r.Method == "PUT" && n == c.Nodes[0] {
				panic(http.ErrAbortHandler)
			}
			return false
		}
		r, err := agent.Push(t.Context(), config(tree(t, map[string]string{"a.sym": string(content)})), dial(t, c.URLs()...), &events{})
		if err != nil || r.Verdict != catalog.Good {
			t.Fatalf("Push = %+v, %v, want good", r, err)
		}
		if n, bytes := c.Uploaded(); n != 1 || bytes != int64(len(content)) {
			t.Errorf("%d bodies with %d bytes arrived, want 1 with %d", n, bytes, len(content))
		}
	}
}

// TestPushAsksBeforePacking: a large file that somebody else has sent since it was
// announced is neither packed nor sent.
func TestPushAsksBeforePacking(t *testing.T) {
	c := agenttest.New(t, 1)
	content := sym("a", 1, 6<<20)
	c.Intercept = func(_ *agenttest.Node, _ http.ResponseWriter, r *http.Request) bool {
		if r.Method == "HEAD" {
			c.Put(content)
		}
		return false
	}
	var es events
	r, err := agent.Push(t.Context(), config(tree(t, map[string]string{"a.sym": string(content)})), dial(t, c.URLs()...), &es)
	if err != nil || r.Verdict != catalog.Good {
		t.Fatalf("Push = %+v, %v, want good", r, err)
	}
	if n, _ := c.Uploaded(); n != 0 || len(es.of(agent.EventPacking)) > 0 {
		t.Errorf("%d bodies arrived, %d events of packing; want none", n, len(es.of(agent.EventPacking)))
	}
}

// TestPushLeavesNoFiles: packed files are gone after a push.
func TestPushLeavesNoFiles(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	c := agenttest.New(t, 1)
	dir := tree(t, map[string]string{"a.sym": string(sym("a", 1, 6<<20)), "b.sym": string(sym("b", 2, 1000))})
	if _, err := agent.Push(t.Context(), config(dir), dial(t, c.URLs()...), &events{}); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v, want nothing", left, err)
	}
}
