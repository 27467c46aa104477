package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A fixture is what scripts/fixture.sh compiled: small programs with symbols of
// every kind, and packages with one defect each.
type fixture struct {
	dir string
	ids map[string]string // BUILD_ID, PDB_KEY, ..., as the script names them
}

// newFixture compiles one. Programs of different salt have different ids.
func newFixture(t testing.TB, salt string) fixture {
	t.Helper()
	for _, names := range [][]string{{"gcc"}, {"clang-19", "clang"}, {"lld-link-19", "lld-link"}, {"llvm-pdbutil-19", "llvm-pdbutil"}, {"llvm-readobj-19", "llvm-readobj"}} {
		need(t, names...)
	}
	f := fixture{filepath.Join(diskDir(t), "fixture"), map[string]string{}}
	if r := command(t, 2*time.Minute, "bash", "../scripts/fixture.sh", f.dir, salt); r.code != 0 {
		t.Fatalf("fixture.sh: exit %d\n%s", r.code, r.stderr)
	}
	for line := range strings.Lines(string(f.read(t, "ids"))) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		f.ids[name] = value
	}
	return f
}

func (f fixture) path(elems ...string) string {
	return filepath.Join(append([]string{f.dir}, elems...)...)
}

func (f fixture) read(t testing.TB, elems ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(f.path(elems...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// breakpad returns the directories of Breakpad's own programs and of its crash
// dumps.
func breakpad(t testing.TB) (bin, testdata string) {
	t.Helper()
	modules := npmTools(t, "minidump", "breakpad")
	return filepath.Join(modules, "minidump/bin/linux-x64"), filepath.Join(modules, "breakpad/src/processor/testdata")
}

// npmTools returns the directory of the npm packages that names stand for in
// scripts/npmtools.sh. They are fetched once and kept beside the test directories.
func npmTools(t testing.TB, names ...string) string {
	t.Helper()
	need(t, "npm")
	r := command(t, 5*time.Minute, "sh", append([]string{"../scripts/npmtools.sh", "../tmp/npm"}, names...)...)
	if r.code != 0 && os.Getenv("CI") == "" {
		t.Skipf("npmtools.sh: exit %d: %s", r.code, r.stderr)
	}
	if r.code != 0 {
		t.Fatalf("npmtools.sh: exit %d: %s", r.code, r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}
