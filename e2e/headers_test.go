package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestAnswers asks as curl does, the library below several debuggers, a node that
// was not pushed to.
func TestAnswers(t *testing.T) {
	t.Parallel()
	need(t, "curl")
	f := newFixture(t, "answers")
	c := newCluster(t, 3, nil)
	code, result := push(t, c.nodes[1].url(), "answers", f.path("good"))
	if code != 0 {
		t.Fatalf("push = exit %d, want 0: %+v", code, result)
	}
	a := &asking{fixture: f, nodes: c.nodes, base: c.nodes[0].url(), served: map[string][]byte{}}
	for _, file := range result.Files {
		for _, k := range file.Keys {
			a.served["/"+k] = f.read(t, "good", file.Path)
		}
	}
	t.Run("every key", a.keys)
	t.Run("spellings", a.spellings)
	t.Run("head", a.head)
	t.Run("ranges", a.ranges)
	t.Run("entity tags", a.entityTags)
	t.Run("encodings", a.encodings)
	t.Run("sections", a.sections)
	t.Run("debuginfod headers", a.debuginfodHeaders)
	t.Run("misses", a.misses)
	t.Run("roots", a.roots)
}

// asking is a client of one node of a cluster that serves a fixture.
type asking struct {
	fixture
	nodes  []*node
	base   string
	served map[string][]byte // bytes behind each lookup path
}

// An answer is what curl got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// curl sends one request and follows nothing.
func (a *asking) curl(t *testing.T, path string, flags ...string) answer {
	t.Helper()
	return curl(t, a.base+path, flags...)
}

func curl(t *testing.T, url string, flags ...string) answer {
	t.Helper()
	dir := t.TempDir()
	head, body := filepath.Join(dir, "head"), filepath.Join(dir, "body")
	args := append([]string{"-sS", "--path-as-is", "-D", head, "-o", body}, flags...)
	if r := command(t, time.Minute, "curl", append(args, url)...); r.code != 0 {
		t.Fatalf("curl %v %s: exit %d: %s", flags, url, r.code, r.stderr)
	}
	h, err := os.ReadFile(head)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(h)), &http.Request{Method: http.MethodHead})
	if err != nil {
		t.Fatalf("curl %v %s: header %q: %v", flags, url, h, err)
	}
	b, err := os.ReadFile(body)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// want checks status and body, and that the length was announced.
func (g answer) want(t *testing.T, what string, status int, body []byte) {
	t.Helper()
	if g.status != status || !bytes.Equal(g.body, body) {
		t.Errorf("%s = %d with %d bytes, want %d with %d", what, g.status, len(g.body), status, len(body))
	}
	if got := g.header.Get("Content-Length"); status != http.StatusNotModified && got != strconv.Itoa(len(body)) {
		t.Errorf("%s: Content-Length %q, want %d", what, got, len(body))
	}
}

// keys asks every node for every key that the push printed.
func (a *asking) keys(t *testing.T) {
	forms := map[string]bool{}
	for path, want := range a.served {
		for _, n := range a.nodes {
			got := curl(t, n.url()+path)
			got.want(t, n.name+path, http.StatusOK, want)
			if ct := got.header.Get("Content-Type"); ct != "application/octet-stream" {
				t.Errorf("%s%s: Content-Type %q, want application/octet-stream", n.name, path, ct)
			}
		}
		for _, form := range []string{"buildid/", "_.debug/elf-buildid-sym-", "app/elf-buildid-", ".sym", "app.pdb/", "app.exe/"} {
			forms[form] = forms[form] || strings.Contains(path, form)
		}
	}
	for form, seen := range forms {
		if !seen {
			t.Errorf("no key of the form %q among %v", form, a.served)
		}
	}
}

