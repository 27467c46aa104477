package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"symkeep/internal/symfile"
	"symkeep/internal/symid"
)

// Errors that the content of a container causes, beside a *LimitError. See Faulty.
var (
	ErrDamaged     = errors.New("the archive is damaged")
	ErrUnsupported = errors.New("not supported")
)

// Faulty reports whether err is the container's fault. Any other error of a Walk
// is one of the reader, of ctx or of the caller's own.
func Faulty(err error) bool {
	return errors.Is(err, ErrDamaged) || errors.Is(err, ErrUnsupported) || errors.As(err, new(*LimitError))
}

// damaged makes an error that wraps ErrDamaged.
func damaged(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrDamaged)...)
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrUnsupported)...)
}

// A Source is one container to open.
type Source struct {
	io.ReaderAt
	Size int64
	Name string // base name, from which that of a compressed file follows
}

// A Member is one regular file of a container. It is valid until the visit ends.
type Member struct {
	// Path is the name as recorded, slash-separated and without a leading "./". It
	// may lead anywhere: catalog.CheckPath tells whether it can be used.
	Path string
	Size int64 // bytes; -1 where only the end tells

	// Reader gives the content; it need not be read to the end.
	Reader io.Reader
}

// Opens reports whether Walk knows files of format f; it refuses some of them with
// a reason, such as 7z.
func Opens(f symfile.Format) bool {
	_, ok := walkers[f]
	return ok
}

// walkers visit the members of one format each.
var walkers map[symfile.Format]func(*walk) error

func init() {
	walkers = map[symfile.Format]func(*walk) error{
		symfile.Zip: (*walk).zip, symfile.Tar: (*walk).tarFile, symfile.Deb: (*walk).deb, symfile.RPM: (*walk).rpm,
		symfile.Cabinet: (*walk).cabinet, symfile.SZDD: (*walk).szdd, symfile.SevenZip: (*walk).sevenZip,
		symfile.Gzip: (*walk).compressed, symfile.XZ: (*walk).compressed, symfile.Zstd: (*walk).compressed, symfile.Bzip2: (*walk).compressed,
	}
}

// Walk calls visit for every regular file of src, in the order of the archive.
// Links, devices and folders are passed over. A compressed tar is one container,
// and so are the layers of a deb and an rpm; other containers inside are members
// like any other, for which the caller calls Walk again, during the visit and with
// the same budget.
//
// An error of visit ends the walk and is returned as it is. Faulty tells errors of
// the content from all others.
func Walk(ctx context.Context, src Source, b *Budget, visit func(Member) error) error {
	w := &walk{ctx: ctx, budget: b, visit: visit, in: &input{r: src.ReaderAt}, size: src.Size, name: src.Name}
	defer b.leave()
	if err := b.enter(); err != nil {
		return err
	}
	f, err := symfile.Sniff(w.in, src.Size)
	if err == nil {
		if open, ok := walkers[f]; ok {
			w.format = f
			err = open(w)
		} else {
			err = unsupported("%s: not an archive of a known kind", src.Name)
		}
	}
	switch {
	case w.visitErr != nil:
		return w.visitErr
	case ctx.Err() != nil:
		return ctx.Err()
	case w.in.err != nil:
		return w.in.err
	}
	return err
}

// A walk is one Walk under way.
type walk struct {
	ctx      context.Context // that of Walk
	budget   *Budget
	visit    func(Member) error
	in       *input
	size     int64
	name     string
	format   symfile.Format
	visitErr error
}

// errStop ends a walk whose visit failed; visitErr has the reason.
var errStop = errors.New("the visit of a member failed")

// section reads the container from off to its end.
func (w *walk) section(off int64) *io.SectionReader {
	return io.NewSectionReader(w.in, off, w.size-off)
}

// member visits one member. r ends after size bytes, or anywhere if size is -1.
func (w *walk) member(name string, size int64, r io.Reader) error {
	if err := w.budget.member(); err != nil {
		return err
	}
	name = strings.TrimPrefix(name, "./")
	c := &content{w: w, r: r, path: name, left: size}
	if w.visitErr = w.visit(Member{Path: name, Size: size, Reader: c}); w.visitErr != nil {
		return errStop
	}
	return nil
}

// content reads one member, and makes its errors those of the container.
type content struct {
	w    *walk
	r    io.Reader
	path string
	left int64 // -1 where only the end tells
}

// Read implements io.Reader.
func (c *content) Read(p []byte) (int, error) {
	if err := c.w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	if lerr := c.w.budget.add(&c.w.budget.read, n); lerr != nil {
		return 0, lerr
	}
	if c.left >= 0 {
		if c.left -= int64(n); c.left < 0 {
			return 0, damaged("member %q: more bytes than its header says", c.path)
		}
	}
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && c.left <= 0:
		return n, io.EOF
	case errors.Is(err, io.EOF):
		return n, damaged("member %q: ends %d bytes early", c.path, c.left)
	}
	return n, c.w.fault("member %q: %v", c.path, err)
}

// fault tells an error of the machine from one of the content, to which it gives a
// text; the last of args is the error.
func (w *walk) fault(format string, args ...any) error {
	err, _ := args[len(args)-1].(error)
	switch {
	case w.ctx.Err() != nil:
		return w.ctx.Err()
	case w.in.err != nil:
		return w.in.err
	case err == nil || Faulty(err) || errors.Is(err, errStop):
		return err
	}
	return damaged(format, args...)
}

// metered counts what a decoder gives.
func (w *walk) metered(r io.Reader) io.Reader { return &meter{w, r} }

type meter struct {
	w *walk
	r io.Reader
}

func (m *meter) Read(p []byte) (int, error) {
	if err := m.w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	if lerr := m.w.budget.add(&m.w.budget.decoded, n); lerr != nil {
		return 0, lerr
	}
	return n, err
}

// input remembers the first failure of the reader below it: decoders make their
// own errors of those.
type input struct {
	r   io.ReaderAt
	err error
}

// ReadAt implements io.ReaderAt. A decoder may be led before the start.
func (in *input) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, damaged("read at offset %d", off)
	}
	n, err := in.r.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) && in.err == nil {
		in.err = err
	}
	return n, err
}

// unpackedName is the name of the only file inside a compressed one: without the
// extension that the compressor added.
func unpackedName(name string) string {
	base := symid.BaseName(name)
	stem := strings.TrimSuffix(base, path.Ext(base))
	switch ext := symid.Fold(path.Ext(base)); {
	case stem == "":
	case ext == ".gz", ext == ".xz", ext == ".zst", ext == ".bz2":
		return stem
	case ext == ".tgz", ext == ".txz", ext == ".tzst", ext == ".tbz2", ext == ".tbz":
		return stem + ".tar"
	}
	return base
}

// wholeName is the name of what SymStore's tools compressed to name, whose last
// letter they replaced by an underscore; last is that letter, 0 if it is not known.
func wholeName(name string, last byte) string {
	base := symid.BaseName(name)
	stem, ok := strings.CutSuffix(base, "_")
	switch {
	case !ok:
		return base
	case last > 0x20 && last < 0x7f:
		return stem + string(last)
	}
	for ext, letter := range map[string]string{".pd": "b", ".dl": "l", ".ex": "e", ".sy": "s", ".oc": "x", ".db": "g"} {
		if symid.Fold(path.Ext(stem)) == ext {
			return stem + letter
		}
	}
	return base
}

func (w *walk) sevenZip() error {
	return unsupported("%s is a 7z archive: unpack it, or pack it again as zip or tar.xz", w.name)
}
