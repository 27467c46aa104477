package symhttp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"symkeep/internal/catalog"
	"symkeep/symhttp"
)

// looping runs a public server of a world and returns it with a connection that is in a
// loop.
func looping(t *testing.T, w *world, cfg symhttp.Config) (*symhttp.Server, *conn, func() error) {
	t.Helper()
	s, err := symhttp.NewPublic(cfg, w.public(t))
	if err != nil {
		t.Fatal(err)
	}
	addr, stop := run(t, s, listen(t))
	c := dial(t, addr)
	warm(t, s, c, 1)
	return s, c, stop
}

// warm asks until the connection is in a loop, as the one of that number.
func warm(t *testing.T, s *symhttp.Server, c *conn, number int) {
	t.Helper()
	for range symhttp.LoopAfter + 1 { // the first may have to open the file
		c.send(t, request("GET", pdbPath))
		if a, err := c.receive("GET"); err != nil || a.StatusCode != 200 {
			t.Fatalf("got %v, %v", a, err)
		}
	}
	eventually(t, "the connection is in a loop", func() bool { return s.Looped() == number })
}

func pdbWorld(t *testing.T) (*world, []byte) {
	w := newWorld(t)
	content := noise(16<<10, 1)
	w.add(t, "foo.pdb", content, pdbKey)
	return w, content
}

var reDate = regexp.MustCompile(`\r\nDate: [^\r]+ GMT\r\n`)

// raw sends a request and returns the bytes of the answer, with the date taken out.
func (c *conn) raw(t *testing.T, text string, body int) string {
	t.Helper()
	c.send(t, text)
	var b bytes.Buffer
	for !strings.Contains(b.String(), "\r\n\r\n") {
		p, err := c.r.ReadByte()
		if err != nil {
			t.Fatalf("after %q: %v", b.String(), err)
		}
		b.WriteByte(p)
	}
	if _, err := io.CopyN(&b, c.r, int64(body)); err != nil {
		t.Fatalf("body: %v", err)
	}
	if !reDate.MatchString(b.String()) {
		t.Fatalf("no date: %q", b.String())
	}
	return reDate.ReplaceAllString(b.String(), "\r\n")
}

// TestLoopAnswers: a loop answers to the byte what fasthttp answers.
func TestLoopAnswers(t *testing.T) {
	w, content := pdbWorld(t)
	packed := func(addr string, lines ...string) int { return len(ask(t, addr, "GET", pdbCab, lines...).body) }
	s, c, _ := looping(t, w, testConfig())
	addr := c.RemoteAddr().String()
	zipped := ask(t, addr, "GET", pdbPath, "Accept-Encoding: gzip")
	for _, tt := range []struct {
		name, text string
		body       int
	}{
		{"raw", request("GET", pdbPath), len(content)},
		{"gzip", request("GET", pdbPath, "Accept-Encoding: deflate, gzip"), len(zipped.body)},
		{"cabinet", request("GET", pdbCab), packed(addr)},
		{"miss", request("GET", exePath), 0},
		{"client", request("GET", pdbPath, "User-Agent: Microsoft-Symbol-Server/10.1710.0.0", "Connection: Keep-Alive", "Cache-Control: no-cache"), len(content)},
	} {
		want := dial(t, addr).raw(t, tt.text, tt.body)
		for i := range 3 {
			if got := c.raw(t, tt.text, tt.body); got != want {
				t.Errorf("%s, time %d: %q, want %q", tt.name, i, clip([]byte(got)), clip([]byte(want)))
			}
			if s.Looped() != 1 {
				t.Fatalf("%s, time %d: the connection has left its loop", tt.name, i)
			}
		}
	}
}

