package validate

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/pe"
	"symkeep/internal/symfile/portablepdb"
	"symkeep/internal/symid"
)

// pePairs pairs images with PDBs by identity; names only detect what should have
// been a pair.
type pePairs struct {
	p       *pkg
	byID    map[string][]*subject // PDBs by the text of pdbID
	byName  map[string][]*subject // PDBs by folded base name, whatever their id
	claimed map[*subject]bool     // PDBs some image refers to
	blamed  map[*subject]bool     // PDBs that were named in a mismatch
}

// pdbID is the identity an image and a PDB must share, in one spelling for all
// three kinds.
func pdbID(id symid.DebugID, stamp uint32) string { return fmt.Sprintf("%s/%08x", id, stamp) }

func idOfRecord(cv pe.CodeView) string {
	switch {
	case cv.NB10:
		return fmt.Sprintf("v2/%08x/%x", cv.Signature, cv.Age)
	case cv.Portable:
		return pdbID(cv.DebugID(), cv.Stamp)
	}
	return pdbID(cv.DebugID(), 0)
}

// checkPEPairs is PE-PDB-MISSING, PE-PDB-MISMATCH, PDB-ORPHAN and PPDB-CHECKSUM,
// and gives a PDB the names that images know it by.
func checkPEPairs(p *pkg) error {
	q := &pePairs{p: p, byID: map[string][]*subject{}, byName: map[string][]*subject{}, claimed: map[*subject]bool{}, blamed: map[*subject]bool{}}
	for _, s := range p.subjects {
		if id := textID(s); id != "" && !s.ignored {
			q.byID[id] = append(q.byID[id], s)
		}
	}
	for _, s := range p.subjects {
		if _, isImage := s.facts.(*peFacts); !isImage && !s.ignored {
			q.byName[symid.Fold(s.name)] = append(q.byName[symid.Fold(s.name)], s)
		}
	}
	factsOf(p, q.claim)
	factsOf(p, q.findUnpaired)
	q.findOrphans()
	return q.compareChecksums()
}

// claim marks the PDBs an image refers to and indexes each under the name the
// image asks for, which need not be the name it was uploaded by.
func (q *pePairs) claim(image *subject, facts *peFacts) {
	for _, cv := range facts.records {
		for _, s := range q.byID[idOfRecord(cv)] {
			q.claimed[s] = true
			if symid.CheckName(cv.Name()) == nil && len(s.Keys) > 0 && !cv.NB10 {
				s.key(symid.PDBKey(cv.Name(), cv.DebugID()), s.Keys[0].Rank)
			}
		}
	}
}

// textID returns the identity of a PDB as idOfRecord spells it, and "" for others.
func textID(s *subject) string {
	switch f := s.facts.(type) {
	case *pdbFacts:
		if f.v2 != nil {
			return fmt.Sprintf("v2/%08x/%x", f.v2.Signature, f.v2.Age)
		}
		return pdbID(f.id, 0)
	case *portableFacts:
		return pdbID(symid.DebugID{GUID: f.id.GUID(), Age: symid.PortableAge}, f.id.Stamp())
	}
	return ""
}

// findUnpaired reports the records of an image that no PDB of the package answers.
func (q *pePairs) findUnpaired(image *subject, facts *peFacts) {
	for _, cv := range facts.records {
		if cv.Name() == "" || len(q.byID[idOfRecord(cv)]) > 0 || cv.Portable && facts.embedded {
			continue
		}
		var others []string
		unreadable := false
		for _, s := range q.byName[symid.Fold(cv.Name())] {
			switch text, ok := s.facts.(fmt.Stringer); {
			case !ok:
				unreadable = true // its own findings say why
			case !q.claimed[s]:
				others = append(others, text.String())
				q.blamed[s] = true
			}
		}
		slices.Sort(others)
		switch {
		case len(others) > 0:
			image.add("PE-PDB-MISMATCH", cv.Off, "was linked with %s, but the package has %s: they are from different builds", wantedPDB(cv), strings.Join(slices.Compact(others), ", "))
		case !unreadable && nativeImage(cv):
			image.addAs(catalog.Info, "PE-PDB-MISSING", cv.Off, "names %s, which compilers of native images write on demand only", wantedPDB(cv))
		case !unreadable:
			image.add("PE-PDB-MISSING", cv.Off, "needs %s, which is not in the package", wantedPDB(cv))
		}
	}
}

// nativeImage reports whether a record is for the native code of a managed image:
// x.ni.pdb beside the x.pdb of its compiler.
func nativeImage(cv pe.CodeView) bool { return strings.HasSuffix(symid.Fold(cv.Name()), ".ni.pdb") }

func (q *pePairs) findOrphans() {
	for _, s := range q.p.subjects {
		if textID(s) != "" && !s.ignored && !q.claimed[s] && !q.blamed[s] {
			s.add("PDB-ORPHAN", 0, "no image of the package refers to %s", s.facts)
		}
	}
}

// compareChecksums is PPDB-CHECKSUM for the portable PDBs that are files.
func (q *pePairs) compareChecksums() error {
	for _, image := range q.p.subjects {
		facts, ok := image.facts.(*peFacts)
		if !ok || len(facts.checksums) == 0 {
			continue
		}
		for _, cv := range facts.records {
			if !cv.Portable {
				continue
			}
			for _, s := range q.byID[idOfRecord(cv)] {
				if err := q.compareChecksum(image, facts.checksums, s); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// compareChecksum wants one of the image's checksums to be that of s.
func (q *pePairs) compareChecksum(image *subject, sums []pe.Checksum, s *subject) error {
	in, c, err := q.p.open(s)
	if err != nil {
		return err
	}
	defer c.Close()
	f, err := portablepdb.Open(in, s.size)
	if err != nil {
		return fmt.Errorf("check %q: it changed while it was read: %w", s.Path, err)
	}
	var got []byte
	for _, sum := range sums {
		if got, err = f.Checksum(portablepdb.NewHash(sum.Algorithm)); err != nil {
			return fmt.Errorf("check %q: %w", s.Path, err)
		}
		if bytes.Equal(got, sum.Digest) {
			return nil
		}
	}
	last := sums[len(sums)-1]
	s.add("PPDB-CHECKSUM", f.IDOff, "its %s without the id is %x, but %s was compiled with %x", last.Algorithm, got, image.name, last.Digest)
	return nil
}
