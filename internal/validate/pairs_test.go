package validate_test

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

var other = symid.GUID{1, 2, 3}

func pdbOf(g symid.GUID, age uint32) []byte {
	p := goodPDB
	p.GUID, p.Age = g, age
	return p.Bytes()
}

func peOf(records ...symfiletest.CodeView) []byte {
	return symfiletest.PE{Timestamp: 1, Records: records}.Bytes()
}

func TestPEPairs(t *testing.T) {
	rsds := symfiletest.CodeView{GUID: guid, Age: 1, Path: "app.pdb"}
	portable := symfiletest.CodeView{GUID: guid, Age: 1, Path: "app.pdb", Portable: true, Stamp: 7}
	ppdb := symfiletest.PortablePDB{GUID: guid, Stamp: 7, Methods: 1, SourceLink: true}
	il := ppdb
	il.GUID = other
	wrongStamp := ppdb
	wrongStamp.Stamp = 8
	compiled := symfiletest.PE{Timestamp: 1, Records: []symfiletest.CodeView{portable}, Checksum: ppdb.Checksum()}
	changed := ppdb.Bytes()
	changed[len(changed)-1] ^= 1
	embedded := symfiletest.PE{Timestamp: 1, Records: []symfiletest.CodeView{portable}, Embedded: ppdb.Bytes()}
	for _, tt := range []struct {
		name  string
		files []validate.File
		want  []string // findings of each file
	}{
		{"pair", []validate.File{file("app.exe", peOf(rsds)), file("app.pdb", pdbOf(guid, 1))}, []string{"", ""}},
		{"pair in other folders and case", []validate.File{file("a/app.exe", peOf(rsds)), file("b/APP.PDB", pdbOf(guid, 1))}, []string{"", ""}},
		{"image alone", []validate.File{file("app.exe", peOf(rsds))}, []string{"warning PE-PDB-MISSING"}},
		{"PDB alone", []validate.File{file("app.pdb", pdbOf(guid, 1))}, []string{"warning PDB-ORPHAN"}},
		{"other GUID", []validate.File{file("app.exe", peOf(rsds)), file("app.pdb", pdbOf(other, 1))}, []string{"error PE-PDB-MISMATCH", ""}},
		{"other age", []validate.File{file("app.exe", peOf(rsds)), file("app.pdb", pdbOf(guid, 2))}, []string{"error PE-PDB-MISMATCH", ""}},
		{"two builds, one PDB each", []validate.File{
			file("x/app.exe", peOf(rsds)), file("x/app.pdb", pdbOf(guid, 1)),
			file("y/app.exe", symfiletest.PE{Timestamp: 2, Records: []symfiletest.CodeView{{GUID: other, Age: 1, Path: "app.pdb"}}}.Bytes()), file("y/app.pdb", pdbOf(other, 1)),
		}, []string{"", "", "", ""}},
		{"two builds, one PDB", []validate.File{
			file("x/app.exe", peOf(rsds)), file("x/app.pdb", pdbOf(guid, 1)),
			file("y/app.exe", symfiletest.PE{Timestamp: 2, Records: []symfiletest.CodeView{{GUID: other, Age: 1, Path: "app.pdb"}}}.Bytes()),
		}, []string{"", "", "warning PE-PDB-MISSING"}},
		{"damaged PDB", []validate.File{file("app.exe", peOf(rsds)), file("app.pdb", pdbOf(guid, 1)[:5000])}, []string{"", "error PDB-TRUNC"}},
		{"portable", []validate.File{file("app.dll", peOf(portable)), file("app.pdb", ppdb.Bytes())}, []string{"", ""}},
		{"portable, other stamp", []validate.File{file("app.dll", peOf(portable)), file("app.pdb", wrongStamp.Bytes())}, []string{"error PE-PDB-MISMATCH", ""}},
		{"portable wanted, Windows PDB there", []validate.File{file("app.dll", peOf(portable)), file("app.pdb", pdbOf(guid, 1))}, []string{"error PE-PDB-MISMATCH", ""}},
		{"portable, checksum", []validate.File{file("app.dll", compiled.Bytes()), file("app.pdb", ppdb.Bytes())}, []string{"", ""}},
		{"portable, changed", []validate.File{file("app.dll", compiled.Bytes()), file("app.pdb", changed)}, []string{"", "error PPDB-CHECKSUM"}},
		{"ready to run: two records", []validate.File{
			file("app.dll", peOf(symfiletest.CodeView{GUID: guid, Age: 1, Path: "app.ni.pdb"}, symfiletest.CodeView{GUID: other, Age: 1, Path: "app.pdb", Portable: true, Stamp: 7})),
			file("app.ni.pdb", pdbOf(guid, 1)), file("app.pdb", il.Bytes()),
		}, []string{"", "", ""}},
		{"ready to run: only the PDB of the compiler", []validate.File{
			file("app.dll", peOf(symfiletest.CodeView{GUID: guid, Age: 1, Path: "app.ni.pdb"}, symfiletest.CodeView{GUID: other, Age: 1, Path: "app.pdb", Portable: true, Stamp: 7})),
			file("app.pdb", il.Bytes()),
		}, []string{"info PE-PDB-MISSING", ""}},
		{"embedded", []validate.File{file("app.dll", embedded.Bytes())}, []string{""}},
		{"VC6", []validate.File{
			file("old.exe", peOf(symfiletest.CodeView{NB10: true, Stamp: 5, Age: 2, Path: "old.pdb"})), file("old.pdb", symfiletest.PDB2(5, 2)),
		}, []string{"warning PE-NB10", "warning PDB-V2"}},
	} {
		rep := check(t, tt.files...)
		for i, want := range tt.want {
			if got := strings.Join(codes(rep, i), ","); got != want {
				t.Errorf("%s: findings of %s = %q, want %q", tt.name, tt.files[i].Path, got, want)
			}
		}
	}
}