// TestLoopLeaves: what is not for a loop is answered all the same, on the same connection.
func TestLoopLeaves(t *testing.T) {
	w, content := pdbWorld(t)
	s, c, _ := looping(t, w, testConfig())
	etag := ask(t, c.RemoteAddr().String(), "GET", pdbPath).Header.Get("ETag")
	for _, tt := range []struct {
		method, text string
		status, body int
	}{
		{"GET", request("GET", pdbPath, "Range: bytes=5-14"), 206, 10},
		{"HEAD", request("HEAD", pdbPath), 200, 0},
		{"GET", request("GET", pdbPath, "If-None-Match: "+etag), 304, 0},
		{"GET", request("GET", pdbPath, "Content-Length: 5") + "hello", 200, len(content)},
		{"GET", request("GET", pdbPath, "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n", 200, len(content)},
		{"GET", request("GET", "/"), 200, len("symkeep test\n")},
		{"GET", request("GET", "/livez"), 200, -1},
		{"GET", request("GET", "/api/v1/none"), 404, -1},
		{"GET", request("GET", "http://symbols"+pdbPath), 200, len(content)},
		{"GET", "GET " + pdbPath + " HTTP/1.0\r\nHost: symbols\r\nConnection: keep-alive\r\n\r\n", 200, len(content)},
	} {
		c.send(t, tt.text)
		a, err := c.receive(tt.method)
		if err != nil || a.StatusCode != tt.status || tt.body >= 0 && len(a.body) != tt.body {
			t.Fatalf("%q: %v, %d bytes, %v; want %d and %d bytes", tt.text, a.Response, len(a.body), err, tt.status, tt.body)
		}
		warm(t, s, c, 1)
	}
	text := request("GET", pdbPath) // in two parts, the first without an end
	c.send(t, text[:20])
	eventually(t, "the connection has left", func() bool { return s.Looped() == 0 })
	c.send(t, text[20:])
	if a, err := c.receive("GET"); err != nil || !bytes.Equal(a.body, content) {
		t.Errorf("in two parts: %d bytes, %v", len(a.body), err)
	}
	warm(t, s, c, 1)
	c.send(t, request("GET", pdbPath, "Connection: close"))
	if a, err := c.receive("GET"); err != nil || !a.Close {
		t.Errorf("Connection: close: %v, %v", a.Response, err)
	}
	if _, err := c.r.ReadByte(); err != io.EOF {
		t.Errorf("after Connection: close: %v, want the end", err)
	}
}

// TestLoopRefuses: what fasthttp refuses is refused on a connection in a loop.
func TestLoopRefuses(t *testing.T) {
	w, _ := pdbWorld(t)
	for _, text := range []string{
		"\x00\x01\x02\x03 nothing of HTTP\r\n\r\n",
		"GET " + pdbPath + " HTTP/1.1\r\nHost: a b\r\n\r\n",
		"GET " + pdbPath + " HTTP/1.1\r\nHost : symbols\r\n\r\n",
		"GET " + pdbPath + " HTTP/1.1\r\nHost: symbols\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
		"GET " + pdbPath + " HTTP/1.1\r\nHost: symbols\r\nX: " + strings.Repeat("x", 32<<10) + "\r\n\r\n",
	} {
		s, c, _ := looping(t, w, testConfig())
		other := dial(t, c.RemoteAddr().String())
		status := func(c *conn) int {
			io.WriteString(c, text) // the server may have hung up
			a, err := c.receive("GET")
			if err != nil {
				return 0
			}
			return a.StatusCode
		}
		if got, want := status(c), status(other); got != want {
			t.Errorf("%q in a loop: %d, want %d", clip([]byte(text)), got, want)
		}
		eventually(t, "it is closed or has left", func() bool { return s.Looped() == 0 })
	}
}

// TestLoopPipeline: a client that sends many requests before it reads an answer gets them
// all, in order, also where there is no room for an answer.
func TestLoopPipeline(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		w, content := pdbWorld(t)
		_, c, _ := looping(t, w, testConfig())
		testPipeline(t, c, 2000, pdbPath, content)
	})
	t.Run("file", func(t *testing.T) {
		f := newFiled(t, testConfig(), listen(t))
		testPipeline(t, f.enter(t, dial(t, f.addr), 1), 200, pdbCab, f.cabinet.body)
	})
}

