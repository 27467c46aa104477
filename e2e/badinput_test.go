package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// TestUsage covers what the command line alone shows to be wrong: exit status 2,
// a message on standard error, nothing on standard output.
func TestUsage(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	node := func(args ...string) []string {
		return append([]string{"node", "--data-dir", filepath.Join(empty, "never")}, args...)
	}
	push := func(args ...string) []string {
		return append([]string{"push", "--server", "http://127.0.0.1:1", "--product", "p", "--version", "1"}, args...)
	}
	for _, tt := range []struct {
		name string
		args []string
		says string
	}{
		{"no command", nil, "command"},
		{"unknown command", []string{"psuh"}, "push"},
		{"unknown subcommand", []string{"cluster", "stats"}, "status"},
		{"unknown flag", push("--colour", "red", "x"), "--colour"},
		{"bad value", push("--timeout", "soon", "x"), "soon"},
		{"no path", push(), "PATH"},
		{"missing path", push(filepath.Join(empty, "gone")), "no such file"},
		{"empty folder", push(empty), empty},
		{"no server", []string{"push", "--product", "p", "--version", "1", "x"}, "server"},
		{"bad server", []string{"push", "--server", "ftp://x", "--product", "p", "--version", "1", "x"}, "ftp://x"},
		{"no product", []string{"push", "--server", "http://127.0.0.1:1", "--version", "1", empty}, "product"},
		{"bad label", push("--label", "x", "x"), "KEY=VALUE"},
		{"check without path", []string{"check"}, "PATH"},
		{"show without id", []string{"package", "show", "--server", "http://127.0.0.1:1"}, "ID"},
		{"node argument", node("extra"), "extra"},
		{"peer address beyond loopback", node("--peer-addr", "0.0.0.0:0", "--advertise", "host"), "--insecure-cluster"},
		{"gossip address beyond loopback", node("--gossip-addr", "10.0.0.1:8482"), "--insecure-cluster"},
		{"wildcard without advertise", node("--http-addr", ":0"), "--advertise"},
		{"join and found", node("--join", "127.0.0.1:1", "--new-cluster"), "join"},
		{"bad join", node("--join", "nowhere"), "nowhere"},
		{"bad name", node("--name", "a/b"), "a/b"},
		{"no replicas", node("--replicas", "0"), "replicas"},
		{"bad log level", node("--log-level", "loud"), "loud"},
	} {
		r := symkeep(t, tt.args...)
		if r.code != 2 || r.stdout != "" || !strings.Contains(r.stderr, tt.says) {
			t.Errorf("%s: symkeep %q: exit status %d, want 2 and %q on standard error alone\nstdout: %s\nstderr: %s",
				tt.name, tt.args, r.code, tt.says, r.stdout, r.stderr)
		}
		if strings.Contains(r.stderr, "goroutine ") {
			t.Errorf("%s: symkeep %q panics: %s", tt.name, tt.args, r.stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(empty, "never")); err == nil {
		t.Error("a refused node made its data directory")
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	file := makeSym(t, t.TempDir(), "lonely", 0)
	begun := time.Now()
	r := symkeep(t, "push", "--server", "http://"+freeAddr(t)+",http://"+freeAddr(t), "--product", "p", "--version", "1", file.path)
	if took := time.Since(begun); r.code != 4 || took > 5*time.Second || !strings.Contains(r.stderr, "refused") {
		t.Errorf("push to nobody: exit status %d after %v, want 4 within 5 s and why: %s", r.code, took, r.stderr)
	}
	for _, args := range [][]string{{"cluster", "status"}, {"package", "list"}, {"find", unknownKey[1:]}} {
		begun := time.Now()
		r := symkeep(t, append(args, "--server", "http://"+freeAddr(t))...)
		if took := time.Since(begun); r.code != 4 || took > 5*time.Second || !strings.Contains(r.stderr, "refused") {
			t.Errorf("%v to nobody: exit status %d after %v, want 4 within 5 s and why: %s", args, r.code, took, r.stderr)
		}
	}
}

// TestUnreadable pushes what the agent may not read, as somebody who is not root.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "symkeep-unreadable")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	prog := filepath.Join(dir, "symkeep")
	b, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	build := filepath.Join(dir, "build")
	for path, mode := range map[string]os.FileMode{dir: 0o755, build: 0o755, filepath.Join(dir, "closed"): 0o755} {
		if err := os.MkdirAll(path, mode); err != nil {
			t.Fatal(err)
		}
		os.Chmod(path, mode)
	}
	if err := os.WriteFile(prog, b, 0o755); err != nil {
		t.Fatal(err)
	}
	makeSym(t, build, "open", 0)
	locked := makeSym(t, build, "locked", 0)
	closed := makeSym(t, filepath.Join(dir, "closed"), "inside", 0)
	os.Chmod(locked.path, 0)
	os.Chmod(filepath.Dir(closed.path), 0)
	t.Cleanup(func() { os.Chmod(filepath.Dir(closed.path), 0o755) })
	link := filepath.Join(dir, "links")
	os.Mkdir(link, 0o755)
	if err := os.Symlink("nowhere.pdb", filepath.Join(link, "app.pdb")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, names, says string
	}{
		{build, locked.path, "permission denied"},
		{locked.path, locked.path, "permission denied"},
		{filepath.Dir(closed.path), filepath.Dir(closed.path), "permission denied"},
		{link, "app.pdb", "link to nothing"},
	} {
		cmd := exec.Command(prog, "push", "--server", "http://127.0.0.1:1", "--product", "p", "--version", "1", tt.path)
		if os.Getuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), tt.names) || !strings.Contains(string(out), tt.says) {
			t.Errorf("push %s: exit status %d, want 1, %q and %q: %s", tt.path, code, tt.names, tt.says, out)
		}
	}
}

