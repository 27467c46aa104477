package symhttp_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
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

// TestSendFile: a part of a file arrives whole, from the position on, also where the client
// reads slowly; of a file that ends before the part does, what there is.
func TestSendFile(t *testing.T) {
	content := noise(3<<20+123, 9)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ off, n, want int64 }{
		{0, int64(len(content)), int64(len(content))},
		{1, 1, 1},
		{4097, 256 << 10, 256 << 10},
		{100, 1<<20 + 1, 1<<20 + 1},
		{int64(len(content)) - 10, 20, 10},
		{1 << 20, 100 << 20, int64(len(content)) - 1<<20},
		{0, 0, 0},
	} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(tt.off, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		server, client := tcpPair(t)
		var sending sync.WaitGroup
		sending.Go(func() {
			defer server.Close()
			part := &io.LimitedReader{R: f, N: tt.n}
			n, err := server.(io.ReaderFrom).ReadFrom(part)
			if n != tt.want || err != nil || part.N != tt.n-tt.want {
				t.Errorf("%+v: sent %d, %v, %d left", tt, n, err, part.N)
			}
		})
		var got bytes.Buffer
		for p := make([]byte, 64<<10); ; time.Sleep(time.Millisecond) {
			n, err := client.Read(p)
			got.Write(p[:n])
			if err != nil {
				break
			}
		}
		if !bytes.Equal(got.Bytes(), content[tt.off:tt.off+tt.want]) {
			t.Errorf("%+v: got %d bytes", tt, got.Len())
		}
		sending.Wait()
		f.Close()
	}
}

// TestSendFileEnds: nobody reads, and the deadline of the connection ends it.
func TestSendFileEnds(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err == nil {
		defer f.Close()
		_, err = f.Write(make([]byte, 64<<20)) // in the page cache
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		t.Fatal(err)
	}
	server, _ := tcpPair(t)
	if err := server.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := server.(io.ReaderFrom).ReadFrom(&io.LimitedReader{R: f, N: 64 << 20})
	if n == 0 || n == 64<<20 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("sent %d bytes, %v; want some and a deadline", n, err)
	}
}