// testPipeline asks for a hit and a miss in turn, so often that no socket takes the answers.
func testPipeline(t *testing.T, c *conn, times int, path string, content []byte) {
	go func() {
		var b bytes.Buffer
		for i := range times {
			b.WriteString(request("GET", []string{path, exePath}[i%2]))
		}
		c.Conn.Write(b.Bytes())
	}()
	time.Sleep(100 * time.Millisecond) // let the answers pile up
	for i := range times {
		a, err := c.receive("GET")
		if want := []int{200, 404}[i%2]; err != nil || a.StatusCode != want || want == 200 && !bytes.Equal(a.body, content) {
			t.Fatalf("answer %d: %v, %d bytes, %v", i, a.Response, len(a.body), err)
		}
	}
}

// TestLoopSeesChanges: a loop answers what the catalog says now.
func TestLoopSeesChanges(t *testing.T) {
	w, content := pdbWorld(t)
	s, c, _ := looping(t, w, testConfig())
	get := func(path string, status int, body []byte) {
		t.Helper()
		for range 2 {
			c.send(t, request("GET", path))
			a, err := c.receive("GET")
			if err != nil || a.StatusCode != status || !bytes.Equal(a.body, body) {
				t.Fatalf("%s: %v, %d bytes, %v; want %d", path, a.Response, len(a.body), err, status)
			}
		}
	}
	get(exePath, 404, nil)
	other := noise(5000, 7)
	w.add(t, "foo.exe", other, exeKey)
	w.set(func() { w.version++ })
	get(exePath, 200, other)
	warm(t, s, c, 1)
	w.set(func() { delete(w.files, pdbKey.Index()); w.version++ })
	get(pdbPath, 404, nil)
	w.add(t, "foo.pdb", content, pdbKey)
	w.set(func() { w.version++ })
	get(pdbPath, 200, content)
	w.set(func() { w.slow = true }) // no miss may be stated without asking others
	get(exePath, 200, other)
	w.set(func() { w.locateErr = catalog.ErrUnavailable; w.version++ })
	c.send(t, request("GET", exePath))
	if b, err := io.ReadAll(c.r); len(b) > 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("nobody can tell: %q, %v; want a reset", b, err)
	}
}

// TestLoopPanic: a handler that panics costs a request, not the loop.
func TestLoopPanic(t *testing.T) {
	w, _ := pdbWorld(t)
	s, c, _ := looping(t, w, testConfig())
	w.set(func() { w.panics = true; w.version++ })
	c.send(t, request("GET", exePath))
	if b, err := io.ReadAll(c.r); len(b) > 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %q, %v; want a reset", b, err)
	}
	w.set(func() { w.panics = false })
	warm(t, s, dial(t, c.RemoteAddr().String()), 1)
}

// TestLoopIdle: a connection in a loop is closed after the idle time, and its end is
// noticed; each lets another one in.
func TestLoopIdle(t *testing.T) {
	w, _ := pdbWorld(t)
	cfg := testConfig()
	cfg.MaxConns, cfg.IdleTimeout = 16, 1500*time.Millisecond
	s, c, _ := looping(t, w, cfg)
	begun := time.Now()
	if _, err := c.r.ReadByte(); err != io.EOF {
		t.Errorf("idle: %v, want the end", err)
	}
	if took := time.Since(begun); took < time.Second {
		t.Errorf("idle for %v, want about %v", took, cfg.IdleTimeout)
	}
	for range 3 * cfg.MaxConns {
		next := dial(t, c.RemoteAddr().String())
		warm(t, s, next, 1)
		next.Close()
		eventually(t, "the loop has let it go", func() bool { return s.Looped() == 0 })
	}
}

