package validate_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const symHead = "MODULE Linux x86_64 DC2D8814FD9D472D39A2C2BA0EA7E75D0 full\n"

func TestBreakpad(t *testing.T) {
	full := string(parserData(t, "breakpad", "full.sym"))
	body := strings.TrimPrefix(full, symHead)
	for _, tt := range []struct{ name, path, text, want string }{
		{"good", "full.sym", full, ""},
		{"CRLF", "full.sym", strings.ReplaceAll(full, "\n", "\r\n"), ""},
		{"no MODULE", "full.sym", body, "error SYM-MODULE"},
		{"byte order mark", "full.sym", "\xef\xbb\xbf" + full, "error SYM-MODULE"},
		{"no name", "full.sym", "MODULE Linux x86_64 DC2D8814FD9D472D39A2C2BA0EA7E75D0\n" + body, "error SYM-MODULE"},
		{"name no path can hold", "full.sym", "MODULE Linux x86_64 DC2D8814FD9D472D39A2C2BA0EA7E75D0 a:b\n" + body, "error SYM-MODULE"},
		{"id not hex", "full.sym", strings.Replace(full, "DC2D", "ZC2D", 1), "error SYM-ID"},
		{"id short", "full.sym", strings.Replace(full, "DC2D", "", 1), "error SYM-ID"},
		{"id zero", "full.sym", strings.Replace(full, "DC2D8814FD9D472D39A2C2BA0EA7E75D0", strings.Repeat("0", 33), 1), "error SYM-ID"},
		{"id without age", "full.sym", strings.Replace(full, "E75D0 ", "E75D ", 1), "warning SYM-ID"},
		{"id of another code id", "full.sym", strings.Replace(full, "INFO CODE_ID 14", "INFO CODE_ID 15", 1), "warning SYM-ID"},
		{"no symbols", "full.sym", symHead + "INFO CODE_ID 14882DDC9DFD2D4739A2C2BA0EA7E75D91398FF3\nFILE 0 a.c\n", "error SYM-EMPTY"},
		{"bad record", "full.sym", full + "FUNC zzzz 12\n", "error SYM-RECORD"},
		{"cut", "full.sym", full[:len(full)-20], "error SYM-RECORD"},
		{"no line end", "full.sym", symHead + "FILE 0 a\nFUNC 1 2 0 f\n1 2 3 0", "warning SYM-RECORD"},
		{"line of an unnamed file", "full.sym", symHead + "FUNC 1 2 0 f\n1 2 3 7\n", "warning SYM-RECORD"},
		{"many of them, and damage", "full.sym", symHead + "FUNC 1 2 0 f\n" + dangling(30) + "FUNC zzzz 1\n", "error SYM-RECORD" + strings.Repeat(" warning SYM-RECORD", 20)},
		{"unknown record", "full.sym", full + "NEWS 1 2\n", "error SYM-RECORD"},
		{"right path", "s/full/dc2d8814fd9d472d39a2c2ba0ea7e75d0/full.sym", full, ""},
		{"wrong id in path", "full/DC2D8814FD9D472D39A2C2BA0EA7E75D1/full.sym", full, "warning SYM-NAME"},
		{"wrong name in path", "ful/DC2D8814FD9D472D39A2C2BA0EA7E75D0/full.sym", full, "warning SYM-NAME"},
		{"web page", "full.sym", "<html><title>login</title>", "error GEN-HTML"},
	} {
		if got := strings.Join(codes(check(t, file(tt.path, []byte(tt.text))), 0), " "); got != tt.want {
			t.Errorf("%s: found %q, want %q", tt.name, got, tt.want)
		}
	}
}

// dangling returns n lines whose file numbers nothing defines.
func dangling(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "1 2 3 %d\n", 1000+i)
	}
	return b.String()
}

func TestBreakpadQuality(t *testing.T) {
	for text, want := range map[string]string{
		"FUNC 1 1 0 f\n1 1 3 0\nFILE 0 a.c\n":             "[public lines]",
		"PUBLIC 1 0 f\n":                                  "[public]",
		"STACK CFI INIT 1 1 .cfa: a .ra: b\n":             "[unwind]",
		"STACK WIN 4 1 1 0 0 0 0 0 0 0 1\nPUBLIC 1 0 f\n": "[public unwind]",
	} {
		if got := fmt.Sprint(check(t, file("a.sym", []byte(symHead+text))).Files[0].Quality); got != want {
			t.Errorf("%q: quality %s, want %s", text, got, want)
		}
	}
}

