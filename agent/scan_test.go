package agent_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"symkeep/agent"
	"symkeep/internal/catalog"
	"symkeep/internal/spool"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// events collects what a Reporter is told.
type events struct {
	mu  sync.Mutex
	all []agent.Event
}

func (e *events) Report(ev agent.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

func (e *events) of(kind agent.EventKind) []agent.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []agent.Event
	for _, ev := range e.all {
		if ev.Event == kind {
			out = append(out, ev)
		}
	}
	return out
}

// sym returns a Breakpad file of at least size bytes whose id ends in n.
func sym(name string, n byte, size int) []byte {
	id := strings.Repeat("0", 30) + string("0123456789ABCDEF"[n>>4]) + string("0123456789ABCDEF"[n&15])
	b := bytes.NewBufferString("MODULE Linux x86_64 " + id[:31] + string(id[31]) + "0 " + name + "\nFUNC 1000 10 0 main\n")
	for i := 0; b.Len() < size; i++ {
		b.WriteString("PUBLIC 2000 0 a_symbol_that_fills_the_file_with_text_to_send\n")
	}
	return b.Bytes()
}

// tree writes files below a new folder; a value starting with -> is a link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "->"); ok {
			err = os.Symlink(filepath.FromSlash(target), path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// scan is Scan with a place for what archives hold.
func scan(t *testing.T, ctx context.Context, paths []string, workers int, report agent.Reporter) ([]agent.File, error) {
	t.Helper()
	dir := spool.New(t.TempDir(), nil)
	t.Cleanup(func() { dir.Close() })
	return agent.Scan(ctx, paths, dir, workers, report)
}

func paths(files []agent.File) []string {
	var ps []string
	for _, f := range files {
		p := f.Path
		if f.Ignored {
			p += " ignored"
		}
		ps = append(ps, p)
	}
	return ps
}

func TestScan(t *testing.T) {
	foo, bar := string(sym("foo", 1, 0)), string(sym("bar", 2, 0))
	for _, tt := range []struct {
		name  string
		files map[string]string
		args  []string
		want  []string
	}{
		{"names in order, folders inside", map[string]string{"b.sym": foo, "a/z.sym": bar, "a/README.txt": "hi"}, []string{"."},
			[]string{"a/README.txt ignored", "a/z.sym", "b.sym"}},
		{"arguments in order", map[string]string{"b/b.sym": foo, "a/a.sym": bar}, []string{"b", "a"}, []string{"b.sym", "a.sym"}},
		{"a named file is never ignored", map[string]string{"a.sym": foo, "README.txt": "hi"}, []string{"a.sym", "README.txt"}, []string{"a.sym", "README.txt"}},
		{"a named file inside a named folder", map[string]string{"d/a.sym": foo, "d/x.txt": "hi"}, []string{"d", "d/x.txt"}, []string{"a.sym", "x.txt"}},
		{"a link to a file counts once", map[string]string{"lib.sym": foo, "link.sym": "->lib.sym", "also": "->lib.sym"}, []string{"."}, []string{"lib.sym"}},
		{"a link out of the folder", map[string]string{"in/link.sym": "->../out/lib.sym", "out/lib.sym": foo}, []string{"in"}, []string{"link.sym"}},
		{"no loops", map[string]string{"d/a.sym": foo, "d/up": "->..", "d/self": "->."}, []string{"."}, []string{"d/a.sym"}},
		{"a link to nothing", map[string]string{"a.sym": foo, ".#lock": "->nobody@nowhere"}, []string{"."}, []string{"a.sym"}},
		{"a link as the argument", map[string]string{"real/a.sym": foo, "link": "->real"}, []string{"link"}, []string{"a.sym"}},
		{"the same folder twice", map[string]string{"d/a.sym": foo}, []string{"d", "d/", "d/a.sym"}, []string{"a.sym"}},
		{"one path in two folders", map[string]string{"x64/a.sym": foo, "arm/a.sym": bar, "arm/b.sym": bar + "\n"}, []string{"x64", "arm"},
			[]string{"x64/a.sym", "arm/a.sym", "b.sym"}},
		{"a bundle without DWARF", map[string]string{"a.sym": foo, "a.dSYM/Contents/Info.plist": "<plist/>"}, []string{"."}, []string{"a.dSYM/Contents/Info.plist", "a.sym"}},
		{"a bundle with something for DWARF", map[string]string{"a.sym": foo, "a.dSYM/Contents/Info.plist": "<plist/>", "a.dSYM/Contents/Resources/DWARF/a": "hi"}, []string{"."},
			[]string{"a.dSYM/Contents/Info.plist ignored", "a.dSYM/Contents/Resources/DWARF/a", "a.sym"}},
		{"bundles of one name in two folders", map[string]string{
			"x/a.dSYM/Contents/Info.plist": "<plist/>", "x/a.dSYM/Contents/Resources/DWARF/a": "hi",
			"y/a.dSYM/Contents/Info.plist": "<plist/>", "y/a.dSYM/Contents/Resources/DWARF/b": "ho"}, []string{"x", "y"},
			[]string{"x/a.dSYM/Contents/Info.plist ignored", "a.dSYM/Contents/Resources/DWARF/a", "y/a.dSYM/Contents/Info.plist ignored", "a.dSYM/Contents/Resources/DWARF/b"}},
		{"an application", map[string]string{"a.sym": foo, "a.app/Contents/Info.plist": "<plist/>"}, []string{"."}, []string{"a.app/Contents/Info.plist ignored", "a.sym"}},
		{"one name of two files", map[string]string{"o/x64/a.sym": foo, "o/arm/a.sym": bar}, []string{"o/x64/a.sym", "o/arm/a.sym"},
			[]string{"o/x64/a.sym", "o/arm/a.sym"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(tree(t, tt.files))
			got, err := scan(t, t.Context(), tt.args, 2, &events{})
			if err != nil {
				t.Fatalf("Scan(%q) error = %v", tt.args, err)
			}
			if !slices.Equal(paths(got), tt.want) {
				t.Errorf("Scan(%q) = %q, want %q", tt.args, paths(got), tt.want)
			}
		})
	}
}

func TestScanRefuses(t *testing.T) {
	foo := string(sym("foo", 1, 0))
	for _, tt := range []struct {
		name  string
		files map[string]string
		args  []string
		usage bool
		text  string
	}{
		{"no argument", nil, nil, true, "no PATH"},
		{"empty argument", nil, []string{""}, true, "PATH is empty"},
		{"missing path", nil, []string{"nope"}, true, "nope: no such file or folder"},
		{"empty folder", map[string]string{"d/e/f/.keep": "->nothing"}, []string{"d"}, true, "no files there"},
		{"nothing but others", map[string]string{"d/a.txt": "hi"}, []string{"d"}, true, "1 files, none of them a symbol file"},
		{"a symbol link to nothing", map[string]string{"d/a.pdb": "->nothing", "d/b.sym": foo}, []string{"d"}, false, "link to nothing under the name of a symbol file"},
		{"names that stay equal", map[string]string{"d/a.sym": foo, "a.sym": foo + "\n"}, []string{"d", "d/../a.sym"}, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(tree(t, tt.files))
			files, err := scan(t, t.Context(), tt.args, 0, &events{})
			if tt.text == "" { // made distinct after all
				if err != nil || len(files) != 2 || files[0].Path == files[1].Path {
					t.Errorf("Scan(%q) = %q, %v, want two distinct paths", tt.args, paths(files), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.text) || errors.Is(err, agent.ErrUsage) != tt.usage {
				t.Errorf("Scan(%q) error = %v, want %q, usage %v", tt.args, err, tt.text, tt.usage)
			}
		})
	}
}

func TestScanUnreadable(t *testing.T) {
	dir := tree(t, map[string]string{"a.sym": string(sym("a", 1, 0)), "b.sym": "x"})
	if err := os.Chmod(filepath.Join(dir, "b.sym"), 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // may read everything but a link in a circle
		if err := errors.Join(os.Remove(filepath.Join(dir, "b.sym")), os.Symlink("b.sym", filepath.Join(dir, "b.sym"))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := scan(t, t.Context(), []string{dir}, 0, &events{}); err == nil || !strings.Contains(err.Error(), "b.sym") || !strings.Contains(err.Error(), "nothing was uploaded") {
		t.Errorf("Scan error = %v, want one that names b.sym", err)
	}
}

func TestScanFacts(t *testing.T) {
	content := sym("foo", 7, 3<<20)
	dir := tree(t, map[string]string{"foo.sym": string(content)})
	var told events
	files, err := scan(t, t.Context(), []string{dir}, 0, &told)
	if err != nil || len(files) != 1 {
		t.Fatalf("Scan = %d files, %v", len(files), err)
	}
	f := files[0]
	if f.SHA256 != catalog.Digest(sha256.Sum256(content)) || f.Size != int64(len(content)) || f.Identity.Kind != catalog.KindBreakpad || len(f.Identity.Keys) != 1 {
		t.Errorf("Scan = %+v, want digest, size, kind and one key", f)
	}
	if p := told.of(agent.EventScanning); len(p) == 0 || p[len(p)-1].Done != f.Size || p[len(p)-1].Total != f.Size {
		t.Errorf("Scan progress = %+v, want it to end at %d", p, f.Size)
	}
	if s := told.of(agent.EventScanned); len(s) != 1 || s[0].Files != 1 || s[0].Bytes != f.Size {
		t.Errorf("Scan summary = %+v, want one file", s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := scan(t, ctx, []string{dir}, 0, &events{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Scan after cancel = %v, want context.Canceled", err)
	}
}

func TestBodyKeepsBackChangedFile(t *testing.T) {
	content := sym("foo", 1, 100_000)
	for _, tt := range []struct {
		name   string
		change func(path string) error
	}{
		{"other bytes, same size and time", func(path string) error {
			fi, err := os.Stat(path)
			if err != nil {
				return err
			}
			other := bytes.Clone(content)
			other[50] ^= 1
			return errors.Join(os.WriteFile(path, other, 0o644), os.Chtimes(path, time.Time{}, fi.ModTime()))
		}},
		{"shorter", func(path string) error { return os.Truncate(path, 10) }},
		{"longer", func(path string) error { return os.WriteFile(path, append(bytes.Clone(content), 'x'), 0o644) }},
	} {
		for _, offset := range []int64{0, 60_000, int64(len(content))} {
			dir := tree(t, map[string]string{"foo.sym": string(content)})
			files, err := scan(t, t.Context(), []string{dir}, 0, &events{})
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.change(files[0].Local); err != nil {
				t.Fatal(err)
			}
			var sent int64
			b, err := agent.OpenBody(&files[0], offset)
			if err == nil {
				sent, err = io.Copy(io.Discard, b)
				b.Close()
			}
			if !errors.Is(err, agent.ErrChanged) || !strings.Contains(err.Error(), "foo.sym") || (offset < files[0].Size && offset+sent >= files[0].Size) {
				t.Errorf("%s, from %d: sent %d bytes, error = %v, want ErrChanged before the end", tt.name, offset, sent, err)
			}
		}
	}
}

func TestBodySendsTheRest(t *testing.T) {
	content := sym("foo", 1, 3<<20)
	dir := tree(t, map[string]string{"foo.sym": string(content)})
	files, err := scan(t, t.Context(), []string{dir}, 0, &events{})
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range []int64{0, 1, 1 << 20, int64(len(content)) - 1, int64(len(content))} {
		b, err := agent.OpenBody(&files[0], offset)
		if err != nil {
			t.Fatalf("OpenBody(%d) error = %v", offset, err)
		}
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, content[offset:]) {
			t.Errorf("body from %d = %d bytes, %v, want the last %d", offset, len(got), err, len(content)-int(offset))
		}
		b.Close()
	}
}

func TestReportPairs(t *testing.T) {
	id := symid.DebugID{GUID: symid.GUID{1}, Age: 1}
	key := symid.PDBKey("app.pdb", id)
	ref := validate.Ref{Kind: validate.RefPDB, Name: "app.pdb", Debug: id, Keys: []symid.IndexKey{key.Index()}}
	exe := agent.File{Path: "bin/app.exe", Identity: validate.Identity{Refs: []validate.Ref{ref}}}
	pdb := agent.File{Path: "sym/app.pdb", Identity: validate.Identity{Keys: []catalog.RankedKey{{Key: key}}}}
	link := agent.File{Path: "libx.so", Identity: validate.Identity{Refs: []validate.Ref{{Kind: validate.RefDebugLink, Name: "libx.so.debug"}}}}
	for _, tt := range []struct {
		name  string
		files []agent.File
		want  string
	}{
		{"both halves", []agent.File{exe, pdb}, "paired bin/app.exe sym/app.pdb"},
		{"one half", []agent.File{exe}, "half-missing bin/app.exe app.pdb"},
		{"another id", []agent.File{exe, {Path: "app.pdb"}}, ""},
		{"ignored half", []agent.File{exe, {Path: "x/app.pdb", Ignored: true, Identity: pdb.Identity}}, "half-missing bin/app.exe app.pdb"},
		{"by name", []agent.File{link, {Path: "debug/LIBX.so.debug"}}, "paired libx.so debug/LIBX.so.debug"},
		{"debug file missing", []agent.File{link}, "half-missing libx.so libx.so.debug"},
	} {
		var told events
		agent.ReportPairs(tt.files, &told)
		got := ""
		for _, e := range told.all {
			got += strings.Join([]string{string(e.Event), e.Path, e.Other}, " ")
		}
		if got != tt.want {
			t.Errorf("%s: reportPairs told %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestScanRefusesEqualPaths(t *testing.T) {
	dir := tree(t, map[string]string{"w/a/f.sym": string(sym("f", 1, 0)), "a/f.sym": string(sym("f", 2, 0))})
	t.Chdir(filepath.Join(dir, "w"))
	_, err := scan(t, t.Context(), []string{"a", "../a"}, 0, &events{})
	if !errors.Is(err, agent.ErrUsage) || !strings.Contains(err.Error(), `would both be "a/f.sym"`) {
		t.Errorf("Scan = %v, want an ErrUsage that names a/f.sym", err)
	}
}
