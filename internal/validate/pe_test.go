package validate_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

func le32(b []byte, off int, v uint32) []byte {
	b = bytes.Clone(b)
	binary.LittleEndian.PutUint32(b[off:], v)
	return b
}

// withSymbols appends a table of one symbol, in the section of the given number.
func withSymbols(b []byte, section byte) []byte {
	at := len(b)
	b = le32(le32(b, symfiletest.PEHeaderOff+12, uint32(at)), symfiletest.PEHeaderOff+16, 1)
	row := make([]byte, 18)
	row[0], row[12] = 'm', section
	return append(append(b, row...), "\x0a\x00\x00\x00.text\x00"...)
}

func TestPEChecks(t *testing.T) {
	good := goodPE.Bytes()
	with := func(edit func(*symfiletest.PE)) []byte {
		p := goodPE
		edit(&p)
		return p.Bytes()
	}
	record := func(cv symfiletest.CodeView) []byte {
		return with(func(p *symfiletest.PE) { p.Records = []symfiletest.CodeView{cv} })
	}
	rdata, header := symfiletest.PERdataOff, symfiletest.PEHeaderOff
	portable := symfiletest.PortablePDB{GUID: guid, Stamp: 7, Methods: 1}
	embed := func(stamp uint32, damage int) []byte {
		b := with(func(p *symfiletest.PE) {
			p.Embedded, p.Checksum = portable.Bytes(), portable.Checksum()
			p.Records = []symfiletest.CodeView{{GUID: guid, Age: 1, Path: "app.pdb", Portable: true, Stamp: stamp}}
		})
		if damage >= 0 {
			b[bytes.Index(b, []byte("MPDB"))+damage] ^= 0x55
		}
		return b
	}
	managed := with(func(p *symfiletest.PE) { p.ILOnly = true })
	clr := bytes.Index(managed, []byte("BSJB")) - 72
	overlaid := append(append(bytes.Clone(good), make([]byte, 600)...), make([]byte, 64)...)
	overlaid = le32(le32(overlaid, header+24+112+32, uint32(len(good)+600)), header+24+112+36, 64)
	for _, tt := range []struct {
		name string
		file string
		in   []byte
		want string // the finding, "" for none but the missing PDB
	}{
		{"good", "app.exe", good, ""},
		{"header", "app.exe", le32(good, header+24+56, 0), "error PE-HDR"},
		{"machine", "app.exe", with(func(p *symfiletest.PE) { p.Machine = 0x1234 }), "error PE-HDR"},
		{"cut", "app.exe", good[:len(good)-1], "error PE-TRUNC"},
		{"signed", "app.exe", with(func(p *symfiletest.PE) { p.Certificate = make([]byte, 64) }), ""},
		{"signature cut", "app.exe", with(func(p *symfiletest.PE) { p.Certificate = make([]byte, 64) })[:len(good)+10], "error PE-TRUNC"},
		{"record signature", "app.exe", le32(good, rdata+28, 0x58585858), "error PE-RSDS"},
		{"record outside", "app.exe", le32(good, rdata+24, 0x7fffffff), "error PE-RSDS"},
		{"record without GUID", "app.exe", record(symfiletest.CodeView{Age: 1, Path: "a.pdb"}), "error PE-RSDS"},
		{"record in two places", "app.exe", le32(good, rdata+20, 0x2000), "warning PE-RSDS"},
		{"record without end", "app.exe", le32(good, rdata+16, 24+7), "warning PE-RSDS"},
		{"no record", "app.exe", with(func(p *symfiletest.PE) { p.Records = nil }), "warning PE-NODEBUG-LINK"},
		{"resources only", "app.dll", le32(with(func(p *symfiletest.PE) { p.Records = nil }), symfiletest.PESectionsOff+36, 0x40000040), ""},
		{"empty PDB name", "app.exe", record(symfiletest.CodeView{GUID: guid, Age: 1}), ""},
		{"timestamp 0", "app.exe", with(func(p *symfiletest.PE) { p.Timestamp = 0 }), "warning PE-TS0"},
		{"timestamp 0, reproducible", "app.exe", with(func(p *symfiletest.PE) { p.Timestamp, p.Repro = 0, true }), ""},
		{"NB10", "app.exe", record(symfiletest.CodeView{NB10: true, Stamp: 5, Age: 1, Path: "app.pdb"}), "warning PE-NB10"},
		{"sections overlap", "app.exe", le32(good, symfiletest.PESectionsOff+8, 0x1800), "error PE-HDR"},
		{"sections fall", "app.exe", le32(good, symfiletest.PESectionsOff+40+12, 0x800), "error PE-HDR,error PE-RSDS"},
		{"symbol table cut", "app.exe", le32(good, header+12, uint32(len(good))), "warning PE-TRUNC"},
		{"directory outside", "app.exe", le32(good, header+24+112+8, 0x3000), ""},
		{"directory outside, with a size", "app.exe", le32(le32(good, header+24+112+8, 0x3000), header+24+112+12, 4), "error PE-HDR"},
		{"symbol table", "app.exe", withSymbols(good, 0), ""},
		{"symbol table, damaged", "app.exe", withSymbols(good, 9), "warning PE-SYMS"},
		{"symbol table, damaged and needed", "app.exe", withSymbols(with(func(p *symfiletest.PE) { p.TextName = "/4" }), 9), "error PE-SYMS"},
		{"unwind table", "app.exe", with(func(p *symfiletest.PE) { p.Unwind = true }), ""},
		{"unwind table, damaged", "app.exe", replace(t, with(func(p *symfiletest.PE) { p.Unwind = true }), "\x00\x10\x00\x00\x10\x10\x00\x00", "\x00\x10\x00\x00\x10\x10\x00\x99"), "warning PE-UNWIND"},
		{"imports nowhere", "app.exe", le32(le32(good, header+24+112+8, 0x2ff8), header+24+112+12, 40), "error PE-TABLES"},
		{"debug entry outside", "app.exe", le32(le32(record(symfiletest.CodeView{GUID: guid, Age: 1, Path: "app.pdb"}), rdata+12, 13), rdata+20, 0x7fff0000),
			"error PE-RSDS,warning PE-NODEBUG-LINK"},
		{"debug entry of no type", "app.exe", le32(le32(record(symfiletest.CodeView{GUID: guid, Age: 1, Path: "app.pdb"}), rdata+12, 0x9c5a7600), rdata+24, 0x7fff0000),
			"error PE-RSDS,warning PE-NODEBUG-LINK"},
		{"debug entry of an old type", "app.exe", le32(le32(record(symfiletest.CodeView{GUID: guid, Age: 1, Path: "app.pdb"}), rdata+12, 4), rdata+24, 0x7fff0000),
			"warning PE-NODEBUG-LINK"},
		{"managed", "app.exe", managed, ""},
		{"managed header outside", "app.exe", le32(managed, symfiletest.PESectionsOff-16, 0x2f00), "error PE-CLR"},
		{"metadata outside", "app.exe", le32(managed, clr+8, 0x9000), "error PE-CLR"},
		{"metadata cut", "app.exe", le32(managed, clr+12, 60), "error PE-CLR"},
		{"metadata magic", "app.exe", le32(managed, clr+72, 0), "error PE-CLR"},
		{"metadata without tables", "app.exe", bytes.Replace(managed, []byte("#~"), []byte("#x"), 1), "error PE-CLR"},
		{"overlay", "setup.exe", append(bytes.Clone(good), make([]byte, 600)...), "info PE-OVERLAY"},
		{"overlay before the signature", "setup.exe", overlaid, "info PE-OVERLAY"},
		{"padding", "setup.exe", append(bytes.Clone(good), make([]byte, 300)...), ""},
		{"packed", "app.exe", with(func(p *symfiletest.PE) { p.TextName = "UPX1" }), "warning PE-PACKED"},
		{"path", "app.exe", record(symfiletest.CodeView{GUID: guid, Age: 1, Path: `D:\a\app.pdb`}), "info PE-ABSPATH"},
		{"driver checksum", "app.sys", with(func(p *symfiletest.PE) { p.CheckSum = 1 }), "warning PE-CHECKSUM"},
		{"checksum of an exe", "app.exe", with(func(p *symfiletest.PE) { p.CheckSum = 1 }), ""},
		{"embedded", "app.dll", embed(7, -1), ""},
		{"embedded, damaged data", "app.dll", embed(7, 20), "error PE-EMBED"},
		{"embedded, damaged size", "app.dll", embed(7, 4), "error PE-EMBED"},
		{"embedded, damaged magic", "app.dll", embed(7, 0), "error PE-EMBED"},
		{"embedded, other id", "app.dll", embed(8, -1), "error PE-EMBED"},
	} {
		rep := check(t, file(tt.file, tt.in))
		got := strings.Join(codes(rep, 0), ",")
		got = strings.Trim(strings.ReplaceAll(got, "warning PE-PDB-MISSING", ""), ",")
		if got != tt.want {
			t.Errorf("%s: findings %q, want %q", tt.name, got, tt.want)
		}
	}
	// The whole stream counts: a byte of the PDB changed before it was embedded.
	changed := portable.Bytes()
	changed[len(changed)-1] ^= 1
	rep := check(t, file("app.dll", with(func(p *symfiletest.PE) {
		p.Embedded, p.Checksum = changed, portable.Checksum()
		p.Records = []symfiletest.CodeView{{GUID: guid, Age: 1, Path: "app.pdb", Portable: true, Stamp: 7}}
	})))
	if !hasCode(rep, 0, catalog.Error, "PPDB-CHECKSUM") {
		t.Errorf("changed embedded PDB: findings %v, want PPDB-CHECKSUM", codes(rep, 0))
	}
}

