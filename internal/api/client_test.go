package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// TestRedirect: a proxy's redirect is told rather than followed, which would turn a
// POST into a GET.
func TestRedirect(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, "https://symbols.example/elsewhere", http.StatusMovedPermanently)
	}))
	defer s.Close()
	c, err := api.NewClient(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Open(t.Context(), api.OpenRequest{IdempotencyKey: "k"})
	if !errors.Is(err, catalog.ErrInvalid) || !strings.Contains(err.Error(), "https://symbols.example/elsewhere") || asked != 1 {
		t.Errorf("Open at a redirect = %v after %d requests, want ErrInvalid with the URL after one", err, asked)
	}
}

// TestAnswerCut: an answer that breaks off is as good as none, also where nothing
// in it matters.
func TestAnswerCut(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "{")
	}))
	defer s.Close()
	c, err := api.NewClient(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Retry(t.Context(), "p"); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("Retry with its answer cut = %v, want ErrUnavailable", err)
	}
	if _, err := c.Cluster(t.Context()); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("Cluster with its answer cut = %v, want ErrUnavailable", err)
	}
}

// TestLive: whatever the server says over a connection of its own is a sign of life.
func TestLive(t *testing.T) {
	var made atomic.Int32
	stopped := make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/symbols/livez":
			t.Errorf("asked for %s, want /symbols/livez", r.URL.Path)
		case made.Load() > 2:
			<-stopped
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			made.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	defer close(stopped)
	c, err := api.NewClient(s.URL + "/symbols/")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 2 {
		if err := c.Live(t.Context()); err != nil || made.Load() != int32(i+1) {
			t.Errorf("Live of a server that is not well = %v over connection %d, want nil over %d", err, made.Load(), i+1)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Live(ctx); !errors.Is(err, catalog.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Live of a server that does not answer = %v, want ErrUnavailable for the deadline", err)
	}
}

// TestBlobRange: the bytes of another range than the one asked for are refused.
func TestBlobRange(t *testing.T) {
	const cluster = "6f2b1c1e-54a8-4b7c-9d0e-3a5f7c9b1d2e"
	for _, tt := range []struct {
		name      string
		offset, n int64
		answer    string // status line and headers
		want      error
		total     int64
	}{
		{"whole", 0, -1, "200 OK", nil, 4},
		{"range", 2, 4, "206 Partial Content\r\nContent-Range: bytes 2-5/9", nil, 9},
		{"range ignored", 2, 4, "200 OK", catalog.ErrUnavailable, 0},
		{"start ignored", 2, -1, "200 OK", catalog.ErrUnavailable, 0},
		{"another range", 2, 4, "206 Partial Content\r\nContent-Range: bytes 3-6/9", catalog.ErrUnavailable, 0},
		{"no range named", 2, 4, "206 Partial Content", catalog.ErrUnavailable, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			served := make(chan error, 1)
			go func() { served <- answerOnce(ln, cluster, tt.answer) }()
			c := api.NewPeerClient(func() catalog.ClusterID { return cluster })
			defer c.Close()
			body, total, err := c.Blob(context.Background(), ln.Addr().String(), catalog.Digest{1}, tt.offset, tt.n)
			if err == nil {
				body.Close()
			}
			if !errors.Is(err, tt.want) || total != tt.total {
				t.Errorf("Blob(%d, %d) = total %d, %v, want %d, %v", tt.offset, tt.n, total, err, tt.total, tt.want)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

// answerOnce is a peer that answers one request with four bytes.
func answerOnce(ln net.Listener, cluster catalog.ClusterID, answer string) error {
	conn, err := ln.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, _, err := api.ReadPreamble(conn, cluster); err != nil {
		return err
	}
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Length: 4\r\n\r\nblob", answer)
	return err
}
