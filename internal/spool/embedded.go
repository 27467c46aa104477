package spool

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/container"
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
	return d.embedded(m, name, file)
}

// AddEmbedded puts the portable PDBs that images among the members of an archive of size
// bytes carry behind those, unless a member answers the same key or has the path already.
// Together they may unpack to what the archive may; else the error is one that
// container.Faulty recognises.
func (d *Dir) AddEmbedded(ctx context.Context, members []File, size int64) ([]File, error) {
	known, paths := Answered{}, map[string]bool{}
	for _, m := range members {
		known.Note(m.Identity)
		paths[m.Path] = true
	}
	budget := container.NewBudget(d.limits, size)
	var files []File
	for i := range members {
		m := &members[i]
		files = append(files, *m)
		if m.Ignored || !m.Identity.Embedded {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		pdb, err := d.embeddedOf(m, budget)
		if err != nil {
			return nil, fmt.Errorf("%s: embedded PDB: %w", m.Path, err)
		}
		if pdb == nil {
			continue
		}
		if known.Note(pdb.Identity) || paths[pdb.Path] {
			if err := remove(pdb.Local); err != nil {
				return nil, err
			}
			continue
		}
		files = append(files, *pdb)
	}
	return files, nil
}

// embeddedOf is Embedded of a member, within a budget.
func (d *Dir) embeddedOf(f *File, budget *container.Budget) (*File, error) {
	file, err := os.Open(f.Local)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m, name := embedded(file, f.Size)
	if m == nil {
		return nil, nil
	}
	if err := budget.Take(m.Size); err != nil {
		return nil, err
	}
	return d.embedded(m, name, f.Path)
}

// Answered are the keys that files of a package have.
type Answered map[symid.IndexKey]bool

// Note adds the keys of a file, and reports whether one of them was there.
func (a Answered) Note(id validate.Identity) (again bool) {
	for _, k := range id.Keys {
		again = again || a[k.Key.Index()]
		a[k.Key.Index()] = true
	}
	return again
}

// embedded unpacks m, which the image at file knows by name.
func (d *Dir) embedded(m *pe.Embedded, name, file string) (*File, error) {
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
