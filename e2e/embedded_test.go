package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/symid"
)

// TestEmbeddedPDB pushes an assembly that carries its portable PDB. Debuggers that do
// not look into images ask for the PDB by its id, and get it from another node.
func TestEmbeddedPDB(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	guid := symid.GUID{0x11, 0xc1, 0x19, 0xfb, 0x5d, 0xae, 0x4d, 0x8d, 0x8b, 0x4b, 0, 0xe9, 0x25, 0x27, 0xb8, 0x4f}
	pdb := symfiletest.PortablePDB{GUID: guid, Stamp: 7, Methods: 1, SourceLink: true}
	image := symfiletest.PE{Timestamp: 0x6553f100, ILOnly: true, Embedded: pdb.Bytes(), Checksum: pdb.Checksum(),
		Records: []symfiletest.CodeView{{GUID: guid, Age: 1, Path: "/_/obj/App.pdb", Portable: true, Stamp: 7}}}
	dir := filepath.Join(diskDir(t), "out")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "App.dll"), image.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	code, r := push(t, c.nodes[0].url(), "embedded", dir)
	if code != 0 || r.Verdict != catalog.Good || len(r.Files) != 2 || r.Files[1].Path != "App.dll/App.pdb" {
		t.Fatalf("push = exit %d, want 0, good, with App.dll/App.pdb: %+v", code, r)
	}
	for path, want := range map[string][]byte{
		"/App.pdb/" + guid.String() + "FFFFFFFF/App.pdb": pdb.Bytes(),
		"/app.pdb/" + guid.String() + "ffffffff/app.pdb": pdb.Bytes(),
		"/App.dll/6553F1003000/App.dll":                  image.Bytes(),
	} {
		if status, body := get(t, c.nodes[1], path); status != http.StatusOK || string(body) != string(want) {
			t.Errorf("GET %s = %d with %d bytes, want 200 with %d", path, status, len(body), len(want))
		}
	}
}
