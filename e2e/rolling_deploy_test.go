package e2e

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDashboard: a node has every metric that deploy's dashboard shows.
func TestDashboard(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../deploy/compose/grafana/symkeep.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &board); err != nil || len(board.Panels) == 0 {
		t.Fatalf("dashboard with %d panels: %v", len(board.Panels), err)
	}
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	mustPush(t, n.url(), "p", makePackage(t, c.dir, "p"))
	checkMiss(t, n)
	_, metrics := get(t, n, "/metrics")
	var has []string
	for line := range strings.Lines(string(metrics)) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			has = append(has, strings.Fields(rest)[0])
		} else if name, _, ok := strings.Cut(line, "{"); ok {
			has = append(has, name)
		}
	}
	alarms := []string{"symkeep_alarms", "symkeep_local_alarms"} // shown while there is one
	names := regexp.MustCompile(`symkeep_[a-z0-9_]+`)
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			for _, name := range names.FindAllString(target.Expr, -1) {
				if !slices.Contains(has, name) && !slices.Contains(alarms, name) {
					t.Errorf("panel %q shows %s, which %s has not", p.Title, name, n.name)
				}
			}
		}
	}
}
