//go:build corpus

package validate_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/container"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// The corpus is a directory of real symbol files with a manifest of what
// independent tools say of them. It is too large to keep here: these tests run
// where SYMKEEP_CORPUS names one.
type manifest struct {
	Files []struct {
		Path   string          `json:"path"`
		Family string          `json:"family"`
		Keys   json.RawMessage `json:"expected_keys"`
	} `json:"files"`
	Scenarios []scenario `json:"scenarios"`
}

// A scenario is one package and what is expected of it.
type scenario struct {
	ID       string   `json:"id"`
	Files    []string `json:"files"`    // "path" or "path=>name in the package"
	Verdict  string   `json:"verdict"`  // good, failed, or policy: either
	Checks   []string `json:"checks"`   // errors that must be found
	Warnings []string `json:"warnings"` // warnings that must be
	Why      string   `json:"why"`
}

func openCorpus(t *testing.T) (string, manifest) {
	dir := os.Getenv("SYMKEEP_CORPUS")
	if dir == "" {
		t.Fatal("SYMKEEP_CORPUS names no corpus directory")
	}
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func diskFile(t *testing.T, no int, path, disk string) validate.File {
	info, err := os.Stat(disk)
	if err != nil {
		t.Fatal(err)
	}
	return validate.File{No: no, Path: path, Size: info.Size(), Open: func() (validate.ReaderAtCloser, error) { return os.Open(disk) }}
}

// TestCorpusIdentities wants every lookup path and id of the manifest. Tools
// disagree about case, so it does not count.
func TestCorpusIdentities(t *testing.T) {
	dir, m := openCorpus(t)
	total, matched := map[string]int{}, map[string]int{}
	for i, f := range m.Files {
		if len(f.Keys) == 0 || f.Family == "raw" {
			continue
		}
		var want map[string]any
		if err := json.Unmarshal(f.Keys, &want); err != nil {
			t.Fatal(err)
		}
		file := diskFile(t, i, filepath.Base(f.Path), filepath.Join(dir, f.Path))
		rep, err := validate.Package(t.Context(), []validate.File{file}, validate.Options{})
		if err != nil {
			t.Errorf("Package(%s): %v", f.Path, err)
			continue
		}
		have := map[string]bool{}
		for _, k := range rep.Files[0].Keys {
			for _, p := range k.Key.Paths() {
				have[symid.Fold(p)] = true
			}
		}
		for _, id := range rep.Files[0].IDs {
			have[symid.Fold(id.BuildID)], have[symid.Fold(id.DebugID)], have[symid.Fold(id.CodeID)] = true, true, true
		}
		for _, name := range []string{"symstore", "ssqp", "debuginfod", "breakpad", "breakpad_debug_id", "pe_code_id", "breakpad_code_id", "build_id"} {
			for _, w := range texts(want[name]) {
				total[f.Family]++
				if have[symid.Fold(w)] {
					matched[f.Family]++
				} else {
					t.Errorf("%s: no %s %s among %v", f.Path, name, w, rep.Files[0])
				}
			}
		}
	}
	for family := range total {
		t.Logf("%s: %d of %d identities", family, matched[family], total[family])
	}
}

func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, texts(e)...)
		}
		return out
	}
	return nil
}

// TestCorpusScenarios compares what every package of the manifest should come to
// with what it comes to, and prints both as tables: verdicts by family, and hits by
// check. Any difference fails. An archive is judged by its members: where the
// manifest leaves the verdict to policy, ours is that they are good and have keys.
func TestCorpusScenarios(t *testing.T) {
	dir, m := openCorpus(t)
	families := map[string]string{}
	for _, f := range m.Files {
		families[f.Path] = f.Family
	}
	c := newConfusion()
	for _, s := range m.Scenarios {
		files, opened := scenarioFiles(t, dir, s)
		rep, err := validate.Package(t.Context(), files, validate.Options{})
		if err != nil {
			t.Errorf("%s: %v", s.ID, err)
			continue
		}
		if opened && s.Verdict == "policy" {
			s.Verdict, s.Checks = string(catalog.Good), nil
		}
		for _, wrong := range c.compare(s, familyOf(s, families), rep) {
			t.Errorf("%s (%s): %s", s.ID, s.Why, wrong)
		}
	}
	t.Log("\n" + c.String())
	for _, d := range untold(m) {
		t.Errorf("%s: a defective file that no package of the manifest holds", d)
	}
}

// TestCorpusLoneFiles checks every valid file with a key as a package of its own. It
// is good: no error may be found but that its other half is elsewhere.
func TestCorpusLoneFiles(t *testing.T) {
	dir, m := openCorpus(t)
	checked := 0
	for i, f := range m.Files {
		if len(f.Keys) == 0 || f.Family == "raw" || strings.HasPrefix(f.Path, "defects/") || strings.HasPrefix(f.Path, "other/") {
			continue // defective, or an object, which is no symbol file
		}
		rep := check(t, named(diskFile(t, i, memberPath(f.Path), filepath.Join(dir, f.Path))))
		checked++
		for _, finding := range rep.Files[0].Findings {
			if finding.Severity == catalog.Error && !slices.Contains([]string{"ELF-DWO", "ELF-ALTLINK", "ELF-NOID", "WASM-NOID"}, finding.Code) {
				t.Errorf("%s: %s: %s", f.Path, finding.Code, finding.Message)
			}
			if strings.HasSuffix(finding.Code, "-NOID") && len(rep.Files[0].Keys) > 0 {
				t.Errorf("%s: %s, and yet keys %v", f.Path, finding.Code, paths(rep, 0))
			}
		}
	}
	t.Logf("%d valid files, each alone", checked)
}

