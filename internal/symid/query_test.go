package symid_test

import (
	"errors"
	"strings"
	"testing"

	"symkeep/internal/symid"
)

// TestParseQueryPaths reads what debuggers log and caches are laid out in.
func TestParseQueryPaths(t *testing.T) {
	const pdb = "foo.pdb/" + sig + "1/foo.pdb"
	id := strings.Repeat("ab", 20)
	for in, want := range map[string]string{
		pdb:                   pdb,
		" " + pdb + "\n":      pdb,
		"https://host/" + pdb: pdb,
		"http://user@host:8480/store/symbols//" + pdb + "?code_file=x": pdb,
		"http://host/fo/" + pdb:                           pdb,
		`C:\Symbols\` + strings.ReplaceAll(pdb, "/", `\`): pdb,
		`\\server\share\foo.pdb\` + sig + `1\foo.pd_`:     pdb,
		"/var/cache/foo.pdb/" + sig + "1/file.ptr":        pdb,
		"http://host/debug/buildid/" + id + "/debuginfo":  "buildid/" + id + "/debuginfo",
		"buildid/" + id + "/section/.debug_info":          "buildid/" + id + "/debuginfo",
	} {
		q, err := symid.ParseQuery(in)
		if err != nil || len(q.IDs) != 0 || len(q.Keys) == 0 || q.Keys[0].Paths()[0] != want {
			t.Errorf("ParseQuery(%q) = %+v, %v, want %s first", in, q, err, want)
		}
	}
}

// TestParseQueryIDs reads bare ids in the forms of readelf, dwarfdump, dumpbin, crash
// reports and symbolication services.
func TestParseQueryIDs(t *testing.T) {
	for _, tt := range []struct {
		in        string
		keys, ids string // kinds, one digit each
	}{
		{"1a58ff734bb1f734df5c", "33", "6"},
		{strings.Repeat("ab", 20), "33", "625"},
		{sig, "3344", "625"},
		{strings.ToLower(sig), "3344", "625"},
		{"{3249D99D-0C40-4931-8610-F4E4FB0B6936}", "3344", "625"},
		{"3249d99d-0c40-4931-8610-f4e4fb0b6936-1", "", "25"},
		{sig + "1", "", "25"},
		{"542D574Ec2000", "", "1"},
		{"542D574Ec200", "33", "61"},
	} {
		q, err := symid.ParseQuery(tt.in)
		keys, ids := "", ""
		for _, k := range q.Keys {
			keys += string(rune('0' + k.Kind))
		}
		for _, id := range q.IDs {
			ids += string(rune('0' + id.Kind))
		}
		if err != nil || keys != tt.keys || ids != tt.ids {
			t.Errorf("ParseQuery(%q) = keys of kinds %q, ids of %q, %v, want %q and %q", tt.in, keys, ids, err, tt.keys, tt.ids)
		}
	}
	for _, bad := range []string{"", "zzz", "foo.pdb", "foo.pdb/xyz/foo.pdb", "http://host/", "http://host", "{}", "../../etc/passwd", strings.Repeat("a", 200), "1"} {
		if q, err := symid.ParseQuery(bad); !errors.Is(err, symid.ErrNotKey) {
			t.Errorf("ParseQuery(%q) = %+v, %v, want ErrNotKey", bad, q, err)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	f.Add("https://host/foo.pdb/" + sig + "1/foo.pdb?x")
	f.Add("{3249D99D-0C40-4931-8610-F4E4FB0B6936}")
	f.Add(`c:\foo.pdb\` + sig + `1\file.ptr`)
	f.Fuzz(func(t *testing.T, text string) {
		q, err := symid.ParseQuery(text)
		if (err == nil) != (len(q.Keys)+len(q.IDs) > 0) || len(q.Keys)+len(q.IDs) > 12 {
			t.Errorf("ParseQuery = %+v, %v", q, err)
		}
	})
}
