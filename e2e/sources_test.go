package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

const (
	oddName   = "a b+c%41.c" // what libraries escape each in a way of their own
	oddSource = "#include \"inc/../inc/half.h\"\n\nint main(void)\n{\n\treturn half(86) - 43;\n}\n"
)

// oddHeader is long enough for gzip to make it shorter.
var oddHeader = "static inline int half(int x)\n{\n\treturn x / 2;\n}\n" + strings.Repeat("// as before\n", 100)

// A compiledProgram is one whose sources went away after they were pushed.
type compiledProgram struct {
	src, dir string // where it was compiled; where the program is
	id       string // build id
}

// compileOdd compiles a program of two files with odd names in a folder, and returns it
// with that folder still there.
func compileOdd(t *testing.T) compiledProgram {
	t.Helper()
	p := compiledProgram{filepath.Join(diskDir(t), "w", "my src"), filepath.Join(diskDir(t), "bin"), ""}
	for path, text := range map[string]string{filepath.Join(p.src, oddName): oddSource, filepath.Join(p.src, "inc", "half.h"): oddHeader} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if r := command(t, time.Minute, "env", "-C", p.src, need(t, "gcc"), "-g", "-Wl,--build-id", "-o", filepath.Join(p.dir, "odd"), oddName); r.code != 0 {
		t.Fatalf("gcc: exit %d: %s", r.code, r.stderr)
	}
	return p
}

// pushSources pushes the folder of the program with sources, and notes its build id.
func (p *compiledProgram) pushSources(t *testing.T, server string, flags ...string) api.Result {
	t.Helper()
	code, r := push(t, server, "odd", append(append([]string{"--sources"}, flags...), p.dir)...)
	if code != 0 || r.Verdict != catalog.Good {
		t.Fatalf("push --sources = exit %d, %+v, want good", code, r)
	}
	for _, f := range r.Files {
		if f.Path == "odd" {
			p.id = f.IDs[0].BuildID
		}
	}
	return r
}

// TestSources pushes a program with its sources to one node and removes them; debuggers
// show them from another one.
func TestSources(t *testing.T) {
	t.Parallel()
	need(t, "gcc")
	c := newCluster(t, 3, nil)
	p := compileOdd(t)
	r := p.pushSources(t, c.nodes[0].url())
	have := map[string]bool{}
	for _, f := range r.Files {
		have[f.Path] = f.Kind == catalog.KindSource && len(f.Findings) == 0
	}
	for _, path := range []string{filepath.Join(p.src, strings.ReplaceAll(oddName, "%", "%25")), filepath.Join(p.src, "inc/half.h")} {
		if !have[".source"+path] {
			t.Errorf("no source file %s in %+v", path, r.Files)
		}
	}
	if err := os.RemoveAll(p.src); err != nil {
		t.Fatal(err)
	}
	s := &sourceReading{p, c.nodes[2]}
	t.Run("forms", s.forms)
	t.Run("debuginfod-find", s.debuginfodFind)
	t.Run("llvm-debuginfod-find", s.llvmDebuginfodFind)
	t.Run("gdb", s.gdb)
	t.Run("find and show", func(t *testing.T) {
		path := "buildid/" + p.id + "/source" + filepath.Join(p.src, "inc/half.h")
		if r := symkeep(t, "find", "--server", s.node.url(), path); r.code != 0 || !strings.Contains(r.stdout, "served: .source/") {
			t.Errorf("find %s = exit %d\n%s%s", path, r.code, r.stdout, r.stderr)
		}
		if r := symkeep(t, "find", "--server", s.node.url(), path+"x"); r.code == 0 || !strings.Contains(r.stdout, "--sources") {
			t.Errorf("find %sx = exit %d\n%s%s", path, r.code, r.stdout, r.stderr)
		}
		if r := symkeep(t, "package", "show", "--server", s.node.url(), string(r.Package)); !strings.Contains(r.stdout, "sources  ") {
			t.Errorf("package show names no sources:\n%s", r.stdout)
		}
	})
}

// sourceReading is a machine with a program, no sources, and a node.
type sourceReading struct {
	compiledProgram
	node *node
}

// run starts a client with an empty cache.
func (s *sourceReading) run(t *testing.T, name string, args ...string) run {
	t.Helper()
	return command(t, time.Minute, "env", append([]string{"-C", s.dir, "HOME=" + t.TempDir(), "DEBUGINFOD_CACHE_PATH=" + t.TempDir(),
		"DEBUGINFOD_URLS=" + s.node.url(), "DEBUGINFOD_TIMEOUT=20", name}, args...)...)
}

