package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// TestSMB reads a node's share tree as a Windows debugger does, through smbd, after
// a push to another node.
func TestSMB(t *testing.T) {
	client := need(t, "smbclient")
	f := newFixture(t, "smb")
	c, keeper := newSharing(t)
	port := startSMB(t, keeper.share)
	if code, r := push(t, c.nodes[0].url(), "smb", f.path("good")); code != 0 {
		t.Fatalf("push = exit %d, want 0: %+v", code, r)
	}
	smb := func(command string) run { return runSMB(t, client, port, command) }
	for _, tt := range []struct{ key, file string }{{"PDB_KEY", "app.pdb"}, {"PE_KEY", "app.exe"}} {
		keeper.awaitTree(t, f.ids[tt.key])
		name, id, _ := strings.Cut(f.ids[tt.key], "/")
		id, _, _ = strings.Cut(id, "/")
		dir := t.TempDir()
		packed := filepath.Join(dir, "packed")
		path := strings.ToUpper(name) + `\` + strings.ToLower(id) + `\` + strings.ToUpper(name[:1]) + name[1:len(name)-1] + "_"
		if r := smb(fmt.Sprintf("get %q %q", path, packed)); r.code != 0 {
			t.Errorf("smbclient get %s: exit %d: %s%s", path, r.code, r.stdout, r.stderr)
			continue
		}
		r := command(t, time.Minute, need(t, "cabextract"), "-q", "-d", dir, packed)
		want := f.read(t, "good/windows", tt.file)
		if got, err := os.ReadFile(filepath.Join(dir, tt.file)); r.code != 0 || err != nil || !bytes.Equal(got, want) {
			t.Errorf("cabextract of %s = exit %d, %d bytes, %v, want the %d that were pushed: %s", path, r.code, len(got), err, len(want), r.stderr)
		}
	}
	if r := smb(`get pingme.txt /dev/null`); r.code != 0 {
		t.Errorf("smbclient get pingme.txt: exit %d: %s%s", r.code, r.stdout, r.stderr)
	}
	if r := smb(`put ../go.mod app.pdb\x`); r.code == 0 || !strings.Contains(r.stdout+r.stderr, "NT_STATUS_") {
		t.Errorf("smbclient writes to the share: exit %d: %s%s", r.code, r.stdout, r.stderr)
	}

	// A failed package adds nothing, and takes nothing away.
	before := keeper.tree(t)
	if code, r := push(t, c.nodes[2].url(), "smb", f.path("mismatch")); code != 3 {
		t.Fatalf("push of a defective package = exit %d, want 3: %+v", code, r)
	}
	if code, r := push(t, c.nodes[2].url(), "smb", newFixture(t, "smb again").path("good/windows")); code != 0 {
		t.Fatalf("push = exit %d, want 0: %+v", code, r)
	}
	eventually(t, 20*time.Second, "the package after the failed one", func() error {
		if now := keeper.tree(t); len(now) != len(before)+2 {
			return fmt.Errorf("tree is %v", now)
		}
		return nil
	})
}

// TestShareAfterKill kills the node that keeps the tree while pushes run, twice,
// and leaves behind what a crash can leave. After the last start the tree is that
// of the good packages, no more and no less.
func TestShareAfterKill(t *testing.T) {
	const pushes = 6
	c, keeper := newSharing(t)
	var running []*pushing
	var bytesOf []fixture
	for i := range pushes {
		f := newFixture(t, fmt.Sprintf("share %d", i))
		bytesOf = append(bytesOf, f)
		dir := f.path("good/windows")
		if i%3 == 1 {
			dir = f.path("mismatch")
		}
		running = append(running, startPush(t, urls(c.nodes[0], c.nodes[2]), "share", dir))
		switch i {
		case 2, 4:
			keeper.node.kill()
		case 3:
			keeper.node.start()
		}
	}
	want := map[string][]byte{}
	for i, p := range running {
		r := p.wait(t, time.Minute)
		res := lastResult(t, r)
		if failed := i%3 == 1; failed != (res.Verdict == catalog.Failed) || res.Verdict == "" {
			t.Fatalf("push %d: exit %d, verdict %q: %s", i, r.code, res.Verdict, r.stderr)
		}
		if res.Verdict == catalog.Good {
			maps.Copy(want, treeOf(t, bytesOf[i], res))
		}
	}
	if len(want) != 2*(pushes-2) {
		t.Fatalf("good packages have %d files for the tree, want %d", len(want), 2*(pushes-2))
	}
	keeper.litter(t)
	keeper.node.start()
	eventually(t, 30*time.Second, "the tree is that of the good packages", func() error {
		got, missing := keeper.tree(t), slices.Collect(maps.Keys(want))
		missing = slices.DeleteFunc(missing, func(p string) bool { return slices.Contains(got, p) })
		if len(missing) > 0 || len(got) != len(want) {
			return fmt.Errorf("%d files, want %d; missing %v", len(got), len(want), missing)
		}
		return nil
	})
	for path, content := range want {
		dir := t.TempDir()
		r := command(t, time.Minute, need(t, "cabextract"), "-q", "-d", dir, filepath.Join(keeper.share, path))
		got, err := os.ReadFile(filepath.Join(dir, strings.Split(path, "/")[0]))
		if r.code != 0 || err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: cabextract exit %d, %d bytes, %v, want the %d that were pushed", path, r.code, len(got), err, len(content))
		}
	}
	if left, err := os.ReadDir(filepath.Join(keeper.share, ".tmp")); err != nil || len(left) > 0 {
		t.Errorf(".tmp of the tree holds %v, %v, want nothing", left, err)
	}
	if _, err := os.Stat(filepath.Join(keeper.share, "app.pdb", strings.Repeat("0", 32)+"1")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("folder of no key: %v, want it gone", err)
	}
}

// sharing is the node of a cluster that keeps a share tree.
type sharing struct {
	node  *node
	share string
}

// newSharing starts three nodes; the second one keeps a tree.
func newSharing(t *testing.T) (*cluster, *sharing) {
	t.Helper()
	c := newCluster(t, 1, nil)
	s := &sharing{share: filepath.Join(c.dir, "share")}
	for i := range 2 {
		n := c.add(fmt.Sprintf("n%d", i+2), "--join", c.nodes[0].gossip)
		if i == 0 {
			n.flags = append(n.flags, "--share-dir", s.share)
			s.node = n
		}
		n.start()
	}
	c.waitHealthy(3, 60*time.Second)
	return c, s
}

// tree lists the cabinets of the tree and fails the test if anything else is there.
func (s *sharing) tree(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(s.share, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the node moves files about
		}
		rel, _ := filepath.Rel(s.share, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && rel == ".tmp":
			return fs.SkipDir
		case d.IsDir() || rel == "pingme.txt" || rel == ".symkeep-share":
		case strings.Count(rel, "/") == 2 && strings.HasSuffix(rel, "_"):
			paths = append(paths, rel)
		default:
			t.Errorf("share tree holds %s", rel)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return paths
}

// awaitTree waits until the cabinet of a key is there: it follows the verdict.
func (s *sharing) awaitTree(t *testing.T, key string) {
	t.Helper()
	file := filepath.Join(s.share, key[:len(key)-1]+"_")
	eventually(t, 20*time.Second, file, func() error {
		st, err := os.Stat(file)
		if err != nil {
			return err
		}
		if links := st.Sys().(*syscall.Stat_t).Nlink; links < 2 {
			return fmt.Errorf("%d link, want one to the node's blob", links)
		}
		return nil
	})
}

// litter leaves what a crash can leave: a half-written file, the cabinet of a key
// that nobody has, and an empty folder.
func (s *sharing) litter(t *testing.T) {
	t.Helper()
	files := s.tree(t)
	if len(files) == 0 {
		t.Fatal("the tree is empty before the last start, so the kills came too early")
	}
	cabinet, err := os.ReadFile(filepath.Join(s.share, files[0]))
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{
		".tmp/new-HALF": cabinet[:len(cabinet)/2],
		"app.pdb/" + strings.Repeat("0", 32) + "1/app.pd_": cabinet,
	} {
		path = filepath.Join(s.share, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(s.share, "app.exe/0000000A1000"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// treeOf returns the paths and the unpacked bytes that a package adds to a tree.
func treeOf(t *testing.T, f fixture, r api.Result) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, file := range r.Files {
		if file.Kind != catalog.KindPE && file.Kind != catalog.KindPDB {
			continue
		}
		for _, key := range file.Keys {
			files[key[:len(key)-1]+"_"] = f.read(t, "good/windows", file.Path)
		}
	}
	return files
}

// startSMB exports a directory through smbd and returns the port.
func startSMB(t *testing.T, share string) string {
	t.Helper()
	need(t, "smbd")
	_, port, err := net.SplitHostPort(freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the share directory", func() error {
		_, err := os.Stat(filepath.Join(share, "pingme.txt"))
		return err
	})
	dir := t.TempDir()
	script := func(args ...string) run {
		// It leaves a daemon behind, so its output goes to a file and not to a pipe.
		return command(t, time.Minute, "sh", append([]string{"-c", `exec ../scripts/smbserver.sh "$@" >"$1/script.log" 2>&1`, "sh", dir}, args...)...)
	}
	t.Cleanup(func() { script("stop") })
	if r := script(share, port); r.code != 0 {
		out, _ := os.ReadFile(filepath.Join(dir, "script.log"))
		t.Fatalf("smbserver.sh: exit %d: %s", r.code, out)
	}
	return port
}

// runSMB runs commands of smbclient as a guest.
func runSMB(t *testing.T, client, port, commands string) run {
	t.Helper()
	return command(t, time.Minute, client, "-N", "-p", port, "//127.0.0.1/symbols", "-c", commands)
}
