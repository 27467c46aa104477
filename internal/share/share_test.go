package share_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/internal/share"
	"symkeep/internal/symid"
)

const cluster = catalog.ClusterID("0d3c3c5e-8f4b-4f6e-9a3e-5d1c2b3a4f60")

// node is the rest of a node as a Share sees it: a catalog in memory and a
// directory of real packed files.
type node struct {
	t    *testing.T
	data string // data directory
	dir  string // share directory

	mu       sync.Mutex
	winners  map[symid.IndexKey]catalog.Candidate
	keys     []symid.Key // every key ever, by Index
	packages map[catalog.PackageID][]catalog.File
	remote   map[catalog.Digest][]byte // blobs that only a peer has
	fetched  int
}

func newNode(t *testing.T) *node {
	t.Helper()
	base := t.TempDir()
	n := &node{
		t: t, data: filepath.Join(base, "data"), dir: filepath.Join(base, "share"),
		winners: map[symid.IndexKey]catalog.Candidate{}, packages: map[catalog.PackageID][]catalog.File{},
		remote: map[catalog.Digest][]byte{},
	}
	if err := os.MkdirAll(filepath.Join(n.data, "blobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) Path(d catalog.Digest) string { return filepath.Join(n.data, "blobs", d.String()) }

func (n *node) Fetch(_ context.Context, d catalog.Digest) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	b, ok := n.remote[d]
	if !ok {
		return catalog.ErrUnavailable
	}
	n.fetched++
	return os.WriteFile(n.Path(d), b, 0o644)
}

func (n *node) StoreKeys(_ context.Context, after symid.IndexKey, limit int) ([]symid.Key, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i, _ := slices.BinarySearchFunc(n.keys, after+"\x00", func(k symid.Key, x symid.IndexKey) int {
		return strings.Compare(string(k.Index()), string(x))
	})
	return slices.Clone(n.keys[i:min(i+limit, len(n.keys))]), nil
}

func (n *node) Winner(_ context.Context, k symid.Key) (catalog.Candidate, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c, ok := n.winners[k.Index()]
	if !ok {
		return c, catalog.ErrNotFound
	}
	return c, nil
}

func (n *node) Files(_ context.Context, id catalog.PackageID, first, limit int) ([]catalog.File, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fs := n.packages[id]
	return fs[min(first, len(fs)):min(first+limit, len(fs))], nil
}

// pack stores content as a blob with the member name and returns its digest.
func (n *node) pack(content, member string) catalog.Digest {
	n.t.Helper()
	f, err := os.CreateTemp(n.data, "pack")
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	w, err := cab.NewWriter(f, cab.Options{RawSize: int64(len(content)), Name: member, Workers: 1})
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		n.t.Fatal(err)
	}
	info, err := w.Close()
	if err != nil {
		n.t.Fatal(err)
	}
	d := catalog.Digest(info.RawSHA256)
	if err := os.Rename(f.Name(), n.Path(d)); err != nil {
		n.t.Fatal(err)
	}
	return d
}

// publish makes a good package of one file with the keys.
func (n *node) publish(id catalog.PackageID, d catalog.Digest, keys ...symid.Key) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.packages[id] = append(n.packages[id], catalog.File{No: len(n.packages[id]), SHA256: d, Keys: keys})
	for _, k := range keys {
		n.winners[k.Index()] = catalog.Candidate{Package: id, Digest: d, State: catalog.StateGood}
		if !slices.ContainsFunc(n.keys, func(o symid.Key) bool { return o.Index() == k.Index() }) {
			n.keys = append(n.keys, k)
		}
	}
	slices.SortFunc(n.keys, func(a, b symid.Key) int { return strings.Compare(string(a.Index()), string(b.Index())) })
}

// hide makes keys unanswered, as the deletion of their package does.
func (n *node) hide(keys ...symid.Key) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, k := range keys {
		delete(n.winners, k.Index())
	}
}

