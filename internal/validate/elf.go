package validate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/dwarf"
	"symkeep/internal/symfile/elf"
	"symkeep/internal/symid"
)

// rankInside is what debug information loses by standing in the image itself: a
// split file of the same link is smaller and is served before it, and the two are
// no conflict.
const rankInside = 5

// elfFacts is what the checks across the package need of an ELF file.
type elfFacts struct {
	file       *elf.File
	build      symid.BuildID // empty: none, or none that debuggers can ask for
	exe        bool          // holds the code
	split      bool          // holds the debug half only
	debug      bool          // DWARF or a symbol table
	dwarf      bool
	empty      bool // a debug file without debug data, and reported as such
	link       *elf.DebugLink
	alt        *elf.AltLink
	units      dwarf.Facts // of .debug_info
	splitUnits []uint64    // ids of the units of a .dwo or .dwp
	dwo, dwp   bool
}

// String names the file as people write it.
func (f *elfFacts) String() string {
	if f.build == "" {
		return "no build id"
	}
	return "build id " + f.build.String()
}

func identifyELF(r io.ReaderAt, size int64, name string) Identity {
	id := Identity{Class: ClassSymbol, Kind: catalog.KindELF}
	f, err := elf.Parse(r, size)
	if err != nil {
		return id
	}
	id.Arch = f.Arch()
	switch {
	case f.Type == elf.TypeCore:
		id.Class = ClassDump
		return id
	case f.Object() || f.Bytecode():
		id.Class = ClassObject
		return id
	}
	who, err := f.Identity()
	if err != nil {
		return id
	}
	for _, b := range who.BuildIDs {
		if zeroBuildID(b) {
			continue
		}
		id.IDs = append(id.IDs, elfIDs(f, b)...)
		id.addELFKeys(f, b, name)
	}
	id.addELFRefs(f, who)
	return id
}

// elfIDs returns the id texts of one build id. Tools disagree on the debug id of
// big-endian files: both forms are listed, the unswapped one first.
func elfIDs(f *elf.File, b symid.BuildID) []catalog.IDs {
	forms := elfDebugIDs(b)
	if !f.BigEndian() {
		forms = forms[:1]
	} else {
		slices.Reverse(forms)
	}
	var all []catalog.IDs
	for _, d := range forms {
		all = append(all, catalog.IDs{Arch: f.Arch(), BuildID: b.String(), CodeID: b.String(), DebugID: d.String()})
	}
	return all
}

// elfDebugIDs returns the two debug ids of a build id: swapped, as all tools do for
// little-endian files, and as it is.
func elfDebugIDs(b symid.BuildID) []symid.DebugID {
	return []symid.DebugID{b.DebugID(binary.LittleEndian), b.DebugID(binary.BigEndian)}
}

// addELFKeys adds a key for each thing the file can serve as. A debug file without
// debug data keeps its key, so that the report says what it would have been.
func (id *Identity) addELFKeys(f *elf.File, b symid.BuildID, name string) {
	if symid.CheckName(name) != nil {
		return
	}
	rank := RankBare
	switch {
	case f.DebugInfo() != nil:
		rank = RankFull
	case f.HasSymtab():
		rank = RankPublic
	}
	exe := f.Executable()
	if exe {
		id.addKey(symid.BuildIDKey(b, symid.Executable, name), rank)
	}
	switch {
	case exe && f.Debuginfo():
		id.addKey(symid.BuildIDKey(b, symid.Debuginfo, name), rank-rankInside)
	case !exe && (f.Debuginfo() || f.SplitDebug()):
		id.addKey(symid.BuildIDKey(b, symid.Debuginfo, name), rank)
	}
}

func (id *Identity) addELFRefs(f *elf.File, who elf.Identity) {
	var own symid.BuildID
	if len(who.BuildIDs) > 0 {
		own = who.BuildIDs[0]
	}
	if l, _ := f.DebugLink(); l != nil {
		id.Refs = append(id.Refs, Ref{Kind: RefDebugLink, Name: symid.BaseName(l.Name), Build: own, CRC32: l.CRC})
	}
	if a, _ := f.AltLink(); a != nil {
		id.Refs = append(id.Refs, Ref{Kind: RefAltLink, Name: symid.BaseName(a.Name), Build: a.BuildID,
			Keys: []symid.IndexKey{symid.BuildIDKey(a.BuildID, symid.Debuginfo, "").Index()}})
	}
	if split, _ := dwarf.Skeleton(f); split {
		id.Refs = append(id.Refs, Ref{Kind: RefDWO, Build: own})
	}
}

