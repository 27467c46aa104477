package container

import (
	"archive/tar"
	"bufio"
	"errors"
	"io"
	"path"
	"strings"

	"symkeep/internal/symfile"
)

// isTar reports whether a tar begins here.
func isTar(r *bufio.Reader) bool {
	head, _ := r.Peek(512) // a shorter stream is no tar
	return len(head) == 512 && string(head[257:262]) == "ustar"
}

func (w *walk) tarFile() error { return w.tar(bufio.NewReaderSize(w.section(0), 64<<10)) }

// tar visits the members of a tar in any of its forms. A hard link is passed over:
// the file it is a link to is a member, too.
func (w *walk) tar(r io.Reader) error {
	t := tar.NewReader(r)
	for first := true; ; first = false {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF) && !first:
			return nil
		case err != nil:
			return w.fault("%s: tar: %v", w.name, err)
		}
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse || strings.HasSuffix(h.Name, "/") {
			continue
		}
		if err := w.member(h.Name, h.Size, t); err != nil {
			return err
		}
	}
}

// arHead is the length of an ar(5) member header; all its fields are text.
const arHead = 60

// deb visits the files of a Debian package: of its ar archive, the member
// data.tar and no other (deb(5)).
func (w *walk) deb() error {
	for off := int64(8); off < w.size; {
		head, err := symfile.Read(w.in, w.size, off, arHead, "member header of the deb", ErrDamaged)
		if err != nil {
			return w.fault("%s: %v", w.name, err)
		}
		size, ok := decimal(strings.TrimSpace(string(head[48:58])))
		if !ok || string(head[58:]) != "`\n" || size > w.size-off-arHead {
			return damaged("%s: deb: member header at %#x: found size %.10q in a file of %d bytes", w.name, off, head[48:58], w.size)
		}
		name := strings.TrimSuffix(strings.TrimSpace(string(head[:16])), "/")
		if stem, ext, _ := strings.Cut(name, ".tar"); stem == "data" {
			return w.debData(ext, io.NewSectionReader(w.in, off+arHead, size))
		}
		off += arHead + size + size&1
	}
	return damaged("%s: deb: no member data.tar", w.name)
}

func (w *walk) debData(ext string, r io.Reader) error {
	f, ok := map[string]symfile.Format{".gz": symfile.Gzip, ".xz": symfile.XZ, ".zst": symfile.Zstd, ".bz2": symfile.Bzip2}[ext]
	switch {
	case ext == "":
		return w.tar(bufio.NewReaderSize(r, 64<<10))
	case !ok:
		return unsupported("%s: deb: data.tar%s", w.name, path.Clean(ext))
	}
	return w.decompress(f, r, func(r *bufio.Reader) error { return w.tar(r) })
}

// decimal reads up to 18 digits.
func decimal(s string) (n int64, ok bool) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, s != "" && len(s) <= 18
}
