package symid_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/symid"
)

const sig = "497B72F6390A44FC878E5A2D63B6CC4B"

func TestParseDebugID(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		err      error
	}{
		{sig + "1", sig + "1", nil},
		{strings.ToLower(sig) + "a", sig + "A", nil},
		{sig + "FFFFFFFF", sig + "FFFFFFFF", nil},
		{sig, "", symid.ErrBadID},                  // no age
		{sig + "100000000", "", symid.ErrBadID},    // age over 32 bits
		{sig + "+1", "", symid.ErrBadID},           // a sign is not a digit
		{"G" + sig[1:] + "1", "", symid.ErrBadID},  // not hex
		{"497b72f6-390a-44fc", "", symid.ErrBadID}, // separators
	} {
		got, err := symid.ParseDebugID(tt.in)
		if !errors.Is(err, tt.err) || (err == nil && got.String() != tt.want) {
			t.Errorf("ParseDebugID(%q) = %v, %v, want %q, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestParseCodeID(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		err      error
	}{
		{"542D574Ec2000", "542D574Ec2000", nil},
		{"542d574eC2000", "542D574Ec2000", nil},
		{"00000000400", "00000000400", nil},
		{"542D574E", "", symid.ErrBadID},
		{"542D574E100000000", "", symid.ErrBadID},
		{"542D574E-200", "", symid.ErrBadID},
	} {
		got, err := symid.ParseCodeID(tt.in)
		if !errors.Is(err, tt.err) || (err == nil && got.String() != tt.want) {
			t.Errorf("ParseCodeID(%q) = %v, %v, want %q, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}

// The rule and both values are those of two independent tools on one file.
func TestBuildIDDebugID(t *testing.T) {
	id, err := symid.ParseBuildID("f1c3bcc0279865fe3058404b2831d9e64135386c")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := id.DebugID(binary.LittleEndian).String(), "C0BCC3F19827FE653058404B2831D9E60"; got != want {
		t.Errorf("DebugID(little) = %s, want %s", got, want)
	}
	if got, want := id.DebugID(binary.BigEndian).String(), "F1C3BCC0279865FE3058404B2831D9E60"; got != want {
		t.Errorf("DebugID(big) = %s, want %s", got, want)
	}
	short, err := symid.ParseBuildID("0102030405060708")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := short.DebugID(binary.LittleEndian).String(), "040302010605080700000000000000000"; got != want {
		t.Errorf("DebugID of 8 bytes = %s, want %s", got, want)
	}
	if got, want := short.Padded(), "0102030405060708"+strings.Repeat("0", 24); got != want {
		t.Errorf("Padded() = %s, want %s", got, want)
	}
}

// sameKey reports whether a lookup of path has want among its keys.
func sameKey(t *testing.T, path string, want symid.Key) bool {
	t.Helper()
	l, err := symid.ParseLookup(path)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(l.Keys, func(k symid.Key) bool { return k.Index() == want.Index() })
}

var lookupKeys = func() map[string]symid.Key {
	debug, _ := symid.ParseDebugID(sig + "a")
	portable, _ := symid.ParseDebugID(sig + "ffffffff")
	code, _ := symid.ParseCodeID("542D574Ec2000")
	b20, _ := symid.ParseBuildID(strings.Repeat("ab", 20))
	b8, _ := symid.ParseBuildID(strings.Repeat("cd", 8))
	uuid, _ := symid.ParseGUID(sig)
	return map[string]symid.Key{
		"pdb":          symid.PDBKey("Foo.pdb", debug),
		"portable pdb": symid.PDBKey("Foo.pdb", portable),
		"pe":           symid.PEKey("Foo.exe", code),
		"executable":   symid.BuildIDKey(b20, symid.Executable, "prog"),
		"debuginfo":    symid.BuildIDKey(b20, symid.Debuginfo, "prog.debug"),
		"short id":     symid.BuildIDKey(b8, symid.Executable, "prog"),
		"macho":        symid.MachOKey(uuid, symid.Executable, "prog"),
		"dsym":         symid.MachOKey(uuid, symid.Debuginfo, "prog"),
		"breakpad":     symid.BreakpadKey("Foo.pdb", debug),
		"breakpad elf": symid.BreakpadKey("libfoo.so", debug),
		"wasm":         symid.WasmKey("app.wasm", b8),
		"store":        symid.StoreKey("libmscordaccore.so", "elf-buildid-"+b20.String()),
		"store of pe":  symid.StoreKey("mscordaccore.dll", "5E67AB1C7F000"),
	}
}()

// Every path a key prints must find it, in any case, behind every prefix clients
// put in front of it.
func TestPathsFindTheirKey(t *testing.T) {
	for name, k := range lookupKeys {
		if err := k.Valid(); err != nil {
			t.Errorf("%s: Valid() = %v, want nil", name, err)
		}
		for _, p := range k.Paths() {
			variants := []string{p, "/" + p, "//" + p}
			if !strings.HasPrefix(p, "buildid/") {
				variants = append(variants, strings.ToUpper(p), strings.ToLower(p), "/symbols//"+p, "/"+p[:2]+"/"+p, strings.Replace(p, "/", "//", 2))
			}
			for _, v := range variants {
				if !sameKey(t, v, k) {
					t.Errorf("%s: ParseLookup(%q) does not hold the key", name, v)
				}
			}
		}
	}
}

func TestKeysAreDistinct(t *testing.T) {
	seen := map[symid.IndexKey]string{}
	for name, k := range lookupKeys {
		if other, dup := seen[k.Index()]; dup {
			t.Errorf("%s and %s share the index key %x", name, other, k.Index())
		}
		seen[k.Index()] = name
		back, err := symid.ParseIndexKey(k.Index())
		if err != nil || back.Index() != k.Index() {
			t.Errorf("%s: ParseIndexKey(%x) = %+v, %v, want the key back", name, k.Index(), back, err)
		}
	}
}

func TestKeyJSON(t *testing.T) {
	for name, k := range lookupKeys {
		b, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		var got symid.Key
		if err := json.Unmarshal(b, &got); err != nil || got != k {
			t.Errorf("%s: %s decodes to %v, %v, want %v", name, b, got, err, k)
		}
	}
	for _, bad := range []string{`{"kind":1,"id":"00","artifact":1,"name":"a"}`, `{"kind":3,"id":"zz","artifact":1}`,
		`{"kind":2,"id":"` + strings.Repeat("00", 20) + `","artifact":2,"name":"../x"}`, `{"kind":3,"id":"00","artifact":9}`, `{"kind":77,"id":"00","artifact":1,"name":"x"}`} {
		var k symid.Key
		if err := json.Unmarshal([]byte(bad), &k); err == nil {
			t.Errorf("Unmarshal(%s) = %v, want an error", bad, k)
		}
	}
}

// Where a file's own key has no name in it, the key that an index assigned to the
// name is asked for first: else the debugger support of a runtime could not be told
// from the runtime.
func TestAssignedKeys(t *testing.T) {
	id := strings.Repeat("ab", 20)
	for _, tt := range []struct {
		path  string
		kinds []symid.Kind
	}{
		{"libdac.so/elf-buildid-" + id + "/libdac.so", []symid.Kind{symid.KindStore, symid.KindBuildID}},
		{"libdac.so/elf-buildid-" + id + "/libdac.s_", []symid.Kind{symid.KindStore, symid.KindBuildID}},
		{"libdac.dylib/mach-uuid-" + sig + "/libdac.dylib", []symid.Kind{symid.KindStore, symid.KindMachO}},
		{"_.debug/elf-buildid-sym-" + id + "/_.debug", []symid.Kind{symid.KindBuildID, symid.KindStore}},
		{"dac.dll/5E67AB1C7f000/dac.dll", []symid.Kind{symid.KindPE, symid.KindStore}},
		{"libdac.so/elf-buildid-coreclr-" + id + "/libdac.so", []symid.Kind{symid.KindStore}},
		{"libdac.dylib/mach-uuid-coreclr-" + sig + "/libdac.dylib", []symid.Kind{symid.KindStore}},
		{"a.cs/sha1-" + id + "/a.cs", []symid.Kind{symid.KindStore}},
		{"a.cs/sha1-xyz/a.cs", nil},
	} {
		l, err := symid.ParseLookup(tt.path)
		var kinds []symid.Kind
		for _, k := range l.Keys {
			if len(kinds) == 0 || kinds[len(kinds)-1] != k.Kind {
				kinds = append(kinds, k.Kind)
			}
		}
		kinds = slices.DeleteFunc(kinds, func(k symid.Kind) bool { return k == symid.KindPDB || k == symid.KindWasm })
		if !slices.Equal(kinds, tt.kinds) || (err == nil) != (tt.kinds != nil) {
			t.Errorf("ParseLookup(%q) = keys of kinds %v, %v; want %v", tt.path, kinds, err, tt.kinds)
		}
	}
}

func TestParseLookupForms(t *testing.T) {
	id := strings.Repeat("ab", 20)
	for _, tt := range []struct {
		path                  string
		packed                bool
		leaf, section, source string
	}{
		{"foo.pdb/" + sig + "1/foo.pd_", true, "foo.pd_", "", ""},
		{"foo.exe/542D574Ec2000/FOO.EX_", true, "FOO.EX_", "", ""},
		{"foo.pdb/" + sig + "1/foo.sym", false, "foo.sym", "", ""},
		{"X.PDB/" + sig + "1/X.PDB.sym", false, "X.PDB.sym", "", ""},
		{"foo.pdb/" + sig + "1/foo.sy_", true, "foo.sy_", "", ""},
		{"/c%3A%5Ctest_app.pdb/" + sig + "1/c%3A%5Ctest_app.sym", false, "test_app.sym", "", ""},
		{"buildid/" + id + "/section/.debug_line", false, "", ".debug_line", ""},
		{"buildid/" + id + "/source//usr/../src/a%20b.c", false, "", "", "/src/a b.c"},
		{"buildid/" + id + "/source/usr/src/A.c", false, "", "", "/usr/src/A.c"},
		{"/buildid/" + id + "/source%2Fw%2F.%2Fa%2B+%25.c/", false, "", "", "/w/a++%.c"},
		{"buildid/" + id + "/source/w/100%.c", false, "", "", "/w/100%.c"},
		{"buildid/" + id + "/source/C:%5Cw%5Ca.c", false, "", "", "/C:/w/a.c"},
		{"buildid/" + strings.ToUpper(id) + "/debuginfo/", false, "", "", ""},
	} {
		l, err := symid.ParseLookup(tt.path)
		if err != nil || l.Packed != tt.packed || l.Leaf != tt.leaf || l.Section != tt.section || l.Source != tt.source {
			t.Errorf("ParseLookup(%q) = %+v, %v", tt.path, l, err)
		}
	}
}

func TestParseLookupMisses(t *testing.T) {
	for _, path := range []string{
		"", "/", "index2.txt", "pingme.txt", "foo.pdb", "foo.pdb/" + sig + "1/file.ptr", "foo.pdb/" + sig + "1/bar.pdb",
		"../../etc/passwd", "foo/../foo", "%2e%2e/" + sig + "1/%2e%2e", "foo.pdb/xyz/foo.pdb", "foo\x01/" + sig + "1/foo\x01",
		"buildid/zz00/debuginfo", "buildid/abc/debuginfo", "buildid//debuginfo", "buildid/abcd/bogus", "buildid/abcd/section/",
		"buildid/abcd/source", "buildid/abcd/source/", "buildid/abcd/source//..", "buildid/abcd/source/a%0Ab", "buildid/abcd/source/" + strings.Repeat("a", 2048),
		"buildid/" + strings.Repeat("ab", 65) + "/debuginfo", "%zz", "a%00b/" + sig + "1/a%00b", strings.Repeat("a/", 3000),
	} {
		if l, err := symid.ParseLookup(path); !errors.Is(err, symid.ErrNotKey) {
			t.Errorf("ParseLookup(%.60q) = %+v, %v, want ErrNotKey", path, l, err)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, ok := range []string{"a", "libstdc++.so.6", "lib a+b.so", "_.debug", "ünïcode.pdb", strings.Repeat("x", 255)} {
		if err := symid.CheckName(ok); err != nil {
			t.Errorf("CheckName(%q) = %v, want nil", ok, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "...", "a/b", `a\b`, "c:", "a\nb", "a\x00", "a\x7f", "\xff", strings.Repeat("x", 256)} {
		if err := symid.CheckName(bad); !errors.Is(err, symid.ErrBadName) {
			t.Errorf("CheckName(%q) = %v, want ErrBadName", bad, err)
		}
	}
}

// The path of an assigned key may mean a file by its own id: under a build id or a UUID
// only one of that name, in any version of a shared object.
func TestOwnKeys(t *testing.T) {
	id := strings.Repeat("ab", 20)
	for _, tt := range []struct {
		name, id, base string
		want           bool
	}{
		{"libfoo.so", "elf-buildid-" + id, "libfoo.so", true},
		{"LIBFOO.so", "elf-buildid-" + id, "libfoo.SO.1.2", true},
		{"libfoo.so.1", "elf-buildid-" + id, "libfoo.so.1.2", true},
		{"libfoo.so", "elf-buildid-" + id, "libfoodac.so", false},
		{"libfoo.so", "elf-buildid-" + id, "libfoo.sox", false},
		{"libfoo.dylib", "mach-uuid-" + sig, "libfoo.dylib", true},
		{"libfoo.dylib", "mach-uuid-" + sig, "libbar.dylib", false},
		{"_.debug", "elf-buildid-sym-" + id, "libfoo.debug", true},
		{"dac.dll", "5E67AB1C7f000", "DAC.dll", true},
		{"libfoo.so", "elf-buildid-coreclr-" + id, "libfoo.so", false},
	} {
		own := symid.StoreKey(tt.name, tt.id).OwnKeys()
		if got := slices.ContainsFunc(own, func(k symid.Key) bool { return k.Means(tt.base) }); got != tt.want {
			t.Errorf("%s under %s means %s: %t, want %t", tt.name, tt.id, tt.base, got, tt.want)
		}
	}
	if own := symid.PEKey("a.dll", symid.CodeID{Timestamp: 1, ImageSize: 2}).OwnKeys(); own != nil {
		t.Errorf("own keys of a key that nobody assigned: %v", own)
	}
}

// FuzzParseLookup: no panic, bounded candidates, and every key of an accepted
// path is valid and found again by the path it prints.
func FuzzParseLookup(f *testing.F) {
	for _, k := range lookupKeys {
		for _, p := range k.Paths() {
			f.Add(p)
		}
	}
	f.Add("buildid/00/source//x")
	f.Fuzz(func(t *testing.T, path string) {
		l, err := symid.ParseLookup(path)
		if err != nil {
			if !errors.Is(err, symid.ErrNotKey) {
				t.Errorf("error %v does not wrap ErrNotKey", err)
			}
			return
		}
		if len(l.Keys) == 0 || len(l.Keys) > 6 {
			t.Errorf("%d keys", len(l.Keys))
		}
		for _, k := range l.Keys {
			if k.Name == "" || k.Name == "_.debug" || k.Name == "_.dwarf" {
				continue
			}
			if err := k.Valid(); err != nil {
				t.Errorf("key %+v: %v", k, err)
			}
		}
	})
}

func FuzzParseDebugID(f *testing.F) {
	f.Add(sig + "1")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := symid.ParseDebugID(s)
		if err != nil {
			return
		}
		if again, err := symid.ParseDebugID(d.String()); err != nil || again != d {
			t.Errorf("ParseDebugID(%q) = %v, %v, want %v", d.String(), again, err, d)
		}
	})
}