func TestBreakpadIdentity(t *testing.T) {
	const id = "3249D99D0C4049318610F4E4FB0B6936"
	for _, tt := range []struct {
		text string
		path string
		rank int
	}{
		{"MODULE windows x86 " + id + "14 C:\\build\\Crash.PDB\nFUNC 1 1 0 f\n", "Crash.PDB/" + id + "14/Crash.sym", 30},
		{"MODULE Linux x86_64 " + id + " lib a.so\nPUBLIC 1 0 f\n", "lib a.so/" + id + "0/lib a.so.sym", 20},
		{"MODULE windows x86_64 " + strings.ToLower(id) + "a x.pdb\nSTACK CFI INIT 1 1 .cfa: a .ra: b\n", "x.pdb/" + id + "A/x.sym", 10},
	} {
		r := check(t, file("any.sym", []byte(tt.text))).Files[0]
		if len(r.Keys) != 1 || r.Keys[0].Key.Paths()[0] != tt.path || r.Keys[0].Rank != tt.rank {
			t.Errorf("%.40q: keys %v, want %s of rank %d", tt.text, r.Keys, tt.path, tt.rank)
		}
	}
	r := check(t, file("full.sym", parserData(t, "breakpad", "full.sym"))).Files[0]
	if len(r.IDs) != 1 || r.IDs[0].DebugID != "DC2D8814FD9D472D39A2C2BA0EA7E75D0" || r.IDs[0].CodeID != "14882DDC9DFD2D4739A2C2BA0EA7E75D91398FF3" || r.Arch != "x64" {
		t.Errorf("ids %+v, arch %s", r.IDs, r.Arch)
	}
}

// TestBreakpadManyErrors wants the first ones with their lines and the number of
// the others.
func TestBreakpadManyErrors(t *testing.T) {
	found := check(t, file("a.sym", []byte(symHead+strings.Repeat("FUNC x\n", 50)+"PUBLIC 1 0 f\n"))).Files[0].Findings
	if len(found) != 21 || !strings.Contains(found[0].Message, "line 2:") || !strings.Contains(found[20].Message, "30 more") {
		t.Errorf("%d findings, first %v, last %v", len(found), found[0], found[len(found)-1])
	}
}

func TestWasm(t *testing.T) {
	demo := string(parserData(t, "wasm", "demo.wasm"))
	const id = "acdcd0c8fe0f9adda5425922f4b670b80108081b"
	custom := func(name, body string) string {
		return "\x00" + string(rune(1+len(name)+len(body))) + string(rune(len(name))) + name + body
	}
	const head = "\x00asm\x01\x00\x00\x00"
	for _, tt := range []struct{ name, in, want string }{
		{"good", demo, ""},
		{"cut", demo[:len(demo)*2/3], "error WASM-HDR"},
		{"version", "\x00asm\x09" + demo[5:], "error WASM-HDR"},
		{"nothing inside", head, "error WASM-NOID warning WASM-NODBG"},
		{"id only", head + custom("build_id", "\x02ab"), "warning WASM-NODBG"},
		{"id zero", head + custom("build_id", "\x02\x00\x00") + custom("name", "\x00\x02\x01m"), "error WASM-NOID"},
		{"id empty", head + custom("build_id", "\x00") + custom("name", "\x00\x02\x01m"), "error WASM-NOID"},
		{"damaged names", head + custom("build_id", "\x02ab") + custom("name", "\x00\x09\x01m"), "error WASM-CUSTOM"},
		{"damaged functions", head + "\x03\x01\x80" + custom("build_id", "\x02ab") + custom("name", "\x00\x02\x01m"), "error WASM-HDR"},
		{"debug elsewhere", head + custom("build_id", "\x02ab") + custom("external_debug_info", "x"), ""},
	} {
		if got := strings.Join(codes(check(t, file("m.wasm", []byte(tt.in))), 0), " "); got != tt.want {
			t.Errorf("%s: found %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := codes(check(t, file("m.wasm", []byte(strings.Replace(demo, "\x04\x00\x00\x00\x00\x00\x04\x01", "\x09\x00\x00\x00\x00\x00\x04\x01", 1)))), 0); !slices.Equal(got, []string{"error WASM-DWARF"}) {
		t.Errorf("damaged units: found %v, want WASM-DWARF", got)
	}
	rep := check(t, file("m.wasm", []byte(demo)))
	if got := fmt.Sprint(rep.Files[0].Quality); got != "[public lines types]" {
		t.Errorf("quality %s", got)
	}
	if p := paths(rep, 0); !slices.Equal(p, []string{"m.wasm/" + id + "/m.wasm", "m.wasm/14" + id + "/m.wasm"}) {
		t.Errorf("keys %v, want both spellings", p)
	}
	if d := rep.Files[0].IDs[0]; d.DebugID != strings.ToUpper(id[:32])+"0" || d.BuildID != id {
		t.Errorf("ids %+v", d)
	}
}

func TestDBG(t *testing.T) {
	le := binary.LittleEndian
	b := []byte{'D', 'I', 0, 0, 0x4c, 0x01, 2, 1}
	for _, v := range []uint32{0x3d6dfe00, 0, 0x400000, 0x5000, 0, 0, 0, 0, 0, 0} {
		b = le.AppendUint32(b, v)
	}
	rep := check(t, file("old.dbg", b))
	if got := fmt.Sprint(codes(rep, 0), paths(rep, 0)); got != "[warning DBG-OLD] [old.dbg/3D6DFE005000/old.dbg]" {
		t.Errorf("found %s", got)
	}
	if got := codes(check(t, file("old.dbg", b[:44])), 0); !slices.Equal(got, []string{"error DBG-HDR"}) {
		t.Errorf("cut: found %v", got)
	}
}
