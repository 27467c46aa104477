package e2e

import (
	"debug/elf"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// push pushes all programs to one node, with their sources, but for those of Go itself:
// there are hundreds, and no session shows them.
func (d *debugging) push(t *testing.T) {
	t.Helper()
	goroot := strings.TrimSpace(output(t, need(t, "go"), "env", "GOROOT"))
	mustPush(t, d.nodes[0].url(), "debuggers", "--sources", "--source-root", goroot+"="+t.TempDir(), d.path("good"))
}

// hideSources moves the sources to where their debug information does not look for them.
func (d *debugging) hideSources(t *testing.T) {
	t.Helper()
	if err := os.Rename(d.path("good/linux/src"), d.path("hidden")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(d.path("good/go/main.go"), d.path("hidden/main.go")); err != nil {
		t.Fatal(err)
	}
}

// source is the name of a source of the C program in its debug information.
func (d *debugging) source(name string) string { return d.path("good/linux/src", name) }

// hidden is what a source holds.
func (d *debugging) hidden(t *testing.T, name string) []byte { return d.read(t, "hidden", name) }

// crash returns the core file of a crash of the C program, whose file has been removed
// since.
func (d *debugging) crash(t *testing.T) string {
	t.Helper()
	dir := d.desk(t, "app")
	core := filepath.Join(t.TempDir(), "core")
	r := command(t, time.Minute, need(t, "gdb"), "-nx", "-batch", "-iex", "set debuginfod enabled off",
		"-ex", "run crash", "-ex", "generate-core-file "+core, filepath.Join(dir, "app"))
	if _, err := os.Stat(core); err != nil {
		t.Fatalf("gdb writes no core: exit %d: %s%s", r.code, r.stdout, r.stderr)
	}
	if err := os.Remove(filepath.Join(dir, "app")); err != nil {
		t.Fatal(err)
	}
	return core
}

// buildDwz compiles two programs that share the description of a structure, which dwz
// moved to a file of its own.
func (d *debugging) buildDwz(t *testing.T) {
	need(t, "dwz")
	d.build(t, "dwz", map[string]string{
		"shared.h": "struct shared { int number; char name[32]; double weights[4]; struct shared *next; };\n" +
			"struct other { struct shared first; long counts[8]; short flags; };\n",
		"one.c": "#include \"shared.h\"\nstruct shared s;\nstruct other o;\nint main(void) { return s.number + o.flags; }\n",
		"two.c": "#include \"shared.h\"\nstruct shared t;\nstruct other p;\nint main(void) { return t.number - p.flags; }\n",
	}, `
for n in one two; do
	gcc -g -O1 -gdwarf-4 -Wl,--build-id -o $n $n.c
	objcopy --only-keep-debug $n $n.debug
	strip -s $n
done
dwz -m common.debug -M /usr/lib/debug/.dwz/symkeep-common.debug one.debug two.debug`, "one", "two", "common.debug")
}

// buildGo compiles a Go program.
func (d *debugging) buildGo(t *testing.T) {
	d.build(t, "go", map[string]string{
		"go.mod":  "module walk\n\ngo 1.24\n",
		"main.go": "package main\n\nimport \"os\"\n\n//go:noinline\nfunc compute(n int) int {\n\treturn n*3 + len(os.Args)\n}\n\nfunc main() {\n\tprintln(compute(14))\n}\n",
	}, `
go build -o walk .
objcopy --only-keep-debug walk walk.debug
strip -g walk`, "walk")
}

// build runs a shell script in a folder of sources, from which it makes programs of
// these names.
func (d *debugging) build(t *testing.T, name string, sources map[string]string, script string, programs ...string) {
	t.Helper()
	dir := d.path("good", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range sources {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if r := command(t, 2*time.Minute, "env", "-C", dir, "sh", "-euc", script); r.code != 0 {
		t.Fatalf("%s: exit %d: %s%s", name, r.code, r.stdout, r.stderr)
	}
	for _, p := range programs {
		path := filepath.Join(dir, p)
		d.programs[p] = stripped{path, hex.EncodeToString(buildIDOf(path))}
	}
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
