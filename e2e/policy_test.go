package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// symFile writes a .sym file with an id of its own, and gives the folder.
func symFile(t *testing.T, name, id, records string) string {
	t.Helper()
	dir := diskDir(t)
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("MODULE Linux x86_64 "+id+" a\n"+records), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPolicies weighs findings by what a push and the cluster say. The verdict and the
// policy it was given under are the same on every node, in the mail, and after all of
// them were restarted.
func TestPolicies(t *testing.T) {
	t.Parallel()
	box := newMailbox(t)
	box.start(t)
	c := newCluster(t, 3, box.founder(), box.flags()...)
	status, err := c.nodes[0].status()
	if err != nil {
		t.Fatal(err)
	}
	const idA, idB = "0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0", "0B0B0B0B0B0B0B0B0B0B0B0B0B0B0B0B0"
	empty := symFile(t, "a.sym", idA, "")                                                          // an error, which may be allowed
	moved := symFile(t, "a/00000000000000000000000000000000F/a.sym", idB, "FUNC 1000 10 0 main\n") // a warning

	type judged struct {
		result api.Result
		policy string
		weighs catalog.Weighed
	}
	var all []judged
	take := func(want int, dir, policy string, weighs catalog.Weighed, flags ...string) {
		t.Helper()
		args := append([]string{"push", "--json", "--server", c.nodes[0].url(), "--product", "policy", "--version", "1.0", dir}, flags...)
		r := symkeep(t, args...)
		if r.code != want {
			t.Fatalf("push %v = exit %d, want %d\n%s%s", flags, r.code, want, r.stdout, r.stderr)
		}
		all = append(all, judged{lastResult(t, r), policy, weighs})
	}
	set := func(args ...string) {
		t.Helper()
		if r := symkeep(t, append([]string{"cluster", "policy", "--server", c.nodes[1].url()}, args...)...); r.code != 0 {
			t.Fatalf("cluster policy %v = exit %d: %s", args, r.code, r.stderr)
		}
	}
	take(3, empty, "", "")
	take(0, empty, "allows SYM-EMPTY", catalog.Allowed, "--allow", "SYM-EMPTY")
	take(0, moved, "", "")
	set("set", "--deny", "SYM-NAME,SYM-EMPTY")
	take(3, moved, "denies SYM-EMPTY SYM-NAME", catalog.Denied)
	take(3, empty, "denies SYM-EMPTY SYM-NAME", "", "--allow", "SYM-EMPTY")
	set("clear")

	same := func(when string) {
		t.Helper()
		for _, n := range c.nodes {
			for _, j := range all {
				shown := showPackage(t, n, string(j.result.Package))
				finding := shown.Files[0].Findings[0]
				if got := catalog.PolicyOf(shown.Judged).String(); got != j.policy || shown.Verdict != j.result.Verdict || finding.Policy != j.weighs {
					t.Errorf("%s, %s: package %s: %s, judged under %q, finding %+v; want %s, %q, %q", when, n.name, shown.Package,
						shown.Verdict, got, finding, j.result.Verdict, j.policy, j.weighs)
				}
			}
			if code, body := get(t, n, "/a/"+idA+"/a.sym"); code != http.StatusOK || len(body) == 0 {
				t.Errorf("%s, %s: what was allowed = %d with %d bytes, want it served", when, n.name, code, len(body))
			}
		}
	}
	same("at once")
	for _, j := range all {
		text := box.await(t, j.result, status.ClusterID)
		if want := "policy:   " + j.policy; j.policy != "" && !strings.Contains(text, want) {
			t.Errorf("mail on package %s lacks %q:\n%s", j.result.Package, want, text)
		}
		if want := fmt.Sprintf(" (%s): ", j.weighs); j.weighs != "" && !strings.Contains(text, want) {
			t.Errorf("mail on package %s lacks %q:\n%s", j.result.Package, want, text)
		}
	}
	for _, n := range c.nodes {
		n.stop()
	}
	for _, n := range c.nodes {
		n.start()
	}
	c.waitHealthy(3, 30*time.Second)
	same("after a restart")

	// The API says the same as the command, and 400 to what makes no sense.
	var table api.FindingsResponse
	if code, body := get(t, c.nodes[2], "/api/v1/findings"); code != http.StatusOK || json.Unmarshal(body, &table) != nil || len(table.Findings) < 90 {
		t.Errorf("GET /api/v1/findings = %d, %d codes", code, len(table.Findings))
	}
	resp, err := http.Post(c.nodes[2].url()+"/api/v1/cluster/policy", "application/json", strings.NewReader(`{"allow":["ELF-NOID"]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("POST of a policy that allows what is fixed = %d, want 400", resp.StatusCode)
	}
}