func zeroBuildID(b symid.BuildID) bool { return strings.Trim(string(b), "\x00") == "" }

func checkELF(s *subject) {
	f, err := elf.Parse(s.in, s.size)
	switch {
	case errors.Is(err, elf.ErrTruncated):
		s.damaged("ELF-TRUNC", err)
		return
	case err != nil:
		s.damaged("ELF-HDR", err)
		return
	case f.Type == elf.TypeCore:
		s.add("GEN-CORE", 16, "an ELF core dump")
		return
	case f.Object():
		s.addObject("a relocatable ELF object without the marks of a kernel module")
		return
	case f.Bytecode():
		s.addObject("bytecode of Guile in an ELF file")
		return
	}
	if err := f.CheckBounds(); err != nil {
		s.damaged("ELF-TRUNC", err)
		return
	}
	facts := &elfFacts{file: f, exe: f.Executable(), split: f.SplitDebug(), debug: f.Debuginfo(), dwarf: f.DebugInfo() != nil,
		dwo: f.SplitUnits() != nil && !f.DWP(), dwp: f.DWP()}
	s.facts = facts
	s.checkBuildID(f, facts)
	s.checkELFDebug(f, facts)
	s.checkLinks(f, facts)
	s.checkDWARF(f, facts)
	s.checkQuality(f, facts)
}

// checkBuildID is ELF-NOID, ELF-GOID, ELF-ID0, ELF-ID-SIZE and ELF-ID-MULTI. Split
// DWARF has no id of its own.
func (s *subject) checkBuildID(f *elf.File, facts *elfFacts) {
	if facts.dwo || facts.dwp {
		return
	}
	id, err := f.Identity()
	if err != nil {
		return // the reader's; the core reports it
	}
	switch len(id.BuildIDs) {
	case 0:
		switch {
		case id.Damage != nil:
			s.damaged("ELF-NOID", id.Damage)
		case id.GoID:
			s.add("ELF-NOID", 0, "found a Go build id only, wanted a GNU build-id note")
			s.add("ELF-GOID", 0, "has a note of the Go linker and no GNU build id")
		default:
			s.add("ELF-NOID", 0, "found no GNU build-id note in any note segment or section")
		}
		return
	case 1:
	default:
		var all []string
		for _, b := range id.BuildIDs {
			all = append(all, b.String())
		}
		s.add("ELF-ID-MULTI", 0, "found the build ids %s, wanted one", strings.Join(all, " and "))
	}
	b := id.BuildIDs[0]
	switch n := len(b); {
	case zeroBuildID(b):
		s.add("ELF-ID0", 0, "its build id is %d zero bytes", n)
		return
	case n < 4:
		s.addAs(catalog.Error, "ELF-ID-SIZE", 0, "build id %s of %d bytes is too short to be unique, wanted 8 to 64", b, n)
	case n < 8 || n > symid.MaxBuildID:
		s.add("ELF-ID-SIZE", 0, "build id %s of %d bytes, wanted 8 to 64", b, n)
	}
	facts.build = b
}

// checkELFDebug is ELF-NODEBUG for debug files, ELF-GO and ELF-LTO. An image
// without debug data is judged with the package.
func (s *subject) checkELFDebug(f *elf.File, facts *elfFacts) {
	if facts.dwo || facts.dwp {
		return
	}
	ext := path.Ext(symid.Fold(s.name))
	if !facts.debug && (facts.split || ext == ".debug" || ext == ".dbg") {
		facts.empty = true
		s.addAs(catalog.Error, "ELF-NODEBUG", 0, "a debug file in which .debug_info and .symtab have no content")
	}
	if facts.exe && !facts.debug && f.GoProgram() {
		s.add("ELF-GO", 0, "a Go program without DWARF and symbol table")
	}
	if n := f.LTOBytes(); n > 0 {
		s.add("ELF-LTO", 0, "%s of LTO intermediate code", sizeText(n))
	}
}

// checkLinks reads the links to other files; where they lead is judged with the
// package.
func (s *subject) checkLinks(f *elf.File, facts *elfFacts) {
	var err error
	if facts.link, err = f.DebugLink(); err != nil {
		s.damaged("ELF-DLINK-MISSING", err)
	}
	if facts.alt, err = f.AltLink(); err != nil {
		s.damaged("ELF-ALTLINK", err)
	}
}

func sizeText(n uint64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}
