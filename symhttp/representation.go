package symhttp

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// A representation is one form of one file, ready to be sent whole or in part.
type representation struct {
	name      string // base name of the file
	raw       int64  // bytes of the file
	size      int64
	etag      string // quoted, strong: it names these very bytes
	encoding  string // Content-Encoding, empty for identity
	rangeable bool
	data      []byte // all of it, or nil; never changed
	body      func(ctx context.Context, s span, conn net.Conn) (*body, error)
}

// Entity tags. The tag of the raw bytes is their digest, that of a cabinet its
// packed digest, that of the gzip form both.
func rawTag(d catalog.Digest) string          { return `"` + d.String() + `"` }
func packedTag(p catalog.Digest) string       { return `"` + p.String() + `"` }
func gzipTag(d, p catalog.Digest) string      { return `"` + d.String() + "." + p.String() + `"` }
func spanTag(d catalog.Digest, s span) string { return fmt.Sprintf(`"%s@%d+%d"`, d, s.off, s.n) }

// respond sends a representation: conditions, then a range, then the header, once
// the first bytes are known to be good. It returns the outcome for metrics.
func (d *debuggers) respond(ctx context.Context, rc *fasthttp.RequestCtx, l symid.Lookup, r representation) (string, error) {
	if fromDebuginfod(l) && tooLarge(rc, r.artifactSize(l)) {
		empty(rc, http.StatusNotAcceptable)
		return statusOf(http.StatusNotAcceptable), nil
	}
	part, status := r.choose(rc)
	var b *body
	if rc.IsGet() && status < 300 && r.data == nil {
		var err error
		if b, err = r.body(ctx, part, rc.Conn()); err != nil {
			return "", err
		}
	}
	d.head(rc, l, r, part, status)
	switch {
	case status < 300 && rc.IsGet() && r.data != nil:
		rc.Response.SetBodyRaw(r.data[part.off:part.end()])
		d.metrics.sent(part.n)
	case b != nil:
		rc.SetWriteDeadline(time.Now().Add(d.cfg.WriteTimeout + d.cfg.sending(part.n)))
		stream(rc, b)
		d.metrics.sent(part.n)
	case status < 300:
		rc.Response.Header.SetContentLength(int(part.n)) // HEAD
	}
	return statusOf(status), nil
}

// choose applies If-None-Match, then Range and If-Range.
func (r representation) choose(rc *fasthttp.RequestCtx) (span, int) {
	all := span{0, r.size}
	if inm := header(rc, "If-None-Match"); inm != "" && matchesETag(inm, r.etag) {
		return all, http.StatusNotModified
	}
	if !r.rangeable || !rc.IsGet() {
		return all, http.StatusOK
	}
	if ir := rc.Request.Header.Peek("If-Range"); len(ir) > 0 && string(ir) != r.etag {
		return all, http.StatusOK
	}
	lines := rc.Request.Header.PeekAll("Range")
	if len(lines) != 1 {
		return all, http.StatusOK
	}
	switch part, result := parseRange(string(lines[0]), r.size); result {
	case rangePart:
		return part, http.StatusPartialContent
	case rangeOut:
		return all, http.StatusRequestedRangeNotSatisfiable
	}
	return all, http.StatusOK
}

// head writes the status and every header but the length.
func (d *debuggers) head(rc *fasthttp.RequestCtx, l symid.Lookup, r representation, part span, status int) {
	h := &rc.Response.Header
	if status == http.StatusRequestedRangeNotSatisfiable {
		empty(rc, status)
		h.Set("Content-Range", "bytes */"+strconv.FormatInt(r.size, 10))
		return
	}
	rc.SetStatusCode(status)
	h.Set("ETag", r.etag)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "public, max-age=86400")
	if status == http.StatusNotModified {
		return
	}
	h.SetContentType("application/octet-stream")
	if r.rangeable {
		h.Set("Accept-Ranges", "bytes")
	}
	if r.encoding != "" {
		h.SetContentEncoding(r.encoding)
	}
	if status == http.StatusPartialContent {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.off, part.end()-1, r.size))
	}
	if fromDebuginfod(l) {
		h.Set("X-DEBUGINFOD-SIZE", strconv.FormatInt(r.artifactSize(l), 10))
		h.Set("X-DEBUGINFOD-FILE", r.name)
	}
}

// artifactSize is that of the uncompressed file or section.
func (r representation) artifactSize(l symid.Lookup) int64 {
	if l.Section != "" {
		return r.size
	}
	return r.raw
}