// Debuggers ask by the name the image records.
func TestAliasKey(t *testing.T) {
	image := file("app.exe", peOf(symfiletest.CodeView{GUID: guid, Age: 1, Path: `C:\obj\app-release.pdb`}))
	rep := check(t, image, file("app.pdb", pdbOf(guid, 1)))
	want := []string{"app.pdb/" + guid.String() + "1/app.pdb", "app-release.pdb/" + guid.String() + "1/app-release.pdb"}
	if got := paths(rep, 1); !slices.Equal(got, want) || rep.Files[1].Keys[1].Rank != validate.RankFull {
		t.Errorf("keys = %v, want %v of full rank", got, want)
	}
	if got := codes(rep, 1); len(got) > 0 {
		t.Errorf("findings of the PDB = %v, want none", got)
	}
	// A record that names no acceptable file gives no key.
	rep = check(t, file("app.exe", peOf(symfiletest.CodeView{GUID: guid, Age: 1, Path: "..:"})), file("app.pdb", pdbOf(guid, 1)))
	if got := paths(rep, 1); len(got) != 1 {
		t.Errorf("keys = %v, want only its own", got)
	}
}

// Two files of one key are a conflict; where only signing or indexing lies between
// them, the finding says which to push.
func TestTwins(t *testing.T) {
	signed := goodPE
	signed.Certificate, signed.CheckSum = make([]byte, 64), 0x1234
	resigned := signed
	resigned.Certificate = bytes.Repeat([]byte{1}, 128)
	patched := signed.Bytes()
	patched[symfiletest.PETextOff] = 0x90
	indexed := goodPDB
	indexed.Named, indexed.InfoAge = []string{"srcsrv"}, 2
	other := indexed
	other.Modules = []symfiletest.Module{{Name: "b.obj", Symbols: 64, Lines: true}}
	for _, tt := range []struct {
		name string
		file string
		a, b []byte
		hint string
	}{
		{"signed", "app.exe", goodPE.Bytes(), signed.Bytes(), "push the signed one alone"},
		{"signed twice", "app.exe", signed.Bytes(), resigned.Bytes(), "signature and checksum only"},
		{"signed and patched", "app.exe", goodPE.Bytes(), patched, ""},
		{"indexed", "app.pdb", indexed.Bytes(), goodPDB.Bytes(), "push the indexed one alone"},
		{"indexed and another", "app.pdb", goodPDB.Bytes(), other.Bytes(), ""},
		{"two others", "app.pdb", pdbOf(guid, 1), edited(pdbOf(guid, 1), 50, 1), ""},
	} {
		rep := check(t, file(tt.file, tt.a), file("x/"+tt.file, tt.b))
		var messages []string
		for _, f := range rep.Files[1].Findings {
			if f.Code == "GEN-CONFLICT" && f.Severity == catalog.Error {
				messages = append(messages, f.Message)
			}
		}
		if len(messages) != 1 || !strings.Contains(messages[0], tt.hint) || tt.hint == "" && strings.Contains(messages[0], "alone") {
			t.Errorf("%s: conflicts %q, want one with the hint %q", tt.name, messages, tt.hint)
		}
	}
}

