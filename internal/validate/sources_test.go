package validate_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile"
	"symkeep/internal/symfile/dwarf"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// source is a source file of a package.
func source(path, text string) validate.File {
	f := named(file(validate.SourcePath(path), []byte(text)))
	f.Source = path
	return f
}

// tiny is a library whose debug information names tinySource and nothing else.
func tiny(t *testing.T) (validate.File, string) {
	b := parserData(t, "elf", "tiny.so")
	var all []string
	err := validate.SourceFiles(bytes.NewReader(b), int64(len(b)), symfile.ELF, func(s dwarf.SourceFile) error {
		all = append(all, symid.CleanSource(s.Path))
		return nil
	})
	slices.Sort(all)
	if all = slices.Compact(all); err != nil || len(all) != 1 || !strings.HasSuffix(all[0], "/tiny.c") {
		t.Fatalf("SourceFiles = %q, %v, want tiny.c alone", all, err)
	}
	return named(file("tiny.so", b)), all[0]
}

func TestSources(t *testing.T) {
	lib, path := tiny(t)
	text := "int twice(int x) { return 2 * x; }\n"
	rep := check(t, lib, source(path, text), source("/else/where.c", ""), source(path, "other"))
	if rep.Verdict != catalog.Good || len(rep.Findings) > 0 {
		t.Fatalf("verdict %s, %+v", rep.Verdict, rep.Findings)
	}
	sum := sha1.Sum([]byte(text))
	want := []catalog.RankedKey{
		{Key: symid.StoreKey("tiny.c", "sha1-"+hex.EncodeToString(sum[:])), Rank: validate.RankFull},
		{Key: symid.SourceKey("", path), Rank: validate.RankFull},
	}
	if got := rep.Files[1]; got.Kind != catalog.KindSource || !slices.Equal(got.Keys, want) || len(got.Findings) > 0 {
		t.Errorf("source file = %+v, want keys %+v", got, want)
	}
	if !slices.Contains(rep.Files[0].Quality, catalog.QualitySources) {
		t.Errorf("quality %v of the library, want sources", rep.Files[0].Quality)
	}
	for _, i := range []int{2, 3} {
		if len(rep.Files[i].Keys) != 1 || !hasCode(rep, i, catalog.Warning, "GEN-SOURCE") {
			t.Errorf("file %d = %+v, want one key and GEN-SOURCE", i, rep.Files[i])
		}
	}
}

// What is in a source file is nobody's business: text of any kind, and copies.
func TestSourcesAreNotJudged(t *testing.T) {
	lib, path := tiny(t)
	for _, text := range []string{"<html>", "version https://git-lfs.github.com/spec/v1\n", "\x7fELF", "MODULE ", strings.Repeat("\x00", 100)} {
		rep := check(t, lib, source(path, text))
		if rep.Verdict != catalog.Good || len(rep.Files[1].Findings) > 0 || len(rep.Files[1].Keys) != 2 {
			t.Errorf("source of text %.20q: verdict %s, %+v", text, rep.Verdict, rep.Files[1])
		}
	}
	rep := check(t, lib, source(path, "x"), source("/a/tiny.c", "x"))
	if rep.Verdict != catalog.Good || hasCode(rep, 2, catalog.Warning, "GEN-DUP") {
		t.Errorf("a copy: verdict %s, %q", rep.Verdict, codes(rep, 2))
	}
}

func TestMissingSources(t *testing.T) {
	lib, path := tiny(t)
	rep := check(t, lib)
	if len(rep.Findings) > 0 || slices.Contains(rep.Files[0].Quality, catalog.QualitySources) {
		t.Errorf("without sources: %+v, quality %v", rep.Findings, rep.Files[0].Quality)
	}
	rep = check(t, lib, source("/else/where.c", "x"))
	want := fmt.Sprintf("1 of the 1 source files that debug information names are not in the package, such as %q", path)
	if len(rep.Findings) != 1 || rep.Findings[0].Severity != catalog.Info || !strings.HasPrefix(rep.Findings[0].Message, want) {
		t.Errorf("findings %+v, want %q", rep.Findings, want)
	}
	deny, err := validate.ParsePolicy(nil, []string{"GEN-NOSOURCE"})
	if err != nil {
		t.Fatal(err)
	}
	rep, err = validate.Package(t.Context(), []validate.File{lib, source("/else/where.c", "x")}, validate.Options{Policy: deny})
	if err != nil || rep.Verdict != catalog.Failed || rep.Findings[0].Severity != catalog.Error {
		t.Errorf("denied: verdict %s, %+v, %v", rep.Verdict, rep.Findings, err)
	}
}

func TestSourcePath(t *testing.T) {
	for in, want := range map[string]string{
		"/w/a b+c/x.c": ".source/w/a b+c/x.c", "/C:/w/x.c": ".source/C%3A/w/x.c", `/w/a\b%.c`: ".source/w/a%5Cb%25.c", "/w/.../x.c": ".source/w/%2E%2E%2E/x.c",
	} {
		got := validate.SourcePath(in)
		if err := catalog.CheckPath(got); got != want || err != nil {
			t.Errorf("SourcePath(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	n := &validate.Names{}
	for _, name := range []string{"d", "b", "a", "b", "c"} {
		n.Add(name)
	}
	if n.Len() != 4 || n.String() != `"a", "b", "c"` {
		t.Errorf("Names = %d, %s", n.Len(), n)
	}
}
