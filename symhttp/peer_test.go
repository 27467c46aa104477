package symhttp_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/symhttp"
)

// handed is a listener of connections whose preamble has been read, as a node
// makes two of one address: members' and joiners'.
type handed struct {
	net.Listener
	conns chan net.Conn
}

func (h handed) Accept() (net.Conn, error) {
	c, ok := <-h.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (h handed) Close() error { return nil }

// startPeer runs the peer and the join server on one address.
func startPeer(t testing.TB, w *world, cfg symhttp.Config) (addr string) {
	t.Helper()
	peer, err := symhttp.NewPeer(cfg, symhttp.Peer{Log: testLog(t), Self: w, Consensus: w, Copies: w, Admission: w, Orders: w})
	if err != nil {
		t.Fatal(err)
	}
	join, err := symhttp.NewJoin(cfg, testLog(t), w, w)
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	members, joiners := handed{ln, make(chan net.Conn)}, handed{ln, make(chan net.Conn)}
	_, stopPeer := run(t, peer, members)
	_, stopJoin := run(t, join, joiners)
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		defer close(members.conns)
		defer close(joiners.conns)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			switch _, joiner, err := api.ReadPreamble(c, clusterID); {
			case err != nil:
				c.Close()
			case joiner:
				joiners.conns <- c
			default:
				members.conns <- c
			}
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-accepted
		if err := errors.Join(stopPeer(), stopJoin()); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	return ln.Addr().String()
}

func TestPeerCalls(t *testing.T) {
	w := newWorld(t)
	addr := startPeer(t, w, testConfig())
	c := api.NewPeerClient(func() catalog.ClusterID { return clusterID })
	defer c.Close()
	ctx := t.Context()
	node := catalog.NodeID("9d0c1a52-3f3e-4a39-9a7e-51c3a9b0d009")
	for _, tt := range []struct {
		call func() (any, error)
		want string
		got  string
	}{
		{func() (any, error) {
			b, err := c.Propose(ctx, addr, []byte{1, 2, 0xff})
			return string(b), err
		}, "propose 0102ff", `{"ok":true}`},
		{func() (any, error) { return c.ReadIndex(ctx, addr) }, "read-index", "17"},
		{func() (any, error) { r, err := c.Status(ctx, addr); return r.Term, err }, "peer status", "3"},
		{func() (any, error) {
			r, err := c.Have(ctx, addr, []catalog.Digest{{1}, {2}})
			if err != nil {
				return nil, err
			}
			return fmt.Sprint(len(r), r[0].Size, r[1]), err
		}, "have 2", "2 5 <nil>"},
		{func() (any, error) {
			return nil, c.Fetch(ctx, addr, blobDigest, api.FetchRequest{Source: "n3", RawSize: 4, Packed: catalog.Packed{Size: 9}})
		}, "fetch " + blobDigest.String() + " from n3", "<nil>"},
		{func() (any, error) {
			r, err := c.Lookup(ctx, addr, []symid.IndexKey{"a\x00", "b"})
			return r.Index, err
		}, "lookup [6100 62]", "5"},
		{func() (any, error) { r, err := c.Check(ctx, addr, []catalog.NodeID{"n2", node}); return r.NowMS, err },
			"check node [n2 " + string(node) + "]", "8"},
		{func() (any, error) { return nil, c.Scrub(ctx, addr) }, "scrub", "<nil>"},
		{func() (any, error) { return nil, c.TransferLeader(ctx, addr, "") }, `hand over ""`, "<nil>"},
		{func() (any, error) { return nil, c.TransferLeader(ctx, addr, node) }, `hand over "` + string(node) + `"`, "<nil>"},
		{func() (any, error) { return nil, c.RaiseFeature(ctx, addr, api.FeatureRequest{Level: 2}) }, "level 2", "<nil>"},
		{func() (any, error) { return nil, c.Leave(ctx, addr, api.Departure{Node: node}) }, "leaves " + string(node) + " unless needed false", "<nil>"},
		{func() (any, error) { return nil, c.Leave(ctx, addr, api.Departure{Node: node, UnlessNeeded: true}) }, "leaves " + string(node) + " unless needed true", "<nil>"},
		{func() (any, error) {
			r, err := c.Join(ctx, addr, api.JoinRequest{Member: catalog.Member{Name: "n4"}})
			return r.Leader, err
		}, "admit n4", "n1"},
	} {
		got, err := tt.call()
		if fmt.Sprint(got) != tt.got || err != nil || w.last() != tt.want {
			t.Errorf("call = %q, answer %v, %v, want %q and %s", w.last(), got, err, tt.want, tt.got)
		}
		w.set(func() { w.callErr = fmt.Errorf("here: %w", api.ErrNotLeader) })
		if _, err := tt.call(); !errors.Is(err, api.ErrNotLeader) {
			t.Errorf("%s = %v, want %v", tt.want, err, api.ErrNotLeader)
		}
		w.set(func() { w.callErr = nil })
	}
}

func TestPeerBlob(t *testing.T) {
	w := newWorld(t)
	content := noise(3<<20, 1)
	b := w.add(t, "foo.pdb", content)
	packed := must(os.ReadFile(w.path(b.Digest)))
	addr := startPeer(t, w, testConfig())
	c := api.NewPeerClient(func() catalog.ClusterID { return clusterID })
	defer c.Close()
	for _, tt := range []struct{ offset, n int64 }{
		{0, -1}, {0, 100}, {1000, 2000000}, {int64(len(packed)) - 5, -1}, {0, int64(len(packed))}, {5, int64(len(packed)) * 2},
	} {
		body, total, err := c.Blob(t.Context(), addr, b.Digest, tt.offset, tt.n)
		if err != nil {
			t.Errorf("Blob(%d, %d) = %v", tt.offset, tt.n, err)
			continue
		}
		got, err := io.ReadAll(body)
		body.Close()
		want := packed[tt.offset:]
		if tt.n >= 0 && tt.n < int64(len(want)) {
			want = want[:tt.n]
		}
		if err != nil || !bytes.Equal(got, want) || total != int64(len(packed)) {
			t.Errorf("Blob(%d, %d) = %d bytes of %d, %v, want %d of %d", tt.offset, tt.n, len(got), total, err, len(want), len(packed))
		}
	}
	var e *api.Error
	if _, _, err := c.Blob(t.Context(), addr, b.Digest, int64(len(packed)), 10); !errors.As(err, &e) || e.Status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("Blob past the end = %v, want 416", err)
	}
	if _, _, err := c.Blob(t.Context(), addr, catalog.Digest{9}, 0, -1); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("Blob of a digest we lack = %v, want %v", err, catalog.ErrNotFound)
	}
}

