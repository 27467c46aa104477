package validate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/validate"
)

// Every code that the source mentions is in the table, and the table is fit to
// print.
func TestCodes(t *testing.T) {
	table := map[string]bool{}
	for _, c := range validate.Codes {
		if table[c.ID] {
			t.Errorf("code %s is listed twice", c.ID)
		}
		table[c.ID] = true
		if c.Severity != catalog.Error && c.Severity != catalog.Warning && c.Severity != catalog.Info {
			t.Errorf("code %s: severity %q", c.ID, c.Severity)
		}
		if c.Summary == "" || strings.HasSuffix(c.Summary, ".") || strings.HasSuffix(c.Advice, ".") {
			t.Errorf("code %s: summary %q, advice %q; want text without a full stop", c.ID, c.Summary, c.Advice)
		}
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`"((?:GEN|PE|PDB|PPDB|ELF|MO|SYM|WASM|DBG)-[A-Z0-9-]+)"`)
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range code.FindAllSubmatch(b, -1) {
			if !table[string(m[1])] {
				t.Errorf("%s uses code %s, which is not in Codes", name, m[1])
			}
		}
	}
}

// What stands between a check and the bytes is no fault of the bytes.
func TestInfrastructureErrors(t *testing.T) {
	pdb := symfiletest.PDB{GUID: guid, Age: 1}.Bytes()
	broken := file("a.pdb", pdb)
	for name, tt := range map[string]struct {
		open func() (validate.ReaderAtCloser, error)
		want string
	}{
		"open":            {func() (validate.ReaderAtCloser, error) { return nil, io.ErrClosedPipe }, "closed pipe"},
		"read":            {func() (validate.ReaderAtCloser, error) { return failAfter{memory{bytes.NewReader(pdb)}, 2}, nil }, "closed pipe"},
		"shorter on disk": {func() (validate.ReaderAtCloser, error) { return memory{bytes.NewReader(pdb[:5000])}, nil }, "changed while it was read"},
		"panic":           {func() (validate.ReaderAtCloser, error) { return panics{}, nil }, "panic: out of cheese"},
	} {
		broken.Open = tt.open
		_, err := validate.Package(t.Context(), []validate.File{broken}, validate.Options{})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), `"a.pdb"`) {
			t.Errorf("%s: error = %v, want one that names a.pdb and %q", name, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := validate.Package(ctx, []validate.File{file("a.pdb", pdb)}, validate.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error = %v, want context.Canceled", err)
	}
}

// A cancelled context stops a check between two reads.
func TestCancelWhileReading(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reads := 0
	f := file("a.pdb", symfiletest.PDB{GUID: guid, Age: 1}.Bytes())
	open := f.Open
	f.Open = func() (validate.ReaderAtCloser, error) {
		r, err := open()
		return hooked{r, func() { reads++; cancel() }}, err
	}
	_, err := validate.Package(ctx, []validate.File{f}, validate.Options{})
	if !errors.Is(err, context.Canceled) || reads != 1 {
		t.Errorf("error = %v after %d reads, want context.Canceled after 1", err, reads)
	}
}

type hooked struct {
	validate.ReaderAtCloser
	hook func()
}

func (h hooked) ReadAt(p []byte, off int64) (int, error) {
	h.hook()
	return h.ReaderAtCloser.ReadAt(p, off)
}

// failAfter fails once it has answered n reads.
type failAfter struct {
	memory
	n int
}

func (f failAfter) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(f.n)*4096 {
		return 0, io.ErrClosedPipe
	}
	return f.memory.ReadAt(p, off)
}

type panics struct{}

func (panics) ReadAt([]byte, int64) (int, error) { panic("out of cheese") }
func (panics) Close() error                      { return nil }

