package symhttp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"symkeep/internal/catalog"
	"symkeep/symhttp"
)

func TestConfigReportsEverything(t *testing.T) {
	if err := symhttp.DefaultConfig("n1").Validate(); err != nil {
		t.Errorf("DefaultConfig.Validate() = %v", err)
	}
	err := symhttp.Config{MaxConns: 3}.Validate()
	for _, want := range []string{"node name", "connections 3", "header bytes", "json bytes", "command bytes", "uploads", "minimum rate", "stream bytes", "read timeout", "drain timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v, want it to name %q", err, want)
		}
	}
	if _, err := symhttp.NewPublic(symhttp.DefaultConfig("n1"), symhttp.Public{}); err == nil {
		t.Error("NewPublic without parts = nil error")
	}
}

// TestKeepAlive: hits, misses, errors and pages follow each other on one
// connection, asked one by one and all at once.
func TestKeepAlive(t *testing.T) {
	w := newWorld(t)
	content := noise(1<<20+7, 1)
	w.add(t, "foo.pdb", content, pdbKey)
	addr := start(t, testConfig(), w.public(t))
	steps := []struct {
		method, path string
		status       int
	}{
		{"GET", "/index2.txt", 404}, {"GET", pdbPath, 200}, {"HEAD", pdbPath, 200}, {"GET", "/bar.pdb/1/file.ptr", 404},
		{"GET", "/api/v1/nope", 404}, {"GET", "/", 200}, {"HEAD", "/nope", 404}, {"GET", pdbCab, 200}, {"GET", pdbCab, 200}, {"GET", pdbPath, 200},
	}
	c := dial(t, addr)
	var all string
	for _, s := range steps {
		c.send(t, request(s.method, s.path))
		if a, err := c.receive(s.method); err != nil || a.StatusCode != s.status {
			t.Fatalf("%s %s = %v, %v, want %d", s.method, s.path, a.Response, err, s.status)
		}
		all += request(s.method, s.path)
	}
	c.send(t, all)
	for _, s := range steps {
		a, err := c.receive(s.method)
		if err != nil || a.StatusCode != s.status {
			t.Fatalf("pipelined %s %s = %v, %v, want %d", s.method, s.path, a.Response, err, s.status)
		}
		if s.path == pdbPath && s.method == "GET" && !bytes.Equal(a.body, content) {
			t.Fatalf("pipelined GET %s: %d bytes that are not the file", s.path, len(a.body))
		}
	}
}

