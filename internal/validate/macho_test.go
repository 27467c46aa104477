package validate_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/validate"
)

const demoUUID = "4c4c44a655553144a1727565c1b60d2a"

func TestMachO(t *testing.T) {
	demo, dsym := parserData(t, "macho", "demo"), parserData(t, "macho", "demo.dwarf")
	uuid := rawID(t, demoUUID)
	const bundle = "demo.dSYM/Contents/Resources/DWARF/demo"
	command := bytes.Index(demo, []byte(uuid)) - 8
	edit := func(b []byte, at int, v uint32) []byte {
		b = bytes.Clone(b)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	symtab := bytes.Index(demo, []byte{2, 0, 0, 0, 24, 0, 0, 0}) // LC_SYMTAB
	other := replace(t, dsym, uuid, "another uuid....")
	type f struct {
		path string
		b    []byte
	}
	const alone = "warning MO-DSYM-MISSING warning MO-OSO"
	for _, tt := range []struct {
		name  string
		files []f
		want  []string
	}{
		{"pair", []f{{"demo", demo}, {bundle, dsym}}, []string{"", ""}},
		{"pair under other names", []f{{"bin/demo", demo}, {"x.dSYM/Contents/Resources/DWARF/y", dsym}}, []string{"", ""}},
		{"image alone", []f{{"demo", demo}}, []string{alone}},
		{"dSYM alone", []f{{bundle, dsym}}, []string{""}},
		{"another build", []f{{"demo", demo}, {bundle, other}}, []string{"error MO-DSYM-MISMATCH", ""}},
		{"another build by bundle name", []f{{"demo", demo}, {"demo.app.dSYM/Contents/Resources/DWARF/x", other}}, []string{"error MO-DSYM-MISMATCH", ""}},
		{"another program", []f{{"demo", demo}, {"x.dSYM/Contents/Resources/DWARF/x", other}}, []string{alone, ""}},
		{"cut", []f{{"demo", demo[:len(demo)/2]}}, []string{"error MO-TRUNC"}},
		{"cut dSYM", []f{{bundle, dsym[:len(dsym)*3/4]}}, []string{"error MO-TRUNC"}},
		{"load commands", []f{{"demo", edit(demo, 36, 0xfffffff0)}}, []string{"error MO-HDR"}},
		{"no uuid", []f{{"demo", edit(demo, command, 0x7fff0000)}}, []string{"error MO-NOUUID"}},
		{"uuid zero", []f{{"demo", replace(t, demo, uuid, strings.Repeat("\x00", 16))}}, []string{"error MO-UUID0"}},
		{"empty dSYM", []f{{bundle, replace(t, dsym, "__debug_info", "__debug_inf_")}}, []string{"error MO-DSYM-EMPTY"}},
		{"damaged units", []f{{bundle, edit(dsym, bytes.Index(dsym, []byte("\x04\x00\x00\x00\x00\x00\x08\x01")), 9)}}, []string{"error MO-DWARF"}},
		{"symbol names", []f{{"demo", edit(demo, int(binary.LittleEndian.Uint32(demo[symtab+8:])), 1<<20)}, {bundle, dsym}}, []string{"error MO-HDR", ""}},
		{"image in a dSYM", []f{{bundle, demo}}, []string{"error MO-DSYM-EMPTY " + alone}},
		{"core", []f{{"demo", edit(demo, 12, 4)}}, []string{"error GEN-CORE"}},
		{"object", []f{{"demo.dylib", edit(demo, 12, 1)}}, []string{"error GEN-OBJ"}},
		{"object found by a scan", []f{{"demo.o", edit(demo, 12, 1)}}, []string{"info GEN-OBJ"}},
	} {
		var files []validate.File
		for _, x := range tt.files {
			files = append(files, file(x.path, x.b))
		}
		rep := check(t, files...)
		for i, want := range tt.want {
			if got := strings.Join(codes(rep, i), " "); got != want {
				t.Errorf("%s: %s: found %q, want %q", tt.name, tt.files[i].path, got, want)
			}
		}
	}
}

func TestMachOQuality(t *testing.T) {
	for name, want := range map[string]string{"demo": "[public unwind]", "demo.dwarf": "[public lines types]"} {
		if got := fmt.Sprint(check(t, file(name, parserData(t, "macho", name))).Files[0].Quality); got != want {
			t.Errorf("%s: quality %s, want %s", name, got, want)
		}
	}
}

func TestFatMachO(t *testing.T) {
	demo := parserData(t, "macho", "demo")
	dsym := parserData(t, "macho", "demo.dwarf")
	arm := replace(t, demo, rawID(t, demoUUID), "0123456789abcdef")
	binary.LittleEndian.PutUint32(arm[4:], 0x0100000c)
	be := binary.BigEndian
	b := be.AppendUint32(be.AppendUint32(nil, 0xcafebabe), 2)
	for i, s := range [][]byte{demo, arm} {
		for _, v := range []uint32{binary.LittleEndian.Uint32(s[4:]), 3, 4096 + uint32(i*len(demo)), uint32(len(s)), 12} {
			b = be.AppendUint32(b, v)
		}
	}
	b = slices.Concat(b, make([]byte, 4096-len(b)), demo, arm)
	rep := check(t, file("demo", b), file("demo.dSYM/Contents/Resources/DWARF/demo", dsym))
	want := []string{"demo/mach-uuid-" + demoUUID + "/demo", "demo/mach-uuid-30313233343536373839616263646566/demo"}
	if !slices.Equal(paths(rep, 0), want) || rep.Files[0].Arch != "x64+arm64" {
		t.Errorf("keys %v, arch %s; want %v", paths(rep, 0), rep.Files[0].Arch, want)
	}
	if !hasCode(rep, 0, catalog.Warning, "MO-DSYM-MISSING") || !strings.Contains(rep.Files[0].Findings[0].Message, "arm64") || strings.Contains(rep.Files[0].Findings[0].Message, "(x64)") {
		t.Errorf("found %v, want the arm64 slice to lack a dSYM", rep.Files[0].Findings)
	}
	if p := paths(rep, 1); !slices.Equal(p, []string{"_.dwarf/mach-uuid-sym-" + demoUUID + "/_.dwarf"}) || rep.Files[1].IDs[0].DebugID != strings.ToUpper(demoUUID)+"0" {
		t.Errorf("dSYM keys %v, ids %v", p, rep.Files[1].IDs)
	}
	both := check(t, file("fat/demo", b), file("thin/demo", demo)) // what lipo leaves behind
	if hasCode(both, 0, catalog.Error, "GEN-CONFLICT") || hasCode(both, 1, catalog.Error, "GEN-CONFLICT") || both.Files[0].Keys[0].Rank >= both.Files[1].Keys[0].Rank {
		t.Errorf("fat beside thin: %+v, want no conflict and the thin one ahead", both.Files)
	}
	be.PutUint32(b[8+20+8:], 1<<30)
	if got := codes(check(t, file("demo", b)), 0); !slices.Equal(got, []string{"error MO-FAT"}) {
		t.Errorf("slice outside: found %v", got)
	}
}
