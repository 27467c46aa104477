package symhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"

	"symkeep/internal/api"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

// Backups gives what has to be kept elsewhere for the day everything is lost.
type Backups interface {
	// OpenBackup begins a backup of a state that holds all that was acknowledged
	// before the call.
	OpenBackup(ctx context.Context) (Backup, error)
	// BlobStates returns what the cluster knows of each blob.
	BlobStates(ctx context.Context, digests []catalog.Digest) ([]api.BlobState, error)
}

// A Backup is a backup file that is ready to be written. Close releases what it
// holds, also after WriteTo has failed.
type Backup interface {
	io.WriterTo
	Size() int64
	Close()
}

func (a *agents) backupRoutes() []route {
	return []route{
		{"GET", "/api/v1/backup", a.backup},
		{"GET", "/api/v1/blobs/*", a.packedBlob},
		{"POST", "/api/v1/blobs", a.blobStates},
	}
}

// backup streams a backup file. A client that stands still is cut: the catalog
// cannot reuse its pages meanwhile.
func (a *agents) backup(rc *fasthttp.RequestCtx, _ []string) {
	ctx, cancel := a.call()
	defer cancel()
	b, err := a.Backups.OpenBackup(ctx)
	if err != nil {
		a.fail(rc, err)
		return
	}
	a.stamp(rc)
	rc.SetContentType("application/octet-stream")
	rc.Response.Header.Set("Cache-Control", "no-store")
	conn := rc.Conn()
	rc.SetWriteDeadline(time.Now().Add(a.cfg.WriteTimeout))
	src := steady{b, conn, a.cfg.ChunkTimeout}
	stream(rc, &body{src: src, size: b.Size(), conn: conn, done: func(bool) { b.Close() }})
}

// A steady body gives its reader a new deadline with every chunk.
type steady struct {
	b     Backup
	conn  net.Conn
	chunk time.Duration
}

var errWriteOnly = errors.New("a backup is written, never read")

// Read implements io.Reader for the body, which always finds WriteTo.
func (s steady) Read([]byte) (int, error) { return 0, errWriteOnly }

// WriteTo implements io.WriterTo.
func (s steady) WriteTo(w io.Writer) (int64, error) { return s.b.WriteTo(deadlined{w, s}) }

type deadlined struct {
	io.Writer
	s steady
}

// Write implements io.Writer.
func (d deadlined) Write(p []byte) (int, error) {
	if err := d.s.conn.SetWriteDeadline(time.Now().Add(d.s.chunk)); err != nil {
		return 0, err
	}
	return d.Writer.Write(p)
}

// packedBlob sends the packed file of a blob as it is stored. A local copy is read
// through before its first byte goes out; one of a peer is the client's to check.
func (a *agents) packedBlob(rc *fasthttp.RequestCtx, args []string) {
	d, err := digest(args[0])
	if err != nil {
		a.fail(rc, err)
		return
	}
	b, err := a.soundBlob(d)
	if err != nil {
		a.fail(rc, err)
		return
	}
	size := b.Size()
	var src io.Reader = io.NewSectionReader(b, 0, size)
	if f := b.File(); f != nil {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			b.Close()
			a.fail(rc, fmt.Errorf("blob %s: %w: %w", d, err, catalog.ErrUnavailable))
			return
		}
		src = f
	}
	a.stamp(rc)
	rc.SetContentType("application/octet-stream")
	rc.SetWriteDeadline(time.Now().Add(a.cfg.WriteTimeout + a.cfg.sending(size)))
	stream(rc, &body{src: src, size: size, conn: rc.Conn(), done: func(bool) { b.Close() }})
}

// soundBlob opens a blob; a local copy that is damaged is reported, and another one
// taken.
func (a *agents) soundBlob(d catalog.Digest) (Blob, error) {
	for range 2 {
		ctx, cancel := a.call()
		b, err := a.Blobs.OpenBlob(ctx, d)
		cancel()
		if err != nil || b.File() == nil {
			return b, err
		}
		if _, err = cab.Verify(a.base, b, b.Size()); err == nil {
			return b, nil
		}
		b.Close()
		a.Blobs.Suspect(d, err)
	}
	return nil, fmt.Errorf("blob %s: the copy of this node is damaged, another one is on its way: %w", d, catalog.ErrUnavailable)
}

func (a *agents) blobStates(rc *fasthttp.RequestCtx, _ []string) {
	var r api.BlobsRequest
	err := a.read(rc, &r)
	if err == nil && len(r.Digests) > api.MaxHave {
		err = refuse(http.StatusBadRequest, "%d digests, at most %d are accepted", len(r.Digests), api.MaxHave)
	}
	if err != nil {
		a.fail(rc, err)
		return
	}
	ctx, cancel := a.call()
	defer cancel()
	v, err := a.Backups.BlobStates(ctx, r.Digests)
	a.result(rc, api.BlobsResponse{Blobs: v}, err)
}
