package validate_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/validate"
)

// notebook is a Memory that counts.
type notebook struct {
	mu       sync.Mutex
	entries  map[string][]byte
	recalled int
}

func noteKey(f validate.File) string { return fmt.Sprintf("%s %s", f.SHA256, f.Path) }

func (n *notebook) Recall(f validate.File) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.recalled++
	return n.entries[noteKey(f)]
}

func (n *notebook) Keep(f validate.File, entry []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.entries[noteKey(f)] = entry
}

// known is a file as a node has it, of MinRemembered bytes at least.
func known(path string, b []byte) validate.File {
	if pad := validate.MinRemembered - len(b); pad > 0 {
		b = append(slices.Clone(b), make([]byte, pad)...)
	}
	f := named(file(path, b))
	f.SHA256 = catalog.Digest(sha256.Sum256(b))
	return f
}

// A package of remembered files gets the report that reading all of it gives, whether
// some or all are remembered. Only the other files are proved.
func TestRemembered(t *testing.T) {
	two := symfiletest.PDB{GUID: guid, Age: 2, InfoAge: 99, Flags: 1, Types: 1}
	pdbs := []validate.File{
		known("x/app.pdb", two.Bytes()), known("y/app.pdb", symfiletest.PDB{GUID: guid, Age: 3, Types: 1}.Bytes()),
		known("v2.pdb", symfiletest.PDB2(1, 2)), known("net.pdb", symfiletest.PortablePDB{GUID: guid, Methods: 1}.Bytes()),
		known("app.exe", symfiletest.PE{Records: []symfiletest.CodeView{{GUID: guid, Age: 2, Path: "other.pdb"}, {GUID: guid, Age: 9, Path: "app.pdb"}}}.Bytes()),
		known("net.dll", symfiletest.PE{Embedded: symfiletest.PortablePDB{GUID: guid}.Bytes()}.Bytes()),
		known("NUL/bad.exe", symfiletest.PE{}.Bytes()), known("cut.pdb", two.Bytes()[:9000]), known("zeros.so", nil), known("odd.dll", []byte("<html>")),
	}
	remembered, all := sameReport(t, pdbs), len(pdbs)
	elf := func(path, name string) validate.File { return known(path, parserData(t, "elf", name)) }
	arm := bytes.Clone(parserData(t, "elf", "tiny.debug"))
	arm[18] = 183
	elves := []validate.File{
		elf("tiny", "tiny.stripped"), elf("tiny.debug", "tiny.debug"), known("arm/tiny.debug", arm), elf("alt.so", "alt.so"), elf("split", "split5.so"),
		elf("split.dwo", "split5.dwo"), elf("split.dwp", "split5.dwp"), elf("four", "split4.so"), elf("z/tiny.debug", "tiny.zstd.debug"), elf("e/tiny.debug", "tiny.empty.debug"),
	}
	remembered, all = remembered+sameReport(t, elves), all+len(elves)
	mach := func(path, name string) validate.File { return known(path, parserData(t, "macho", name)) }
	fruits := []validate.File{mach("demo", "demo"), mach("demo.dSYM/Contents/Resources/DWARF/demo", "demo.dwarf"), mach("other", "demo")}
	remembered, all = remembered+sameReport(t, fruits), all+len(fruits)
	if remembered != all {
		t.Errorf("%d of %d files were remembered", remembered, all)
	}
}

// sameReport validates files without a memory, with an empty one, and with a full one,
// and returns how many were remembered.
func sameReport(t *testing.T, files []validate.File) int {
	t.Helper()
	want := judgeUnder(t, catalog.Policy{}, files...)
	m := &notebook{entries: map[string][]byte{}}
	var mu sync.Mutex
	proved := 0
	for i := range files {
		files[i].Prove = func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			proved++
			return nil
		}
	}
	for round, unread := range []int{0, len(files)} {
		proved = 0
		rep, err := validate.Package(t.Context(), files, validate.Options{Memory: m})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(rep, want) {
			t.Errorf("round %d: report = %+v, want %+v", round, rep, want)
		}
		if proved > len(files)-min(unread, len(m.entries)) {
			t.Errorf("round %d: %d of %d files were proved, %d were remembered", round, proved, len(files), len(m.entries))
		}
	}
	for key := range m.entries { // a part of the package is known
		m.entries[key] = nil
		rep, err := validate.Package(t.Context(), files, validate.Options{Memory: m})
		if err != nil || !reflect.DeepEqual(rep, want) {
			t.Errorf("without %s: report = %+v, %v, want %+v", key, rep, err, want)
		}
	}
	return len(m.entries)
}

// An entry of another file, of another build, or that was damaged is passed over.
func TestRememberedPassedOver(t *testing.T) {
	a := known("a.pdb", symfiletest.PDB{GUID: guid, Age: 1, Types: 1}.Bytes())
	b := known("b.pdb", symfiletest.PDB{GUID: guid, Age: 2, Types: 1, Features: []uint32{0x494E494D}}.Bytes())
	m := &notebook{entries: map[string][]byte{}}
	remembering := func(f validate.File) validate.Report {
		t.Helper()
		rep, err := validate.Package(t.Context(), []validate.File{f}, validate.Options{Memory: m})
		if err != nil {
			t.Fatal(err)
		}
		return rep
	}
	want := judgeUnder(t, catalog.Policy{}, b)
	remembering(a)
	entry := m.entries[noteKey(a)]
	version := validate.ChecksVersion(t)
	if !bytes.Contains(entry, []byte(version)) {
		t.Fatalf("entry does not name the build %s", version)
	}
	for what, wrong := range map[string][]byte{
		"another file": entry, "nothing": {}, "no entry": []byte("gob?"), "half an entry": entry[:len(entry)/2],
		"another build": bytes.ReplaceAll(bytes.ReplaceAll(entry, []byte(version), bytes.Repeat([]byte("0"), len(version))), []byte("a.pdb"), []byte("b.pdb")),
	} {
		m.entries[noteKey(b)] = wrong
		if rep := remembering(b); !reflect.DeepEqual(rep, want) {
			t.Errorf("%s: report = %+v, want %+v", what, rep, want)
		}
	}
	before := m.recalled
	for what, f := range map[string]validate.File{
		"found by a scan": file("a.pdb", make([]byte, 1<<20)), "small": named(file("a.pdb", symfiletest.PDB{GUID: guid, Age: 1, BlockSize: 512}.Bytes())),
	} {
		remembering(f)
		if m.recalled != before {
			t.Errorf("a file %s was looked for in the memory", what)
		}
	}
}

// Facts and their mirrors have the same fields: one that is added to the facts of a
// format has to be added to remember_facts.go, and here.
func TestFactsHaveMirrors(t *testing.T) {
	for facts, want := range map[any][]string{
		validate.FactsPE:       {"records", "checksums", "embedded"},
		validate.FactsPDB:      {"id", "v2"},
		validate.FactsPortable: {"id"},
		validate.FactsMachO:    {"slices", "dsym"},
		validate.FactsSlice:    {"arch", "uuid", "dwarf", "debugMap"},
		validate.FactsELF:      {"file", "build", "exe", "split", "debug", "dwarf", "empty", "link", "alt", "units", "splitUnits", "dwo", "dwp"},
	} {
		var got []string
		for f := range reflect.TypeOf(facts).Elem().Fields() {
			got = append(got, f.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%T has fields %v, remember_facts.go mirrors %v", facts, got, want)
		}
	}
}
