package validate

import (
	"errors"
	"fmt"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile"
	"symkeep/internal/symfile/dwarf"
)

// walkDWARF walks the debug information of f, reports its faults under code, and
// notes what it gives. An ELF section that does not unpack ends the walk: ELF-COMP
// says so.
func (s *subject) walkDWARF(code string, f dwarf.File, suffix string) dwarf.Facts {
	facts, err := dwarf.Walk(f, suffix)
	if errors.Is(err, dwarf.ErrCompressed) {
		s.damaged(code, err)
	}
	for _, err := range facts.Faults {
		s.faultDWARF(code, err)
	}
	if facts.More > 0 {
		s.addAs(catalog.Warning, code, 0, "and %d more faults of its DWARF", facts.More)
	}
	s.givesDWARF(&facts)
	return facts
}

// faultDWARF reports one fault: damage as the code has it, what cannot be judged as a
// warning. Other errors are of the reader or of the compression, and reported there.
func (s *subject) faultDWARF(code string, err error) {
	var fe *symfile.FormatError
	switch {
	case !errors.As(err, &fe):
	case errors.Is(err, dwarf.ErrUnjudged):
		s.addAs(catalog.Warning, code, fe.Off, "%s", faultText(fe))
	case errors.Is(err, dwarf.ErrDamaged):
		s.add(code, fe.Off, "%s", faultText(fe))
	}
}

// checkDebugFrames reads the call frames that only debuggers use.
func (s *subject) checkDebugFrames(code string, f dwarf.File) {
	for _, sec := range f.DebugSections("frame") {
		n, err := dwarf.DebugFrames(sec, f.ByteOrder())
		s.faultFrames(code, err)
		if n > 0 {
			s.gives(catalog.QualityUnwind)
		}
	}
}

// faultFrames reports damage of call frames as a warning.
func (s *subject) faultFrames(code string, err error) {
	var fe *symfile.FormatError
	if errors.Is(err, dwarf.ErrDamaged) && errors.As(err, &fe) {
		s.addAs(catalog.Warning, code, fe.Off, "%s", faultText(fe))
	}
}

func faultText(fe *symfile.FormatError) string {
	return fmt.Sprintf("%s at %#x: found %s, wanted %s", fe.What, fe.Off, fe.Found, fe.Want)
}

// givesDWARF notes what a debugger gets from debug information.
func (s *subject) givesDWARF(f *dwarf.Facts) {
	for q, has := range map[catalog.Quality]bool{
		catalog.QualityPublic:  f.Functions,
		catalog.QualityLines:   f.Lines,
		catalog.QualityTypes:   f.Types,
		catalog.QualitySources: f.Sources,
	} {
		if has {
			s.gives(q)
		}
	}
}
