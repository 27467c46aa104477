package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// A witness is another program that reads the ids of a file. Its claims are
// substrings, in lower case, of the ids or lookup paths that symkeep must give; none
// says that it does not understand the file.
type witness struct {
	name   string
	kinds  []catalog.FileKind
	claims func(w *witnesses, t testing.TB, path string) []string
}

// witnesses are the programs, found once.
type witnesses struct {
	readelf, readobj, pdbutil, dwarfdump string
	dumpSyms, sentry                     string
}

func newWitnesses(t testing.TB) *witnesses {
	modules := npmTools(t, "minidump", "sentry")
	return &witnesses{
		readelf: need(t, "readelf"), readobj: need(t, "llvm-readobj-19", "llvm-readobj"), pdbutil: need(t, "llvm-pdbutil-19", "llvm-pdbutil"),
		dwarfdump: need(t, "llvm-dwarfdump-19", "llvm-dwarfdump"),
		dumpSyms:  filepath.Join(modules, "minidump/bin/linux-x64/dump_syms"), sentry: filepath.Join(modules, "@sentry/cli-linux-x64/bin/sentry-cli"),
	}
}

var allWitnesses = []witness{
	{"readelf", []catalog.FileKind{catalog.KindELF}, (*witnesses).readElf},
	{"llvm-readobj", []catalog.FileKind{catalog.KindPE}, (*witnesses).readPE},
	{"llvm-pdbutil", []catalog.FileKind{catalog.KindPDB}, (*witnesses).readPDB},
	{"llvm-dwarfdump", []catalog.FileKind{catalog.KindMachO}, (*witnesses).readMachO},
	{"dump_syms", []catalog.FileKind{catalog.KindELF}, (*witnesses).dump},
	{"sentry-cli", []catalog.FileKind{
		catalog.KindELF, catalog.KindPE, catalog.KindPDB, catalog.KindPortablePDB, catalog.KindMachO, catalog.KindWasm, catalog.KindBreakpad,
	}, (*witnesses).askSentry},
}

// TestTruth wants symkeep and every program that reads a file to agree on its ids:
// what the tests compile, what the system and npm packages ship. `make corpus` asks the
// same of a whole corpus.
func TestTruth(t *testing.T) {
	t.Parallel()
	w := newWitnesses(t)
	f := newFixture(t, "truth")
	files := []string{
		f.path("good/linux/app"), f.path("good/linux/app.debug"), f.path("good/linux/app.sym"), f.path("good/windows/app.exe"), f.path("good/windows/app.pdb"),
		filepath.Join(filepath.Dir(w.dumpSyms), "../darwin-arm64/dump_syms"), filepath.Join(filepath.Dir(w.dumpSyms), "../darwin-x64/dump_syms"), w.dumpSyms,
	}
	programs, err := filepath.Glob("/usr/bin/c*")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, elfFiles(programs, 20)...)
	heard := w.agree(t, files)
	for _, name := range []string{"readelf", "llvm-readobj", "llvm-pdbutil", "llvm-dwarfdump", "dump_syms", "sentry-cli"} {
		if heard[name] == 0 {
			t.Errorf("%s told nothing of %d files: it does not work here", name, len(files))
		}
	}
}

// elfFiles are the first n of paths that are ELF files of moderate size.
func elfFiles(paths []string, n int) []string {
	var out []string
	for _, p := range paths {
		b := make([]byte, 4)
		f, err := os.Open(p)
		if err != nil {
			continue
		}
		fi, err := f.Stat()
		if _, e := f.ReadAt(b, 0); err == nil && e == nil && string(b) == "\x7fELF" && fi.Size() < 1<<20 {
			out = append(out, p)
		}
		f.Close()
	}
	return out[:min(n, len(out))]
}

// agree compares symkeep with all witnesses on every file and counts their claims.
func (w *witnesses) agree(t *testing.T, files []string) map[string]int {
	heard := map[string]int{}
	for _, path := range files {
		r := symkeep(t, "check", "--json", path)
		result := lastResult(t, r)
		if len(result.Files) == 0 {
			t.Errorf("check %s = exit %d without a file: %s", path, r.code, r.stderr)
			continue
		}
		file := result.Files[0]
		if file.Path != filepath.Base(path) {
			continue // a member of an archive, which the others do not open
		}
		have := strings.ToLower(told(file))
		for _, wit := range allWitnesses {
			if !slices.Contains(wit.kinds, file.Kind) {
				continue
			}
			claims := wit.claims(w, t, path)
			heard[wit.name] += len(claims)
			if wit.name == "readelf" && len(claims) == 0 {
				if strings.Contains(have, "buildid/") {
					t.Errorf("%s: readelf sees no build id, symkeep tells %s", path, have)
				}
				break // the others make ids up from code
			}
			for _, claim := range claims {
				if !strings.Contains(have, claim) {
					t.Errorf("%s: %s says %s, symkeep has %s", path, wit.name, claim, have)
				}
			}
		}
	}
	t.Logf("claims compared over %d files: %v", len(files), heard)
	return heard
}

// told is everything by which symkeep would find a file, one id or path per line.
func told(f api.ResultFile) string {
	var b strings.Builder
	for _, id := range f.IDs {
		b.WriteString("\nbuild " + id.BuildID + "\ndebug " + id.DebugID + "\ncode " + id.CodeID)
	}
	for _, key := range f.Keys {
		b.WriteString("\nkey " + key)
	}
	return b.String() + "\n"
}