func (n *node) config() share.Config {
	cfg := share.DefaultConfig()
	cfg.Dir, cfg.DataDir, cfg.Cluster = n.dir, n.data, cluster
	cfg.Retry, cfg.RetryMax = time.Millisecond, time.Millisecond
	return cfg
}

func (n *node) open() *share.Share {
	n.t.Helper()
	s, err := share.Open(n.config(), n.deps())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(s.Close)
	return s
}

func (n *node) deps() share.Deps {
	return share.Deps{Catalog: n, Blobs: n, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
}

// run runs s until done reports true, and returns its counts.
func (n *node) run(s *share.Share, done func(share.Stats) bool) share.Stats {
	n.t.Helper()
	ctx, cancel := context.WithCancel(n.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			n.t.Errorf("Run error = %v, want nil", err)
		}
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		if st := s.Stats(); done(st) {
			return st
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("nothing more happens, stats %+v", s.Stats())
		}
	}
}

func onePass(st share.Stats) bool { return st.Passes == 1 }

// sync opens the share, makes one full pass and closes it.
func (n *node) sync() share.Stats {
	n.t.Helper()
	s := n.open()
	defer s.Close()
	return n.run(s, onePass)
}

// tree lists the regular files and symbolic links below the share directory that
// are neither marker nor pingme.txt.
func (n *node) tree() []string {
	n.t.Helper()
	var names []string
	err := filepath.WalkDir(n.dir, func(p string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(n.dir, p)
		if err == nil && !e.IsDir() && rel != ".symkeep-share" && rel != "pingme.txt" {
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return names
}

func (n *node) wantTree(want ...string) {
	n.t.Helper()
	slices.Sort(want)
	if got := n.tree(); !slices.Equal(got, want) {
		n.t.Errorf("tree =\n %s\nwant\n %s", strings.Join(got, "\n "), strings.Join(want, "\n "))
	}
}

// wantFile checks that the cabinet at rel holds content under member.
func (n *node) wantFile(rel, member, content string) {
	n.t.Helper()
	b, err := os.ReadFile(filepath.Join(n.dir, rel))
	if err != nil {
		n.t.Error(err)
		return
	}
	info, err := cab.VerifyRaw(n.t.Context(), bytes.NewReader(b), int64(len(b)))
	if err != nil || info.Name != member {
		n.t.Errorf("%s: member %q, error %v, want %q", rel, info.Name, err, member)
		return
	}
	r, err := cab.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		n.t.Error(err)
		return
	}
	raw := make([]byte, info.RawSize)
	if _, err := r.ReadAt(raw, 0); err != nil || string(raw) != content {
		n.t.Errorf("%s: content %.40q, error %v, want %.40q", rel, raw, err, content)
	}
}

func (n *node) linked(rel string, d catalog.Digest) bool {
	a, err1 := os.Stat(filepath.Join(n.dir, rel))
	b, err2 := os.Stat(n.Path(d))
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

func pdb(name string, i int) symid.Key {
	return symid.PDBKey(name, symid.DebugID{GUID: symid.GUID{0xAB, byte(i >> 16), byte(i >> 8), byte(i)}, Age: 10})
}

func pe(name string, i int) symid.Key {
	return symid.PEKey(name, symid.CodeID{Timestamp: 0x5AB38077, ImageSize: uint32(i)})
}

// at is the path of the cabinet of k.
func at(k symid.Key) string {
	name := symid.Fold(k.Name)
	return name + "/" + k.StoreID() + "/" + symid.PackedName(name)
}

func TestFullPass(t *testing.T) {
	n := newNode(t)
	app, lib := pdb("App.PDB", 1), pe("app.exe", 0x9000)
	a, b := n.pack("pdb content", "app.pdb"), n.pack("exe content", "Other.exe")
	n.publish("P1", a, app, symid.BreakpadKey("app.pdb", symid.DebugID{}), symid.BuildIDKey("x", symid.Debuginfo, "y"))
	n.publish("P1", b, lib)
	st := n.sync()
	n.wantTree("app.pdb/AB000001000000000000000000000000a/app.pd_", "app.exe/5AB380779000/app.ex_")
	n.wantFile(at(app), "app.pdb", "pdb content")
	n.wantFile(at(lib), "app.exe", "exe content")
	if !n.linked(at(app), a) || n.linked(at(lib), b) {
		t.Errorf("linked = %v, %v, want the first a link, the second a copy", n.linked(at(app), a), n.linked(at(lib), b))
	}
	if st.Linked != 1 || st.Copied != 1 || st.Present != 2 || st.Failed != 0 {
		t.Errorf("stats = %+v, want 1 linked, 1 copied", st)
	}
	if st = n.sync(); st.Linked+st.Copied+st.Removed+st.Failed != 0 || st.Present != 2 {
		t.Errorf("second pass: stats = %+v, want nothing to do", st)
	}
}

func TestSkips(t *testing.T) {
	n := newNode(t)
	d := n.pack("x", "x")
	for i, name := range []string{"con", "NUL.pdb", "com1.dll", "lpt¹.sys", "a?.pdb", "a<b.pdb", "trailing ", "dot.", "x_",
		"pingme.txt", ".tmp", "index2.txt", "000Admin", ".symkeep-share", "commodore.pdb", "é漢.pdb"} {
		n.publish("P", d, pdb(name, i))
	}
	st := n.sync()
	n.wantTree(at(pdb("commodore.pdb", 14)), at(pdb("é漢.pdb", 15)))
	want := map[string]int{"name that Windows cannot open": 9, "name the store uses itself": 5}
	if fmt.Sprint(st.Skipped) != fmt.Sprint(want) {
		t.Errorf("skipped = %v, want %v", st.Skipped, want)
	}
}

// Blobs of the other container have no cabinet; nothing of them is in the tree.
func TestSkipGzipContainer(t *testing.T) {
	n := newNode(t)
	golden := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("../cab/testdata/golden", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	k, d := pdb("v1.raw", 1), catalog.Digest(sha256.Sum256(golden("v1.raw")))
	n.publish("P", d, k)
	replace(t, n.Path(d), golden("v1.cab"))
	n.sync()
	n.wantTree(at(k))
	replace(t, n.Path(d), golden("v1.gz"))
	if st := n.sync(); st.Skipped["too large for a cabinet"] != 1 || st.Removed != 1 {
		t.Errorf("stats = %+v, want one skipped and removed", st)
	}
	n.wantTree()
}

func TestRepairs(t *testing.T) {
	link, cp := pdb("a.pdb", 1), pdb("b.pdb", 2)
	for _, tt := range []struct {
		name  string
		spoil func(n *node, dir string)
	}{
		{"file is missing", func(n *node, dir string) { os.RemoveAll(filepath.Join(dir, "a.pdb")) }},
		{"folder is empty", func(n *node, dir string) { os.Remove(filepath.Join(dir, at(cp))) }},
		{"other content", func(n *node, dir string) {
			replace(n.t, filepath.Join(dir, at(link)), []byte("<html>"))
			replace(n.t, filepath.Join(dir, at(cp)), nil)
		}},
		{"copy is cut", func(n *node, dir string) { os.Truncate(filepath.Join(dir, at(cp)), 250) }},
		{"copy has rotted", func(n *node, dir string) {
			b, _ := os.ReadFile(filepath.Join(dir, at(cp)))
			b[len(b)-3] ^= 1
			replace(n.t, filepath.Join(dir, at(cp)), b)
		}},
		{"another blob", func(n *node, dir string) {
			b, _ := os.ReadFile(n.Path(n.pack("else", "a.pdb")))
			replace(n.t, filepath.Join(dir, at(link)), b)
		}},
		{"link became a copy", func(n *node, dir string) {
			b, _ := os.ReadFile(filepath.Join(dir, at(link)))
			replace(n.t, filepath.Join(dir, at(link)), b)
		}},
		{"swapped", func(n *node, dir string) {
			os.Rename(filepath.Join(dir, at(link)), filepath.Join(dir, "t"))
			os.Rename(filepath.Join(dir, at(cp)), filepath.Join(dir, at(link)))
			os.Rename(filepath.Join(dir, "t"), filepath.Join(dir, at(cp)))
		}},
		{"left over", func(n *node, dir string) {
			gone := pdb("gone.pdb", 3)
			os.MkdirAll(filepath.Join(dir, filepath.Dir(at(gone))), 0o755)
			os.Link(filepath.Join(dir, at(link)), filepath.Join(dir, at(gone)))
		}},
		{"killed between folder and file", func(n *node, dir string) {
			os.MkdirAll(filepath.Join(dir, filepath.Dir(at(pdb("gone.pdb", 3)))), 0o755)
			os.RemoveAll(filepath.Join(dir, "a.pdb"))
			os.MkdirAll(filepath.Join(dir, "a.pdb"), 0o755)
		}},
		{"killed before the rename", func(n *node, dir string) {
			os.Rename(filepath.Join(dir, at(cp)), filepath.Join(dir, ".tmp/new-1"))
			os.WriteFile(filepath.Join(dir, ".tmp/new-2"), []byte("half"), 0o644)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			a, b := n.pack("content a", "a.pdb"), n.pack("content b", "other.pdb")
			n.publish("P", a, link)
			n.publish("P", b, cp)
			n.sync()
			tt.spoil(n, n.dir)
			st := n.sync()
			n.wantTree(at(link), at(cp))
			n.wantFile(at(link), "a.pdb", "content a")
			n.wantFile(at(cp), "b.pdb", "content b")
			if !n.linked(at(link), a) || st.Failed != 0 || st.Foreign != 0 {
				t.Errorf("linked %v, stats %+v, want a link, no failure, nothing foreign", n.linked(at(link), a), st)
			}
			if _, err := os.Stat(filepath.Join(n.dir, "gone.pdb")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the folder of the key that is gone is still there: %v", err)
			}
		})
	}
}

// replace puts a new file at path, leaving links to the old one alone.
func replace(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path+"~", b, 0o644), os.Rename(path+"~", path)); err != nil {
		t.Fatal(err)
	}
}

// What the share did not make stays, also where its own files go.
func TestForeignEntriesStay(t *testing.T) {
	n := newNode(t)
	k := pdb("a.pdb", 1)
	n.publish("P", n.pack("a", "a.pdb"), k)
	n.sync()
	gone := filepath.Dir(at(pdb("gone.pdb", 2)))
	outside := filepath.Join(t.TempDir(), "outside")
	for _, rel := range []string{"README.txt", "Docs/x.txt", "a.pdb/notes.txt", "a.pdb/" + k.StoreID() + "/a.pdb",
		gone + "/gone.pd_", gone + "/refs.ptr", ".tmp/mine", "../outside/" + k.StoreID() + "/keep"} {
		p := filepath.Join(n.dir, rel)
		if strings.HasPrefix(rel, "../outside") {
			p = filepath.Join(outside, k.StoreID(), "keep")
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte("mine"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	other := pdb("link.pdb", 3)
	if err := os.Symlink(outside, filepath.Join(n.dir, "link.pdb")); err != nil {
		t.Fatal(err)
	}
	n.publish("P", n.pack("b", "link.pdb"), other)
	n.hide(k)
	s := n.open()
	st := n.run(s, func(st share.Stats) bool { return st.Passes >= 2 })
	n.wantTree("README.txt", "Docs/x.txt", "a.pdb/notes.txt", "a.pdb/"+k.StoreID()+"/a.pdb",
		gone+"/gone.pd_", gone+"/refs.ptr", ".tmp/mine", "link.pdb")
	if es, err := os.ReadDir(outside); err != nil || len(es) != 1 {
		t.Errorf("outside = %v, %v, want what was there", es, err)
	}
	if st.Foreign != 7 || st.Failed == 0 {
		t.Errorf("stats = %+v, want 7 foreign and the key behind the link failed", st)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(dir string) error
		want    string // part of the error, "" for none
	}{
		{"fresh", func(string) error { return nil }, ""},
		{"empty", func(dir string) error { return os.Mkdir(dir, 0o755) }, ""},
		{"killed before the marker", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, ".symkeep-share.new"), []byte("{"), 0o644))
		}, ""},
		{"somebody's", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "thesis.doc"), nil, 0o644))
		}, "thesis.doc"},
		{"other cluster", func(dir string) error { return marker(dir, `{"version":1,"cluster_id":"other"}`) }, "cluster other"},
		{"later version", func(dir string) error { return marker(dir, `{"version":2,"cluster_id":"`+string(cluster)+`"}`) }, "version 2"},
		{"broken marker", func(dir string) error { return marker(dir, `{"vers`) }, "not JSON"},
		{"marker is a link", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o755), os.Symlink("/etc/hostname", filepath.Join(dir, ".symkeep-share")))
		}, "not a file of ours"},
		{"a file", func(dir string) error { return os.WriteFile(dir, nil, 0o644) }, "not a directory"},
		{"tmp is a link", func(dir string) error {
			return errors.Join(marker(dir, `{"version":1,"cluster_id":"`+string(cluster)+`"}`), os.Symlink("..", filepath.Join(dir, ".tmp")))
		}, "not a directory"},
	} {
		n := newNode(t)
		if err := tt.prepare(n.dir); err != nil {
			t.Fatal(err)
		}
		s, err := share.Open(n.config(), n.deps())
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), n.dir)) {
			t.Errorf("%s: Open error = %v, want one with %q", tt.name, err, tt.want)
		}
		if err == nil {
			if _, err := share.Open(n.config(), n.deps()); err == nil || !strings.Contains(err.Error(), "another node") {
				t.Errorf("%s: second Open error = %v, want that another node uses it", tt.name, err)
			}
			s.Close()
		}
	}
}

