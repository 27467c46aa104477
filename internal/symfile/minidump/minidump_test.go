package minidump_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"symkeep/internal/symfile"
	"symkeep/internal/symfile/minidump"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/symid"
)

var (
	le    = binary.LittleEndian
	debug = symid.DebugID{GUID: symid.GUID{0x5a, 0x98, 0x32, 0xe5, 15: 0xff}, Age: 20}
	code  = symid.CodeID{Timestamp: 0x5ab38077, ImageSize: 0x9000}
	nb10  = append([]byte("NB10\x00\x00\x00\x00\x78\x56\x34\x12\x03\x00\x00\x00"), "old.pdb\x00"...)
)

func parse(b []byte) (*minidump.Dump, error) {
	return minidump.Parse(bytes.NewReader(b), int64(len(b)))
}

func TestModules(t *testing.T) {
	for _, pad := range []bool{false, true} {
		d, err := parse(symfiletest.Minidump{Platform: symfiletest.PlatformWindows, Pad: pad, Modules: []symfiletest.MinidumpModule{
			{Name: `C:\Prögram\😀.exe`, Code: code, Record: symfiletest.RSDS(debug, `D:\b\app.pdb`)},
			{Name: "old.dll", Code: code, Record: nb10},
			{Name: "/usr/lib/libz.so.1", Record: symfiletest.BuildIDRecord("\x01\x02\x03\x04\x05\x06\x07\x08")},
			{Name: "bare"},
			{Name: "odd", Record: []byte("XXXXxxxxxxxxxxxx")},
			{Name: "long", Record: symfiletest.BuildIDRecord(symid.BuildID(strings.Repeat("x", 65)))},
		}}.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		want := []minidump.Module{
			{Name: `C:\Prögram\😀.exe`, Code: code, Debug: minidump.CodeView{Record: minidump.RSDS, GUID: debug.GUID, Age: 20, Path: `D:\b\app.pdb`}},
			{Name: "old.dll", Code: code, Debug: minidump.CodeView{Record: minidump.NB10, Signature: 0x12345678, Age: 3, Path: "old.pdb"}},
			{Name: "/usr/lib/libz.so.1", Debug: minidump.CodeView{Record: minidump.ELF, BuildID: "\x01\x02\x03\x04\x05\x06\x07\x08"}},
			{Name: "bare"}, {Name: "odd"}, {Name: "long"},
		}
		if d.OS != minidump.Windows || d.Arch != symfile.ArchX64 || len(d.Modules) != len(want) {
			t.Fatalf("Parse = %q %q %d modules, want windows, x64, %d", d.OS, d.Arch, len(d.Modules), len(want))
		}
		for i, w := range want {
			if w.Base = uint64(i+1) << 32; d.Modules[i] != w {
				t.Errorf("pad %v, module %d = %+v, want %+v", pad, i, d.Modules[i], w)
			}
		}
	}
}

func TestSystems(t *testing.T) {
	for platform, want := range map[uint32]minidump.OS{0: "", 1: minidump.Windows, 2: minidump.Windows, 0x8101: minidump.MacOS,
		0x8102: minidump.IOS, 0x8201: minidump.Linux, 0x8203: minidump.Android, 0x8206: ""} {
		d, err := parse(symfiletest.Minidump{Platform: platform}.Bytes())
		if err != nil || d.OS != want {
			t.Errorf("platform %#x: OS = %v, %v, want %q", platform, d, err, want)
		}
	}
}

// TestDamage edits a dump of one module. Damage outside of the lists of streams and
// modules stays with the module.
func TestDamage(t *testing.T) {
	whole := symfiletest.Minidump{Platform: 2, Modules: []symfiletest.MinidumpModule{{Name: "app.exe", Code: code, Record: symfiletest.RSDS(debug, "app.pdb")}}}.Bytes()
	const list = 32 + 24 + 56
	edit := func(fn func(b []byte) []byte) []byte { return fn(bytes.Clone(whole)) }
	put := func(off int, v uint32) []byte {
		return edit(func(b []byte) []byte { le.PutUint32(b[off:], v); return b })
	}
	name, record := int(le.Uint32(whole[list+4+20:])), int(le.Uint32(whole[list+4+80:]))
	for what, tt := range map[string]struct {
		in     []byte
		err    error // of Parse
		damage error // of the module
	}{
		"whole":               {whole, nil, nil},
		"empty":               {nil, minidump.ErrHeader, nil},
		"other magic":         {put(0, 7), minidump.ErrHeader, nil},
		"big-endian":          {edit(func(b []byte) []byte { copy(b, "PMDM"); return b }), minidump.ErrHeader, nil},
		"many streams":        {put(8, 1<<17), minidump.ErrHeader, nil},
		"directory elsewhere": {put(12, 1<<31), minidump.ErrHeader, nil},
		"no module list":      {put(32+12, 9), minidump.ErrHeader, nil},
		"many modules":        {put(list, 100_001), minidump.ErrHeader, nil},
		"modules missing":     {put(list, 99_999), minidump.ErrHeader, nil},
		"cut in modules":      {whole[:list+50], minidump.ErrHeader, nil},
		"cut in system":       {whole[:60], minidump.ErrHeader, nil},
		"cut in name":         {whole[:name+6], nil, minidump.ErrModule},
		"cut in record":       {whole[:len(whole)-1], nil, minidump.ErrModule},
		"name elsewhere":      {put(list+4+20, 1<<31), nil, minidump.ErrModule},
		"long name":           {put(name, 1<<30), nil, minidump.ErrModule},
		"record elsewhere":    {put(list+4+80, 1<<31), nil, minidump.ErrModule},
		"short record":        {put(list+4+76, 20), nil, minidump.ErrModule},
		"long record":         {put(list+4+76, 1<<30), nil, minidump.ErrModule},
		"record of zeros":     {put(record, 0), nil, nil},
	} {
		d, err := parse(tt.in)
		if !errors.Is(err, tt.err) || (tt.err == nil) != (err == nil) {
			t.Errorf("%s: Parse error = %v, want %v", what, err, tt.err)
			continue
		}
		if err == nil && (len(d.Modules) != 1 || !errors.Is(d.Modules[0].Damage, tt.damage) || d.Modules[0].Code != code) {
			t.Errorf("%s: modules = %+v, want one with damage %v", what, d.Modules, tt.damage)
		}
	}
}

// TestSharedNames has every module name the same 60 KiB: the memory for that is
// bounded.
func TestSharedNames(t *testing.T) {
	modules := make([]symfiletest.MinidumpModule, 1500)
	modules[0].Name = strings.Repeat("n", 30_000)
	b := symfiletest.Minidump{Modules: modules}.Bytes()
	const first = 32 + 24 + 56 + 4
	for i := range modules {
		copy(b[first+108*i+20:], b[first+20:first+24])
	}
	d, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	total, damaged := 0, 0
	for _, m := range d.Modules {
		total += len(m.Name)
		if errors.Is(m.Damage, minidump.ErrModule) {
			damaged++
		}
	}
	if total > 40<<20 || damaged == 0 || damaged == len(modules) {
		t.Errorf("%d bytes of names, %d modules without theirs", total, damaged)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(symfiletest.Minidump{Platform: 2, Modules: []symfiletest.MinidumpModule{
		{Name: "app.exe", Code: code, Record: symfiletest.RSDS(debug, "app.pdb")}, {Name: "old.dll", Record: nb10}}}.Bytes())
	f.Add(symfiletest.Minidump{Platform: 0x8201, Pad: true, Modules: []symfiletest.MinidumpModule{{Name: "/lib/libc.so.6", Record: symfiletest.BuildIDRecord("12345678")}}}.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parse(b)
		if err != nil {
			if !errors.Is(err, minidump.ErrHeader) {
				t.Errorf("error %v does not wrap ErrHeader", err)
			}
			return
		}
		if len(d.Modules) > len(b)/108 {
			t.Errorf("%d modules from %d bytes", len(d.Modules), len(b))
		}
	})
}
