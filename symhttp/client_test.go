package symhttp_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An answer is what came back, body and all.
type answer struct {
	*http.Response
	body []byte
}

// conn is a client that writes what it is told, byte for byte.
type conn struct {
	net.Conn
	r *bufio.Reader
}

func dial(t testing.TB, addr string) *conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return wrap(t, c)
}

func wrap(t testing.TB, c net.Conn) *conn {
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return &conn{c, bufio.NewReader(c)}
}

// send writes a request as text, line ends included.
func (c *conn) send(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// receive reads one answer to a request with that method.
func (c *conn) receive(method string) (answer, error) {
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	b, err := io.ReadAll(resp.Body)
	return answer{resp, b}, err
}

// request is the head of a request with header lines such as "Range: bytes=0-1".
func request(method, path string, lines ...string) string {
	lines = append([]string{method + " " + path + " HTTP/1.1", "Host: symbols"}, lines...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// ask sends one request on a connection of its own.
func ask(t testing.TB, addr, method, path string, lines ...string) answer {
	t.Helper()
	a, err := attempt(t, addr, method, path, lines...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// attempt is ask where the answer may be cut.
func attempt(t testing.TB, addr, method, path string, lines ...string) (answer, error) {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	c.send(t, request(method, path, lines...))
	return c.receive(method)
}

// wantReset sends a request and fails unless the connection is reset before a
// single byte of an answer.
func wantReset(t testing.TB, addr, method, path string, lines ...string) {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	c.send(t, request(method, path, lines...))
	b, err := io.ReadAll(c.Conn)
	if len(b) > 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s %s: got %q and %v, want a reset without an answer", method, path, clip(b), err)
	}
}

func (a answer) want(t testing.TB, status int, body []byte, headers map[string]string) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("status = %d, want %d", a.StatusCode, status)
	}
	if !bytes.Equal(a.body, body) {
		t.Errorf("body = %d bytes %q, want %d bytes %q", len(a.body), clip(a.body), len(body), clip(body))
	}
	for name, want := range headers {
		if got := strings.Join(a.Header.Values(name), "|"); got != want {
			t.Errorf("header %s = %q, want %q", name, got, want)
		}
	}
}

func clip(b []byte) []byte { return b[:min(len(b), 120)] }
