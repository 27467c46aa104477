//go:build sweep

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A recipe is a shell script that makes a package of one source.
type recipe struct {
	name, source, text string
	needs              []string // programs
	script             string   // run in a folder with the source
}

// crossRecipe builds a library, which wants no C library of the target.
func crossRecipe(triple string) recipe {
	return recipe{triple, "app.c", cSource, []string{triple + "-gcc"}, triple + "-gcc -g -shared -fPIC -nostdlib -Wl,--build-id app.c -o app.so"}
}

// windowsRecipe builds a program with a PDB by LLVM.
func windowsRecipe(arch, compile, link string) recipe {
	return recipe{
		fmt.Sprintf("Windows %s %s %s", arch, compile, link), "app.c", cSource, []string{"clang-19", "lld-link-19"},
		fmt.Sprintf("clang-19 --target=%s-pc-windows-msvc -g -gcodeview %s -c app.c -o app.obj && "+
			"lld-link-19 /nologo /debug /nodefaultlib /entry:main /subsystem:console %s /out:app.exe app.obj && rm -f app.obj app.lib", arch, compile, link),
	}
}

// Programs in other languages, and files that other tools made of a program.
var sweepRecipes = []recipe{
	{"Rust", "app.rs", "fn main() { let v: Vec<Option<u8>> = vec![Some(1), None]; println!(\"{:?}\", v); }", []string{"rustc"},
		"rustc -g -C link-arg=-Wl,--build-id app.rs"},
	{"Fortran", "app.f90", "program app\n integer :: i(3) = [1,2,3]\n print *, sum(i)\nend program\n", []string{"gfortran"}, "gfortran -g app.f90 -o app"},
	{"D", "app.d", "import std.stdio; struct s(T) { T v; } void main() { writeln(s!int(3)); }", []string{"gdc"}, "gdc -g app.d -o app"},
	{"Ada", "app.adb", "with Ada.Text_IO; procedure App is type R is range 1 .. 9; X : R := 3; begin Ada.Text_IO.Put_Line (R'Image (X)); end App;", []string{"gnatmake"},
		"gnatmake -q -g app.adb && rm -f app.o app.ali"},
	{"Go", "app.go", "package main\n\nfunc main() { println(map[string]int{\"a\": 1}[\"a\"]) }\n", []string{"go"}, "go build -o app app.go"},
	{"split by objcopy", "app.c", cSource, []string{"gcc", "objcopy"},
		"gcc -g app.c -o app && objcopy --only-keep-debug app app.debug && strip app && objcopy --add-gnu-debuglink=app.debug app"},
	{"compressed by objcopy", "app.c", cSource, []string{"gcc", "objcopy"}, "gcc -g app.c -o app && objcopy --compress-debug-sections=zlib-gnu app"},
	{"two files through dwz", "app.c", cSource, []string{"gcc", "dwz"},
		"gcc -g app.c -o one && gcc -g -O1 app.c -o two && dwz -m common.dwz one two || true"},
	{"one file through dwz", "app.c", cSource, []string{"gcc", "dwz"}, "gcc -g app.c -o app && dwz app"},
	{"split DWARF 4", "app.c", cSource, []string{"gcc", "dwp"}, "gcc -g -gdwarf-4 -gsplit-dwarf app.c -o app && dwp -e app && rm -f *.dwo"},
	{"split DWARF 5", "app.c", cSource, []string{"clang-19", "llvm-dwp-19"},
		"clang-19 -g -gdwarf-5 -gsplit-dwarf -Wl,--build-id app.c -o app && llvm-dwp-19 -e app -o app.dwp && rm -f *.dwo"},
	crossRecipe("s390x-linux-gnu"), crossRecipe("mips-linux-gnu"), crossRecipe("powerpc64-linux-gnu"),
	crossRecipe("aarch64-linux-gnu"), crossRecipe("arm-linux-gnueabihf"), crossRecipe("i686-linux-gnu"),
	windowsRecipe("x86_64", "-O0", ""), windowsRecipe("x86_64", "-O2", "/opt:ref /opt:icf /debug:ghash"), windowsRecipe("x86_64", "-Os", "/pdbpagesize:16384"),
	windowsRecipe("i686", "-O1", "/brepro"), windowsRecipe("aarch64", "-O2", "/pdbaltpath:%_PDB%"), windowsRecipe("x86_64", "-gline-tables-only", ""),
	windowsRecipe("x86_64", "-O1", "/pdbstream:extra=app.c"), windowsRecipe("x86_64", "-O0", "/incremental"), windowsRecipe("x86_64", "-gno-codeview-command-line", "/debug:noghash"),
	{"mingw", "app.c", cSource, []string{"x86_64-w64-mingw32-gcc"}, "x86_64-w64-mingw32-gcc -g app.c -o app.exe"},
	{"mingw, 32 bits, build id", "app.c", cSource, []string{"i686-w64-mingw32-gcc"}, "i686-w64-mingw32-gcc -g -Wl,--build-id app.c -o app.exe"},
	{"mingw, stripped with debug link", "app.c", cSource, []string{"x86_64-w64-mingw32-gcc"}, "x86_64-w64-mingw32-gcc -g app.c -o app.exe && " +
		"x86_64-w64-mingw32-objcopy --only-keep-debug app.exe app.exe.debug && x86_64-w64-mingw32-strip app.exe && x86_64-w64-mingw32-objcopy --add-gnu-debuglink=app.exe.debug app.exe"},
}

const cSource = `
struct pair { int a, b; };
static int sum(struct pair p) { return p.a + p.b; }
int main(int argc, char **argv) { struct pair p = {argc, 2}; return sum(p) == 0 && argv; }
`

// TestSweepRecipes follows the recipes whose programs are here; each gives a good package.
func TestSweepRecipes(t *testing.T) {
	followed := 0
	for _, r := range sweepRecipes {
		t.Run(r.name, func(t *testing.T) {
			for _, name := range r.needs {
				if _, err := exec.LookPath(name); err != nil {
					t.Skipf("%s is not here", name)
				}
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, r.source), []byte(r.text), 0o644); err != nil {
				t.Fatal(err)
			}
			if out := command(t, 3*time.Minute, "env", "-C", dir, "sh", "-c", r.script); out.code != 0 {
				t.Fatalf("%s: exit %d\n%s", r.script, out.code, out.stderr)
			}
			followed++
			checkGood(t, r.name, dir)
		})
	}
	if followed < 3 {
		t.Errorf("%d recipes followed, want 3 at least", followed)
	}
}
