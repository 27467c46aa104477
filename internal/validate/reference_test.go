//go:build corpus

package validate_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A reading is what the reference tools of a family say of one file.
type reading struct {
	complaints []string // errors and warnings in the tools' words; an exit status or a crash is one
	kinds      []string // the same without numbers and names
	digest     [32]byte // of everything they print
}

// A reference reads files with other people's tools. It owns a directory and
// serves one goroutine.
type reference struct {
	dir  string
	npm  string // where scripts/npmtools.sh installed; has minidump and breakpad
	seen map[string]reading
}

// toolLimit ends a tool that a damaged file sent into a loop.
const toolLimit = 20 * time.Second

// A depth is how much of a file the tools read.
type depth int

const (
	plain depth = iota // what a debugger cannot do without: headers, names, lines
	deep               // everything, held against itself: damage of details
)

// commandsOf gives the command lines that read the symbols of a file of family.
// There are none for the depths that no tool has.
func (ref *reference) commandsOf(family, name string, d depth) [][]string {
	if d == deep {
		switch family {
		case "pdb":
			return [][]string{{"llvm-pdbutil", "dump", "-all", name}}
		case "elf", "macho", "wasm", "pe":
			return [][]string{{"llvm-dwarfdump", "--verify", name}}
		}
		return nil
	}
	dwarf := []string{"llvm-dwarfdump", "--debug-info", "--debug-line", name}
	switch family {
	case "pdb":
		return [][]string{{"llvm-pdbutil", "dump", "-summary", "-symbols", "-l", name}}
	case "pe":
		return [][]string{{"llvm-readobj", "--file-headers", "--sections", "--coff-debug-directory", "--coff-exports", name}, dwarf}
	case "elf":
		return [][]string{{"readelf", "-W", "-h", "-l", "-S", "-n", "-s", name}, dwarf}
	case "macho", "wasm":
		return [][]string{{"llvm-readobj", "--file-headers", "--sections", "--symbols", name}, dwarf}
	case "sym":
		return [][]string{{"minidump_stackwalk", "-m", filepath.Join(ref.npm, "node_modules/breakpad/src/processor/testdata/minidump2.dmp"), "."}}
	case "ppdb":
		return [][]string{{"sentry-cli", "debug-files", "check", name}}
	}
	return nil
}

// path is where a file of family has to lie in ref.dir for its tools to find it. A
// dump asks for a .sym by the module it lists, whatever the file says of itself.
func (ref *reference) path(family, name string) string {
	if family == "sym" {
		return filepath.Join(ref.dir, "kernel32.pdb", "BCE8785C57B44245A669896B6A19B9542", "kernel32.sym")
	}
	return filepath.Join(ref.dir, name)
}

// read runs the tools of family over a file called name.
func (ref *reference) read(ctx context.Context, family, name string, d depth, data []byte) (reading, error) {
	path := ref.path(family, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return reading{}, err
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return reading{}, err
	}
	defer os.Remove(path)
	var r reading
	all := sha256.New()
	for _, args := range ref.commandsOf(family, name, d) {
		if err := ref.run(ctx, args, all, &r); err != nil {
			return reading{}, err
		}
	}
	all.Sum(r.digest[:0])
	return r, nil
}

// original is read of the specimen itself, remembered.
func (ref *reference) original(ctx context.Context, s *specimen, d depth) (reading, error) {
	key := fmt.Sprint(d, s.origin)
	if r, ok := ref.seen[key]; ok {
		return r, nil
	}
	r, err := ref.read(ctx, s.family, filepath.Base(s.path), d, s.data)
	ref.seen[key] = r
	return r, err
}

// A comparison is what tools make of a mutant, beside its original.
type comparison struct {
	complaint string // the first of a kind that the original does not cause; empty if none
	isError   bool   // it is an error, not a warning
	same      bool   // they print what they print for the original
}

