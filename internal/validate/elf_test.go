package validate_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

const tinyID = "73a9d786065a824045e602818939a32deb15d8a7"

// parserData reads a fixture of a parser below internal/symfile.
func parserData(t testing.TB, format, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "symfile", format, "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// elfSection is a section of an ELF file to build.
type elfSection struct {
	name  string
	kind  uint32
	flags uint64
	data  []byte
}

// buildELF makes a 64-bit little-endian file of sections.
func buildELF(kind uint16, sections ...elfSection) []byte {
	le := binary.LittleEndian
	names, body, heads := []byte{0}, []byte{}, make([]byte, 64)
	add := func(s elfSection) {
		h := make([]byte, 64)
		le.PutUint32(h, uint32(len(names)))
		le.PutUint32(h[4:], s.kind)
		le.PutUint64(h[8:], s.flags)
		le.PutUint64(h[24:], uint64(64+len(body)))
		le.PutUint64(h[32:], uint64(len(s.data)))
		le.PutUint64(h[48:], 4)
		names = append(append(names, s.name...), 0)
		body = append(body, s.data...)
		for len(body)%8 != 0 {
			body = append(body, 0)
		}
		heads = append(heads, h...)
	}
	for _, s := range sections {
		add(s)
	}
	add(elfSection{".shstrtab", 3, 0, slices.Concat(names, []byte(".shstrtab\x00"))})
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], kind)
	le.PutUint16(b[18:], 62)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[40:], uint64(64+len(body)))
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[58:], 64)
	le.PutUint16(b[60:], uint16(len(heads)/64))
	le.PutUint16(b[62:], uint16(len(heads)/64-1))
	return slices.Concat(b, body, heads)
}

func elfNote(owner string, kind uint32, desc string) elfSection {
	le := binary.LittleEndian
	b := le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, 4), uint32(len(desc))), kind)
	b = append(append(b, owner...), desc...)
	return elfSection{".note", 7, 2, append(b, make([]byte, (4-len(b)%4)%4)...)}
}

var (
	elfText   = elfSection{".text", 1, 6, []byte{0xc3}}
	elfSymtab = elfSection{".symtab", 2, 0, make([]byte, 24)}
)

// replace changes every occurrence of old in b.
func replace(t testing.TB, b []byte, old, now string) []byte {
	t.Helper()
	if !bytes.Contains(b, []byte(old)) || len(old) != len(now) {
		t.Fatalf("cannot replace %q", old)
	}
	return bytes.ReplaceAll(b, []byte(old), []byte(now))
}

