package symindex_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/symfile"
	"symkeep/internal/symfile/symindex"
)

func TestRead(t *testing.T) {
	const good = "\xef\xbb\xbf" + `[ {"clientKey":"a.dll/5e67ab1c7f000/a.dll","blobPath":"bin/a.dll","more":1}, {"clientKey":"b"} ]` + "\n"
	got, err := symindex.Read(strings.NewReader(good), int64(len(good)))
	for i := range got {
		got[i].Off = 0
	}
	want := []symindex.Entry{{0, 0, "a.dll/5e67ab1c7f000/a.dll", "bin/a.dll"}, {1, 0, "b", ""}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Read = %v, %v, want %v", got, err, want)
	}
	if got, err := symindex.Read(strings.NewReader("[]"), 2); err != nil || len(got) != 0 {
		t.Errorf("Read of an empty list = %v, %v", got, err)
	}
	for _, bad := range []string{
		"", "{}", `{"clientKey":"a"}`, "[", `["a/b/a"]`, `[{"clientKey":1}]`, `[{"clientKey":"a"}] x`, `[{"clientKey":"a"},]`, "<html>", `[{"clientKey":"a"`,
	} {
		_, err := symindex.Read(strings.NewReader(bad), int64(len(bad)))
		var format *symfile.FormatError
		if !errors.As(err, &format) || !errors.Is(err, symindex.ErrMalformed) {
			t.Errorf("Read(%q) = %v, want a FormatError", bad, err)
		}
	}
}

func TestNamed(t *testing.T) {
	for name, want := range map[string]bool{"symbol_index.json": true, "a/b/Symbol_Index.JSON": true, "index.json": false, "my_symbol_index.json": false} {
		if got := symindex.Named(name); got != want {
			t.Errorf("Named(%q) = %t, want %t", name, got, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`[{"clientKey":"a.dll/5e67ab1c7f000/a.dll","blobPath":"bin/a.dll"}]`))
	f.Add([]byte("\xef\xbb\xbf[]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := symindex.Read(strings.NewReader(string(b)), int64(len(b)))
		if err != nil && !errors.Is(err, symindex.ErrMalformed) {
			t.Errorf("Read = %v, which says nothing about the content", err)
		}
		if len(entries) > len(b) {
			t.Errorf("Read of %d bytes = %d entries", len(b), len(entries))
		}
	})
}
