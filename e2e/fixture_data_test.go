package e2e

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const oldData = "../node/testdata/data-0.1"

// unpack writes a .tar.gz into dir.
func unpack(t testing.TB, dir, archive string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", archive, err)
		}
		name, mode := filepath.Clean(h.Name), h.FileInfo().Mode()
		if mode.IsDir() {
			if err := root.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				t.Fatal(err)
			}
			continue
		}
		out, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode.Perm())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(out, r); err != nil {
			t.Fatalf("%s: %s: %v", archive, name, err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// expected reads lists of "SHA-256 path" and "404 path".
func expected(t testing.TB, files ...string) (served map[string]string, missing []string) {
	t.Helper()
	served = map[string]string{}
	for _, file := range files {
		f, err := os.Open(filepath.Join(oldData, file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			sum, path, ok := strings.Cut(s.Text(), " ")
			switch {
			case !ok:
				t.Fatalf("%s: line %q, wanted a sum and a path", file, s.Text())
			case sum == "404":
				missing = append(missing, path)
			default:
				served[path] = sum
			}
		}
	}
	if len(served) < 10 || len(missing) < 2 {
		t.Fatalf("%v: %d keys served and %d missing, want more", files, len(served), len(missing))
	}
	return served, missing
}

// checkMissing fails the test unless every node answers 404.
func checkMissing(t testing.TB, paths []string, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		for _, path := range paths {
			resp, err := once(n, path)
			if err != nil {
				t.Errorf("%s: GET %s: %v, want 404", n.name, path, err)
				continue
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s: GET %s: status %d, want 404", n.name, path, resp.StatusCode)
			}
		}
	}
}

// oldCluster prepares three nodes on the data directories of an archive. All their
// addresses have changed at once, so each is told where the others are now.
func oldCluster(t testing.TB, archive string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: diskDir(t)}
	unpack(t, c.dir, filepath.Join(oldData, archive))
	for i := range 3 {
		c.add(fmt.Sprintf("n%d", i+1))
	}
	for _, n := range c.nodes {
		n.flags = []string{"--join", c.nodes[0].gossip + "," + c.nodes[1].gossip + "," + c.nodes[2].gossip}
	}
	return c
}

// featureLevel returns the level in use, as every running node sees it.
func (c *cluster) featureLevel() int {
	c.t.Helper()
	level := 0
	for i, n := range c.running() {
		st, err := n.status()
		if err != nil {
			c.t.Fatal(err)
		}
		if i > 0 && st.Feature != level {
			c.t.Errorf("%s is at feature level %d, others at %d", n.name, st.Feature, level)
		}
		level = st.Feature
	}
	return level
}

// TestOldData starts this build on the data directories of the first release: what
// was good is served, and once the feature level is raised, what is new works too.
func TestOldData(t *testing.T) {
	for _, tt := range []struct {
		archive string
		expect  []string
	}{
		{"clean.tar.gz", []string{"expect"}},
		{"killed.tar.gz", []string{"expect", "expect-killed"}},
	} {
		t.Run(strings.TrimSuffix(tt.archive, ".tar.gz"), func(t *testing.T) {
			t.Parallel()
			served, missing := expected(t, tt.expect...)
			c := oldCluster(t, tt.archive)
			for _, n := range c.nodes {
				n.start()
			}
			c.waitHealthy(3, 60*time.Second)
			checkServed(t, served, c.nodes...)
			checkMissing(t, missing, c.nodes...)
			if level := c.featureLevel(); level != 1 {
				t.Errorf("feature level %d, want 1 until it is raised", level)
			}
			push := func(seed string) {
				t.Helper()
				for path, sum := range keysOf(t, mustPush(t, urls(c.nodes...), seed, makePackage(t, c.dir, seed))) {
					served[path] = sum
				}
			}
			push("level1")

			one := c.nodes[0].url()
			mustRun(t, 0, "", "cluster", "feature", "raise", "--yes", "--server", one)
			c.waitHealthy(3, 30*time.Second)
			if level := c.featureLevel(); level != 2 {
				t.Errorf("feature level %d after raising it, want 2", level)
			}
			push("level2")
			mustRun(t, 0, "", "cluster", "maintenance", "on", "n3", "--for", "10m", "--server", one) // a command of level 2
			for _, n := range c.nodes {
				n.stop()
			}
			for _, n := range c.nodes {
				n.flags = nil // the member table has the addresses now
				n.start()
			}
			c.waitHealthy(3, 60*time.Second)
			checkServed(t, served, c.nodes...)
			checkMissing(t, missing, c.nodes...)
			noPanics(t, c)
		})
	}
}
