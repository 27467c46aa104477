package agent

import (
	"path/filepath"
	"slices"

	"symkeep/internal/validate"
)

// claimBundles takes the property list of each dSYM bundle that has no DWARF, which a
// scan passes over otherwise, so that the verdict says what is missing. The bundle has to
// be without it on this machine and in the package: where two folders have files of the
// same path, the package knows only some of them by other paths.
func (s *scanner) claimBundles() {
	var here, inPackage []string
	for _, f := range s.files {
		here, inPackage = append(here, filepath.ToSlash(f.Local)), append(inPackage, f.Path)
	}
	empty := validate.EmptyBundles(here)
	for _, i := range validate.EmptyBundles(inPackage) {
		if _, both := slices.BinarySearch(empty, i); both {
			s.files[i].Ignored, s.files[i].Explicit = false, true
		}
	}
}
