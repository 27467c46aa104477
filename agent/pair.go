package agent

import (
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// reportPairs tells which files belong together and which name another half that
// is not among them. It is a hint before the upload; the verdict rules.
func reportPairs(files []File, report Reporter) {
	byKey := map[symid.IndexKey][]int{}
	byName := map[string][]int{}
	for i, f := range files {
		if f.Ignored {
			continue
		}
		for _, k := range f.Identity.Keys {
			byKey[k.Key.Index()] = append(byKey[k.Key.Index()], i)
		}
		n := symid.Fold(symid.BaseName(f.Path))
		byName[n] = append(byName[n], i)
	}
	for i, f := range files {
		if f.Ignored {
			continue
		}
		for _, ref := range f.Identity.Refs {
			e := Event{Event: EventPaired, Path: f.Path}
			if j, ok := other(i, ref, byKey, byName); ok {
				e.Other = files[j].Path
			} else if e.Other = ref.Name; e.Other != "" {
				if len(byName[symid.Fold(ref.Name)]) > 0 {
					continue // it is here with another id: validation says more than a hint can
				}
				e.Event, e.Message = EventHalfMissing, refHint(ref.Kind)
			} else {
				continue
			}
			report.Report(e)
		}
	}
}

// other finds the file that ref of file i means: by key, or by name where the
// reference holds no key.
func other(i int, ref validate.Ref, byKey map[symid.IndexKey][]int, byName map[string][]int) (int, bool) {
	for _, k := range ref.Keys {
		for _, j := range byKey[k] {
			if j != i {
				return j, true
			}
		}
	}
	if len(ref.Keys) == 0 && ref.Name != "" {
		for _, j := range byName[symid.Fold(ref.Name)] {
			if j != i {
				return j, true
			}
		}
	}
	return 0, false
}

func refHint(k validate.RefKind) string {
	switch k {
	case validate.RefPDB, validate.RefPortablePDB, validate.RefPDB2:
		return "its PDB is not among the files"
	case validate.RefDebugLink:
		return "its debug file is not among the files"
	case validate.RefAltLink:
		return "the dwz file it shares is not among the files"
	case validate.RefDWO:
		return "its .dwo or .dwp is not among the files"
	case validate.RefDSYM:
		return "its dSYM is not among the files"
	}
	return "its other half is not among the files"
}