func TestBadRequests(t *testing.T) {
	addr := start(t, testConfig(), newWorld(t).public(t))
	for _, tt := range []struct {
		name, text string
		status     int
	}{
		{"large header", request("GET", pdbPath, "X-Junk: "+strings.Repeat("x", 20<<10)), 431},
		{"long path", request("GET", "/"+strings.Repeat("x", 20<<10)), 431},
		{"fitting header", request("GET", pdbPath, "X-Junk: "+strings.Repeat("x", 12<<10)), 404},
		{"control character", "GET /a\x01b/1/a\x01b HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		{"two lengths", request("POST", "/api/v1/packages", "Content-Length: 3", "Content-Length: 4") + "{} ", 400},
		{"old", "GET " + pdbPath + " HTTP/1.0\r\n\r\n", 404},
		{"slashes, no host", "GET //index2.txt HTTP/1.0\r\n\r\n", 404},
	} {
		c := dial(t, addr)
		c.send(t, tt.text)
		a, err := c.receive("GET")
		if err != nil || a.StatusCode != tt.status || len(a.body) > 0 {
			t.Errorf("%s = %v %q, %v, want an empty %d", tt.name, a.Response, a.body, err, tt.status)
		}
	}
}

// TestBothFramings: a request that could be read in two ways is read in one, and
// nothing else is read from its connection.
func TestBothFramings(t *testing.T) {
	addr := start(t, testConfig(), newWorld(t).public(t))
	c := dial(t, addr)
	c.send(t, request("POST", "/api/v1/packages", "Content-Length: 300", "Transfer-Encoding: chunked")+"2\r\n{}\r\n0\r\n\r\n"+request("GET", "/"))
	a, err := c.receive("POST")
	if err != nil || a.StatusCode != 200 || !a.Close {
		t.Fatalf("POST = %v, %v, want 200 and Connection: close", a.Response, err)
	}
	if a, err := c.receive("GET"); err == nil {
		t.Errorf("what follows was answered: %v", a.Response)
	}
}

func TestPanic(t *testing.T) {
	w := newWorld(t)
	w.upload = func(symhttp.Upload, io.Reader) (catalog.Receipt, error) { panic("staging broke") }
	addr := start(t, testConfig(), w.public(t))
	c := dial(t, addr)
	c.send(t, request("PUT", blobPath(), "Content-Length: 4")+"blob")
	a, err := c.receive("PUT")
	if err != nil || a.StatusCode != 500 || !bytes.Contains(a.body, []byte(`"code":"internal"`)) || bytes.Contains(a.body, []byte("staging")) {
		t.Errorf("PUT = %v %s, %v, want 500 without details", a.Response, a.body, err)
	}
	ask(t, addr, "GET", "/").want(t, 200, []byte("symkeep test\n"), nil)
}

func TestProbes(t *testing.T) {
	w := newWorld(t)
	addr := start(t, testConfig(), w.public(t))
	for _, tt := range []struct {
		path    string
		checks  []symhttp.Check
		purpose symhttp.Purpose
		status  int
		body    string
	}{
		{"/livez", []symhttp.Check{{Name: "disk"}}, "", 200, "[+] disk ok\nok\n"},
		{"/readyz", []symhttp.Check{{Name: "fsm"}, {Name: "blobs"}}, symhttp.ForServe, 200, "[+] fsm ok\n[+] blobs ok\nok\n"},
		{"/readyz?for=serve", nil, symhttp.ForServe, 200, "ok\n"},
		{"/readyz?for=ingest", []symhttp.Check{{Name: "fsm"}, {Name: "leader", Err: errors.New("none\nfor 5 s")}}, symhttp.ForIngest, 503, "[+] fsm ok\n[-] leader: none; for 5 s\nnot ok\n"},
	} {
		w.set(func() { w.health = tt.checks })
		ask(t, addr, "GET", tt.path).want(t, tt.status, []byte(tt.body), map[string]string{"Cache-Control": "no-store"})
		if w.purpose != tt.purpose {
			t.Errorf("GET %s asked for %q, want %q", tt.path, w.purpose, tt.purpose)
		}
	}
	if a := ask(t, addr, "GET", "/readyz?for=fun"); a.StatusCode != 400 {
		t.Errorf("GET /readyz?for=fun = %d, want 400", a.StatusCode)
	}
}

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	w.add(t, "foo.pdb", noise(5000, 1), pdbKey)
	p := w.public(t)
	p.Metrics = prometheus.NewRegistry()
	term := prometheus.NewGauge(prometheus.GaugeOpts{Name: "raft_term", Help: "of another component"})
	term.Set(3)
	p.Metrics.MustRegister(term)
	addr := start(t, testConfig(), p)
	ask(t, addr, "GET", pdbPath)
	ask(t, addr, "GET", pdbPath, "Range: bytes=0-9")
	ask(t, addr, "GET", exePath)
	ask(t, addr, "GET", "/nonsense")
	ask(t, addr, "GET", "/api/v1/cluster")
	w.set(func() { w.locateErr = catalog.ErrUnavailable })
	wantReset(t, addr, "GET", pdbPath)
	a := ask(t, addr, "GET", "/metrics")
	for _, want := range []string{
		`symkeep_http_lookups_total{result="hit",route="store"} 1`,
		`symkeep_http_lookups_total{result="partial",route="store"} 1`,
		`symkeep_http_lookups_total{result="unanswered",route="store"} 1`,
		`symkeep_http_lookups_total{result="miss",route="executable"} 1`,
		`symkeep_http_lookups_total{result="miss",route="none"} 1`,
		`symkeep_http_sent_bytes_total 5010`,
		`symkeep_http_calls_total{method="GET",status="200"} 1`,
		`symkeep_http_lookup_seconds_count{route="store"} 3`,
		`symkeep_http_lookup_seconds_bucket{route="store",le="+Inf"} 3`,
		`raft_term 3`,
	} {
		if !strings.Contains(string(a.body), want+"\n") {
			t.Errorf("metrics lack %s\n%s", want, a.body)
		}
	}
}

