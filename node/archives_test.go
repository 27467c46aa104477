package node

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/container"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/symid"
	"symkeep/symhttp"
)

// archiveOf packs files into a zip.
func archiveOf(t *testing.T, files ...content) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		w, err := z.Create(f.path)
		if err == nil {
			_, err = w.Write(f.bytes)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// putArchive sends an archive as curl does.
func (n *testNode) putArchive(id catalog.PackageID, name string, body []byte) (api.ArchiveResponse, error) {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), "PUT", fmt.Sprintf("%s/api/v1/packages/%s/archives/%s", n.c.Base(), id, name), bytes.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out api.ArchiveResponse
	answer := struct {
		*api.ArchiveResponse
		Error *api.Error `json:"error"`
	}{ArchiveResponse: &out}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		n.t.Fatal(err)
	}
	if answer.Error != nil {
		return out, answer.Error
	}
	return out, nil
}

// spooled lists what unpacking has left in the data directory.
func (n *testNode) spooled() []string {
	left, err := filepath.Glob(filepath.Join(n.blobs.Dir(), "tmp", "symkeep-*"))
	if err != nil {
		n.t.Fatal(err)
	}
	return left
}

// testArchive: what is in an archive is served as if an agent had pushed it, and the
// files that a symbol index names under the ids it gives them.
func testArchive(t *testing.T, n *testNode) {
	a, b := breakpad(71, 200), breakpad(72, 3<<20)
	dac, err := os.ReadFile(filepath.Join("..", "internal", "symfile", "elf", "testdata", "tiny.so"))
	if err != nil {
		t.Fatal(err)
	}
	const runtime = "/libmscordaccore.so/elf-buildid-00112233445566778899aabbccddeeff00112233/libmscordaccore.so"
	index := `[{"clientKey":"` + runtime[1:] + `","blobPath":"libmscordaccore.so"}]`
	inner := archiveOf(t, content{"symbol_index.json", []byte(index)}, content{"libmscordaccore.so", dac})
	pdb := symfiletest.PortablePDB{GUID: symid.GUID{7, 3}, Stamp: 7, Methods: 1, SourceLink: true}
	image := symfiletest.PE{Timestamp: 0x6553f100, ILOnly: true, Embedded: pdb.Bytes(), Checksum: pdb.Checksum(),
		Records: []symfiletest.CodeView{{GUID: pdb.GUID, Age: 1, Path: "App.pdb", Portable: true, Stamp: 7}}}
	archive := archiveOf(t, content{"sym/" + a.path, a.bytes}, content{"README", []byte("read me")}, content{"runtime.nupkg", inner}, content{"sym/" + b.path, b.bytes},
		content{"App.dll", image.Bytes()})
	id := n.open("archive", a)
	if err := n.upload(id, a); err != nil {
		t.Fatal(err)
	}
	for _, again := range []string{"first", "second"} {
		r, err := n.putArchive(id, "app.zip", archive)
		if err != nil || r.Files != 7 || r.Added != 6 || r.Ignored != 1 || len(r.Members) != 7 || r.Members[2].Path != "app.zip/runtime.nupkg/symbol_index.json" {
			t.Fatalf("%s PUT = %+v, %v; want 7 files, 6 of them of the archive", again, r, err)
		}
	}
	if r, err := n.c.Commit(t.Context(), id, api.CommitRequest{Files: 7}); err != nil || len(r.Lacking) > 0 {
		t.Fatalf("Commit = %+v, %v", r, err)
	}
	if st := n.await(id); st.State != catalog.StateGood {
		files, _ := n.c.Files(t.Context(), id, -1)
		t.Fatalf("package is %s: %+v", st.State, files)
	}
	n.serves(a)
	n.serves(b)
	if status, body := n.get(runtime); status != http.StatusOK || !bytes.Equal(body, dac) {
		t.Errorf("GET %s = %d with %d bytes, want 200 with %d", runtime, status, len(body), len(dac))
	}
	inside := "/App.pdb/" + pdb.GUID.String() + "FFFFFFFF/App.pdb"
	if status, body := n.get(inside); status != http.StatusOK || !bytes.Equal(body, pdb.Bytes()) {
		t.Errorf("GET %s = %d with %d bytes, want 200 with the %d that App.dll carries", inside, status, len(body), len(pdb.Bytes()))
	}
	if left := n.spooled(); len(left) > 0 {
		t.Errorf("unpacked files are left: %v", left)
	}
}

// testArchiveRefused: an archive that cannot be taken changes nothing, and the
// answer says why.
func testArchiveRefused(t *testing.T, n *testNode) {
	f := breakpad(73, 500)
	good := archiveOf(t, f)
	id := n.open("archive refused", f)
	for name, tt := range map[string]struct {
		body []byte
		text string
	}{
		"cut.zip":    {good[:len(good)-8], container.ErrDamaged.Error()},
		"bomb.zip":   {archiveOf(t, content{"a.sym", make([]byte, 80<<20)}), "at most 200 are accepted"},
		"slip.zip":   {archiveOf(t, f, content{"../../x.sym", f.bytes}), "only dots"},
		"empty.zip":  {archiveOf(t, content{"README", []byte("text")}), "no symbol file"},
		"hollow.zip": {archiveOf(t, f, content{"b.pdb", nil}), `"hollow.zip/b.pdb" is empty`},
		"a.7z":       {append([]byte("7z\xbc\xaf\x27\x1c"), make([]byte, 50)...), "unpack it"},
		"plain.sym":  {f.bytes, "not an archive"},
	} {
		_, err := n.putArchive(id, name, tt.body)
		wantError(t, "PUT "+name, err, catalog.ErrInvalid)
		if err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("PUT %s = %v, want a text with %q", name, err, tt.text)
		}
	}
	_, err := n.putArchive("01ARZ3NDEKTSV4RRFFQ69G5FAV", "a.zip", good)
	wantError(t, "PUT to an unknown package", err, catalog.ErrNotFound)
	broken := io.MultiReader(bytes.NewReader(good[:100]), failing{errors.New("cut")})
	_, err = n.AddArchive(t.Context(), symhttp.Archive{Package: id, Name: "a.zip", Size: int64(len(good))}, broken)
	wantError(t, "a body that breaks off", err, catalog.ErrUnavailable)
	if files, err := n.c.Files(t.Context(), id, -1); err != nil || len(files.Files) != 1 {
		t.Errorf("package has %d files, %v; want the one it was opened with", len(files.Files), err)
	}
	if left := n.spooled(); len(left) > 0 {
		t.Errorf("unpacked files are left: %v", left)
	}
	n.commit(id, f)
	_, err = n.putArchive(id, "a.zip", good)
	wantError(t, "PUT to a committed package", err, catalog.ErrConflict)
}
