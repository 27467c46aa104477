package validate_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

var guid = symid.GUID{0x11, 0xc1, 0x19, 0xfb, 0x5d, 0xae, 0x4d, 0x8d, 0x8b, 0x4b, 0, 0xe9, 0x25, 0x27, 0xb8, 0x4f}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// file is a file found by a scan; named makes it one that a person named.
func file(path string, b []byte) validate.File {
	return validate.File{Path: path, Size: int64(len(b)), Open: func() (validate.ReaderAtCloser, error) {
		return memory{bytes.NewReader(b)}, nil
	}}
}

func named(f validate.File) validate.File {
	f.Explicit = true
	return f
}

func check(t *testing.T, files ...validate.File) validate.Report {
	t.Helper()
	for i := range files {
		files[i].No = i
	}
	rep, err := validate.Package(t.Context(), files, validate.Options{})
	if err != nil {
		t.Fatalf("Package: %v", err)
	}
	return rep
}

// codes returns "severity CODE" of every finding of file i, sorted.
func codes(rep validate.Report, i int) []string {
	var out []string
	for _, f := range rep.Files[i].Findings {
		out = append(out, string(f.Severity)+" "+f.Code)
	}
	slices.Sort(out)
	return out
}

func hasCode(rep validate.Report, i int, sev catalog.Severity, code string) bool {
	return slices.Contains(codes(rep, i), string(sev)+" "+code)
}

func paths(rep validate.Report, i int) []string {
	var out []string
	for _, k := range rep.Files[i].Keys {
		out = append(out, k.Key.Paths()...)
	}
	return out
}

func testdata(t testing.TB, name string) []byte {
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
