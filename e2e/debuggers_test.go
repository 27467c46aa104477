package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestDebuggers pushes to one node; every debugger asks another one.
func TestDebuggers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "debuggers")
	c := newCluster(t, 3, nil)
	if code, r := push(t, c.nodes[0].url(), "debuggers", f.path("good")); code != 0 {
		t.Fatalf("push = exit %d, want 0: %+v", code, r)
	}
	d := &debugging{fixture: f, node: c.nodes[2]}
	t.Run("debuginfod-find", d.debuginfodFind)
	t.Run("gdb", d.gdb)
	t.Run("lldb", d.lldb)
	t.Run("elfutils", d.elfutils)
	t.Run("llvm-debuginfod-find", d.llvmDebuginfodFind)
	t.Run("llvm-symbolizer", d.llvmSymbolizer)
	t.Run("llvm-pdbutil", d.llvmPdbutil)
	t.Run("cabinet readers", d.cabinets)
	t.Run("minidump_stackwalk", func(t *testing.T) {
		bin, testdata := breakpad(t)
		symbols := filepath.Join(testdata, "symbols")
		if code, r := push(t, c.nodes[1].url(), "dumps", filepath.Join(symbols, "test_app.pdb"), filepath.Join(symbols, "kernel32.pdb"),
			filepath.Join(symbols, "null_read_av"), filepath.Join(symbols, "libc-2.13.so")); code != 0 {
			t.Fatalf("push = exit %d, want 0: %+v", code, r)
		}
		d.stackwalk(t, filepath.Join(bin, "minidump_stackwalk"), testdata)
	})
}

// debugging is a machine with stripped programs and a node for its symbols.
type debugging struct {
	fixture
	node *node
}

// run starts a debugger in a directory that holds the stripped program alone, with
// an empty cache and the node as its only source of debug information.
func (d *debugging) run(t *testing.T, name string, args ...string) run {
	t.Helper()
	dir := d.desk(t)
	return command(t, time.Minute, "env", append([]string{"-C", dir, "HOME=" + dir, "DEBUGINFOD_CACHE_PATH=" + t.TempDir(),
		"DEBUGINFOD_URLS=" + d.node.url(), "DEBUGINFOD_TIMEOUT=20", name}, args...)...)
}

// desk is a fresh directory with the stripped program and nothing beside it.
func (d *debugging) desk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app"), d.read(t, "good/linux/app"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (d *debugging) debuginfodFind(t *testing.T) {
	tool := need(t, "debuginfod-find")
	id := d.ids["BUILD_ID"]
	for _, tt := range []struct {
		args []string
		want []byte
	}{
		{[]string{"debuginfo", id}, d.read(t, "good/linux/app.debug")},
		{[]string{"executable", id}, d.read(t, "good/linux/app")},
		{[]string{"debuginfo", "app"}, d.read(t, "good/linux/app.debug")}, // it reads the id from the file
		{[]string{"section", id, ".debug_line"}, d.section(t, "app.debug", ".debug_line")},
		{[]string{"section", id, ".text"}, d.section(t, "app", ".text")}, // the debug file has none
	} {
		r := d.run(t, tool, tt.args...)
		if r.code != 0 {
			t.Errorf("debuginfod-find %v: exit %d: %s", tt.args, r.code, r.stderr)
			continue
		}
		if got, err := os.ReadFile(strings.TrimSpace(r.stdout)); err != nil || !bytes.Equal(got, tt.want) {
			t.Errorf("debuginfod-find %v = %d bytes, %v, want the %d that were pushed", tt.args, len(got), err, len(tt.want))
		}
	}
	unknown := strings.Repeat("ab", 20)
	if r := d.run(t, tool, "debuginfo", unknown); r.code == 0 || !strings.Contains(r.stderr, "No such file") {
		t.Errorf("debuginfod-find debuginfo %s = exit %d, %q, want a miss", unknown, r.code, r.stderr)
	}
}

// section returns what objcopy finds in a section.
func (d *debugging) section(t *testing.T, file, name string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "section")
	in := d.path("good/linux", file)
	if r := command(t, time.Minute, need(t, "objcopy"), "--dump-section", name+"="+out, in, filepath.Join(t.TempDir(), "copy")); r.code != 0 {
		t.Fatalf("objcopy %s: %s", in, r.stderr)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// gdb lists the source of a stripped program and stops it at its crash, with names,
// arguments and lines. Without the node it knows nothing.
func (d *debugging) gdb(t *testing.T) {
	tool := need(t, "gdb")
	script := func(enabled string) []string {
		return []string{"-nx", "-batch", "-iex", "set debuginfod enabled " + enabled, "-iex", "set debug-file-directory /nonexistent",
			"-ex", "directory " + d.path("good/linux/src"), "-ex", "list main", "-ex", "run crash", "-ex", "bt", "./app"}
	}
	r := d.run(t, tool, script("on")...)
	out := r.stdout + r.stderr
	for _, want := range []string{
		"Downloading separate debug info for",
		"int main(int argc, char **argv)",
		`printf("salt %s result=%d\n", salt, crash_here(`,
		"SIGSEGV",
		"#0  0x",
		"crash_here (p=0x0, depth=0) at app.c:10",
		"crash_here (p=0x0, depth=3) at app.c:9",
		"main (argc=2, argv=",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("gdb does not print %q", want)
		}
	}
	if t.Failed() {
		t.Logf("gdb printed:\n%s", out)
	}
	if r := d.run(t, tool, script("off")...); strings.Contains(r.stdout, "int main(") {
		t.Errorf("gdb lists the source without the node, so this test proves nothing:\n%s", r.stdout)
	}
}

