//go:build corpus

package validate_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// keptExamples are written to disk per family and sort; all are in the index.
const keptExamples = 40

// A score counts what became of mutants and keeps examples. It is safe for
// concurrent use.
type score struct {
	t   *testing.T
	dir string

	mu             sync.Mutex
	counts         map[string]map[string]int // by row ("family mutation", "family", ""), then by column
	examples       map[string]int
	spent, slowest time.Duration
	checked        int
}

// newScore empties dir, where examples go.
func newScore(t *testing.T, dir string) *score {
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return &score{t: t, dir: dir, counts: map[string]map[string]int{}, examples: map[string]int{}}
}

// count adds a checked mutant, flagged or clean.
func (s *score) count(m mutant, took time.Duration, outcome string) {
	s.mu.Lock()
	s.checked++
	s.spent, s.slowest = s.spent+took, max(s.slowest, took)
	s.mu.Unlock()
	s.add(m, "mutants")
	s.add(m, outcome)
}

func (s *score) add(m mutant, column string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, row := range []string{m.of.family + " " + m.kind, m.of.family, "~"} {
		if s.counts[row] == nil {
			s.counts[row] = map[string]int{}
		}
		s.counts[row][column]++
	}
}

// example counts m in column, writes it down, and keeps its bytes if there are few.
func (s *score) example(m mutant, column, why string) {
	s.add(m, column)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.examples[m.of.family+column]++
	where := "-"
	if s.examples[m.of.family+column] <= keptExamples {
		where = m.save(s.t, s.dir)
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "index.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%s\t%s\t%d\t%s\t%s: %s\t%.300s\t%s\n", column, m.of.family, m.no, m.of.origin, m.kind, m.what, why, where)
}

func (s *score) times() string {
	return fmt.Sprintf("a check took %v on average, %v at most", (s.spent / time.Duration(max(s.checked, 1))).Round(time.Microsecond), s.slowest.Round(time.Millisecond))
}

// missRate is the share, in per cent, that only a tool noticed of the damage which
// symkeep or a tool calls an error.
func missRate(counts map[string]int) float64 {
	return 100 * float64(counts["missed"]) / float64(max(counts["missed"]+counts["flagged"], 1))
}

// table has a row per family and mutation.
func (s *score) table() string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	columns := []string{"mutants", "flagged", "clean", "missed", "warned", "deep read", "deep", "sampled", "alarm"}
	fmt.Fprintln(w, "family mutation\t"+strings.Join(columns, "\t")+"\tmiss rate\t")
	for _, row := range slices.Sorted(maps.Keys(s.counts)) {
		fmt.Fprintf(w, "%s\t", strings.TrimPrefix(row, "~"))
		c := s.counts[row]
		for _, column := range columns {
			fmt.Fprintf(w, "%d\t", c[column])
		}
		fmt.Fprintf(w, "%.1f %%\t\n", missRate(c))
	}
	w.Flush()
	return out.String()
}

// peakRSS is the high-water mark of this process's memory.
func peakRSS() string {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "unknown: " + err.Error()
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return "unknown"
}

// save keeps a mutant for a person to look at and returns where.
func (m mutant) save(t testing.TB, dir string) string {
	path := filepath.Join(dir, fmt.Sprintf("%s-%05d-%s-%s", m.of.family, m.no, m.kind, strings.ReplaceAll(filepath.Base(m.of.path), " ", "_")))
	if err := os.WriteFile(path, m.data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
