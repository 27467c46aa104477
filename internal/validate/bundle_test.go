package validate_test

import (
	"fmt"
	"strings"
	"testing"

	"symkeep/internal/validate"
)

func TestEmptyBundles(t *testing.T) {
	for _, tt := range []struct{ paths, want string }{
		{"a.dSYM/Contents/Info.plist a.dSYM/Contents/Resources/DWARF/a", "[]"},
		{"a.dSYM/Contents/Info.plist b.dSYM/Contents/Resources/DWARF/a", "[0]"},
		{"x/a A.dsym/contents/info.PLIST a.dSYM/Contents/Resources/DWARF/.DS_Store", "[1]"},
		{"a.dSYM/Contents/Resources/DWARF/a", "[]"},
		{"a.app/Contents/Info.plist Contents/Info.plist a.dSYM/Info.plist", "[]"},
	} {
		if got := fmt.Sprint(validate.EmptyBundles(strings.Fields(tt.paths))); got != tt.want {
			t.Errorf("EmptyBundles(%s) = %s, want %s", tt.paths, got, tt.want)
		}
	}
}

func TestBundles(t *testing.T) {
	const dwarf, list = "demo.dSYM/Contents/Resources/DWARF/demo", "demo.dSYM/Contents/Info.plist"
	dsym := file(dwarf, parserData(t, "macho", "demo.dwarf"))
	plist := file(list, []byte("<?xml version=\"1.0\"?><plist/>\n"))
	for _, tt := range []struct {
		name  string
		files []validate.File
		want  string // of the files, joined
	}{
		{"whole", []validate.File{dsym, plist}, "; info GEN-UNKNOWN"},
		{"whole, every file named", []validate.File{named(dsym), named(plist)}, "; info GEN-UNKNOWN"},
		{"list alone, claimed by a scan", []validate.File{named(plist)}, "error MO-DSYM-EMPTY info GEN-UNKNOWN"},
		{"no file of DWARF but a pointer", []validate.File{file(dwarf, []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")), plist}, "error GEN-LFS; info GEN-UNKNOWN"},
		{"no file of DWARF but zeros", []validate.File{file(dwarf, make([]byte, 100))}, "error GEN-ZEROS"},
		{"what a file manager leaves", []validate.File{dsym, file("demo.dSYM/Contents/Resources/DWARF/.DS_Store", []byte("Bud1"))}, "; info GEN-UNKNOWN"},
		{"list of an application", []validate.File{dsym, file("demo.app/Contents/Info.plist", []byte("<?xml version=\"1.0\"?><plist/>\n"))}, "; info GEN-HTML"},
	} {
		rep := check(t, tt.files...)
		var got []string
		for i := range tt.files {
			got = append(got, strings.Join(codes(rep, i), " "))
		}
		if all := strings.Join(got, "; "); all != tt.want {
			t.Errorf("%s: found %q, want %q", tt.name, all, tt.want)
		}
	}
}