func marker(dir, text string) error {
	return errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, ".symkeep-share"), []byte(text), 0o644))
}

func TestOpenRefusesOtherFileSystem(t *testing.T) {
	shm, err := os.MkdirTemp("/dev/shm", "share")
	if err != nil {
		t.Skip("no second file system: ", err)
	}
	defer os.RemoveAll(shm)
	n := newNode(t)
	cfg := n.config()
	cfg.Dir = shm
	s, err := share.Open(cfg, n.deps())
	if err == nil {
		s.Close()
		t.Skip("the temporary directory is on the same file system")
	}
	if !strings.Contains(err.Error(), "one file system") {
		t.Errorf("Open error = %v, want that both must be on one file system", err)
	}
}

func TestChanges(t *testing.T) {
	n := newNode(t)
	first, second := pdb("a.pdb", 1), pe("a.exe", 2)
	n.publish("P1", n.pack("one", "a.pdb"), first)
	s := n.open()
	n.run(s, onePass)
	ping := filepath.Join(n.dir, "pingme.txt")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(ping, old, old); err != nil {
		t.Fatal(err)
	}

	n.publish("P2", n.pack("two", "a.exe"), second)
	s.Changed("P2")
	n.run(s, func(st share.Stats) bool { return st.Linked == 2 })
	n.wantTree(at(first), at(second))
	if st, err := os.Stat(ping); err != nil || st.ModTime().Before(old.Add(time.Minute)) {
		t.Errorf("pingme.txt was not touched: %v, %v", st.ModTime(), err)
	}

	richer := n.pack("richer", "a.pdb")
	n.publish("P3", richer, first) // wins over P1
	s.Changed("P3")
	n.run(s, func(st share.Stats) bool { return st.Linked >= 3 })
	n.wantFile(at(first), "a.pdb", "richer")

	n.hide(second)
	s.Changed("P2")
	n.run(s, func(st share.Stats) bool { return st.Removed == 1 })
	n.wantTree(at(first))
	if _, err := os.Stat(filepath.Join(n.dir, "a.exe")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("folder a.exe: %v, want it gone", err)
	}
}