// TestJoinerMayOnlyJoin: a connection without a cluster id reaches one route.
func TestJoinerMayOnlyJoin(t *testing.T) {
	w := newWorld(t)
	b := w.add(t, "foo.pdb", noise(100, 1))
	addr := startPeer(t, w, testConfig())
	c := api.NewPeerClient(func() catalog.ClusterID { return "" })
	defer c.Close()
	ctx := t.Context()
	if r, err := c.Join(ctx, addr, api.JoinRequest{Member: catalog.Member{Name: "n4"}}); err != nil || r.ClusterID != clusterID {
		t.Errorf("Join = %+v, %v", r, err)
	}
	_, statusErr := c.Status(ctx, addr)
	_, proposeErr := c.Propose(ctx, addr, []byte{1})
	_, _, blobErr := c.Blob(ctx, addr, b.Digest, 0, -1)
	for _, err := range []error{statusErr, proposeErr, blobErr} {
		if !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("other route = %v, want %v", err, catalog.ErrNotFound)
		}
	}
	if w.last() != "admit n4" {
		t.Errorf("calls = %q, want the join alone", w.every())
	}
}

func TestPeerRefusals(t *testing.T) {
	w := newWorld(t)
	cfg := testConfig()
	cfg.CommandBytes = 64 << 10
	addr := startPeer(t, w, cfg)
	d := blobDigest.String()
	for _, tt := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/peer/v1/propose", "", 400},
		{"POST", "/peer/v1/propose", strings.Repeat("x", 64<<10+1), 413},
		{"GET", "/peer/v1/propose", "", 405},
		{"GET", "/peer/v1/lookup", "", 400},
		{"GET", "/peer/v1/lookup?key=zz", "", 400},
		{"GET", "/peer/v1/lookup?key=" + strings.Repeat("ab", 1025), "", 400},
		{"GET", "/peer/v1/lookup?key=ab" + strings.Repeat("&key=ab", 64), "", 400},
		{"POST", "/peer/v1/leave", "", 400},
		{"POST", "/peer/v1/leave?node=../x", "", 400},
		{"POST", "/peer/v1/have", "{", 400},
		{"GET", "/peer/v1/blobs/..", "", 400},
		{"GET", "/peer/v1/blobs/../status", "", 404},
		{"GET", "/peer/v1/blobs/%2e%2e%2fraft.db", "", 400},
		{"POST", "/peer/v1/blobs/" + d + "/fetch", "{}", 400},
		{"POST", "/peer/v1/blobs/nope/fetch", "{}", 400},
		{"GET", "/api/v1/cluster", "", 404},
		{"GET", pdbPath, "", 404},
	} {
		pc, err := api.DialPeer(t.Context(), addr, api.PeerHTTP, clusterID)
		if err != nil {
			t.Fatal(err)
		}
		c := wrap(t, pc)
		c.send(t, request(tt.method, tt.path, fmt.Sprintf("Content-Length: %d", len(tt.body)))+tt.body)
		a, err := c.receive(tt.method)
		if err != nil || a.StatusCode != tt.status || a.Header.Get(api.HeaderNode) != "n1" {
			t.Errorf("%s %.60s = %v, %v, want %d from n1", tt.method, tt.path, a.Response, err, tt.status)
		}
	}
	if got := w.every(); len(got) > 0 {
		t.Errorf("calls = %q, want none", got)
	}
}