// output is what a tool prints; a tool that fails does not understand the file.
func output(t testing.TB, name string, args ...string) string {
	r := command(t, time.Minute, name, args...)
	if r.code != 0 {
		return ""
	}
	return r.stdout
}

var (
	buildIDLine = regexp.MustCompile(`Build ID: ([0-9a-f]+)`)
	stampLine   = regexp.MustCompile(`(?m)^  TimeDateStamp: .*\(0x([0-9A-F]+)\)`)
	imageLine   = regexp.MustCompile(`SizeOfImage: (\d+)`)
	pdbLine     = regexp.MustCompile(`(?s)PDBGUID: \{([0-9A-F-]+)\}.*?PDBAge: (\d+)`)
	guidLine    = regexp.MustCompile(`GUID: \{([0-9A-F-]+)\}`)
	dbiAgeLine  = regexp.MustCompile(`(?s)DbiStream:.*?Age:\s+(\d+)`)
	uuidLine    = regexp.MustCompile(`UUID: ([0-9A-F-]+) `)
	moduleLine  = regexp.MustCompile(`^MODULE \S+ \S+ ([0-9A-F]+) `)
	codeLine    = regexp.MustCompile(`(?m)^INFO CODE_ID ([0-9A-F]+)`)
)

func (w *witnesses) readElf(t testing.TB, path string) (claims []string) {
	for _, m := range buildIDLine.FindAllStringSubmatch(output(t, w.readelf, "-n", path), -1) {
		claims = append(claims, "\nbuild "+m[1]+"\n", "\nkey buildid/"+m[1]+"/")
	}
	return claims
}

// readPE claims the key of the image and the debug id of its first PDB.
func (w *witnesses) readPE(t testing.TB, path string) []string {
	out := output(t, w.readobj, "--file-headers", "--coff-debug-directory", path)
	stamp, size := stampLine.FindStringSubmatch(out), imageLine.FindStringSubmatch(out)
	if stamp == nil || size == nil {
		return nil
	}
	key := strings.Repeat("0", 8-len(stamp[1])) + strings.ToLower(stamp[1]) + hexOf(size[1])
	claims := []string{"\ncode " + key + "\n", "/" + key + "/"}
	if m := pdbLine.FindStringSubmatch(out); m != nil && !strings.Contains(out, "PDBFileName: \n") {
		claims = append(claims, "\ndebug "+undashed(m[1])+hexOf(m[2])+"\n")
	}
	return claims
}

// readPDB claims the GUID of the info stream with the age of the DBI stream.
func (w *witnesses) readPDB(t testing.TB, path string) []string {
	guid := guidLine.FindStringSubmatch(output(t, w.pdbutil, "dump", "-summary", path))
	age := dbiAgeLine.FindStringSubmatch(output(t, w.pdbutil, "pdb2yaml", "-dbi-stream", path))
	if guid == nil || age == nil {
		return nil
	}
	id := undashed(guid[1]) + hexOf(age[1])
	return []string{"\ndebug " + id + "\n", "/" + id + "/"}
}

func (w *witnesses) readMachO(t testing.TB, path string) (claims []string) {
	for _, m := range uuidLine.FindAllStringSubmatch(output(t, w.dwarfdump, "--uuid", path), -1) {
		claims = append(claims, "\ndebug "+undashed(m[1])+"0\n")
	}
	return claims
}

func (w *witnesses) dump(t testing.TB, path string) []string {
	out := output(t, w.dumpSyms, "-i", path)
	module, code := moduleLine.FindStringSubmatch(out), codeLine.FindStringSubmatch(out)
	if module == nil || code == nil {
		return nil
	}
	return []string{"\ndebug " + strings.ToLower(module[1]) + "\n", "\ncode " + strings.ToLower(code[1]) + "\n"}
}

// askSentry claims all debug ids, and the code ids of formats that have them. For a
// managed image it takes the stamp of the portable PDB for the age, where Breakpad and
// symkeep take the age of the record: such an id is left out.
func (w *witnesses) askSentry(t testing.TB, path string) (claims []string) {
	r := command(t, time.Minute, w.sentry, "debug-files", "check", "--json", path)
	var answer struct {
		Type     string `json:"type"`
		Variants []struct {
			DebugID string `json:"debug_id"`
			CodeID  string `json:"code_id"`
		} `json:"variants"`
	}
	// It fails files that have no debug data, too, and tells their ids all the same.
	if i := bytes.IndexByte([]byte(r.stdout), '{'); i < 0 || json.Unmarshal([]byte(r.stdout[i:]), &answer) != nil {
		return nil
	}
	for _, v := range answer.Variants {
		if len(v.DebugID) < 36 || strings.Trim(v.DebugID, "0-") == "" {
			continue
		}
		age := cmp.Or(strings.TrimPrefix(v.DebugID[36:], "-"), "0")
		if !(answer.Type == "pe" && len(age) == 8) {
			claims = append(claims, "\ndebug "+undashed(v.DebugID[:36])+age+"\n")
		}
		if v.CodeID != "" {
			claims = append(claims, "\ncode "+v.CodeID+"\n")
		}
	}
	return claims
}

// undashed is a GUID as lookup paths have it, in lower case.
func undashed(guid string) string { return strings.ToLower(strings.ReplaceAll(guid, "-", "")) }

// hexOf turns a decimal number into hex without padding.
func hexOf(decimal string) string {
	n, err := strconv.ParseUint(decimal, 10, 64)
	if err != nil {
		return decimal
	}
	return strconv.FormatUint(n, 16)
}