// forms asks for the paths that clients are known to send.
func (s *sourceReading) forms(t *testing.T) {
	base := s.node.url() + "/buildid/" + s.id + "/source"
	folder := strings.ReplaceAll(s.src, " ", "%20")
	up := filepath.Base(s.src)
	for _, path := range []string{
		"/" + folder + "/a%20b%2Bc%2541.c", folder + "/a%20b+c%2541.c", folder + "/inc/../a%20b+c%2541.c", folder + "/./a%20b+c%2541.c",
		"//" + folder + "/../" + strings.ReplaceAll(up, " ", "%20") + "/a%20b+c%2541.c", strings.ReplaceAll(folder, "/", "%2F") + "%2Fa%20b+c%2541.c",
	} {
		got := curl(t, base+path)
		got.want(t, path, http.StatusOK, []byte(oddSource))
		if size := got.header.Get("X-DEBUGINFOD-SIZE"); size != strconv.Itoa(len(oddSource)) {
			t.Errorf("%s: X-DEBUGINFOD-SIZE %q, want %d", path, size, len(oddSource))
		}
	}
	if got := curl(t, base+folder+"/inc/half.h", "--compressed"); string(got.body) != oddHeader || got.header.Get("Content-Encoding") != "gzip" {
		t.Errorf("gzip of half.h = %d, %q, %v", got.status, got.body, got.header)
	}
	for _, path := range []string{folder + "/inc/HALF.h", folder + "/inc", "/etc/passwd", "/", "", folder + "/../../../../../../../../etc/passwd"} {
		got := curl(t, base+path)
		got.want(t, path, http.StatusNotFound, nil)
	}
	other := curl(t, s.node.url()+"/buildid/"+strings.Repeat("ab", 20)+"/source"+folder+"/inc/half.h")
	other.want(t, "another build id", http.StatusNotFound, nil)
}

func (s *sourceReading) debuginfodFind(t *testing.T) {
	tool := need(t, "debuginfod-find")
	for path, want := range map[string]string{filepath.Join(s.src, oddName): oddSource, s.src + "/inc/../inc/half.h": oddHeader} {
		r := s.run(t, tool, "source", s.id, path)
		if got, err := os.ReadFile(strings.TrimSpace(r.stdout)); r.code != 0 || err != nil || string(got) != want {
			t.Errorf("debuginfod-find source %s = exit %d, %q, %v: %s", path, r.code, got, err, r.stderr)
		}
	}
	if r := s.run(t, tool, "source", s.id, "/etc/passwd"); r.code == 0 || !strings.Contains(r.stderr, "No such file") {
		t.Errorf("debuginfod-find source /etc/passwd = exit %d, %q, want a miss", r.code, r.stderr)
	}
}

// llvmDebuginfodFind escapes nothing, so curl refuses what holds a space.
func (s *sourceReading) llvmDebuginfodFind(t *testing.T) {
	tool := need(t, "llvm-debuginfod-find-19", "llvm-debuginfod-find")
	plain := compilePlain(t)
	plain.pushSources(t, s.node.url())
	at := &sourceReading{plain, s.node}
	r := at.run(t, tool, "--source="+filepath.Join(plain.src, "p+1%.c"), "--dump", plain.id)
	if r.code != 0 || r.stdout != plainSource {
		t.Errorf("llvm-debuginfod-find --source = exit %d, %q: %s", r.code, r.stdout, r.stderr)
	}
}

const plainSource = "int main(void) { return 0; }\n"

// compilePlain compiles a program of one file whose name LLVM can ask for.
func compilePlain(t *testing.T) compiledProgram {
	t.Helper()
	dir := diskDir(t)
	p := compiledProgram{src: dir, dir: filepath.Join(dir, "bin")}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "p+1%.c"), []byte(plainSource), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := command(t, time.Minute, "env", "-C", dir, "gcc", "-g", "-Wl,--build-id", "-o", "bin/odd", "p+1%.c"); r.code != 0 {
		t.Fatalf("gcc: exit %d: %s", r.code, r.stderr)
	}
	return p
}

// gdb lists both files with no copy of its own.
func (s *sourceReading) gdb(t *testing.T) {
	tool := need(t, "gdb")
	script := func(enabled string) []string {
		return []string{"-nx", "-batch", "-iex", "set debuginfod enabled " + enabled, "-ex", "list main", "-ex", "list half", "-ex", "info source", "./odd"}
	}
	r := s.run(t, tool, script("on")...)
	for _, want := range []string{"return half(86) - 43;", "return x / 2;"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("gdb does not print %q:\n%s%s", want, r.stdout, r.stderr)
		}
	}
	if r := s.run(t, tool, script("off")...); strings.Contains(r.stdout, "return") {
		t.Errorf("gdb lists the source without the node, so this test proves nothing:\n%s", r.stdout)
	}
}

// A build with mapped paths finds its sources by --source-root, and one that changed
// since it was compiled does not go with the package where the compiler wrote sums.
func TestSourceRoots(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	clang := need(t, "clang-19", "clang")
	dir := diskDir(t)
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "m.c")
	for _, text := range []string{plainSource, "// edited since\n" + plainSource} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if text != plainSource {
			break
		}
		if r := command(t, time.Minute, "env", "-C", dir, clang, "-g", "-gdwarf-5", "-Wl,--build-id", "-ffile-prefix-map="+dir+"=/usr/src/m", "-o", "bin/odd", "m.c"); r.code != 0 {
			t.Fatalf("clang: exit %d: %s", r.code, r.stderr)
		}
	}
	p := compiledProgram{src: dir, dir: filepath.Join(dir, "bin")}
	p.pushSources(t, c.nodes[0].url(), "--source-root", "/usr/src/m="+dir)
	path := "/buildid/" + p.id + "/source/usr/src/m/m.c"
	if status, _ := get(t, c.nodes[0], path); status != http.StatusNotFound {
		t.Errorf("GET %s = %d, want 404: it is not what was compiled", path, status)
	}
	if err := os.WriteFile(file, []byte(plainSource), 0o644); err != nil {
		t.Fatal(err)
	}
	p.pushSources(t, c.nodes[0].url(), "--source-root", "/usr/src/m="+dir)
	if status, body := get(t, c.nodes[0], path); status != http.StatusOK || string(body) != plainSource {
		t.Errorf("GET %s = %d, %q, want the file", path, status, body)
	}
}
