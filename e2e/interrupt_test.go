package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"symkeep/agent"
	"symkeep/internal/api"
)

// A gate is a TCP proxy in front of a node that counts what clients send, and
// holds it back once a budget is used up.
type gate struct {
	ln     net.Listener
	target string

	mu     sync.Mutex
	more   *sync.Cond
	left   int64
	passed int64
	era    int // counts calls of open: what a dead client left behind does not pass
	closed bool
}

func newGate(t testing.TB, target string) *gate {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{ln: ln, target: target}
	g.more = sync.NewCond(&g.mu)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { g.carry(conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		g.mu.Lock()
		g.closed = true
		g.mu.Unlock()
		g.more.Broadcast()
		wg.Wait()
	})
	return g
}

func (g *gate) url() string { return "http://" + g.ln.Addr().String() }

// open lets n more bytes pass, counting from none, of connections yet to come.
func (g *gate) open(n int64) {
	g.mu.Lock()
	g.left, g.passed = n, 0
	g.era++
	g.mu.Unlock()
	g.more.Broadcast()
}

// shut reports whether the budget is used up, and how much has passed.
func (g *gate) shut() (bool, int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left <= 0, g.passed
}

// take waits for budget and uses up to n bytes of it. It is false once the gate is
// closed or was opened anew.
func (g *gate) take(n int64, era int) (int64, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.left <= 0 && !g.closed && g.era == era {
		g.more.Wait()
	}
	if g.closed || g.era != era {
		return 0, false
	}
	n = min(n, g.left)
	g.left -= n
	g.passed += n
	return n, true
}

// carry copies both ways until the client is gone, then drops the server's side.
func (g *gate) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		io.Copy(client, server)
		client.Close()
	}()
	g.mu.Lock()
	era := g.era
	g.mu.Unlock()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		for b := buf[:n]; len(b) > 0; {
			m, ok := g.take(int64(len(b)), era)
			if !ok {
				return
			}
			if _, err := server.Write(b[:m]); err != nil {
				return
			}
			b = b[m:]
		}
		if err != nil {
			return
		}
	}
}

func TestInterruptedPush(t *testing.T) {
	const small, smallSize, bigSize = 6, 3 << 20, 40 << 20
	c := newCluster(t, 3, nil)
	dir := filepath.Join(c.dir, "build")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	makeELF(t, dir, "big", bigSize)
	for i := range small {
		makeELF(t, dir, fmt.Sprintf("small%d", i), smallSize)
	}
	g := newGate(t, c.nodes[1].http)

	// Ctrl-C within the big file, which is sent first.
	const first = bigSize * 3 / 4
	p := cutPush(t, g, first, dir, syscall.SIGINT)
	if p.code != 1 || !strings.Contains(p.stderr, "again") {
		t.Errorf("interrupted push: exit status %d, want 1 and what to do: %s", p.code, p.stderr)
	}
	// kill -9 in the middle of the small files.
	const second = bigSize - first + 3*smallSize + smallSize/2
	cutPush(t, g, second, dir, syscall.SIGKILL)

	const total = bigSize + small*smallSize
	g.open(1 << 40)
	r := startPush(t, g.url(), "build", "--uploads", "1", dir).wait(t, 2*time.Minute)
	if r.code != 0 {
		t.Fatalf("push: exit status %d, want 0\n%s", r.code, r.stderr)
	}
	res := good(t, r)
	_, third := g.shut()
	var uploaded, deduplicated []string
	for _, f := range res.Files {
		switch f.Status {
		case api.FileUploaded:
			uploaded = append(uploaded, f.Path)
		case api.FileDeduplicated:
			deduplicated = append(deduplicated, f.Path)
		}
	}
	t.Logf("sent %d + %d + %d MiB of %d; the last run: deduplicated %v, uploaded %v",
		first>>20, second>>20, third>>20, total>>20, deduplicated, uploaded)
	if len(deduplicated) != 4 || len(uploaded) != 3 {
		t.Errorf("%d files deduplicated and %d uploaded, want 4 and 3", len(deduplicated), len(uploaded))
	}
	// A file below 4 MiB starts over; of a larger one a buffer may be lost.
	if sent := int64(first) + int64(second) + third; sent > total+smallSize+5<<20 {
		t.Errorf("%d bytes sent in all for %d of contents: too much was sent twice", sent, total)
	}
	checkServed(t, keysOf(t, res), c.nodes...)
}

// TestKilledPush kills a push in the middle of a packed file. The next one packs it
// again, to the same bytes, and goes on where the first one stopped.
func TestKilledPush(t *testing.T) {
	const size, first = 24 << 20, 14 << 20
	c := newCluster(t, 1, nil)
	dir, temp := filepath.Join(c.dir, "build"), filepath.Join(c.dir, "temp")
	for _, d := range []string{dir, temp} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TMPDIR", temp)
	makeELF(t, dir, "big", size)
	g := newGate(t, c.nodes[0].http)
	cutPush(t, g, first, dir, syscall.SIGKILL)
	if left, err := filepath.Glob(filepath.Join(temp, "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("the killed push left %v in its temporary directory, %v, want no file", left, err)
	}
	g.open(1 << 40)
	r := startPush(t, g.url(), "build", dir).wait(t, 2*time.Minute)
	if r.code != 0 || strings.Contains(r.stdout, string(agent.EventSentRaw)) {
		t.Fatalf("push: exit status %d, want 0 and nothing sent raw\n%s", r.code, r.stderr+r.stdout)
	}
	res := good(t, r)
	if _, second := g.shut(); second > size-first+3<<20 {
		t.Errorf("%d bytes sent after %d of %d: too much was sent twice", second, first, size)
	}
	checkServed(t, keysOf(t, res), c.nodes...)
}

// cutPush runs a push that ends by a signal once budget bytes have passed.
func cutPush(t testing.TB, g *gate, budget int64, dir string, sig syscall.Signal) run {
	t.Helper()
	g.open(budget)
	p := startPush(t, g.url(), "build", "--uploads", "1", dir)
	eventually(t, time.Minute, "the middle of the upload", func() error {
		select {
		case <-p.ended:
			return fatalError{fmt.Errorf("push ended with %v: %s", p.cmd.ProcessState, tail(p.stderr.Bytes(), 2000))}
		default:
		}
		if shut, passed := g.shut(); !shut {
			return fmt.Errorf("%d of %d bytes", passed, budget)
		}
		return nil
	})
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	return p.wait(t, 15*time.Second)
}