// More changes than fit the queue end in a full pass; none is lost.
func TestManyChanges(t *testing.T) {
	n := newNode(t)
	s := n.open()
	d := n.pack("x", "x.pdb")
	k := pdb("x.pdb", 1)
	n.publish("wanted", d, k)
	s.Changed("wanted")
	for i := range 5000 {
		s.Changed(catalog.PackageID(fmt.Sprint(i)))
	}
	n.run(s, onePass)
	n.wantTree(at(k))
}

// A blob the node lacks is fetched once; while no peer has it, it is tried again.
func TestFetch(t *testing.T) {
	n := newNode(t)
	k := pdb("a.pdb", 1)
	d := n.pack("far", "a.pdb")
	b, err := os.ReadFile(n.Path(d))
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(n.Path(d))
	n.publish("P", d, k)
	s := n.open()
	n.run(s, func(st share.Stats) bool { return st.Failed >= 3 })
	n.wantTree()
	n.mu.Lock()
	n.remote[d] = b
	n.mu.Unlock()
	n.run(s, func(st share.Stats) bool { return st.Linked == 1 })
	s.Close()
	os.Remove(n.Path(d)) // surplus there; the share's link keeps the bytes
	n.sync()
	n.wantFile(at(k), "a.pdb", "far")
	if n.fetched != 1 {
		t.Errorf("fetched %d times, want 1", n.fetched)
	}
}

