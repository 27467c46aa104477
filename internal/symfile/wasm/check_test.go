package wasm_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"symkeep/internal/symfile/wasm"
)

// section is a section of a standard id.
func section(id byte, content string) string {
	return string([]byte{id}) + uleb(len(content)) + content
}

func TestCheck(t *testing.T) {
	const functions, bodies, exports = "\x02\x00\x01", "\x02\x02\x00\x0b\x03\x00\x01\x0b", "\x01\x03run\x00\x01"
	good := section(3, functions) + section(7, exports) + section(10, bodies)
	for _, tt := range []struct{ name, in, want string }{
		{"good", good, ""},
		{"custom sections anywhere", custom("a", "") + section(3, functions) + custom("b", "") + section(10, bodies) + custom("c", ""), ""},
		{"tags and data count", section(5, "\x00") + section(13, "\x00") + section(6, "\x00") + section(12, "\x00") + section(10, "\x00") + section(11, "\x00"), ""},
		{"no bodies, as in a debug file", section(3, functions), ""},
		{"bodies alone", section(10, bodies), ""},
		{"order", section(10, "\x00") + section(3, "\x00"), "section"},
		{"twice", section(3, "\x00") + section(3, "\x00"), "section"},
		{"a body too few", section(3, "\x03\x00\x00\x00") + section(10, bodies), "code section"},
		{"body past the end", section(10, "\x01\x05\x00\x0b"), "function body"},
		{"bytes behind the bodies", section(10, bodies+"\x00"), "section"},
		{"number cut", section(3, "\x01\x80"), "type index"},
		{"number too long", section(3, "\x01\xff\xff\xff\xff\xff\x01"), "type index"},
		{"kind", section(7, "\x01\x01a\x09\x00"), "kind of an export"},
		{"name past the end", section(7, "\x01\x09a"), "name of an export"},
		{"no count", section(3, ""), "number of items"},
	} {
		m, err := parse(header + tt.in)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		err = m.Check().Module
		if (err == nil) != (tt.want == "") || err != nil && (!errors.Is(err, wasm.ErrHeader) || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%s: Check = %v, want %q", tt.name, err, tt.want)
		}
	}
	b, err := os.ReadFile("testdata/demo.wasm")
	if err != nil {
		t.Fatal(err)
	}
	m, err := parse(string(b))
	if err != nil {
		t.Fatal(err)
	}
	if d := m.Check(); d.Module != nil || d.Custom != nil {
		t.Errorf("demo.wasm: Check = %v", d)
	}
}
