package symhttp

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"time"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

// unfitFor is how long the cache is left alone after its disk failed.
const unfitFor = time.Minute

// cacheForm is the form in which the cache has, or would have, what a representation of
// the blob is sent from. It is empty where the packed file of this node is sent itself.
func (o *object) cacheForm(id answerID, encoding string) blobstore.Form {
	local := o.file != nil
	switch {
	case id.form != formCabinet && encoding == "":
		return blobstore.FormRaw
	case id.form != formCabinet && o.cab.Info().Container == cab.Cab:
		return blobstore.FormGzip
	case local:
		return ""
	}
	return blobstore.FormPacked
}

// worthPouring reports whether the bytes go through the cache: those that cost much to
// make at once, a copy of what this node holds only if it is asked for again.
func (o *object) worthPouring(id answerID, form blobstore.Form) bool {
	if o.st.cache == nil || o.raw != nil || form == "" || time.Now().UnixNano() < o.st.unfit.Load() {
		return false
	}
	return form == blobstore.FormRaw || o.file == nil || o.st.seen.again(id)
}

// poured replaces the body of a whole representation by one that comes through the
// cache, where all who ask for it meanwhile read it too.
func (o *object) poured(id answerID, r representation) representation {
	form := o.cacheForm(id, r.encoding)
	if form == blobstore.FormPacked && r.size != o.cab.Info().PackedSize || !o.worthPouring(id, form) {
		return r // under another name it is another file
	}
	direct := r.body
	r.body = func(ctx context.Context, s span, conn net.Conn) (*body, error) {
		if s.off > 0 || s.n < r.size {
			return direct(ctx, s, conn)
		}
		tap, err := o.pour(form)
		if err != nil {
			return direct(ctx, s, conn)
		}
		if err := tap.Wait(1); err != nil { // before the header: it may be tried again
			tap.Close()
			return nil, err
		}
		return &body{src: tap, size: s.n, conn: conn, done: func(bool) { tap.Close() }}, nil
	}
	return r
}

// pour has the cache make a form of the blob, from this object if nobody is at it yet:
// then the object is open until that has ended.
func (o *object) pour(form blobstore.Form) (*blobstore.Tap, error) {
	st := o.st
	src := blobstore.Source{Digest: o.digest, Form: form, Size: o.size, Failed: st.pourFailed}
	if form == blobstore.FormGzip {
		src.Size = o.cab.Info().GzipSize
	}
	if form == blobstore.FormPacked {
		src.Size = o.cab.Info().PackedSize
	}
	src.Write = func(ctx context.Context, w io.Writer) error {
		defer o.release()
		err := o.writeForm(ctx, form, w)
		st.suspect(o.digest, err)
		return err
	}
	tap, begun, err := st.cache.Pour(src)
	o.given = o.given || begun
	return tap, err
}

// pourFailed leaves the cache alone for a while if its disk is to blame.
func (st *store) pourFailed(err error) {
	var disk *fs.PathError
	if errors.As(err, &disk) || errors.Is(err, catalog.ErrFull) {
		st.unfit.Store(time.Now().Add(unfitFor).UnixNano())
	}
}

// writeForm writes a form of the blob.
func (o *object) writeForm(ctx context.Context, form blobstore.Form, w io.Writer) error {
	r, err := o.readForm(ctx, form)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return err
}

func (o *object) readForm(ctx context.Context, form blobstore.Form) (io.ReadCloser, error) {
	if form == blobstore.FormRaw {
		return o.unpack(ctx, span{0, o.size})
	}
	if err := o.takePacked(ctx); err != nil {
		return nil, err
	}
	if form == blobstore.FormGzip {
		r, _ := o.cab.Gzip()
		return r, nil
	}
	r, _, err := o.cab.Cabinet(o.cab.Info().Name)
	return r, err
}
