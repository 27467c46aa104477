package lint_test

import (
	"strings"
	"testing"
)

// ranks is the one direction of imports: a room may import rooms of a lower rank
// and its own packages. Rooms of one rank never see each other.
var ranks = map[string]int{
	"internal/symid": 0, "internal/fault": 0,

	"internal/symfile": 1, "internal/cab": 1, "internal/catalog": 1,

	"internal/container": 2,

	"internal/validate": 3, "internal/blobstore": 3, "internal/gossip": 3, "internal/api": 3,
	"internal/notify": 3, "internal/share": 3,

	"internal/spool": 4,

	"raftfsm": 5, "replication": 5, "symhttp": 5, "agent": 5,

	"internal/courier": 6,

	"node": 7, "ops": 7,
	"cmd": 8,
	"e2e": 9,

	"internal/lint": 10,
}

// doors are the only rooms that may import a dependency.
var doors = map[string][]string{
	"github.com/hashicorp/memberlist":  {"internal/gossip"},
	"github.com/hashicorp/raft":        {"raftfsm", "node", "e2e"}, // e2e makes a log of its own
	"github.com/hashicorp/raft-boltdb": {"raftfsm", "node"},
	"github.com/valyala/fasthttp":      {"symhttp", "internal/api"},
	"github.com/spf13/cobra":           {"cmd", "ops"},
	"github.com/spf13/pflag":           {"cmd", "ops"},
	"github.com/wneessen/go-mail":      {"internal/notify"},
}

// room returns the room that the directory is in.
func room(dir string) string {
	parts := strings.SplitN(dir, "/", 3)
	if parts[0] == "internal" && len(parts) > 1 {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}

func within(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

func TestImportDirection(t *testing.T) {
	for _, f := range sources(t) {
		from := room(f.dir())
		rank, known := ranks[from]
		if !known {
			t.Errorf("%s: %s is no room of the design: put the code into one, or give it a rank here", f.path, from)
			continue
		}
		for _, imp := range f.imports {
			dir, ours := strings.CutPrefix(imp, module+"/")
			if to := room(dir); ours && to != from && ranks[to] >= rank {
				t.Errorf("%s: %s imports %s: imports go from higher rooms to lower ones, never to siblings; declare an interface and let node connect them",
					f.path, from, to)
			}
		}
	}
}

func TestDependenciesHaveDoors(t *testing.T) {
	for _, f := range sources(t) {
		for _, imp := range f.imports {
			for dep, rooms := range doors {
				if !within(imp, dep) {
					continue
				}
				open := false
				for _, r := range rooms {
					open = open || room(f.dir()) == r
				}
				if !open {
					t.Errorf("%s: imports %s, whose only doors are %s", f.path, imp, strings.Join(rooms, " and "))
				}
			}
		}
	}
}

// The rules must be able to fail: a rule that matches nothing guards nothing.
func TestRulesApply(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range sources(t) {
		seen[room(f.dir())] = true
		for _, imp := range f.imports {
			for dep := range doors {
				if within(imp, dep) {
					seen[dep] = true
				}
			}
		}
	}
	for r := range ranks {
		if !seen[r] {
			t.Errorf("room %s has no Go file: remove its rank or correct it", r)
		}
	}
	for dep := range doors {
		if !seen[dep] {
			t.Errorf("nothing imports %s: remove its doors or correct them", dep)
		}
	}
}
