package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestDebuggers pushes to one node of three; every debugger asks all of them, in
// turn or at once.
func TestDebuggers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "debuggers")
	c := newCluster(t, 3, nil)
	d := newDebugging(f, c)
	d.buildDwz(t)
	d.buildGo(t)
	d.push(t)
	d.hideSources(t)
	t.Run("debuginfod-find", d.debuginfodFind)
	t.Run("gdb", d.gdb)
	t.Run("elfutils", d.elfutils)
	t.Run("valgrind", d.valgrind)
	t.Run("llvm", d.llvm)
	t.Run("delve", d.delve)
	t.Run("llvm-pdbutil", d.llvmPdbutil)
	t.Run("cabinet readers", d.cabinets)
	t.Run("minidump_stackwalk", d.stackwalk)
}

// llvmPdbutil reads a PDB that came as it is, and one that came as gzip.
func (d *debugging) llvmPdbutil(t *testing.T) {
	tool := need(t, "llvm-pdbutil-19", "llvm-pdbutil")
	curl := need(t, "curl")
	for _, flag := range []string{"--no-compressed", "--compressed"} {
		file := filepath.Join(t.TempDir(), "app.pdb")
		r := command(t, time.Minute, curl, "-sSf", flag, "-o", file, "-w", "%{size_download}", d.nodes[2].url()+"/"+d.ids["PDB_KEY"])
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
		status, body := get(t, d.nodes[1], "/"+key[:len(key)-1]+"_")
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