func TestPEQuality(t *testing.T) {
	ppdb := symfiletest.PortablePDB{GUID: guid, Stamp: 7, Methods: 1, SourceLink: true}
	for name, tt := range map[string]struct {
		p    symfiletest.PE
		want string
	}{
		"bare":     {symfiletest.PE{Timestamp: 1}, ""},
		"unwind":   {symfiletest.PE{Timestamp: 1, Unwind: true}, "unwind"},
		"managed":  {symfiletest.PE{Timestamp: 1, ILOnly: true}, "public"},
		"embedded": {symfiletest.PE{Timestamp: 1, ILOnly: true, Embedded: ppdb.Bytes(), Records: []symfiletest.CodeView{{GUID: guid, Age: 1, Path: "a.pdb", Portable: true, Stamp: 7}}}, "public lines sources"},
	} {
		if got := qualityText(check(t, file("a.dll", tt.p.Bytes())).Files[0]); got != tt.want {
			t.Errorf("%s: quality %q, want %q", name, got, tt.want)
		}
	}
}

// TestPathsAsTheyAre has no doubled backslashes in what people read.
func TestPathsAsTheyAre(t *testing.T) {
	p := goodPE
	p.Records = []symfiletest.CodeView{{GUID: guid, Age: 1, Path: "D:\\a\\app\x01.pdb"}}
	rep := check(t, file("app.exe", p.Bytes()))
	const want = `app.exe: publishes the build path "D:\a\app\x01.pdb". `
	if got := rep.Files[0].Findings; !slices.ContainsFunc(got, func(f catalog.Finding) bool { return strings.HasPrefix(f.Message, want) }) {
		t.Errorf("findings %+v, want one that begins %s", got, want)
	}
}