func (d *debugging) lldb(t *testing.T) {
	r := d.run(t, need(t, "lldb-19", "lldb"), "--no-lldbinit", "-b",
		"-o", "settings set plugin.symbol-locator.debuginfod.server-urls "+d.node.url(),
		"-o", "target create app",
		"-o", "settings append target.source-map . "+d.path("good/linux/src"),
		"-o", "source list -n main",
		"-o", "image lookup -v -n crash_here")
	for _, want := range []string{"int main(int argc, char **argv)", `if (argc > 1 && !strcmp(argv[1], "sleep"))`, "app.c:7", `name = "depth"`} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("lldb does not print %q:\n%s%s", want, r.stdout, r.stderr)
		}
	}
}

// elfutils' programs ask debuginfod by themselves.
func (d *debugging) elfutils(t *testing.T) {
	tool := need(t, "eu-addr2line")
	r := d.run(t, tool, "-f", "-e", "app", d.ids["CRASH_ADDR"])
	if !strings.HasPrefix(r.stdout, "crash_here\n") || !strings.Contains(r.stdout, "app.c:7") {
		t.Errorf("eu-addr2line = %q, want crash_here at app.c:7: %s", r.stdout, r.stderr)
	}
}

func (d *debugging) llvmDebuginfodFind(t *testing.T) {
	tool := need(t, "llvm-debuginfod-find-19", "llvm-debuginfod-find")
	for flag, want := range map[string][]byte{
		"--debuginfo": d.read(t, "good/linux/app.debug"), "--executable": d.read(t, "good/linux/app"),
	} {
		r := d.run(t, tool, flag, "--dump", d.ids["BUILD_ID"])
		if r.code != 0 || r.stdout != string(want) {
			t.Errorf("llvm-debuginfod-find %s = exit %d, %d bytes, want the %d that were pushed: %s", flag, r.code, len(r.stdout), len(want), r.stderr)
		}
	}
}

func (d *debugging) llvmSymbolizer(t *testing.T) {
	r := d.run(t, need(t, "llvm-symbolizer-19", "llvm-symbolizer"), "--debuginfod", "--build-id="+d.ids["BUILD_ID"], d.ids["CRASH_ADDR"])
	if !strings.HasPrefix(r.stdout, "crash_here\n") || !strings.Contains(r.stdout, "app.c:7:1") {
		t.Errorf("llvm-symbolizer = %q, want crash_here at app.c:7:1: %s", r.stdout, r.stderr)
	}
}

// llvmPdbutil reads a PDB that came as it is, and one that came as gzip.
func (d *debugging) llvmPdbutil(t *testing.T) {
	tool := need(t, "llvm-pdbutil-19", "llvm-pdbutil")
	curl := need(t, "curl")
	for _, flag := range []string{"--no-compressed", "--compressed"} {
		file := filepath.Join(t.TempDir(), "app.pdb")
		r := command(t, time.Minute, curl, "-sSf", flag, "-o", file, "-w", "%{size_download}", d.node.url()+"/"+d.ids["PDB_KEY"])
		want := d.read(t, "good/windows/app.pdb")
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("curl %s = %d bytes, %v, want the %d that were pushed: %s", flag, len(got), err, len(want), r.stderr)
		}
		if small := r.stdout != fmt.Sprint(len(want)); small != (flag == "--compressed") {
			t.Errorf("curl %s transferred %s bytes of %d", flag, r.stdout, len(want))
		}
		r = command(t, time.Minute, tool, "dump", "-summary", "-l", file)
		guid := regexp.MustCompile(`GUID: \{([0-9A-F-]+)\}`).FindStringSubmatch(r.stdout)
		if len(guid) != 2 || strings.ReplaceAll(guid[1], "-", "") != d.ids["PDB_GUID"] || !strings.Contains(r.stdout, "app.c (MD5") {
			t.Errorf("llvm-pdbutil of the PDB that curl %s got: want GUID %s and lines of app.c:\n%s", flag, d.ids["PDB_GUID"], r.stdout)
		}
	}
}