// memberPath is a file's path in a package of its own. It keeps the folders of a
// dSYM, which tell what the file is.
func memberPath(path string) string {
	if i := strings.Index(path, ".dSYM/"); i >= 0 {
		return path[strings.LastIndexByte(path[:i], '/')+1:]
	}
	return filepath.Base(path)
}

// scenarioFiles are the files of a package, renamed as its manifest says, and
// members instead of the archives that a scan looks into.
func scenarioFiles(t *testing.T, dir string, s scenario) (files []validate.File, opened bool) {
	for _, spec := range s.Files {
		src, dst, renamed := strings.Cut(spec, "=>")
		if !renamed {
			dst = filepath.Base(src)
		}
		f := diskFile(t, len(files), dst, filepath.Join(dir, src))
		f.Explicit = slices.Contains(s.Checks, "GEN-OBJ") || slices.Contains(s.Checks, "GEN-UNKNOWN")
		members := opensTo(t, f)
		opened = opened || len(members) > 0
		if len(members) == 0 {
			members = []validate.File{f}
		}
		files = append(files, members...)
	}
	return files, opened
}

// familyOf is that of the defective file of a package, or of its first one. What was
// damaged beyond recognition has the family of the file that it was made from, told
// by the checks that are named for one.
func familyOf(s scenario, families map[string]string) string {
	for _, prefix := range []string{"PDB", "PPDB", "PE", "ELF", "MO", "SYM", "WASM", "DBG"} {
		for _, code := range slices.Concat(s.Checks, s.Warnings) {
			if strings.HasPrefix(code, prefix+"-") {
				return strings.ToLower(prefix)
			}
		}
	}
	src, _, _ := strings.Cut(s.Files[0], "=>")
	if f := families[src]; f != "macho" {
		return f
	}
	return "mo"
}

// untold lists the defective files that no package of the manifest holds.
func untold(m manifest) []string {
	var lone []string
	for _, f := range m.Files {
		told := slices.ContainsFunc(m.Scenarios, func(s scenario) bool {
			return slices.ContainsFunc(s.Files, func(spec string) bool { return spec == f.Path || strings.HasPrefix(spec, f.Path+"=>") })
		})
		if strings.HasPrefix(f.Path, "defects/") && !told {
			lone = append(lone, f.Path)
		}
	}
	return lone
}

// opensTo returns the members of f that a scan would keep, if it is an archive.
func opensTo(t *testing.T, f validate.File) (members []validate.File) {
	r, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	id, err := validate.Identify(r, f.Size, filepath.Base(f.Path))
	if err != nil {
		t.Fatal(err)
	}
	if !validate.Opened(f.Path, id) || !container.Opens(id.Format) {
		return nil
	}
	src := container.Source{ReaderAt: r, Size: f.Size, Name: filepath.Base(f.Path)}
	err = container.Walk(t.Context(), src, container.NewBudget(container.DefaultLimits(), f.Size), func(m container.Member) error {
		b, err := io.ReadAll(m.Reader)
		if err != nil {
			return err
		}
		member := file(f.Path+"/"+m.Path, b)
		member.No = f.No + len(members)
		id, err := validate.Identify(bytes.NewReader(b), member.Size, filepath.Base(m.Path))
		if err == nil && !validate.Ignored(member, id) {
			members = append(members, member)
		}
		return err
	})
	if err != nil {
		t.Errorf("Walk(%s): %v", f.Path, err)
	}
	return members
}

// TestCorpusLenient wants that no file without a key becomes good under the most
// lenient policy.
func TestCorpusLenient(t *testing.T) {
	dir, m := openCorpus(t)
	p := lenient()
	for i, f := range m.Files {
		file := diskFile(t, i, filepath.Base(f.Path), filepath.Join(dir, f.Path))
		file.Explicit = true
		rep, err := validate.Package(t.Context(), []validate.File{file}, validate.Options{Policy: p})
		if err != nil {
			t.Errorf("Package(%s): %v", f.Path, err)
			continue
		}
		if rep.Verdict == catalog.Good && len(rep.Files[0].Keys) == 0 && judgeUnder(t, catalog.Policy{}, file).Verdict != catalog.Good {
			t.Errorf("%s became good without a key: %+v", f.Path, rep.Files[0].Findings)
		}
	}
}

// TestCorpusRemembered validates every file and every package of the corpus with and
// without a memory.
func TestCorpusRemembered(t *testing.T) {
	dir, m := openCorpus(t)
	remembered := func(path, src string) validate.File {
		b, err := os.ReadFile(filepath.Join(dir, src))
		if err != nil {
			t.Fatal(err)
		}
		return known(path, b)
	}
	const most = 16 << 20 // bytes of a file: this holds a package in memory
	kept, all := 0, 0
	for _, f := range m.Files {
		if fi, err := os.Stat(filepath.Join(dir, f.Path)); err == nil && fi.Size() <= most {
			if file := remembered(filepath.Base(f.Path), f.Path); file.Size > 0 {
				kept, all = kept+sameReport(t, []validate.File{file}), all+1
			}
		}
	}
	for _, s := range m.Scenarios {
		var files []validate.File
		for _, spec := range s.Files {
			src, dst, renamed := strings.Cut(spec, "=>")
			if !renamed {
				dst = filepath.Base(src)
			}
			if fi, err := os.Stat(filepath.Join(dir, src)); err == nil && fi.Size() <= most {
				files = append(files, remembered(dst, src))
			}
		}
		if len(files) > 0 {
			sameReport(t, files)
		}
	}
	if t.Logf("%d of %d files were remembered", kept, all); kept < all*9/10 {
		t.Errorf("%d of %d files were remembered, want nearly all", kept, all)
	}
}