func TestPEIdentity(t *testing.T) {
	p := goodPE
	p.Records = append(p.Records, symfiletest.CodeView{GUID: guid, Age: 1, Path: "/x/il.pdb", Portable: true, Stamp: 9})
	b := p.Bytes()
	id, err := validate.Identify(bytes.NewReader(b), int64(len(b)), "App.exe")
	if err != nil {
		t.Fatal(err)
	}
	want := catalog.IDs{Arch: "x64", DebugID: guid.String() + "1", CodeID: "6553F1003000"}
	if len(id.IDs) != 1 || id.IDs[0] != want || id.Kind != catalog.KindPE {
		t.Errorf("Identify = %+v, want ids %+v", id, want)
	}
	if len(id.Keys) != 1 || id.Keys[0].Key.Paths()[0] != "App.exe/6553F1003000/App.exe" {
		t.Errorf("keys = %v", id.Keys)
	}
	if len(id.Refs) != 2 || id.Refs[0].Kind != validate.RefPDB || id.Refs[1].Kind != validate.RefPortablePDB || id.Refs[1].Name != "il.pdb" ||
		id.Refs[1].Keys[0] != symid.PDBKey("IL.pdb", symid.DebugID{GUID: guid, Age: symid.PortableAge}).Index() {
		t.Errorf("references = %+v, want app.pdb and il.pdb", id.Refs)
	}
}

// TestPEDWARF damages the version of the only unit.
func TestPEDWARF(t *testing.T) {
	good := parserData(t, "pe", "mingw.dll")
	rep := check(t, file("mingw.dll", good))
	if hasCode(rep, 0, catalog.Error, "PE-DWARF") || !slices.Contains(rep.Files[0].Quality, catalog.QualityLines) {
		t.Errorf("found %v, quality %v; want no PE-DWARF, and lines", codes(rep, 0), rep.Files[0].Quality)
	}
	bad := bytes.Clone(good)
	bad[bytes.Index(bad, []byte{4, 0, 0, 0, 0, 0, 4, 1})] = 9
	if rep := check(t, file("mingw.dll", bad)); !hasCode(rep, 0, catalog.Error, "PE-DWARF") {
		t.Errorf("found %v, want PE-DWARF", codes(rep, 0))
	}
}
