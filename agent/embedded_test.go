package agent_test

import (
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/symid"
)

var embeddedGUID = symid.GUID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// managed is an assembly that carries its portable PDB.
func managed(stamp uint32) (dll, pdb string) {
	p := symfiletest.PortablePDB{GUID: embeddedGUID, Stamp: 7, Methods: 1, SourceLink: true}
	image := symfiletest.PE{Timestamp: stamp, ILOnly: true, Embedded: p.Bytes(), Checksum: p.Checksum(),
		Records: []symfiletest.CodeView{{GUID: embeddedGUID, Age: 1, Path: "/_/obj/App.pdb", Portable: true, Stamp: 7}}}
	return string(image.Bytes()), string(p.Bytes())
}

func TestEmbeddedPDBBecomesAFile(t *testing.T) {
	dll, _ := managed(1)
	native := string(symfiletest.PE{Timestamp: 2}.Bytes())
	r, got := checked(t, tree(t, map[string]string{"bin/App.dll": dll, "bin/native.exe": native, "pub.zip": zipped(t, map[string]string{"App.dll": dll})}))
	if r.Verdict != catalog.Good || len(got) != 4 {
		t.Fatalf("Check = %s, %v; want good, three images and one PDB", r.Verdict, got)
	}
	for _, f := range r.Files {
		if f.Path != "bin/App.dll/App.pdb" {
			continue
		}
		want := "App.pdb/" + embeddedGUID.String() + "ffffffff/App.pdb"
		if f.Kind != catalog.KindPortablePDB || !slices.Equal(f.Keys, []string{want}) || len(f.Findings) > 0 {
			t.Errorf("embedded PDB is %+v, want a portable PDB with the key %s and no findings", f, want)
		}
		return
	}
	t.Errorf("files %v, want bin/App.dll/App.pdb", got)
}

// A PDB that is there as a file is not taken out again, and a damaged one is the
// image's finding alone.
func TestEmbeddedPDBStaysInside(t *testing.T) {
	dll, pdb := managed(1)
	if _, got := checked(t, tree(t, map[string]string{"App.dll": dll, "App.pdb": pdb})); len(got) != 2 || got["App.pdb"] != "checked" {
		t.Errorf("files %v, want App.dll and App.pdb", got)
	}
	at := strings.Index(dll, "MPDB")
	broken := dll[:at+8] + "\xff\xff\xff\xff" + dll[at+12:]
	r, got := checked(t, tree(t, map[string]string{"App.dll": broken}))
	if r.Verdict != catalog.Failed || len(got) != 1 || !strings.Contains(got["App.dll"], "error PE-EMBED") {
		t.Errorf("Check of a damaged one = %s, %v; want failed by PE-EMBED of App.dll", r.Verdict, got)
	}
}