// compare reads a mutant and its original.
func (ref *reference) compare(ctx context.Context, m mutant, d depth) (comparison, error) {
	before, err := ref.original(ctx, m.of, d)
	if err != nil {
		return comparison{}, err
	}
	after, err := ref.read(ctx, m.of.family, filepath.Base(m.of.path), d, m.data)
	if err != nil {
		return comparison{}, err
	}
	complaint, isError := after.worse(before)
	return comparison{complaint, isError, after.digest == before.digest && complaint == ""}, nil
}

// run adds what one tool says to r. Only a tool that does not start is an error.
func (ref *reference) run(ctx context.Context, args []string, all hash.Hash, r *reading) error {
	ctx, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	tool, err := ref.tool(args[0])
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, tool, args[1:]...)
	cmd.Dir = ref.dir
	complaints := &bounded{left: 256 << 10}
	out := io.Writer(all)
	if args[0] == "minidump_stackwalk" || args[1] == "--verify" { // it is in the report itself
		out = io.MultiWriter(all, complaints)
	}
	cmd.Stdout, cmd.Stderr = out, complaints
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil || err == nil:
	case !errors.As(err, &exit):
		return err
	}
	for line := range strings.Lines(complaints.buf.String()) {
		line = strings.TrimPrefix(strings.TrimSpace(line), tool+": ")
		if args[0] == "llvm-dwarfdump" { // it only warns of units and line tables that it gives up
			line = strings.Replace(line, "warning:", "error:", 1)
		}
		r.add(line)
	}
	if ctx.Err() != nil {
		r.add("error: " + args[0] + " did not end")
	} else if exit != nil {
		r.add(fmt.Sprintf("error: %s: %v", args[0], exit))
	}
	return nil
}

var (
	numbers = regexp.MustCompile(`\b(0x)?[0-9a-fA-F]*[0-9][0-9a-fA-F]*\b`)
	quoted  = regexp.MustCompile(`'[^']*'|"[^"]*"`)
	mistake = regexp.MustCompile(`(?i)\berror\b|corrupt`)
	warning = regexp.MustCompile(`(?i)\bwarning\b`)
)

func (r *reading) add(line string) {
	if mistake.MatchString(line) || warning.MatchString(line) {
		r.complaints = append(r.complaints, line)
		r.kinds = append(r.kinds, numbers.ReplaceAllString(quoted.ReplaceAllString(line, "_"), "N"))
	}
}

// worse returns the first complaint of r of a kind that the original does not
// cause, errors before warnings.
func (r reading) worse(original reading) (complaint string, isError bool) {
	for i, kind := range r.kinds {
		if slices.Contains(original.kinds, kind) {
			continue
		}
		if mistake.MatchString(kind) {
			return r.complaints[i], true
		}
		if complaint == "" {
			complaint = r.complaints[i]
		}
	}
	return complaint, false
}

// tool finds a tool: the LLVM that scripts/need.sh installs before others, and what
// npm holds.
func (ref *reference) tool(name string) (string, error) {
	modules := filepath.Join(ref.npm, "node_modules")
	for _, p := range []string{
		name + "-19", name,
		filepath.Join(modules, "minidump/bin/linux-x64", name), filepath.Join(modules, "@sentry/cli-linux-x64/bin", name),
	} {
		if found, err := exec.LookPath(p); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%s: not installed, wanted for the truth: scripts/need.sh debuggers truth installs it", name)
}

// A bounded writer keeps the first bytes and drops the rest.
type bounded struct {
	buf  bytes.Buffer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	keep := min(len(p), b.left)
	b.left -= keep
	b.buf.Write(p[:keep])
	return len(p), nil
}

func newReference(t testing.TB) *reference {
	npm, err := filepath.Abs("../../tmp/npm")
	if err != nil {
		t.Fatal(err)
	}
	return &reference{dir: t.TempDir(), npm: npm, seen: map[string]reading{}}
}
