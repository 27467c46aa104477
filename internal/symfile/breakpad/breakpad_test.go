package breakpad_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"symkeep/internal/symfile/breakpad"
)

const head = "MODULE Linux x86_64 DC2D8814FD9D472D39A2C2BA0EA7E75D0 full\n"

func full(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("testdata/full.sym")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func scan(t testing.TB, text string) (breakpad.Facts, []*breakpad.RecordError) {
	t.Helper()
	var errs []*breakpad.RecordError
	f, err := breakpad.Scan(strings.NewReader(text), func(e *breakpad.RecordError) bool { errs = append(errs, e); return true })
	if err != nil {
		t.Fatalf("Scan: %v", err)
	}
	return f, errs
}

func TestReadHead(t *testing.T) {
	const id = "DC2D8814FD9D472D39A2C2BA0EA7E75D0"
	for _, tt := range []struct {
		in          string
		module      breakpad.Module
		code, image string
	}{
		{head, breakpad.Module{OS: "Linux", Arch: "x86_64", ID: id, Name: "full"}, "", ""},
		{"MODULE mac x86 " + id + " a b c\r\nINFO CODE_ID AB\r\n", breakpad.Module{OS: "mac", Arch: "x86", ID: id, Name: "a b c"}, "AB", ""},
		{"MODULE windows x86 " + id + " a.pdb\nINFO GENERATOR x\nINFO CODE_ID 5C 1 a.exe\nINFO CODE_ID X\n", breakpad.Module{OS: "windows", Arch: "x86", ID: id, Name: "a.pdb"}, "5C", "1 a.exe"},
		{"MODULE windows x86 " + id + " a.pdb\nFILE 0 a\nINFO CODE_ID AB\n", breakpad.Module{OS: "windows", Arch: "x86", ID: id, Name: "a.pdb"}, "", ""},
	} {
		h, err := breakpad.ReadHead(strings.NewReader(tt.in), int64(len(tt.in)))
		if err != nil || h.Module != tt.module || h.CodeID != tt.code || h.CodeFile != tt.image {
			t.Errorf("ReadHead(%q) = %+v, %v", tt.in, h, err)
		}
	}
	for _, in := range []string{"", "\n" + head, head[1:], strings.TrimSuffix(head, " full\n") + "\n", "MODULE Linux x86_64  full x\n", "\xef\xbb\xbf" + head,
		"\xff\xfeM\x00O\x00", "MODULE Linux x86_64 " + id + "  \n", "MODULE Linux x86_64 " + id + " \xff\n", "MODULE Linux x86 " + id + " " + strings.Repeat("a", 5000)} {
		if _, err := breakpad.ReadHead(strings.NewReader(in), int64(len(in))); !errors.Is(err, breakpad.ErrModule) {
			t.Errorf("ReadHead(%.60q) error = %v, want ErrModule", in, err)
		}
	}
}

func TestDebugID(t *testing.T) {
	const guid = "DC2D8814FD9D472D39A2C2BA0EA7E75D"
	for _, tt := range []struct{ in, want string }{
		{guid + "0", guid + "0"},
		{guid + "1f", guid + "1F"},
		{strings.ToLower(guid) + "0", guid + "0"},
		{guid, guid + "0"},
		{guid + "FFFFFFFF", guid + "FFFFFFFF"},
		{guid + "100000000", ""},
		{guid[1:], ""},
		{"Z" + guid, ""},
		{strings.Repeat("0", 33), ""},
	} {
		d, err := breakpad.Module{ID: tt.in}.DebugID()
		if tt.want == "" && !errors.Is(err, breakpad.ErrID) || tt.want != "" && (err != nil || d.String() != tt.want) {
			t.Errorf("DebugID(%s) = %v, %v, want %q", tt.in, d, err, tt.want)
		}
	}
}

func TestScanRealFile(t *testing.T) {
	for name, text := range map[string]string{"LF": full(t), "CRLF": strings.ReplaceAll(full(t), "\n", "\r\n")} {
		f, errs := scan(t, text)
		if len(errs) > 0 || f.ModuleErr != nil || f.Funcs != 7 || f.Publics != 7 || f.Lines != 36 || f.Stacks != 10 || f.NoLineEnd ||
			f.CodeID != "14882DDC9DFD2D4739A2C2BA0EA7E75D91398FF3" {
			t.Errorf("%s: Scan = %+v, %v", name, f, errs)
		}
	}
}

// TestRecords gives each record after a good beginning; line 1 is MODULE.
func TestRecords(t *testing.T) {
	const begin = "FILE 0 a.c\nINLINE_ORIGIN 0 f\nFUNC 10 20 0 g\n" // lines 2 to 4
	for _, tt := range []struct {
		name, text string
		line       int64 // that is at fault; 0 for none
	}{
		{"func", "FUNC m 10 5 0 f(int, char)\n10 5 1 0\n", 0},
		{"public", "PUBLIC m 10 0 operator new\n", 0},
		{"inline", "INLINE 0 42 0 0 10 4 18 4\n", 0},
		{"inline of the old form", "INLINE 0 42 0 15b45 6b1\n", 0},
		{"cfi", "STACK CFI INIT 10 20 .cfa: $rsp 8 + .ra: .cfa -8 + ^\nSTACK CFI 11 .cfa: $rsp 16 +\n", 0},
		{"cfi of libc's signal trampoline", "STACK CFI INIT 324ef a .ra: $rip\n", 0},
		{"cfi at the end", "STACK CFI INIT 10 20 .cfa: $rsp 8 + .ra: x\nSTACK CFI 30 .cfa: $rsp 16 +\n", 0},
		{"win", "STACK WIN 4 b5ae 16 5 0 c 0 0 0 1 $T0 $ebp = $eip\n", 0},
		{"win fpo", "STACK WIN 0 b5ae 16 5 0 c 0 0 0 0 1\n", 0},
		{"info", "INFO URL https://example.org/a b\n", 0},
		{"empty line", "\n", 0},
		{"carriage returns at the end", "PUBLIC 10 0 f\r\r\n", 0},
		{"carriage return inside", "PUBLIC 10 0 f\r\x02PUBLIC 18 0 g\r\n", 5},
		{"complete line record without end", "10 5 1 0", 0},
		{"unknown word", "SOMETHING 1 2 3\n", 5},
		{"damaged word", "GUNC 30 5 0 f\n30 5 1 0\n", 5},
		{"func without name", "FUNC 10 5 0\n", 5},
		{"func with a blank name", "FUNC 10 5 0  \n", 5},
		{"func not hex", "FUNC zzzz 12\n", 5},
		{"func with a sign", "FUNC +10 5 0 f\n", 5},
		{"func over 64 bits", "FUNC 10000000000000000 5 0 f\n", 5},
		{"public without name", "PUBLIC 10 0 \n", 5},
		{"file without name", "FILE 1\n", 5},
		{"file with hex", "FILE a b\n", 5},
		{"blank origin", "INLINE_ORIGIN 7 \n", 5},
		{"inline without ranges", "INLINE 0 42 0 0\n", 5},
		{"inline of the old form without ranges", "INLINE 0 42 0\n", 5},
		{"line of three fields", "10 5 1\n", 5},
		{"line of five fields", "10 5 1 0 9\n", 5},
		{"line after public", "PUBLIC 10 0 f\n10 5 1 0\n", 6},
		{"undefined file", "10 5 1 7\n10 5 1 7\n", 5},
		{"undefined origin", "INLINE 0 42 0 9 10 4\n", 5},
		{"undefined origin in the old form", "INLINE 0 42 9 10 4\n", 5},
		{"cfi without init", "STACK CFI 11 .cfa: $rsp 16 +\n", 5},
		{"cfi outside", "STACK CFI INIT 10 20 .cfa: $rsp 8 + .ra: x\nSTACK CFI 31 .cfa: $rsp 16 +\n", 6},
		{"cfi init without rule", "STACK CFI INIT 10 20\n", 5},
		{"cfi without rule", "STACK CFI INIT 10 20 .cfa: $rsp 8 + .ra: x\nSTACK CFI 11 \n", 6},
		{"stack of another kind", "STACK FOO 1\n", 5},
		{"win short", "STACK WIN 4 b5ae 16 5 0 c 0 0 0 1\n", 5},
		{"win without flag", "STACK WIN 4 b5ae 16 5 0 c 0 0 0 x y\n", 5},
		{"second module", head, 5},
		{"nul", "PUBLIC 10 0 a\x00b\n", 5},
		{"cut", "PUBLIC 10 0 a", 5},
		{"cut line record", "10 5", 5},
		{"lower-case word", "garbage\n", 5},
		{"long line", "PUBLIC 10 0 " + strings.Repeat("a", breakpad.MaxLine) + "\n", 5},
		{"name of 70 kB", "PUBLIC 10 0 " + strings.Repeat("a", 70000) + "\n", 0},
	} {
		f, errs := scan(t, head+begin+tt.text)
		switch {
		case f.ModuleErr != nil:
			t.Errorf("%s: %v", tt.name, f.ModuleErr)
		case tt.line == 0 && len(errs) > 0:
			t.Errorf("%s: %v, want no error", tt.name, errs[0])
		case tt.line > 0 && (len(errs) != 1 || errs[0].Line != tt.line || !errors.Is(errs[0], breakpad.ErrRecord)):
			t.Errorf("%s: errors %v, want one at line %d", tt.name, errs, tt.line)
		}
		if dangling := strings.HasPrefix(tt.name, "undefined"); len(errs) > 0 && errs[0].Dangling != dangling {
			t.Errorf("%s: dangling %t, want %t", tt.name, errs[0].Dangling, dangling)
		}
		if (tt.name == "complete line record without end") != f.NoLineEnd {
			t.Errorf("%s: no line end %t", tt.name, f.NoLineEnd)
		}
	}
	if _, errs := scan(t, head+"INLINE 0 42 0 0 10 4\n"); len(errs) != 1 {
		t.Errorf("INLINE before FUNC: %v, want one error: it crashes a consumer", errs)
	}
	if _, errs := scan(t, head+"FUNC 1 1 0 f\n1 1 1 3\nFILE 3 later.c\n"); len(errs) != 0 {
		t.Errorf("a file defined after its use: %v", errs)
	}
}

func TestModuleOfScan(t *testing.T) {
	for _, text := range []string{"", "FUNC 1 1 0 f\n", "\n\n\n\n" + head, "<html>\n", "\xef\xbb\xbf" + head} {
		if f, _ := scan(t, text); !errors.Is(f.ModuleErr, breakpad.ErrModule) {
			t.Errorf("Scan(%q): ModuleErr = %v, want ErrModule", text, f.ModuleErr)
		}
	}
}

func TestScanStopsAndFails(t *testing.T) {
	n := 0
	_, err := breakpad.Scan(strings.NewReader(head+strings.Repeat("FUNC x\n", 1000)), func(*breakpad.RecordError) bool { n++; return n < 3 })
	if err != nil || n != 3 {
		t.Errorf("report was called %d times, %v; want 3 times", n, err)
	}
	broken := errors.New("disk")
	_, err = breakpad.Scan(io.MultiReader(strings.NewReader(head), failing{broken}), func(*breakpad.RecordError) bool { return true })
	if !errors.Is(err, broken) {
		t.Errorf("Scan error = %v, want that of the reader", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func FuzzScan(f *testing.F) {
	f.Add([]byte(full(f)))
	f.Add([]byte(head + "INLINE_ORIGIN 0 f\nFUNC 1 2 3 g\nINLINE 0 1 0 0 1 1\nSTACK WIN 4 1 1 1 1 1 1 1 1 1 a\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		lines := int64(bytes.Count(b, []byte{'\n'}) + 1)
		facts, err := breakpad.Scan(bytes.NewReader(b), func(e *breakpad.RecordError) bool {
			if e.Line < 1 || e.Line > lines || e.Off < 0 || e.Off > int64(len(b)) {
				t.Fatalf("error at line %d, offset %d of %d lines, %d bytes", e.Line, e.Off, lines, len(b))
			}
			return true
		})
		if err != nil {
			t.Fatalf("Scan: %v", err)
		}
		if n := facts.Funcs + facts.Publics + facts.Lines + facts.Stacks + facts.Inlines; n > lines {
			t.Fatalf("%d records in %d lines", n, lines)
		}
		if h, err := breakpad.ReadHead(bytes.NewReader(b), int64(len(b))); err == nil && facts.ModuleErr == nil && h.Module != facts.Module {
			t.Fatalf("ReadHead says %+v, Scan %+v", h.Module, facts.Module)
		}
	})
}
