package validate

import (
	"maps"
	"slices"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// Where the Contents of a dSYM bundle hold its DWARF files, and what describes it, folded.
const (
	dwarfFolder  = "resources/dwarf/"
	propertyList = "info.plist"
)

// bundlePart takes the path of a file in a dSYM bundle apart: the bundle, and where in
// its Contents the file is, both folded.
func bundlePart(path string) (bundle, inside string, ok bool) {
	return strings.Cut(symid.Fold(path), ".dsym/contents/")
}

// bundleDWARF reports whether a file lies where a dSYM bundle has nothing but files of
// DWARF, whatever their names are.
func bundleDWARF(path string) bool {
	_, inside, ok := bundlePart(path)
	return ok && insideDWARF(inside)
}

// insideDWARF is bundleDWARF by where in the Contents the file is. Those that begin with
// a dot are of file managers.
func insideDWARF(inside string) bool {
	return strings.HasPrefix(inside, dwarfFolder) && !strings.HasPrefix(symid.BaseName(inside), ".")
}

// bundleList reports whether a file is the property list that each dSYM bundle has.
func bundleList(path string) bool {
	_, inside, ok := bundlePart(path)
	return ok && inside == propertyList
}

// EmptyBundles finds dSYM bundles without a file of DWARF among the files of a package:
// it returns the numbers, in order, of the property lists that are left of them. A scan
// pushes such a file, so that the verdict is about the bundle.
func EmptyBundles(paths []string) []int {
	full, lists := map[string]bool{}, map[int]string{}
	for i, p := range paths {
		bundle, inside, ok := bundlePart(p)
		switch {
		case !ok:
		case inside == propertyList:
			lists[i] = bundle
		case insideDWARF(inside):
			full[bundle] = true
		}
	}
	maps.DeleteFunc(lists, func(_ int, bundle string) bool { return full[bundle] })
	return slices.Sorted(maps.Keys(lists))
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
