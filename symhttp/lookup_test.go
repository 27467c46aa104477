package symhttp_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/symhttp"
)

const (
	pdbPath  = "/foo.pdb/497B72F6390A44FC878E5A2D63B6CC4B1/foo.pdb"
	pdbCab   = "/foo.pdb/497B72F6390A44FC878E5A2D63B6CC4B1/foo.pd_"
	symPath  = "/foo.pdb/497B72F6390A44FC878E5A2D63B6CC4B1/foo.sym"
	buildID  = "591417c7acad88dbe79d6bc7df4730edba6daf72"
	exePath  = "/buildid/" + buildID + "/executable"
	dbgPath  = "/buildid/" + buildID + "/debuginfo"
	dbgCab   = "/_.debug/elf-buildid-sym-" + buildID + "/_.debu_"
	elfStore = "/app/elf-buildid-" + buildID + "/app"
)

var (
	debugID = must(symid.ParseDebugID("497B72F6390A44FC878E5A2D63B6CC4B1"))
	pdbKey  = symid.PDBKey("foo.pdb", debugID)
	symKey  = symid.BreakpadKey("foo.pdb", debugID)
	exeKey  = symid.BuildIDKey(must(symid.ParseBuildID(buildID)), symid.Executable, "app")
	dbgKey  = symid.BuildIDKey(must(symid.ParseBuildID(buildID)), symid.Debuginfo, "app.debug")
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// info reads what the packed file of a candidate says of itself.
func (w *world) info(t testing.TB, c catalog.Candidate) cab.Info {
	t.Helper()
	b, err := openBlob(w.path(c.Digest), true)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r, err := cab.Open(b, b.Size())
	if err != nil {
		t.Fatal(err)
	}
	return r.Info()
}

func TestHits(t *testing.T) {
	w := newWorld(t)
	content := noise(3<<20+12345, 1)
	pdb := w.add(t, "Foo.pdb", content, pdbKey)
	exe := w.add(t, "app", noise(70000, 2), exeKey)
	addr := start(t, testConfig(), w.public(t))

	info := w.info(t, pdb)
	packed := must(os.ReadFile(w.path(pdb.Digest)))
	raw := `"` + pdb.Digest.String() + `"`
	packedTag := fmt.Sprintf(`"%x"`, info.PackedSHA256)
	gzipTag := fmt.Sprintf(`"%s.%x"`, pdb.Digest, info.PackedSHA256)
	hit := map[string]string{
		"Content-Type": "application/octet-stream", "Cache-Control": "public, max-age=86400",
		"Vary": "Accept-Encoding", "Accept-Ranges": "bytes", "Content-Encoding": "", "Transfer-Encoding": "",
		"Content-Location": "", "X-Debuginfod-Size": "",
	}
	with := func(more ...string) map[string]string {
		m := map[string]string{}
		for k, v := range hit {
			m[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	size := int64(len(content))
	for _, tt := range []struct {
		name, path string
		lines      []string
		status     int
		body       []byte
		headers    map[string]string
	}{
		{"whole", pdbPath, nil, 200, content, with("Etag", raw, "Content-Length", strconv.FormatInt(size, 10))},
		{"query", pdbPath + "?code_file=x&code_id=%zz", nil, 200, content, with("Etag", raw)},
		{"case", strings.ToLower(pdbPath), nil, 200, content, with("Etag", raw)},
		{"slashes", "//symbols//" + strings.ReplaceAll(pdbPath[1:], "/", "//"), nil, 200, content, with("Etag", raw)},
		{"tier", "/fo" + pdbPath, nil, 200, content, with("Etag", raw)},
		{"escapes", "/%66oo.pdb%2F497B72F6390A44FC878E5A2D63B6CC4B1/foo%2epdb", nil, 200, content, with("Etag", raw)},
		{"absolute form", "http://symbols" + pdbPath, nil, 200, content, with("Etag", raw)},
		{"h2c", pdbPath, []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAA"}, 200, content, with("Etag", raw)},
		{"gzip refused", pdbPath, []string{"Accept-Encoding: gzip;q=0"}, 200, content, with("Etag", raw)},
		{"other codings", pdbPath, []string{"Accept-Encoding: deflate, br, zstd"}, 200, content, with("Etag", raw)},
		{"first bytes", pdbPath, []string{"Range: bytes=0-5"}, 206, content[:6], with("Content-Range", fmt.Sprintf("bytes 0-5/%d", size), "Content-Length", "6")},
		{"across groups", pdbPath, []string{"Range: bytes=1048570-2097160"}, 206, content[1048570:2097161], with("Etag", raw)},
		{"tail", pdbPath, []string{"Range: bytes=-10"}, 206, content[size-10:], with("Content-Range", fmt.Sprintf("bytes %d-%d/%d", size-10, size-1, size))},
		{"from", pdbPath, []string{"Range: bytes=3000000-"}, 206, content[3000000:], with("Etag", raw)},
		{"past the end", pdbPath, []string{"Range: bytes=0-134217727"}, 206, content, with("Content-Range", fmt.Sprintf("bytes 0-%d/%d", size-1, size))},
		{"range beats gzip", pdbPath, []string{"Range: bytes=0-5", "Accept-Encoding: gzip"}, 206, content[:6], with()},
		{"two ranges", pdbPath, []string{"Range: bytes=0-5,7-9"}, 200, content, with()},
		{"two range lines", pdbPath, []string{"Range: bytes=0-5", "Range: bytes=7-9"}, 200, content, with()},
		{"other unit", pdbPath, []string{"Range: lines=0-5"}, 200, content, with()},
		{"unsatisfiable", pdbPath, []string{"Range: bytes=999999999-"}, 416, nil, map[string]string{"Content-Range": fmt.Sprintf("bytes */%d", size), "Content-Length": "0", "Cache-Control": "no-store"}},
		{"if-range", pdbPath, []string{"Range: bytes=0-5", "If-Range: " + raw}, 206, content[:6], with()},
		{"if-range of another form", pdbPath, []string{"Range: bytes=0-5", "If-Range: " + packedTag}, 200, content, with()},
		{"if-range by date", pdbPath, []string{"Range: bytes=0-5", "If-Range: Sun, 22 Nov 2026 15:45:42 GMT"}, 200, content, with()},
		{"known", pdbPath, []string{`If-None-Match: "x", W/` + raw}, 304, nil, map[string]string{"Etag": raw, "Vary": "Accept-Encoding", "Content-Type": ""}},
		{"star", pdbPath, []string{"If-None-Match: *"}, 304, nil, map[string]string{"Etag": raw}},
		{"known in another form", pdbPath, []string{"If-None-Match: " + gzipTag}, 200, content, with()},
		{"gzip known", pdbPath, []string{"Accept-Encoding: gzip", "If-None-Match: " + gzipTag}, 304, nil, map[string]string{"Etag": gzipTag}},
		{"cabinet", pdbCab, nil, 200, packed, with("Etag", packedTag, "Content-Length", strconv.Itoa(len(packed)))},
		{"cabinet by sendfile", pdbCab, nil, 200, packed, with("Etag", packedTag)},
		{"cabinet never encoded", pdbCab, []string{"Accept-Encoding: gzip"}, 200, packed, with("Etag", packedTag)},
		{"cabinet range", pdbCab, []string{"Range: bytes=1000-1999"}, 206, packed[1000:2000], with("Content-Range", fmt.Sprintf("bytes 1000-1999/%d", len(packed)))},
		{"maxsize elsewhere", pdbPath, []string{"X-DEBUGINFOD-MAXSIZE: 1"}, 200, content, with()},
		{"build id", exePath, nil, 200, noise(70000, 2), with("X-Debuginfod-Size", "70000", "X-Debuginfod-File", "app", "Etag", `"`+exe.Digest.String()+`"`)},
		{"build id, slash", exePath + "/", nil, 200, noise(70000, 2), with("X-Debuginfod-Size", "70000")},
		{"elf by store path", elfStore, nil, 200, noise(70000, 2), with()},
		{"too large", exePath, []string{"X-DEBUGINFOD-MAXSIZE: 69999"}, 406, nil, map[string]string{"Content-Length": "0"}},
		{"not too large", exePath, []string{"X-DEBUGINFOD-MAXSIZE: 70000"}, 200, noise(70000, 2), with("X-Debuginfod-Size", "70000")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := ask(t, addr, "GET", tt.path, tt.lines...)
			a.want(t, tt.status, tt.body, tt.headers)
			if tt.status == 200 && a.Header.Get("Content-Range") != "" {
				t.Errorf("header Content-Range = %q, want none", a.Header.Get("Content-Range"))
			}
		})
	}
}

// TestHead compares HEAD with GET header by header, for every form of an answer.
func TestHead(t *testing.T) {
	w := newWorld(t)
	w.add(t, "foo.pdb", noise(1<<20+5, 1), pdbKey)
	w.add(t, "app", noise(5000, 2), exeKey)
	addr := start(t, testConfig(), w.public(t))
	for _, path := range []string{pdbPath, pdbCab, exePath, "/nothing/here", "/", "/pingme.txt", "/index2.txt", "/symbols/", "/readyz"} {
		for _, lines := range [][]string{nil, {"Accept-Encoding: gzip"}, {"X-DEBUGINFOD-MAXSIZE: 10"}} {
			get, head := ask(t, addr, "GET", path, lines...), ask(t, addr, "HEAD", path, lines...)
			get.Header.Del("Date")
			head.Header.Del("Date")
			if g, h := fmt.Sprint(get.StatusCode, get.Header), fmt.Sprint(head.StatusCode, head.Header); g != h {
				t.Errorf("HEAD %s %v = %s, want %s as GET", path, lines, h, g)
			}
			if len(head.body) > 0 || head.Header.Get("Content-Length") == "" {
				t.Errorf("HEAD %s %v: %d bytes of body, content length %q", path, lines, len(head.body), head.Header.Get("Content-Length"))
			}
		}
	}
}

// TestHeaderNames has names spelled as their specifications do.
func TestHeaderNames(t *testing.T) {
	w := newWorld(t)
	w.add(t, "app", noise(5000, 2), exeKey)
	c := dial(t, start(t, testConfig(), w.public(t)))
	c.send(t, request("GET", exePath, "Connection: close"))
	head, _, _ := strings.Cut(string(must(io.ReadAll(c.r))), "\r\n\r\n")
	for _, name := range []string{"ETag", "X-DEBUGINFOD-SIZE", "X-DEBUGINFOD-FILE", "Content-Length", "Content-Type", "Cache-Control"} {
		if !strings.Contains(head, "\r\n"+name+": ") {
			t.Errorf("answer has no %s:\n%s", name, head)
		}
	}
}

func TestGzip(t *testing.T) {
	w := newWorld(t)
	content := noise(2<<20+77, 3)
	pdb := w.add(t, "foo.pdb", content, pdbKey)
	addr := start(t, testConfig(), w.public(t))
	a := ask(t, addr, "GET", pdbPath, "Accept-Encoding: deflate, gzip, br, zstd")
	info := w.info(t, pdb)
	a.want(t, 200, a.body, map[string]string{
		"Content-Encoding": "gzip", "Content-Length": strconv.FormatInt(info.GzipSize, 10), "Vary": "Accept-Encoding",
		"Etag": fmt.Sprintf(`"%s.%x"`, pdb.Digest, info.PackedSHA256), "Accept-Ranges": "",
	})
	z, err := gzip.NewReader(bytes.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, content) {
		t.Errorf("gunzip = %d bytes and %v, want the %d of the file", len(got), err, len(content))
	}
	head := ask(t, addr, "HEAD", pdbPath, "Accept-Encoding: gzip", "Range: bytes=0-5")
	head.want(t, 200, nil, map[string]string{"Content-Encoding": "gzip", "Content-Length": strconv.FormatInt(info.GzipSize, 10)})
}

// TestGzipThatGrows: bytes that do not shrink are served as they are.
func TestGzipThatGrows(t *testing.T) {
	w := newWorld(t)
	content := make([]byte, 300000)
	rand.NewChaCha8([32]byte{1}).Read(content)
	pdb := w.add(t, "foo.pdb", content, pdbKey)
	if i := w.info(t, pdb); i.GzipSize < i.RawSize {
		t.Fatalf("random bytes shrank from %d to %d", i.RawSize, i.GzipSize)
	}
	addr := start(t, testConfig(), w.public(t))
	ask(t, addr, "GET", pdbPath, "Accept-Encoding: gzip").want(t, 200, content, map[string]string{"Content-Encoding": ""})
}

// TestCabinetUnderAnotherName: the head is rebuilt, the bytes after it are not,
// and the tag is another one.
func TestCabinetUnderAnotherName(t *testing.T) {
	w := newWorld(t)
	content := noise(1<<20+99, 4)
	stored := w.add(t, "app.debug", content, pdbKey, dbgKey, symKey)
	addr := start(t, testConfig(), w.public(t))
	for _, tt := range []struct{ path, member string }{
		{pdbCab, "foo.pdb"},
		{strings.ReplaceAll(pdbCab, "foo", "FOO"), "FOO.pdb"},
		{"/_.debug/elf-buildid-sym-" + buildID + "/_.debu_", "app.debug"},
		{"/foo.pdb/497B72F6390A44FC878E5A2D63B6CC4B1/foo.sy_", "foo.sym"},
	} {
		a := ask(t, addr, "GET", tt.path)
		r, err := cab.Open(bytes.NewReader(a.body), int64(len(a.body)))
		if err != nil {
			t.Errorf("GET %s: status %d: %v", tt.path, a.StatusCode, err)
			continue
		}
		if i := r.Info(); i.Name != tt.member || catalog.Digest(i.RawSHA256) != stored.Digest || a.Header.Get("ETag") != fmt.Sprintf(`"%x"`, i.PackedSHA256) {
			t.Errorf("GET %s: member %q, tag %s, want %q and %x", tt.path, i.Name, a.Header.Get("ETag"), tt.member, i.PackedSHA256)
		}
		if got, err := io.ReadAll(r.Range(0, r.Info().RawSize)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("GET %s: unpacks to %d bytes and %v, want the file", tt.path, len(got), err)
		}
	}
}

// TestSources serves a source file by each path that means it, as the file that it is.
func TestSources(t *testing.T) {
	w := newWorld(t)
	content := []byte(strings.Repeat("int x;\n", 100))
	stored := w.add(t, "a b+c.c", content, symid.SourceKey(must(symid.ParseBuildID(buildID)), "/srv/a b+c.c"))
	addr := start(t, testConfig(), w.public(t))
	for _, path := range []string{"/srv/a%20b+c.c", "//srv/a%20b%2Bc.c", "/x/../srv/./a%20b+c.c", "%2Fsrv%2Fa%20b+c.c"} {
		for _, again := range []string{"first", "from what is remembered"} {
			t.Run(path+" "+again, func(t *testing.T) {
				ask(t, addr, "GET", "/buildid/"+buildID+"/source"+path).want(t, 200, content, map[string]string{
					"X-Debuginfod-Size": "700", "X-Debuginfod-File": "a b+c.c", "Etag": `"` + stored.Digest.String() + `"`,
				})
			})
		}
	}
	for _, path := range []string{"/srv/A%20b+c.c", "/srv", "/srv/a%20b%20c.c", "/etc/passwd", "/srv/../../../etc/passwd"} {
		ask(t, addr, "GET", "/buildid/"+buildID+"/source"+path).want(t, 404, nil, nil)
	}
}

func TestMisses(t *testing.T) {
	w := newWorld(t)
	w.add(t, "foo.pdb", noise(100, 1), pdbKey)
	addr := start(t, testConfig(), w.public(t))
	for _, tt := range []struct{ method, path string }{
		{"GET", "/bar.pdb/497B72F6390A44FC878E5A2D63B6CC4B1/bar.pdb"},
		{"GET", "/bar.pdb/497B72F6390A44FC878E5A2D63B6CC4B1/bar.pd_"},
		{"GET", "/foo.pdb/497B72F6390A44FC878E5A2D63B6CC4B1/file.ptr"},
		{"GET", "/index2.txt"}, {"GET", "//index2.txt"}, {"GET", "/symbols/index2.txt"},
		{"GET", "/favicon.ico"}, {"GET", "/ui"}, {"GET", "/metadata?key=glob&value=/usr/*"},
		{"GET", "/buildid/" + buildID + "/debuginfo"}, {"GET", "/buildid/zz00/debuginfo"}, {"GET", "/buildid/abc/debuginfo"},
		{"GET", "/buildid//debuginfo"}, {"GET", "/buildid/" + buildID}, {"GET", "/buildid/" + buildID + "/bogus"},
		{"GET", "/buildid/" + buildID + "/source/"}, {"GET", "/buildid/" + buildID + "/source/srv/a%20b/../x.c"},
		{"GET", "/buildid/" + buildID + "/section/.debug_info"},
		{"GET", "/../../etc/passwd"}, {"GET", "/%2e%2e/%2e%2e/etc/passwd"}, {"GET", `/..\..\x/1/..\..\x`},
		{"GET", "/foo.pdb/../foo.pdb"}, {"GET", "/%zz/1/%zz"}, {"GET", "/a%00b/1/a%00b"}, {"GET", "/a#b/12345678abc/a#b"},
		{"GET", "/" + strings.Repeat("a", 5000)},
		{"POST", pdbPath}, {"PUT", pdbPath}, {"DELETE", pdbPath}, {"OPTIONS", "*"}, {"BREW", "/"}, {"POST", "/livez"},
		{"GET", "/peer/v1/status"}, {"POST", "/peer/v1/join"},
		{"HEAD", "/bar.pdb/497B72F6390A44FC878E5A2D63B6CC4B1/bar.pdb"},
	} {
		lines := []string{}
		if tt.method == "POST" || tt.method == "PUT" {
			lines = append(lines, "Content-Length: 0")
		}
		a := ask(t, addr, tt.method, tt.path, lines...)
		if a.StatusCode != 404 || len(a.body) > 0 || a.Header.Get("Content-Length") != "0" || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "" {
			t.Errorf("%s %.80s = %d %q %v, want an empty 404", tt.method, tt.path, a.StatusCode, clip(a.body), a.Header)
		}
	}
}

func TestRoots(t *testing.T) {
	addr := start(t, testConfig(), newWorld(t).public(t))
	for _, path := range []string{"/", "//", "/pingme.txt", "/symbols", "/symbols/", "/symbols/pingme.txt", "/?x=1"} {
		ask(t, addr, "GET", path).want(t, 200, []byte("symkeep test\n"), map[string]string{"Location": ""})
	}
}

// TestNobodyCanTell: without an authority there is no answer at all.
func TestNobodyCanTell(t *testing.T) {
	w := newWorld(t)
	w.add(t, "foo.pdb", noise(100, 1), pdbKey)
	addr := start(t, testConfig(), w.public(t))
	for _, err := range []error{catalog.ErrUnavailable, errors.New("disk on fire")} {
		w.set(func() { w.locateErr = err })
		for _, path := range []string{pdbPath, pdbCab, exePath, "/buildid/" + buildID + "/section/.text"} {
			wantReset(t, addr, "GET", path)
			wantReset(t, addr, "HEAD", path)
		}
	}
	w.set(func() { w.locateErr, w.panics = nil, true })
	wantReset(t, addr, "GET", pdbPath)
	w.set(func() { w.panics = false })
	ask(t, addr, "GET", pdbPath).want(t, 200, noise(100, 1), nil)
}

// TestUnreachedBytes: a known key waits for its bytes, and no header goes out
// before they are there.
func TestUnreachedBytes(t *testing.T) {
	w := newWorld(t)
	content := noise(5000, 1)
	w.add(t, "foo.pdb", content, pdbKey)
	w.openErr = func(n int) error {
		if n < 4 {
			return catalog.ErrUnavailable
		}
		return nil
	}
	addr := start(t, testConfig(), w.public(t))
	ask(t, addr, "GET", pdbPath).want(t, 200, content, nil)
	w.set(func() {
		if w.opens != 4 {
			t.Errorf("%d attempts, want 4", w.opens)
		}
	})

	cfg := testConfig()
	cfg.ReachTimeout = 1
	w.set(func() { w.openErr = func(int) error { return catalog.ErrNotFound } }) // retired under our hands
	addr = start(t, cfg, w.public(t))
	wantReset(t, addr, "GET", pdbPath)
}

// flip damages one byte of a packed file.
func flip(t *testing.T, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x40
	if _, err := f.WriteAt(b[:], off); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedStart: where the first group is bad, another copy is asked for
// before anything is sent.
func TestDamagedStart(t *testing.T) {
	for _, path := range []string{pdbPath, pdbCab} {
		for _, lines := range [][]string{nil, {"Accept-Encoding: gzip"}, {"Range: bytes=100000-100020"}} {
			w := newWorld(t)
			content := noise(2<<20, 1)
			pdb := w.add(t, "foo.pdb", content, pdbKey)
			good := must(os.ReadFile(w.path(pdb.Digest)))
			other := w.path(pdb.Digest) + ".other"
			if err := os.WriteFile(other, good, 0o600); err != nil {
				t.Fatal(err)
			}
			want := ask(t, start(t, testConfig(), w.public(t)), "GET", path, lines...)
			w.set(func() { w.other[pdb.Digest] = other })
			flip(t, w.path(pdb.Digest), 4000)

			got := ask(t, start(t, testConfig(), w.public(t)), "GET", path, lines...)
			got.want(t, want.StatusCode, want.body, map[string]string{"ETag": want.Header.Get("ETag")})
			if got := w.suspected(); len(got) != 1 || got[0] != pdb.Digest {
				t.Errorf("GET %s %v: suspects = %v, want %v", path, lines, got, pdb.Digest)
			}
		}
	}
}

// TestDamagedMiddle: once the header is out, a bad group ends in a reset, never in
// an orderly close that looks like a file.
func TestDamagedMiddle(t *testing.T) {
	for _, path := range []string{pdbPath, pdbCab} {
		for _, line := range []string{"Accept: */*", "Accept-Encoding: gzip"} {
			w := newWorld(t)
			content := noise(8<<20, 1)
			pdb := w.add(t, "foo.pdb", content, pdbKey)
			flip(t, w.path(pdb.Digest), w.info(t, pdb).PackedSize*3/4)
			addr := start(t, testConfig(), w.public(t))
			c := dial(t, addr)
			c.send(t, request("GET", path, line))
			a, err := c.receive("GET")
			if !errors.Is(err, syscall.ECONNRESET) || a.StatusCode != http.StatusOK {
				t.Errorf("GET %s (%s): status %d, %d bytes and %v, want 200 and a reset", path, line, a.StatusCode, len(a.body), err)
			}
			if got := w.suspected(); len(got) != 1 {
				t.Errorf("GET %s (%s): suspects = %v, want one", path, line, got)
			}
			if path == pdbPath && !bytes.HasPrefix(content, a.body) && line == "Accept: */*" {
				t.Errorf("GET %s: the bytes before the reset are not those of the file", path)
			}
		}
	}
}

// TestVerifiedFileChanges: a file that was checked and is then replaced, or changed
// in place with its old time put back, is checked again instead of being sent
// blindly.
func TestVerifiedFileChanges(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path string){
		"replaced": func(t *testing.T, path string) {
			if err := os.WriteFile(path+".tmp", must(os.ReadFile(path)), 0o600); err != nil {
				t.Fatal(err)
			}
			flip(t, path+".tmp", 5000)
			if err := os.Rename(path+".tmp", path); err != nil {
				t.Fatal(err)
			}
		},
		"in place": func(t *testing.T, path string) {
			if runtime.GOOS != "linux" {
				t.Skip("only Linux is asked when a file really changed")
			}
			old := must(os.Stat(path)).ModTime()
			flip(t, path, 5000)
			if err := os.Chtimes(path, time.Time{}, old); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			pdb := w.add(t, "foo.pdb", noise(2<<20, 1), pdbKey)
			packed := must(os.ReadFile(w.path(pdb.Digest)))
			addr := start(t, testConfig(), w.public(t))
			for range 2 {
				ask(t, addr, "GET", pdbCab).want(t, 200, packed, nil)
			}
			change(t, w.path(pdb.Digest))
			wantReset(t, addr, "GET", pdbCab)
			if len(w.suspected()) == 0 {
				t.Error("no suspect, want the damaged copy")
			}
		})
	}
}

// TestRemote: nothing depends on a local file.
func TestRemote(t *testing.T) {
	w := newWorld(t)
	content := noise(3<<20, 1)
	pdb := w.add(t, "foo.pdb", content, pdbKey)
	w.remote = true
	packed := must(os.ReadFile(w.path(pdb.Digest)))
	addr := start(t, testConfig(), w.public(t))
	for range 2 {
		ask(t, addr, "GET", pdbPath).want(t, 200, content, nil)
		ask(t, addr, "GET", pdbCab).want(t, 200, packed, nil)
		ask(t, addr, "GET", pdbCab, "Range: bytes=100-").want(t, 206, packed[100:], nil)
	}
}

var _ symhttp.Blobs = (*world)(nil)
