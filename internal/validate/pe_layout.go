package validate

import (
	"errors"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile"
	"symkeep/internal/symfile/pe"
	"symkeep/internal/symfile/portablepdb"
)

// overlayFrom is the least data after the last section that is more than padding to a
// whole file block, in bytes.
const overlayFrom = 512

// checkPELayout looks at where sections and what they hold lie, in memory and in the
// file.
func (s *subject) checkPELayout(f *pe.File) {
	if first, second, ok := f.Overlap(); ok {
		s.add("PE-HDR", f.HeaderOff, "section %s begins at %#x, wanted %#x or above, the end of section %s: no loader takes it", quote(second.Name), second.VirtualAddress, int64(first.VirtualAddress)+int64(first.VirtualSize), quote(first.Name))
	}
	for i, d := range f.Dirs {
		if i != pe.DirCertificate && d.Size != 0 && d.RVA >= f.SizeOfImage {
			s.add("PE-HDR", f.DirOff(i), "data directory %d at %#x: found %#x, wanted an address below SizeOfImage %#x", i, f.DirOff(i), d.RVA, f.SizeOfImage)
		}
	}
	end := max(f.SectionsEnd(), f.SymbolsEnd())
	if off, last, ok := f.Certificate(); ok {
		if off-end >= overlayFrom && off < s.size {
			s.add("PE-OVERLAY", end, "%d bytes between its last section and its signature", off-end)
		}
		end = max(end, last)
	}
	if extra := s.size - end; extra >= overlayFrom {
		s.add("PE-OVERLAY", end, "%d bytes after its last section", extra)
	}
}

// checkPETables reads the symbol table and the unwind table. Images of tools that need
// the first for the names of their sections have it whole; others may have kept fields
// of it that mean nothing.
func (s *subject) checkPETables(f *pe.File) {
	sev := catalog.Warning
	if f.LongNames() {
		sev = catalog.Error
	}
	if end := f.SymbolsEnd(); end > s.size {
		s.addAs(sev, "PE-TRUNC", s.size, "ends at %d but its symbol and string tables at %#x need %d bytes", s.size, f.SymbolsOff, end)
	} else {
		s.damagedAs(sev, "PE-SYMS", f.CheckSymbols())
	}
	s.damaged("PE-UNWIND", f.CheckUnwind())
	if !s.failed() { // what is cut or out of place explains the rest
		s.damaged("PE-TABLES", f.CheckTables())
	}
}

// checkPEManaged wants the metadata of a managed image to be there: debuggers take
// names and types from it.
func (s *subject) checkPEManaged(f *pe.File) {
	m, err := f.Metadata()
	if err != nil {
		s.damaged("PE-CLR", err)
		return
	}
	if m == nil {
		return
	}
	var fe *symfile.FormatError
	switch err := portablepdb.CheckAssembly(m, m.Size()); {
	case errors.As(err, &fe):
		_, off, _ := m.Outer()
		s.add("PE-CLR", off+fe.Off, "%s at %#x of the metadata: found %s, wanted %s", fe.What, fe.Off, fe.Found, fe.Want)
	case err == nil:
		s.gives(catalog.QualityPublic)
	}
}

// givesPE notes what a debugger gets from the image itself.
func (s *subject) givesPE(f *pe.File) {
	if f.HasUnwind() {
		s.gives(catalog.QualityUnwind)
	}
	if f.SymbolCount > 0 && f.SymbolsEnd() <= s.size {
		s.gives(catalog.QualityPublic)
	}
}