// The same package gives the same report, however many workers there are.
func TestDeterministic(t *testing.T) {
	var files []validate.File
	for i := range 40 {
		p := symfiletest.PDB{GUID: guid, Age: uint32(i/2 + 1), InfoAge: 99, Flags: uint16(i % 4), Types: 1}
		files = append(files, file(fmt.Sprintf("d%d/app.pdb", i), p.Bytes()))
		files = append(files, file(fmt.Sprintf("d%d/app.exe", i), symfiletest.PE{Records: []symfiletest.CodeView{{GUID: guid, Age: uint32(i), Path: "app.pdb"}}}.Bytes()))
	}
	var first string
	for _, workers := range []int{1, 2, 8} {
		rep, err := validate.Package(t.Context(), files, validate.Options{Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%+v", rep)
		if first == "" {
			first = got
		}
		if got != first {
			t.Errorf("%d workers: another report than with one", workers)
		}
	}
}

// Findings of one file come errors first and are capped.
func TestFindingsOrderAndCap(t *testing.T) {
	p := symfiletest.PDB{GUID: guid, Age: 1, InfoAge: 2, Flags: 1, Types: 1, Features: []uint32{0x494E494D}}
	rep := check(t, file("a.pdb", p.Bytes()))
	var got []catalog.Severity
	for _, f := range rep.Files[0].Findings {
		got = append(got, f.Severity)
		if !strings.HasPrefix(f.Message, "a.pdb: ") {
			t.Errorf("message %q does not name the file", f.Message)
		}
	}
	if !slices.IsSortedFunc(got, func(a, b catalog.Severity) int { return rank(a) - rank(b) }) || rep.Verdict != catalog.Failed {
		t.Errorf("severities = %v, verdict %s; want errors first and failed", got, rep.Verdict)
	}
	var records []symfiletest.CodeView
	for range 200 {
		records = append(records, symfiletest.CodeView{Age: 1, Path: "a.pdb"}) // no GUID
	}
	rep = check(t, file("a.exe", symfiletest.PE{Timestamp: 1, Records: records}.Bytes()))
	fs := rep.Files[0].Findings
	last := fs[len(fs)-1]
	if len(fs) != validate.MaxFindings+1 || last.Code != "GEN-MORE" || !strings.Contains(last.Message, "and 100 more") {
		t.Errorf("%d findings, the last %+v; want %d and one that counts 100 more", len(fs), last, validate.MaxFindings)
	}
}

func rank(s catalog.Severity) int {
	return map[catalog.Severity]int{catalog.Error: 0, catalog.Warning: 1, catalog.Info: 2}[s]
}

// Any damage is a finding or harmless: never an error of Package, never a panic.
func FuzzPackage(f *testing.F) {
	f.Add("a.pdb", symfiletest.PDB{GUID: guid, Age: 1, BlockSize: 512, Types: 1}.Bytes())
	f.Add("a.exe", symfiletest.PE{Records: []symfiletest.CodeView{{GUID: guid, Age: 1, Path: "a.pdb"}}, Embedded: symfiletest.PortablePDB{GUID: guid}.Bytes()}.Bytes())
	f.Add("p.pdb", symfiletest.PortablePDB{GUID: guid, Methods: 1}.Bytes())
	f.Add("v2.pdb", symfiletest.PDB2(1, 2))
	f.Add("x", []byte("\x7fELF"))
	f.Add("x.sym", []byte("MODULE Linux x86_64 000000000000000000000000000000011 x\nPUBLIC 1 0 f\n"))
	f.Fuzz(func(t *testing.T, path string, b []byte) {
		for _, explicit := range []bool{false, true} {
			in := file(path, b)
			in.Explicit = explicit
			rep, err := validate.Package(t.Context(), []validate.File{in}, validate.Options{})
			if err != nil {
				t.Fatalf("Package: %v", err)
			}
			for _, k := range rep.Files[0].Keys {
				if err := k.Key.Valid(); err != nil {
					t.Errorf("key: %v", err)
				}
			}
			if explicit && len(rep.Ignored) > 0 {
				t.Error("ignored although named")
			}
		}
	})
}
