package agent_test

import (
	"bytes"
	"errors"
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

// library is the content of a library whose debug information names the file tiny.c in a
// folder of four bytes.
func library(t *testing.T, folder string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "internal", "symfile", "elf", "testdata", "tiny.so"))
	if err != nil {
		t.Fatal(err)
	}
	from := []byte("/src\x00tiny.c")
	if !bytes.Contains(b, from) || len(folder) != 4 {
		t.Fatalf("no text %q in the fixture to write %q over", from, folder)
	}
	return string(bytes.ReplaceAll(b, from, []byte(folder+"\x00tiny.c")))
}

// sourcesOf checks a library with sources and returns the files of source that go with
// it, and the event.
func sourcesOf(t *testing.T, lib string, roots ...agent.SourceRoot) ([]api.ResultFile, agent.Event) {
	t.Helper()
	e := &events{}
	cfg := agent.Config{Paths: []string{tree(t, map[string]string{"lib/tiny.so": lib})}, Sources: &agent.Sources{Roots: roots}}
	r, err := agent.Check(t.Context(), cfg, e)
	if err != nil || r.Verdict != catalog.Good {
		t.Fatalf("Check = %+v, %v, want good", r, err)
	}
	told := e.of(agent.EventSources)
	if len(told) != 1 {
		t.Fatalf("%d events about sources, want 1", len(told))
	}
	return slices.DeleteFunc(r.Files, func(f api.ResultFile) bool { return f.Kind != catalog.KindSource }), told[0]
}

func TestSources(t *testing.T) {
	dir := tree(t, map[string]string{
		"good/tiny.c": "int x;\n", "empty/tiny.c": "", "binary/tiny.c": "a\x00b", ".git/tiny.c": "secret", "folder/tiny.c/x": "", "large/tiny.c": "",
		"linked/tiny.c": "->../.git/tiny.c", "foreign/tiny.c": "->/etc/passwd", "nothing/tiny.c": "->../nowhere",
	})
	if err := os.Truncate(filepath.Join(dir, "large", "tiny.c"), 33<<20); err != nil {
		t.Fatal(err)
	}
	root := func(from, to string) agent.SourceRoot {
		return agent.SourceRoot{From: from, To: filepath.Join(dir, to)}
	}
	for _, tt := range []struct {
		name, folder string
		roots        []agent.SourceRoot
		want, why    string // the path in the package, or why it is not there
	}{
		{"root", "/src", []agent.SourceRoot{root("/src", "good")}, ".source/src/tiny.c", ""},
		{"longest root", "/a/b", []agent.SourceRoot{root("/a", "empty"), root("/a/b", "good")}, ".source/a/b/tiny.c", ""},
		{"root of all", "/src", []agent.SourceRoot{{From: "/", To: dir}, root("/src/", "good")}, ".source/src/tiny.c", ""},
		{"relative", "./ab", []agent.SourceRoot{root("./ab", "good")}, ".source/ab/tiny.c", ""},
		{"relative, below any", "good", []agent.SourceRoot{{From: ".", To: dir}}, ".source/good/tiny.c", ""},
		{"of Windows", `C:\s`, []agent.SourceRoot{root(`C:\s`, "good")}, ".source/C%3A/s/tiny.c", ""},
		{"dots", "/a/.", []agent.SourceRoot{root("/a", "good")}, ".source/a/tiny.c", ""},
		{"no root", "/src", nil, "", `1 not found, such as "/src/tiny.c"`},
		{"relative without a root", "good", nil, "", "1 not found"},
		{"root of a longer name", "/src", []agent.SourceRoot{root("/sr", "good")}, "", "1 not found"},
		{"empty", "/src", []agent.SourceRoot{root("/src", "empty")}, "", "1 empty, not text"},
		{"binary", "/src", []agent.SourceRoot{root("/src", "binary")}, "", "1 empty, not text"},
		{"large", "/src", []agent.SourceRoot{root("/src", "large")}, "", "1 beyond"},
		{"folder", "/src", []agent.SourceRoot{root("/src", "folder")}, "", "1 empty, not text"},
		{"private", "/src", []agent.SourceRoot{root("/src", ".git")}, "", "of a place that holds no sources"},
		{"linked to a private one", "/src", []agent.SourceRoot{root("/src", "linked")}, "", "of a place that holds no sources"},
		{"linked to a system's", "/src", []agent.SourceRoot{root("/src", "foreign")}, "", "of a place that holds no sources"},
		{"linked to nothing", "/src", []agent.SourceRoot{root("/src", "nothing")}, "", "1 not found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files, e := sourcesOf(t, library(t, tt.folder), tt.roots...)
			switch {
			case tt.want == "" && (len(files) > 0 || e.Files != 0 || e.Ignored != 1 || !strings.Contains(e.Message, tt.why)):
				t.Errorf("files %+v, event %+v, want none: %s", files, e, tt.why)
			case tt.want != "" && (len(files) != 1 || files[0].Path != tt.want || e.Files != 1 || e.Bytes != 7 || e.Ignored != 0):
				t.Errorf("files %+v, event %+v, want %s", files, e, tt.want)
			}
		})
	}
}

func TestPushSources(t *testing.T) {
	c := agenttest.New(t, 1)
	dir := tree(t, map[string]string{"tiny.c": "int x;\n"})
	cfg := config(tree(t, map[string]string{"tiny.so": library(t, "/src")}))
	cfg.Sources = &agent.Sources{Roots: []agent.SourceRoot{{From: "/src", To: dir}}}
	if _, err := agent.Push(t.Context(), cfg, dial(t, c.URLs()...), &events{}); !errors.Is(err, catalog.ErrConflict) || !strings.Contains(err.Error(), "feature level 3") {
		t.Errorf("Push below level 3 = %v, want a conflict that names the level", err)
	}
	operator := dial(t, c.URLs()...)[0].(*api.Client)
	if _, err := operator.RaiseFeature(t.Context(), api.FeatureRequest{Level: 3}); err != nil {
		t.Fatal(err)
	}
	r, err := agent.Push(t.Context(), cfg, dial(t, c.URLs()...), &events{})
	if err != nil || r.Verdict != catalog.Good || len(r.Files) != 2 {
		t.Fatalf("Push = %+v, %v, want two good files", r, err)
	}
	if f := r.Files[1]; f.Kind != catalog.KindSource || f.Path != ".source/src/tiny.c" || f.Status != api.FileUploaded || len(f.Findings) > 0 {
		t.Errorf("source file = %+v", f)
	}
	if !slices.Contains(r.Files[0].Quality, catalog.QualitySources) {
		t.Errorf("quality %v, want sources", r.Files[0].Quality)
	}
}

func TestParseSourceRoot(t *testing.T) {
	for text, want := range map[string]agent.SourceRoot{
		"/a=/b": {From: "/a", To: "/b"}, "/a/=/b=c": {From: "/a", To: "/b=c"}, "/=b": {From: "/", To: "b"}, ".=b": {From: ".", To: "b"}, `C:\a\=b`: {From: `C:\a`, To: "b"},
	} {
		if got, err := agent.ParseSourceRoot(text); err != nil || got != want {
			t.Errorf("ParseSourceRoot(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "/a", "=b", "/a="} {
		if _, err := agent.ParseSourceRoot(bad); !errors.Is(err, agent.ErrUsage) {
			t.Errorf("ParseSourceRoot(%q) = %v, want ErrUsage", bad, err)
		}
	}
}
