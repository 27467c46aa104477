package symhttp_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"symkeep/symhttp"
)

// tcpPair returns both ends of a TCP connection, the first as a server has it.
func tcpPair(t *testing.T) (server net.Conn, client net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	inner, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server, _ = symhttp.PatientConn(inner)
	t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

// TestWriteMore: what waits for more arrives whole and before it, however much it is, and
// without more at the latest when the connection is closed.
func TestWriteMore(t *testing.T) {
	for _, sizes := range [][2]int{{300, 1 << 20}, {300, 0}, {8 << 20, 300}, {1, 1}} {
		server, client := tcpPair(t)
		want := make([]byte, sizes[0]+sizes[1])
		rand.NewChaCha8([32]byte{1}).Read(want)
		go func() {
			defer server.Close()
			symhttp.HeadWaits(server)
			for _, p := range [][]byte{want[:sizes[0]], want[sizes[0]:]} {
				if n, err := server.Write(p); n != len(p) || err != nil {
					t.Errorf("%v: wrote %d of %d bytes: %v", sizes, n, len(p), err)
				}
			}
		}()
		got, err := io.ReadAll(client)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: read %d bytes, %v; want the %d that were written", sizes, len(got), err, len(want))
		}
	}
}

// TestWriteMoreEnds: a write ends at its deadline, and with the connection.
func TestWriteMoreEnds(t *testing.T) {
	server, client := tcpPair(t)
	if err := server.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	symhttp.HeadWaits(server)
	if n, err := server.Write(make([]byte, 64<<20)); n == 64<<20 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nobody reads: wrote %d bytes, %v; want fewer and a deadline", n, err)
	}
	client.Close()
	server.Close()
	symhttp.HeadWaits(server)
	if _, err := server.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v, want net.ErrClosed", err)
	}
}
