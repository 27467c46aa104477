package symhttp

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// chunkBytes is how much of a body has to arrive within Config.ChunkTimeout.
const chunkBytes = 64 << 10

// upload takes the bytes of a blob, raw or packed, from an offset to their end. They
// are never buffered here.
func (a *agents) upload(rc *fasthttp.RequestCtx, args []string) {
	u, err := uploadOf(rc, args)
	if err != nil {
		rc.SetConnectionClose()
		a.fail(rc, err)
		return
	}
	if !a.begin(rc, "blob "+u.Digest.String()) {
		return
	}
	defer a.end()
	b := newUploadBody(rc, u.Size, a.cfg.ChunkTimeout)
	a.metrics.uploadBegins()
	r, err := a.Uploads.Upload(a.base, u, b)
	a.metrics.uploadEnds(b.close())
	if err == nil {
		rc.Response.Header.Set(api.HeaderUploadOffset, strconv.FormatInt(u.Length, 10))
	}
	a.result(rc, r, err)
}

// begin takes one of the places for uploads, which end gives back. Without a free one
// it answers the request and is false.
func (a *agents) begin(rc *fasthttp.RequestCtx, what string) bool {
	select {
	case a.slots <- struct{}{}:
		return true
	default:
		rc.SetConnectionClose()
		a.fail(rc, fmt.Errorf("%s: %d uploads are running, no more are taken: %w", what, cap(a.slots), catalog.ErrUnavailable))
		return false
	}
}

func (a *agents) end() { <-a.slots }

// uploadOf reads what an upload announces.
func uploadOf(rc *fasthttp.RequestCtx, args []string) (Upload, error) {
	u, err := uploadTarget(rc, args)
	if err != nil {
		return u, err
	}
	if u.Offset, err = lengthHeader(rc, api.HeaderUploadOffset, 0); err != nil {
		return u, err
	}
	u.Size = int64(rc.Request.Header.ContentLength())
	if len(rc.Request.Header.Peek("Transfer-Encoding")) > 0 || u.Size < 0 {
		return u, refuse(http.StatusLengthRequired, "blob %s: no Content-Length, wanted the number of bytes that follow", u.Digest)
	}
	if u.Length, err = lengthHeader(rc, api.HeaderUploadLength, u.Offset+u.Size); err != nil {
		return u, err
	}
	switch {
	case u.Length == 0 || u.Length > catalog.MaxFileBytes:
		return u, refuse(http.StatusBadRequest, "blob %s: %d bytes, wanted 1 to %d", u.Digest, u.Length, catalog.MaxFileBytes)
	case u.Offset > u.Length || u.Size != u.Length-u.Offset:
		return u, refuse(http.StatusBadRequest, "blob %s: %d bytes from offset %d on, wanted all up to the length %d", u.Digest, u.Size, u.Offset, u.Length)
	}
	return u, nil
}

func uploadTarget(rc *fasthttp.RequestCtx, args []string) (u Upload, err error) {
	if u.Package, err = packageID(args[0]); err != nil {
		return u, err
	}
	if u.Digest, err = digest(args[1]); err != nil {
		return u, err
	}
	if packed := string(rc.Request.Header.Peek(api.HeaderUploadPacked)); packed != "" {
		if u.Packed, err = catalog.ParseDigest(packed); err != nil {
			return u, refuse(http.StatusBadRequest, "header %s %q: wanted 64 hexadecimal digits", api.HeaderUploadPacked, clip(packed))
		}
	}
	return u, nil
}

// lengthHeader reads a header that counts bytes.
func lengthHeader(rc *fasthttp.RequestCtx, name string, missing int64) (int64, error) {
	text := string(rc.Request.Header.Peek(name))
	if text == "" {
		return missing, nil
	}
	n, ok := parseOffset(text)
	if !ok || n > catalog.MaxFileBytes {
		return 0, refuse(http.StatusBadRequest, "header %s %q: wanted a number of bytes up to %d", name, clip(text), catalog.MaxFileBytes)
	}
	return n, nil
}

