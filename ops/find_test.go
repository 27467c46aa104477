package ops_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"symkeep/agent/agenttest"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/symfile/minidump"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/symid"
	"symkeep/ops"
)

var (
	findGUID = symid.GUID{0x32, 0x49, 0xd9, 0x9d, 15: 0x36}
	findCode = symid.CodeID{Timestamp: 0x5ab38077, ImageSize: 0x9000}
	findELF  = symid.BuildID("0123456789abcdefghij")
)

func rsds(age uint32, path string) []byte {
	return symfiletest.RSDS(symid.DebugID{GUID: findGUID, Age: age}, path)
}

// TestModuleKeys makes the keys of each system's clients.
func TestModuleKeys(t *testing.T) {
	guid := findGUID.String()
	for _, tt := range []struct {
		name     string
		platform uint32
		module   symfiletest.MinidumpModule
		want     string // role and query of each key
		problem  string
	}{
		{"windows", symfiletest.PlatformWindows, symfiletest.MinidumpModule{Name: `C:\app\app.exe`, Code: findCode, Record: rsds(2, `D:\b\app.pdb`)},
			"image app.exe/5AB380779000/app.exe debug app.pdb/" + guid + "2/app.pdb sym app.pdb/" + guid + "2/app.sym", ""},
		{"managed", symfiletest.PlatformWindows, symfiletest.MinidumpModule{Name: `C:\app\net.dll`, Code: findCode, Record: rsds(1, "net.pdb")},
			"image net.dll/5AB380779000/net.dll debug net.pdb/" + guid + "1/net.pdb debug net.pdb/" + guid + "ffffffff/net.pdb sym net.pdb/" + guid + "1/net.sym", ""},
		{"no system", 0, symfiletest.MinidumpModule{Name: "app.exe", Code: findCode},
			"image app.exe/5AB380779000/app.exe", ""},
		{"old", symfiletest.PlatformWindows, symfiletest.MinidumpModule{Name: "old.dll", Code: findCode, Record: append([]byte("NB10\x00\x00\x00\x00\x78\x56\x34\x12\x0a\x00\x00\x00"), "old.pdb\x00"...)},
			"image old.dll/5AB380779000/old.dll debug old.pdb/12345678a/old.pdb", ""},
		{"crashpad", symfiletest.PlatformLinux, symfiletest.MinidumpModule{Name: "/usr/lib/lib a%b.so", Record: symfiletest.BuildIDRecord(findELF)},
			"image buildid/" + findELF.String() + "/executable debug buildid/" + findELF.String() + "/debuginfo sym lib a%25b.so/333231303534373638396162636465660/lib a%25b.so.sym", ""},
		{"breakpad", symfiletest.PlatformLinux, symfiletest.MinidumpModule{Name: "/bin/app", Record: rsds(0, "app")}, "sym app/" + guid + "0/app.sym", ""},
		{"macos", symfiletest.PlatformMacOS, symfiletest.MinidumpModule{Name: "/bin/crash", Record: rsds(0, "crash")},
			"image crash/mach-uuid-" + strings.ToLower(guid) + "/crash debug _.dwarf/mach-uuid-sym-" + strings.ToLower(guid) + "/_.dwarf sym crash/" + guid + "0/crash.sym", ""},
		{"zero build id", symfiletest.PlatformLinux, symfiletest.MinidumpModule{Name: "x", Record: symfiletest.BuildIDRecord("\x00\x00\x00\x00")}, "", "no id"},
		{"no record", symfiletest.PlatformLinux, symfiletest.MinidumpModule{Name: "x"}, "", "no id"},
	} {
		b := symfiletest.Minidump{Platform: tt.platform, Modules: []symfiletest.MinidumpModule{tt.module}}.Bytes()
		d, err := minidump.Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		keys, problems := ops.ModuleKeys(d)
		if got := strings.Join(keys, " "); got != tt.want || !strings.Contains(strings.Join(problems, " "), tt.problem) || (tt.problem == "") != (len(problems) == 0) {
			t.Errorf("%s: keys = %s, %q, want %s, %q", tt.name, got, problems, tt.want, tt.problem)
		}
		for _, k := range keys {
			_, q, _ := strings.Cut(k, " ")
			if _, err := symid.ParseQuery(q); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	}
}

// answering is a server that answers find by a table and counts requests.
func answering(t *testing.T, answers map[string]api.FindResponse) (url string, requests *[]int) {
	t.Helper()
	c := agenttest.New(t, 1)
	requests = new([]int)
	c.Intercept = func(_ *agenttest.Node, w http.ResponseWriter, r *http.Request) bool {
		var req api.FindRequest
		if r.Method != "POST" || json.NewDecoder(r.Body).Decode(&req) != nil {
			return false
		}
		*requests = append(*requests, len(req.Queries))
		out := api.FindAnswers{}
		for _, q := range req.Queries {
			a, ok := answers[q.Q]
			if !ok {
				a = api.FindResponse{Answer: api.AnswerNeverSeen, Text: "never seen", Next: "push"}
			}
			a.Query = q.Q
			out.Answers = append(out.Answers, a)
		}
		_ = json.NewEncoder(w).Encode(out) // a client that is gone is the test's own
		return true
	}
	return c.Nodes[0].URL, requests
}

func runFind(t *testing.T, args ...string) (code int, stdout string) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot(ops.Env{Stdout: &out, Stderr: &out})
	root.SetArgs(append([]string{"find"}, args...))
	err := root.ExecuteContext(t.Context())
	return ops.ExitCode(err), out.String()
}

