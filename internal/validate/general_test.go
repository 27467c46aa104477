package validate_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/validate"
)

var (
	goodPDB = symfiletest.PDB{GUID: guid, Age: 1, Types: 10, Modules: []symfiletest.Module{{Name: "a.obj", Symbols: 100, Lines: true}}}
	goodPE  = symfiletest.PE{Timestamp: 0x6553f100, Records: []symfiletest.CodeView{{GUID: guid, Age: 1, Path: "app.pdb"}}}
)

const lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 12345\n"

func TestGeneralChecks(t *testing.T) {
	for _, tt := range []struct {
		path string
		in   []byte
		want string // of the error
		text string // in its message
	}{
		{"app.pdb", nil, "GEN-EMPTY", "no bytes"},
		{"app.pdb", make([]byte, 200<<10), "GEN-ZEROS", "204800 bytes"},
		{"app.pdb", append(make([]byte, 200<<10), 1), "GEN-UNKNOWN", "starts with 0000"},
		{"app.pdb", []byte("noise"), "GEN-UNKNOWN", "6e6f697365"},
		{"app.pdb", []byte(lfs), "GEN-LFS", "sha256:4d7a214614ab2935"},
		{"app.pdb", []byte(strings.ReplaceAll(lfs, "\n", "\r\n")), "GEN-LFS", "git lfs pull"},
		{"app.pdb", []byte("\n<!DOCTYPE html><title>404 Not\x01Found</title>"), "GEN-HTML", `titled "404 Not Found"`},
		{"app.dll", []byte(`{"error":{"code":401}}`), "GEN-HTML", "JSON"},
		{"app.pdb", bytes.ReplaceAll(goodPDB.Bytes(), []byte("\r\n"), []byte("\n")), "GEN-CRLF", "wanted 0d0a1a4453"},
		{"app.pdb", goodPE.Bytes(), "GEN-EXT", "named .pdb but its content is pe"},
		{"app.dll", goodPDB.Bytes(), "GEN-EXT", "named .dll but its content is pdb"},
		{"app.pdb.gz", []byte("\x1f\x8b\x08\x00"), "GEN-COMPRESSED", "gzip"},
		{"app.pd_", []byte("MSCF\x00\x00\x00\x00"), "GEN-COMPRESSED", "cabinet"},
		{"all.zip", []byte("PK\x03\x04"), "GEN-CONTAINER", "zip"},
		{"core.dmp", []byte("MDMP\x93\xa7"), "GEN-CORE", "minidump"},
		{"../app.pdb", goodPDB.Bytes(), "GEN-NAME", "only dots"},
		{`..\app.pdb`, goodPDB.Bytes(), "GEN-NAME", "separator"},
		{"c:/app.pdb", goodPDB.Bytes(), "GEN-NAME", "colon"},
		{"a\x01.pdb", goodPDB.Bytes(), "GEN-NAME", "control character"},
		{"aux/app.pdb", goodPDB.Bytes(), "GEN-NAME", "device"},
		{"LPT1.pdb", goodPDB.Bytes(), "GEN-NAME", "device"},
	} {
		rep := check(t, file(tt.path, tt.in))
		if rep.Verdict != catalog.Failed || !hasCode(rep, 0, catalog.Error, tt.want) {
			t.Errorf("%q: verdict %s, findings %v; want failed by %s", tt.path, rep.Verdict, codes(rep, 0), tt.want)
			continue
		}
		i := slices.IndexFunc(rep.Files[0].Findings, func(f catalog.Finding) bool { return f.Code == tt.want })
		if msg := rep.Files[0].Findings[i].Message; !strings.Contains(msg, tt.text) {
			t.Errorf("%q: message %q, want %q in it", tt.path, msg, tt.text)
		}
	}
}

// TestMaps wants maps of names that are for other tools passed over by a scan, and
// explained to who names one.
func TestMaps(t *testing.T) {
	for _, tt := range []struct{ path, in, text string }{
		{"BCSymbolMaps/4C4C44A6-5565-5314-4A17-27565C1B60D2.bcsymbolmap", "BCSymbolMap Version: 2.0\n_main\n", "dsymutil --symbol-map"},
		{"perf-1234.map", "7f0000001000 20 void [x] A::B()\n", "on the machine where the program ran"},
		{"System.Private.CoreLib.ni.r2rmap", "00001000 20 void [x] A::B()\n", "map of compiled code"},
	} {
		f := file(tt.path, []byte(tt.in))
		if rep := check(t, f); rep.Verdict != catalog.Good || len(rep.Ignored) != 1 {
			t.Errorf("%s: verdict %s, ignored %v; want it ignored", tt.path, rep.Verdict, rep.Ignored)
		}
		f.Explicit = true
		rep := check(t, f)
		if !hasCode(rep, 0, catalog.Error, "GEN-UNKNOWN") || !strings.Contains(rep.Files[0].Findings[0].Message, tt.text) {
			t.Errorf("%s, named: findings %+v, want GEN-UNKNOWN with %q", tt.path, rep.Files[0].Findings, tt.text)
		}
	}
}

