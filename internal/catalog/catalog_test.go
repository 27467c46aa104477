package catalog_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

func TestCheckPath(t *testing.T) {
	for _, ok := range []string{"a", "bin/prog", "x64/Release/foo bar.pdb", "lib/libstdc++.so.6", strings.Repeat("a/", 100) + "b"} {
		if err := catalog.CheckPath(ok); err != nil {
			t.Errorf("CheckPath(%q) = %v, want nil", ok, err)
		}
	}
	for _, bad := range []string{"", "/abs", "../x", "a/../b", "a/./b", "a//b", "a/", `a\b`, "C:/x", "a\x00b", "a\nb", "\xff", strings.Repeat("a", 256), strings.Repeat("a/", 512) + "b"} {
		if err := catalog.CheckPath(bad); !errors.Is(err, symid.ErrBadName) {
			t.Errorf("CheckPath(%q) = %v, want ErrBadName", bad, err)
		}
	}
}

func TestDigest(t *testing.T) {
	text := strings.Repeat("0A", 32)
	d, err := catalog.ParseDigest(text)
	if err != nil || d.String() != strings.ToLower(text) {
		t.Errorf("ParseDigest(%s) = %v, %v", text, d, err)
	}
	for _, bad := range []string{"", "00", strings.Repeat("0g", 32), text + "0"} {
		if _, err := catalog.ParseDigest(bad); !errors.Is(err, catalog.ErrBadDigest) {
			t.Errorf("ParseDigest(%q) = %v, want ErrBadDigest", bad, err)
		}
	}
	for _, want := range []catalog.Digest{d, {}} {
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got catalog.Digest
		if err := json.Unmarshal(b, &got); err != nil || got != want {
			t.Errorf("%s decodes to %v, %v, want %v", b, got, err, want)
		}
	}
}

func TestSettingsValidate(t *testing.T) {
	if err := catalog.DefaultSettings().Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	err := catalog.Settings{Replicas: 17, MailTo: []string{"a@b", ""}}.Validate()
	for _, want := range []string{"replicas 17", "mail-from", "empty address"} {
		if !errors.Is(err, catalog.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v, want an ErrInvalid that names %q", err, want)
		}
	}
}

func TestWriteQuorum(t *testing.T) {
	for _, tt := range []struct{ replicas, members, want int }{{3, 1, 1}, {3, 2, 2}, {3, 3, 2}, {1, 3, 1}, {5, 9, 2}, {3, 0, 1}} {
		if got := catalog.WriteQuorum(tt.replicas, tt.members); got != tt.want {
			t.Errorf("WriteQuorum(%d, %d) = %d, want %d", tt.replicas, tt.members, got, tt.want)
		}
	}
}

func TestCheckText(t *testing.T) {
	for _, tt := range []struct {
		text string
		ok   bool
	}{{"Demo 1.0 ünï", true}, {"two\nlines\t", true}, {"\xff", false}, {"a\rb", false}, {"a\x00", false}} {
		if err := catalog.CheckText("product", tt.text, 20); (err == nil) != tt.ok {
			t.Errorf("CheckText(%q) = %v, want ok %v", tt.text, err, tt.ok)
		}
	}
	if err := catalog.CheckText("product", strings.Repeat("x", 11), 10); !errors.Is(err, catalog.ErrInvalid) {
		t.Errorf("CheckText over the limit = %v, want ErrInvalid", err)
	}
}
