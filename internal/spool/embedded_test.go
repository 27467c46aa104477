package spool_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"symkeep/internal/container"
	"symkeep/internal/spool"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/symid"
)

// managed returns an image that carries a portable PDB, and that PDB.
func managed(t *testing.T, embedded []byte) (image, pdb []byte) {
	t.Helper()
	p := symfiletest.PortablePDB{GUID: symid.GUID{7, 7, 7, 1}, Stamp: 0x1234}
	if embedded == nil {
		embedded = p.Bytes()
	}
	return symfiletest.PE{Timestamp: 0x6553f100, ILOnly: true, Embedded: embedded,
		Records: []symfiletest.CodeView{{GUID: p.GUID, Age: 1, Path: "app.pdb", Stamp: p.Stamp, Portable: true}}}.Bytes(), p.Bytes()
}

// addEmbedded expands a zip and returns the paths and contents of what came of it.
func addEmbedded(t *testing.T, b string) (paths []string, contents [][]byte, err error) {
	t.Helper()
	dir := spool.New(t.TempDir(), nil)
	defer dir.Close()
	files, err := dir.Expand(t.Context(), strings.NewReader(b), int64(len(b)), "a.zip")
	if err != nil {
		t.Fatal(err)
	}
	if files, err = dir.AddEmbedded(t.Context(), files, int64(len(b))); err != nil {
		return nil, nil, err
	}
	for _, f := range files {
		content, err := os.ReadFile(f.Local)
		if err != nil {
			t.Fatal(err)
		}
		paths, contents = append(paths, f.Path), append(contents, content)
	}
	return paths, contents, nil
}

func TestAddEmbedded(t *testing.T) {
	image, pdb := managed(t, nil)
	for _, tt := range []struct{ archive, want string }{
		{zipOf(t, "bin/app.dll", string(image), "b.sym", sym), "a.zip/bin/app.dll a.zip/bin/app.dll/app.pdb a.zip/b.sym"},
		{zipOf(t, "bin/app.dll", string(image), "app.pdb", string(pdb)), "a.zip/bin/app.dll a.zip/app.pdb"},
		{zipOf(t, "app.dll", string(image), "b/app.dll", string(image)), "a.zip/app.dll a.zip/app.dll/app.pdb a.zip/b/app.dll"},
		{zipOf(t, "app.dll", string(image), "app.dll/app.pdb", sym), "a.zip/app.dll a.zip/app.dll/app.pdb"},
	} {
		paths, contents, err := addEmbedded(t, tt.archive)
		if got := strings.Join(paths, " "); err != nil || got != tt.want {
			t.Errorf("files %s, %v; want %s", got, err, tt.want)
			continue
		}
		if strings.HasSuffix(paths[1], ".dll/app.pdb") && !bytes.Equal(contents[1], pdb) && string(contents[1]) != sym {
			t.Errorf("%s holds %d bytes, want the PDB of %d", paths[1], len(contents[1]), len(pdb))
		}
	}
}

// What images unpack to counts as what the archive does.
func TestAddEmbeddedBomb(t *testing.T) {
	image, _ := managed(t, make([]byte, 100<<20))
	if _, _, err := addEmbedded(t, zipOf(t, "app.dll", string(image))); !container.Faulty(err) {
		t.Errorf("AddEmbedded of 100 MiB in %d bytes = %v, want an error of the container", len(image), err)
	}
}
