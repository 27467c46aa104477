package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// TestDefectivePackages pushes packages with one defect each. The reason is on the
// terminal, in `package show` and in the mail; nothing of them is served, by any
// node, until a good package brings the same files.
func TestDefectivePackages(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "defective")
	box := newMailbox(t)
	box.start(t)
	c := newCluster(t, 3, box.founder(), box.flags()...)
	status, err := c.nodes[0].status()
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, tt := range []struct{ dir, code, file, reason string }{
		{"truncated", "PDB-TRUNC", "app.pdb", "found a file of "},
		{"mismatch", "PE-PDB-MISMATCH", "app.exe", "they are from different builds"},
		{"html", "GEN-HTML", "app.pdb", `a web page or XML text titled "502 Bad Gateway"`},
	} {
		r := symkeep(t, "push", "--server", c.nodes[0].url(), "--product", tt.dir, "--version", "1.0", f.path(tt.dir))
		if r.code != 3 {
			t.Errorf("push %s = exit %d, want 3\n%s%s", tt.dir, r.code, r.stdout, r.stderr)
			continue
		}
		shown := showPackage(t, c.nodes[2], packageID(t, r.stdout))
		if shown.Verdict != catalog.Failed || shown.State != catalog.StateFailed {
			t.Errorf("package %s: verdict %q, state %q, want failed", tt.dir, shown.Verdict, shown.State)
		}
		finding := tt.file + ": " + tt.code
		text := symkeep(t, "package", "show", string(shown.Package), "--server", c.nodes[1].url())
		for where, out := range map[string]string{"terminal": r.stdout, "package show": text.stdout} {
			if !strings.Contains(out, finding) || !strings.Contains(out, tt.reason) {
				t.Errorf("%s: %s lacks %q or %q:\n%s", tt.dir, where, finding, tt.reason, out)
			}
		}
		if !hasFinding(shown, tt.file, tt.code, tt.reason) {
			t.Errorf("%s: package show --json has no %s %q: %+v", tt.dir, finding, tt.reason, shown.Files)
		}
		box.await(t, shown, status.ClusterID)
		for _, file := range shown.Files {
			keys = append(keys, file.Keys...)
		}
	}
	keys = append(keys, f.ids["PDB_KEY"], f.ids["PE_KEY"])
	if len(keys) < 6 { // three times app.exe, and the PDB of another build
		t.Errorf("keys of the failed packages: %v, want 6 at least", keys)
	}
	for _, n := range c.nodes {
		for _, key := range keys {
			for _, path := range []string{key, key[:len(key)-1] + "_", "symbols/" + key} {
				if status, body := get(t, n, "/"+path); status != http.StatusNotFound || len(body) > 0 {
					t.Errorf("GET %s/%s = %d with %d bytes, want an empty 404: no good package has it", n.name, path, status, len(body))
				}
			}
		}
	}

	// The same bytes in a good package are served: nothing was held against them.
	if code, r := push(t, c.nodes[1].url(), "good", f.path("good/windows")); code != 0 {
		t.Fatalf("push of the good pair = exit %d, want 0: %+v", code, r)
	}
	for _, n := range c.nodes {
		for key, file := range map[string]string{"PDB_KEY": "app.pdb", "PE_KEY": "app.exe"} {
			if status, body := get(t, n, "/"+f.ids[key]); status != http.StatusOK || string(body) != string(f.read(t, "good/windows", file)) {
				t.Errorf("GET %s/%s = %d with %d bytes, want what the good package holds", n.name, f.ids[key], status, len(body))
			}
		}
	}
}

// TestDefectNextToGood puts a defect of one file beside good files: the package is
// one, so none of it is served.
func TestDefectNextToGood(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "beside")
	c := newCluster(t, 1, nil)
	dir := diskDir(t)
	for name, from := range map[string]string{"app": "good/linux/app", "app.debug": "good/linux/app.debug", "app.pdb": "truncated/app.pdb"} {
		if err := os.WriteFile(filepath.Join(dir, name), f.read(t, from), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	code, r := push(t, c.nodes[0].url(), "beside", dir)
	if code != 3 || r.Verdict != catalog.Failed || len(r.Files) != 3 {
		t.Fatalf("push = exit %d, %+v, want 3 and three files", code, r)
	}
	for _, file := range r.Files {
		for _, key := range file.Keys {
			if status, _ := get(t, c.nodes[0], "/"+key); status != http.StatusNotFound {
				t.Errorf("GET /%s = %d, want 404: its package failed", key, status)
			}
		}
	}
}

// packageID returns what push prints with the verdict.
func packageID(t *testing.T, out string) string {
	t.Helper()
	_, rest, ok := strings.Cut(out, "verdict: failed, package ")
	if id, _, _ := strings.Cut(rest, ":"); ok && len(id) == 26 {
		return id
	}
	t.Fatalf("no verdict line with a package id in:\n%s", out)
	return ""
}

// showPackage is `package show --json`.
func showPackage(t *testing.T, n *node, id string) (r api.Result) {
	t.Helper()
	out := symkeep(t, "package", "show", id, "--json", "--server", n.url())
	if err := json.Unmarshal([]byte(out.stdout), &r); err != nil || string(r.Package) != id {
		t.Fatalf("package show %s --json: exit %d, %v, package %q: %s%s", id, out.code, err, r.Package, out.stdout, out.stderr)
	}
	return r
}

func hasFinding(r api.Result, file, code, reason string) bool {
	for _, f := range r.Files {
		for _, finding := range f.Findings {
			if f.Path == file && finding.Code == code && finding.Severity == catalog.Error && strings.Contains(finding.Message, reason) {
				return true
			}
		}
	}
	return false
}