// spellings are what clients are known to send for a key; none is redirected.
func (a *asking) spellings(t *testing.T) {
	pdb, sym := a.ids["PDB_KEY"], a.ids["SYM_KEY"]
	buildID := a.ids["BUILD_ID"]
	for _, tt := range []struct {
		path, key string
		flags     []string
	}{
		{path: "/" + strings.ToLower(pdb), key: pdb},
		{path: "/" + strings.ToUpper(pdb), key: pdb},
		{path: "/" + strings.ToLower(sym), key: sym},
		{path: "//" + strings.ReplaceAll(pdb, "/", "//"), key: pdb},
		{path: "/symbols/" + pdb, key: pdb},
		{path: "/Symbols//" + pdb, key: pdb},
		{path: "/ap/" + pdb, key: pdb},
		{path: "/symbols/ap/" + pdb, key: pdb},
		{path: "/" + strings.Replace(pdb, "app", "%61%70p", 1), key: pdb},
		{path: "/" + sym + "?code_file=app&code_id=X", key: sym},
		{path: "/" + pdb, key: pdb, flags: []string{"--http2"}}, // Upgrade: h2c
		{path: "/C%3A%5Cbuild%5C" + pdb, key: pdb},              // a full Windows path for a name
		{path: "/buildid/" + strings.ToUpper(buildID) + "/debuginfo", key: "buildid/" + buildID + "/debuginfo"},
		{path: "//buildid/" + buildID + "/executable", key: "buildid/" + buildID + "/executable"},
		{path: "/_.debug/elf-buildid-sym-" + strings.ToUpper(buildID) + "/_.debug", key: "buildid/" + buildID + "/debuginfo"},
		{path: "/app/ELF-BuildID-" + buildID + "/APP", key: "buildid/" + buildID + "/executable"},
	} {
		want, ok := a.served["/"+tt.key]
		if !ok {
			t.Fatalf("no key %s was pushed", tt.key)
		}
		a.curl(t, tt.path, tt.flags...).want(t, "GET "+tt.path, http.StatusOK, want)
	}
}

func (a *asking) head(t *testing.T) {
	for path, want := range a.served {
		got := a.curl(t, path, "-I", "-H", "Accept-Encoding: identity")
		if n := got.header.Get("Content-Length"); got.status != http.StatusOK || n != strconv.Itoa(len(want)) || got.header.Get("Accept-Ranges") != "bytes" {
			t.Errorf("HEAD %s = %d, Content-Length %q, Accept-Ranges %q, want 200, %d, bytes", path, got.status, n, got.header.Get("Accept-Ranges"), len(want))
		}
		if cc := got.header.Get("Cache-Control"); cc != "public, max-age=86400" {
			t.Errorf("HEAD %s: Cache-Control %q", path, cc)
		}
	}
	if got := a.curl(t, "/app.pdb/000000000000000000000000000000001/app.pdb", "-I"); got.status != http.StatusNotFound {
		t.Errorf("HEAD of an unknown key = %d, want 404", got.status)
	}
}

func (a *asking) ranges(t *testing.T) {
	path := "/" + a.ids["PDB_KEY"]
	cab := path[:len(path)-1] + "_"
	packed := a.curl(t, cab).body
	for _, tt := range []struct {
		path   string
		all    []byte
		set    string
		status int
		off, n int
	}{
		{path, a.served[path], "0-5", 206, 0, 6},
		{path, a.served[path], "0-0", 206, 0, 1},
		{path, a.served[path], "40000-40999", 206, 40000, 1000},
		{path, a.served[path], "70000-", 206, 70000, len(a.served[path]) - 70000},
		{path, a.served[path], "-4", 206, len(a.served[path]) - 4, 4},
		{path, a.served[path], "0-134217727", 206, 0, len(a.served[path])},
		{path, a.served[path], "0-1,4-5", 200, 0, len(a.served[path])}, // allowed, and what clients cope with
		{path, a.served[path], fmt.Sprint(len(a.served[path]), "-"), 416, 0, 0},
		{"/" + a.ids["SYM_KEY"], a.served["/"+a.ids["SYM_KEY"]], "0-5", 206, 0, 6},
		{cab, packed, "0-3", 206, 0, 4},
		{cab, packed, "100-199", 206, 100, 100},
	} {
		got := a.curl(t, tt.path, "-H", "Range: bytes="+tt.set)
		got.want(t, "Range "+tt.set+" of "+tt.path, tt.status, tt.all[tt.off:tt.off+tt.n])
		want := ""
		switch tt.status {
		case 206:
			want = fmt.Sprintf("bytes %d-%d/%d", tt.off, tt.off+tt.n-1, len(tt.all))
		case 416:
			want = fmt.Sprintf("bytes */%d", len(tt.all))
		}
		if cr := got.header.Get("Content-Range"); cr != want {
			t.Errorf("Range %s of %s: Content-Range %q, want %q", tt.set, tt.path, cr, want)
		}
	}
	tag := a.curl(t, path, "-I").header.Get("ETag")
	a.curl(t, path, "-H", "Range: bytes=0-5", "-H", "If-Range: "+tag).want(t, "If-Range that holds", 206, a.served[path][:6])
	a.curl(t, path, "-H", "Range: bytes=0-5", "-H", `If-Range: "other"`).want(t, "If-Range that does not hold", 200, a.served[path])
}