// TestFindDump prints a table of the modules of a dump, with reasons for what is on
// record but not served.
func TestFindDump(t *testing.T) {
	guid := findGUID.String()
	d := symfiletest.Minidump{Platform: symfiletest.PlatformWindows, Modules: []symfiletest.MinidumpModule{
		{Name: "whole.exe", Code: findCode, Record: rsds(2, "whole.pdb")},
		{Name: "text.exe", Code: findCode, Record: rsds(3, "text.pdb")},
		{Name: "half.dll", Code: findCode, Record: rsds(4, "half.pdb")},
		{Name: "kernel32.dll", Code: findCode, Record: rsds(5, "kernel32.pdb")},
		{Name: "whole.exe", Code: findCode, Record: rsds(2, "whole.pdb")}, // loaded twice
		{Name: "packed.dll"},
	}}
	file := filepath.Join(t.TempDir(), "crash.dmp")
	if err := os.WriteFile(file, d.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	yes := api.FindResponse{Answer: api.AnswerServed, Text: "served"}
	table := map[string]api.FindResponse{
		"whole.exe/5AB380779000/whole.exe":        yes,
		"whole.pdb/" + guid + "2/whole.pdb":       yes,
		"text.pdb/" + guid + "3/text.sym":         yes,
		"half.dll/5AB380779000/half.dll":          yes,
		"half.pdb/" + guid + "4/half.pdb":         {Answer: api.AnswerFailed, Text: "it failed: PDB-TRUNC", Next: "push it again"},
		"half.pdb/" + guid + "4/half.sym":         {Answer: api.AnswerNeverSeen, Text: "never", Next: "make it", Near: []api.NearMiss{{Relation: api.OtherForm}}},
		"kernel32.dll/5AB380779000/kernel32.dll":  {Answer: api.AnswerNeverSeen, Text: "never", Next: "ask its vendor"},
		"kernel32.pdb/" + guid + "5/kernel32.pdb": {Answer: api.AnswerNeverSeen, Text: "never", Next: "ask its vendor"},
	}
	url, requests := answering(t, table)
	code, got := runFind(t, file, "--server", url)
	const rows = `MODULE        IMAGE       DEBUG       SYM
whole.exe     served      served      never-seen
text.exe      never-seen  never-seen  served
half.dll      served      failed      other-form
kernel32.dll  never-seen  never-seen  never-seen
packed.dll    -           -           -
`
	reasons := "half.pdb/" + guid + "4/half.pdb\n  it failed: PDB-TRUNC\n  next: push it again\n" +
		"half.pdb/" + guid + "4/half.sym\n  never\n  next: make it\n" +
		"packed.dll: no key: the dump holds no id of it\n"
	const sum = "complete: 2 of 5 modules; of 12 keys 7 never-seen, 1 failed\n"
	if code != ops.ExitFailure || got != rows+reasons+sum || !slices.Equal(*requests, []int{12}) {
		t.Errorf("find of a dump = %d, %d requests\n%swant 1, one request\n%s", code, len(*requests), got, rows+reasons+sum)
	}
	code, got = runFind(t, file, "--server", url, "--missing")
	if code != ops.ExitFailure || strings.Contains(got, "whole.exe") || strings.Contains(got, "text.exe") ||
		!strings.Contains(got, "half.dll      served      failed      other-form\n") || !strings.HasSuffix(got, sum) {
		t.Errorf("find --missing = %d\n%s", code, got)
	}
	checkDumpJSON(t, file, url)
}

// checkDumpJSON reads the objects of a dump's keys and the summary behind them.
func checkDumpJSON(t *testing.T, file, url string) {
	t.Helper()
	code, got := runFind(t, file, "--server", url, "--missing", "--json")
	lines := strings.Split(strings.TrimSpace(got), "\n")
	var half struct {
		Module, Role, Query string
		Answer              api.Answer
	}
	if err := json.Unmarshal([]byte(lines[0]), &half); err != nil || half.Module != "half.dll" || half.Role != "debug" || half.Answer != api.AnswerFailed {
		t.Errorf("first object = %s, %v", lines[0], err)
	}
	const sum = `{"summary":{"keys":12,"served":4,"answers":{"failed":1,"never-seen":7,"served":4},"modules":5,"complete":2}}`
	if code != ops.ExitFailure || len(lines) != 7 || lines[5] != `{"module":"packed.dll","problem":"the dump holds no id of it"}` || lines[6] != sum {
		t.Errorf("find --json = %d\n%s\nwant %s last", code, got, sum)
	}
}

// TestFindLargeDump asks for hundreds of modules in a few requests, and succeeds when
// all are served.
func TestFindLargeDump(t *testing.T) {
	d := symfiletest.Minidump{Platform: symfiletest.PlatformLinux}
	table := map[string]api.FindResponse{}
	for i := range 150 {
		id := symid.BuildID([]byte{byte(i), 1, 2, 3, 4, 5, 6, 7})
		d.Modules = append(d.Modules, symfiletest.MinidumpModule{Name: "/lib/lib.so", Record: symfiletest.BuildIDRecord(id)})
		for _, what := range []string{"/executable", "/debuginfo"} {
			table["buildid/"+id.String()+what] = api.FindResponse{Answer: api.AnswerServed, Found: []api.FoundFile{{Served: true, Candidate: catalog.Candidate{State: catalog.StateGood}}}}
		}
	}
	d.Modules = append(d.Modules, symfiletest.MinidumpModule{Name: "linux-vdso.so.1", Record: symfiletest.BuildIDRecord("vdsovdso")})
	file := filepath.Join(t.TempDir(), "large.dmp")
	if err := os.WriteFile(file, d.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	url, requests := answering(t, table)
	code, got := runFind(t, file, "--server", url, "--missing")
	if code != ops.ExitOK || got != "complete: 150 of 150 modules; of 450 keys 150 never-seen\n" || !slices.Equal(*requests, []int{200, 200, 50}) {
		t.Errorf("find of 150 modules = %d in requests of %v\n%s", code, *requests, got)
	}
}

// TestFindOlderServer asks key by key where a server answers no more at a time, and
// reads answers without words.
func TestFindOlderServer(t *testing.T) {
	d := symfiletest.Minidump{Platform: symfiletest.PlatformWindows, Modules: []symfiletest.MinidumpModule{
		{Name: "app.exe", Code: findCode, Record: rsds(2, "app.pdb")}}}
	file := filepath.Join(t.TempDir(), "crash.dmp")
	if err := os.WriteFile(file, d.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	c := agenttest.New(t, 1)
	c.Intercept = func(_ *agenttest.Node, w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "POST" {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return true
		}
		q := r.URL.Query().Get("q")
		a := api.FindResponse{Query: q}
		if strings.HasSuffix(q, ".exe") {
			a.Found = []api.FoundFile{{Path: "app.exe", Served: true, Candidate: catalog.Candidate{State: catalog.StateGood}}}
		}
		_ = json.NewEncoder(w).Encode(a) // a client that is gone is the test's own
		return true
	}
	const want = "MODULE   IMAGE   DEBUG       SYM\napp.exe  served  not-served  not-served\ncomplete: 0 of 1 module\n"
	if code, got := runFind(t, file, "--server", c.Nodes[0].URL); code != ops.ExitFailure || got != want {
		t.Errorf("find at an older server = %d\n%swant\n%s", code, got, want)
	}
	if code, got := runFind(t, "app.pdb/"+findGUID.String()+"2/app.pdb", "--server", c.Nodes[0].URL); code != ops.ExitFailure || !strings.Contains(got, "nobody has it") {
		t.Errorf("find of a key at an older server = %d\n%s", code, got)
	}
}