// TestKill kills a process in the middle of its pass, several times; what it
// leaves is never a wrong file, and the next pass completes it.
func TestKill(t *testing.T) {
	const total = 400
	if dir := os.Getenv("SHARE_TEST_CHILD"); dir != "" {
		killChild(t, dir, total)
		return
	}
	n := newNode(t)
	for round := range 4 {
		child := exec.Command(os.Args[0], "-test.run=^TestKill$")
		child.Env = append(os.Environ(), "SHARE_TEST_CHILD="+filepath.Dir(n.dir), "TMPDIR="+t.TempDir()) // a killed process leaves its own behind
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for want := (round + 1) * total / 6; countNames(n.dir) < want; { // let it get on
			if child.ProcessState != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait()
	}
	for i := range total {
		n.publish("P", n.pack(fmt.Sprint("content ", i), fmt.Sprintf("m%d.pdb", i%2*i)), pdb(fmt.Sprintf("m%d.pdb", i), i))
	}
	for _, rel := range n.tree() {
		if name, _, _ := strings.Cut(rel, "/"); name != ".tmp" {
			n.wantFile(rel, name, "content "+strings.TrimSuffix(strings.TrimPrefix(name, "m"), ".pdb"))
		}
	}
	if st := n.sync(); st.Present != total || st.Failed != 0 || len(n.tree()) != total {
		t.Errorf("after the kills: stats %+v, %d files, want %d", st, len(n.tree()), total)
	}
}

func killChild(t *testing.T, base string, total int) {
	n := newNode(t)
	n.data, n.dir = filepath.Join(base, "data"), filepath.Join(base, "share")
	for i := range total {
		n.publish("P", n.pack(fmt.Sprint("content ", i), fmt.Sprintf("m%d.pdb", i%2*i)), pdb(fmt.Sprintf("m%d.pdb", i), i))
	}
	s := n.open()
	_ = s.Run(t.Context()) // until killed
}

func countNames(dir string) int {
	es, _ := os.ReadDir(dir)
	return len(es)
}

func TestMarkerNamesTheCluster(t *testing.T) {
	n := newNode(t)
	n.sync()
	b, err := os.ReadFile(filepath.Join(n.dir, ".symkeep-share"))
	var m map[string]any
	if err != nil || json.Unmarshal(b, &m) != nil || m["cluster_id"] != string(cluster) || m["version"] != 1.0 {
		t.Errorf("marker = %s, %v", b, err)
	}
}