// TestConnLimit: over the limit nobody is told 503; the next one waits.
func TestConnLimit(t *testing.T) {
	cfg := testConfig()
	cfg.MaxConns = 16
	addr := start(t, cfg, newWorld(t).public(t))
	var open []*conn
	for range cfg.MaxConns {
		c := dial(t, addr)
		c.send(t, request("GET", "/"))
		if _, err := c.receive("GET"); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	next := dial(t, addr)
	next.send(t, request("GET", "/"))
	next.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := next.Read(make([]byte, 1)); n != 0 || !isTimeout(err) {
		t.Fatalf("Read over the limit = %d, %v, want to wait", n, err)
	}
	open[0].Close()
	next.SetReadDeadline(time.Now().Add(10 * time.Second))
	if a, err := next.receive("GET"); err != nil || a.StatusCode != 200 {
		t.Errorf("answer after one left = %v, %v, want 200", a.Response, err)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// TestDrain: a stop ends waits at once, lets uploads finish, closes idle
// connections, and refuses new ones.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	running, finish := make(chan struct{}), make(chan struct{})
	w.upload = func(symhttp.Upload, io.Reader) (catalog.Receipt, error) {
		close(running)
		<-finish
		return catalog.Receipt{}, nil
	}
	w.waiting = make(chan struct{})
	cfg := testConfig()
	s, err := symhttp.NewPublic(cfg, w.public(t))
	if err != nil {
		t.Fatal(err)
	}
	addr, stop := run(t, s, listen(t))
	idle, waiter, upload := dial(t, addr), dial(t, addr), dial(t, addr)
	idle.send(t, request("GET", "/"))
	if _, err := idle.receive("GET"); err != nil {
		t.Fatal(err)
	}
	waiter.send(t, request("GET", "/api/v1/packages/"+string(packageID)+"?wait=60s"))
	<-w.waiting
	upload.send(t, request("PUT", blobPath(), "Content-Length: 4")+"blob")
	<-running

	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	if a, err := waiter.receive("GET"); err != nil || a.StatusCode != 200 {
		t.Errorf("waiter = %v, %v, want the state at once", a.Response, err)
	}
	if n, err := idle.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("idle connection: Read = %d, %v, want EOF", n, err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("a new connection was accepted")
	}
	close(finish)
	if a, err := upload.receive("PUT"); err != nil || a.StatusCode != 200 || !a.Close {
		t.Errorf("upload = %v, %v, want 200 and Connection: close", a.Response, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

// TestNotice: a server that somebody asks for its readiness fails that first and
// serves on, one answer per connection, before it stops to listen.
func TestNotice(t *testing.T) {
	w := newWorld(t)
	w.add(t, "foo.pdb", noise(5000, 1), pdbKey)
	cfg := testConfig()
	cfg.NoticeTime = time.Hour
	s, err := symhttp.NewPublic(cfg, w.public(t))
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	addr, stop := run(t, s, ln)
	kept := dial(t, addr)
	kept.send(t, request("GET", "/readyz"))
	if a, err := kept.receive("GET"); err != nil || a.StatusCode != 200 || a.Close {
		t.Fatalf("GET /readyz = %v, %v, want 200 and the connection kept", a.Response, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	for { // until the stop has begun
		if a := ask(t, addr, "GET", "/readyz"); a.StatusCode == 503 {
			break
		}
	}
	kept.send(t, request("GET", pdbPath))
	if a, err := kept.receive("GET"); err != nil || a.StatusCode != 200 || !a.Close || len(a.body) != 5000 {
		t.Errorf("kept connection: GET = %v, %v, want the file and Connection: close", a.Response, err)
	}
	if a := ask(t, addr, "GET", pdbPath); a.StatusCode != 200 || !a.Close {
		t.Errorf("new connection: GET = %v, want 200 and Connection: close", a.Response)
	}
	select {
	case err := <-ended:
		t.Fatalf("Run = %v within the notice", err)
	default:
	}
	ln.Close() // the hour need not pass
	if err := <-ended; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

// TestDrainTimeout: what does not finish in time is cut, and Run returns.
func TestDrainTimeout(t *testing.T) {
	w := newWorld(t)
	got := make(chan error, 1)
	w.upload = func(_ symhttp.Upload, body io.Reader) (catalog.Receipt, error) {
		_, err := io.Copy(io.Discard, body)
		got <- err
		return catalog.Receipt{}, err
	}
	cfg := testConfig()
	cfg.DrainTimeout = 50 * time.Millisecond
	s, err := symhttp.NewPublic(cfg, w.public(t))
	if err != nil {
		t.Fatal(err)
	}
	addr, stop := run(t, s, listen(t))
	c := dial(t, addr)
	c.send(t, request("PUT", blobPath(), "Content-Length: 100000")+"some")
	for w.last() == "" { // until the handler runs
		ask(t, addr, "GET", "/")
	}
	if err := stop(); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if err := <-got; err == nil {
		t.Error("the upload saw no error")
	}
}

// TestMemoryIsShared: an answer that finds no memory to unpack waits for it, and
// gives up like any other that cannot be had.
func TestMemoryIsShared(t *testing.T) {
	w := newWorld(t)
	w.add(t, "foo.pdb", noise(24<<20, 1), pdbKey)
	cfg := testConfig()
	cfg.StreamBytes = 16 << 20
	cfg.ReachTimeout = 300 * time.Millisecond
	addr := start(t, cfg, w.public(t))
	var slow []*conn
	for range 6 { // of 2 MiB and some each: an eighth of all is for unpacking ahead
		c := dial(t, addr) // takes the header and nothing more, so the answer stays
		if err := c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		c.send(t, request("GET", pdbPath))
		if _, err := c.r.Peek(100); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	wantReset(t, addr, "GET", pdbPath)
	ask(t, addr, "HEAD", pdbPath)
	for _, c := range slow {
		c.Close()
	}
	for range 50 { // the server notices at its next write
		c := dial(t, addr)
		c.send(t, request("GET", pdbPath))
		if a, err := c.receive("GET"); err == nil && len(a.body) == 24<<20 {
			return
		}
	}
	t.Error("the memory never came back")
}

// TestListenerFails: Run reports a listener that breaks.
func TestListenerFails(t *testing.T) {
	s, err := symhttp.NewPublic(testConfig(), newWorld(t).public(t))
	if err != nil {
		t.Fatal(err)
	}
	ln := broken{listen(t)}
	defer ln.Close()
	if err := s.Run(context.Background(), ln); !errors.Is(err, errBroken) {
		t.Errorf("Run = %v, want %v", err, errBroken)
	}
}

var errBroken = errors.New("listener broke")

type broken struct{ net.Listener }

func (broken) Accept() (net.Conn, error) { return nil, errBroken }

// TestStopBeforeStart: a server that is told to stop before it has begun to accept
// ends, and leaves nobody at its address.
func TestStopBeforeStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // the stop and the start race
		w := newWorld(t)
		s, err := symhttp.NewJoin(testConfig(), testLog(t), w, w)
		if err != nil {
			t.Fatal(err)
		}
		ln := listen(t)
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx, ln) }()
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("Run with its context ended = %v, want nil", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("Run with its context ended does not return")
		}
		if conn, err := net.Dial("tcp", ln.Addr().String()); err == nil {
			conn.Close()
			t.Fatal("somebody still accepts at the address of a server that has stopped")
		}
	}
}
