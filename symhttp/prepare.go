package symhttp

import (
	"context"
	"errors"
	"io"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// prepare returns the answer to a request, or the open blob to make it from: what is
// small is read into memory, what is a checked file is sent as one. Requests for the
// same answer wait for the first of them.
func (st *store) prepare(ctx context.Context, c catalog.Candidate, id answerID) (*answer, *object, error) {
	if a := st.shelf.get(id); a != nil {
		return a, nil, nil
	}
	var mine *object // the first one's, who goes on with it
	v, err, _ := st.flights.Do(id.key(), func() (any, error) {
		if a := st.shelf.get(id); a != nil { // of a flight that has just ended
			return a, nil
		}
		o, err := st.open(ctx, c, id)
		if err != nil {
			return nil, err
		}
		a, err := o.answer(ctx, id)
		if a != nil || err != nil {
			o.Close()
			return a, err
		}
		mine = o
		return nil, nil
	})
	if a, ok := v.(*answer); ok || err != nil {
		return a, nil, err
	}
	if mine == nil {
		mine, err = st.open(ctx, c, id)
	}
	return nil, mine, err
}

func (id answerID) key() string {
	return string(id.digest[:]) + string([]byte{byte(id.form)}) + id.member
}

// open opens the blob that an answer is made from.
func (st *store) open(ctx context.Context, c catalog.Candidate, id answerID) (*object, error) {
	if id.form == formRaw {
		return st.openRaw(ctx, c)
	}
	return st.openPacked(ctx, c)
}

// represent returns the form of the blob that was asked for. errMiss: it has none.
func (o *object) represent(id answerID) (representation, error) {
	r := representation{name: o.name, raw: o.size, size: o.size, etag: rawTag(o.digest), rangeable: true, body: o.rawBody}
	switch {
	case id.form == formCabinet:
		return o.cabinet(id.member)
	case id.form == formGzip && o.cab.Info().GzipSize < o.size:
		r.encoding, r.rangeable = "gzip", false
		r.size, r.etag = o.cab.Info().GzipSize, gzipTag(o.digest, o.cab.Info().PackedSHA256)
		r.body = o.wholeGzip
	}
	return r, nil
}

// cabinet is the .pd_ form with that name inside.
func (o *object) cabinet(member string) (representation, error) {
	name := o.cab.Info().Name
	if symid.Fold(member) != symid.Fold(name) {
		name = member
	}
	_, info, err := o.cab.Rehead(name)
	if errors.Is(err, cab.ErrNoCabinet) || errors.Is(err, cab.ErrName) {
		return representation{}, errMiss // only the raw name has an answer
	}
	return representation{
		name: o.name, raw: o.size, size: info.PackedSize, etag: packedTag(info.PackedSHA256), rangeable: true,
		body: o.cabinetNamed(name),
	}, err
}

// answer makes an answer of the blob and puts it on the shelf. It is nil if the blob is
// not small and nothing can be sent as it is.
func (o *object) answer(ctx context.Context, id answerID) (*answer, error) {
	r, err := o.represent(id)
	if err != nil {
		return nil, err
	}
	a := &answer{raw: o.size, size: r.size, etag: r.etag, encoding: r.encoding}
	switch {
	case r.size <= smallMost:
		a.until = o.st.shelf.now().Add(smallFor)
		if a.lead, err = o.read(ctx, r); err != nil {
			return nil, err
		}
	case !o.fromFile(a, id):
		return nil, nil
	default:
		a.until = o.st.shelf.now().Add(fileFor)
	}
	o.st.shelf.put(id, a)
	return a, nil
}

// read returns a whole representation.
func (o *object) read(ctx context.Context, r representation) ([]byte, error) {
	b, err := r.body(ctx, span{0, r.size}, nil)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	data := make([]byte, r.size)
	if _, err := io.ReadFull(b, data); err != nil {
		o.st.suspect(o.digest, err)
		return nil, err
	}
	return data, nil
}

// fromFile lets an answer be sent from the file that the blob was opened from, if that
// has its bytes and was checked not long ago.
func (o *object) fromFile(a *answer, id answerID) bool {
	if o.raw != nil {
		info, err := o.raw.Stat()
		a.files = &handles{path: o.raw.Name(), info: info}
		return err == nil
	}
	if o.fromCache(a, id) {
		return true
	}
	if !o.sendable() {
		return false
	}
	switch {
	case id.form == formCabinet:
		if !o.rename(a, id) {
			return false
		}
	case a.encoding != "":
		off, _, ok := o.cab.GzipSection()
		if !ok {
			return false
		}
		a.off = off
	default:
		return false
	}
	a.files = &handles{path: o.blob.File().Name(), info: o.file}
	return true
}

// fromCache is fromFile for a file of the cache.
func (o *object) fromCache(a *answer, id answerID) bool {
	form := o.cacheForm(id, a.encoding)
	if o.st.cache == nil || form == "" {
		return false
	}
	f, ok := o.st.cache.Get(o.digest, form)
	if !ok {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || form == blobstore.FormPacked && !o.rename(a, id) {
		return false
	}
	a.files = &handles{path: f.Name(), info: info}
	return true
}

// rename gives an answer that is sent from a packed file the head that its name needs.
func (o *object) rename(a *answer, id answerID) bool {
	if symid.Fold(id.member) == symid.Fold(o.cab.Info().Name) {
		return true
	}
	head, _, err := o.cab.Rehead(id.member)
	if err != nil {
		return false
	}
	a.lead = head
	a.off, _ = o.cab.Body()
	return true
}
