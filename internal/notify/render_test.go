package notify_test

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"symkeep/internal/catalog"
	"symkeep/internal/notify"
)

const (
	cluster = catalog.ClusterID("0d3c3c5e-8f4b-4f6e-9a3e-5d1c2b3a4f60")
	pkgID   = catalog.PackageID("01JD3Z0000000000000000ABCD")
)

var at = time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)

func notice() catalog.Notice {
	return catalog.Notice{Seq: 42, Package: pkgID, Kind: catalog.NoticeVerdict, State: catalog.NoticePending, At: at}
}

// failedPackage has three errors: one of its own, two in files; and a warning.
func failedPackage() (catalog.Package, []catalog.File) {
	p := catalog.Package{
		ID: pkgID, Product: "Frob", Version: "1.2.3", State: catalog.StateFailed, Files: 3, Bytes: 12345,
		Findings: []catalog.Finding{{Code: "PKG-EMPTY", Severity: catalog.Error, Message: "found nothing"}},
	}
	files := []catalog.File{
		{No: 0, Path: "bin/frob.pdb", Findings: []catalog.Finding{
			{Code: "PDB-PRIV", Severity: catalog.Warning, Message: "a warning"},
			{Code: "PDB-TRUNC", Severity: catalog.Error, Message: "found 5 bytes, expected 9: build again"},
		}},
		{No: 1, Path: "bin/fine.exe"},
		{No: 2, Path: "bin/frob.exe", Findings: []catalog.Finding{
			{Code: "PE-PDB-MISMATCH", Severity: catalog.Error, Message: "found A, expected B"}}},
	}
	p.Count(p.Findings)
	for _, f := range files {
		p.Count(f.Findings)
	}
	return p, files
}

func each(files []catalog.File) iter.Seq2[catalog.File, error] {
	return func(yield func(catalog.File, error) bool) {
		for _, f := range files {
			if !yield(f, nil) {
				return
			}
		}
	}
}

func TestRender(t *testing.T) {
	p, files := failedPackage()
	m, err := notify.Render(p, each(files), cluster, notice())
	if err != nil {
		t.Fatal(err)
	}
	if want := "[symkeep] failed: Frob 1.2.3 (3 errors)"; m.Subject != want {
		t.Errorf("Render subject = %q, want %q", m.Subject, want)
	}
	if want := "42." + string(pkgID) + "@" + string(cluster); m.ID != want || !m.Date.Equal(at) {
		t.Errorf("Render id, date = %q, %v, want %q, %v", m.ID, m.Date, want, at)
	}
	want := `package:  01JD3Z0000000000000000ABCD
product:  Frob
version:  1.2.3
verdict:  failed; nothing of it is visible to debuggers
files:    3, 12345 bytes
findings: 3 errors, 1 warnings, 0 notes
cluster:  0d3c3c5e-8f4b-4f6e-9a3e-5d1c2b3a4f60

Errors (3)
  the package as a whole
    PKG-EMPTY: found nothing
  bin/frob.pdb
    PDB-TRUNC: found 5 bytes, expected 9: build again
  bin/frob.exe
    PE-PDB-MISMATCH: found A, expected B

Warnings (1)
  bin/frob.pdb
    PDB-PRIV: a warning

To see the package, its files and every finding:
  symkeep package show 01JD3Z0000000000000000ABCD --server URL
`
	if m.Text != want {
		t.Errorf("Render text =\n%s\nwant\n%s", m.Text, want)
	}
}

// The policy of a verdict is told, what it did to a finding, and what a debugger gets
// from a file.
func TestRenderPolicy(t *testing.T) {
	p := catalog.Package{
		ID: pkgID, Product: "Frob", Version: "1.2.3", State: catalog.StateFailed, Files: 1, Bytes: 12345,
		Judged: &catalog.Policy{Allow: []string{"PDB-FASTLINK"}, Deny: []string{"PDB-AGE", "PDB-NOLINES"}},
	}
	files := []catalog.File{{Path: "bin/frob.pdb", Quality: []catalog.Quality{catalog.QualityPublic, catalog.QualityTypes}, Findings: []catalog.Finding{
		{Code: "PDB-AGE", Severity: catalog.Error, Message: "found ages 2 and 1", Policy: catalog.Denied},
		{Code: "PDB-FASTLINK", Severity: catalog.Warning, Message: "found no symbols", Policy: catalog.Allowed},
	}}}
	p.Count(files[0].Findings)
	m, err := notify.Render(p, each(files), cluster, notice())
	if err != nil {
		t.Fatal(err)
	}
	want := `package:  01JD3Z0000000000000000ABCD
product:  Frob
version:  1.2.3
verdict:  failed; nothing of it is visible to debuggers
files:    1, 12345 bytes
findings: 1 errors, 1 warnings, 0 notes
policy:   allows PDB-FASTLINK, denies PDB-AGE PDB-NOLINES
cluster:  0d3c3c5e-8f4b-4f6e-9a3e-5d1c2b3a4f60

Errors (1)
  bin/frob.pdb (public types)
    PDB-AGE (denied): found ages 2 and 1

Warnings (1)
  bin/frob.pdb (public types)
    PDB-FASTLINK (allowed): found no symbols

To see the package, its files and every finding:
  symkeep package show 01JD3Z0000000000000000ABCD --server URL
`
	if m.Text != want {
		t.Errorf("Render text =\n%s\nwant\n%s", m.Text, want)
	}
}

