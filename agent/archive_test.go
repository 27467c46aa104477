package agent_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"symkeep/agent"
	"symkeep/agent/agenttest"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// zipped packs files, in the order of their names.
func zipped(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range sorted(files) {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, files[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// tarball packs files into a tar.gz.
func tarball(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	w := tar.NewWriter(g)
	for _, name := range sorted(files) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, files[name])
	}
	w.Close()
	g.Close()
	return b.String()
}

func sorted(files map[string]string) []string {
	var names []string
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// checked runs Check and returns the status of every file by path, and the
// severities and codes of its findings.
func checked(t *testing.T, paths ...string) (api.Result, map[string]string) {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	r, err := agent.Check(t.Context(), agent.Config{Paths: paths, Workers: 2}, &events{})
	if err != nil {
		t.Fatalf("Check(%v): %v", paths, err)
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("Check left %v behind", left)
	}
	all := map[string]string{}
	for _, f := range r.Files {
		text := string(f.Status)
		for _, x := range f.Findings {
			text += " " + string(x.Severity) + " " + x.Code
		}
		all[f.Path] = text
	}
	return r, all
}

func TestCheckLooksIntoArchives(t *testing.T) {
	a, b := string(sym("liba.so", 1, 0)), string(sym("libb.so", 2, 0))
	dir := tree(t, map[string]string{
		"out/app.zip":      zipped(t, map[string]string{"sym/liba.so.sym": a, "README.txt": "read me", "deep.tar.gz": tarball(t, map[string]string{"./libb.so.sym": b})}),
		"docs/manual.zip":  zipped(t, map[string]string{"index.txt": "nothing"}),
		"plain/c.sym":      string(sym("libc.so", 3, 0)),
		"plain/notes.docx": zipped(t, map[string]string{"word/document.xml": "<?xml version='1.0'?><w/>"}),
	})
	r, got := checked(t, dir)
	want := map[string]string{
		"out/app.zip/sym/liba.so.sym":         "checked",
		"out/app.zip/deep.tar.gz/libb.so.sym": "checked",
		"out/app.zip/README.txt":              "ignored info GEN-UNKNOWN",
		"docs/manual.zip":                     "ignored info GEN-CONTAINER",
		"docs/manual.zip/index.txt":           "ignored info GEN-UNKNOWN",
		"plain/c.sym":                         "checked",
		"plain/notes.docx":                    "ignored info GEN-CONTAINER",
		"plain/notes.docx/word/document.xml":  "ignored info GEN-HTML",
	}
	for path, text := range want {
		if got[path] != text {
			t.Errorf("%s: %q, want %q", path, got[path], text)
		}
	}
	if r.Verdict != catalog.Good || len(got) != len(want) {
		t.Errorf("Check = %s with %d files, want good with %d: %v", r.Verdict, len(got), len(want), got)
	}
}

// A symbol index gives its keys to the files beside it, in a folder and in an
// archive.
func TestCheckReadsIndexes(t *testing.T) {
	const key = "liba.so/sha1-0123456789abcdef0123456789abcdef01234567/liba.so"
	index, a := `[{"clientKey":"`+key+`","blobPath":"lib/a.sym"}]`, string(sym("liba.so", 1, 0))
	dir := tree(t, map[string]string{
		"folder/symbol_index.json": index, "folder/lib/a.sym": a,
		"b.nupkg": zipped(t, map[string]string{"symbol_index.json": index, "lib/a.sym": a}),
	})
	r, got := checked(t, dir)
	for _, path := range []string{"folder/symbol_index.json", "b.nupkg/symbol_index.json"} {
		if got[path] != "checked" {
			t.Errorf("%s: %q, want it checked without a finding", path, got[path])
		}
	}
	for _, f := range r.Files {
		if strings.HasSuffix(f.Path, "lib/a.sym") && !slices.Contains(f.Keys, key) {
			t.Errorf("%s has the keys %v, want %s among them", f.Path, f.Keys, key)
		}
	}
	if r.Verdict != catalog.Good {
		t.Errorf("Check = %s, want good: %v", r.Verdict, got)
	}
}

func TestCheckRefusesArchives(t *testing.T) {
	good := zipped(t, map[string]string{"liba.so.sym": string(sym("liba.so", 1, 0))})
	zeros := zipped(t, map[string]string{"a.sym": strings.Repeat("\x00", 80<<20)})
	for name, tt := range map[string]struct {
		content, file, code, text string
	}{
		"cut.zip":   {good[:len(good)-20], "cut.zip", "GEN-CONTAINER", "damaged"},
		"bomb.zip":  {zeros, "bomb.zip", "GEN-CONTAINER", "at most 200 are accepted"},
		"slip.zip":  {zipped(t, map[string]string{"../../a.sym": string(sym("a", 1, 0))}), "slip.zip/../../a.sym", "GEN-NAME", "only dots"},
		"abs.zip":   {zipped(t, map[string]string{"/a.sym": string(sym("a", 1, 0))}), "abs.zip//a.sym", "GEN-NAME", "empty"},
		"a.7z":      {"7z\xbc\xaf\x27\x1c" + strings.Repeat("\x00", 40), "a.7z", "GEN-CONTAINER", "unpack it"},
		"empty.zip": {zipped(t, map[string]string{"README": "text"}), "empty.zip", "GEN-CONTAINER", "no symbol file"},
		"app.pdb":   {good, "app.pdb", "GEN-CONTAINER", "an archive (zip)"},
		"cut.gz":    {"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x01\x02", "cut.gz", "GEN-COMPRESSED", "damaged"},
	} {
		path := filepath.Join(tree(t, map[string]string{name: tt.content}), name)
		r, _ := checked(t, path)
		if r.Verdict != catalog.Failed {
			t.Errorf("Check(%s) = %s, want failed", name, r.Verdict)
		}
		found := false
		for _, f := range r.Files {
			for _, x := range f.Findings {
				found = found || f.Path == tt.file && x.Code == tt.code && x.Severity == catalog.Error && strings.Contains(x.Message, tt.text)
			}
		}
		if !found {
			t.Errorf("Check(%s): no error %s about %q at %s in %+v", name, tt.code, tt.text, tt.file, r.Files)
		}
	}
}

// A member is read more than once after the scan: hashed, sent, and sent again
// from where a connection broke.
func TestPushSendsMembers(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	c := agenttest.New(t, 1)
	big := string(sym("libbig.so", 9, 6<<20))
	dir := tree(t, map[string]string{
		"app.snupkg": zipped(t, map[string]string{"lib/liba.so.sym": string(sym("liba.so", 1, 0)), "app.nuspec": "<package/>", "lib/libbig.so.sym": big}),
	})
	var told events
	r, err := agent.Push(t.Context(), config(dir), dial(t, c.URLs()...), &told)
	if err != nil || r.Verdict != catalog.Good {
		t.Fatalf("Push = %+v, %v, want good", r, err)
	}
	want := map[string]api.FileStatus{
		"app.snupkg/lib/liba.so.sym": api.FileUploaded, "app.snupkg/lib/libbig.so.sym": api.FileUploaded, "app.snupkg/app.nuspec": api.FileIgnored,
	}
	if got := statuses(r); !maps.Equal(got, want) {
		t.Errorf("statuses = %v, want %v", got, want)
	}
	if e := told.of(agent.EventUnpacked); len(e) != 1 || e[0].Files != 2 || e[0].Ignored != 1 || e[0].Path != "app.snupkg" {
		t.Errorf("events = %+v, want one that tells of app.snupkg, 2 files and 1 ignored", e)
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("Push left %v behind", left)
	}
}

// What was unpacked is removed when the push is interrupted, too.
func TestInterruptedPushRemovesMembers(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	c := agenttest.New(t, 1)
	dir := tree(t, map[string]string{"app.zip": zipped(t, map[string]string{"liba.so.sym": string(sym("liba.so", 1, 0))})})
	ctx, cancel := context.WithCancel(t.Context())
	sawFiles := false
	_, err := agent.Push(ctx, config(dir), dial(t, c.URLs()...), reporterFunc(func(e agent.Event) {
		if e.Event == agent.EventOpened {
			left, _ := os.ReadDir(tmp)
			sawFiles = len(left) == 1
			cancel()
		}
	}))
	if !errors.As(err, new(*agent.Interrupted)) || !sawFiles {
		t.Errorf("Push = %v, unpacked files seen: %t; want an Interrupted after they were", err, sawFiles)
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("an interrupted Push left %v behind", left)
	}
}

type reporterFunc func(agent.Event)

// Report implements agent.Reporter.
func (f reporterFunc) Report(e agent.Event) { f(e) }

// An archive that cannot be opened fails the push before anything is sent.
func TestPushOfDamagedArchive(t *testing.T) {
	c := agenttest.New(t, 1)
	b := zipped(t, map[string]string{"liba.so.sym": string(sym("liba.so", 1, 0))})
	dir := tree(t, map[string]string{"app.zip": b[:len(b)-10], "b.sym": string(sym("b", 2, 0))})
	r, err := agent.Push(t.Context(), config(dir), dial(t, c.URLs()...), &events{})
	if err != nil || r.Package != "" || r.Verdict != catalog.Failed {
		t.Errorf("Push = package %q, %s, %v; want no package and failed", r.Package, r.Verdict, err)
	}
}
