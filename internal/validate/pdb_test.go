package validate_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

func TestPDBChecks(t *testing.T) {
	with := func(edit func(*symfiletest.PDB)) []byte {
		p := goodPDB
		edit(&p)
		return p.Bytes()
	}
	stream := func(no int, edit func(b []byte)) []byte {
		s := goodPDB.Streams()
		edit(s[no])
		return symfiletest.MSF{Streams: s}.Bytes()
	}
	good := goodPDB.Bytes()
	large := symfiletest.PDB{GUID: guid, Age: 1, Types: 1, BlockSize: 512, Modules: []symfiletest.Module{{Name: "a.obj", Symbols: 4000, Lines: true}}}
	hole := large.Streams()
	clear(hole[7][1024:2048])
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"good", good, ""},
		{"page 32768", with(func(p *symfiletest.PDB) { p.BlockSize = 32768 }), ""},
		{"cut", good[:len(good)-1], "error PDB-TRUNC"},
		{"longer", append(bytes.Clone(good), 1), "warning PDB-TRUNC"},
		{"block size", le32(good, 32, 4000), "error PDB-SB"},
		{"directory", le32(good, 52, 0), "error PDB-DIR"},
		{"hole", symfiletest.MSF{BlockSize: 512, Streams: hole}.Bytes(), "error PDB-HOLE"},
		{"info version", stream(1, func(b []byte) { clear(b[:4]) }), "error PDB-INFO"},
		{"no GUID", with(func(p *symfiletest.PDB) { p.GUID = symid.GUID{} }), "error PDB-GUID0"},
		{"GUID of ones", with(func(p *symfiletest.PDB) { p.GUID = symid.GUID(bytes.Repeat([]byte{0xff}, 16)) }), "error PDB-GUID0"},
		{"DBI signature", stream(3, func(b []byte) { clear(b[:4]) }), "error PDB-DBI"},
		{"module stream", stream(3, func(b []byte) { b[64+34] = 99 }), "error PDB-DBI"},
		{"no DBI, types", with(func(p *symfiletest.PDB) { p.NoDBI = true }), "error PDB-COMPILER"},
		{"no DBI, no types", with(func(p *symfiletest.PDB) { p.NoDBI, p.Types = true, 0 }), "error PDB-DBI"},
		{"no machine", stream(3, func(b []byte) { clear(b[58:60]) }), ""},
		{"ages", with(func(p *symfiletest.PDB) { p.InfoAge = 4 }), "warning PDB-AGE"},
		{"fastlink", with(func(p *symfiletest.PDB) { p.Features = []uint32{20140508, 0x494E494D} }), "error PDB-FASTLINK"},
		{"stripped", with(func(p *symfiletest.PDB) { p.Flags = 2 }), "warning PDB-STRIPPED"},
		{"nothing private", with(func(p *symfiletest.PDB) { p.Types, p.Modules = 0, []symfiletest.Module{{Name: "a"}} }), "warning PDB-STRIPPED"},
		{"no lines", with(func(p *symfiletest.PDB) { p.Modules = []symfiletest.Module{{Name: "a", Symbols: 8}} }), "warning PDB-NOLINES"},
		{"incremental", with(func(p *symfiletest.PDB) { p.Flags = 1 }), "warning PDB-INCR"},
		{"unused blocks", with(func(p *symfiletest.PDB) { p.Unused = 100 }), "warning PDB-BLOAT"},
		{"PDB 2.0", symfiletest.PDB2(0x37a8f40e, 2), "warning PDB-V2"},
		{"PDB 2.0, damaged", symfiletest.PDB2(0x37a8f40e, 2)[:2000], "error PDB-V2"},
		{"portable", symfiletest.PortablePDB{GUID: guid, Methods: 1, SourceLink: true}.Bytes(), ""},
		{"portable, cut", symfiletest.PortablePDB{GUID: guid}.Bytes()[:150], "error PPDB-TRUNC"},
		{"portable, header", le32(symfiletest.PortablePDB{GUID: guid}.Bytes(), 12, 13), "error PPDB-ROOT"},
		{"portable, no id stream", bytes.Replace(symfiletest.PortablePDB{GUID: guid}.Bytes(), []byte("#Pdb"), []byte("#Pdx"), 1), "error PPDB-STREAMS"},
		{"portable, id 0", symfiletest.PortablePDB{Methods: 1, SourceLink: true}.Bytes(), "error PPDB-ID0"},
		{"portable, no positions", symfiletest.PortablePDB{GUID: guid, Methods: 1, NoPositions: true, SourceLink: true}.Bytes(), "warning PPDB-NODOC"},
		{"portable, no sources", symfiletest.PortablePDB{GUID: guid, Methods: 1}.Bytes(), "info PPDB-NOSRCLINK"},
	} {
		rep := check(t, file("app.pdb", tt.in))
		got := slices.DeleteFunc(codes(rep, 0), func(s string) bool { return s == "warning PDB-ORPHAN" })
		if strings.Join(got, ",") != tt.want {
			t.Errorf("%s: findings %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestPDBKeysAndRanks(t *testing.T) {
	public := goodPDB
	public.Flags = 2
	aged := goodPDB
	aged.Age, aged.InfoAge = 20, 25
	for _, tt := range []struct {
		in      []byte
		path    string
		rank    int
		debugID string
	}{
		{goodPDB.Bytes(), "app.pdb/" + guid.String() + "1/app.pdb", validate.RankFull, guid.String() + "1"},
		{public.Bytes(), "app.pdb/" + guid.String() + "1/app.pdb", validate.RankPublic, guid.String() + "1"},
		{aged.Bytes(), "app.pdb/" + guid.String() + "14/app.pdb", validate.RankFull, guid.String() + "14"},
		{symfiletest.PDB2(0x37a8f40e, 2), "app.pdb/37A8F40E2/app.pdb", validate.RankFull, ""},
		{symfiletest.PortablePDB{GUID: guid, Stamp: 0xfc9c5a76}.Bytes(), "app.pdb/" + guid.String() + "ffffffff/app.pdb", validate.RankFull, guid.String() + "FC9C5A76"},
	} {
		fr := check(t, file("x/app.pdb", tt.in)).Files[0]
		if len(fr.Keys) != 1 || fr.Keys[0].Key.Paths()[0] != tt.path || fr.Keys[0].Rank != tt.rank {
			t.Errorf("keys = %+v, want %s of rank %d", fr.Keys, tt.path, tt.rank)
		}
		if tt.debugID != "" && (len(fr.IDs) != 1 || fr.IDs[0].DebugID != tt.debugID) {
			t.Errorf("ids = %+v, want %s", fr.IDs, tt.debugID)
		}
	}
}

// A pair that LLVM linked: what its tools say is in testdata/windows/ORIGIN.md.
func TestRealPair(t *testing.T) {
	exe, pdb := testdata(t, "windows/app.exe"), testdata(t, "windows/app.pdb")
	rep := check(t, file("bin/app.exe", exe), file("bin/app.pdb", pdb))
	if rep.Verdict != catalog.Good || len(rep.Files[0].Findings)+len(rep.Files[1].Findings) > 0 {
		t.Errorf("verdict %s, findings %v and %v; want none", rep.Verdict, rep.Files[0].Findings, rep.Files[1].Findings)
	}
	const id = "6FFCF788F65E95184C4C44205044422E1"
	if got := paths(rep, 0); !slices.Equal(got, []string{"app.exe/6553F1006000/app.exe"}) {
		t.Errorf("keys of app.exe = %v", got)
	}
	if got := paths(rep, 1); !slices.Equal(got, []string{"app.pdb/" + id + "/app.pdb"}) {
		t.Errorf("keys of app.pdb = %v", got)
	}
	if rep.Files[0].IDs[0].DebugID != id || rep.Files[1].IDs[0].DebugID != id || rep.Files[1].Arch != "x64" {
		t.Errorf("ids = %+v and %+v, want %s", rep.Files[0].IDs, rep.Files[1].IDs, id)
	}
}

// However much of the end is missing, a cut file never passes.
func TestCutFilesFail(t *testing.T) {
	for name, b := range map[string][]byte{"app.exe": testdata(t, "windows/app.exe"), "app.pdb": testdata(t, "windows/app.pdb")} {
		for n := 0; n < len(b); n += 1 + n/16 {
			if rep := check(t, file(name, b[:n])); rep.Verdict != catalog.Failed {
				t.Errorf("the first %d of %d bytes of %s: verdict %s, want failed", n, len(b), name, rep.Verdict)
			}
		}
	}
}
