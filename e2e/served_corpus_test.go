//go:build corpus

package e2e

import (
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// TestServedCorpus pushes to a node what is good of a corpus: its valid files one by one, and
// its packages. Other people's programs must accept every key in every form, and come
// to the bytes that were pushed. A valid file that cannot be asked for alone is left
// out, and named. Files of one key and other bytes meet in a corpus, so that a package is
// deleted before the next one comes.
func TestServedCorpus(t *testing.T) {
	s := newServed(t, newCluster(t, 1, nil).nodes[0])
	dir := os.Getenv("SYMKEEP_CORPUS")
	for _, path := range corpusFiles(t) {
		s.offer(t, "file", path)
	}
	for name, files := range goodScenarios(t, dir) {
		s.offer(t, name, layoutScenario(t, dir, files))
	}
	for _, tool := range slices.Sorted(maps.Keys(s.asked)) {
		t.Logf("%-15s accepts %d of %d", tool, s.accepted[tool], s.asked[tool])
		if s.asked[tool] == 0 {
			t.Errorf("%s was asked for nothing", tool)
		}
	}
	t.Logf("%d packages with %d files, %d keys; not good alone: %q", s.packages, s.files, s.keys, s.refused)
	if s.packages == 0 {
		t.Error("nothing was good")
	}
}

// goodScenarios are the packages of the manifest that must be good: "path" or
// "path=>name in the package".
func goodScenarios(t *testing.T, dir string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Scenarios []struct {
			ID, Verdict string
			Files       []string
		}
	}
	if err := json.Unmarshal(b, &manifest); err != nil {
		t.Fatal(err)
	}
	good := map[string][]string{}
	for _, s := range manifest.Scenarios {
		if s.Verdict == string(catalog.Good) {
			good[s.ID] = s.Files
		}
	}
	return good
}

// layoutScenario makes the folder of a package.
func layoutScenario(t *testing.T, dir string, files []string) string {
	t.Helper()
	out := t.TempDir()
	for _, f := range files {
		path, name, renamed := strings.Cut(f, "=>")
		if !renamed {
			name = filepath.Base(path)
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(out, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(out, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// served counts what programs make of the answers of a node.
type served struct {
	node                  *node
	packages, files, keys int
	refused               []string       // valid files that are no good package alone
	asked, accepted       map[string]int // by program
}

// A consumer is a program that takes what is served. Its script finds the URL in $1,
// works in a fresh directory and leaves one file below out.
type consumer struct {
	name   string
	form   func(key string) (path string, ok bool)
	script string
}

// consumers are other people's readers of every form of a key.
var consumers = []consumer{
	{"curl", asItIs, `curl -sSf -o out/file "$1"`},
	{"curl --compressed", asItIs, `curl -sSf --compressed -o out/file "$1"`},
	{"gzip", asItIs, `curl -sSf -H "Accept-Encoding: gzip" -o got "$1" && gzip -dc <got >out/file`},
	{"cabextract", packed, `curl -sSf -o got "$1" && cabextract -q -d out got`},
	{"gcab", packed, `curl -sSf -o got "$1" && gcab -x -n -C out got`},
	{"7z", packed, `curl -sSf -o got "$1" && 7z x -y -oout got`},
	{"bsdtar", packed, `curl -sSf -o got "$1" && bsdtar -x -C out -f got`},
	{"debuginfod-find", ofDebuginfod, `export DEBUGINFOD_URLS="${1%/buildid/*}" DEBUGINFOD_CACHE_PATH=cache
		of=${1#*/buildid/} && found=$(debuginfod-find "${of#*/}" "${of%/*}") && cp "$found" out/file`},
}

func newServed(t *testing.T, n *node) *served {
	for _, tool := range []string{"curl", "cabextract", "gcab", "7z", "bsdtar", "debuginfod-find"} {
		need(t, tool)
	}
	return &served{node: n, asked: map[string]int{}, accepted: map[string]int{}}
}

func asItIs(key string) (string, bool) { return key, true }

// packed is the name of the packed form, which keys of debuginfod do not have.
func packed(key string) (string, bool) {
	return key[:len(key)-1] + "_", !strings.HasPrefix(key, "buildid/")
}

func ofDebuginfod(key string) (string, bool) { return key, strings.HasPrefix(key, "buildid/") }

// offer pushes a path. If that is a good package, every program takes every key of it.
func (s *served) offer(t *testing.T, product, path string) {
	t.Helper()
	code, result := push(t, s.node.url(), product, path)
	if code != 0 {
		if product != "file" {
			t.Errorf("push of scenario %s = exit %d, want 0: %+v", product, code, result)
		}
		s.refused = append(s.refused, path)
		return
	}
	s.packages++
	keys := map[string][]string{} // the SHA-256 of the files that have it
	for _, f := range result.Files {
		if f.Status == api.FileIgnored {
			continue
		}
		s.files++
		s.compare(t, path, f)
		for _, k := range f.Keys {
			keys[k] = append(keys[k], f.SHA256.String())
		}
	}
	s.keys += len(keys)
	for key, want := range keys {
		for _, c := range consumers {
			if p, ok := c.form(key); ok {
				s.take(t, c, p, want, path)
			}
		}
	}
	if r := symkeep(t, "package", "delete", "--server", s.node.url(), string(result.Package)); r.code != 0 {
		t.Fatalf("package delete %s: exit %d: %s", result.Package, r.code, r.stderr)
	}
}

// compare wants a file that is no member of an archive to be, by its SHA-256, the one at
// or below the path that was pushed.
func (s *served) compare(t *testing.T, path string, f api.ResultFile) {
	t.Helper()
	onDisk := filepath.Join(path, f.Path)
	if fi, err := os.Stat(path); err == nil && !fi.IsDir() {
		onDisk = filepath.Join(filepath.Dir(path), f.Path)
	}
	if _, err := os.Stat(onDisk); err != nil {
		return
	}
	if got := hashFile(t, onDisk); got != f.SHA256.String() {
		t.Errorf("%s: push says SHA-256 %s, want %s", onDisk, f.SHA256, got)
	}
}

// take lets one program fetch a path and compares the file it leaves with what was pushed.
func (s *served) take(t *testing.T, c consumer, path string, want []string, pushed string) {
	dir, err := os.MkdirTemp(s.node.dir, "taken")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Mkdir(filepath.Join(dir, "out"), 0o755); err != nil {
		t.Fatal(err)
	}
	from := s.node.url() + (&url.URL{Path: "/" + path}).EscapedPath()
	r := command(t, time.Minute, "env", "-C", dir, "sh", "-c", c.script, "sh", from)
	s.asked[c.name]++
	got := "none"
	if file := onlyFile(filepath.Join(dir, "out")); file != "" {
		got = hashFile(t, file)
	}
	if r.code != 0 || !slices.Contains(want, got) {
		t.Errorf("%s of %s, pushed as %s: exit %d, SHA-256 %s, want one of %q: %s", c.name, from, pushed, r.code, got, want, tail([]byte(r.stderr), 500))
		return
	}
	s.accepted[c.name]++
}

// onlyFile is the path of the one file below dir, empty if there is not one.
func onlyFile(dir string) string {
	var found []string
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if len(found) != 1 {
		return ""
	}
	return found[0]
}
