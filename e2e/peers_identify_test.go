//go:build corpus

package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// TestPeersIdentify measures what others do as well: to read who a file is from its
// headers, without a check of the rest. Every program reads every good file of the
// corpus of its kind, a process for each, limited to one core, in turn; medians of the
// rounds are added up. symkeep's side is validate.Identify in a process of this test.
// Most of what a program takes for a small file is its own start, so that is measured
// beside it. The table also goes to tmp/peers-identify.txt.
func TestPeersIdentify(t *testing.T) {
	dir := os.Getenv("SYMKEEP_CORPUS")
	if dir == "" {
		t.Fatal("SYMKEEP_CORPUS names no corpus directory")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w, rounds := newWitnesses(t), peerRounds(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	tab := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "kind\tfiles\tprogram\tfiles/s\tCPU ms per file\twall ms per file\ttimes symkeep's CPU\t")
	for _, kind := range []string{"pdb", "pe", "elf", "macho", "sym"} {
		files := slices.Sorted(maps.Keys(filesOf(dir, kind)))
		var names []string
		var cpu, wall []time.Duration // of each program, over all files
		for _, path := range files {
			if id, err := identifyFile(path); err != nil || id.Kind == "" {
				t.Errorf("Identify(%s) = %+v, %v", path, id, err)
			}
			programs := append([]program{
				{"symkeep identify", []string{self, identifyFlag, path}}, {"(its start)", []string{self, identifyFlag, empty}},
				{"sentry-cli debug-files check", []string{w.sentry, "debug-files", "check", path}}, {"(its start)", []string{w.sentry, "--version"}},
			}, peerFile{path, kind}.identifiers(w)...)
			c, l := measure(t, programs, rounds)
			if names == nil {
				cpu, wall = make([]time.Duration, len(c)), make([]time.Duration, len(c))
			}
			names = names[:0]
			for i, p := range programs {
				names, cpu[i], wall[i] = append(names, p.name), cpu[i]+c[i], wall[i]+l[i]
			}
		}
		n := float64(len(files))
		for i, name := range names {
			fmt.Fprintf(tab, "%s\t%d\t%s\t%.0f\t%.2f\t%.2f\t%.2f\t\n", kind, len(files), name, n/wall[i].Seconds(),
				cpu[i].Seconds()*1e3/n, wall[i].Seconds()*1e3/n, cpu[i].Seconds()/cpu[0].Seconds())
		}
	}
	tab.Flush()
	t.Logf("medians of %d rounds\n%s", rounds, out.String())
	if err := os.WriteFile("../tmp/peers-identify.txt", []byte(out.String()), 0o644); err != nil {
		t.Error(err)
	}
}

// identifiers are the other programs that tell the ids of files of f's kind.
func (f peerFile) identifiers(w *witnesses) []program {
	switch f.kind {
	case "pdb":
		return []program{{"llvm-pdbutil dump -summary", []string{w.pdbutil, "dump", "-summary", f.path}}}
	case "pe":
		return []program{{"llvm-readobj --file-headers", []string{w.readobj, "--file-headers", "--coff-debug-directory", f.path}}}
	case "elf":
		return []program{{"readelf --notes", []string{w.readelf, "--notes", f.path}}, {"dump_syms", []string{w.dumpSyms, f.path}}}
	}
	return nil
}
