package symhttp

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/valyala/fasthttp"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// archiveRoute takes the bytes of an archive as its body, streamed.
const archiveRoute = "/api/v1/packages/*/archives/*"

// addArchive adds what is in an archive to a package, for people who push without
// the agent.
func (a *agents) addArchive(rc *fasthttp.RequestCtx, args []string) {
	ar, err := archiveOf(rc, args)
	if err != nil {
		rc.SetConnectionClose()
		a.fail(rc, err)
		return
	}
	if !a.begin(rc, fmt.Sprintf("archive %q", ar.Name)) {
		return
	}
	defer a.end()
	b := newUploadBody(rc, ar.Size, a.cfg.ChunkTimeout)
	a.metrics.uploadBegins()
	r, err := a.Archives.AddArchive(a.base, ar, b)
	read := b.close()
	a.metrics.uploadEnds(read)
	if read < ar.Size {
		rc.SetConnectionClose() // the rest of the body is still to come
	}
	a.result(rc, r, err)
}

// archiveOf reads what a request announces.
func archiveOf(rc *fasthttp.RequestCtx, args []string) (ar Archive, err error) {
	if ar.Package, err = packageID(args[0]); err != nil {
		return ar, err
	}
	if ar.Name, err = url.PathUnescape(args[1]); err == nil {
		err = symid.CheckName(ar.Name)
	}
	if err != nil {
		return ar, refuse(http.StatusBadRequest, "archive %q: %v", clip(args[1]), err)
	}
	ar.Size = int64(rc.Request.Header.ContentLength())
	switch {
	case len(rc.Request.Header.Peek("Transfer-Encoding")) > 0 || ar.Size < 0:
		return ar, refuse(http.StatusLengthRequired, "archive %q: no Content-Length, wanted the number of bytes that follow", ar.Name)
	case ar.Size == 0 || ar.Size > catalog.MaxFileBytes:
		return ar, refuse(http.StatusBadRequest, "archive %q: %d bytes, wanted 1 to %d", ar.Name, ar.Size, catalog.MaxFileBytes)
	}
	return ar, nil
}

// earlyArchive is early for archives.
func (a *agents) earlyArchive(rc *fasthttp.RequestCtx, args []string) bool {
	ar, err := archiveOf(rc, args)
	if err == nil {
		ctx, cancel := a.call()
		defer cancel()
		err = a.Archives.ArchiveState(ctx, ar)
	}
	if err != nil {
		a.fail(rc, err)
	}
	return err != nil
}