// cabinets lets other people's programs unpack the packed names.
func (d *debugging) cabinets(t *testing.T) {
	for _, tt := range []struct{ key, file string }{{"PDB_KEY", "app.pdb"}, {"PE_KEY", "app.exe"}} {
		key := d.ids[tt.key]
		packed := filepath.Join(t.TempDir(), "packed")
		status, body := get(t, d.node, "/"+key[:len(key)-1]+"_")
		if status != http.StatusOK {
			t.Fatalf("GET %s_ = %d, want 200", key[:len(key)-1], status)
		}
		if err := os.WriteFile(packed, body, 0o644); err != nil {
			t.Fatal(err)
		}
		want := d.read(t, "good/windows", tt.file)
		for _, unpack := range []func(dir string) []string{
			func(dir string) []string { return []string{need(t, "cabextract"), "-q", "-d", dir, packed} },
			func(dir string) []string { return []string{need(t, "gcab"), "-x", "-n", "-C", dir, packed} },
			func(dir string) []string { return []string{need(t, "7z", "7za"), "x", "-y", "-o" + dir, packed} },
			func(dir string) []string { return []string{need(t, "bsdtar"), "-x", "-C", dir, "-f", packed} },
		} {
			dir := t.TempDir()
			args := unpack(dir)
			r := command(t, time.Minute, args[0], args[1:]...)
			if got, err := os.ReadFile(filepath.Join(dir, tt.file)); r.code != 0 || err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v = exit %d, %d bytes, %v, want the %d that were pushed: %s%s", args, r.code, len(got), err, len(want), r.stdout, r.stderr)
			}
		}
	}
}

// stackwalk symbolicates crash dumps of Windows and Linux. Breakpad's stackwalker
// reads a directory, so what it lacks is fetched as crash services do it: until a
// deeper stack asks for nothing new.
func (d *debugging) stackwalk(t *testing.T, tool, testdata string) {
	for _, tt := range []struct{ dump, frames string }{
		{"minidump2.dmp", "0|0|test_app.exe|`anonymous namespace'::CrashFunction|c:\\test_app.cc|58|0x3\n" +
			"0|1|test_app.exe|main|c:\\test_app.cc|65|0x5\n" +
			"0|2|test_app.exe|__tmainCRTStartup|f:\\sp\\vctools\\crt_bld\\self_x86\\crt\\src\\crt0.c|327|0x12\n" +
			"0|3|kernel32.dll|BaseProcessStart|||0x23\n"},
		{"linux_null_read_av.dmp", "0|0|null_read_av|crash()|/home/mattdr/crashing-programs/null_read_av.cc|18|0x0\n" +
			"0|1|null_read_av|main|/home/mattdr/crashing-programs/null_read_av.cc|27|0x5\n" +
			"0|2|libc-2.13.so|__libc_start_main|||0xfd\n"},
	} {
		dump, cache := filepath.Join(testdata, tt.dump), t.TempDir()
		fetched := d.fetchSymbols(t, tool, dump, cache)
		r := command(t, time.Minute, tool, "-m", dump, cache)
		if fetched == 0 || !strings.Contains(r.stdout, tt.frames) {
			t.Errorf("minidump_stackwalk %s with %d fetched files: want frames\n%s\nin\n%s", tt.dump, fetched, tt.frames, tail([]byte(r.stdout), 3000))
		}
	}
}

// noSymbols is how minidump_stackwalk asks.
var noSymbols = regexp.MustCompile(`WARNING: No symbols, (.*), ([0-9A-F]+)\)`)

// fetchSymbols fills the stackwalker's directory and returns the number of files.
func (d *debugging) fetchSymbols(t *testing.T, tool, dump, cache string) (files int) {
	asked := map[string]bool{}
	for again := true; again; {
		again = false
		r := command(t, time.Minute, tool, dump, cache)
		for _, m := range noSymbols.FindAllStringSubmatch(r.stdout, -1) {
			path := m[1] + "/" + m[2] + "/" + strings.TrimSuffix(m[1], ".pdb") + ".sym"
			if asked[path] {
				continue
			}
			asked[path] = true
			if d.download(t, path, filepath.Join(cache, path)) {
				files, again = files+1, true
			}
		}
	}
	return files
}

// download stores what the node answers; false is a miss.
func (d *debugging) download(t *testing.T, path, file string) bool {
	t.Helper()
	resp, err := http.Get(d.node.url() + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		t.Fatal(err)
	case resp.StatusCode == http.StatusNotFound && len(body) == 0:
		return false
	case resp.StatusCode != http.StatusOK:
		t.Fatalf("GET /%s = %d, want 200 or an empty 404", path, resp.StatusCode)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, body, 0o644); err != nil {
		t.Fatal(err)
	}
	return true
}