func rawID(t testing.TB, s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestELFChecks(t *testing.T) {
	data := func(name string) []byte { return parserData(t, "elf", name) }
	id := rawID(t, tinyID)
	info := bytes.Index(data("tiny.debug"), []byte{5, 0, 1, 8}) // version 5, compile unit, 8-byte addresses
	edit := func(b []byte, at int, v byte) []byte { b = bytes.Clone(b); b[at] = v; return b }
	zlibAt := bytes.Index(data("tiny.zlib.debug"), []byte{0x78, 0x9c})
	gnu := elfNote("GNU\x00", 3, strings.Repeat("i", 20))
	for _, tt := range []struct {
		name string
		b    []byte
		want string // severity and code of every finding, joined
	}{
		{"tiny.so", data("tiny.so"), ""},
		{"tiny.mips", data("tiny.mips"), ""},
		{"tiny.debug", data("tiny.debug"), ""},
		{"zlib.debug", data("tiny.zlib.debug"), ""},
		{"gnu.debug", data("tiny.zlib-gnu.debug"), ""},
		{"zstd.debug", data("tiny.zstd.debug"), "warning ELF-COMP-UNSUP"},
		{"tiny.symtab", data("tiny.symtab"), ""},
		{"split4", data("split4.so"), "error ELF-DWO"},
		{"class", edit(data("tiny.so"), 4, 7), "error ELF-HDR"},
		{"cut", data("tiny.so")[:5000], "error ELF-TRUNC"},
		{"cut.sect", slices.Concat(data("tiny.so")[:64]), "error ELF-TRUNC"},
		{"core", edit(data("tiny.so"), 16, 4), "error GEN-CORE"},
		{"object.so", buildELF(1, elfText, elfSymtab), "error GEN-OBJ"},
		{"module.ko", buildELF(1, elfText, elfSymtab, gnu, elfSection{".modinfo", 1, 2, []byte("x")}), ""},
		{"noid", buildELF(3, elfText, elfSymtab), "error ELF-NOID"},
		{"goid", buildELF(3, elfText, elfSymtab, elfNote("Go\x00\x00", 4, "abc")), "error ELF-NOID info ELF-GOID"},
		{"go", buildELF(2, elfText, gnu, elfSection{".gopclntab", 1, 2, []byte("x")}), "info ELF-GO warning ELF-NODEBUG"},
		{"cut note", buildELF(3, elfText, elfSymtab, elfSection{".note", 7, 2, gnu.data[:24]}), "error ELF-NOID"},
		{"zero id", replace(t, data("tiny.so"), id, strings.Repeat("\x00", 20)), "error ELF-ID0"},
		{"two ids", buildELF(3, elfText, elfSymtab, gnu, elfNote("GNU\x00", 3, "other id")), "error ELF-ID-MULTI"},
		{"3 byte id", buildELF(3, elfText, elfSymtab, elfNote("GNU\x00", 3, "abc")), "error ELF-ID-SIZE"},
		{"5 byte id", buildELF(3, elfText, elfSymtab, elfNote("GNU\x00", 3, "abcde")), "warning ELF-ID-SIZE"},
		{"65 byte id", buildELF(3, elfText, elfSymtab, elfNote("GNU\x00", 3, strings.Repeat("a", 65))), "warning ELF-ID-SIZE"},
		{"empty.debug", data("tiny.empty.debug"), "error ELF-NODEBUG"},
		{"image.debug", buildELF(3, elfText, gnu), "error ELF-NODEBUG"},
		{"bare", buildELF(3, elfText, gnu), "warning ELF-NODEBUG"},
		{"mini", data("tiny.mini"), ""},
		{"mini damaged", edit(data("tiny.mini"), bytes.Index(data("tiny.mini"), []byte("\xfd7zXZ"))+60, 0x55), "error ELF-COMP"},
		{"mini of no xz", buildELF(3, elfText, gnu, elfSection{".gnu_debugdata", 1, 0, []byte("xz")}), "error ELF-COMP"},
		{"mini of another", replace(t, data("tiny.mini"), id, strings.Repeat("x", 20)), "error ELF-PAIR"},
		{"lto", buildELF(3, elfText, elfSymtab, gnu, elfSection{".gnu.lto_.x", 1, 0, make([]byte, 3000)}), "warning ELF-LTO"},
		{"dwarf version", edit(data("tiny.debug"), info, 9), "error ELF-DWARF"},
		{"dwarf code", edit(data("tiny.debug"), info+8, 99), "error ELF-DWARF"},
		{"zlib damage", edit(data("tiny.zlib.debug"), zlibAt+9, data("tiny.zlib.debug")[zlibAt+9]^0xff), "error ELF-COMP"},
		{"bad link", buildELF(3, elfText, gnu, elfSection{".gnu_debuglink", 1, 0, []byte("name")}), "warning ELF-DLINK-MISSING warning ELF-NODEBUG"},
		{"bad alt", buildELF(3, elfText, elfSymtab, gnu, elfSection{".gnu_debugaltlink", 1, 0, []byte("name")}), "error ELF-ALTLINK"},
	} {
		if got := strings.Join(codes(check(t, named(file(tt.name, tt.b))), 0), " "); got != tt.want {
			t.Errorf("%s: found %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestELFKeys(t *testing.T) {
	const pad = tinyID
	exe := []string{"buildid/" + tinyID + "/executable", "f/elf-buildid-" + pad + "/f"}
	dbg := []string{"buildid/" + tinyID + "/debuginfo", "_.debug/elf-buildid-sym-" + pad + "/_.debug"}
	for _, tt := range []struct {
		name  string
		paths []string
		ranks []int
	}{
		{"tiny.so", slices.Concat(exe, dbg), []int{30, 25}},
		{"tiny.stripped", exe, []int{10}},
		{"tiny.symtab", slices.Concat(exe, dbg), []int{20, 15}},
		{"tiny.debug", dbg, []int{30}},
	} {
		rep := check(t, file("f", parserData(t, "elf", tt.name)))
		var ranks []int
		for _, k := range rep.Files[0].Keys {
			ranks = append(ranks, k.Rank)
		}
		if !slices.Equal(paths(rep, 0), tt.paths) || !slices.Equal(ranks, tt.ranks) {
			t.Errorf("%s: keys %v of ranks %v, want %v of %v", tt.name, paths(rep, 0), ranks, tt.paths, tt.ranks)
		}
		want := []catalog.IDs{{Arch: "x64", BuildID: tinyID, CodeID: tinyID, DebugID: "86D7A9735A06408245E602818939A32D0"}}
		if !slices.Equal(rep.Files[0].IDs, want) {
			t.Errorf("%s: ids %+v, want %+v", tt.name, rep.Files[0].IDs, want)
		}
	}
	be := check(t, file("f", parserData(t, "elf", "tiny.mips"))).Files[0].IDs
	if len(be) != 2 || be[0].DebugID != "E9B648C66E4806FBD2EB2D36D994FEE30" || be[1].DebugID != "C648B6E9486EFB06D2EB2D36D994FEE30" {
		t.Errorf("big-endian ids %+v, want both forms", be)
	}
	if p := paths(check(t, file("app", buildELF(3, elfText, elfSymtab, elfNote("GNU\x00", 3, "\x01\x02\x03\x04\x05\x06\x07\x08")))), 0); p[0] != "buildid/0102030405060708/executable" ||
		p[1] != "app/elf-buildid-0102030405060708"+strings.Repeat("0", 24)+"/app" {
		t.Errorf("keys of an 8-byte id: %v", p)
	}
}

// TestDWPKey wants a .dwp under the build id of the image that has its skeletons.
func TestDWPKey(t *testing.T) {
	rep := check(t, file("bin/s.so", parserData(t, "elf", "split5.so")), file("bin/s.so.dwp", parserData(t, "elf", "split5.dwp")))
	build := rep.Files[0].IDs[0].BuildID
	if want := []string{"s.so.dwp/" + build + "/s.so.dwp"}; !slices.Equal(paths(rep, 1), want) {
		t.Errorf("keys %v, want %v", paths(rep, 1), want)
	}
	l, err := symid.ParseLookup(paths(rep, 1)[0])
	if err != nil || !slices.ContainsFunc(l.Keys, func(k symid.Key) bool { return k.Index() == rep.Files[1].Keys[0].Key.Index() }) {
		t.Errorf("ParseLookup(%q) = %v, %v, want the key among its candidates", paths(rep, 1)[0], l.Keys, err)
	}
	if rep := check(t, file("s.so.dwp", parserData(t, "elf", "split5.dwp"))); len(paths(rep, 0)) > 0 {
		t.Errorf("a lone .dwp has the keys %v", paths(rep, 0))
	}
}

// TestELFQuality wants what each half gives.
func TestELFQuality(t *testing.T) {
	for name, want := range map[string]string{
		"tiny.so":       "[public lines types unwind]",
		"tiny.debug":    "[public lines types]",
		"tiny.stripped": "[unwind]",
		"tiny.symtab":   "[public unwind]",
		"tiny.mini":     "[public unwind]",
		"tiny.ko":       "[public lines types unwind]",
		"split5.so":     "[public lines unwind]",
		"split5.dwo":    "[public types]",
	} {
		if got := fmt.Sprint(check(t, file(name, parserData(t, "elf", name))).Files[0].Quality); got != want {
			t.Errorf("%s: quality %s, want %s", name, got, want)
		}
	}
}

func TestELFRefs(t *testing.T) {
	for name, want := range map[string]validate.RefKind{"tiny.stripped": validate.RefDebugLink, "alt.so": validate.RefAltLink, "split5.so": validate.RefDWO} {
		b := parserData(t, "elf", name)
		id, err := validate.Identify(bytes.NewReader(b), int64(len(b)), name)
		if err != nil || len(id.Refs) != 1 || id.Refs[0].Kind != want {
			t.Fatalf("Identify(%s) = %+v, %v", name, id.Refs, err)
		}
		if want == validate.RefDebugLink && (id.Refs[0].Name != "tiny.debug" || id.Refs[0].CRC32 != 0xb356104c || id.Refs[0].Build.String() != tinyID) {
			t.Errorf("debug link %+v", id.Refs[0])
		}
		if want == validate.RefAltLink {
			target := symid.BuildIDKey(symid.BuildID(rawID(t, tinyID)), symid.Debuginfo, "x").Index()
			if id.Refs[0].Name != "tiny.debug" || !slices.Equal(id.Refs[0].Keys, []symid.IndexKey{target}) {
				t.Errorf("alt link %+v", id.Refs[0])
			}
		}
	}
}

func TestELFPairs(t *testing.T) {
	data := func(name string) []byte { return parserData(t, "elf", name) }
	id := rawID(t, tinyID)
	other := replace(t, data("tiny.debug"), id, strings.Repeat("x", 20))
	arm := bytes.Clone(data("tiny.debug"))
	arm[18] = 183
	crc := replace(t, data("tiny.stripped"), "\x4c\x10\x56\xb3", "\x00\x10\x56\xb3")
	type f struct {
		path string
		b    []byte
	}
	stripped := f{"tiny", data("tiny.stripped")}
	for _, tt := range []struct {
		name  string
		files []f
		want  []string // codes of each file, joined
	}{
		{"pair", []f{stripped, {"tiny.debug", data("tiny.debug")}}, []string{"", ""}},
		{"pair in folders", []f{{"bin/tiny", data("tiny.stripped")}, {"lib/debug/TINY.debug", data("tiny.debug")}}, []string{"", ""}},
		{"all three", []f{{"out/tiny", data("tiny.so")}, stripped, {"tiny.debug", data("tiny.debug")}}, []string{"", "", ""}},
		{"symbol table left, and a debug file", []f{{"tiny", data("tiny.symtab")}, {"tiny.debug", data("tiny.debug")}}, []string{"", ""}},
		{"alone", []f{stripped}, []string{"warning ELF-DLINK-MISSING"}},
		{"under another name", []f{stripped, {"a9d786065a.debug", data("tiny.debug")}}, []string{"", ""}},
		{"checksum", []f{{"tiny", crc}, {"tiny.debug", data("tiny.debug")}}, []string{"warning ELF-DLINK-CRC", ""}},
		{"of another build", []f{stripped, {"tiny.debug", other}}, []string{"error ELF-PAIR", ""}},
		{"two builds of one name", []f{stripped, {"b/tiny.debug", other}, {"a/tiny.debug", data("tiny.debug")}}, []string{"", "", ""}},
		{"other machine", []f{stripped, {"tiny.debug", arm}}, []string{"warning ELF-DLINK-CRC", "error ELF-PAIR"}},
		{"damaged half", []f{stripped, {"tiny.debug", data("tiny.debug")[:1000]}}, []string{"", "error ELF-TRUNC"}},
		{"alt missing", []f{{"alt.so", data("alt.so")}}, []string{"error ELF-ALTLINK"}},
		{"alt of a stripped image", []f{{"x", buildELF(3, elfText, elfSymtab, elfNote("GNU\x00", 3, "01234567"), elfSection{".gnu_debugaltlink", 1, 0, []byte("a\x00id")})}}, []string{""}},
		{"alt there", []f{{"alt.so", data("alt.so")}, {"x", data("tiny.debug")}}, []string{"", ""}},
		{"skeleton alone", []f{{"s.so", data("split5.so")}}, []string{"error ELF-DWO"}},
		{"with its dwp", []f{{"s.so", data("split5.so")}, {"s.so.dwp", data("split5.dwp")}}, []string{"", ""}},
		{"with its dwo", []f{{"s.so", data("split5.so")}, {"s.dwo", data("split5.dwo")}}, []string{"warning ELF-DWO", "warning ELF-DWO"}},
		{"DWARF 4 with its dwo", []f{{"s.so", data("split4.so")}, {"s.dwo", data("split4.dwo")}}, []string{"warning ELF-DWO", "warning ELF-DWO"}},
		{"with another dwo", []f{{"s.so", data("split5.so")}, {"s.dwo", data("split4.dwo")}}, []string{"error ELF-DWO", "error ELF-DWO"}},
		{"lone dwo", []f{{"s.dwo", data("split5.dwo")}}, []string{"error ELF-DWO"}},
		{"lone dwp", []f{{"s.dwp", data("split5.dwp")}}, []string{"warning ELF-DWO"}},
	} {
		var files []validate.File
		for _, x := range tt.files {
			files = append(files, file(x.path, x.b))
		}
		rep := check(t, files...)
		failed := false
		for i, want := range tt.want {
			got := strings.Join(codes(rep, i), " ")
			if got != want {
				t.Errorf("%s: %s: found %q, want %q", tt.name, tt.files[i].path, got, want)
			}
			failed = failed || strings.Contains(want, "error")
		}
		if (rep.Verdict == catalog.Failed) != failed {
			t.Errorf("%s: verdict %s", tt.name, rep.Verdict)
		}
	}
}

// TestELFLayout moves .text of the debug half.
func TestELFLayout(t *testing.T) {
	b := bytes.Clone(parserData(t, "elf", "tiny.debug"))
	le := binary.LittleEndian
	heads, n := int(le.Uint64(b[40:])), int(le.Uint16(b[60:]))
	for i := range n {
		h := b[heads+64*i:]
		if le.Uint32(h[4:]) == 8 && le.Uint64(h[8:])&4 != 0 && le.Uint64(h[32:]) == 0x50 {
			le.PutUint64(h[16:], 0x9000)
		}
	}
	rep := check(t, file("tiny", parserData(t, "elf", "tiny.so")), file("tiny.debug", b))
	if !hasCode(rep, 1, catalog.Warning, "ELF-LAYOUT") || rep.Verdict != catalog.Good {
		t.Errorf("found %v, verdict %s, want ELF-LAYOUT and good", codes(rep, 1), rep.Verdict)
	}
}

// TestELFMessages wants a person to learn what was found and what to do.
func TestELFMessages(t *testing.T) {
	rep := check(t, file("tiny", parserData(t, "elf", "tiny.stripped")), file("tiny.debug", replace(t, parserData(t, "elf", "tiny.debug"), rawID(t, tinyID), strings.Repeat("x", 20))))
	msg := rep.Files[0].Findings[0].Message
	for _, want := range []string{"tiny: ", tinyID, "7878787878", "tiny.debug", "Collect both"} {
		if !strings.Contains(msg, want) {
			t.Errorf("message %q lacks %q", msg, want)
		}
	}
}

// FuzzELF wants a verdict on anything: an error of Package would be a bug.
func FuzzELF(f *testing.F) {
	for _, name := range []string{"tiny.stripped", "tiny.debug", "tiny.zstd.debug", "split4.so", "alt.so"} {
		f.Add(parserData(f, "elf", name), parserData(f, "elf", "tiny.debug"))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		rep, err := validate.Package(t.Context(), []validate.File{file("tiny", a), file("tiny.debug", b)}, validate.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rep.Files {
			for _, k := range r.Keys {
				if err := k.Key.Valid(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
