package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// debuginfodFind asks for everything there is. What is printed is a path in its cache.
func (d *debugging) debuginfodFind(t *testing.T) {
	tool := need(t, "debuginfod-find")
	app, id := d.programs["app"], d.ids["BUILD_ID"]
	debug, stripped := d.read(t, "good/linux/app.debug"), d.read(t, "good/linux/app")
	d.play(t, []session{
		{name: "debuginfo", args: []string{tool, "debuginfo", id}, file: debug, gets: []string{app.get("debuginfo")}},
		{name: "debuginfo of a file", program: "app", args: []string{tool, "debuginfo", "./app"}, file: debug, gets: []string{app.get("debuginfo")}},
		{name: "executable", args: []string{tool, "executable", id}, file: stripped, gets: []string{app.get("executable")}},
		{name: "section", args: []string{tool, "section", id, ".debug_line"}, file: d.section(t, "app.debug", ".debug_line"),
			gets: []string{app.get("section/.debug_line")}},
		{name: "section that the debug file lacks", args: []string{tool, "section", id, ".text"}, file: d.section(t, "app", ".text"),
			gets: []string{app.get("section/.text")}},
		{name: "source", args: []string{tool, "source", id, d.source("app.c")}, file: d.hidden(t, "app.c"), gets: []string{app.get("source" + d.source("app.c"))}},
		{name: "header", args: []string{tool, "source", id, d.source("util.h")}, file: d.hidden(t, "util.h")},
		{name: "from any node", args: []string{tool, "debuginfo", id}, file: debug},
	})
	t.Run("unknown", d.unknown)
}

