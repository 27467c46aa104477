package validate

import (
	"fmt"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// checkConflicts is GEN-DUP, GEN-CASE and GEN-CONFLICT: what it means that two
// files answer one key. The same bytes are kept once. Other bytes of another rank
// are two qualities of one thing, the richer is served. Other bytes of the same
// rank are an error.
func checkConflicts(p *pkg) error {
	seen := map[symid.IndexKey]*answers{}
	told := map[[2]*subject]bool{}
	for _, s := range p.subjects {
		if s.ignored || s.Source != "" { // copies of a source file are no mistake
			continue
		}
		for _, k := range s.Keys {
			a := seen[k.Key.Index()]
			if a == nil {
				// Most keys have one file: its bytes need not be read.
				seen[k.Key.Index()] = &answers{first: s, rank: k.Rank}
				continue
			}
			digest, err := a.digestOf(p, s)
			if err != nil {
				return err
			}
			same, other := a.byDigest[digest], a.byRank[k.Rank]
			switch {
			case same != nil && !told[[2]*subject{same, s}]:
				s.addDuplicate(same)
				told[[2]*subject{same, s}] = true
			case same == nil && other != nil && !told[[2]*subject{other, s}]:
				hint, err := p.twinHint(other, s)
				if err != nil {
					return err
				}
				s.add("GEN-CONFLICT", 0, "key %s has other content in %s (%d bytes, sha256 %s; here %d bytes, sha256 %s)%s",
					keyPath(k.Key), other.Path, other.size, other.SHA256, s.size, digest, hint)
				told[[2]*subject{other, s}] = true
			}
			if same == nil {
				a.byDigest[digest] = s
			}
			if other == nil {
				a.byRank[k.Rank] = s
			}
		}
	}
	return nil
}

// answers are the files of one key: the first of each content and of each rank.
type answers struct {
	first    *subject
	rank     int
	byDigest map[catalog.Digest]*subject // nil until there is a second file
	byRank   map[int]*subject
}

// digestOf returns the digest of the second or a later file.
func (a *answers) digestOf(p *pkg, s *subject) (catalog.Digest, error) {
	if a.byDigest == nil {
		d, err := p.digest(a.first)
		if err != nil {
			return d, err
		}
		a.byDigest = map[catalog.Digest]*subject{d: a.first}
		a.byRank = map[int]*subject{a.rank: a.first}
	}
	return p.digest(s)
}

// addDuplicate says that s holds the bytes of an earlier file.
func (s *subject) addDuplicate(earlier *subject) {
	if s.name != earlier.name && symid.Fold(s.name) == symid.Fold(earlier.name) {
		s.add("GEN-CASE", 0, "the name differs from %s in case only, the content is the same", earlier.Path)
		return
	}
	s.add("GEN-DUP", 0, "the same file as %s", earlier.Path)
}

// keyPath shows a key as the path a debugger sends.
func keyPath(k symid.Key) string {
	if paths := k.Paths(); len(paths) > 0 {
		return paths[0]
	}
	return fmt.Sprintf("%x", string(k.Index()))
}
