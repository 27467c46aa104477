package symid_test

import (
	"errors"
	"strings"
	"testing"

	"symkeep/internal/symid"
)

func TestCleanSource(t *testing.T) {
	for in, want := range map[string]string{
		"/a/b.c": "/a/b.c", "//a///b.c": "/a/b.c", "/a/../b/./c.c": "/b/c.c", "./csu/../x.c": "/x.c", "/../x.c": "/x.c", "x.c": "/x.c",
		`C:\src\a.c`: "/C:/src/a.c", `/d:\src/../a.c`: "/d:/a.c", `\\host\share\a.c`: "/host/share/a.c", `/a\b.c`: `/a\b.c`, "": "/", "/a/": "/a",
	} {
		if got := symid.CleanSource(in); got != want || symid.CleanSource(got) != got {
			t.Errorf("CleanSource(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCheckSource(t *testing.T) {
	for _, ok := range []string{"/a", "/A b/+%.c", "/ü", "/" + strings.Repeat("x", symid.MaxSource-1)} {
		if err := symid.CheckSource(ok); err != nil {
			t.Errorf("CheckSource(%.40q) = %v, want nil", ok, err)
		}
	}
	for _, bad := range []string{"", "/", "a", "/a/", "/a/../b", "/a\nb", "/a\x00", "/\xff", "/" + strings.Repeat("x", symid.MaxSource)} {
		if err := symid.CheckSource(bad); !errors.Is(err, symid.ErrBadName) {
			t.Errorf("CheckSource(%.40q) = %v, want ErrBadName", bad, err)
		}
	}
}

func TestSourceKey(t *testing.T) {
	upper, lower := symid.SourceKey("\xab\xcd", "/w/A.c"), symid.SourceKey("\xab\xcd", "/w/a.c")
	if upper.Index() == lower.Index() {
		t.Error("source paths ignore case")
	}
	any := symid.SourceKey("", "/w/A.c")
	if back, err := symid.ParseIndexKey(any.Index()); err != nil || back != any || len(any.Paths()) != 0 {
		t.Errorf("ParseIndexKey(%q) = %v, %v, want %v without paths", any.Index(), back, err, any)
	}
	for _, bad := range []symid.Key{symid.SourceKey("a", "w/a.c"), {Kind: symid.KindSource, ID: "a", Artifact: symid.Executable, Name: "/a"},
		{Kind: symid.KindWasm, ID: "a", Artifact: symid.Source, Name: "a"}, symid.SourceKey(symid.BuildID(strings.Repeat("a", 257)), "/a")} {
		if bad.Valid() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}
