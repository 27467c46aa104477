//go:build sweep

package e2e

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/catalog"
)

// sweepRoots are where a Debian system and the npm packages of scripts/npmtools.sh keep
// programs, libraries and debug files.
var sweepRoots = []string{"/usr/bin", "/usr/lib", "/usr/libexec", "/usr/sbin", "../tmp/npm/node_modules"}

// TestSweep checks every program, library and debug file of this machine, each by
// itself, and packages as their makers ship them. All are valid, so an error is
// false unless another reader says why: no build id (debug/elf finds none), or the
// other half is elsewhere. It prints every kind of warning with its count.
func TestSweep(t *testing.T) {
	files := sweepFiles(t)
	if len(files) < 500 {
		t.Fatalf("%d files, want 500 at least: scripts/need.sh node sweep debuggers", len(files))
	}
	s := &sweep{kinds: map[string]int{}, findings: map[string]*tally{}}
	g, start := new(errgroup.Group), time.Now()
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, path := range files {
		g.Go(func() error {
			s.check(t, path)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files of %d MB in %v\n%s", len(files), s.bytes/1e6, time.Since(start).Round(time.Second), s)
}

// TestSweepPackages checks folders as packages: halves that belong together are
// found, so not even the errors of a lone half are allowed.
func TestSweepPackages(t *testing.T) {
	for _, dir := range []string{
		"../tmp/npm/node_modules/node-pty/prebuilds/win32-x64", "../tmp/npm/node_modules/node-pty/prebuilds/win32-arm64",
		"../tmp/npm/node_modules/@vscode/windows-process-tree/build/Release",
		"../tmp/npm/node_modules/sodium-native/prebuilds/darwin-arm64",
		"/usr/lib/debug", "/usr/lib/x86_64-linux-gnu/gconv", "/usr/lib/gcc/x86_64-linux-gnu",
	} {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("%v: scripts/need.sh node sweep debuggers installs it", err)
			continue
		}
		r := symkeep(t, "check", "--json", dir)
		if r.code != 0 {
			t.Errorf("check %s = exit %d, want 0\n%s", dir, r.code, r.stderr)
		}
		result := lastResult(t, r)
		counts := map[string]int{}
		for _, f := range result.Files {
			for _, finding := range f.Findings {
				counts[string(finding.Severity)+" "+finding.Code]++
				if finding.Severity == catalog.Error {
					t.Errorf("%s/%s: %s %s", dir, f.Path, finding.Code, finding.Message)
				}
			}
		}
		t.Logf("%s: %s, %d files, %v", dir, result.Verdict, len(result.Files), counts)
	}
}

// sweepFiles lists the regular files below sweepRoots that start like a linked program, a
// library or a debug file. Objects and archives of objects are not for debuggers.
func sweepFiles(t *testing.T) []string {
	var files []string
	seen := map[string]bool{}
	for _, root := range sweepRoots {
		root, err := filepath.EvalSymlinks(root)
		if err != nil {
			continue // this system has no such folder
		}
		err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || seen[path] {
				return err
			}
			seen[path] = true
			if linked(path) {
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	return files
}

// linked reports whether a file is one that debuggers ask for, by the first bytes
// and for ELF by the type that debug/elf reads.
func linked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 32)
	n, _ := f.ReadAt(head, 0)
	head = head[:n]
	switch {
	case strings.Contains(path, "/node_modules/breakpad/") && !strings.Contains(path, "/testdata/symbols/"),
		strings.Contains(path, "/minidump/deps/"):
		return false // its tests hold damaged files as well
	case bytes.HasPrefix(head, []byte("Microsoft C/C++ MSF 7.00")), bytes.HasPrefix(head, []byte("BSJB")), bytes.HasPrefix(head, []byte("MODULE ")),
		bytes.HasPrefix(head, []byte("\xcf\xfa\xed\xfe")), bytes.HasPrefix(head, []byte("\xca\xfe\xba\xbe\x00\x00\x00\x02")):
		return true
	case bytes.HasPrefix(head, []byte("MZ")):
		ext := strings.ToLower(filepath.Ext(path))
		return slices.Contains([]string{".exe", ".dll", ".node", ".efi", ".sys"}, ext)
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		e, err := elf.NewFile(f)
		return err == nil && (e.Type == elf.ET_EXEC || e.Type == elf.ET_DYN)
	}
	return false
}

// A sweep counts what was found.
type sweep struct {
	mu       sync.Mutex
	bytes    int64
	kinds    map[string]int
	findings map[string]*tally // by severity and code
}

// A tally counts one kind of finding and keeps an example.
type tally struct {
	n       int
	path    string
	message string
}

func (s *sweep) check(t *testing.T, path string) {
	r := symkeep(t, "check", "--json", path)
	if r.code != 0 && r.code != 3 {
		t.Errorf("check %s = exit %d, want a verdict\n%s", path, r.code, r.stderr)
		return
	}
	result := lastResult(t, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range result.Files {
		s.bytes += f.Size
		s.kinds[string(f.Kind)]++
		for _, finding := range f.Findings {
			key := string(finding.Severity) + " " + finding.Code
			if s.findings[key] == nil {
				s.findings[key] = &tally{path: path, message: finding.Message}
			}
			s.findings[key].n++
			if finding.Severity == catalog.Error && !excused(path, finding.Code) {
				t.Errorf("%s: %s %s", path, finding.Code, finding.Message)
			}
		}
	}
}

// excused reports whether another reader confirms an error of a valid file.
func excused(path, code string) bool {
	e, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer e.Close()
	switch code {
	case "ELF-NOID":
		return !gnuBuildID(e)
	case "ELF-ALTLINK": // alone, a file is without its dwz file
		return e.Section(".gnu_debugaltlink") != nil
	}
	return false
}

// gnuBuildID reports whether a note section or segment holds a GNU build id.
func gnuBuildID(e *elf.File) bool {
	const head = "\x04\x00\x00\x00" // name size, little-endian
	holds := func(b []byte, err error) bool {
		i := bytes.Index(b, []byte("\x03\x00\x00\x00GNU\x00"))
		return err == nil && i >= 8 && string(b[i-8:i-4]) == head
	}
	for _, s := range e.Sections {
		if s.Type == elf.SHT_NOTE && holds(s.Data()) {
			return true
		}
	}
	for _, p := range e.Progs {
		b := make([]byte, min(p.Filesz, 1<<16))
		if p.Type == elf.PT_NOTE {
			if n, _ := p.ReadAt(b, 0); holds(b[:n], nil) {
				return true
			}
		}
	}
	return false
}

// String is a table of findings, most frequent first.
func (s *sweep) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "kinds: %v\n", s.kinds)
	keys := slices.SortedFunc(maps.Keys(s.findings), func(a, b string) int { return s.findings[b].n - s.findings[a].n })
	for _, key := range keys {
		f := s.findings[key]
		fmt.Fprintf(&b, "%6d  %-26s %s: %.160s\n", f.n, key, f.path, f.message)
	}
	return b.String()
}