// uploadState tells where an upload has to go on.
func (a *agents) uploadState(rc *fasthttp.RequestCtx, args []string) {
	u, err := uploadTarget(rc, args)
	if err != nil {
		a.fail(rc, err)
		return
	}
	ctx, cancel := a.call()
	defer cancel()
	st, err := a.Uploads.UploadState(ctx, u)
	if err != nil {
		a.fail(rc, err)
		return
	}
	rc.Response.Header.Set(api.HeaderUploadTakes, api.UploadTakes)
	rc.Response.Header.Set(api.HeaderUploadOffset, strconv.FormatInt(st.Offset, 10))
	if st.Length > 0 {
		rc.Response.Header.Set(api.HeaderUploadLength, strconv.FormatInt(st.Length, 10))
	}
	a.stamp(rc)
	empty(rc, http.StatusOK)
}

// expect decides on "Expect: 100-continue", before the client sends the body:
// what can be answered from the header is. The answer closes the connection.
func (a *agents) expect(rc *fasthttp.RequestCtx) (status int) {
	defer func() {
		if r := recover(); r != nil {
			a.panicked(rc, r)
			status = http.StatusInternalServerError
		}
	}()
	if a.early(rc) {
		return rc.Response.StatusCode()
	}
	return http.StatusContinue
}

// early answers a request from its header if it can.
func (a *agents) early(rc *fasthttp.RequestCtx) bool {
	path := rawPath(rc)
	if !strings.HasPrefix(path, "/api/") {
		miss(rc)
		return true
	}
	r, args, _ := a.table.find(string(rc.Method()), path)
	if r == nil {
		a.serve(rc, a.table, path)
		return true
	}
	if r.method != "PUT" {
		if n := int64(rc.Request.Header.ContentLength()); n > a.cfg.JSONBytes {
			a.fail(rc, refuse(http.StatusRequestEntityTooLarge, "body of %d bytes, at most %d are accepted", n, a.cfg.JSONBytes))
			return true
		}
		return false
	}
	if r.path == archiveRoute {
		return a.earlyArchive(rc, args)
	}
	u, err := uploadOf(rc, args)
	if err != nil {
		a.fail(rc, err)
		return true
	}
	ctx, cancel := a.call()
	defer cancel()
	st, err := a.Uploads.UploadState(ctx, u)
	switch {
	case err != nil:
		a.fail(rc, err)
	case st.Receipt != nil:
		rc.Response.Header.Set(api.HeaderUploadOffset, strconv.FormatInt(u.Length, 10))
		a.reply(rc, http.StatusOK, st.Receipt)
	case st.Offset != u.Offset:
		a.fail(rc, &OffsetError{Digest: u.Digest, Found: u.Offset, Acked: st.Offset})
	default:
		return false
	}
	return true
}

// uploadBody reads exactly the announced bytes of a request and moves the read
// deadline as they come. It ends with its handler: later reads fail without
// touching the request.
type uploadBody struct {
	timeout time.Duration

	mu    sync.Mutex // held while reading: close waits for a read in flight
	rc    *fasthttp.RequestCtx
	r     io.Reader
	size  int64
	read  int64
	fresh int64 // read since the deadline was set
}

var errBodyClosed = errors.New("the request of this body is over")

func newUploadBody(rc *fasthttp.RequestCtx, size int64, timeout time.Duration) *uploadBody {
	b := &uploadBody{timeout: timeout, rc: rc, r: rc.RequestBodyStream(), size: size, fresh: chunkBytes}
	if b.r == nil {
		b.r = strings.NewReader("")
	}
	return b
}

// Read implements io.Reader. A body that ends early is io.ErrUnexpectedEOF.
func (b *uploadBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.rc == nil:
		return 0, errBodyClosed
	case b.read == b.size:
		return 0, io.EOF
	case b.fresh >= chunkBytes:
		if err := b.rc.SetReadDeadline(time.Now().Add(b.timeout)); err != nil {
			return 0, err
		}
		b.fresh = 0
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.size-b.read)])
	b.read += int64(n)
	b.fresh += int64(n)
	if err == io.EOF {
		if err = nil; b.read < b.size {
			b.rc.SetConnectionClose()
			err = fmt.Errorf("body ends after %d of %d bytes: %w", b.read, b.size, io.ErrUnexpectedEOF)
		}
	}
	return n, err
}

// close returns how many bytes were read.
func (b *uploadBody) close() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rc, b.r = nil, nil
	return b.read
}