// entityTags name the bytes: three forms of a file have three, and every node has
// the same.
func (a *asking) entityTags(t *testing.T) {
	path := "/" + a.ids["PDB_KEY"]
	tags := map[string]bool{}
	for _, form := range []struct {
		path  string
		flags []string
	}{
		{path, []string{"-H", "Accept-Encoding: identity"}},
		{path, []string{"-H", "Accept-Encoding: gzip"}},
		{path[:len(path)-1] + "_", nil},
	} {
		var tag string
		for _, n := range a.nodes {
			got := curl(t, n.url()+form.path, append([]string{"-I"}, form.flags...)...).header
			if tag == "" {
				tag = got.Get("ETag")
			}
			if got.Get("ETag") != tag || !strings.HasPrefix(tag, `"`) || got.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s %s %v: ETag %s, Vary %q, want %s as elsewhere and Accept-Encoding", n.name, form.path, form.flags, got.Get("ETag"), got.Get("Vary"), tag)
			}
		}
		got := a.curl(t, form.path, append([]string{"-H", "If-None-Match: \"x\", " + tag}, form.flags...)...)
		got.want(t, "If-None-Match of "+form.path, http.StatusNotModified, nil)
		if got.header.Get("ETag") != tag {
			t.Errorf("304 of %s has ETag %s, want %s", form.path, got.header.Get("ETag"), tag)
		}
		for other := range tags {
			if got := a.curl(t, form.path, append([]string{"-H", "If-None-Match: " + other}, form.flags...)...); got.status != http.StatusOK {
				t.Errorf("If-None-Match of %s with the tag of another form = %d, want 200", form.path, got.status)
			}
		}
		tags[tag] = true
	}
	if len(tags) != 3 {
		t.Errorf("three forms share entity tags: %v", tags)
	}
}

func (a *asking) encodings(t *testing.T) {
	for _, path := range []string{"/" + a.ids["PDB_KEY"], "/" + a.ids["SYM_KEY"], "/buildid/" + a.ids["BUILD_ID"] + "/debuginfo"} {
		want := a.served[path]
		for accept, zipped := range map[string]bool{
			"gzip": true, "deflate, gzip, br, zstd": true, "gzip;q=0.5": true,
			"identity": false, "gzip;q=0": false, "*": false, "br": false,
		} {
			got := a.curl(t, path, "-H", "Accept-Encoding: "+accept)
			body := got.body
			if encoding := got.header.Get("Content-Encoding"); (encoding == "gzip") != zipped || (encoding == "") == zipped {
				t.Errorf("GET %s accepting %q: Content-Encoding %q, want gzip: %v", path, accept, encoding, zipped)
				continue
			}
			got.want(t, "GET "+path+" accepting "+accept, http.StatusOK, body) // the length as sent
			if zipped {
				body = gunzip(t, body)
			}
			if !bytes.Equal(body, want) {
				t.Errorf("GET %s accepting %q: %d bytes after decoding, want the %d pushed", path, accept, len(body), len(want))
			}
		}
	}
}

func gunzip(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Errorf("gzip answer of %d bytes: %v", len(b), err)
		return nil
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Errorf("gzip answer of %d bytes: %v", len(b), err)
	}
	return out
}

func (a *asking) sections(t *testing.T) {
	d := &debugging{fixture: a.fixture}
	base := "/buildid/" + a.ids["BUILD_ID"] + "/section/"
	a.curl(t, base+".debug_info").want(t, "section .debug_info", 200, d.section(t, "app.debug", ".debug_info"))
	a.curl(t, base+".text").want(t, "section .text, which the debug file has not", 200, d.section(t, "app", ".text"))
	for _, name := range []string{".none", ".TEXT", ".bss", "", ".text/x"} {
		a.wantMiss(t, base+name)
	}
}

