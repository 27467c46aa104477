package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

const (
	ours   = catalog.ClusterID("6f2b1c1e-54a8-4b7c-9d0e-3a5f7c9b1d2e")
	theirs = catalog.ClusterID("00000000-54a8-4b7c-9d0e-3a5f7c9b1d2e")
)

func TestPreamble(t *testing.T) {
	for _, tt := range []struct {
		name   string
		kind   api.PeerKind
		sender catalog.ClusterID
		joiner bool
		err    error
	}{
		{"raft", api.PeerRaft, ours, false, nil},
		{"http", api.PeerHTTP, ours, false, nil},
		{"joiner", api.PeerHTTP, "", true, nil},
		{"foreign", api.PeerHTTP, theirs, false, api.ErrForeign},
		{"unknown kind", 9, ours, false, api.ErrForeign},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() {
			conn, err := api.DialPeer(context.Background(), ln.Addr().String(), tt.kind, tt.sender)
			if err == nil {
				defer conn.Close()
				_, err = conn.Write([]byte("hello"))
			}
			sent <- err
		}()
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		kind, joiner, err := api.ReadPreamble(conn, ours)
		if !errors.Is(err, tt.err) || (err == nil && (kind != tt.kind || joiner != tt.joiner)) {
			t.Errorf("%s: ReadPreamble = %v, %v, %v, want %v, %v, %v", tt.name, kind, joiner, err, tt.kind, tt.joiner, tt.err)
		}
		if err == nil {
			b, _ := io.ReadAll(conn)
			if string(b) != "hello" {
				t.Errorf("%s: after the preamble %q, want hello", tt.name, b)
			}
		}
		conn.Close()
		<-sent
		ln.Close()
	}
}

func TestDialPeerRefusesBadClusterID(t *testing.T) {
	if _, err := api.DialPeer(context.Background(), "127.0.0.1:1", api.PeerRaft, "not a uuid"); !errors.Is(err, catalog.ErrInvalid) {
		t.Errorf("DialPeer with a bad cluster id: %v, want ErrInvalid", err)
	}
}

// FuzzReadPreamble: whatever arrives, the answer is a known kind or an error.
func FuzzReadPreamble(f *testing.F) {
	f.Add([]byte("SYMK\x01\x02" + "0123456789" + "0123456789abcdef"))
	f.Add(make([]byte, 31))
	f.Fuzz(func(t *testing.T, b []byte) {
		server, client := net.Pipe()
		defer server.Close()
		go func() {
			client.SetDeadline(time.Now().Add(time.Second))
			client.Write(b)
			client.Close()
		}()
		kind, _, err := api.ReadPreamble(server, ours)
		if err == nil && kind != api.PeerRaft && kind != api.PeerHTTP {
			t.Errorf("ReadPreamble accepted kind %d", kind)
		}
	})
}

func TestErrorsSurviveTheWire(t *testing.T) {
	for _, want := range []error{catalog.ErrInvalid, catalog.ErrNotFound, catalog.ErrConflict, catalog.ErrUnavailable,
		catalog.ErrStaleToken, catalog.ErrFull, api.ErrNotLeader, api.ErrRefused} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			e := api.NewError(fmt.Errorf("package X: some cause: %w", want), "n1")
			w.WriteHeader(e.Status)
			json.NewEncoder(w).Encode(map[string]any{"error": e})
		}))
		c, err := api.NewClient(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Cluster(context.Background())
		var answer *api.Error
		if !errors.Is(err, want) || !errors.As(err, &answer) {
			t.Errorf("error over the wire = %v, want one that is %v, from a server that answered", err, want)
		}
		srv.Close()
	}
}

func TestClientOfSomethingElse(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		want   error
	}{
		{"a proxy's page", 502, "<html>bad gateway</html>", catalog.ErrUnavailable},
		{"a login page", 401, "who are you", api.ErrRefused},
		{"success that is not JSON", 200, "<html>", catalog.ErrUnavailable},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
		}))
		c, err := api.NewClient(srv.URL + "/")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Cluster(context.Background()); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		srv.Close()
	}
	c, err := api.NewClient("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Cluster(context.Background()); !errors.Is(err, catalog.ErrUnavailable) || errors.As(err, new(*api.Error)) {
		t.Errorf("a closed port: %v, want ErrUnavailable from nobody", err)
	}
	for _, bad := range []string{"", "localhost:8480", "ftp://x", "http://"} {
		if _, err := api.NewClient(bad); !errors.Is(err, catalog.ErrInvalid) {
			t.Errorf("NewClient(%q) = %v, want ErrInvalid", bad, err)
		}
	}
}
