package validate_test

import (
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// TestPerfMap: a map is asked for by the path that dotnet/symstore makes of its name and
// signature.
func TestPerfMap(t *testing.T) {
	const head = "FFFFFFFF 00 F5fddf60efb0bee79ef02a19c3decba9\nFFFFFFFE 00 1\nFFFFFFFD 00 2\nFFFFFFFC 00 3\nFFFFFFFB 00 1\n"
	const good = head + "000115D0 0D System.Object::.ctor\n"
	rep := check(t, file("lib/System.Private.CoreLib.ni.r2rmap", []byte(good)))
	f := rep.Files[0]
	if rep.Verdict != catalog.Good || f.Kind != catalog.KindPerfMap || f.Arch != "x64" || qualityText(f) != "public" {
		t.Errorf("verdict %s, %+v", rep.Verdict, f)
	}
	l, err := symid.ParseLookup("system.private.corelib.ni.r2rmap/r2rmap-v1-f5fddf60efb0bee79ef02a19c3decba9/system.private.corelib.ni.r2rmap")
	if err != nil || len(f.Keys) != 1 || !slices.ContainsFunc(l.Keys, func(k symid.Key) bool { return k.Index() == f.Keys[0].Key.Index() }) {
		t.Errorf("keys %v, %v; want the one that is asked for", paths(rep, 0), err)
	}
	for in, want := range map[string]string{
		strings.Replace(good, "FFFFFFFE 00 1", "FFFFFFFE 00 7", 1): "R2RMAP-HDR",
		good[:len(good)-4]: "R2RMAP-RECORD",
		head:               "R2RMAP-RECORD",
	} {
		if rep := check(t, file("a.ni.r2rmap", []byte(in))); rep.Verdict != catalog.Failed || !hasCode(rep, 0, catalog.Error, want) {
			t.Errorf("%q: verdict %s, %v; want %s", in, rep.Verdict, codes(rep, 0), want)
		}
	}
}
