package agent_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"symkeep/agent"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file below testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// clock moves only when told to.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// story is what a push tells, with the time before each event.
var story = []struct {
	after time.Duration
	e     agent.Event
}{
	{0, agent.Event{Event: agent.EventSkipped, Path: "d/link", Message: "a link to nothing"}},
	{0, agent.Event{Event: agent.EventScanning, Path: "app.exe", FileDone: 50, FileSize: 100, Done: 50, Total: 300}},
	{40 * time.Second, agent.Event{Event: agent.EventScanning, Path: "app.pdb", FileDone: 100, FileSize: 200, Done: 200, Total: 300}},
	{0, agent.Event{Event: agent.EventScanned, Files: 2, Ignored: 1, Bytes: 300}},
	{0, agent.Event{Event: agent.EventPaired, Path: "app.exe", Other: "app.pdb"}},
	{0, agent.Event{Event: agent.EventHalfMissing, Path: "lib.dll", Other: "lib.pdb", Message: "its PDB is not among the files"}},
	{0, agent.Event{Event: agent.EventSources, Files: 3, Bytes: 2048, Ignored: 1, Message: `1 not found, such as "/w/a.c"`}},
	{0, agent.Event{Event: agent.EventSources, Files: 1, Bytes: 10}},
	{0, agent.Event{Event: agent.EventOpened, Package: "01J", Server: "http://a:8480"}},
	{0, agent.Event{Event: agent.EventLacking, Blobs: 2, Files: 5, Bytes: 3 << 30}},
	{50 * time.Second, agent.Event{Event: agent.EventPacking, Path: "app.pdb", FileDone: 1 << 28, FileSize: 2 << 30, Total: 3 << 30}},
	{0, agent.Event{Event: agent.EventSentRaw, Path: "app.pdb", Message: "no space left on device"}},
	{0, agent.Event{Event: agent.EventUploading, Path: "app.pdb", FileDone: 1 << 29, FileSize: 2 << 30, Done: 1 << 29, Total: 3 << 30}},
	{10 * time.Millisecond, agent.Event{Event: agent.EventUploading, Path: "app.pdb", FileDone: 1 << 29, FileSize: 2 << 30, Done: 1 << 29, Total: 3 << 30}},
	{2 * time.Second, agent.Event{Event: agent.EventUploading, Path: "evil\x1b]0;x\x07.exe", FileDone: 1 << 30, FileSize: 1 << 30, Done: 3 << 29, Total: 3 << 30}},
	{0, agent.Event{Event: agent.EventRetry, Server: "http://a:8480", Message: "no leader (node n1)"}},
	{0, agent.Event{Event: agent.EventRetry, Server: "http://a:8480", Message: "no leader (node n1)"}},
	{0, agent.Event{Event: agent.EventUploaded, Path: "app.pdb", FileSize: 2 << 30}},
	{31 * time.Second, agent.Event{Event: agent.EventUploading, Path: "app.exe", FileDone: 1 << 30, FileSize: 1 << 30, Done: 3 << 30, Total: 3 << 30}},
	{0, agent.Event{Event: agent.EventCommitted, Package: "01J", Files: 2}},
	{0, agent.Event{Event: agent.EventValidating, Checked: 1, Files: 2}},
	{0, agent.Event{Event: agent.EventVerdict, Verdict: catalog.Good, Nodes: []string{"n3"}}},
}

func TestLines(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	var out bytes.Buffer
	l := agent.NewLines(&out, c.now)
	for _, s := range story {
		c.t = c.t.Add(s.after)
		l.Report(s.e)
	}
	golden(t, "lines.txt", out.String())
}

func TestLinesBoundPairs(t *testing.T) {
	var out bytes.Buffer
	l := agent.NewLines(&out, time.Now)
	for range 1000 {
		l.Report(agent.Event{Event: agent.EventPaired, Path: "a", Other: "b"})
	}
	if n := strings.Count(out.String(), "\n"); n != 21 {
		t.Errorf("1000 pairs made %d lines, want 20 and one that says so", n)
	}
}

// TestLinesTellReasonsOnce has two servers refuse in turn, as often as they like.
func TestLinesTellReasonsOnce(t *testing.T) {
	var out bytes.Buffer
	l := agent.NewLines(&out, time.Now)
	for range 100 {
		for _, server := range []string{"http://a", "http://b"} {
			l.Report(agent.Event{Event: agent.EventRetry, Server: server, Message: server + ": refused"})
		}
	}
	l.Report(agent.Event{Event: agent.EventRetry, Server: "http://a", Message: "http://a: no leader"})
	const want = "trying again: http://a: refused\ntrying again: http://b: refused\ntrying again: http://a: no leader\n"
	if out.String() != want {
		t.Errorf("lines = %q, want %q", out.String(), want)
	}
}

func TestJSONLines(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	var out bytes.Buffer
	j := agent.NewJSONLines(&out, c.now)
	for _, s := range story {
		c.t = c.t.Add(s.after)
		j.Report(s.e)
	}
	progress := 0
	for line := range strings.Lines(out.String()) {
		var e agent.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Event == "" {
			t.Errorf("line %q is not an event: %v", line, err)
		}
		if e.Event == agent.EventUploading {
			progress++
		}
	}
	if progress != 2 { // two came too soon after another one
		t.Errorf("%d lines of progress, want 2", progress)
	}
	golden(t, "events.json", out.String())
}