// TestLoopStop: a stop ends connections in loops; a request that comes meanwhile is
// answered, and told that it is the last.
func TestLoopStop(t *testing.T) {
	w, content := pdbWorld(t)
	cfg := testConfig()
	cfg.NoticeTime = 500 * time.Millisecond
	s, c, stop := looping(t, w, cfg)
	ask(t, c.RemoteAddr().String(), "GET", "/readyz") // somebody balances load
	idle := dial(t, c.RemoteAddr().String())
	warm(t, s, idle, 2)
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	eventually(t, "the answer ends the connection", func() bool {
		c.send(t, request("GET", pdbPath))
		a, err := c.receive("GET")
		if err != nil || !bytes.Equal(a.body, content) {
			t.Fatalf("in a stop: %d bytes, %v", len(a.body), err)
		}
		return a.Close
	})
	if _, err := idle.r.ReadByte(); err != io.EOF {
		t.Errorf("idle in a stop: %v, want the end", err)
	}
	select {
	case err := <-stopped:
		if err != nil {
			t.Errorf("Run = %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Run goes on")
	}
}

// TestLoopMany: many connections at once, each of them with all kinds of requests.
func TestLoopMany(t *testing.T) {
	w, content := pdbWorld(t)
	s, c, stop := looping(t, w, testConfig())
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	ended := make(chan error)
	const clients = 32
	for i := range clients {
		c := dial(t, c.RemoteAddr().String())
		go func() {
			for n := 0; ctx.Err() == nil; n++ {
				path, status, body, line := pdbPath, 200, content, "X: y"
				switch {
				case (n+i)%5 == 0:
					path, status, body = exePath, 404, nil
				case (n+i)%17 == 0:
					status, body, line = 206, content[:10], "Range: bytes=0-9"
				}
				if _, err := io.WriteString(c, request("GET", path, line)); err != nil {
					ended <- err
					return
				}
				a, err := c.receive("GET")
				if err != nil || a.StatusCode != status || !bytes.Equal(a.body, body) {
					ended <- fmt.Errorf("request %d of %d: %v, %d bytes, %v", n, i, a.Response, len(a.body), err)
					return
				}
			}
			ended <- nil
		}()
	}
	for range clients {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if s.Looped() == 0 {
		t.Error("no connection is in a loop")
	}
	if err := stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) // symhttp.AllowLoops minds the environment
	os.Exit(m.Run())
}

// TestLoopHome: each loop has a thread on a processor, and a connection is in the loop of
// the one that its client is on, and follows the client to another; but no loop takes many
// more than the others have.
func TestLoopHome(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		w, _ := pdbWorld(t)
		s, first, _ := looping(t, w, testConfig())
		testHome(t, s, first, pdbPath)
	})
	t.Run("file", func(t *testing.T) {
		f := newFiled(t, testConfig(), listen(t))
		testHome(t, f.s, f.enter(t, dial(t, f.addr), 1), pdbCab)
	})
}

func testHome(t *testing.T, s *symhttp.Server, first *conn, path string) {
	conns := []*conn{first}
	for range 8 {
		conns = append(conns, dial(t, first.RemoteAddr().String()))
	}
	rounds := func(conns []*conn) error {
		for range 150 { // enough for each connection to be looked at
			for _, c := range conns {
				if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
					return err
				}
				if _, err := io.WriteString(c, request("GET", path)); err != nil {
					return err
				}
				if _, err := c.receive("GET"); err != nil {
					return err
				}
			}
		}
		return nil
	}
	on := func(cpu int, conns []*conn) {
		t.Helper()
		done := make(chan error)
		go func() { // the thread ends with it
			symhttp.Pin(cpu)
			done <- rounds(conns)
		}()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	cpus := s.Processors() // none where the program may not use as many as it has been promised
	for _, cpu := range cpus {
		eventually(t, fmt.Sprintf("a thread is bound to processor %d", cpu), func() bool {
			return slices.Contains(pinned(t), fmt.Sprint(cpu))
		})
	}
	for i, cpu := range cpus {
		on(cpu, conns[:1])
		if held := s.LoopsHold(); held[i] != 1 || s.Looped() != 1 {
			t.Errorf("a client on processor %d: loops hold %v, want it in loop %d", cpu, held, i)
		}
	}
	if err := rounds(conns); err != nil {
		t.Fatal(err)
	}
	for _, cpu := range cpus {
		on(cpu, conns)
		if held := s.LoopsHold(); s.Looped() != len(conns) || slices.Max(held)-slices.Min(held) > 2 {
			t.Errorf("%d clients on processor %d: loops hold %v, want no more than 2 between them", len(conns), cpu, held)
		}
	}
}

