//go:build corpus

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// TestPeers measures `symkeep check` and other tools on the same files in the same
// run: rounds in turn, medians, CPU time of the process and wall time. Every program
// reads one file and is limited to one core, so that MB/s are those of a core and
// include the start of the process. The table also goes to tmp/peers.txt.
// SYMKEEP_ROUNDS is how many rounds, SYMKEEP_CORPUS where files are; the largest debug
// files of this machine are measured as well.
func TestPeers(t *testing.T) {
	rounds := peerRounds(t)
	w := newWitnesses(t)
	var out strings.Builder
	tab := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "file\tMB\tprogram\tCPU ms\twall ms\tMB/s of a core\ttimes symkeep's CPU\t")
	for _, f := range peerFiles(t) {
		fi, err := os.Stat(f.path)
		if err != nil {
			t.Fatal(err)
		}
		programs := append([]program{{"symkeep check", []string{bin, "check", "--json", f.path}}}, f.peers(w)...)
		cpu, wall := measure(t, programs, rounds)
		for i, p := range programs {
			mb, name := float64(fi.Size())/1e6, p.name
			if wall[i] > programLimit {
				name += " (ended)"
			}
			fmt.Fprintf(tab, "%s\t%.1f\t%s\t%.1f\t%.1f\t%.0f\t%.2f\t\n", filepath.Base(f.path), mb, name,
				cpu[i].Seconds()*1e3, wall[i].Seconds()*1e3, mb/cpu[i].Seconds(), cpu[i].Seconds()/cpu[0].Seconds())
		}
	}
	tab.Flush()
	t.Logf("medians of %d rounds\n%s", rounds, out.String())
	if err := os.WriteFile("../tmp/peers.txt", []byte(out.String()), 0o644); err != nil {
		t.Error(err)
	}
}

// peerRounds is how often everything is measured.
func peerRounds(t *testing.T) int {
	s := os.Getenv("SYMKEEP_ROUNDS")
	if s == "" {
		return 5
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("SYMKEEP_ROUNDS = %q, wanted a number from 1 on", s)
	}
	return n
}

// A program is one command line to measure.
type program struct {
	name string
	args []string
}

// A peerFile is a file and what else reads files of its kind.
type peerFile struct {
	path, kind string
}

// peerFiles are the largest file of each kind in the corpus, and of the machine's
// debug files.
func peerFiles(t *testing.T) []peerFile {
	dir := os.Getenv("SYMKEEP_CORPUS")
	if dir == "" {
		t.Fatal("SYMKEEP_CORPUS names no corpus directory")
	}
	var files []peerFile
	for _, kind := range []string{"pdb", "pe", "elf", "macho", "sym"} {
		files = append(files, peerFile{largest(dir, kind), kind})
	}
	if path := largest("/usr/lib/debug", "elf"); path != "" {
		files = append(files, peerFile{path, "elf"})
	}
	return slices.DeleteFunc(files, func(f peerFile) bool { return f.path == "" })
}

// largest is the largest file below dir of a kind.
func largest(dir, kind string) (best string) {
	size := int64(0)
	for path, n := range filesOf(dir, kind) {
		if n > size {
			best, size = path, n
		}
	}
	return best
}

// filesOf are the files below dir of a kind, told by the start of their content, and
// their sizes.
func filesOf(dir, kind string) map[string]int64 {
	magic := map[string]string{"pdb": "Microsoft C/C++ MSF", "pe": "MZ", "elf": "\x7fELF", "macho": "\xcf\xfa\xed\xfe", "sym": "MODULE "}[kind]
	files := map[string]int64{}
	// A folder that is not there has no files.
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.Contains(path, "/defects/") {
			return nil
		}
		head := make([]byte, len(magic))
		f, err := os.Open(path)
		if err != nil {
			return nil
		}
		defer f.Close()
		fi, err := f.Stat()
		if _, e := f.ReadAt(head, 0); err == nil && e == nil && string(head) == magic {
			files[path] = fi.Size()
		}
		return nil
	})
	return files
}

// peers are the programs that read files of f's kind.
func (f peerFile) peers(w *witnesses) []program {
	sentry := program{"sentry-cli debug-files check", []string{w.sentry, "debug-files", "check", f.path}}
	verify := program{"llvm-dwarfdump --verify", []string{w.dwarfdump, "--verify", "--quiet", f.path}}
	dump := program{"dump_syms", []string{w.dumpSyms, f.path}}
	switch f.kind {
	case "pdb":
		return []program{sentry,
			{"llvm-pdbutil dump -summary", []string{w.pdbutil, "dump", "-summary", f.path}},
			{"llvm-pdbutil dump -symbols -l", []string{w.pdbutil, "dump", "-summary", "-symbols", "-l", f.path}},
			{"llvm-pdbutil dump -all", []string{w.pdbutil, "dump", "-all", f.path}},
		}
	case "pe":
		return []program{sentry, {"llvm-readobj --file-headers", []string{w.readobj, "--file-headers", "--sections", f.path}}}
	case "elf":
		return []program{sentry, dump, verify}
	case "macho":
		return []program{sentry, verify}
	}
	return []program{sentry}
}

// programLimit ends a program; one that reaches it is not run again.
const programLimit = 15 * time.Second

// measure runs the programs in turn, rounds times, and returns medians.
func measure(t *testing.T, programs []program, rounds int) (cpu, wall []time.Duration) {
	cpus, walls := make([][]time.Duration, len(programs)), make([][]time.Duration, len(programs))
	for range rounds {
		for i, p := range programs {
			if len(walls[i]) > 0 && walls[i][0] > programLimit {
				continue
			}
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), programLimit)
			cmd := exec.CommandContext(ctx, "taskset", append([]string{"1"}, p.args...)...)
			cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
			err := cmd.Run() // a status says what the tool thinks of the file
			cancel()
			if cmd.ProcessState == nil {
				t.Fatalf("%s: %v", p.name, err)
			}
			walls[i] = append(walls[i], time.Since(start))
			cpus[i] = append(cpus[i], cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		}
	}
	for i := range programs {
		cpu, wall = append(cpu, max(median(cpus[i]), time.Microsecond)), append(wall, median(walls[i]))
	}
	return cpu, wall
}

func median(d []time.Duration) time.Duration {
	slices.SortFunc(d, cmp.Compare[time.Duration])
	return d[len(d)/2]
}