// unknown is a build id that nobody pushed. The client remembers the miss and does not
// ask a second time.
func (d *debugging) unknown(t *testing.T) {
	t.Parallel()
	tool := need(t, "debuginfod-find")
	id, dir, rec := strings.Repeat("ab", 20), t.TempDir(), newRecorder(t, d.nodes[1])
	for range 2 {
		r := command(t, time.Minute, "env", "DEBUGINFOD_CACHE_PATH="+dir, "DEBUGINFOD_URLS="+rec.url, tool, "debuginfo", id)
		if r.code == 0 || !strings.Contains(r.stderr, "No such file") {
			t.Errorf("debuginfod-find debuginfo %s = exit %d, %q, want a miss", id, r.code, r.stderr)
		}
	}
	rec.check(t, d.programs, nil)
	if len(rec.requests) != 1 {
		t.Errorf("debuginfod-find asks %v, want one request", rec.requests)
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

// gdb is a command line of gdb that knows what the cluster knows.
func gdb(t *testing.T, args ...string) []string {
	return append([]string{need(t, "gdb"), "-nx", "-batch", "-iex", "set debuginfod enabled on", "-iex", "set debug-file-directory /nonexistent"}, args...)
}

// gdb lists the source of a stripped program, stops it at a breakpoint and at its crash,
// and reads a core without the program, with names, arguments and lines.
func (d *debugging) gdb(t *testing.T) {
	app, one, common := d.programs["app"], d.programs["one"], d.programs["common.debug"]
	core, source := d.crash(t), app.get("source"+d.source("app.c"))
	d.play(t, []session{
		{name: "list", program: "app", args: gdb(t, "-ex", "list crash_here", "./app"),
			prints: []string{"Downloading separate debug info for", "return *p + twice(depth);"}, gets: []string{app.get("debuginfo"), source}},
		{name: "breakpoint", program: "app", args: gdb(t, "-ex", "break crash_here", "-ex", "run", "-ex", "bt", "-ex", "info source", "./app"),
			prints: []string{"Breakpoint 1, crash_here (p=0x", "depth=3) at app.c:8", "in main (argc=1, argv=", "Current source file is app.c", "Located in /", "/source"},
			gets:   []string{app.get("debuginfo"), source}},
		gdbCrash(t),
		{name: "core without the program", args: gdb(t, "-ex", "core-file "+core, "-ex", "bt"),
			prints: []string{"crash_here (p=0x0, depth=0) at app.c:10", "return *p + twice(depth);", "main (argc=2, argv="},
			gets:   []string{app.get("executable"), app.get("debuginfo"), source}},
		{name: "shared debug information", program: "one", args: gdb(t, "-ex", "file one", "-ex", "ptype struct shared"),
			prints: []string{"type = struct shared {", "char name[32];", "struct shared *next;"},
			gets:   []string{one.get("debuginfo"), common.get("debuginfo")}},
	})
	t.Run("nothing without the cluster", func(t *testing.T) {
		t.Parallel()
		args := gdb(t, "-iex", "set debuginfod enabled off", "-ex", "list crash_here", "./app")
		if r := d.run(t, d.desk(t, "app"), nil, args); strings.Contains(r.stdout, "twice(depth)") {
			t.Errorf("gdb lists the source without the cluster, so the others prove nothing:\n%s", r.stdout)
		}
	})
}

// gdbCrash lets a stripped program crash.
func gdbCrash(t *testing.T) session {
	return session{name: "gdb at a crash", program: "app", args: gdb(t, "-ex", "run crash", "-ex", "bt", "./app"), prints: []string{
		"Downloading separate debug info for", "SIGSEGV", "#0  0x", "crash_here (p=0x0, depth=0) at app.c:10", "crash_here (p=0x0, depth=3) at app.c:9", "main (argc=2, argv=",
	}}
}

// elfutils' programs ask debuginfod by themselves.
func (d *debugging) elfutils(t *testing.T) {
	app, addr := d.programs["app"], d.ids["CRASH_ADDR"]
	stack, addr2line := need(t, "eu-stack"), need(t, "eu-addr2line")
	d.play(t, []session{
		{name: "eu-stack of a core", args: []string{stack, "-s", "--core=" + d.crash(t)}, prints: []string{"crash_here", "app.c:10:12", "main", "app.c:9:"},
			gets: []string{app.get("executable"), app.get("debuginfo")}},
		{name: "eu-addr2line", program: "app", args: []string{addr2line, "-f", "-e", "./app", addr}, prints: []string{"crash_here\n", "app.c:7"},
			gets: []string{app.get("debuginfo")}},
		{name: "eu-addr2line by any node", program: "app", args: []string{addr2line, "-f", "-e", "./app", addr}, prints: []string{"crash_here\n", "app.c:7"}},
	})
	t.Run("eu-stack of a process", d.process)
}

// process looks at the stack of a running program.
func (d *debugging) process(t *testing.T) {
	t.Parallel()
	stack := need(t, "eu-stack")
	dir, rec := d.desk(t, "app"), newRecorder(t, d.nodes[2])
	app := exec.Command(filepath.Join(dir, "app"), "sleep")
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	defer app.Wait()
	defer app.Process.Kill()
	eventually(t, 30*time.Second, "the program sleeps in main", func() error {
		r := d.run(t, dir, []string{rec.url}, []string{stack, "-s", "-p", strconv.Itoa(app.Process.Pid)})
		if !strings.Contains(r.stdout, " main") || !strings.Contains(r.stdout, "app.c:16:9") {
			return fmt.Errorf("eu-stack: exit %d: %s%s", r.code, r.stdout, r.stderr)
		}
		return nil
	})
	rec.check(t, d.programs, []string{d.programs["app"].get("debuginfo")})
}

// valgrind names the line that loses memory.
func (d *debugging) valgrind(t *testing.T) {
	args := []string{need(t, "valgrind"), "--leak-check=full", "./app", "leak"}
	prints := []string{"40 bytes in 1 blocks are definitely lost", "main (app.c:18)"}
	d.play(t, []session{
		{name: "leak", program: "app", args: args, prints: prints, gets: []string{d.programs["app"].get("debuginfo")}},
	})
}

// llvm's tools and lldb share a client of their own.
func (d *debugging) llvm(t *testing.T) {
	find, symbolizer := need(t, "llvm-debuginfod-find-19", "llvm-debuginfod-find"), need(t, "llvm-symbolizer-19", "llvm-symbolizer")
	lldb := []string{need(t, "lldb-19", "lldb"), "--no-lldbinit", "-b", "-o", "target create app"}
	app, id, addr := d.programs["app"], d.ids["BUILD_ID"], d.ids["CRASH_ADDR"]
	debug, crash := []string{app.get("debuginfo")}, []string{"crash_here\n", "app.c:7:1"}
	d.play(t, []session{
		{name: "debuginfo", args: []string{find, "--debuginfo", id}, file: d.read(t, "good/linux/app.debug"), gets: debug},
		{name: "executable", args: []string{find, "--executable", id}, file: d.read(t, "good/linux/app"), gets: []string{app.get("executable")}},
		{name: "source", args: []string{find, "--source=" + d.source("app.c"), id}, file: d.hidden(t, "app.c"), gets: []string{app.get("source" + d.source("app.c"))}},
		{name: "symbolize a file", program: "app", args: []string{symbolizer, "--debuginfod", "--obj=./app", addr}, prints: crash, gets: debug},
		{name: "symbolize a build id", args: []string{symbolizer, "--debuginfod", "--build-id=" + id, addr}, prints: crash, gets: debug},
		{name: "symbolize by any node", args: []string{symbolizer, "--debuginfod", "--build-id=" + id, addr}, prints: crash},
		{name: "lldb", program: "app", args: append(lldb, "-o", "image lookup -v -n crash_here", "-o", "breakpoint set -n crash_here"),
			prints: []string{"app.c:7", `name = "depth"`, `name = "p"`, "Breakpoint 1: where = app`crash_here", "at app.c:8"}, gets: debug},
		{name: "lldb with sources at hand", program: "app",
			args:   append(lldb, "-o", "settings set target.source-map "+d.path("good/linux/src")+" "+d.path("hidden"), "-o", "source list -n main"),
			prints: []string{"int main(int argc, char **argv)", `if (argc > 1 && !strcmp(argv[1], "sleep"))`}},
	})
}

// delve asks by debuginfod-find.
func (d *debugging) delve(t *testing.T) {
	need(t, "debuginfod-find")
	tool, err := filepath.Abs("../tmp/delve/dlv")
	if err != nil {
		t.Fatal(err)
	}
	walk, script := d.programs["walk"], filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("break main.compute\ncontinue\nargs\nstack\nlist\nexit\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.play(t, []session{{
		name: "breakpoint", program: "walk",
		args:   []string{need(t, tool), "exec", "./walk", "--allow-non-terminal-interactive=true", "--check-go-version=false", "--init", script},
		prints: []string{"main.go:7", "n = 14", "main.main", "=>   7:\t\treturn n*3 + len(os.Args)"},
		gets:   []string{walk.get("debuginfo"), walk.get("source" + d.path("good/go/main.go"))},
	}})
}
