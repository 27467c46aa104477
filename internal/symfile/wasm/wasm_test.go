package wasm_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"symkeep/internal/symfile/wasm"
)

// custom is a custom section.
func custom(name, content string) string {
	body := string(rune(len(name))) + name + content
	return "\x00" + uleb(len(body)) + body
}

func uleb(n int) string {
	var b []byte
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return string(append(b, byte(n)))
}

const header = "\x00asm\x01\x00\x00\x00"

func parse(s string) (*wasm.Module, error) { return wasm.Parse(strings.NewReader(s), int64(len(s))) }

func TestFixture(t *testing.T) {
	b, err := os.ReadFile("testdata/demo.wasm")
	if err != nil {
		t.Fatal(err)
	}
	m, err := parse(string(b))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.BuildIDs) != 2 || m.BuildIDs[0].String() != "acdcd0c8fe0f9adda5425922f4b670b80108081b" ||
		m.BuildIDs[1].String() != "14acdcd0c8fe0f9adda5425922f4b670b80108081b" || !m.DebugInfo || m.External {
		t.Errorf("Parse = %+v", m)
	}
	for _, n := range []int{0, 4, 7, 9, len(b) * 2 / 3, len(b) - 1} {
		if _, err := parse(string(b[:n])); !errors.Is(err, wasm.ErrHeader) {
			t.Errorf("Parse of %d bytes: error = %v, want ErrHeader", n, err)
		}
	}
}

func TestSections(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		ids      string // of the spellings, joined
		note     bool
		debug    bool
	}{
		{"none", header, "", false, false},
		{"with length", header + custom("build_id", "\x04abcd"), "61626364 0461626364", false, false},
		{"bytes only", header + custom("build_id", "abcd"), "61626364 0461626364", false, false},
		{"the first counts", header + custom("build_id", "ab") + custom("build_id", "cd"), "6162 026162", false, false},
		{"empty", header + custom("build_id", ""), "", true, false},
		{"length 0", header + custom("build_id", "\x00"), "", true, false},
		{"too long", header + custom("build_id", strings.Repeat("a", 300)), "", true, false},
		{"dwarf", header + custom(".debug_info", "x") + custom("name", "y"), "", false, true},
		{"empty dwarf", header + custom(".debug_info", ""), "", false, false},
		{"long size encoding", header + "\x00\x82\x80\x80\x80\x00\x01a", "", false, false},
		{"code section", header + "\x0a\x03abc" + custom(".debug_info", "x"), "", false, true},
		{"long name", header + custom("external_debug_info", "u") + "\x00" + uleb(2+300) + uleb(300) + strings.Repeat("n", 300), "", false, false},
	} {
		m, err := parse(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var ids []string
		for _, b := range m.BuildIDs {
			ids = append(ids, b.String())
		}
		if got := strings.Join(ids, " "); got != tt.ids || (m.BuildIDNote != nil) != tt.note || m.DebugInfo != tt.debug {
			t.Errorf("%s: ids %q, note %v, debug %t; want %q, %t, %t", tt.name, got, m.BuildIDNote, m.DebugInfo, tt.ids, tt.note, tt.debug)
		}
	}
	for name, in := range map[string]string{
		"magic":              "\x00asn\x01\x00\x00\x00",
		"version":            "\x00asm\x09\x00\x00\x00",
		"section id":         header + "\x20\x00",
		"no size":            header + "\x01",
		"size of six bytes":  header + "\x01\x80\x80\x80\x80\x80\x00",
		"size over 32 bits":  header + "\x01\xff\xff\xff\xff\x7f",
		"past the end":       header + "\x01\x05abc",
		"name past the end":  header + "\x00\x03\x09ab",
		"custom of no bytes": header + "\x00\x00",
	} {
		if _, err := parse(in); !errors.Is(err, wasm.ErrHeader) {
			t.Errorf("%s: error = %v, want ErrHeader", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	if b, err := os.ReadFile("testdata/demo.wasm"); err == nil {
		f.Add(b)
	}
	f.Add([]byte(header + custom("build_id", "abcd") + custom("name", "x")))
	f.Add([]byte(whole().String()))
	m := whole()
	m.code = bodies("\x01\x01\x7e\x1f\x40\x01\x00\x00\x00\xfd\x54\x00\x00\x0f\xfc\x08\x00\x00\xfb\x14\x6e\x0e\x01\x00\x01\x0b\x0b")
	m.custom = custom("name", "\x01\x04\x01\x00\x01f") + custom("producers", "\x01\x08language\x01\x01C\x00") + custom("target_features", "\x01+\x01a")
	f.Add([]byte(m.String()))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := allocated()
		defer func() {
			if got := allocated() - before; got > 16<<20+uint64(256*len(b)) {
				t.Errorf("%d bytes allocated for %d", got, len(b))
			}
		}()
		m, err := wasm.Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if !errors.Is(err, wasm.ErrHeader) {
				t.Fatalf("error %v does not wrap ErrHeader", err)
			}
			return
		}
		d := m.Check()
		for _, err := range append(d.Custom, d.Module) {
			if err != nil && !errors.Is(err, wasm.ErrHeader) {
				t.Fatalf("error %v does not wrap ErrHeader", err)
			}
		}
		for _, id := range m.BuildIDs {
			if len(id) == 0 || len(id) > len(b) {
				t.Fatalf("build id of %d bytes from %d", len(id), len(b))
			}
		}
	})
}
