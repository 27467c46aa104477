package validate

import (
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// dwarfFolder is where the Contents of a dSYM bundle hold its DWARF files, folded.
const dwarfFolder = "resources/dwarf/"

// bundlePart takes the path of a file in a dSYM bundle apart: the bundle, and where in
// its Contents the file is, both folded.
func bundlePart(path string) (bundle, inside string, ok bool) {
	return strings.Cut(symid.Fold(path), ".dsym/contents/")
}

// bundleDWARF reports whether a file lies where a dSYM bundle has nothing but files of
// DWARF, whatever their names are. Those that begin with a dot are of file managers.
func bundleDWARF(path string) bool {
	_, inside, ok := bundlePart(path)
	return ok && strings.HasPrefix(inside, dwarfFolder) && !strings.HasPrefix(symid.BaseName(path), ".")
}

// bundleList reports whether a file is the property list that each dSYM bundle has.
func bundleList(path string) bool {
	_, inside, ok := bundlePart(path)
	return ok && inside == "info.plist"
}

// EmptyBundles finds dSYM bundles without a file of DWARF among the files of a package:
// it returns the numbers of the property lists that are left of them. A scan pushes such
// a file, so that the verdict is about the bundle.
func EmptyBundles(paths []string) []int {
	full := map[string]bool{}
	for _, p := range paths {
		if bundleDWARF(p) {
			bundle, _, _ := bundlePart(p)
			full[bundle] = true
		}
	}
	var empty []int
	for i, p := range paths {
		if bundle, _, _ := bundlePart(p); bundleList(p) && !full[bundle] {
			empty = append(empty, i)
		}
	}
	return empty
}

// checkBundles is MO-DSYM-EMPTY for bundles of which only the property list came.
func checkBundles(p *pkg) error {
	paths := make([]string, len(p.subjects))
	for i, s := range p.subjects {
		paths[i] = s.Path
		if bundleList(s.Path) {
			s.addAs(catalog.Info, "GEN-UNKNOWN", 0, "the property list of a dSYM bundle, which no debugger asks a server for")
		}
	}
	for _, i := range EmptyBundles(paths) {
		if s := p.subjects[i]; !s.ignored {
			s.add("MO-DSYM-EMPTY", 0, "its bundle has no file in Contents/Resources/DWARF")
		}
	}
	return nil
}
