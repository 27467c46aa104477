package validate

import (
	"fmt"
	"io"
	"path"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/pe"
	"symkeep/internal/symid"
)

// peFacts is what the checks across the package need of an image.
type peFacts struct {
	records   []pe.CodeView
	checksums []pe.Checksum // of its portable PDB
	embedded  bool          // carries its portable PDB inside
}

func identifyPE(r io.ReaderAt, size int64, name string) Identity {
	id := Identity{Class: ClassSymbol, Kind: catalog.KindPE}
	f, err := pe.Open(r, size)
	if err != nil {
		return id
	}
	id.Arch = f.Arch()
	ids := catalog.IDs{Arch: id.Arch, CodeID: f.CodeID().String()}
	entries, _ := f.Debug()
	for _, e := range entries {
		id.Embedded = id.Embedded || e.Type == pe.DebugEmbeddedPDB
		if e.Type != pe.DebugCodeView {
			continue
		}
		cv, err := f.CodeView(e)
		if err != nil || !cv.NB10 && cv.GUID.IsZero() {
			continue
		}
		if ids.DebugID == "" && !cv.NB10 {
			ids.DebugID = symid.DebugID{GUID: cv.GUID, Age: cv.Age}.String()
		}
		id.Refs = append(id.Refs, refOf(cv))
	}
	if l, ok := f.DebugLink(); ok {
		id.Refs = append(id.Refs, Ref{Kind: RefDebugLink, Name: l.Name, CRC32: l.CRC32})
	}
	id.IDs = []catalog.IDs{ids}
	rank := RankBare
	if f.HasDWARF() {
		rank = RankFull
	}
	id.addKey(symid.PEKey(name, f.CodeID()), rank)
	return id
}

func refOf(cv pe.CodeView) Ref {
	switch {
	case cv.NB10:
		return Ref{Kind: RefPDB2, Name: cv.Name(), Keys: []symid.IndexKey{pdb2Key(cv.Name(), cv.Signature, cv.Age).Index()}}
	case cv.Portable:
		return Ref{Kind: RefPortablePDB, Name: cv.Name(), Debug: cv.DebugID(), Stamp: cv.Stamp, Keys: []symid.IndexKey{symid.PDBKey(cv.Name(), cv.DebugID()).Index()}}
	}
	return Ref{Kind: RefPDB, Name: cv.Name(), Debug: cv.DebugID(), Keys: []symid.IndexKey{symid.PDBKey(cv.Name(), cv.DebugID()).Index()}}
}

func checkPE(s *subject) {
	f, err := pe.Open(s.in, s.size)
	if err != nil {
		s.damaged("PE-HDR", err)
		return
	}
	s.checkPEHeader(f)
	s.checkPETruncated(f)
	s.checkPELayout(f)
	s.checkPETables(f)
	s.checkPEManaged(f)
	s.givesPE(f)
	facts := &peFacts{}
	s.facts = facts
	repro := s.checkPEDebug(f, facts)
	if f.Timestamp == 0 && !repro {
		s.add("PE-TS0", f.HeaderOff+8, "timestamp 0, key %s", f.CodeID())
	}
	for _, sec := range f.Sections {
		if packer, ok := packerSections[sec.Name]; ok {
			s.add("PE-PACKED", 0, "section %s was written by %s", sec.Name, packer)
			break
		}
	}
	s.checkPEChecksum(f)
	s.checkPEDWARF(f)
}

var packerSections = map[string]string{
	"UPX0": "UPX", "UPX1": "UPX", ".aspack": "ASPack", ".adata": "ASPack", ".MPRESS1": "MPRESS",
	".petite": "Petite", ".themida": "Themida", ".vmp0": "VMProtect", ".vmp1": "VMProtect",
}

func (s *subject) checkPEHeader(f *pe.File) {
	if !f.MachineKnown() {
		s.add("PE-HDR", f.HeaderOff+4, "machine at %#x: found %#x, wanted a machine that Windows or .NET runs on", f.HeaderOff+4, f.Machine)
	}
	if n := len(f.Sections); n > pe.MaxSections {
		s.addAs(catalog.Warning, "PE-HDR", f.HeaderOff+6, "%d sections, Windows loads at most %d", n, pe.MaxSections)
	}
}

func (s *subject) checkPETruncated(f *pe.File) {
	for _, sec := range f.Sections {
		if end := sec.End(); end > s.size {
			s.add("PE-TRUNC", s.size, "ends at %d but section %s needs %d bytes", s.size, sec.Name, end)
		}
	}
	if off, end, ok := f.Certificate(); ok && end > s.size {
		s.add("PE-TRUNC", s.size, "ends at %d but the signature at %#x needs %d bytes", s.size, off, end)
	}
}

