package ops

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"symkeep/internal/api"
	"symkeep/internal/symfile"
	"symkeep/internal/symfile/elf"
	"symkeep/internal/symfile/minidump"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// subjectOf reads an argument. A local file goes first: its path may look like a key.
func subjectOf(arg string) (subject, error) {
	fi, err := os.Stat(arg)
	switch {
	case err == nil && fi.Mode().IsRegular():
		return subjectOfFile(arg, fi.Size())
	case err == nil && fi.IsDir():
		return subject{}, Usage("%s: a folder, wanted a file, a key or an id", arg)
	case err != nil && !errors.Is(err, fs.ErrNotExist) && strings.ContainsRune(arg, os.PathSeparator):
		return subject{}, err
	}
	if _, err := symid.ParseQuery(arg); err != nil {
		return subject{}, Usage("\"%s\": no such file, and neither a key (name/id/name, buildid/HEX/debuginfo) nor an id in hex", arg)
	}
	return subject{queries: []api.FindQuery{{Q: arg}}}, nil
}

// subjectOfFile reads a dump's modules, or the keys of any other file.
func subjectOfFile(path string, size int64) (s subject, err error) {
	f, err := os.Open(path)
	if err != nil {
		return s, err
	}
	defer f.Close()
	id, err := validate.Identify(f, size, symid.BaseName(path))
	if err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case id.Class == validate.ClassDump && id.Format == symfile.Minidump:
		var d *minidump.Dump
		if d, err = minidump.Parse(f, size); err == nil {
			return subjectOfModules(minidumpModules(d)), nil
		}
	case id.Class == validate.ClassDump && id.Format == symfile.ELF:
		var ms []module
		if ms, err = coreModules(f, size); err == nil {
			return subjectOfModules(ms), nil
		}
	case id.Class == validate.ClassDump:
		err = errors.New("a core dump of another system: wanted a minidump or an ELF core dump")
	case id.Class == validate.ClassCompressed:
		err = errors.New("compressed: unpack it first")
	default:
		return subjectOfKeys(path, id)
	}
	return s, fmt.Errorf("%s: %w", path, err)
}

// subjectOfKeys asks for each key of a file by the path to show for it.
func subjectOfKeys(path string, id validate.Identity) (subject, error) {
	var s subject
	for _, k := range id.Keys {
		s.queries = append(s.queries, api.FindQuery{Q: queryOf(k.Key), Name: symid.BaseName(path)})
	}
	if len(s.queries) == 0 {
		return s, fmt.Errorf("%s: no key: debuggers cannot ask for it: see `symkeep check %s`", path, path)
	}
	return s, nil
}

// coreModules reads an ELF core dump.
func coreModules(f *os.File, size int64) ([]module, error) {
	core, err := elf.Parse(f, size)
	if err != nil {
		return nil, err
	}
	mapped, err := core.Core()
	if err != nil {
		return nil, err
	}
	var ms []module
	for _, m := range mapped {
		ms = append(ms, mappedModule(m))
	}
	return ms, nil
}
