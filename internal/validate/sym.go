package validate

import (
	"bytes"
	"errors"
	"io"
	"path"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile"
	"symkeep/internal/symfile/breakpad"
	"symkeep/internal/symid"
)

// maxRecordFindings is how many malformed records are listed one by one.
const maxRecordFindings = 20

// breakpadArchs are the names of dump_syms for what has another name here.
var breakpadArchs = map[string]string{"x86_64": symfile.ArchX64, "arm64": symfile.ArchARM64}

func identifyBreakpad(r io.ReaderAt, size int64, name string) Identity {
	id := Identity{Class: ClassSymbol, Kind: catalog.KindBreakpad}
	h, err := breakpad.ReadHead(r, size)
	if err != nil {
		return id
	}
	id.Arch = h.Module.Arch
	if a, ok := breakpadArchs[id.Arch]; ok {
		id.Arch = a
	}
	debug, err := h.Module.DebugID()
	if err != nil {
		return id
	}
	id.IDs = []catalog.IDs{{Arch: id.Arch, DebugID: debug.String(), CodeID: h.CodeID}}
	id.addKey(symid.BreakpadKey(symid.BaseName(h.Module.Name), debug), RankFull)
	return id
}

// textNamedSym reports whether a file that starts like nothing known is text whose
// name claims to be a Breakpad file: then a missing MODULE line is what to say.
func textNamedSym(in *input, name string) bool {
	if path.Ext(symid.Fold(name)) != ".sym" {
		return false
	}
	b := make([]byte, min(in.size, symfile.SniffLen))
	n, _ := in.ReadAt(b, 0)
	return !bytes.ContainsFunc(b[:n], func(r rune) bool { return r < 0x20 && r != '\t' && r != '\r' && r != '\n' })
}

func checkBreakpad(s *subject) {
	bad := 0
	facts, err := breakpad.Scan(io.NewSectionReader(s.in, 0, s.size), func(e *breakpad.RecordError) bool {
		sev := catalog.Error
		if e.Dangling {
			sev = catalog.Warning
		}
		if bad++; bad <= maxRecordFindings || sev == catalog.Error && !s.failed() {
			s.addAs(sev, "SYM-RECORD", e.Off, "line %d: found %s, wanted %s", e.Line, quote(e.Found), e.Want)
		}
		return true
	})
	if err != nil {
		return // the reader's; the core reports it
	}
	if bad > maxRecordFindings { // a malformed one among them is listed already
		s.addAs(catalog.Warning, "SYM-RECORD", s.size, "and %d more such records", bad-maxRecordFindings)
	}
	if facts.NoLineEnd {
		s.addAs(catalog.Warning, "SYM-RECORD", s.size, "the last line has no end; some readers drop it")
	}
	if facts.Funcs+facts.Publics+facts.Stacks == 0 {
		s.add("SYM-EMPTY", 0, "found no FUNC, PUBLIC or STACK record")
	}
	s.givesRecords(facts)
	s.checkModule(facts)
	for i := range s.Keys {
		s.Keys[i].Rank = rankOfRecords(facts)
	}
}

// givesRecords notes what the records of a file give.
func (s *subject) givesRecords(f breakpad.Facts) {
	if f.Funcs+f.Publics > 0 {
		s.gives(catalog.QualityPublic)
	}
	if f.Lines > 0 {
		s.gives(catalog.QualityLines)
	}
	if f.Stacks > 0 {
		s.gives(catalog.QualityUnwind)
	}
}

func rankOfRecords(f breakpad.Facts) int {
	switch {
	case f.Funcs > 0:
		return RankFull
	case f.Publics > 0:
		return RankPublic
	}
	return RankBare
}

// checkModule is SYM-MODULE, SYM-ID and SYM-NAME.
func (s *subject) checkModule(facts breakpad.Facts) {
	if facts.ModuleErr != nil {
		s.add("SYM-MODULE", 0, "%s", errorText(facts.ModuleErr, breakpad.ErrModule))
		return
	}
	m := facts.Module
	if err := symid.CheckName(symid.BaseName(m.Name)); err != nil {
		s.add("SYM-MODULE", 0, "line 1: the name cannot stand in a lookup path: %v", err)
	}
	debug, err := m.DebugID()
	if err != nil {
		s.add("SYM-ID", 0, "%s", errorText(err, breakpad.ErrID))
		return
	}
	if m.NoAge() {
		s.addAs(catalog.Warning, "SYM-ID", 0, "line 1: id %s has no age; it is indexed with age 0", m.ID)
	}
	if build, err := symid.ParseBuildID(facts.CodeID); err == nil && (m.OS == "Linux" || m.OS == "Android") && !sameID(build, debug) {
		s.addAs(catalog.Warning, "SYM-ID", 0, "id %s is not that of the code id %s", m.ID, facts.CodeID)
	}
	s.checkSymPath(m, debug)
}

// sameID reports whether debug is one of the two forms that build has.
func sameID(build symid.BuildID, debug symid.DebugID) bool {
	for _, ids := range elfDebugIDs(build) {
		if ids.GUID == debug.GUID {
			return true
		}
	}
	return false
}

// checkSymPath compares the MODULE line with a path of the form name/id/stem.sym.
func (s *subject) checkSymPath(m breakpad.Module, debug symid.DebugID) {
	parts := strings.Split(s.Path, "/")
	if len(parts) < 3 {
		return
	}
	parts = parts[len(parts)-3:]
	inPath, err := symid.ParseDebugID(parts[1])
	if err != nil {
		return
	}
	name := symid.BaseName(m.Name)
	stem := symid.Fold(symid.SymStem(name)) + ".sym"
	if inPath != debug || symid.Fold(parts[0]) != symid.Fold(name) || symid.Fold(parts[2]) != stem {
		s.add("SYM-NAME", 0, "its path ends in %s, its MODULE record says %s/%s/%s.sym", strings.Join(parts, "/"), name, debug, symid.SymStem(name))
	}
}

// errorText is the text of err without that of the kind it ends in.
func errorText(err, kind error) string {
	if errors.Is(err, kind) {
		return strings.TrimSuffix(err.Error(), ": "+kind.Error())
	}
	return err.Error()
}
