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
	Scenarios []struct {
		ID       string   `json:"id"`
		Files    []string `json:"files"`
		Verdict  string   `json:"verdict"`
		Checks   []string `json:"checks"`
		Warnings []string `json:"warnings"`
	} `json:"scenarios"`
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

// TestCorpusScenarios wants the verdict, the errors and the warnings of every
// package of the manifest. An archive is judged by its members: where the manifest
// leaves the verdict to policy, ours is that they are good and have keys.
func TestCorpusScenarios(t *testing.T) {
	dir, m := openCorpus(t)
	good := 0
	for _, s := range m.Scenarios {
		var files []validate.File
		opened := false
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
		rep, err := validate.Package(t.Context(), files, validate.Options{})
		if err != nil {
			t.Errorf("%s: %v", s.ID, err)
			continue
		}
		codes, keys := map[string]catalog.Severity{}, 0
		for _, fr := range rep.Files {
			keys += len(fr.Keys)
			for _, f := range fr.Findings {
				if old := codes[f.Code]; old == "" || f.Severity == catalog.Error {
					codes[f.Code] = f.Severity
				}
			}
		}
		ok := s.Verdict == string(rep.Verdict) || s.Verdict == "policy"
		for _, c := range s.Checks {
			if opened && s.Verdict == "policy" && (c == "GEN-CONTAINER" || c == "GEN-COMPRESSED") {
				ok = ok && rep.Verdict == catalog.Good && keys > 0
				continue
			}
			ok = ok && codes[c] == catalog.Error
		}
		for _, c := range s.Warnings {
			ok = ok && codes[c] == catalog.Warning
		}
		if ok {
			good++
			continue
		}
		t.Errorf("%s: verdict %s, found %v; want %s, errors %v, warnings %v", s.ID, rep.Verdict, codes, s.Verdict, s.Checks, s.Warnings)
	}
	t.Logf("%d of %d scenarios", good, len(m.Scenarios))
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
