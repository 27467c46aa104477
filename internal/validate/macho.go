package validate

import (
	"errors"
	"io"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile"
	"symkeep/internal/symfile/macho"
	"symkeep/internal/symid"
)

// machoFacts is what the checks across the package need of a Mach-O file.
type machoFacts struct {
	slices []machoSlice
	dsym   bool
}

type machoSlice struct {
	arch     string
	uuid     symid.GUID
	dwarf    bool
	debugMap bool // debug information is in object files
}

// uuids returns the texts of all UUIDs, for messages.
func (f *machoFacts) uuids() string {
	var all []string
	for _, sl := range f.slices {
		all = append(all, sl.uuid.String()+" ("+sl.arch+")")
	}
	return strings.Join(all, ", ")
}

func identifyMachO(r io.ReaderAt, size int64, name string) Identity {
	id := Identity{Class: ClassSymbol, Kind: catalog.KindMachO}
	f, err := macho.Parse(r, size)
	if err != nil {
		return id
	}
	id.Class = machoClass(f)
	var archs []string
	for i := range f.Slices {
		sl := &f.Slices[i]
		archs = append(archs, sl.Arch())
		if id.Class == ClassSymbol && sl.HasUUID && !sl.UUID.IsZero() {
			id.addSlice(f, sl, name)
		}
	}
	id.Arch = strings.Join(archs, "+")
	return id
}

// rankFat is how much lower a slice inside a fat file ranks than the same one by
// itself, which is the smaller answer to the same question.
const rankFat = 1

// machoClass judges a file by its slices, which lipo keeps of one type.
func machoClass(f *macho.File) Class {
	switch f.Slices[0].Type {
	case macho.TypeObject:
		return ClassObject
	case macho.TypeCore:
		return ClassDump
	}
	return ClassSymbol
}

func (id *Identity) addSlice(f *macho.File, sl *macho.Slice, name string) {
	debug := symid.DebugID{GUID: sl.UUID}
	id.IDs = append(id.IDs, catalog.IDs{Arch: sl.Arch(), DebugID: debug.String(), CodeID: strings.ToLower(sl.UUID.String())})
	if symid.CheckName(name) != nil {
		return
	}
	wide := 0
	if f.Fat {
		wide = rankFat
	}
	if sl.Type == macho.TypeDSYM {
		rank := RankFull
		if sl.Dwarf() == nil {
			rank = RankBare
		}
		id.addKey(symid.MachOKey(sl.UUID, symid.Debuginfo, name), rank-wide)
		return
	}
	rank := RankBare
	switch {
	case sl.Dwarf() != nil:
		rank = RankFull
	case sl.HasLocals():
		rank = RankPublic
	}
	id.addKey(symid.MachOKey(sl.UUID, symid.Executable, name), rank-wide)
	id.Refs = append(id.Refs, Ref{Kind: RefDSYM, Name: name, Debug: debug,
		Keys: []symid.IndexKey{symid.MachOKey(sl.UUID, symid.Debuginfo, "").Index()}})
}

func checkMachO(s *subject) {
	f, err := macho.Parse(s.in, s.size)
	switch {
	case errors.Is(err, macho.ErrFat):
		s.damaged("MO-FAT", err)
		return
	case errors.Is(err, macho.ErrTruncated):
		s.damaged("MO-TRUNC", err)
		return
	case err != nil:
		s.damaged("MO-HDR", err)
		return
	}
	switch machoClass(f) {
	case ClassObject:
		s.addObject("a Mach-O object")
		return
	case ClassDump:
		s.add("GEN-CORE", 12, "a Mach-O core dump")
		return
	}
	facts := &machoFacts{dsym: f.Slices[0].Type == macho.TypeDSYM}
	sound := true
	for i := range f.Slices {
		sl, ok := s.checkSlice(&f.Slices[i], facts.dsym)
		facts.slices = append(facts.slices, sl)
		sound = sound && ok
	}
	if sound { // a damaged half is no half
		s.facts = facts
	}
}

// checkSlice reports whether the slice can be paired.
func (s *subject) checkSlice(sl *macho.Slice, dsym bool) (machoSlice, bool) {
	got := machoSlice{arch: sl.Arch(), uuid: sl.UUID, dwarf: sl.Dwarf() != nil}
	switch err := sl.CheckBounds(); {
	case errors.Is(err, macho.ErrHeader):
		s.damaged("MO-HDR", err)
		return got, false
	case err != nil:
		s.damaged("MO-TRUNC", err)
		return got, false
	}
	if sl.Encrypted {
		s.add("MO-ENCRYPTED", sl.Offset, "%s is encrypted", got.arch)
	}
	if !got.dwarf && (dsym || bundleDWARF(s.Path)) {
		s.add("MO-DSYM-EMPTY", sl.Offset, "%s has no __debug_info section with content", got.arch)
	}
	got.debugMap = s.checkSymbols(sl, dsym) && !got.dwarf && !dsym
	s.checkSliceDebug(sl)
	switch {
	case !sl.HasUUID:
		s.add("MO-NOUUID", sl.Offset, "%s has no LC_UUID load command", got.arch)
		return got, false
	case sl.UUID.IsZero():
		s.add("MO-UUID0", sl.Offset, "the UUID of %s is zero", got.arch)
		return got, false
	}
	return got, true
}

// checkSymbols reads the symbol table and reports whether debug information is in
// object files. Errors of the reader are the core's to report.
func (s *subject) checkSymbols(sl *macho.Slice, dsym bool) bool {
	sym, _ := sl.Symbols()
	if sym.Damage != nil {
		s.damaged("MO-HDR", sym.Damage)
	}
	if sl.HasLocals() || dsym && sym.Defined {
		s.gives(catalog.QualityPublic)
	}
	return sym.DebugMap
}

// checkSliceDebug is MO-DWARF: the debug information is walked, and what is compressed
// unpacked. Damaged unwind information is a warning.
func (s *subject) checkSliceDebug(sl *macho.Slice) {
	if err := sl.CheckPacked(); err != nil {
		s.damaged("MO-DWARF", err)
	} else {
		s.walkDWARF("MO-DWARF", sl, "")
	}
	unwind, err := sl.HasUnwind()
	if unwind {
		s.gives(catalog.QualityUnwind)
	}
	var fe *symfile.FormatError
	if errors.As(err, &fe) {
		s.addAs(catalog.Warning, "MO-DWARF", fe.Off, "%s", faultText(fe))
	}
}
