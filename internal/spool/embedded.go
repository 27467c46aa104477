package spool

import (
	"crypto/sha256"
	"errors"
	"io"
	"path"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/pe"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// Embedded returns the portable PDB inside the managed image that r holds and file
// names, as a file of its own: debuggers that do not look into images ask for it by
// its id. Its path is that of the image, a slash, and the name the image knows it by.
// The result is nil if the image has none, or one without an id or that does not unpack,
// of which validation tells. The error is one of r or of the disk.
func (d *Dir) Embedded(r io.ReaderAt, size int64, file string) (*File, error) {
	m, name := embedded(r, size)
	if m == nil {
		return nil, nil
	}
	if symid.CheckName(name) != nil {
		base := symid.BaseName(file)
		name = strings.TrimSuffix(base, path.Ext(base)) + ".pdb"
	}
	f, err := d.unpack(m, file+"/"+name)
	switch {
	case errors.Is(err, pe.ErrEmbedded):
		return nil, nil
	case err == nil && len(f.Identity.Keys) == 0:
		return nil, remove(f.Local)
	}
	return f, err
}

// embedded finds the embedded portable PDB of an image, and its name.
func embedded(r io.ReaderAt, size int64) (m *pe.Embedded, name string) {
	f, err := pe.Open(r, size)
	if err != nil {
		return nil, ""
	}
	entries, _ := f.Debug()
	for _, e := range entries {
		switch e.Type {
		case pe.DebugCodeView:
			if cv, err := f.CodeView(e); err == nil && cv.Portable {
				name = cv.Name()
			}
		case pe.DebugEmbeddedPDB:
			m, _ = f.Embedded(e)
		}
	}
	return m, name
}

// unpack writes m to a new file.
func (d *Dir) unpack(m *pe.Embedded, file string) (f *File, err error) {
	out, err := d.Create()
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			err = errors.Join(err, remove(out.Name()))
		}
	}()
	h := sha256.New()
	size, err := io.Copy(io.MultiWriter(&writer{d: d, file: out}, h), m.Reader())
	if err != nil {
		return nil, err
	}
	f = &File{Path: file, Local: out.Name(), Size: size, SHA256: catalog.Digest(h.Sum(nil))}
	f.Identity, err = validate.Identify(out, size, symid.BaseName(file))
	return f, err
}
