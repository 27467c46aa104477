package dwarf_test

import (
	"bytes"
	std "debug/dwarf"
	stdelf "debug/elf"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/symfile/dwarf"
)

// pathsOf lists what SourceFiles visits, each path once, in order.
func pathsOf(t testing.TB, f dwarf.File) []string {
	t.Helper()
	var all []string
	err := dwarf.SourceFiles(f, func(s dwarf.SourceFile) error {
		all = append(all, s.Path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestSourceFiles(t *testing.T) {
	inline := append(declare(1, 0x11, 0, 0x03, 0x08, 0x10, 0x17, 0x1b, 0x08), 0)
	root := func(name, dir string, line byte) []byte {
		return slices.Concat([]byte{1}, []byte(name), []byte{0, line, 0, 0, 0}, []byte(dir), []byte{0})
	}
	rooted4 := []byte("/abs\x00sub\x00\x00a.h\x00\x01\x00\x00b.h\x00\x02\x00\x00/c.h\x00\x00\x00\x00../d.c\x00\x00\x00\x00e.c\x00\x09\x00\x00\x00")
	md5 := strings.Repeat("m", 16)
	names5 := slices.Concat([]byte{1, 1, 0x08, 2, '/', 'w', 0, 'i', 0}, // folders: inline texts
		[]byte{3, 1, 0x1f, 2, 0x0b, 5, 0x1e, 1}, []byte{0, 0, 0, 0, 1}, []byte(md5)) // one file: its name in line_str
	str := file(nil, nil)
	for _, tt := range []struct {
		name string
		file sections
		want []string
	}{
		{"4", file(unit4(root("m.c", "/src", 0)...), inline).with("line", lineTable([]byte{4, 0}, rooted4, program)),
			[]string{"/abs/a.h", "/c.h", "/src/../d.c", "/src/m.c", "/src/sub/b.h"}},
		{"2", file(unit4(root("m.c", "/src", 0)...), inline).with("line", lineTable([]byte{2, 0}, names4, program)),
			[]string{"/src/dir/a.c", "/src/m.c"}},
		{"5", file(unit5(1, nil, root("m.c", "/src", 0)...), inline).with("line", lineTable([]byte{5, 0, 8, 0}, names5, program)),
			[]string{"/src/m.c", "/w/i/c"}},
		{"5, relative", file(unit5(1, nil, root("m.c", "w", 0)...), inline).
			with("line", lineTable([]byte{5, 0, 8, 0}, bytes.Replace(names5, []byte("/w"), []byte("ww"), 1), program)), []string{"w/i/c", "w/m.c"}},
		{"relative", file(unit4(root("m.c", ".", 0)...), inline).with("line", lineTable([]byte{4, 0}, names4, program)),
			[]string{"./dir/a.c", "./m.c"}},
		{"windows", file(unit4(root(`C:\s\m.c`, `C:\b`, 0)...), inline), []string{`C:\s\m.c`}},
		{"no line table at its offset", file(unit4(root("m.c", "/src", 99)...), inline).with("line", line4), []string{"/src/m.c"}},
		{"damaged line table", file(unit4(root("m.c", "/src", 0)...), inline).with("line", line4[:9]), []string{"/src/m.c"}},
		{"strings", file(unit4(1, 2, 0, 0, 0, 0, 0, 0, 0), append(declare(1, 0x11, 0, 0x03, 0x0e, 0x1b, 0x0e), 0)), []string{"a/b"}},
		{"numbered strings", file(unit5(1, nil, 1, 1, 8, 0, 0, 0), append(declare(1, 0x11, 0, 0x03, 0x25, 0x72, 0x17), 0)).
			with("str_offsets", []byte{12, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0}), []string{"b"}},
		{"no such string", file(unit4(1, 200, 0, 0, 0), append(declare(1, 0x11, 0, 0x03, 0x0e), 0)), nil},
		{"no such form", file(unit4(1, 2, 0, 0, 0), append(declare(1, 0x11, 0, 0x7f, 0x7f, 0x03, 0x0e), 0)), nil},
		{"no abbreviations", str.with("info", unit4(1)).with("abbrev", nil), nil},
		{"two units", file(slices.Concat(unit4(root("n.c", "/n", 0)...), unit4(root("m.c", "/src", 0)...)), inline).with("line", line4),
			[]string{"/n/dir/a.c", "/n/n.c", "/src/m.c"}},
	} {
		for _, unpacks := range []bool{false, true} {
			tt.file.unpacks = unpacks
			if got := pathsOf(t, tt.file); !slices.Equal(got, tt.want) {
				t.Errorf("%s: SourceFiles = %q, want %q", tt.name, got, tt.want)
			}
		}
	}
	f := file(unit5(1, nil, root("m.c", "/src", 0)...), inline).with("line", lineTable([]byte{5, 0, 8, 0}, names5, program))
	sum, stop := "", errors.New("enough")
	err := dwarf.SourceFiles(f, func(s dwarf.SourceFile) error {
		if sum = s.MD5; sum != "" {
			return stop
		}
		return nil
	})
	if sum != md5 || err != stop {
		t.Errorf("MD5 = %q, %v, want %q and the error of the visit", sum, err, md5)
	}
}

// The Go library reads the same files another way.
func TestSourceFilesAgainstLibrary(t *testing.T) {
	fixtures, err := filepath.Glob(filepath.Join("..", "elf", "testdata", "*"))
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, path := range fixtures {
		want := libraryPaths(t, path)
		if len(want) == 0 {
			continue
		}
		compared++
		got := pathsOf(t, fixture(t, filepath.Base(path)))
		for i := range got {
			got[i] = filepath.Clean(got[i])
		}
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, want) {
			t.Errorf("%s: SourceFiles = %q, want %q", path, got, want)
		}
	}
	if compared == 0 {
		t.Fatal("no fixture has names of files")
	}
}

// libraryPaths lists the names of units and line tables, cleaned and sorted; none for
// what the library cannot read.
func libraryPaths(t *testing.T, path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := stdelf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	d, err := f.DWARF()
	if err != nil {
		return nil
	}
	var all []string
	for r := d.Reader(); ; r.SkipChildren() {
		e, err := r.Next()
		if err != nil || e == nil {
			break
		}
		name, _ := e.Val(std.AttrName).(string)
		if dir, ok := e.Val(std.AttrCompDir).(string); ok && name != "" && !filepath.IsAbs(name) {
			name = dir + "/" + name
		}
		if name != "" {
			all = append(all, filepath.Clean(name))
		}
		lines, err := d.LineReader(e)
		if err != nil || lines == nil {
			continue
		}
		for _, f := range lines.Files() {
			if f != nil {
				all = append(all, filepath.Clean(f.Name))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
