package validate

import (
	"errors"
	"fmt"
	"io"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/portablepdb"
	"symkeep/internal/symid"
)

// portableFacts is what the checks across the package need of a portable PDB.
type portableFacts struct {
	id portablepdb.ID
}

func (f *portableFacts) String() string {
	return fmt.Sprintf("%s-%08x (portable)", f.id.GUID(), f.id.Stamp())
}

func identifyPortablePDB(r io.ReaderAt, size int64, name string) Identity {
	id := Identity{Class: ClassSymbol, Kind: catalog.KindPortablePDB}
	f, err := portablepdb.Open(r, size)
	if err != nil || noGUID(f.ID.GUID()) {
		return id
	}
	// Symbolication services put the stamp in the place of the age.
	id.IDs = []catalog.IDs{{DebugID: symid.DebugID{GUID: f.ID.GUID(), Age: f.ID.Stamp()}.String()}}
	id.addKey(symid.PDBKey(name, symid.DebugID{GUID: f.ID.GUID(), Age: symid.PortableAge}), RankFull)
	return id
}

func checkPortablePDB(s *subject) {
	f, err := portablepdb.Open(s.in, s.size)
	switch {
	case errors.Is(err, portablepdb.ErrTruncated):
		s.damaged("PPDB-TRUNC", err)
		return
	case errors.Is(err, portablepdb.ErrRoot):
		s.damaged("PPDB-ROOT", err)
		return
	case err != nil:
		s.damaged("PPDB-STREAMS", err)
		return
	}
	if noGUID(f.ID.GUID()) {
		s.add("PPDB-ID0", f.IDOff, "its GUID is %s", f.ID.GUID())
	} else {
		s.facts = &portableFacts{id: f.ID}
	}
	facts, err := f.Facts()
	if err != nil {
		s.damaged("PPDB-TABLES", err)
		return
	}
	s.givesPortable(facts)
	if facts.Documents == 0 || !facts.SequencePoints {
		s.add("PPDB-NODOC", 0, "no source positions: %d documents", facts.Documents)
	}
	if !facts.SourceLink && !facts.EmbeddedSource {
		s.add("PPDB-NOSRCLINK", 0, "no SourceLink and no embedded sources")
	}
}

// givesPortable notes what a debugger gets from a portable PDB, which may be inside an
// image.
func (s *subject) givesPortable(facts portablepdb.Facts) {
	if facts.SequencePoints {
		s.gives(catalog.QualityLines)
	}
	if facts.Variables > 0 {
		s.gives(catalog.QualityTypes)
	}
	if facts.SourceLink || facts.EmbeddedSource {
		s.gives(catalog.QualitySources)
	}
}
