package validate

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/symindex"
	"symkeep/internal/symid"
)

// indexFacts are the entries of a symbol index.
type indexFacts struct{ entries []symindex.Entry }

// identifyIndex takes the file for an index by its name. Its kind is unknown: no
// debugger asks for it.
func identifyIndex(io.ReaderAt, int64, string) Identity {
	return Identity{Class: ClassIndex, Kind: catalog.KindUnknown}
}

// checkIndex is GEN-INDEX for the text of the index; checkIndexKeys does the rest.
func checkIndex(s *subject) {
	entries, err := symindex.Read(s.in, s.size)
	s.damaged("GEN-INDEX", err)
	s.facts = &indexFacts{entries}
}

// checkIndexKeys is GEN-INDEX for the entries, and gives the files of the package
// the keys that indexes assign. An index speaks of files below its own folder, in a
// package of one archive as in a folder that holds several.
func checkIndexKeys(p *pkg) error {
	var files *indexed
	factsOf(p, func(s *subject, facts *indexFacts) {
		if files == nil {
			files = newIndexed(p)
		}
		for _, e := range facts.entries {
			if err := files.assign(e, path.Dir(s.Path)); errors.Is(err, errNoTarget) {
				s.addAs(catalog.Warning, "GEN-INDEX", e.Off, "%v", err)
			} else if err != nil {
				s.add("GEN-INDEX", e.Off, "%v", err)
			}
		}
	})
	return nil
}

// indexed are the files of a package that indexes may name.
type indexed struct {
	byPath map[string]*subject         // folded
	owners map[symid.IndexKey]*subject // by the keys that files have of themselves
}

func newIndexed(p *pkg) *indexed {
	x := &indexed{map[string]*subject{}, map[symid.IndexKey]*subject{}}
	for _, f := range p.subjects {
		if f.ignored {
			continue
		}
		x.byPath[symid.Fold(f.Path)] = f
		for _, k := range f.Keys {
			x.owners[k.Key.Index()] = f
		}
	}
	return x
}

// errNoTarget is a warning: a scan ignores files of no use, and an index may well
// list those.
var errNoTarget = errors.New("nobody can be given it")

// assign gives the file that e names in dir the key that e names, unless it is the
// file's own.
func (x *indexed) assign(e symindex.Entry, dir string) error {
	name, id, leaf, ok := splitKey(e.ClientKey)
	if !ok || symid.Fold(name) != symid.Fold(leaf) {
		return fmt.Errorf("entry %d: clientKey %s, wanted name/id/name", e.No, quote(e.ClientKey))
	}
	key := symid.StoreKey(name, id)
	if err := key.Valid(); err != nil {
		return fmt.Errorf("entry %d: clientKey %s: %v", e.No, quote(e.ClientKey), err)
	}
	lookup, err := symid.ParseLookup(url.PathEscape(name) + "/" + url.PathEscape(id) + "/" + url.PathEscape(name))
	if err != nil {
		return fmt.Errorf("entry %d: clientKey %s has an id that no debugger asks by: %w", e.No, quote(e.ClientKey), errNoTarget)
	}
	blob := strings.ReplaceAll(e.BlobPath, `\`, "/")
	if blob == "" || path.IsAbs(blob) || strings.HasPrefix(path.Clean(blob), "..") {
		return fmt.Errorf("entry %d: blobPath %s, wanted a path below the folder of the index", e.No, quote(e.BlobPath))
	}
	target := x.byPath[symid.Fold(path.Join(dir, blob))]
	if target == nil || target.Class == ClassIndex {
		return fmt.Errorf("entry %d: blobPath %s is no file of the package, key %s: %w", e.No, quote(e.BlobPath), quote(e.ClientKey), errNoTarget)
	}
	if slices.ContainsFunc(lookup.Keys, target.has) {
		return nil
	}
	for _, k := range lookup.Keys {
		if owner := x.owners[k.Index()]; owner != nil && owner != target && k.Means(owner.name) {
			return fmt.Errorf("entry %d: key %s is that of %s by its own id, blobPath %s is another file", e.No, quote(e.ClientKey), owner.Path, quote(e.BlobPath))
		}
	}
	target.key(key, RankBare)
	return nil
}

// splitKey takes a lookup path apart.
func splitKey(key string) (name, id, leaf string, ok bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 3 {
		return "", "", "", false
	}
	return parts[0], parts[1], parts[2], true
}