// TestPin: the thread of a loop stays on a processor, with the shortest slice of its time
// where the kernel tells of slices, and is scheduled as before otherwise.
func TestPin(t *testing.T) {
	var pinning sync.WaitGroup
	pinning.Go(func() { // the thread ends with it
		runtime.LockOSThread()
		before, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Error(err)
			return
		}
		cpu := symhttp.Allowed()[0]
		symhttp.Pin(cpu)
		if cpus := symhttp.Allowed(); !slices.Equal(cpus, []int{cpu}) {
			t.Errorf("pinned to %d: may use processors %v, want that one alone", cpu, cpus)
		}
		want := *before
		if want.Runtime > 0 {
			want.Runtime = 100_000 // ns
		}
		if after, err := unix.SchedGetAttr(0, 0); err != nil || *after != want {
			t.Errorf("scheduled by %+v, %v; want %+v", after, err, want)
		}
	})
	pinning.Wait()
}

// pinned returns the processors of those threads that may use no other.
func pinned(t *testing.T) (cpus []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(files) == 0 {
		t.Fatalf("threads: %v, %v", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f) // the thread may have ended
		_, list, ok := strings.Cut(string(text), "Cpus_allowed_list:\t")
		list, _, _ = strings.Cut(list, "\n")
		if err == nil && ok && !strings.ContainsAny(list, "-,") {
			cpus = append(cpus, list)
		}
	}
	return cpus
}

