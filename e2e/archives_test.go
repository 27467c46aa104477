package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// TestArchives packs the programs of a fixture with the tools people use, each
// file in another kind of archive, and has another node serve what was inside.
func TestArchives(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "archives")
	c := newCluster(t, 3, nil)
	p := &packing{fixture: f, out: filepath.Join(diskDir(t), "out")}
	if err := os.MkdirAll(p.out, 0o755); err != nil {
		t.Fatal(err)
	}
	p.nupkg(t)
	p.tarXZ(t)
	p.deb(t)
	p.cab(t)
	code, r := push(t, c.nodes[0].url(), "archives", p.out)
	if code != 0 || r.Verdict != catalog.Good {
		t.Fatalf("push = exit %d, want 0: %+v", code, r)
	}
	paths := map[string]api.FileStatus{}
	for _, file := range r.Files {
		paths[file.Path] = file.Status
	}
	for path, want := range map[string]api.FileStatus{
		"App.1.0.0.nupkg/lib/app.exe": api.FileUploaded, "App.1.0.0.nupkg/App.nuspec": api.FileIgnored,
		"sym.tar.xz/linux/app.sym": api.FileUploaded, "app-dbg.deb/usr/lib/debug/app.debug": api.FileUploaded, "win.cab/app.pd_/app.pdb": api.FileUploaded,
	} {
		if paths[path] != want {
			t.Errorf("%s is %q, want %q; there are %v", path, paths[path], want, paths)
		}
	}
	p.served(t, c.nodes[1])
	if status, body := get(t, c.nodes[1], "/mscordaccore.dll/"+runtimeID+"/mscordaccore.dll"); status != http.StatusOK || !bytes.Equal(body, p.read(t, "good/windows/app.exe")) {
		t.Errorf("GET of a key that an index assigned = %d with %d bytes, want app.exe", status, len(body))
	}
	newDebugging(f, c).play(t, []session{gdbCrash(t)})
	t.Run("curl", func(t *testing.T) { p.curl(t, c.nodes[1], c.nodes[0]) })
	t.Run("hostile", func(t *testing.T) { p.hostile(t, c.nodes[2]) })
}

// runtimeID is the id of a runtime, under which its debugger support is asked for.
const runtimeID = "5E67AB1C7f000"

// A packing packs the good programs of a fixture into out.
type packing struct {
	fixture
	out string
}

// tool runs a packer in a directory.
func (p *packing) tool(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	r := command(t, time.Minute, "env", append([]string{"-C", dir, need(t, name)}, args...)...)
	if r.code != 0 {
		t.Fatalf("%s %v: exit %d: %s%s", name, args, r.code, r.stdout, r.stderr)
	}
}

