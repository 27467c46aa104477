package api

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// A PeerClient speaks /peer/v1 to any member, by peer address, over connections
// that open with the preamble.
type PeerClient struct {
	http *http.Client
}

// NewPeerClient returns a client of one cluster's members; cluster is asked at
// each new connection and is empty while the node has none.
func NewPeerClient(cluster func() catalog.ClusterID) *PeerClient {
	return NewSlowPeerClient(cluster, 0)
}

// NewSlowPeerClient returns a PeerClient to which members send at most ahead bytes
// before they are read, so that they do not give it the time that others wait for; 0
// leaves that to the system.
func NewSlowPeerClient(cluster func() catalog.ClusterID, ahead int) *PeerClient {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			conn, err := DialPeer(ctx, addr, PeerHTTP, cluster())
			if tcp, ok := conn.(*net.TCPConn); ok && ahead > 0 {
				_ = tcp.SetReadBuffer(ahead) // it is for others' sake
			}
			return conn, err
		},
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     60 * time.Second,
		DisableCompression:  true,
	}
	return &PeerClient{&http.Client{Transport: t, CheckRedirect: stay}}
}

// Close drops idle connections.
func (p *PeerClient) Close() { p.http.CloseIdleConnections() }

func (p *PeerClient) at(addr string) *caller { return &caller{"http://" + addr, p.http} }

// Propose hands an encoded command to the leader and returns its encoded result.
// An error that does not wrap ErrNotLeader leaves the outcome unknown.
func (p *PeerClient) Propose(ctx context.Context, addr string, command []byte) (json.RawMessage, error) {
	var out json.RawMessage
	_, err := p.at(addr).call(ctx, "POST", "/peer/v1/propose", command, &out)
	return out, err
}

// ReadIndex asks the leader for an index that every later read must have applied.
func (p *PeerClient) ReadIndex(ctx context.Context, addr string) (uint64, error) {
	var out ReadIndexResponse
	_, err := p.at(addr).call(ctx, "POST", "/peer/v1/read-index", nil, &out)
	return out.Index, err
}

// Status asks a node about itself.
func (p *PeerClient) Status(ctx context.Context, addr string) (PeerStatus, error) {
	var out PeerStatus
	_, err := p.at(addr).call(ctx, "GET", "/peer/v1/status", nil, &out)
	return out, err
}

// Have asks which of the blobs a node holds; entries are nil where it has none.
func (p *PeerClient) Have(ctx context.Context, addr string, digests []catalog.Digest) ([]*catalog.Packed, error) {
	var out HaveResponse
	if _, err := p.at(addr).call(ctx, "POST", "/peer/v1/have", HaveRequest{digests}, &out); err != nil {
		return nil, err
	}
	if len(out.Have) != len(digests) {
		return nil, fmt.Errorf("peer %s: %d answers to %d digests: %w", addr, len(out.Have), len(digests), catalog.ErrUnavailable)
	}
	return out.Have, nil
}

// Blob streams the packed bytes of a blob from offset on, at most n of them, or
// all when n is negative. The caller closes the body. total is the packed size.
func (p *PeerClient) Blob(ctx context.Context, addr string, d catalog.Digest, offset, n int64) (body io.ReadCloser, total int64, err error) {
	c := p.at(addr)
	req, err := http.NewRequestWithContext(ctx, "GET", c.base+"/peer/v1/blobs/"+d.String(), nil)
	if err != nil {
		return nil, 0, err
	}
	if n >= 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+n-1))
	} else if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, 0, err
	}
	if resp.StatusCode == http.StatusOK && req.Header.Get("Range") == "" {
		return resp.Body, resp.ContentLength, nil
	}
	var first, last int64
	if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total); err != nil || first != offset {
		resp.Body.Close()
		return nil, 0, fmt.Errorf("peer %s: content range %q, wanted offset %d: %w", addr, resp.Header.Get("Content-Range"), offset, catalog.ErrUnavailable)
	}
	return resp.Body, total, nil
}

// Fetch tells a node to pull a blob from another one, and returns once its copy
// is durable and verified.
func (p *PeerClient) Fetch(ctx context.Context, addr string, d catalog.Digest, r FetchRequest) error {
	_, err := p.at(addr).call(ctx, "POST", "/peer/v1/blobs/"+d.String()+"/fetch", r, nil)
	return err
}

// Join asks a member to take this node in, or to note its new addresses.
func (p *PeerClient) Join(ctx context.Context, addr string, r JoinRequest) (JoinResponse, error) {
	var out JoinResponse
	_, err := p.at(addr).call(ctx, "POST", "/peer/v1/join", r, &out)
	return out, err
}

// Lookup asks a node that leads or holds a negative lease. An empty answer is an
// authoritative miss.
func (p *PeerClient) Lookup(ctx context.Context, addr string, keys []symid.IndexKey) (LookupResponse, error) {
	var out LookupResponse
	path := "/peer/v1/lookup?"
	for i, k := range keys {
		if i > 0 {
			path += "&"
		}
		path += "key=" + hex.EncodeToString([]byte(k))
	}
	_, err := p.at(addr).call(ctx, "GET", path, nil, &out)
	return out, err
}

// Leave tells the leader that a member goes for good. A leader of the first builds
// does not look whether it is needed.
func (p *PeerClient) Leave(ctx context.Context, addr string, d Departure) error {
	path := "/peer/v1/leave?node=" + string(d.Node)
	if d.UnlessNeeded {
		path += "&unless=needed"
	}
	_, err := p.at(addr).call(ctx, "POST", path, nil, nil)
	return err
}

func decodeAnswer(base string, r io.Reader, out any) error {
	if err := json.NewDecoder(io.LimitReader(r, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("%s: answer cut or not JSON: %v: %w", base, err, catalog.ErrUnavailable)
	}
	return nil
}
