//go:build sweep

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"symkeep/internal/catalog"
)

// cxxSource has what makes DWARF varied: templates, inlining, enumerations, bit
// fields, exceptions, thread locals, variadic and recursive functions, macros.
const cxxSource = `
#define TWICE(x) ((x) + (x))
extern "C" int printf(const char*, ...);
enum class color : unsigned char { red, green = 200 };
template <class T, int N> struct box { T v[N]; T sum() const { T s{}; for (auto& e : v) s += e; return s; } };
struct base { virtual ~base() {} virtual int f(int n) { return n ? f(n - 1) + 1 : 0; } };
struct derived : base { int a : 3, b : 5; int f(int n) override { return TWICE(base::f(n)) + a; } };
thread_local int counter;
namespace { inline __attribute__((always_inline)) int twice(int x) { ++counter; return 2 * x; } }
static int fails(int n) { if (n > 3) throw n; return n; }
int main(int argc, char**) {
  box<double, 3> b{{1, 2, 3}}; derived d; d.a = 1; d.b = 2; base& r = d; color c = color::green;
  auto l = [&](auto x) { return twice(x) + argc; };
  try { fails(argc * 5); } catch (int e) { counter += e; }
  return printf("%f %d %d %d\n", b.sum(), r.f(argc), l(4), (int)c) < 0;
}
`

// TestSweepCompilers compiles a program in every way that the compilers of this
// machine know and wants each to be good: alone, or with the files made beside it.
func TestSweepCompilers(t *testing.T) {
	source := filepath.Join(t.TempDir(), "app.cc")
	if err := os.WriteFile(source, []byte(cxxSource), 0o644); err != nil {
		t.Fatal(err)
	}
	var tried, skipped int
	for _, compiler := range []string{"g++", "clang++-19", "x86_64-w64-mingw32-g++"} {
		if _, err := exec.LookPath(compiler); err != nil {
			t.Logf("%s is not here", compiler)
			continue
		}
		for _, flags := range flagSets(compiler) {
			dir := t.TempDir()
			args := append(strings.Fields(flags), "-o", filepath.Join(dir, "app"+suffix(compiler)), source)
			if r := command(t, 2*time.Minute, compiler, args...); r.code != 0 {
				skipped++ // this version does not know the flag
				t.Logf("%s %s: %.120s", compiler, flags, r.stderr)
				continue
			}
			tried++
			checkGood(t, compiler+" "+flags, dir)
		}
	}
	t.Logf("%d ways of compiling, %d not known here", tried, skipped)
	if tried < 20 {
		t.Errorf("%d ways of compiling, want 20 at least", tried)
	}
}

func suffix(compiler string) string {
	if strings.Contains(compiler, "mingw") {
		return ".exe"
	}
	return ""
}

// flagSets are the ways: versions and forms of DWARF, optimizers, linkers, compression.
func flagSets(compiler string) []string {
	var sets []string
	for _, version := range []int{2, 3, 4, 5} {
		for _, opt := range []string{"-O0", "-O2", "-Os"} {
			sets = append(sets, fmt.Sprintf("-g -gdwarf-%d %s", version, opt))
		}
	}
	sets = append(sets, "-g1 -O2", "-g3 -O1", "-g -gz=zlib", "-g -flto -O2", "-g -fdebug-types-section", "-g -O2 -ffunction-sections -Wl,--gc-sections",
		"-g -static", "-g -gno-column-info", "-g -fdebug-prefix-map=/=/x", "-s", "-O2", "-gdwarf-5 -gdwarf64")
	if !strings.Contains(compiler, "mingw") {
		sets = append(sets, "-g -static-pie", "-g -fuse-ld=gold -Wl,--gdb-index", "-g -fuse-ld=lld-19", "-g -gz=zstd", "-g -Wl,--build-id=md5", "-g -Wl,-z,separate-code",
			"-g -Wl,--compress-debug-sections=zlib-gabi", "-g -Wl,--emit-relocs", "-g -no-pie")
	}
	if strings.HasPrefix(compiler, "clang") {
		sets = append(sets, "-g -fuse-ld=lld-19 -Wl,--icf=all -ffunction-sections", "-g -gline-tables-only", "-g -gsimple-template-names", "-g -gpubnames", "-g -gembed-source -gdwarf-5",
			"-g -fuse-ld=lld-19 -Wl,--gdb-index -ggnu-pubnames", "-g -fdebug-info-for-profiling", "-g -fuse-ld=lld-19 -Wl,--compress-debug-sections=zstd")
	}
	for i, s := range sets { // clang does not ask its linker for a build id
		if strings.HasPrefix(compiler, "clang") && !strings.Contains(s, "--build-id") {
			sets[i] = s + " -Wl,--build-id"
		}
	}
	return sets
}

// checkGood wants no error in a folder.
func checkGood(t *testing.T, what, dir string) {
	t.Helper()
	r := symkeep(t, "check", "--json", dir)
	result := lastResult(t, r)
	if r.code != 0 || result.Verdict != catalog.Good {
		for _, f := range result.Files {
			for _, finding := range f.Findings {
				if finding.Severity == catalog.Error {
					t.Errorf("%s: %s: %s %s", what, f.Path, finding.Code, finding.Message)
				}
			}
		}
	}
	if len(result.Files) == 0 {
		t.Errorf("%s: check = exit %d without a file: %s", what, r.code, r.stderr)
	}
}
