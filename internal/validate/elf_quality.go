package validate

import (
	"errors"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/dwarf"
	"symkeep/internal/symfile/elf"
)

// checkQuality notes what the file gives beyond its DWARF: function names of the
// symbol table, and call frames. Damaged frames are a warning: a debugger goes on
// without them.
func (s *subject) checkQuality(f *elf.File, facts *elfFacts) {
	public, err := f.HasFunctions()
	if err != nil {
		s.damaged("ELF-HDR", err)
	}
	if public {
		s.gives(catalog.QualityPublic)
	}
	unwind := f.HasUnwindIndex()
	if sec, ok := f.FrameSection(); ok {
		n, err := dwarf.RuntimeFrames(sec, f.Order)
		s.faultFrames("ELF-DWARF", err)
		unwind = unwind || n > 0
	}
	s.checkDebugFrames("ELF-DWARF", f)
	if unwind {
		s.gives(catalog.QualityUnwind)
	}
	s.checkMini(f, facts)
}

// checkMini looks into the symbol table that is embedded under xz.
func (s *subject) checkMini(f *elf.File, facts *elfFacts) {
	mini, err := f.Mini()
	switch {
	case errors.Is(err, elf.ErrCompressed):
		s.damaged("ELF-COMP", err)
		return
	case err != nil:
		s.add("ELF-COMP", 0, "what .gnu_debugdata unpacks to is no ELF file: %v", err)
		return
	case mini == nil:
		return
	}
	if id, err := mini.Identity(); err == nil && len(id.BuildIDs) > 0 && facts.build != "" && id.BuildIDs[0] != facts.build {
		s.add("ELF-PAIR", 0, "has %s, but its .gnu_debugdata has build id %s", facts, id.BuildIDs[0])
	}
	if !mini.HasSymtab() {
		s.add("ELF-NODEBUG", 0, "its .gnu_debugdata holds an ELF file without symbol table")
	}
	if public, _ := mini.HasFunctions(); public {
		s.gives(catalog.QualityPublic)
	}
}
