package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// runJSON runs a command that must exit with code, and decodes the JSON line it
// prints.
func runJSON(t testing.TB, code int, into any, args ...string) run {
	t.Helper()
	r := mustRun(t, code, "", append(args, "--json")...)
	if err := json.Unmarshal([]byte(strings.TrimSpace(r.stdout)), into); err != nil {
		t.Fatalf("symkeep %q printed %q: %v", args, r.stdout, err)
	}
	return r
}

// blobFiles returns the packed files below a directory.
func blobFiles(t testing.TB, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && len(e.Name()) == 64 {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d blobs, %v", dir, len(files), err)
	}
	return files
}

// flip changes one bit in the middle of a file.
func flip(t testing.TB, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A savedBackup is what `backup save` and `backup verify` print.
type savedBackup struct {
	OK                                      bool
	ClusterID                               catalog.ClusterID `json:"cluster_id"`
	Blobs, Fetched, There, Missing, Damaged int64
	NotHeld                                 int64 `json:"not_held"`
}

// TestBackupRestore saves a cluster while packages are pushed, loses it whole, and
// makes a new one of the backup.
func TestBackupRestore(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	var before []api.Result
	for i := range 2 {
		name := fmt.Sprintf("before%d", i)
		before = append(before, mustPush(t, urls(c.nodes...), name, makePackage(t, c.dir, name)))
	}
	var load []*pushing
	for i := range 6 {
		name := fmt.Sprintf("load%d", i)
		load = append(load, startPush(t, urls(c.nodes[i%3]), name, makePackage(t, c.dir, name)))
	}
	file, blobs := filepath.Join(c.dir, "symkeep.bak"), filepath.Join(c.dir, "kept")
	var saved, again savedBackup
	runJSON(t, 0, &saved, "backup", "save", file, "--blobs", blobs, "--server", urls(c.nodes...))
	if !saved.OK || saved.Blobs < 4 || saved.Fetched != saved.Blobs {
		t.Errorf("backup save = %+v, want every blob brought", saved)
	}
	during := 0
	for _, p := range load {
		if r := p.wait(t, 2*time.Minute); r.code == 0 {
			during++
		}
	}
	mustRun(t, 0, "", "backup", "save", file+"2", "--blobs", blobs, "--server", c.nodes[1].url())
	runJSON(t, 0, &again, "backup", "verify", file+"2", "--blobs", blobs, "--server", c.nodes[2].url())
	if !again.OK || again.There != again.Blobs || again.NotHeld != 0 || again.Blobs < saved.Blobs {
		t.Errorf("backup verify = %+v after %+v", again, saved)
	}
	t.Logf("saved %d blobs of %d, %d pushes ran meanwhile", saved.Blobs, again.Blobs, during)
	for _, n := range c.nodes {
		n.kill()
	}

	spoiled := blobFiles(t, blobs)[0]
	flip(t, spoiled)
	runJSON(t, 1, &again, "backup", "verify", file+"2", "--blobs", blobs)
	if again.OK || again.Damaged != 1 {
		t.Errorf("backup verify of a damaged blob = %+v", again)
	}
	flip(t, spoiled)
	flip(t, file+"2")
	mustRun(t, 1, "use another backup", "backup", "verify", file+"2")

	fresh := &cluster{t: t, dir: filepath.Join(c.dir, "fresh")}
	founder := fresh.add("r1")
	mustRun(t, 1, "use another backup", "backup", "restore", file+"2", "--data-dir", founder.dir)
	var res api.RestoreResult
	runJSON(t, 0, &res, "backup", "restore", file, "--data-dir", founder.dir, "--blobs", blobs)
	if res.Packages < 2 || res.Servable != res.Packages || res.Blobs.Missing+res.Blobs.Damaged != 0 || res.From != saved.ClusterID || res.ClusterID == res.From {
		t.Fatalf("backup restore = %+v", res)
	}
	mustRun(t, 1, "not empty", "backup", "restore", file, "--data-dir", founder.dir)
	mustRun(t, 0, "", "fsck", "--data-dir", founder.dir)
	founder.start()
	for i := range 2 {
		n := fresh.add(fmt.Sprintf("r%d", i+2), "--join", founder.gossip)
		n.start()
	}
	fresh.waitHealthy(3, 60*time.Second)
	keys := keysOf(t, before...)
	checkServed(t, keys, fresh.nodes...)
	after := mustPush(t, fresh.nodes[2].url(), "after", makePackage(t, c.dir, "after"))
	checkServed(t, keysOf(t, after), fresh.nodes...)
	eventually(t, 30*time.Second, "what was being validated is judged", func() error {
		st, err := founder.status()
		if err == nil && (st.Packages[string(catalog.StateCommitted)] > 0 || st.Packages[string(catalog.StateOpen)] > 0) {
			err = fmt.Errorf("packages %v", st.Packages)
		}
		return err
	})
	noPanics(t, fresh)
}

// TestRecoverLostQuorum loses two of three nodes, one of them with its disk, and
// goes on with the third, which is behind: it was down when the others took a
// package. The one that has its disk comes back later, with a log that goes on
// otherwise, and takes the survivor's catalog.
func TestRecoverLostQuorum(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	first := mustPush(t, urls(c.nodes...), "first", makePackage(t, c.dir, "first"))
	survivor, back, gone := c.nodes[0], c.nodes[1], c.nodes[2]
	mustRun(t, 4, "in use", "cluster", "recover", "--data-dir", survivor.dir)
	survivor.kill()
	lost := mustPush(t, urls(back, gone), "lost", makePackage(t, c.dir, "lost")) // the survivor never hears of it
	gone.kill()
	back.kill()
	if err := os.RemoveAll(gone.dir); err != nil {
		t.Fatal(err)
	}
	mustRun(t, 2, "out of the vote: n2 (", "cluster", "recover", "--data-dir", survivor.dir)
	var p api.RecoverPlan
	runJSON(t, 0, &p, "cluster", "recover", "--data-dir", survivor.dir, "--yes")
	if !p.Done || p.Name != "n1" || len(p.Voters) != 3 || p.GoesOn <= p.LastIndex {
		t.Errorf("cluster recover = %+v", p)
	}
	mustRun(t, 0, "", "fsck", "--data-dir", survivor.dir)
	survivor.start()
	eventually(t, 20*time.Second, "the survivor leads", func() error {
		st, err := survivor.status()
		if err == nil && st.Leader != p.Node {
			err = fmt.Errorf("leader %q: %v", st.Leader, st.Reasons)
		}
		return err
	})
	checkServed(t, keysOf(t, first), survivor)

	back.start()
	eventually(t, 40*time.Second, "the other survivor has caught up", func() error {
		st, err := survivor.status()
		if err != nil {
			return err
		}
		for _, n := range st.Nodes {
			if n.Name == back.name && n.State == "alive" && n.AppliedIndex > p.GoesOn { // a second vote comes with the third member
				return nil
			}
		}
		return fmt.Errorf("nodes %+v", st.Nodes)
	})
	for path := range keysOf(t, lost) {
		for _, n := range []*node{survivor, back} { // one catalog, the survivor's
			if code, _ := get(t, n, path); code != 404 {
				t.Errorf("%s: GET %s of a package that was lost: status %d, want 404", n.name, path, code)
			}
		}
	}
	second := mustPush(t, urls(back), "second", makePackage(t, c.dir, "second"))
	checkServed(t, keysOf(t, first, second), survivor, back)
	eventually(t, 40*time.Second, "the lost member removed", func() error {
		r := symkeep(t, "cluster", "remove", gone.name, "--yes", "--force", "--server", survivor.url())
		if r.code != 0 {
			return fmt.Errorf("exit status %d: %s", r.code, r.stderr)
		}
		return nil
	})
	c.waitHealthy(2, 40*time.Second)
	survivor.stop()
	back.kill()
	back.start() // on what it was sent
	survivor.start()
	c.waitHealthy(2, 40*time.Second)
	checkServed(t, keysOf(t, first, second), survivor, back)
	noPanics(t, c)
}

// TestFsck damages the data directory of a stopped node in every way that can be
// mended, mends it and lets the cluster bring back what is lost.
func TestFsck(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	res := mustPush(t, urls(c.nodes...), "p", makePackage(t, c.dir, "p"))
	n := c.nodes[1]
	mustRun(t, 4, "in use", "fsck", "--data-dir", n.dir)
	mustRun(t, 1, "no node-id", "fsck", "--data-dir", c.dir)
	eventually(t, 20*time.Second, "both copies", func() error {
		files, err := filepath.Glob(filepath.Join(n.dir, "blobs", "*", "*", "*"))
		if err == nil && len(files) < 2 {
			err = fmt.Errorf("%d blobs", len(files))
		}
		return err
	})
	n.stop()
	var r api.FsckReport
	runJSON(t, 0, &r, "fsck", "--data-dir", n.dir)
	if !r.OK || r.Blobs != 2 || len(r.Problems) != 0 {
		t.Errorf("fsck of a sound directory = %+v", r)
	}
	files := blobFiles(t, filepath.Join(n.dir, "blobs"))
	flip(t, files[0])
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	runJSON(t, 1, &r, "fsck", "--data-dir", n.dir)
	if r.OK || r.Damaged != 1 || r.Missing != 1 || r.Unindexed != 1 {
		t.Errorf("fsck of a damaged directory = %+v", r)
	}
	if out := symkeep(t, "fsck", "--data-dir", n.dir).stdout; !strings.Contains(out, "do: run fsck --repair") || !strings.Contains(out, "PROBLEMS") {
		t.Errorf("fsck printed %s", out)
	}
	r = api.FsckReport{}
	runJSON(t, 1, &r, "fsck", "--data-dir", n.dir, "--repair") // the missing copy is for the node to fetch
	aside, err := filepath.Glob(filepath.Join(n.dir, "quarantine", filepath.Base(files[0])+".*"))
	if err != nil || len(aside) != 2 {
		t.Errorf("quarantine holds %v, %v, want the damaged blob and the reason", aside, err)
	}
	if err := os.Remove(filepath.Join(n.dir, "local.db")); err != nil {
		t.Fatal(err)
	}
	runJSON(t, 1, &r, "fsck", "--data-dir", n.dir, "--repair")
	n.start()
	c.waitHealthy(2, 60*time.Second)
	eventually(t, 30*time.Second, "both copies are back", func() error {
		files, err := filepath.Glob(filepath.Join(n.dir, "blobs", "*", "*", "*"))
		if err == nil && len(files) != 2 {
			err = fmt.Errorf("%d blobs", len(files))
		}
		return err
	})
	n.stop()
	mustRun(t, 0, "", "fsck", "--data-dir", n.dir)
	flip(t, filepath.Join(n.dir, "raft", "raft.db"))
	if err := os.WriteFile(filepath.Join(n.dir, "fsm.db"), []byte(strings.Repeat("junk", 5000)), 0o600); err != nil {
		t.Fatal(err)
	}
	runJSON(t, 1, &r, "fsck", "--data-dir", n.dir)
	if len(r.Problems) == 0 || r.Problems[0].Check != "catalog" {
		t.Errorf("fsck of a junk catalog = %+v", r.Problems)
	}
	checkServed(t, keysOf(t, res), c.nodes[0])
}
