package agent

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"symkeep/internal/catalog"
)

// maxNamed is how many names an error lists.
const maxNamed = 10

// name gives every file its path inside the package: relative to its PATH
// argument. Where two arguments hold the same path, both files get the argument
// in front, such as x64/app.dll and arm64/app.dll; if that is not enough the push
// is refused.
func name(files []found) error {
	count := map[string]int{}
	for _, f := range files {
		count[f.rel]++
	}
	seen := map[string]string{}
	var clashes []error
	for i, f := range files {
		if count[f.rel] > 1 {
			files[i].rel = strings.TrimPrefix(argPrefix(f)+"/"+f.rel, "/")
		}
		if other, ok := seen[files[i].rel]; ok && len(clashes) < maxNamed {
			clashes = append(clashes, fmt.Errorf("%s and %s would both be %q in the package: push a folder that holds both, or push them separately: %w",
				other, f.local, files[i].rel, ErrUsage))
		}
		seen[files[i].rel] = f.local
	}
	return errors.Join(clashes...)
}

// argPrefix is the folder that a PATH argument names, without what leads out of
// the current one.
func argPrefix(f found) string {
	dir := f.arg
	if f.explicit {
		dir = filepath.Dir(f.arg)
	}
	dir = filepath.ToSlash(filepath.Clean(strings.TrimPrefix(dir, filepath.VolumeName(dir))))
	segs := strings.FieldsFunc(dir, func(r rune) bool { return r == '/' })
	for len(segs) > 0 && (segs[0] == ".." || segs[0] == ".") {
		segs = segs[1:]
	}
	return strings.Join(segs, "/")
}

// unacceptable reports whether no cluster can take f: nothing can be stored under
// its path, it has no bytes to store, or it is an archive that could not be opened.
// Validation says so in its own words.
func unacceptable(f File) bool {
	return !f.Ignored && (f.Size == 0 || catalog.CheckPath(f.Path) != nil || f.Archive != nil)
}
