package wasm_test

import (
	"errors"
	"runtime/metrics"
	"strings"
	"testing"

	"symkeep/internal/symfile/wasm"
)

func TestCustomSections(t *testing.T) {
	names := func(id byte, content string) string {
		return custom("name", string([]byte{id})+uleb(len(content))+content)
	}
	for _, tt := range []struct{ name, in, want string }{
		{"names", names(1, "\x02\x00\x01f\x01\x01g") + names(7, "\x01\x00\x00") + names(9, "\x01\x00\x01d"), ""},
		{"names that nobody asks for", names(0, "\x09m") + names(2, "\xff") + names(77, "\xff"), ""},
		{"order of names", names(1, "\x02\x01\x01g\x00\x01f"), ""},
		{"name twice", names(1, "\x02\x01\x01g\x01\x01f"), "names at"},
		{"name of no function", names(1, "\x01\x02\x01g"), "function index"},
		{"name past the end", names(1, "\x01\x01\x05g"), "name at"},
		{"bytes behind the names", names(1, "\x01\x01\x01g\x00"), "subsection of the name section"},
		{"subsection past the end", custom("name", "\x00\x09m"), "subsection of the name section"},
		{"producers", custom("producers", "\x02\x08language\x01\x03C11\x00\x03sdk\x01\x01e\x011"), ""},
		{"field of producers", custom("producers", "\x01\x08lenguage\x01\x03C11\x00"), "field of the producers section"},
		{"producers cut", custom("producers", "\x01\x08language\x01\x03C11"), "length of the version of a producer"},
		{"features", custom("target_features", "\x02+\x04simd-\x01a"), ""},
		{"prefix of a feature", custom("target_features", "\x01*\x04simd"), "use of a target feature"},
		{"bytes behind the features", custom("target_features", "\x01+\x04simda"), "section"},
		{"another section", custom("other", "\xff\xff"), ""},
	} {
		m := whole()
		m.custom = tt.in
		parsed, err := parse(m.String())
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		d := parsed.Check()
		if d.Module != nil || (len(d.Custom) > 0) != (tt.want != "") {
			t.Errorf("%s: Check = %v, want %q", tt.name, d, tt.want)
			continue
		}
		for _, err := range d.Custom {
			if !errors.Is(err, wasm.ErrHeader) || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%s: Check = %v, want %q", tt.name, err, tt.want)
			}
		}
	}
	// Without the functions, as in a file of debug information alone, no index is judged.
	m, err := parse(header + names(1, "\x02\x07\x01f\x07\x01g"))
	if err != nil || len(m.Check().Custom) > 0 {
		t.Errorf("names alone: %v, %v", err, m.Check())
	}
}

// TestNamesOfMany: nothing is kept on the word of a count that nobody can check.
func TestNamesOfMany(t *testing.T) {
	many := "\xff\xff\xff\xff\x0f"
	names := custom("name", "\x09\x0c\x01\xfe\xff\xff\xff\x0f\x05hello")
	for _, in := range []string{
		header + "\x0c\x05" + many + names,
		header + "\x0b\x06" + many + "\x03" + names,
	} {
		m, err := parse(in)
		if err != nil {
			t.Fatal(err)
		}
		before := allocated()
		m.Check()
		if got := allocated() - before; got > 1<<20 {
			t.Errorf("%q: %d bytes allocated for %d", in, got, len(in))
		}
	}
}

// allocated is how many bytes this process has allocated so far.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