func TestConflicts(t *testing.T) {
	a := pdbOf(guid, 1)
	b := goodPDB
	b.Modules = []symfiletest.Module{{Name: "b.obj", Symbols: 64, Lines: true}}
	public := goodPDB
	public.Flags = 2
	for _, tt := range []struct {
		name    string
		files   []validate.File
		verdict catalog.Verdict
		second  string // finding of the second file
	}{
		{"same file twice", []validate.File{file("app.pdb", a), file("copy/app.pdb", a)}, catalog.Good, "warning GEN-DUP"},
		{"case only", []validate.File{file("app.pdb", a), file("APP.pdb", a)}, catalog.Good, "warning GEN-CASE"},
		{"other content", []validate.File{file("app.pdb", a), file("x/app.pdb", b.Bytes())}, catalog.Failed, "error GEN-CONFLICT"},
		{"other content and case", []validate.File{file("app.pdb", a), file("x/APP.PDB", b.Bytes())}, catalog.Failed, "error GEN-CONFLICT"},
		{"private and public", []validate.File{file("app.pdb", a), file("x/app.pdb", public.Bytes())}, catalog.Good, "warning PDB-STRIPPED"},
		{"other name", []validate.File{file("app.pdb", a), file("app2.pdb", b.Bytes())}, catalog.Good, ""},
	} {
		rep := check(t, tt.files...)
		got := slices.DeleteFunc(codes(rep, 1), func(s string) bool { return s == "warning PDB-ORPHAN" })
		if strings.Join(got, ",") != tt.second || rep.Verdict != tt.verdict {
			t.Errorf("%s: verdict %s, findings of the second %v; want %s, %q", tt.name, rep.Verdict, got, tt.verdict, tt.second)
		}
		// A caller that knows the digests gets the same answer.
		for i := range tt.files {
			r, err := tt.files[i].Open()
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, tt.files[i].Size)
			r.ReadAt(buf, 0)
			tt.files[i].SHA256 = sha256.Sum256(buf)
		}
		if known := check(t, tt.files...); known.Verdict != rep.Verdict || !slices.Equal(codes(known, 1), codes(rep, 1)) {
			t.Errorf("%s with known digests: verdict %s, findings %v", tt.name, known.Verdict, codes(known, 1))
		}
	}
	// Of two kinds, three files: one finding for each that is too many.
	rep := check(t, file("app.pdb", a), file("x/app.pdb", b.Bytes()), file("y/app.pdb", a))
	if !hasCode(rep, 1, catalog.Error, "GEN-CONFLICT") || !hasCode(rep, 2, catalog.Warning, "GEN-DUP") || hasCode(rep, 2, catalog.Error, "GEN-CONFLICT") {
		t.Errorf("three files: findings %v and %v", codes(rep, 1), codes(rep, 2))
	}
}
