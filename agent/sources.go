package agent

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/dwarf"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// Bounds on the source files of one package. What is beyond them is left out and said.
const (
	maxSourceFile  = 32 << 20 // bytes of one
	maxSourceFiles = 200_000
	maxSourceBytes = 8 << 30 // of all
)

// Sources says which source files go with a package: those that the DWARF of its files
// names and this machine has. The zero value looks for them where the compiler did.
type Sources struct {
	Roots []SourceRoot
}

// A SourceRoot says that what the compiler knew below the folder From, such as the right
// side of -ffile-prefix-map, is below the folder To on this machine. A From of "." means
// names that are relative. Of several roots that fit, the one with the longest From counts.
type SourceRoot struct{ From, To string }

// ParseSourceRoot parses FROM=TO. Errors wrap ErrUsage.
func ParseSourceRoot(text string) (SourceRoot, error) {
	from, to, ok := strings.Cut(text, "=")
	if !ok || from == "" || to == "" {
		return SourceRoot{}, fmt.Errorf("source root %q: wanted FROM=TO, a folder of debug information and one of this machine: %w", text, ErrUsage)
	}
	if short := strings.TrimRight(from, `/\`); short != "" {
		from = short
	}
	return SourceRoot{from, to}, nil
}

// addSources appends the source files that the DWARF of files names, each once. One that
// is not there, or cannot be taken, fails nothing: the report says how many those are.
func addSources(ctx context.Context, files []File, from *Sources, report Reporter) ([]File, error) {
	if from == nil {
		return files, nil
	}
	c := &collector{ctx: ctx, roots: from.Roots, taken: map[string]bool{}, edited: map[string]bool{}}
	for i := range files {
		if err := c.collect(&files[i]); err != nil {
			return nil, err
		}
	}
	e := Event{Event: EventSources, Files: len(c.files), Bytes: c.bytes}
	for _, r := range reasons {
		if n := c.left[r].Len(); n > 0 {
			e.Ignored += n
			e.Message += fmt.Sprintf("; %d %s, such as %s", n, r, &c.left[r])
		}
	}
	e.Message = strings.TrimPrefix(e.Message, "; ")
	report.Report(e)
	return append(files, c.files...), nil
}

// A collector looks for source files.
type collector struct {
	ctx   context.Context // of one call of addSources
	roots []SourceRoot
	seen  validate.Names // as debug information has them
	left  [len(reasons)]validate.Names
	files []File
	bytes int64

	taken  map[string]bool // by path of symid.CleanSource
	edited map[string]bool // since it was compiled, by the same
}

// A reason is why a source file is not taken.
type reason int

const (
	notFound reason = iota
	changed
	unfit
	tooMuch
)

var reasons = [...]reason{notFound, changed, unfit, tooMuch}

// String follows a number of files.
func (r reason) String() string {
	switch r {
	case notFound:
		return "not found"
	case changed:
		return "not those that were compiled"
	case unfit:
		return "empty, not text, or of a place that holds no sources"
	}
	return fmt.Sprintf("beyond %d files, %s of one or %s of all", maxSourceFiles, Size(maxSourceFile), Size(maxSourceBytes))
}

// collect takes the sources of one file.
func (c *collector) collect(f *File) error {
	if f.Ignored || f.Local == "" {
		return nil
	}
	file, err := f.open()
	if err != nil {
		return fmt.Errorf("%w; nothing was uploaded", err)
	}
	defer file.Close()
	err = validate.SourceFiles(file, f.Size, f.Identity.Format, func(s dwarf.SourceFile) error {
		if !c.seen.Add(s.Path + "\x00" + s.MD5) {
			return nil
		}
		if err := c.ctx.Err(); err != nil {
			return context.Cause(c.ctx)
		}
		c.take(s)
		return nil
	})
	if err != nil && c.ctx.Err() == nil {
		err = fmt.Errorf("%s: %w; nothing was uploaded", f.Local, err)
	}
	return err
}

// take takes one source file, or notes why not.
func (c *collector) take(s dwarf.SourceFile) {
	source := symid.CleanSource(s.Path)
	if c.taken[source] || c.edited[source] && s.MD5 == "" {
		return
	}
	f := File{Path: validate.SourcePath(source), Source: source, Explicit: true, Identity: validate.SourceIdentity}
	if why, ok := c.read(&f, s); !ok {
		c.left[why].Add(s.Path)
		c.edited[source] = c.edited[source] || why == changed
		return
	}
	c.taken[source] = true
	c.files = append(c.files, f)
	c.bytes += f.Size
}

// read finds a source file and reads it.
func (c *collector) read(f *File, s dwarf.SourceFile) (reason, bool) {
	var ok bool
	if f.Local, ok = c.local(s.Path); !ok {
		return notFound, false
	}
	fi, err := os.Stat(f.Local)
	switch {
	case err != nil:
		return notFound, false
	case !fi.Mode().IsRegular() || fi.Size() == 0 || catalog.CheckPath(f.Path) != nil:
		return unfit, false
	case fi.Size() > maxSourceFile || len(c.files) == maxSourceFiles || c.bytes+fi.Size() > maxSourceBytes:
		return tooMuch, false
	}
	f.Size, f.ModTime = fi.Size(), fi.ModTime()
	file, err := f.open()
	if err != nil {
		return notFound, false
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSourceFile+1))
	if err != nil || int64(len(text)) != f.Size {
		return notFound, false
	}
	return f.admit(text, s.MD5)
}