// layout makes a folder of files: where they lie in it, and what is in them.
func (p *packing) layout(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (p *packing) nupkg(t *testing.T) {
	index := fmt.Sprintf(`[{"clientKey":"mscordaccore.dll/%s/mscordaccore.dll","blobPath":"lib/app.exe"}]`, runtimeID)
	dir := p.layout(t, map[string][]byte{
		"lib/app.exe": p.read(t, "good/windows/app.exe"), "App.nuspec": []byte("<package/>"), "symbol_index.json": []byte(index),
	})
	p.tool(t, dir, "bsdtar", "-a", "-cf", "App.zip", "lib", "App.nuspec", "symbol_index.json")
	if err := os.Rename(filepath.Join(dir, "App.zip"), filepath.Join(p.out, "App.1.0.0.nupkg")); err != nil {
		t.Fatal(err)
	}
}

func (p *packing) tarXZ(t *testing.T) {
	p.tool(t, p.path("good"), "bsdtar", "-cJf", filepath.Join(p.out, "sym.tar.xz"), "linux/app.sym")
}

func (p *packing) deb(t *testing.T) {
	dir := p.layout(t, map[string][]byte{
		"DEBIAN/control":           []byte("Package: app-dbg\nVersion: 1.0\nArchitecture: amd64\nMaintainer: nobody <nobody@example.org>\nDescription: debug symbols\n"),
		"usr/lib/debug/app.debug":  p.read(t, "good/linux/app.debug"),
		"usr/bin/app":              p.read(t, "good/linux/app"),
		"usr/share/doc/app/README": []byte("read me"),
	})
	p.tool(t, dir, "dpkg-deb", "--root-owner-group", "-b", ".", filepath.Join(p.out, "app-dbg.deb"))
}

// cab packs a PDB as symstore does, and that into a cabinet beside another file.
func (p *packing) cab(t *testing.T) {
	dir := p.layout(t, map[string][]byte{"app.pdb": p.read(t, "good/windows/app.pdb"), "setup.inf": []byte("[Version]")})
	p.tool(t, dir, "gcab", "-c", "-z", "app.pd_", "app.pdb")
	p.tool(t, dir, "gcab", "-c", "-z", filepath.Join(p.out, "win.cab"), "app.pd_", "setup.inf")
}

// served asks a node for everything that was packed.
func (p *packing) served(t *testing.T, n *node) {
	t.Helper()
	for key, file := range map[string]string{
		p.ids["PE_KEY"]: "good/windows/app.exe", p.ids["PDB_KEY"]: "good/windows/app.pdb", p.ids["SYM_KEY"]: "good/linux/app.sym",
		"buildid/" + p.ids["BUILD_ID"] + "/debuginfo": "good/linux/app.debug", "buildid/" + p.ids["BUILD_ID"] + "/executable": "good/linux/app",
	} {
		if status, body := get(t, n, "/"+key); status != http.StatusOK || !bytes.Equal(body, p.read(t, file)) {
			t.Errorf("GET %s = %d with %d bytes, want %s", key, status, len(body), file)
		}
	}
}

// curl makes a good package with no program but curl: open, PUT, commit.
func (p *packing) curl(t *testing.T, to, from *node) {
	tool := need(t, "curl")
	call := func(into any, args ...string) {
		t.Helper()
		r := command(t, time.Minute, tool, append([]string{"-sS", "--fail-with-body"}, args...)...)
		if r.code != 0 {
			t.Fatalf("curl %v: exit %d: %s%s", args, r.code, r.stdout, r.stderr)
		}
		if err := json.Unmarshal([]byte(r.stdout), into); err != nil {
			t.Fatalf("curl %v: %v in %s", args, err, r.stdout)
		}
	}
	whole := newFixture(t, "curl")
	q := &packing{fixture: whole, out: t.TempDir()}
	archive := filepath.Join(q.out, "build.tar.zst")
	q.tool(t, q.path("good"), "bsdtar", "--zstd", "-cf", archive, "linux", "windows")
	packages := to.url() + "/api/v1/packages"
	var open api.OpenResponse
	call(&open, "--json", `{"idempotency_key":"by-curl","product":"app","version":"2"}`, packages)
	var added api.ArchiveResponse
	call(&added, "-T", archive, fmt.Sprintf("%s/%s/archives/build.tar.zst", packages, open.Package))
	if added.Added != 5 || !slices.ContainsFunc(added.Members, func(m api.ArchiveMember) bool {
		return m.Path == "build.tar.zst/windows/app.pdb" && m.Kind == catalog.KindPDB && m.Status == api.FileUploaded
	}) {
		t.Errorf("PUT = %+v, want 5 files, app.pdb among them", added)
	}
	var commit api.CommitResponse
	call(&commit, "--json", fmt.Sprintf(`{"files":%d}`, added.Files), fmt.Sprintf("%s/%s/commit", packages, open.Package))
	var st api.PackageStatus
	call(&st, fmt.Sprintf("%s/%s?wait=60s", packages, open.Package))
	if st.State != catalog.StateGood {
		t.Fatalf("package is %s: %+v", st.State, st)
	}
	q.served(t, from)
}

// hostile archives fail a push with a reason, and nothing of them is served.
func (p *packing) hostile(t *testing.T, n *node) {
	dir := p.layout(t, map[string][]byte{"a.sym": make([]byte, 300<<20)})
	p.tool(t, dir, "bsdtar", "-a", "-cf", "bomb.zip", "a.sym")
	whole, err := os.ReadFile(filepath.Join(p.out, "win.cab"))
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(dir, "cut.cab")
	if err := os.WriteFile(cut, whole[:len(whole)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{filepath.Join(dir, "bomb.zip"): "at most 200 are accepted", cut: "damaged"} {
		code, r := push(t, n.url(), "hostile", file)
		if code != 3 || len(r.Files) != 1 || len(r.Files[0].Findings) != 1 || !strings.Contains(r.Files[0].Findings[0].Message, want) {
			t.Errorf("push of %s = exit %d, %+v; want 3 and a text with %q", filepath.Base(file), code, r, want)
		}
	}
}
