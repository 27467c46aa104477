package validate

import (
	"path"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// checkSplitDWARF is ELF-DWO, from both sides: skeletons whose debug information
// is missing or cannot be served, and .dwo and .dwp files.
func (q *elfPairs) checkSplitDWARF() {
	packed, loose := map[uint64]bool{}, map[uint64]bool{}
	wanted := map[uint64]symid.BuildID{} // by the id of a skeleton
	factsOf(q.p, func(_ *subject, f *elfFacts) {
		into := loose
		if f.dwp {
			into = packed
		}
		for _, id := range f.splitUnits {
			into[id] = true
		}
		for _, id := range f.units.DWOIDs {
			wanted[id] = f.build
		}
	})
	factsOf(q.p, func(s *subject, f *elfFacts) {
		switch {
		case f.dwo || f.dwp:
			s.checkSplitFile(f, wanted)
		case f.units.Skeletons > 0:
			q.checkSkeletons(s, f, packed, loose)
		}
	})
}

func (q *elfPairs) checkSkeletons(s *subject, f *elfFacts, packed, loose map[uint64]bool) {
	inDWP, inDWO := 0, 0
	for _, id := range f.units.DWOIDs {
		switch {
		case packed[id]:
			inDWP++
		case loose[id]:
			inDWO++
		}
	}
	if len(f.units.DWOIDs) == 0 && len(q.byName[symid.Fold(s.name)+".dwp"]) > 0 {
		return // ids unreadable, as in an unknown form; the name has to do
	}
	missing := f.units.Skeletons - inDWP - inDWO
	switch {
	case missing == 0 && inDWO == 0:
	case missing == 0:
		s.addAs(catalog.Warning, "ELF-DWO", 0, "the debug data of %d units is in loose .dwo files, which no debugger can fetch", inDWO)
	case f.units.Skeletons == f.units.Units && inDWP+inDWO == 0:
		s.add("ELF-DWO", 0, "contains only skeletons: the debug data of %d units is in .dwo files and not in the package", missing)
	default:
		s.addAs(catalog.Warning, "ELF-DWO", 0, "the debug data of %d of %d units is in .dwo files and not in the package", missing, f.units.Units)
	}
}

// checkSplitFile judges a .dwo or .dwp, which has no id to be asked for by. A .dwp
// belongs to the images that have its skeletons, and gets a key with their build id.
func (s *subject) checkSplitFile(f *elfFacts, wanted map[uint64]symid.BuildID) {
	used := false
	for _, id := range f.splitUnits {
		build, ok := wanted[id]
		used = used || ok
		if f.dwp && build != "" {
			s.key(symid.StoreKey(s.name, build.String()), RankFull)
		}
	}
	switch {
	case f.dwp && !used:
		s.addAs(catalog.Warning, "ELF-DWO", 0, "no image of the package has skeletons of its %d units", len(f.splitUnits))
	case f.dwo && !used:
		s.add("ELF-DWO", 0, "a lone %s file has no build id, so no debugger can ask for it", path.Ext(s.name))
	case f.dwo:
		s.addAs(catalog.Warning, "ELF-DWO", 0, "has no build id: it is kept with the package but no debugger can ask for it")
	}
}
