package validate

import (
	"errors"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// ErrNoSymbols says that an archive was opened and nothing inside is of use to a
// debugger.
var ErrNoSymbols = errors.New("no symbol file or executable inside")

// Opened reports whether a scan looks into the file called name. It does not where
// the name promises an unpacked file, such as app.pdb: debuggers would ask for that
// name, so whoever packed it has to know. The names that SymStore gives to packed
// files, such as app.pd_, promise nothing else.
func Opened(name string, id Identity) bool {
	if id.Class != ClassCompressed && id.Class != ClassContainer {
		return false
	}
	name = symid.BaseName(name)
	return !symbolName(name) || name[len(name)-1] == '_'
}

// addArchive reports an archive of which nothing came.
func (s *subject) addArchive(code, what string) {
	sev := codeByID[code].Severity
	switch {
	case s.Archive == nil:
		s.addAs(sev, code, 0, "%s (%s)", what, formatNames[s.Format])
		return
	case s.ignored:
		sev = catalog.Info
	}
	s.addAs(sev, code, 0, "%s (%s): %v", what, formatNames[s.Format], s.Archive)
}
