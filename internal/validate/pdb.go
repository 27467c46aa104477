package validate

import (
	"errors"
	"fmt"
	"io"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/pdb"
	"symkeep/internal/symid"
)

// pdbFacts is what the checks across the package need of a PDB 7.0 or 2.0.
type pdbFacts struct {
	id symid.DebugID // zero for a PDB 2.0
	v2 *pdb.V2
}

func (f *pdbFacts) String() string {
	if f.v2 != nil {
		return fmt.Sprintf("%08X-%x", f.v2.Signature, f.v2.Age)
	}
	return fmt.Sprintf("%s-%x", f.id.GUID, f.id.Age)
}

func identifyPDB(r io.ReaderAt, size int64, name string) Identity {
	id := Identity{Class: ClassSymbol, Kind: catalog.KindPDB}
	f, err := pdb.Open(r, size)
	if err != nil || f.InfoErr != nil {
		return id
	}
	if f.HasDBI && f.DBI.Machine != 0 {
		id.Arch = f.DBI.Arch()
	}
	if noGUID(f.Info.GUID) || f.DBIErr != nil { // the age is part of the identity
		return id
	}
	id.IDs = []catalog.IDs{{Arch: id.Arch, DebugID: f.DebugID().String()}}
	rank := RankFull
	if f.DBI.Stripped {
		rank = RankPublic
	}
	id.addKey(symid.PDBKey(name, f.DebugID()), rank)
	if !f.HasDBI {
		// Symbol stores file a PDB without a module table under its GUID alone.
		id.addKey(symid.StoreKey(name, f.Info.GUID.String()), rank)
	}
	return id
}

// noGUID reports whether g is all zeros or all ones, which no linker writes.
func noGUID(g symid.GUID) bool {
	for _, b := range g {
		if b != g[0] {
			return false
		}
	}
	return g[0] == 0 || g[0] == 0xff
}

func checkPDB(s *subject) {
	f, err := pdb.Open(s.in, s.size)
	switch {
	case errors.Is(err, pdb.ErrTruncated):
		s.damaged("PDB-TRUNC", err)
		return
	case errors.Is(err, pdb.ErrSuperblock):
		s.damaged("PDB-SB", err)
		return
	case err != nil:
		s.damaged("PDB-DIR", err)
		return
	}
	s.checkPDBSize(f)
	s.checkPDBIdentity(f)
	if f.Info.Has(pdb.FeatureFastLink) {
		s.add("PDB-FASTLINK", 0, "its symbols are not inside (feature code MINI)")
	}
	if free := int64(f.NumBlocks) - f.InUse(); 2*free > int64(f.NumBlocks) {
		s.add("PDB-BLOAT", 0, "%d of %d blocks of %d bytes are unused", free, f.NumBlocks, f.BlockSize)
	}
	if n, first, err := f.MarkedFree(); err == nil && n > 0 {
		s.addAs(catalog.Warning, "PDB-DIR", first, "%d blocks in use are marked as free, the first at %#x: tools that write to it would destroy it", n, first)
	}
	s.checkPDBContent(f)
}

// checkPDBSize is PDB-TRUNC for a file that is longer than its header says. Readers pass
// over whole blocks behind the last one; a part of a block LLVM takes for damage.
func (s *subject) checkPDBSize(f *pdb.File) {
	switch extra := s.size - f.Declared(); {
	case extra%int64(f.BlockSize) != 0:
		s.add("PDB-TRUNC", f.Declared(), "%d bytes after the last block: found a file of %d bytes, wanted %d, its header's %d blocks of %d; something was appended, or a block was cut",
			extra, s.size, f.Declared(), f.NumBlocks, f.BlockSize)
	case extra > 0:
		s.addAs(catalog.Warning, "PDB-TRUNC", f.Declared(), "%d bytes after the last block: its header says %d bytes, the file has %d", extra, f.Declared(), s.size)
	}
}

func (s *subject) checkPDBIdentity(f *pdb.File) {
	switch {
	case f.InfoErr != nil:
		s.damaged("PDB-INFO", f.InfoErr)
	case f.Info.NamesErr != nil:
		s.damaged("PDB-DIR", f.Info.NamesErr)
	case noGUID(f.Info.GUID):
		s.add("PDB-GUID0", 0, "its GUID is %s", f.Info.GUID)
	case f.DBIErr == nil:
		s.facts = &pdbFacts{id: f.DebugID()}
	}
	if f.HasDBI && f.InfoErr == nil && f.DBI.Age != 0 && f.DBI.Age != f.Info.Age {
		s.add("PDB-AGE", 0, "age %d in the info stream, %d in the DBI stream; indexed with %d", f.Info.Age, f.DBI.Age, f.DBI.Age)
	}
}

// pdb2Key is the key of a PDB 2.0, name/SIGNATUREage/name. It has the shape of an
// image's key, which is what such a request is parsed as.
func pdb2Key(name string, signature, age uint32) symid.Key {
	return symid.PEKey(name, symid.CodeID{Timestamp: signature, ImageSize: age})
}

func identifyPDB2(r io.ReaderAt, size int64, name string) Identity {
	id := Identity{Class: ClassSymbol, Kind: catalog.KindPDB}
	if v, err := pdb.OpenV2(r, size); err == nil {
		id.addKey(pdb2Key(name, v.Signature, v.Age), RankFull)
	}
	return id
}

func checkPDB2(s *subject) {
	v, err := pdb.OpenV2(s.in, s.size)
	if err != nil {
		s.damaged("PDB-V2", err)
		return
	}
	s.addAs(catalog.Warning, "PDB-V2", 0, "the VC6 format, which current debuggers do not read")
	s.facts = &pdbFacts{v2: &v}
}

// identifyMSFZ gives no keys: the identity is inside the compressed part.
func identifyMSFZ(io.ReaderAt, int64, string) Identity {
	return Identity{Class: ClassSymbol, Kind: catalog.KindPDB}
}

func checkMSFZ(s *subject) {
	s.add("PDB-MSFZ", 0, "a PDB in an MSFZ container, wanted one that is not compressed")
}