// FuzzLoop: whatever a loop answers, fasthttp would have answered to the byte, the date
// apart, and would have taken as many bytes for the request.
func FuzzLoop(f *testing.F) {
	for _, head := range [][2]string{
		{pdbPath + " HTTP/1.1", "Host: symbols"},
		{exePath + " HTTP/1.1", "Host: symbols\r\nAccept-Encoding: gzip"},
		{pdbPath + " HTTP/1.1", "Host: symbols\r\n\r\nGET / HTTP/1.1"},
		{pdbPath + " HTTP/1.1", "Host: symbols\r\nContent-Length: 3\r\n\r\nabc"},
		{pdbPath + " HTTP/1.1", "Host: symbols\r\nConnection: close\r\nRange: bytes=1-2"},
		{pdbPath + " HTTP/1.1", "Host: symbols\r\n folded\r\nAccept-Encoding: gzip;q=0.5, identity"},
		{"/%2e%2e" + pdbPath + "?q#f HTTP/1.1", "Host: x\r\nExpect: 100-continue\r\nTransfer-Encoding: identity"},
		{pdbPath + " HTTP/1.1", "Host: [::1]:80\r\nhost: x"},
		{pdbPath + " HTTP/1.1", "Host: a:b"},
		{"/" + pdbPath + "?://[\x7f HTTP/1.1", "Host: a:1:2\r\nTE: chunked\r\nTrailer: X"},
		{"/api/0123456789ABCDEF0123456789ABCDEF1/api HTTP/1.1", "Host: x\r\nConnection: keep-alive, close"},
		{pdbPath + " HTTP/1.0", "Host: x\n\nGET / HTTP/1.1"},
		{dbgCab + " HTTP/1.1", "Host: symbols"},
		{dbgPath + " HTTP/1.1", "Host: symbols\r\nAccept-Encoding: gzip"},
	} {
		f.Add(head[0], head[1])
	}
	w := newWorld(f)
	w.add(f, "foo.pdb", noise(100, 1), pdbKey)
	w.add(f, "app.debug", elfFile(sect{".debug_info", noise(80<<10, 2)}), dbgKey) // sent from its file
	s, err := symhttp.NewPublic(testConfig(), w.public(f))
	if err != nil {
		f.Fatal(err)
	}
	first := func(t testing.TB, in []byte) []byte { // what fasthttp answers, until nothing more comes in
		client, server := net.Pipe()
		defer client.Close()
		go s.ServeConn(server)
		go func() {
			client.Write(in)
			client.Write([]byte(request("GET", exePath, "Connection: close")))
		}()
		client.SetReadDeadline(time.Now().Add(10 * time.Second))
		out, err := io.ReadAll(client)
		if err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		return out
	}
	for _, text := range []string{request("GET", pdbPath), request("GET", dbgCab), request("GET", dbgPath, "Accept-Encoding: gzip")} {
		for range 3 {
			first(f, []byte(text))
		}
		if _, used := s.LoopAnswer([]byte(text)); used == 0 {
			f.Fatalf("%q: not on the shelf", text)
		}
	}
	last := reDate.ReplaceAllLiteral(first(f, nil), []byte("\r\n"))
	f.Fuzz(func(t *testing.T, target, lines string) {
		in := []byte("GET " + target + "\r\n" + lines + "\r\n\r\n")
		got, used := s.LoopAnswer(in)
		if used == 0 {
			return
		}
		want := reDate.ReplaceAllLiteral(first(t, in[:used]), []byte("\r\n"))
		got = reDate.ReplaceAllLiteral(got, []byte("\r\n"))
		if !bytes.Equal(append(got, last...), want) {
			t.Errorf("%q: a loop answers %q, fasthttp, also the last request, %q", in[:used], got, want)
		}
	})
}

// narrow is a listener whose connections take little that is not read, and a dialer to it.
func narrow(t *testing.T) (net.Listener, func(addr string) *conn) {
	t.Helper()
	small := func(option int) func(_, _ string, c syscall.RawConn) error {
		return func(_, _ string, c syscall.RawConn) (err error) {
			return errors.Join(c.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, option, 8<<10)
			}), err)
		}
	}
	lc := net.ListenConfig{Control: small(syscall.SO_SNDBUF)}
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln, func(addr string) *conn {
		t.Helper()
		d := net.Dialer{Control: small(syscall.SO_RCVBUF)}
		c, err := d.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return wrap(t, c)
	}
}

// narrowly runs a server with a file of 60 KiB and returns a connection in a loop that has
// asked for it and read nothing.
func narrowly(t *testing.T, cfg symhttp.Config) (s *symhttp.Server, c *conn, content []byte, stop func() error) {
	t.Helper()
	w := newWorld(t)
	content = noise(60<<10, 1)
	w.add(t, "foo.pdb", content, pdbKey)
	s, err := symhttp.NewPublic(cfg, w.public(t))
	if err != nil {
		t.Fatal(err)
	}
	ln, dial := narrow(t)
	addr, stop := run(t, s, ln)
	ask(t, addr, "GET", pdbPath)
	c = dial(addr)
	warm(t, s, c, 1)
	c.send(t, request("GET", pdbPath))
	eventually(t, "the answer is not for a loop any more", func() bool { return s.Looped() == 0 })
	return s, c, content, stop
}

