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
	clear(hole[symfiletest.PDBModules][1024:2048])
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"good", good, ""},
		{"page 32768", with(func(p *symfiletest.PDB) { p.BlockSize = 32768 }), ""},
		{"cut", good[:len(good)-1], "error PDB-TRUNC"},
		{"longer by a byte", append(bytes.Clone(good), 1), "error PDB-TRUNC"},
		{"longer by a block", append(bytes.Clone(good), make([]byte, 4096)...), "warning PDB-TRUNC"},
		{"block size", le32(good, 32, 4000), "error PDB-SB"},
		{"directory", le32(good, 52, 0), "error PDB-DIR"},
		{"hole", symfiletest.MSF{BlockSize: 512, Streams: hole}.Bytes(), "error PDB-HOLE"},
		{"named streams", stream(1, func(b []byte) { b[30] = 9 }), "error PDB-DIR"},
		{"blocks marked free", edited(good, 4096, 0xf0), "warning PDB-DIR"},
		{"type records", stream(symfiletest.PDBTypes, func(b []byte) { b[56] = 1 }), "error PDB-TYPES"},
		{"shared symbols", stream(symfiletest.PDBRecords, func(b []byte) { b[0] = 1 }), "error PDB-SYMS"},
		{"symbols of a module", stream(symfiletest.PDBModules, func(b []byte) { b[4] = 1 }), "error PDB-SYMS"},
		{"lines of a module", stream(symfiletest.PDBModules, func(b []byte) { b[len(b)-4-4-12] = 77 }), "error PDB-LINES"},
		{"names of sources", stream(symfiletest.PDBNames, func(b []byte) { b[0] = 1 }), "error PDB-LINES"},
		{"section headers", stream(symfiletest.PDBDBI, func(b []byte) { b[len(b)-12] = 99 }), "error PDB-DBI"},
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
		{"MSFZ", []byte("Microsoft MSFZ Container\r\n\x1aALD\x00\x00" + strings.Repeat("x", 100)), "error PDB-MSFZ"},
		{"PDB 2.0, damaged", symfiletest.PDB2(0x37a8f40e, 2)[:2000], "error PDB-V2"},
		{"portable", symfiletest.PortablePDB{GUID: guid, Methods: 1, SourceLink: true}.Bytes(), ""},
		{"portable, cut", symfiletest.PortablePDB{GUID: guid}.Bytes()[:150], "error PPDB-TRUNC"},
		{"portable, header", le32(symfiletest.PortablePDB{GUID: guid}.Bytes(), 12, 13), "error PPDB-ROOT"},
		{"portable, no id stream", bytes.Replace(symfiletest.PortablePDB{GUID: guid}.Bytes(), []byte("#Pdb"), []byte("#Pdx"), 1), "error PPDB-STREAMS"},
		{"portable, id 0", symfiletest.PortablePDB{Methods: 1, SourceLink: true}.Bytes(), "error PPDB-ID0"},
		{"portable, tables", edited(symfiletest.PortablePDB{GUID: guid, Methods: 1, SourceLink: true}.Bytes(), symfiletest.PortableIDOff+32+24+12, 200), "error PPDB-TABLES"},
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

// edited returns b with one byte replaced.
func edited(b []byte, at int, v byte) []byte {
	b = bytes.Clone(b)
	b[at] = v
	return b
}

// A finding about a module names it, and says how many others are like it.
func TestPDBModuleMessage(t *testing.T) {
	p := goodPDB
	p.Modules = []symfiletest.Module{{Name: `C:\out\a.obj`, Symbols: 100}, {Name: "b.obj", Symbols: 100}}
	s := p.Streams()
	s[symfiletest.PDBModules][4], s[symfiletest.PDBModules+1][4] = 1, 1
	msg := check(t, file("app.pdb", symfiletest.MSF{Streams: s}.Bytes())).Files[0].Findings[0].Message
	for _, want := range []string{`module 0 ("a.obj"), stream 11`, "symbol record at 0x4: found a length of 1, wanted 2 to ", "2 modules", "copy it again"} {
		if !strings.Contains(msg, want) {
			t.Errorf("message %q lacks %q", msg, want)
		}
	}
}

// A PDB of types is an error; its keys are those that symbol stores and clients use.
func TestPDBOfTypes(t *testing.T) {
	p := goodPDB
	p.NoDBI, p.InfoAge = true, 3
	rep := check(t, file("vc140.pdb", p.Bytes()))
	want := []string{"vc140.pdb/" + guid.String() + "3/vc140.pdb", "vc140.pdb/" + symid.Fold(guid.String()) + "/vc140.pdb"}
	if got := paths(rep, 0); !slices.Equal(got, want) || !hasCode(rep, 0, catalog.Error, "PDB-COMPILER") {
		t.Errorf("keys %v, findings %v; want %v and PDB-COMPILER", got, codes(rep, 0), want)
	}
}

func TestPDBQuality(t *testing.T) {
	with := func(edit func(*symfiletest.PDB)) symfiletest.PDB {
		p := goodPDB
		edit(&p)
		return p
	}
	for name, tt := range map[string]struct {
		p    symfiletest.PDB
		want string
		rank int
	}{
		"private":  {goodPDB, "public lines types", validate.RankFull},
		"no lines": {with(func(p *symfiletest.PDB) { p.Modules = []symfiletest.Module{{Name: "a", Symbols: 8}} }), "public types", validate.RankFull},
		"stripped": {with(func(p *symfiletest.PDB) { p.Types, p.Modules, p.Flags = 0, nil, 2 }), "public", validate.RankPublic},
		"indexed":  {with(func(p *symfiletest.PDB) { p.Named = []string{"srcsrv"} }), "public lines types sources", validate.RankFull},
		"linked":   {with(func(p *symfiletest.PDB) { p.Named = []string{"sourcelink$1"} }), "public lines types sources", validate.RankFull},
		"embedded": {with(func(p *symfiletest.PDB) { p.Named = []string{"/src/files/c:\\a.c"} }), "public lines types sources", validate.RankFull},
		"natvis":   {with(func(p *symfiletest.PDB) { p.Named = []string{"/src/files/c:\\a.natvis"} }), "public lines types", validate.RankFull},
	} {
		fr := check(t, file("app.pdb", tt.p.Bytes())).Files[0]
		if got := qualityText(fr); got != tt.want || fr.Keys[0].Rank != tt.rank {
			t.Errorf("%s: quality %q, rank %d; want %q, %d", name, got, fr.Keys[0].Rank, tt.want, tt.rank)
		}
	}
}

func qualityText(fr catalog.FileReport) string {
	var all []string
	for _, q := range fr.Quality {
		all = append(all, string(q))
	}
	return strings.Join(all, " ")
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
