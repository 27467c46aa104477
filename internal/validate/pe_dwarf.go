package validate

import "symkeep/internal/symfile/pe"

// checkPEDWARF is PE-DWARF: the debug information that mingw, clang and Go put into
// images is walked. Call frames of the debugger's kind give unwinding.
func (s *subject) checkPEDWARF(f *pe.File) {
	if facts := s.walkDWARF("PE-DWARF", f, ""); facts.Units > 0 {
		s.checkDebugFrames("PE-DWARF", f)
	}
}
