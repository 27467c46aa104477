package share

import (
	"path"
	"strings"

	"symkeep/internal/symid"
)

// Entries of the tree's root that are ours and no key's.
const (
	markerName = ".symkeep-share"
	markerNew  = ".symkeep-share.new"
	tmpName    = ".tmp"
	pingName   = "pingme.txt"
)

// A place is where the cabinet of a key stands, all parts relative to the root.
type place struct {
	name string // folded name of the key: the upper folder
	id   string // canonical id: the lower folder
}

func (p place) dir() string  { return path.Join(p.name, p.id) }
func (p place) file() string { return path.Join(p.name, p.id, symid.PackedName(p.name)) }

// A skip is a reason to keep no file for a key.
type skip string

// Reasons, as Stats counts them.
const (
	skipNone      skip = ""
	skipKind      skip = "not a SymStore key"
	skipName      skip = "name that Windows cannot open"
	skipReserved  skip = "name the store uses itself"
	skipNoCabinet skip = "too large for a cabinet"
)

// placeOf returns where the cabinet of key belongs, or why nowhere.
func placeOf(key symid.Key) (place, skip) {
	if key.Kind != symid.KindPE && key.Kind != symid.KindPDB || key.Valid() != nil {
		return place{}, skipKind
	}
	p := place{symid.Fold(key.Name), key.StoreID()}
	return p, skipOf(p.name)
}

func skipOf(name string) skip {
	switch name {
	case markerName, markerNew, tmpName, pingName, "000admin", "index2.txt", "file.ptr", "refs.ptr":
		return skipReserved
	}
	// The packed name must be another one, or it would stand for the file itself.
	if symid.CheckName(name) != nil || !windowsOpens(name) || !windowsOpens(symid.PackedName(name)) || symid.PackedName(name) == name {
		return skipName
	}
	return skipNone
}

// windowsOpens reports whether Windows can open a file of that name: see "Naming
// Files, Paths, and Namespaces" in the Windows documentation.
func windowsOpens(name string) bool {
	if strings.ContainsAny(name, `<>:"/\|?*`) || strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") {
		return false
	}
	stem, _, _ := strings.Cut(name, ".")
	switch stem = symid.Fold(strings.TrimRight(stem, " ")); stem {
	case "con", "prn", "aux", "nul", "conin$", "conout$":
		return false
	}
	if port, ok := strings.CutPrefix(stem, "com"); ok || strings.HasPrefix(stem, "lpt") {
		if !ok {
			port = stem[len("lpt"):]
		}
		return !(len(port) == 1 && port[0] >= '0' && port[0] <= '9' || port == "¹" || port == "²" || port == "³")
	}
	return true
}

// keyOf is the reverse of placeOf: the key whose folders are called name and id.
// Only the canonical spelling counts, since no other folder is ours.
func keyOf(name, id string) (symid.Key, bool) {
	var keys []symid.Key
	if d, err := symid.ParseDebugID(id); err == nil {
		keys = append(keys, symid.PDBKey(name, d))
	}
	if c, err := symid.ParseCodeID(id); err == nil {
		keys = append(keys, symid.PEKey(name, c))
	}
	for _, k := range keys {
		if p, s := placeOf(k); s == skipNone && p == (place{name, id}) {
			return k, true
		}
	}
	return symid.Key{}, false
}
