package validate_test

import (
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// The runtime whose debugger support a package holds, by the forms of its ids.
const (
	runtimeID    = "elf-buildid-0123456789abcdef0123456789abcdef01234567"
	runtimeStamp = "5E67AB1C7f000"
)

// answers reports whether file i answers a request.
func answers(t *testing.T, rep validate.Report, i int, path string) bool {
	t.Helper()
	l, err := symid.ParseLookup(path)
	if err != nil {
		t.Fatalf("ParseLookup(%q): %v", path, err)
	}
	return slices.ContainsFunc(rep.Files[i].Keys, func(k catalog.RankedKey) bool {
		return k.Key.Index() == l.Keys[0].Index() || k.Key.Index() == l.Keys[len(l.Keys)-1].Index()
	})
}

func TestIndexGivesKeys(t *testing.T) {
	dac, dll := parserData(t, "elf", "tiny.so"), goodPE.Bytes()
	index := "\xef\xbb\xbf[" +
		`{"clientKey":"libmscordaccore.so/` + runtimeID + `/libmscordaccore.so","blobPath":"lib/libmscordaccore.so"},` +
		`{"clientKey":"libmscordaccore.so/elf-buildid-coreclr-` + runtimeID[12:] + `/libmscordaccore.so","blobPath":".\\lib\\libmscordaccore.so"},` +
		`{"clientKey":"libmscordaccore.so/elf-buildid-` + tinyID + `/libmscordaccore.so","blobPath":"lib/libmscordaccore.so"},` +
		`{"clientKey":"mscordaccore.dll/` + runtimeStamp + `/mscordaccore.dll","blobPath":"LIB/mscordaccore.dll"}]`
	rep := check(t, file("a.nupkg/symbol_index.json", []byte(index)), file("a.nupkg/lib/libmscordaccore.so", dac),
		file("a.nupkg/lib/mscordaccore.dll", dll), file("b.nupkg/lib/libmscordaccore.so", dac))
	if errs := slices.DeleteFunc(codes(rep, 0), func(c string) bool { return !strings.HasPrefix(c, "error") }); len(errs) > 0 || rep.Verdict != catalog.Good {
		t.Errorf("verdict %s, index: %v", rep.Verdict, rep.Files[0].Findings)
	}
	for path, want := range map[string]int{
		"libmscordaccore.so/" + runtimeID + "/libmscordaccore.so":                          1,
		"libmscordaccore.so/elf-buildid-coreclr-" + runtimeID[12:] + "/libmscordaccore.so": 1,
		"MSCORDACCORE.DLL/" + strings.ToLower(runtimeStamp) + "/mscordaccore.dll":          2,
	} {
		for i := range rep.Files {
			if got := answers(t, rep, i, path); got != (i == want) {
				t.Errorf("file %d answers %s: %t, want %t", i, path, got, i == want)
			}
		}
	}
	own := symid.StoreKey("libmscordaccore.so", "elf-buildid-"+tinyID).Index()
	if slices.ContainsFunc(rep.Files[1].Keys, func(k catalog.RankedKey) bool { return k.Key.Index() == own }) {
		t.Errorf("the file's own id was assigned once more: %v", paths(rep, 1))
	}
}

func TestIndexFindings(t *testing.T) {
	dll := goodPE.Bytes()
	const key = `"clientKey":"a.dll/` + runtimeStamp + `/a.dll"`
	for _, tt := range []struct{ index, want string }{
		{`[]`, ""},
		{`[{` + key + `,"blobPath":"a.dll"}]`, ""},
		{`{"a":1}`, "error GEN-INDEX"},
		{`[{` + key, "error GEN-INDEX"},
		{`[{` + key + `}]`, "error GEN-INDEX"},
		{`[{` + key + `,"blobPath":"../a.dll"}]`, "error GEN-INDEX"},
		{`[{` + key + `,"blobPath":"/a.dll"}]`, "error GEN-INDEX"},
		{`[{"clientKey":"a.dll/b.dll","blobPath":"a.dll"}]`, "error GEN-INDEX"},
		{`[{"clientKey":"a.dll/` + runtimeStamp + `/b.dll","blobPath":"a.dll"}]`, "error GEN-INDEX"},
		{`[{"clientKey":"../` + runtimeStamp + `/..","blobPath":"a.dll"}]`, "error GEN-INDEX"},
		{`[{"clientKey":"a.dll/what else/a.dll","blobPath":"a.dll"}]`, "error GEN-INDEX"},
		{`[{"clientKey":"a.dll/unheard-of/a.dll","blobPath":"a.dll"}]`, "warning GEN-INDEX"},
		{`[{` + key + `,"blobPath":"missing.dll"}]`, "warning GEN-INDEX"},
	} {
		rep := check(t, file("x/symbol_index.json", []byte(tt.index)), file("x/a.dll", dll))
		if got := strings.Join(codes(rep, 0), ", "); got != tt.want {
			t.Errorf("index %s: found %q, want %q", tt.index, got, tt.want)
		}
		if good := !strings.HasPrefix(tt.want, "error"); good != (rep.Verdict == catalog.Good) {
			t.Errorf("index %s: verdict %s", tt.index, rep.Verdict)
		}
	}
}

// An index cannot give away what a file of the package is by its own id.
func TestIndexRespectsOwnIDs(t *testing.T) {
	const owned = "elf-buildid-" + tinyID
	elf, dll := parserData(t, "elf", "tiny.so"), goodPE.Bytes()
	for name, want := range map[string]string{"tiny.so": "error GEN-INDEX", "apphost": ""} {
		index := `[{"clientKey":"` + name + "/" + owned + "/" + name + `","blobPath":"a.dll"}]`
		rep := check(t, file("symbol_index.json", []byte(index)), file("tiny.so", elf), file("a.dll", dll))
		if got := strings.Join(codes(rep, 0), ", "); got != want {
			t.Errorf("key of %s under the id of tiny.so: found %q, want %q", name, got, want)
		}
	}
}

// One key for two contents is a conflict, whoever assigns it.
func TestIndexConflict(t *testing.T) {
	a, b := goodPE.Bytes(), parserData(t, "elf", "tiny.so")
	const entry = `{"clientKey":"a.dll/` + runtimeStamp + `/a.dll","blobPath":`
	rep := check(t, file("symbol_index.json", []byte(`[`+entry+`"a.dll"},`+entry+`"b"}]`)), file("a.dll", a), file("b", b))
	if !hasCode(rep, 2, catalog.Error, "GEN-CONFLICT") {
		t.Errorf("findings %v, want a conflict", rep.Files[2].Findings)
	}
}
