package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"symkeep/internal/catalog"
	"symkeep/internal/container"
	"symkeep/internal/symfile"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// A File is one member of an archive.
type File struct {
	// Path is that of the archive, a slash and the name inside, such as
	// build/app.zip/bin/app.pdb. No file system has a folder and a file of one
	// name, so it means one thing. catalog.CheckPath may refuse it: archives name
	// their members as they like.
	Path     string
	Local    string // where the bytes are; empty if the file is ignored
	Size     int64
	SHA256   catalog.Digest
	Identity validate.Identity
	Ignored  bool              // of no use to a debugger
	Findings []catalog.Finding // of an ignored file: why
	Archive  error             // of an archive inside: why nothing came of it, as in validate.File
}

// Expand returns the members of the archive that r holds and path names, in its
// order. Archives inside are expanded in their turn and stand for themselves only
// if nothing came of them. Of two members with one path the later counts, as when
// they are unpacked.
//
// The error is validate.ErrNoSymbols if every member is ignored, beside them. An
// error that container.Faulty recognises is the archive's fault; then there are no
// files. Any other is one of r, of ctx or of the disk.
func (d *Dir) Expand(ctx context.Context, r io.ReaderAt, size int64, path string) ([]File, error) {
	e := &expansion{d: d, ctx: ctx, budget: container.NewBudget(d.limits, size), byPath: map[string]int{}}
	err := e.open(r, size, path)
	if err != nil {
		for _, f := range e.files {
			err = errors.Join(err, e.drop(f))
		}
		return nil, err
	}
	if e.useful(0) == 0 {
		return e.files, validate.ErrNoSymbols
	}
	return e.files, nil
}

// An expansion is one Expand under way.
type expansion struct {
	d      *Dir
	ctx    context.Context // that of Expand
	budget *container.Budget
	files  []File
	byPath map[string]int // index in files
}

// useful counts the files from first on that are not ignored.
func (e *expansion) useful(first int) (n int) {
	for _, f := range e.files[first:] {
		if !f.Ignored {
			n++
		}
	}
	return n
}

func (e *expansion) drop(f File) error {
	if f.Local == "" {
		return nil
	}
	return remove(f.Local)
}

func (e *expansion) open(r io.ReaderAt, size int64, path string) error {
	src := container.Source{ReaderAt: r, Size: size, Name: symid.BaseName(path)}
	return container.Walk(e.ctx, src, e.budget, func(m container.Member) error {
		f, err := e.take(m, path+"/"+m.Path)
		if err != nil || f == nil {
			return err
		}
		return e.add(*f)
	})
}

func (e *expansion) add(f File) error {
	if i, twice := e.byPath[f.Path]; twice {
		former := e.files[i]
		e.files[i] = f
		return e.drop(former)
	}
	e.byPath[f.Path] = len(e.files)
	e.files = append(e.files, f)
	return nil
}

// take reads one member. The result is nil for an archive whose members stand for
// it.
func (e *expansion) take(m container.Member, path string) (*File, error) {
	head := make([]byte, symfile.SniffLen)
	n, err := io.ReadFull(m.Reader, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	head = head[:n]
	if useless(path, head) {
		return e.pass(m, path, head)
	}
	f, err := e.keep(m, path, head)
	switch {
	case err != nil:
		return nil, err
	case f.Ignored:
		return e.ignore(f)
	case validate.Opened(f.Path, f.Identity) && container.Opens(f.Identity.Format):
		return e.nested(f)
	}
	return f, nil
}

// useless reports whether the first bytes of a member tell that nothing will be
// made of it. Most members of most archives are such, and need not go to the disk.
func useless(path string, head []byte) bool {
	format, err := symfile.Sniff(bytes.NewReader(head), int64(len(head)))
	if err != nil {
		return false
	}
	switch format {
	case symfile.Unknown, symfile.Empty, symfile.Markup, symfile.LFSPointer:
		return validate.Ignored(validate.File{Path: path}, validate.Identity{Class: validate.ClassUnknown})
	}
	return false
}

// pass hashes a member that is not kept.
func (e *expansion) pass(m container.Member, path string, head []byte) (*File, error) {
	h := sha256.New()
	h.Write(head)
	n, err := io.Copy(h, m.Reader)
	if err != nil {
		return nil, err
	}
	f := &File{Path: path, Size: n + int64(len(head)), SHA256: catalog.Digest(h.Sum(nil)), Ignored: true}
	f.Identity.Kind, f.Identity.Class = catalog.KindUnknown, validate.ClassUnknown
	f.Findings, err = e.findings(validate.File{Path: path, Size: int64(len(head)), Open: func() (validate.ReaderAtCloser, error) {
		return memory{bytes.NewReader(head)}, nil
	}})
	return f, err
}

// memory is a file in memory.
type memory struct{ *bytes.Reader }

// Close implements io.Closer.
func (memory) Close() error { return nil }

// findings returns what validation says of one file.
func (e *expansion) findings(f validate.File) ([]catalog.Finding, error) {
	report, err := validate.Package(e.ctx, []validate.File{f}, validate.Options{Workers: 1})
	if err != nil {
		return nil, err
	}
	return report.Files[0].Findings, nil
}

// keep writes a member to the disk and identifies it.
func (e *expansion) keep(m container.Member, path string, head []byte) (*File, error) {
	h := sha256.New()
	local, size, err := e.d.Keep(io.TeeReader(io.MultiReader(bytes.NewReader(head), m.Reader), h))
	if err != nil {
		return nil, err
	}
	f := &File{Path: path, Local: local, Size: size, SHA256: catalog.Digest(h.Sum(nil))}
	file, err := os.Open(local)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if f.Identity, err = validate.Identify(file, size, symid.BaseName(path)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.Ignored = validate.Ignored(validate.File{Path: path}, f.Identity)
	return f, nil
}

// ignore gives back the disk of a kept file.
func (e *expansion) ignore(f *File) (*File, error) {
	var err error
	f.Findings, err = e.findings(f.subject())
	err = errors.Join(err, remove(f.Local))
	f.Local, f.Ignored = "", true
	return f, err
}

func (f *File) subject() validate.File {
	return validate.File{Path: f.Path, Size: f.Size, SHA256: f.SHA256, Archive: f.Archive, Open: func() (validate.ReaderAtCloser, error) { return os.Open(f.Local) }}
}

// nested expands an archive that is a member.
func (e *expansion) nested(f *File) (*File, error) {
	file, err := os.Open(f.Local)
	if err != nil {
		return nil, err
	}
	first := len(e.files)
	err = e.open(file, f.Size, f.Path)
	file.Close()
	switch {
	case container.Faulty(err):
		f.Archive = err
		return f, nil
	case err != nil:
		return nil, err
	case e.useful(first) > 0:
		return nil, remove(f.Local)
	}
	f.Archive = validate.ErrNoSymbols
	if validate.Ignored(f.subject(), f.Identity) {
		return e.ignore(f)
	}
	return f, nil
}