func TestUnknownPackage(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	const unknown = "01AAAAAAAAAAAAAAAAAAAAAAAA"
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"package", "show", unknown}, 1, unknown},
		{[]string{"package", "retry", unknown}, 1, unknown},
		{[]string{"package", "delete", "--yes", unknown}, 1, unknown},
		{[]string{"package", "show", "../../etc"}, 1, "wanted 26 characters"},
		{[]string{"find", unknownKey[1:]}, 1, "never seen"},
		{[]string{"find", "../../etc/passwd"}, 2, "neither"},
		{[]string{"cluster", "remove", "--yes", "nobody"}, 1, "nobody"},
		{[]string{"cluster", "drain", "nobody"}, 1, "nobody"},
	} {
		r := symkeep(t, append(tt.args, "--server", c.nodes[0].url())...)
		if r.code != tt.code || !strings.Contains(r.stdout+r.stderr, tt.says) {
			t.Errorf("symkeep %q: exit status %d, want %d and %q\n%s%s", tt.args, r.code, tt.code, tt.says, r.stdout, r.stderr)
		}
	}
	noPanics(t, c)
}

// hostilePaths are tails of request paths that try to leave the tree.
var hostilePaths = []string{
	"/../../../../../../etc/passwd", "/..%2f..%2f..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
	"/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd", `/..\..\..\..\etc\passwd`, "/..%5c..%5c..%5cetc%5cpasswd",
	"/%252e%252e%252f%252e%252e%252fetc/passwd", "/..%c0%af..%c0%afetc/passwd", "//etc/passwd", "/etc/passwd%00.pdb",
	"/etc/passwd\x00.pdb", "/./././etc/passwd", "/....//....//etc/passwd", "/C:/Windows/win.ini", "/%2fetc%2fpasswd",
	"/file:///etc/passwd", "/node-id", "/../node-id", "/%2e%2e/node-id", "/~root/.profile", "/\x01\x02\xff\xfe", "/%zz%", "/%",
}