// checkPEDebug reads every debug entry, and reports whether the image is marked
// reproducible: its timestamp is then a hash.
func (s *subject) checkPEDebug(f *pe.File, facts *peFacts) (repro bool) {
	entries, err := f.Debug()
	if err != nil {
		s.damaged("PE-RSDS", err)
		return false
	}
	codeView := false
	var embedded []pe.DebugEntry
	for _, e := range entries {
		switch e.Type {
		case pe.DebugCodeView:
			codeView = true
			s.checkCodeView(f, e, facts)
		case pe.DebugRepro:
			repro = true
		case pe.DebugPDBChecksum:
			if sum, err := f.Checksum(e); err != nil {
				s.damaged("PE-RSDS", err)
			} else {
				facts.checksums = append(facts.checksums, sum)
			}
		case pe.DebugEmbeddedPDB:
			facts.embedded = true
			embedded = append(embedded, e)
		default:
			s.checkDebugEntry(f, e)
		}
	}
	for _, e := range embedded {
		s.checkEmbedded(f, e, facts)
	}
	if !codeView && hasCode(f) {
		switch {
		case f.HasDWARF():
			s.add("PE-NODEBUG-LINK", 0, "names no PDB; its debug data is DWARF, which only GDB and LLDB read")
		default:
			s.add("PE-NODEBUG-LINK", 0, "names no PDB and holds no debug data")
		}
	}
	return repro
}

// checkDebugEntry judges where an entry of another type has its data. Stripped images may
// keep entries of old types whose data went to a .dbg file; of a type that nobody assigned
// such an entry is one of a directory that lies elsewhere than the header says.
func (s *subject) checkDebugEntry(f *pe.File, e pe.DebugEntry) {
	switch {
	case e.Size == 0:
	case e.RVA >= f.SizeOfImage:
		s.add("PE-RSDS", e.Off, "debug entry of type %d at %#x: found its data at RVA %#x, wanted it below SizeOfImage %#x", e.Type, e.Off, e.RVA, f.SizeOfImage)
	case e.Type > pe.DebugLast && int64(e.Ptr)+int64(e.Size) > s.size:
		s.add("PE-RSDS", e.Off, "debug entry of type %d at %#x: found %d bytes at %#x, wanted them inside the %d of the file", e.Type, e.Off, e.Size, e.Ptr, s.size)
	}
}

// hasCode reports whether an image has a section to execute: one of resources
// alone needs no symbols.
func hasCode(f *pe.File) bool {
	const code, execute = 0x20, 0x20000000
	for _, sec := range f.Sections {
		if sec.Characteristics&(code|execute) != 0 {
			return true
		}
	}
	return false
}

func (s *subject) checkCodeView(f *pe.File, e pe.DebugEntry, facts *peFacts) {
	cv, err := f.CodeView(e)
	switch {
	case err != nil:
		s.damaged("PE-RSDS", err)
		return
	case !cv.NB10 && cv.GUID.IsZero():
		s.add("PE-RSDS", cv.Off+4, "GUID at %#x: found zero, wanted the id of a PDB", cv.Off+4)
		return
	case cv.NB10:
		s.add("PE-NB10", cv.Off, "refers to %s in the PDB 2.0 format of VC6", quote(cv.Name()))
	}
	if !cv.Terminated {
		s.addAs(catalog.Warning, "PE-RSDS", cv.Off+24, "PDB path at %#x has no NUL at its end", cv.Off+24)
	}
	if f.Misplaced(e) {
		s.addAs(catalog.Warning, "PE-RSDS", e.Off, "debug entry at %#x: its address %#x and its file offset %#x are different places", e.Off, e.RVA, e.Ptr)
	}
	if absolute(cv.Path) {
		s.add("PE-ABSPATH", cv.Off+24, "publishes the build path %s", quote(cv.Path))
	}
	facts.records = append(facts.records, cv)
}

func absolute(p string) bool {
	return strings.HasPrefix(p, "/") || strings.HasPrefix(p, `\`) ||
		len(p) > 2 && p[1] == ':' && (p[2] == '\\' || p[2] == '/')
}

// checkPEChecksum is for drivers: Windows checks no other image.
func (s *subject) checkPEChecksum(f *pe.File) {
	if f.CheckSum == 0 || path.Ext(symid.Fold(s.name)) != ".sys" {
		return
	}
	if sum, err := f.ComputeCheckSum(); err == nil && sum != f.CheckSum {
		s.add("PE-CHECKSUM", f.CheckSumOff, "checksum at %#x: found %#x, wanted %#x", f.CheckSumOff, f.CheckSum, sum)
	}
}

// wantedPDB names the PDB of a record as people write it.
func wantedPDB(cv pe.CodeView) string {
	switch {
	case cv.NB10:
		return fmt.Sprintf("%s %08X-%x", cv.Name(), cv.Signature, cv.Age)
	case cv.Portable:
		return fmt.Sprintf("%s %s-%08x (portable)", cv.Name(), cv.GUID, cv.Stamp)
	}
	return fmt.Sprintf("%s %s-%x", cv.Name(), cv.GUID, cv.Age)
}
