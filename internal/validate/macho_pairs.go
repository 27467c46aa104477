package validate

import (
	"slices"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// A machoHalf is an image or a dSYM of the package.
type machoHalf struct {
	s *subject
	f *machoFacts
}

// checkMachOPairs is MO-DSYM-MISSING, MO-DSYM-MISMATCH and MO-OSO. Halves belong
// together by UUID; names only detect what should have been a pair.
func checkMachOPairs(p *pkg) error {
	var images, dsyms []machoHalf
	inDSYM, inImage := map[symid.GUID]bool{}, map[symid.GUID]bool{}
	factsOf(p, func(s *subject, f *machoFacts) {
		into, half := inImage, &images
		if f.dsym {
			into, half = inDSYM, &dsyms
		}
		*half = append(*half, machoHalf{s, f})
		for _, sl := range f.slices {
			into[sl.uuid] = true
		}
	})
	for _, image := range images {
		var without []machoSlice
		for _, sl := range image.f.slices {
			if !sl.dwarf && !inDSYM[sl.uuid] {
				without = append(without, sl)
			}
		}
		if len(without) == 0 || mismatched(image, dsyms, inImage) {
			continue
		}
		image.reportMissing(without)
	}
	return nil
}

// mismatched reports dSYMs that are named for the image, belong to no image of the
// package, and share no UUID with this one.
func mismatched(image machoHalf, dsyms []machoHalf, inImage map[symid.GUID]bool) bool {
	found := false
	for _, d := range dsyms {
		if !namedFor(d.s, image.s.name) || slices.ContainsFunc(d.f.slices, func(sl machoSlice) bool { return inImage[sl.uuid] }) {
			continue
		}
		image.s.add("MO-DSYM-MISMATCH", 0, "has %s, but %s has %s", image.f.uuids(), d.s.Path, d.f.uuids())
		found = true
	}
	return found
}

// namedFor reports whether a DWARF file, or the bundle it is in, bears the name of
// an image: Foo.dSYM, Foo.app.dSYM and .../DWARF/Foo are all for Foo.
func namedFor(d *subject, image string) bool {
	image = symid.Fold(image)
	if symid.Fold(d.name) == image {
		return true
	}
	for seg := range strings.SplitSeq(symid.Fold(d.Path), "/") {
		if bundle, ok := strings.CutSuffix(seg, ".dsym"); ok {
			stem, _, _ := strings.Cut(bundle, ".")
			return bundle == image || stem == image
		}
	}
	return false
}

// reportMissing names the slices that no dSYM of the package covers.
func (image machoHalf) reportMissing(without []machoSlice) {
	var names []string
	oso := false
	for _, sl := range without {
		names = append(names, sl.uuid.String()+" ("+sl.arch+")")
		oso = oso || sl.debugMap
	}
	image.s.addAs(catalog.Warning, "MO-DSYM-MISSING", 0, "no dSYM for %s is in the package", strings.Join(names, ", "))
	if oso {
		image.s.add("MO-OSO", 0, "its symbol table refers to object files for the debug data")
	}
}
