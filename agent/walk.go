package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// ErrUsage is wrapped by errors that the caller's arguments cause.
var ErrUsage = errors.New("wrong arguments")

// A found file is a candidate of the scan, not yet opened.
type found struct {
	local    string // as the system opens it
	rel      string // relative to the PATH argument, slash-separated
	arg      string // the PATH argument
	explicit bool
}

// A walker collects files below PATH arguments. A directory is read in the order
// of names. A symbolic link to a file counts as the file, once; one to a directory
// is not followed, so that there are no loops and no way out of a build tree.
type walker struct {
	report Reporter
	files  []found
	links  []found        // to be resolved once all real files are known
	byReal map[string]int // canonical local path -> index in files
}

func walk(paths []string, report Reporter) ([]found, error) {
	if len(paths) == 0 {
		return nil, fmt.Errorf("no PATH given, wanted files or folders: %w", ErrUsage)
	}
	w := &walker{report: report, byReal: map[string]int{}}
	for _, p := range paths {
		if err := w.argument(p); err != nil {
			return nil, err
		}
	}
	for _, l := range w.links {
		if err := w.link(l); err != nil {
			return nil, err
		}
	}
	return w.files, nil
}

func (w *walker) argument(arg string) error {
	if strings.TrimSpace(arg) == "" {
		return fmt.Errorf("PATH is empty, wanted a file or folder: %w", ErrUsage)
	}
	fi, err := os.Stat(arg)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: no such file or folder: %w", arg, ErrUsage)
	case err != nil:
		return err
	}
	real, err := filepath.EvalSymlinks(arg)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return err
	}
	switch {
	case fi.IsDir():
		return w.dir(arg, real, "", arg)
	case fi.Mode().IsRegular():
		abs, err := filepath.Abs(arg) // for the name of an argument such as ".." or "."
		if err != nil {
			return err
		}
		w.add(found{local: arg, rel: filepath.Base(abs), arg: arg, explicit: true}, real)
		return nil
	}
	return fmt.Errorf("%s: %s, wanted a file or folder: %w", arg, modeName(fi.Mode()), ErrUsage)
}

// dir reads one directory. real is its canonical path, rel its path inside arg.
func (w *walker) dir(local, real, rel, arg string) error {
	entries, err := os.ReadDir(local)
	if err != nil {
		return fmt.Errorf("%w; nothing was uploaded: make it readable or leave it out", err)
	}
	for _, e := range entries {
		f := found{local: filepath.Join(local, e.Name()), rel: joinRel(rel, e.Name()), arg: arg}
		entryReal := filepath.Join(real, e.Name())
		switch mode := e.Type(); {
		case mode.IsDir():
			if err := w.dir(f.local, entryReal, f.rel, arg); err != nil {
				return err
			}
		case mode.IsRegular():
			w.add(f, entryReal)
		case mode&fs.ModeSymlink != 0:
			w.links = append(w.links, f)
		default:
			w.skip(f, modeName(mode))
		}
	}
	return nil
}

// link resolves a symbolic link that a directory held. One that leads nowhere is
// passed over, unless its name says that a symbol file is missing.
func (w *walker) link(f found) error {
	fi, err := os.Stat(f.local)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if isSymbolName(f.rel) {
			return fmt.Errorf("%s: a link to nothing under the name of a symbol file; nothing was uploaded: repair or remove it", f.local)
		}
		w.skip(f, "a link to nothing")
		return nil
	case err != nil:
		return fmt.Errorf("%w; nothing was uploaded: make it readable or leave it out", err)
	case fi.IsDir():
		w.skip(f, "a link to a folder: name the folder on the command line to scan it")
		return nil
	case !fi.Mode().IsRegular():
		w.skip(f, modeName(fi.Mode()))
		return nil
	}
	real, err := filepath.EvalSymlinks(f.local)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return err
	}
	w.add(f, real)
	return nil
}

func (w *walker) add(f found, real string) {
	if i, ok := w.byReal[real]; ok {
		w.files[i].explicit = w.files[i].explicit || f.explicit
		return
	}
	w.byReal[real] = len(w.files)
	w.files = append(w.files, f)
}

func (w *walker) skip(f found, why string) {
	w.report.Report(Event{Event: EventSkipped, Path: f.rel, Message: why})
}

func joinRel(rel, name string) string {
	if rel == "" {
		return name
	}
	return rel + "/" + name
}

// isSymbolName reports whether a scan takes the file seriously by its name alone.
func isSymbolName(rel string) bool {
	return !validate.Ignored(validate.File{Path: symid.BaseName(rel)}, validate.Identity{Class: validate.ClassUnknown})
}

func modeName(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "not a regular file"
}
