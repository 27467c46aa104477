package symhttp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/symhttp"
)

var blobDigest = catalog.Digest(sha256.Sum256([]byte("blob")))

func blobPath() string {
	return fmt.Sprintf("/api/v1/packages/%s/blobs/%s", packageID, blobDigest)
}

func client(t testing.TB, addr string) *api.Client {
	t.Helper()
	c, err := api.NewClient("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestUpload(t *testing.T) {
	w := newWorld(t)
	addr := start(t, testConfig(), w.public(t))
	content := noise(5<<20+3, 9)
	for _, offset := range []int64{0, 1 << 20, int64(len(content))} {
		w.state = symhttp.UploadState{Offset: offset, Length: int64(len(content))}
		r, err := client(t, addr).Upload(t.Context(), packageID, blobDigest, offset, int64(len(content)), bytes.NewReader(content[offset:]))
		if err != nil || r.Digest != blobDigest || len(r.Holders) != 2 {
			t.Errorf("Upload from %d = %+v, %v", offset, r, err)
		}
		if !bytes.Equal(w.uploaded.Bytes(), content[offset:]) {
			t.Errorf("Upload from %d: %d bytes arrived, want %d", offset, w.uploaded.Len(), int64(len(content))-offset)
		}
		want := fmt.Sprintf("upload %s %s %d+%d of %d", packageID, blobDigest, offset, int64(len(content))-offset, len(content))
		if w.last() != want {
			t.Errorf("call = %q, want %q", w.last(), want)
		}
	}
}

// TestUploadPacked: a packed file is told from raw bytes by a header, and its bytes are
// what is counted.
func TestUploadPacked(t *testing.T) {
	w := newWorld(t)
	addr := start(t, testConfig(), w.public(t))
	packed := catalog.Digest(sha256.Sum256([]byte("packed")))
	var got []symhttp.Upload
	w.upload = func(u symhttp.Upload, body io.Reader) (catalog.Receipt, error) {
		got = append(got, u)
		_, err := io.Copy(io.Discard, body)
		return catalog.Receipt{Digest: u.Digest}, err
	}
	c := client(t, addr)
	for _, s := range []api.Sending{
		{Package: packageID, Digest: blobDigest, Packed: packed, Size: 70_000},
		{Package: packageID, Digest: blobDigest, Size: 70_000},
	} {
		w.state = symhttp.UploadState{}
		if st, err := c.UploadState(t.Context(), s); err != nil || st != (api.UploadState{Packs: true}) {
			t.Errorf("UploadState = %+v, %v, want that packed files are taken", st, err)
		}
		w.state = symhttp.UploadState{Offset: 5, Length: 70_000}
		if _, err := c.Send(t.Context(), s, 5, bytes.NewReader(make([]byte, 70_000-5))); err != nil {
			t.Errorf("Send: %v", err)
		}
		want := symhttp.Upload{Package: packageID, Digest: blobDigest, Offset: 5, Size: 70_000 - 5, Length: 70_000, Packed: s.Packed}
		if u := got[len(got)-1]; u != want {
			t.Errorf("Upload %+v, want %+v", u, want)
		}
	}
	w.state = symhttp.UploadState{}
	d := dial(t, addr)
	d.send(t, request("PUT", blobPath(), "Content-Length: 4", "Upload-Packed: "+packed.String()[1:], "Expect: 100-continue"))
	if a, err := d.receive("PUT"); err != nil || a.StatusCode != 400 || !strings.Contains(string(a.body), "64 hexadecimal digits") {
		t.Errorf("answer to a short packed hash = %v, %v, want 400 with what is wanted", a.Response, err)
	}
}

func TestUploadOffset(t *testing.T) {
	w := newWorld(t)
	addr := start(t, testConfig(), w.public(t))
	for _, tt := range []struct {
		state    symhttp.UploadState
		offset   int64
		complete bool
	}{
		{symhttp.UploadState{}, 0, false},
		{symhttp.UploadState{Offset: 5}, 5, false},
		{symhttp.UploadState{Offset: 5, Length: 9}, 5, false},
		{symhttp.UploadState{Offset: 9, Length: 9}, 9, true},
	} {
		w.state = tt.state
		offset, complete, err := client(t, addr).UploadOffset(t.Context(), packageID, blobDigest)
		if offset != tt.offset || complete != tt.complete || err != nil {
			t.Errorf("UploadOffset with %+v = %d, %v, %v, want %d, %v", tt.state, offset, complete, err, tt.offset, tt.complete)
		}
	}
	w.stateErr = catalog.ErrNotFound
	if _, _, err := client(t, addr).UploadOffset(t.Context(), packageID, blobDigest); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("UploadOffset = %v, want %v", err, catalog.ErrNotFound)
	}
}

