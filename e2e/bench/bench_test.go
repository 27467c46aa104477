package main

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMakeFile: what is pushed is an ELF file with the build id it is asked for by, of
// the size that was wanted.
func TestMakeFile(t *testing.T) {
	f, err := makeFile(filepath.Join(t.TempDir(), "a.debug"), 16<<10, code(3))
	if err != nil {
		t.Fatal(err)
	}
	e, err := elf.Open(f.path)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	note, err := e.Section(".note.gnu.build-id").Data()
	if err != nil || hex.EncodeToString(note[16:]) != f.buildID {
		t.Errorf("build id note = %x, %v, want one of %s", note, err, f.buildID)
	}
	b, err := os.ReadFile(f.path)
	if err != nil || len(b) != 16<<10 || f.size != 16<<10 {
		t.Errorf("file of %d bytes, makeFile says %d, want %d: %v", len(b), f.size, 16<<10, err)
	}
	pad, err := e.Section(".debug_pad").Data()
	if err != nil || !bytes.HasSuffix(b, pad) || len(pad) < 15<<10 {
		t.Errorf("filled section of %d bytes, %v, want the end of the file", len(pad), err)
	}
}

func TestQuantiles(t *testing.T) {
	s := []float64{5, 1, 4, 2, 3}
	if m := median(s); m != 3 {
		t.Errorf("median = %v, want 3", m)
	}
	if q := quantile(s, 0.99); q != 5 || !slices.IsSorted(s) {
		t.Errorf("quantile 0.99 = %v of %v, want 5", q, s)
	}
	if m := median(nil); m != 0 {
		t.Errorf("median of nothing = %v, want 0", m)
	}
}

// TestTable: a target is met or missed by its own direction, and counted.
func TestTable(t *testing.T) {
	tab := newTable()
	tab.add(line{work: "work", values: []value{{"symkeep", 1234, "requests/s"}}, checks: []check{
		{what: "x nginx", got: 0.9, bound: 1},
		{what: "ms", got: 0.9, bound: 1, atMost: true},
	}})
	text := tab.String()
	for _, want := range []string{"1234 requests/s", "0.90 x nginx (wanted >= 1.00) MISSED", "0.90 ms (wanted <= 1.00) met", "1 of 2 targets met"} {
		if !strings.Contains(text, want) {
			t.Errorf("table lacks %q:\n%s", want, text)
		}
	}
}

// TestJobLine: ratios are those of medians, and only for servers with a target.
func TestJobLine(t *testing.T) {
	servers := []*server{{name: "symkeep"}, {name: "nginx"}, {name: "debuginfod"}}
	j := job{work: "w", targets: map[string]float64{"nginx": 1}}
	l := j.line(servers, map[string][]float64{"symkeep": {9, 30, 20}, "nginx": {10, 10, 100}})
	if len(l.values) != 2 || len(l.checks) != 1 || l.checks[0].got != 2 {
		t.Errorf("line = %+v, want two values and 2 x nginx", l)
	}
}