func (a *asking) debuginfodHeaders(t *testing.T) {
	path := "/buildid/" + a.ids["BUILD_ID"] + "/debuginfo"
	size := len(a.served[path])
	got := a.curl(t, path)
	if h := got.header; h.Get("X-DEBUGINFOD-SIZE") != strconv.Itoa(size) || h.Get("X-DEBUGINFOD-FILE") != "app.debug" {
		t.Errorf("GET %s: X-DEBUGINFOD-SIZE %q, -FILE %q, want %d, app.debug", path, h.Get("X-DEBUGINFOD-SIZE"), h.Get("X-DEBUGINFOD-FILE"), size)
	}
	a.curl(t, path, "-H", "X-DEBUGINFOD-MAXSIZE: "+strconv.Itoa(size)).want(t, "MAXSIZE of just the size", 200, a.served[path])
	if got := a.curl(t, path, "-H", "X-DEBUGINFOD-MAXSIZE: "+strconv.Itoa(size-1)); got.status != http.StatusNotAcceptable {
		t.Errorf("MAXSIZE of one byte less = %d, want 406", got.status)
	}
}

// wantMiss checks that a path is a plain miss, whatever is wrong with it: some
// clients switch a server off that answers anything else, and store any body.
func (a *asking) wantMiss(t *testing.T, path string, flags ...string) {
	t.Helper()
	got := a.curl(t, path, flags...)
	if got.status != http.StatusNotFound || len(got.body) != 0 || got.header.Get("Content-Length") != "0" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("GET %s %v = %d with %d bytes, Content-Length %q, Cache-Control %q, want an empty 404 that nobody keeps",
			path, flags, got.status, len(got.body), got.header.Get("Content-Length"), got.header.Get("Cache-Control"))
	}
}

func (a *asking) misses(t *testing.T) {
	pdb := a.ids["PDB_KEY"]
	dir := pdb[:strings.LastIndex(pdb, "/")]
	for _, path := range []string{
		"/index2.txt", "/symbols/index2.txt", "/000Admin/server.txt", "/favicon.ico", "/robots.txt",
		"/" + dir + "/file.ptr", "/" + dir + "/", "/" + dir, "/" + dir + "/other.pdb",
		"/app.pdb/000000000000000000000000000000001/app.pdb", "/app.pdb/x/app.pdb", "/other" + pdb[3:],
		"/zz/" + pdb, "/ap/zz/" + pdb,
		"/overflow/000000000000000000000000000000000/overflow.sym",
		"/buildid/" + strings.Repeat("0", 40) + "/debuginfo", "/buildid/zz/debuginfo", "/buildid/" + a.ids["BUILD_ID"] + "/other",
		"/buildid/" + a.ids["BUILD_ID"] + "/source/usr/src/app.c", "/buildid/" + a.ids["BUILD_ID"], "/buildid/",
		"/../../../../etc/passwd", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2f..%2fetc%2fpasswd", "/app.pdb/../app.pdb",
		"/buildid/../../etc/passwd", "/buildid/" + a.ids["BUILD_ID"] + "/section/../../../fsm.db", "/%00", "/%zz", "/a%", "/" + strings.Repeat("a", 3000),
		"/a/b/c/d/e/f/g", "/app.pdb/" + strings.Repeat("F", 2000) + "/app.pdb",
	} {
		a.wantMiss(t, path)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PROPFIND"} {
		a.wantMiss(t, "/"+pdb, "-X", method)
	}
}

func (a *asking) roots(t *testing.T) {
	for _, path := range []string{"/", "/symbols", "/symbols/", "/pingme.txt", "/symbols/pingme.txt", "/livez", "/readyz", "/readyz?for=ingest"} {
		if got := a.curl(t, path); got.status != http.StatusOK {
			t.Errorf("GET %s = %d, want 200: %s", path, got.status, got.body)
		}
	}
	got := a.curl(t, "/metrics")
	if got.status != http.StatusOK || !bytes.Contains(got.body, []byte("# TYPE symkeep_")) {
		t.Errorf("GET /metrics = %d, want 200 and series of symkeep:\n%s", got.status, tail(got.body, 500))
	}
}
