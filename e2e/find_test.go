package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// A foundKey is what find prints with --json for one key, or in the end the summary.
type foundKey struct {
	Module, Role, Problem string
	api.FindResponse
	Summary *struct {
		Keys, Served, Modules, Complete int
	}
}

// find asks a node and returns the objects but the last, which is the summary.
func find(t *testing.T, n *node, code int, args ...string) []foundKey {
	t.Helper()
	r := symkeep(t, append([]string{"find", "--json", "--server", n.url()}, args...)...)
	if r.code != code {
		t.Fatalf("find %v on %s = exit %d, want %d\n%s%s", args, n.name, r.code, code, r.stdout, r.stderr)
	}
	var all []foundKey
	for line := range strings.Lines(r.stdout) {
		var k foundKey
		if err := json.Unmarshal([]byte(line), &k); err != nil {
			t.Fatalf("find %v: %q: %v", args, line, err)
		}
		all = append(all, k)
	}
	if len(all) == 0 || all[len(all)-1].Summary == nil {
		t.Fatalf("find %v: no summary in %q", args, r.stdout)
	}
	return all[:len(all)-1]
}

// explaining is a cluster and programs that it knows little or much of.
type explaining struct {
	*cluster
	dir string
	ids map[string]string // build ids, by path below dir
}

// compile builds a program and notes its build id.
func (e *explaining) compile(t *testing.T, path, salt string) {
	t.Helper()
	file := filepath.Join(e.dir, path)
	source := file + ".c"
	write(t, source, fmt.Sprintf("#include <unistd.h>\nconst char *salt = %q;\nint main(void) { pause(); return 0; }\n", salt))
	e.run(t, "gcc", "-g", "-O0", "-Wl,--build-id", "-o", file, source)
	out := e.run(t, "readelf", "-n", file)
	e.ids[path] = regexp.MustCompile(`Build ID: ([0-9a-f]+)`).FindStringSubmatch(out)[1]
}

func (e *explaining) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	r := command(t, time.Minute, name, args...)
	if r.code != 0 {
		t.Fatalf("%s %v: exit %d\n%s", name, args, r.code, r.stderr)
	}
	return r.stdout
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// push pushes files below dir and returns the package.
func (e *explaining) push(t *testing.T, code int, product string, paths ...string) string {
	t.Helper()
	for i := range paths {
		paths[i] = filepath.Join(e.dir, paths[i])
	}
	got, r := push(t, e.nodes[0].url(), product, paths...)
	if got != code {
		t.Fatalf("push of %v = exit %d, want %d: %+v", paths, got, code, r)
	}
	return string(r.Package)
}

// want asks every node for a key. What happened less than a second ago a node may not
// have heard of.
func (e *explaining) want(t *testing.T, q string, answer api.Answer, text, next string) {
	t.Helper()
	code := 1
	if answer == api.AnswerServed {
		code = 0
	}
	for _, n := range e.nodes {
		eventually(t, 5*time.Second, "find "+q+" on "+n.name, func() error {
			r := symkeep(t, "find", "--json", "--server", n.url(), q)
			var got foundKey
			line, _, _ := strings.Cut(r.stdout, "\n")
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				return fmt.Errorf("exit %d: %q: %w", r.code, r.stderr, err)
			}
			if r.code != code || got.Answer != answer || !strings.Contains(got.Text, text) || !strings.Contains(got.Next, next) {
				return fmt.Errorf("exit %d, %s\nwant %d, %s with %q and %q", r.code, line, code, answer, text, next)
			}
			return nil
		})
	}
}

const (
	badSym  = "MODULE windows x86_64 11111111111111111111111111111111%d bad.pdb\nFUNC 1000 zz 0 f\n"
	goodSym = "MODULE windows x86_64 22222222222222222222222222222222%d win.pdb\nPUBLIC 1000 0 f\n"
)

// TestFindExplains asks every node of a cluster for keys in each state that people can
// bring about, and for near misses.
func TestFindExplains(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"gcc", "objcopy", "strip", "readelf"} {
		need(t, tool)
	}
	e := &explaining{newCluster(t, 3, nil), filepath.Join(diskDir(t), "find"), map[string]string{}}
	e.compile(t, "app", "first")
	e.compile(t, "other/app", "second")
	debug := "buildid/" + e.ids["app"] + "/debuginfo"
	e.want(t, debug, api.AnswerNeverSeen, "the record goes back 14 days", "push the files of the build")

	e.run(t, "objcopy", "--only-keep-debug", filepath.Join(e.dir, "app"), filepath.Join(e.dir, "app.debug"))
	e.run(t, "strip", filepath.Join(e.dir, "app"))
	e.push(t, 0, "app", "app")
	e.want(t, debug, api.AnswerNeverSeen, "the other half of the same id", "only the executable was pushed")
	e.want(t, e.ids["app"], api.AnswerPartial, "only the executable is served", "push the unstripped file")
	whole := e.push(t, 0, "app", "app.debug")
	e.want(t, "http://127.0.0.1:8480/"+debug, api.AnswerServed, "package "+whole, "")

	for _, k := range find(t, e.nodes[1], 1, filepath.Join(e.dir, "other/app")) {
		if k.Answer != api.AnswerNeverSeen || len(k.Near) == 0 || k.Near[0].Relation != api.OtherID || !strings.Contains(k.Next, "another build") {
			t.Errorf("find other/app = %+v, want the known build of app near", k)
		}
	}

	write(t, filepath.Join(e.dir, "bad.sym"), fmt.Sprintf(badSym, 1))
	failed := e.push(t, 3, "bad", "bad.sym")
	e.want(t, "bad.pdb/111111111111111111111111111111111/bad.sym", api.AnswerFailed, "package "+failed+", bad 1.0, which failed: SYM-", "symkeep package show "+failed)

	write(t, filepath.Join(e.dir, "win.sym"), fmt.Sprintf(goodSym, 1))
	win := e.push(t, 0, "win", "win.sym")
	e.want(t, "win.pdb/222222222222222222222222222222222/win.sym", api.AnswerNeverSeen, "the same GUID with another age", "not of the same link")
	e.want(t, "22222222-2222-2222-2222-222222222222-1", api.AnswerServed, "package "+win, "")
	e.run(t, bin, "package", "delete", win, "--yes", "--reason", "wrong branch", "--server", e.nodes[2].url())
	e.want(t, "22222222-2222-2222-2222-222222222222-1", api.AnswerDeleted, ": wrong branch on ", "symkeep package undelete "+win)
	e.run(t, bin, "package", "undelete", win, "--server", e.nodes[2].url())
	e.want(t, "22222222-2222-2222-2222-222222222222-1", api.AnswerServed, "package "+win, "")

	late := e.open(t, "lib/late.pdb")
	e.want(t, "late.pdb/333333333333333333333333333333331/late.pdb", api.AnswerPending, "still being uploaded", "symkeep package show "+late)
	e.core(t)
}

