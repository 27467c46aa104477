package symhttp

import (
	"context"
	"errors"
	"net"

	"github.com/valyala/fasthttp"

	"symkeep/internal/symfile"
	"symkeep/internal/symfile/elf"
	"symkeep/internal/symid"
)

// section serves one ELF section as it is stored: that of the debug file or, where
// it has none, that of the executable, as elfutils looks for it.
func (d *debuggers) section(ctx context.Context, rc *fasthttp.RequestCtx, l symid.Lookup) (string, error) {
	for _, a := range []symid.Artifact{symid.Debuginfo, symid.Executable} {
		result, err := d.sectionOf(ctx, rc, l, a)
		if !errors.Is(err, errMiss) {
			return result, err
		}
	}
	return "", errMiss
}

func (d *debuggers) sectionOf(ctx context.Context, rc *fasthttp.RequestCtx, l symid.Lookup, a symid.Artifact) (string, error) {
	var keys []symid.Key
	for _, k := range l.Keys {
		if k.Artifact == a {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return "", errMiss
	}
	c, err := d.locate(ctx, keys)
	if err != nil {
		return "", err
	}
	o, err := d.store.openRaw(ctx, c)
	if err != nil {
		return "", err
	}
	defer o.Close()
	s, err := findSection(o, l.Section)
	if err != nil {
		d.store.suspect(c.Digest, err)
		return "", err
	}
	return d.respond(ctx, rc, l, representation{
		name: o.name, raw: o.size, size: s.n, etag: spanTag(c.Digest, s), rangeable: true,
		body: func(ctx context.Context, part span, conn net.Conn) (*body, error) {
			return o.rawBody(ctx, span{s.off + part.off, part.n}, conn)
		},
	})
}

// findSection returns where the bytes of a section are. errMiss: the file has
// none of that name, or is no ELF file at all.
func findSection(o *object, name string) (span, error) {
	f, err := elf.Parse(o, o.size)
	var bad *symfile.FormatError
	if errors.As(err, &bad) {
		return span{}, errMiss
	}
	if err != nil {
		return span{}, err
	}
	s := f.Section(name)
	if s == nil || !s.HasContent() || s.Offset >= uint64(o.size) {
		return span{}, errMiss
	}
	return span{int64(s.Offset), f.Raw(s).Size()}, nil
}