// roots are the routes the tails are put behind.
var roots = []string{
	"", "/symbols", "/x.pdb/../x.pdb", "/x.pdb/0011", "/buildid", "/buildid/0011223344556677", "/buildid/0011223344556677/section",
	"/buildid/0011223344556677/source", "/ui", "/metrics", "/livez", "/readyz", "/api", "/api/v1", "/api/v1/packages", "/api/v1/packages/01AAAAAAAAAAAAAAAAAAAAAAAA",
	"/api/v1/packages/01AAAAAAAAAAAAAAAAAAAAAAAA/blobs", "/api/v1/find", "/api/v1/cluster",
}

var peerRoots = []string{"", "/peer/v1", "/peer/v1/blobs", "/peer/v1/lookup", "/peer/v1/status", "/peer/v1/join", "/peer/v1/leave"}

// TestTraversal sends hostile paths, as raw bytes, to every route of the public
// and the peer port.
func TestTraversal(t *testing.T) {
	c := newCluster(t, 1, nil)
	n := c.nodes[0]
	res := mustPush(t, n.url(), "p", makePackage(t, c.dir, "held"))
	st, err := n.status()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := os.ReadFile(filepath.Join(n.dir, "node-id"))
	if err != nil {
		t.Fatal(err)
	}
	statuses := map[string]int{}
	ask := func(dial func() (net.Conn, error), where, method, path string) {
		answer, err := raw(dial, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", method, path))
		if err != nil {
			t.Errorf("%s: %s %q: %v", where, method, path, err)
			return
		}
		status := "none"
		if len(answer) >= 12 {
			status = answer[9:12]
		}
		statuses[status]++
		if strings.Contains(answer, "root:") || strings.Contains(answer, strings.TrimSpace(string(secret))) {
			t.Errorf("%s: %s %q: answer holds what is none of its business: %q", where, method, path, tail([]byte(answer), 300))
		}
		switch status {
		case "404", "400", "405":
		default:
			t.Errorf("%s: %s %q: status %s, want 404 or 400", where, method, path, status)
		}
	}
	for _, root := range roots {
		for _, p := range hostilePaths {
			for _, method := range []string{"GET", "HEAD", "PUT", "POST"} {
				ask(func() (net.Conn, error) { return net.Dial("tcp", n.http) }, "public", method, root+p)
			}
		}
	}
	for _, cluster := range []catalog.ClusterID{"", st.ClusterID} {
		for _, root := range peerRoots {
			for _, p := range hostilePaths {
				for _, method := range []string{"GET", "POST"} {
					ask(func() (net.Conn, error) { return api.DialPeer(t.Context(), n.peer, api.PeerHTTP, cluster) }, "peer", method, root+p)
				}
			}
		}
	}
	t.Logf("answers by status: %v", statuses)
	noPanics(t, c)
	checkServed(t, keysOf(t, res), n)
	checkMiss(t, n)
}

// raw sends bytes over a new connection and returns what comes back until its
// end; a reset is an empty answer.
func raw(dial func() (net.Conn, error), request string) (string, error) {
	conn, err := dial()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte(request)); err != nil {
		return "", nil // closed already
	}
	var answer []byte
	buf := make([]byte, 64<<10)
	for {
		k, err := conn.Read(buf)
		answer = append(answer, buf[:k]...)
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			return "", fmt.Errorf("no end after %d bytes", len(answer))
		}
		if err != nil || len(answer) > 1<<20 {
			return string(answer), nil
		}
	}
}