// A scan passes over what cannot be meant; a name, or a person, makes it an error.
func TestIgnored(t *testing.T) {
	coff := make([]byte, 100)
	coff[0], coff[1], coff[2] = 0x64, 0x86, 1
	for _, tt := range []struct {
		path    string
		in      []byte
		ignored bool
		code    string
	}{
		{"README.txt", []byte("read me"), true, "GEN-UNKNOWN"},
		{"noext", []byte("read me"), true, "GEN-UNKNOWN"},
		{"a.obj", coff, true, "GEN-OBJ"},
		{"a.lib", []byte("!<arch>\n/      "), true, "GEN-OBJ"},
		{"a.o", buildELF(1, elfText, elfSymtab), true, "GEN-OBJ"},
		{"ice-9/boot-9.go", buildELF(3, elfSection{".rtl-text", 1, 2, []byte{1}}, elfSection{".guile.arities", 1, 0, []byte{1}}), true, "GEN-OBJ"},
		{".gitkeep", nil, true, "GEN-EMPTY"},
		{"index.html", []byte("<html>"), true, "GEN-HTML"},
		{"logo.png", []byte(lfs), true, "GEN-LFS"},
		{"libc.so", []byte("/* GNU ld script */\nGROUP ( /lib/libc.so.6 )"), true, "GEN-OBJ"},
		{"._app.dylib", []byte("\x00\x05\x16\x07"), true, "GEN-UNKNOWN"},
		{`system-a\x2dcrypt.slice`, []byte("[Slice]"), true, "GEN-UNKNOWN"},
		{"app.pdb", []byte("read me"), false, "GEN-UNKNOWN"},
		{"app.DLL", []byte("read me"), false, "GEN-UNKNOWN"},
		{"libx.so.1.2", []byte("read me"), false, "GEN-UNKNOWN"},
		{"libx.so.conf", []byte("read me"), true, "GEN-UNKNOWN"},
		{"app.exe", coff, false, "GEN-OBJ"},
		{"libx.so", nil, false, "GEN-EMPTY"},
		{"app.dylib", []byte("<html>"), false, "GEN-HTML"},
		{"app.sys", []byte(lfs), false, "GEN-LFS"},
		{"all.zip", []byte("PK\x03\x04"), false, "GEN-CONTAINER"},
		{"crash", []byte("MDMP"), false, "GEN-CORE"},
	} {
		f := file(tt.path, tt.in)
		rep := check(t, f)
		sev, verdict := catalog.Error, catalog.Failed
		if tt.ignored {
			sev, verdict = catalog.Info, catalog.Good
		}
		if (len(rep.Ignored) == 1) != tt.ignored || rep.Verdict != verdict || !hasCode(rep, 0, sev, tt.code) || len(rep.Files[0].Findings) != 1 {
			t.Errorf("%s: ignored %v, verdict %s, findings %v; want ignored %v and %s %s", tt.path, rep.Ignored, rep.Verdict, codes(rep, 0), tt.ignored, sev, tt.code)
		}
		id, err := validate.Identify(bytes.NewReader(tt.in), int64(len(tt.in)), tt.path)
		if err != nil || validate.Ignored(f, id) != tt.ignored {
			t.Errorf("Ignored(%s) = %v, %v; want %v", tt.path, !tt.ignored, err, tt.ignored)
		}
		rep = check(t, named(f))
		if len(rep.Ignored) > 0 || rep.Verdict != catalog.Failed || !hasCode(rep, 0, catalog.Error, tt.code) {
			t.Errorf("%s, named: ignored %v, verdict %s, findings %v; want an error", tt.path, rep.Ignored, rep.Verdict, codes(rep, 0))
		}
	}
}

// The reader of a file of 5 GiB is asked for little, and its size is remarked on.
func TestHugeFile(t *testing.T) {
	head := goodPE.Bytes()
	f := named(file("big.exe", head))
	f.Size = 5 << 30
	f.Open = func() (validate.ReaderAtCloser, error) { return sparse{head, f.Size}, nil }
	rep := check(t, f)
	if rep.Verdict != catalog.Good || !hasCode(rep, 0, catalog.Warning, "GEN-SIZE") {
		t.Errorf("verdict %s, findings %v; want good with GEN-SIZE", rep.Verdict, codes(rep, 0))
	}
}

// sparse is head and then zeros.
type sparse struct {
	head []byte
	size int64
}

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), s.size-off))
	clear(p[:n])
	if off < int64(len(s.head)) {
		copy(p[:n], s.head[off:])
	}
	return n, nil
}

func (sparse) Close() error { return nil }