// TestBars plays the story on a terminal that is written out as escapes.
func TestBars(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	var out bytes.Buffer
	b := agent.NewBars(&out, func() int { return 72 }, c.now)
	for _, s := range story {
		c.t = c.t.Add(s.after)
		b.Report(s.e)
	}
	b.Close()
	b.Close()
	b.Report(agent.Event{Event: agent.EventCommitted})
	text := out.String()
	if strings.Contains(text, "\x1b]") || strings.Contains(text, "\x07") {
		t.Error("a file name steered the terminal")
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if i := strings.LastIndex(line, "\x1b[J"); i >= 0 {
			line = line[i+3:]
		}
		if len([]rune(line)) > 71 && strings.Contains(line, "[#") {
			t.Errorf("a bar is %d columns wide, want fewer than 72: %q", len([]rune(line)), line)
		}
	}
	golden(t, "bars.txt", strings.ReplaceAll(strings.ReplaceAll(text, "\x1b", "ESC"), "\r", "CR"))
}

func TestBarsAreRare(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	var out bytes.Buffer
	b := agent.NewBars(&out, func() int { return 80 }, c.now)
	for i := range 10_000 { // one second
		c.t = c.t.Add(100 * time.Microsecond)
		b.Report(agent.Event{Event: agent.EventUploading, Path: "a", FileDone: int64(i), FileSize: 1e4, Done: int64(i), Total: 1e4})
	}
	if n := strings.Count(out.String(), "uploading"); n < 8 || n > 11 {
		t.Errorf("one second of progress was drawn %d times, want about 10", n)
	}
}

func TestWriteReport(t *testing.T) {
	r := api.Result{
		Package: "01J", Verdict: catalog.Failed, State: catalog.StateFailed,
		Judged:   &catalog.Policy{Allow: []string{"PDB-FASTLINK"}, Deny: []string{"PE-TS0"}},
		Findings: []catalog.Finding{{Code: "GEN-CONFLICT", Severity: catalog.Error, Message: "one key, two contents. Relink."}},
		Files: []api.ResultFile{
			{Path: "ok.dll", Kind: catalog.KindPE, Arch: "x64", Size: 12345, Quality: []catalog.Quality{catalog.QualityPublic, catalog.QualityUnwind}, Keys: []string{"ok.dll/5F000000a000/ok.dll"}, Status: api.FileDeduplicated},
			{Path: "note.so", Kind: catalog.KindELF, Status: api.FileUploaded, Findings: []catalog.Finding{{Code: "ELF-GO", Severity: catalog.Info, Message: "note.so: no DWARF."}}},
			{Path: "warn.exe", Kind: catalog.KindPE, Status: api.FileUploaded, Findings: []catalog.Finding{{Code: "PE-TS0", Severity: catalog.Warning, Message: "warn.exe: timestamp 0."}}},
			{Path: "denied.exe", Kind: catalog.KindPE, Status: api.FileUploaded, Quality: []catalog.Quality{catalog.QualityPublic}, Findings: []catalog.Finding{
				{Code: "PE-TS0", Severity: catalog.Error, Message: "denied.exe: timestamp 0.", Policy: catalog.Denied}}},
			{Path: "bad.pdb", Kind: catalog.KindPDB, Status: api.FileUploaded, Findings: []catalog.Finding{
				{Code: "PDB-TRUNC", Severity: catalog.Error, Message: "bad.pdb: ends\x1b[31m at 10, wanted 4096.\nUpload again."}}},
			{Path: "README.txt", Status: api.FileIgnored, Findings: []catalog.Finding{{Code: "GEN-UNKNOWN", Severity: catalog.Info, Message: "README.txt: text."}}},
		},
	}
	var out bytes.Buffer
	if err := agent.WriteReport(&out, r); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.txt", out.String())
}

func TestWriteReportEnds(t *testing.T) {
	for _, tt := range []struct {
		r    api.Result
		want string
	}{
		{api.Result{Verdict: catalog.Good}, "verdict: good: 0 errors, 0 warnings in 0 files"},
		{api.Result{Package: "01J", State: catalog.StateStuck}, "no verdict: the package is stuck"},
		{api.Result{Package: "01J", State: catalog.StateCommitted}, "no verdict yet: committed, package 01J"},
	} {
		var out bytes.Buffer
		agent.WriteReport(&out, tt.r)
		if !strings.Contains(out.String(), tt.want) {
			t.Errorf("report of %+v ends with %q, want %q", tt.r, out.String(), tt.want)
		}
	}
}

func TestSize(t *testing.T) {
	for _, tt := range []struct {
		n    int64
		want string
	}{
		{0, "0 B"}, {1023, "1023 B"}, {1024, "1.0 KiB"}, {1536, "1.5 KiB"}, {10 << 20, "10 MiB"}, {1023 << 20, "1.0 GiB"}, {6 << 30, "6.0 GiB"}, {1 << 62, "4096 PiB"},
	} {
		if got := agent.Size(tt.n); got != tt.want {
			t.Errorf("Size(%d) = %q, want %q", tt.n, got, tt.want)
		}
	}
}