// TestHostileNames announces files whose paths try to leave the package.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	client, err := api.NewClient(c.nodes[0].url())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	open, err := client.Open(ctx, api.OpenRequest{IdempotencyKey: "k", Product: "p", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	add := func(path string) error {
		_, err := client.AddFiles(ctx, open.Package, api.AddFilesRequest{Files: []api.FileEntry{{Path: path, Size: 10, SHA256: catalog.Digest{1}}}})
		return err
	}
	for _, path := range []string{
		"", "/", "/abs.pdb", "../x.pdb", "a/../../x.pdb", "a/..", ".", "./x.pdb", "a//b.pdb", "a/", `C:\x.pdb`, "C:/x.pdb", `a\b.pdb`, `..\x.pdb`,
		"a\x00b.pdb", "a\nb.pdb", "a\x1b[31m.pdb", "a\x7f.pdb", strings.Repeat("a/", 600) + "x.pdb", strings.Repeat("n", 5000),
	} {
		err := add(path)
		e, ok := err.(*api.Error)
		if !ok || e.Status != 400 || e.Message == "" {
			t.Errorf("add %.40q: %v, want status 400 and why", path, err)
		}
	}
	for _, r := range []api.OpenRequest{
		{Product: "p", Version: "1"},
		{IdempotencyKey: "a", Product: "p\x00", Version: "1"},
		{IdempotencyKey: "b", Product: strings.Repeat("p", 5000), Version: "1"},
		{IdempotencyKey: "c", Product: "p", Version: "\x1b[2J"},
		{IdempotencyKey: "d", Version: "1"},
	} {
		if _, err := client.Open(ctx, r); err == nil {
			t.Errorf("open of %.60q %.20q: accepted", r.Product, r.Version)
		}
	}
	if err := add("sub/dir/x.pdb"); err != nil {
		t.Errorf("add of a plain path: %v", err)
	}
	got, err := client.Commit(ctx, open.Package, api.CommitRequest{Files: 1})
	if err != nil || got.State != catalog.StateOpen || len(got.Lacking) != 1 {
		t.Errorf("commit without an upload = %+v, %v, want the blob named as lacking", got, err)
	}
	noPanics(t, c)
}

// TestGarbage sends what is no protocol at all to every port.
func TestGarbage(t *testing.T) {
	c := newCluster(t, 3, nil)
	res := mustPush(t, urls(c.nodes...), "p", makePackage(t, c.dir, "held"))
	n := c.nodes[1]
	noise := make([]byte, 256<<10)
	seeded("noise").Read(noise)
	bodies := []string{
		string(noise), "\x00", "", "SYMK", "SYMK\x01\x01" + strings.Repeat("\x00", 26) + string(noise),
		"SYMK\x01\x02" + strings.Repeat("\x00", 26) + string(noise), "SYMK\x01\x02" + strings.Repeat("\x00", 10) + strings.Repeat("\xaa", 16) + "GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET " + strings.Repeat("/a", 100<<10) + " HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nX: " + strings.Repeat("y", 2<<20) + "\r\n\r\n",
		"POST /api/v1/packages HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n{",
		"POST /api/v1/packages HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{", "POST /api/v1/packages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\n",
		"POST /api/v1/packages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2000000\r\n\r\n" + strings.Repeat("[", 2000000),
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	}
	for kind := range byte(15) { // memberlist: the first byte is the kind of a message
		bodies = append(bodies, string(append([]byte{kind, 0xdf, 0xff, 0xff, 0xff, 0xff}, noise[:4096]...)))
	}
	for _, addr := range []string{n.http, n.peer, n.gossip} {
		for _, b := range bodies {
			conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
			if err != nil {
				t.Fatalf("dial %s: %v", addr, err)
			}
			conn.SetDeadline(time.Now().Add(2 * time.Second))
			conn.Write([]byte(b))
			conn.(*net.TCPConn).CloseWrite()
			conn.Read(make([]byte, 4096)) // whatever it is, or nothing
			conn.Close()
		}
	}
	udp, err := net.Dial("udp", n.gossip)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, b := range bodies {
		udp.Write([]byte(b)[:min(len(b), 1400)])
	}
	select {
	case <-n.done:
		t.Fatalf("%s ended", n.name)
	default:
	}
	noPanics(t, c)
	c.waitHealthy(3, 30*time.Second)
	checkServed(t, keysOf(t, res), c.nodes...)
	checkMiss(t, n)
	if rss := highWater(n.cmd.Process.Pid); rss > maxRSS {
		t.Errorf("peak RSS of %s after the garbage: %d bytes, want at most %d", n.name, rss, maxRSS)
	}
}