// TestUploadExpect: what can be said from the header is said before the body, and
// the connection closes, since the body may be on its way.
func TestUploadExpect(t *testing.T) {
	w := newWorld(t)
	addr := start(t, testConfig(), w.public(t))
	held := &catalog.Receipt{Digest: blobDigest, RawSize: 4, Holders: []catalog.NodeID{"n3"}}
	for _, tt := range []struct {
		name    string
		state   symhttp.UploadState
		err     error
		lines   []string
		status  int
		contain string
		offset  string
	}{
		{"go on", symhttp.UploadState{}, nil, nil, 100, "", ""},
		{"held", symhttp.UploadState{Offset: 4, Length: 4, Receipt: held}, nil, nil, 200, `"holders":["n3"]`, "4"},
		{"full", symhttp.UploadState{}, catalog.ErrFull, nil, 507, `"code":"full"`, ""},
		{"unknown package", symhttp.UploadState{}, catalog.ErrNotFound, nil, 404, `"code":"not_found"`, ""},
		{"closed package", symhttp.UploadState{}, catalog.ErrConflict, nil, 409, `"code":"conflict"`, ""},
		{"other offset", symhttp.UploadState{Offset: 3}, nil, nil, 409, "acknowledged 3", "3"},
		{"bad header", symhttp.UploadState{}, nil, []string{"Upload-Length: 17"}, 400, `"code":"invalid"`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.set(func() { w.state, w.stateErr = tt.state, tt.err })
			c := dial(t, addr)
			c.send(t, request("PUT", blobPath(), append([]string{"Content-Length: 4", "Expect: 100-continue"}, tt.lines...)...))
			a, err := c.receive("PUT")
			if err != nil {
				t.Fatal(err)
			}
			if a.StatusCode != tt.status || !strings.Contains(string(a.body), tt.contain) || a.Header.Get(api.HeaderUploadOffset) != tt.offset {
				t.Errorf("answer = %d %q offset %q, want %d with %s and offset %q", a.StatusCode, a.body, a.Header.Get(api.HeaderUploadOffset), tt.status, tt.contain, tt.offset)
			}
			if tt.status == 100 {
				c.send(t, "blob")
				if a, err = c.receive("PUT"); err != nil || a.StatusCode != 200 || w.uploaded.String() != "blob" {
					t.Errorf("after the body: %v, %v, uploaded %q", a.Response, err, w.uploaded.String())
				}
				return
			}
			if a.Header.Get(api.HeaderNode) != "n1" || !a.Close {
				t.Errorf("headers = %v, want the node and Connection: close", a.Header)
			}
			if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("Read after the answer = %d, %v, want the connection closed", n, err)
			}
		})
	}
}

func TestUploadRefused(t *testing.T) {
	w := newWorld(t)
	addr := start(t, testConfig(), w.public(t))
	good := blobPath()
	for _, tt := range []struct {
		name, path string
		lines      []string
		status     int
	}{
		{"chunked", good, []string{"Transfer-Encoding: chunked"}, 411},
		{"no length", good, nil, 400}, // a body of 0 bytes of a blob of 0
		{"offset past the length", good, []string{"Content-Length: 1", "Upload-Offset: 9", "Upload-Length: 5"}, 400},
		{"not to the end", good, []string{"Content-Length: 1", "Upload-Offset: 0", "Upload-Length: 5"}, 400},
		{"negative offset", good, []string{"Content-Length: 1", "Upload-Offset: -1"}, 400},
		{"huge offset", good, []string{"Content-Length: 1", "Upload-Offset: 9223372036854775807"}, 400},
		{"huge length", good, []string{"Content-Length: 99999999999999"}, 400},
		{"digest", "/api/v1/packages/" + string(packageID) + "/blobs/..", []string{"Content-Length: 1"}, 400},
		{"package", "/api/v1/packages/..%2f..%2fetc/blobs/" + blobDigest.String(), []string{"Content-Length: 1"}, 400},
	} {
		c := dial(t, addr)
		c.send(t, request("PUT", tt.path, tt.lines...)+"x")
		a, err := c.receive("PUT")
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if a.StatusCode != tt.status || !bytes.Contains(a.body, []byte(`"message"`)) {
			t.Errorf("%s: %d %s, want %d with a message", tt.name, a.StatusCode, a.body, tt.status)
		}
	}
	if got := w.every(); len(got) > 0 {
		t.Errorf("calls = %q, want none", got)
	}
}

// TestUploadConflict: the error of the node names the acknowledged offset.
func TestUploadConflict(t *testing.T) {
	w := newWorld(t)
	w.upload = func(u symhttp.Upload, _ io.Reader) (catalog.Receipt, error) {
		return catalog.Receipt{}, &symhttp.OffsetError{Digest: u.Digest, Found: u.Offset, Acked: 2}
	}
	addr := start(t, testConfig(), w.public(t))
	c := dial(t, addr)
	c.send(t, request("PUT", blobPath(), "Content-Length: 4")+"blob")
	a, err := c.receive("PUT")
	if err != nil || a.StatusCode != 409 || a.Header.Get(api.HeaderUploadOffset) != "2" {
		t.Errorf("PUT = %v, %v, want 409 with offset 2", a.Response, err)
	}
}