// open begins a push and leaves it at that.
func (e *explaining) open(t *testing.T, path string) string {
	t.Helper()
	c, err := api.NewClient(e.nodes[0].url())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	opened, err := c.Open(t.Context(), api.OpenRequest{IdempotencyKey: path, Product: "late", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddFiles(t.Context(), opened.Package, api.AddFilesRequest{Files: []api.FileEntry{{Path: path, Size: 9, SHA256: catalog.Digest{9}}}}); err != nil {
		t.Fatal(err)
	}
	return string(opened.Package)
}

// core asks for what is in the core dump of a program whose symbols are there.
func (e *explaining) core(t *testing.T) {
	t.Helper()
	need(t, "gcore")
	app := exec.Command(filepath.Join(e.dir, "app"))
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { app.Process.Kill(); app.Wait() }()
	e.run(t, "gcore", "-o", filepath.Join(e.dir, "core"), fmt.Sprint(app.Process.Pid))
	core := filepath.Join(e.dir, fmt.Sprintf("core.%d", app.Process.Pid))
	answers := map[string]api.Answer{}
	for _, k := range find(t, e.nodes[0], 1, core) {
		answers[k.Module+" "+k.Role] = k.Answer
	}
	if answers["app image"] != api.AnswerServed || answers["app debug"] != api.AnswerServed || answers["libc.so.6 debug"] != api.AnswerNeverSeen {
		t.Errorf("find core = %v, want app served and libc never seen", answers)
	}
	r := symkeep(t, "find", core, "--missing", "--server", urls(e.nodes...))
	if r.code != 1 || strings.Contains(r.stdout, "\napp ") || !strings.Contains(r.stdout, "\nlibc.so.6 ") || !strings.Contains(r.stdout, "\ncomplete: 1 of ") {
		t.Errorf("find core --missing = exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// TestFindMinidumps reads Breakpad's dumps of three systems as their own program does,
// and finds the symbols that were pushed.
func TestFindMinidumps(t *testing.T) {
	t.Parallel()
	bin, testdata := breakpad(t)
	c := newCluster(t, 1, nil)
	symbols := filepath.Join(testdata, "symbols")
	if code, r := push(t, c.nodes[0].url(), "dumps", filepath.Join(symbols, "test_app.pdb"), filepath.Join(symbols, "overflow")); code != 0 {
		t.Fatalf("push = exit %d, want 0: %+v", code, r)
	}
	dumps, err := filepath.Glob(filepath.Join(testdata, "*.dmp"))
	if err != nil || len(dumps) < 10 {
		t.Fatalf("%d dumps in %s, %v", len(dumps), testdata, err)
	}
	served := map[string]bool{}
	for _, dump := range dumps {
		if strings.HasPrefix(filepath.Base(dump), "microdump") { // text of another kind
			continue
		}
		listed := command(t, time.Minute, filepath.Join(bin, "minidump_dump"), dump).stdout
		asked := map[string]bool{}
		for _, k := range find(t, c.nodes[0], 1, dump) {
			if k.Role != "sym" {
				continue
			}
			asked[strings.ToUpper(strings.Split(k.Query, "/")[1])] = true
			served[k.Module] = served[k.Module] || k.Answer == api.AnswerServed
		}
		ids := regexp.MustCompile(`\(debug_identifier\) += "([0-9A-F]+)"`).FindAllStringSubmatch(listed, -1)
		for _, id := range ids {
			if zero := strings.Trim(id[1], "0") == ""; !zero && !asked[id[1]] && !strings.Contains(listed, "linux-vdso") && !strings.Contains(listed, "linux-gate") {
				t.Errorf("%s: minidump_dump lists debug id %s, find asks for %v", filepath.Base(dump), id[1], asked)
			}
		}
		if len(ids) == 0 && len(asked) > 0 {
			t.Errorf("%s: minidump_dump lists no module, find %d", filepath.Base(dump), len(asked))
		}
	}
	if !served["test_app.exe"] || !served["overflow"] {
		t.Errorf("served = %v, want test_app.exe and overflow", served)
	}
}