func TestRenderSubject(t *testing.T) {
	for _, tt := range []struct {
		state  catalog.State
		kind   catalog.NoticeKind
		errors int
		want   string
	}{
		{catalog.StateGood, catalog.NoticeVerdict, 0, "[symkeep] good: P 1"},
		{catalog.StateFailed, catalog.NoticeVerdict, 1, "[symkeep] failed: P 1 (1 error)"},
		{catalog.StateStuck, catalog.NoticeStuck, 0, "[symkeep] stuck: P 1"},
		{catalog.StateTrashed, catalog.NoticeVerdict, 2, "[symkeep] failed: P 1 (2 errors)"}, // moved on before the mail
	} {
		p := catalog.Package{ID: pkgID, Product: "P", Version: "1", State: tt.state, Errors: tt.errors}
		n := notice()
		n.Kind = tt.kind
		m, err := notify.Render(p, each(nil), cluster, n)
		if err != nil || m.Subject != tt.want {
			t.Errorf("Render(%s, %s) subject = %q, %v, want %q", tt.state, tt.kind, m.Subject, err, tt.want)
		}
		if stuck := strings.Contains(m.Text, "symkeep package retry "+string(pkgID)); stuck != (tt.kind == catalog.NoticeStuck) {
			t.Errorf("Render(%s, %s) names the retry command: %v", tt.state, tt.kind, stuck)
		}
	}
}

// A message is bounded in findings and in bytes, keeps the errors, and says what
// it leaves out.
func TestRenderBounds(t *testing.T) {
	for _, tt := range []struct {
		name    string
		message string
		shown   int
	}{
		{"many", "short", notify.MaxFindings},
		{"long", strings.Repeat("x", 8<<10), 0},
	} {
		p := catalog.Package{ID: pkgID, Product: "P", Version: "1", State: catalog.StateFailed}
		walked := 0
		files := func(yield func(catalog.File, error) bool) {
			for i := range 200_000 {
				walked++
				s := catalog.Info
				if i == 199_999 {
					s = catalog.Error
				}
				if !yield(catalog.File{No: i, Path: fmt.Sprint("f", i), Findings: []catalog.Finding{{Code: "C", Severity: s, Message: tt.message}}}, nil) {
					return
				}
			}
		}
		p.Errors, p.Infos = 1, 199_999
		m, err := notify.Render(p, files, cluster, notice())
		if err != nil {
			t.Fatal(err)
		}
		shown := strings.Count(m.Text, "    C: ")
		if len(m.Text) > notify.MaxBody || shown > notify.MaxFindings || tt.shown > 0 && shown != tt.shown {
			t.Errorf("%s: Render = %d bytes, %d findings, want at most %d, %d", tt.name, len(m.Text), shown, notify.MaxBody, notify.MaxFindings)
		}
		if !strings.Contains(m.Text, "Errors (1)\n  f199999\n") {
			t.Errorf("%s: Render leaves out the error behind the notes", tt.name)
		}
		if more := fmt.Sprintf("%d more findings", 200_000-shown); !strings.Contains(m.Text, more) {
			t.Errorf("%s: Render does not say %q", tt.name, more)
		}
		if walked > 200_000+notify.MaxFindings+1 {
			t.Errorf("%s: Render walked %d files", tt.name, walked)
		}
	}
}

func TestRenderReturnsErrorOfFiles(t *testing.T) {
	broken := errors.New("broken")
	p, _ := failedPackage()
	_, err := notify.Render(p, func(yield func(catalog.File, error) bool) { yield(catalog.File{}, broken) }, cluster, notice())
	if !errors.Is(err, broken) {
		t.Errorf("Render error = %v, want %v", err, broken)
	}
}
