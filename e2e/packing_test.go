package e2e

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkPush pushes about a GiB of real ELF files to one node, once packed by the
// agent and once packed by the node, and both again. SYMKEEP_BENCH_DIR names a folder of
// such files; copies of them get build ids, and so contents, of their own.
//
// What counts is the processor time of the node for each byte, without and with its
// validator: it must be half of that of packing at most.
func BenchmarkPush(b *testing.B) {
	from := os.Getenv("SYMKEEP_BENCH_DIR")
	if from == "" {
		b.Skip("SYMKEEP_BENCH_DIR names no folder of ELF files with build ids")
	}
	want := int64(1 << 30)
	for b.Loop() {
		dir := filepath.Join(diskDir(b), "build")
		size := multiply(b, from, dir, want)
		raw := pushCost(b, dir, "--raw")
		packed := pushCost(b, dir)
		for _, m := range []struct {
			name string
			cost
		}{{"raw", raw}, {"packed", packed}} {
			mb := float64(size) / 1e6
			b.ReportMetric(mb/m.took.Seconds(), m.name+"-MB/s")
			b.ReportMetric(float64(m.sent)/float64(size), m.name+"-sent/raw")
			b.ReportMetric(1e3*m.node.Seconds()/mb, m.name+"-node-ms/MB")
			b.ReportMetric(1e3*m.validator.Seconds()/mb, m.name+"-validator-ms/MB")
			b.ReportMetric(1e3*m.agent.Seconds()/mb, m.name+"-agent-ms/MB")
			b.ReportMetric(m.again.Seconds()/m.took.Seconds(), m.name+"-second/first")
			b.ReportMetric(float64(m.sentAgain)/1e6, m.name+"-second-sent-MB")
		}
		b.ReportMetric(packed.node.Seconds()/raw.node.Seconds(), "node-packed/raw")
	}
}

// A cost is what a push took.
type cost struct {
	took, again            time.Duration // of the push and of the same once more, to the verdict
	sent, sentAgain        int64         // bytes from the agent to the node
	agent, node, validator time.Duration // of processor, in the first
}

// pushCost pushes a folder to a fresh node, twice.
func pushCost(b *testing.B, dir string, flags ...string) cost {
	b.Helper()
	c := newCluster(b, 1, nil)
	defer c.nodes[0].kill()
	g := newGate(b, c.nodes[0].http)
	var m cost
	node, validator := cpuOf(b, c.nodes[0].cmd.Process.Pid)
	m.took, m.agent, m.sent = timedPush(b, g, append(flags, dir))
	m.node, m.validator = cpuOf(b, c.nodes[0].cmd.Process.Pid)
	m.node, m.validator = m.node-node, m.validator-validator
	m.again, _, m.sentAgain = timedPush(b, g, append(flags, dir))
	return m
}

func timedPush(b *testing.B, g *gate, args []string) (took, cpu time.Duration, sent int64) {
	b.Helper()
	g.open(1 << 40)
	begun := time.Now()
	p := startPush(b, g.url(), "build", args...)
	r := p.wait(b, 9*time.Minute)
	took = time.Since(begun)
	if r.code != 0 {
		b.Fatalf("push: exit status %d, want 0\n%s", r.code, tail([]byte(r.stderr), 3000))
	}
	good(b, r)
	_, sent = g.shut()
	return took, p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), sent
}

// cpuOf returns the processor time of a process, and of the children that it has waited
// for, from proc_pid_stat(5).
func cpuOf(b *testing.B, pid int) (own, children time.Duration) {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Skip(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	ticks := func(i int) time.Duration { // of a hundredth of a second; the first field here is the third
		n, err := strconv.ParseInt(fields[i-3], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		return time.Duration(n) * 10 * time.Millisecond
	}
	return ticks(14) + ticks(15), ticks(16) + ticks(17)
}

// multiply copies the ELF files below from until there are size bytes, each copy with a
// build id of its own, and returns how many there are.
func multiply(b *testing.B, from, to string, size int64) (total int64) {
	b.Helper()
	var paths []string
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && buildIDOf(path) != nil {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) == 0 {
		b.Fatalf("%d ELF files with a build id below %s: %v", len(paths), from, err)
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := 0; total < size; i++ {
		path := paths[i%len(paths)]
		content, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		old := buildIDOf(path)
		id := make([]byte, len(old))
		for j := range id {
			id[j] = byte(rnd.Uint32())
		}
		content = bytes.Replace(content, old, id, 1)
		out := filepath.Join(to, strconv.Itoa(i), filepath.Base(path))
		if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(out, content, 0o644); err != nil {
			b.Fatal(err)
		}
		total += int64(len(content))
	}
	return total
}

// buildIDOf returns the build id of an ELF file, nil if it is none or has none.
func buildIDOf(path string) []byte {
	f, err := elf.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	s := f.Section(".note.gnu.build-id")
	if s == nil || s.Type == elf.SHT_NOBITS {
		return nil
	}
	note, err := s.Data()
	if err != nil || len(note) < 16+8 {
		return nil
	}
	return note[16:]
}