// TestUploadCut: a body that ends early or stands still reaches the node as an
// error, with all bytes that came, and never as a whole body.
func TestUploadCut(t *testing.T) {
	for _, tt := range []struct {
		name  string
		close bool
		want  error
	}{
		{"closed", true, io.ErrUnexpectedEOF},
		{"stalled", false, errTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			got := make(chan error, 1)
			w.upload = func(_ symhttp.Upload, body io.Reader) (catalog.Receipt, error) {
				n, err := io.Copy(io.Discard, body)
				if n != 100000 {
					err = fmt.Errorf("%d bytes", n)
				}
				got <- err
				return catalog.Receipt{}, err
			}
			cfg := testConfig()
			cfg.ChunkTimeout = 300 * time.Millisecond
			addr := start(t, cfg, w.public(t))
			c := dial(t, addr)
			c.send(t, request("PUT", blobPath(), "Content-Length: 200000"))
			if _, err := c.Write(make([]byte, 100000)); err != nil {
				t.Fatal(err)
			}
			if tt.close {
				c.Close()
			}
			err := <-got
			if tt.want == errTimeout {
				var timeout interface{ Timeout() bool }
				if !errors.As(err, &timeout) || !timeout.Timeout() {
					t.Errorf("error = %v, want a timeout", err)
				}
				return
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
		})
	}
}

var errTimeout = errors.New("timeout")

// TestUploadSlow: an upload may take longer than every timeout as long as bytes
// keep coming.
func TestUploadSlow(t *testing.T) {
	w := newWorld(t)
	cfg := testConfig()
	cfg.ReadTimeout, cfg.ChunkTimeout = 200*time.Millisecond, 200*time.Millisecond
	addr := start(t, cfg, w.public(t))
	c := dial(t, addr)
	const parts, size = 8, 128 << 10
	c.send(t, request("PUT", blobPath(), "Content-Length: "+strconv.Itoa(parts*size)))
	tick := time.NewTicker(80 * time.Millisecond)
	defer tick.Stop()
	for range parts {
		<-tick.C
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := c.receive("PUT"); err != nil || a.StatusCode != 200 || w.uploaded.Len() != parts*size {
		t.Errorf("PUT = %v, %v with %d bytes, want 200 with %d", a.Response, err, w.uploaded.Len(), parts*size)
	}
}

// TestUploadReaderEnds: whoever keeps the body beyond its request gets an error,
// not someone else's bytes.
func TestUploadReaderEnds(t *testing.T) {
	w := newWorld(t)
	kept := make(chan io.Reader, 1)
	w.upload = func(u symhttp.Upload, body io.Reader) (catalog.Receipt, error) {
		kept <- body
		return catalog.Receipt{}, nil
	}
	addr := start(t, testConfig(), w.public(t))
	c := dial(t, addr)
	c.send(t, request("PUT", blobPath(), "Content-Length: 4")+"blob")
	if a, err := c.receive("PUT"); err != nil || a.StatusCode != 200 {
		t.Fatalf("PUT = %v, %v", a.Response, err)
	}
	if n, err := (<-kept).Read(make([]byte, 4)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("Read after the request = %d, %v, want an error", n, err)
	}
	c.send(t, request("GET", "/pingme.txt")) // the unread body was skipped
	if a, err := c.receive("GET"); err != nil || a.StatusCode != 200 {
		t.Errorf("next request = %v, %v, want 200", a.Response, err)
	}
}

func TestUploadLimit(t *testing.T) {
	w := newWorld(t)
	running, finish := make(chan struct{}), make(chan struct{})
	w.upload = func(symhttp.Upload, io.Reader) (catalog.Receipt, error) {
		close(running)
		<-finish
		return catalog.Receipt{}, nil
	}
	cfg := testConfig()
	cfg.MaxUploads = 1
	addr := start(t, cfg, w.public(t))
	first := dial(t, addr)
	first.send(t, request("PUT", blobPath(), "Content-Length: 4")+"blob")
	<-running
	_, err := client(t, addr).Upload(context.Background(), packageID, blobDigest, 0, 4, strings.NewReader("blob"))
	if !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("second upload = %v, want %v", err, catalog.ErrUnavailable)
	}
	close(finish)
	if a, err := first.receive("PUT"); err != nil || a.StatusCode != http.StatusOK {
		t.Errorf("first upload = %v, %v, want 200", a.Response, err)
	}
}
