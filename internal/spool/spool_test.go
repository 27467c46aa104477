package spool_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/container"
	"symkeep/internal/spool"
	"symkeep/internal/validate"
)

const sym = "MODULE Linux x86_64 0123456789ABCDEF0123456789ABCDEF0 app\nFUNC 1000 10 0 main\n"

// zipOf packs pairs of name and content.
func zipOf(t *testing.T, pairs ...string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		w, err := z.Create(pairs[i])
		if err == nil {
			_, err = io.WriteString(w, pairs[i+1])
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

func gzipOf(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.String()
}

// expand expands b in a Dir that the test's end closes.
func expand(t *testing.T, b, path string) ([]spool.File, string, error) {
	t.Helper()
	parent := t.TempDir()
	dir := spool.New(parent, nil)
	t.Cleanup(func() {
		dir.Close()
		if left, _ := os.ReadDir(parent); len(left) > 0 {
			t.Errorf("Close left %v behind", left)
		}
	})
	files, err := dir.Expand(t.Context(), strings.NewReader(b), int64(len(b)), path)
	return files, parent, err
}

func TestExpand(t *testing.T) {
	inner := zipOf(t, "lib/b.sym", sym+"PUBLIC 1 0 b\n", "note.md", "# note")
	b := zipOf(t, "bin/a.sym", sym, "README", "read me", "inner.zip", inner, "man/a.1.gz", gzipOf(".TH A"), "c.sym.gz", gzipOf(sym+"PUBLIC 1 0 c\n"),
		"bad.zip", inner[:len(inner)/2], "bin/a.sym", sym+"PUBLIC 2 0 later\n")
	files, _, err := expand(t, b, "out/app.zip")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // what becomes of each
		"out/app.zip/bin/a.sym": "kept", "out/app.zip/README": "ignored", "out/app.zip/inner.zip/lib/b.sym": "kept", "out/app.zip/inner.zip/note.md": "ignored",
		"out/app.zip/man/a.1.gz": "ignored", "out/app.zip/man/a.1.gz/a.1": "ignored", "out/app.zip/c.sym.gz/c.sym": "kept", "out/app.zip/bad.zip": "damaged",
	}
	for _, f := range files {
		got := "kept"
		switch {
		case f.Ignored:
			got = "ignored"
		case container.Faulty(f.Archive):
			got = "damaged"
		}
		if want[f.Path] != got {
			t.Errorf("%s is %s, want %q", f.Path, got, want[f.Path])
		}
		delete(want, f.Path)
		if f.Ignored {
			if len(f.Findings) == 0 || f.Findings[0].Severity != catalog.Info || f.Local != "" {
				t.Errorf("%s: findings %v and copy %q, want an info that says why and no copy", f.Path, f.Findings, f.Local)
			}
			continue
		}
		content, err := os.ReadFile(f.Local)
		if err != nil || int64(len(content)) != f.Size {
			t.Errorf("%s: copy of %d bytes, %v; want %d", f.Path, len(content), err, f.Size)
		}
		if f.Path == "out/app.zip/bin/a.sym" && !strings.Contains(string(content), "later") {
			t.Errorf("%s: the first of two members with this path was kept, want the later one", f.Path)
		}
	}
	for path := range want {
		t.Errorf("%s is not among the members", path)
	}
}

// Nothing that an archive calls its members leads out of the directory.
func TestNamesStayInside(t *testing.T) {
	files, parent, err := expand(t, zipOf(t, "../../up.sym", sym, "/abs.sym", sym, `c:\win.sym`, sym), "a.zip")
	if err != nil || len(files) != 3 {
		t.Fatalf("Expand = %d files, %v", len(files), err)
	}
	for _, f := range files {
		if rel, err := filepath.Rel(parent, f.Local); err != nil || strings.HasPrefix(rel, "..") {
			t.Errorf("%s was written to %s, outside of %s", f.Path, f.Local, parent)
		}
		if catalog.CheckPath(f.Path) == nil {
			t.Errorf("CheckPath(%q) accepts what leads out of the archive", f.Path)
		}
	}
}

func TestExpandErrors(t *testing.T) {
	good := zipOf(t, "a.sym", sym)
	if _, _, err := expand(t, good[:len(good)-30], "a.zip"); !container.Faulty(err) {
		t.Errorf("Expand of a cut zip = %v, want an error of the container", err)
	}
	files, _, err := expand(t, zipOf(t, "README", "text", "b.txt", "more"), "a.zip")
	if !errors.Is(err, validate.ErrNoSymbols) || len(files) != 2 {
		t.Errorf("Expand without a symbol file = %d files, %v; want 2 and ErrNoSymbols", len(files), err)
	}
	if files, _, err := expand(t, zipOf(t), "a.zip"); !errors.Is(err, validate.ErrNoSymbols) || len(files) != 0 {
		t.Errorf("Expand of an empty zip = %d files, %v; want ErrNoSymbols", len(files), err)
	}
	full := errors.New("no room")
	dir := spool.New(t.TempDir(), func(int64) (func(), error) { return nil, full })
	defer dir.Close()
	if _, err := dir.Expand(t.Context(), strings.NewReader(good), int64(len(good)), "a.zip"); !errors.Is(err, full) || container.Faulty(err) {
		t.Errorf("Expand without room = %v, want the error of the room", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := spool.New(t.TempDir(), nil).Expand(ctx, strings.NewReader(good), int64(len(good)), "a.zip"); !errors.Is(err, context.Canceled) {
		t.Errorf("Expand with a cancelled context = %v", err)
	}
}