// TestLoopSlowReader: a connection whose answer took long is one like others afterwards: it
// goes back to a loop, and has the idle time, not that of a new one.
func TestLoopSlowReader(t *testing.T) {
	cfg := testConfig()
	cfg.ReadTimeout, cfg.IdleTimeout = 500*time.Millisecond, 30*time.Second
	s, c, content, _ := narrowly(t, cfg)
	time.Sleep(2 * cfg.ReadTimeout)
	if a, err := c.receive("GET"); err != nil || !bytes.Equal(a.body, content) {
		t.Fatalf("%d bytes, %v", len(a.body), err)
	}
	eventually(t, "it is in a loop", func() bool { return s.Looped() == 1 })
	time.Sleep(2 * cfg.ReadTimeout)
	c.send(t, request("GET", exePath))
	if a, err := c.receive("GET"); err != nil || a.StatusCode != 404 {
		t.Errorf("next request: %v, %v; want 404", a.Response, err)
	}
}

// TestLoopSlowReaderInStop: a stop waits for an answer that is being read.
func TestLoopSlowReaderInStop(t *testing.T) {
	cfg := testConfig()
	cfg.DrainTimeout = 30 * time.Second
	t.Run("memory", func(t *testing.T) {
		_, c, content, stop := narrowly(t, cfg)
		testReadInStop(t, c, content, stop)
	})
	t.Run("file", func(t *testing.T) {
		f, c := slow(t, cfg)
		testReadInStop(t, c, f.cabinet.body, f.stop)
	})
}

func testReadInStop(t *testing.T, c *conn, content []byte, stop func() error) {
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	time.Sleep(time.Second)
	if a, err := c.receive("GET"); err != nil || !bytes.Equal(a.body, content) {
		t.Fatalf("%d bytes, %v", len(a.body), err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run = %v", err)
	}
}

// TestLoopGoneReader: a client that reads nothing for too long is cut off with a RST, so
// that it does not take what it has for the whole.
func TestLoopGoneReader(t *testing.T) {
	cfg := testConfig()
	cfg.WriteTimeout = 500 * time.Millisecond
	_, c, content, _ := narrowly(t, cfg)
	time.Sleep(4 * cfg.WriteTimeout)
	wantCut(t, c, content)
}

// wantCut wants a part of an answer and a RST, so that no client takes the part for the whole.
func wantCut(t *testing.T, c *conn, whole []byte) {
	t.Helper()
	if a, err := c.receive("GET"); !errors.Is(err, syscall.ECONNRESET) || len(a.body) == 0 || len(a.body) == len(whole) {
		t.Errorf("%d bytes, %v; want a part and a reset", len(a.body), err)
	}
}

// TestLoopOtherBytes: where a file is packed in another way, the head goes with the bytes.
func TestLoopOtherBytes(t *testing.T) {
	w := newWorld(t)
	w.add(t, "foo.pdb", bytes.Repeat([]byte("abc"), 3000), pdbKey)
	s, c, _ := looping(t, w, testConfig())
	get := func() answer {
		c.send(t, request("GET", pdbCab))
		a, err := c.receive("GET")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	get() // from the disk
	warm(t, s, c, 1)
	before := get()
	s.Repack([]byte("more"))
	after := get()
	if len(after.body) != len(before.body)+4 || after.Header.Get("ETag") == before.Header.Get("ETag") {
		t.Errorf("got %d bytes with tag %s, then %d with %s", len(before.body), before.Header.Get("ETag"), len(after.body), after.Header.Get("ETag"))
	}
	warm(t, s, c, 1)
}

// noDescriptors lets the process open no more files until restore, or the end of the test.
func noDescriptors(t *testing.T) (restore func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 3
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	restore = sync.OnceFunc(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(restore)
	return restore
}

// TestLoopNoDescriptor: where too many files are open a client is reset, which it takes as
// "ask again".
func TestLoopNoDescriptor(t *testing.T) {
	w, _ := pdbWorld(t)
	_, c, _ := looping(t, w, testConfig())
	noDescriptors(t)
	c.send(t, request("GET", pdbPath, "Range: bytes=0-9"))
	if a, err := c.receive("GET"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, %v; want a reset", a.Response, err)
	}
}
