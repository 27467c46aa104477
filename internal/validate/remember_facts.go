package validate

import (
	"context"

	"symkeep/internal/symfile/dwarf"
	"symkeep/internal/symfile/elf"
	"symkeep/internal/symfile/pdb"
	"symkeep/internal/symfile/pe"
	"symkeep/internal/symfile/portablepdb"
	"symkeep/internal/symid"
)

// rememberedFacts holds what one check left for the checks across the package: at
// most one of its fields is set. Each mirrors a type of facts field by field, which a
// test wants; a type without a mirror is not remembered.
type rememberedFacts struct {
	PE       *rememberedPE
	PDB      *rememberedPDB
	Portable *portablepdb.ID
	MachO    *rememberedMachO
	ELF      *rememberedELF
}

type rememberedPE struct {
	Records   []pe.CodeView
	Checksums []pe.Checksum
	Embedded  bool
}

type rememberedPDB struct {
	ID symid.DebugID
	V2 *pdb.V2
}

type rememberedMachO struct {
	Slices []rememberedSlice
	DSYM   bool
}

type rememberedSlice struct {
	Arch            string
	UUID            symid.GUID
	DWARF, DebugMap bool
}

// rememberedELF leaves out elfFacts.file: headers are read again.
type rememberedELF struct {
	Build                     symid.BuildID
	Exe, Split, Debug, DWARF  bool
	Empty                     bool
	Link                      *elf.DebugLink
	Alt                       *elf.AltLink
	Units                     dwarf.Facts // without the faults, which are findings already
	SplitUnits                []uint64
	SplitFile, SplitCollected bool // .dwo, .dwp
}

// freezeFacts reports false for facts that have no mirror.
func freezeFacts(facts any) (rememberedFacts, bool) {
	switch f := facts.(type) {
	case nil:
		return rememberedFacts{}, true
	case *peFacts:
		return rememberedFacts{PE: &rememberedPE{f.records, f.checksums, f.embedded}}, true
	case *pdbFacts:
		return rememberedFacts{PDB: &rememberedPDB{f.id, f.v2}}, true
	case *portableFacts:
		return rememberedFacts{Portable: &f.id}, true
	case *machoFacts:
		m := &rememberedMachO{DSYM: f.dsym}
		for _, sl := range f.slices {
			m.Slices = append(m.Slices, rememberedSlice{sl.arch, sl.uuid, sl.dwarf, sl.debugMap})
		}
		return rememberedFacts{MachO: m}, true
	case *elfFacts:
		units := f.units
		units.Faults = nil
		return rememberedFacts{ELF: &rememberedELF{
			f.build, f.exe, f.split, f.debug, f.dwarf, f.empty, f.link, f.alt, units, f.splitUnits, f.dwo, f.dwp,
		}}, true
	}
	return rememberedFacts{}, false
}

// thaw returns the facts of f as its check left them.
func (r rememberedFacts) thaw(ctx context.Context, f File) (any, error) {
	switch {
	case r.PE != nil:
		return &peFacts{r.PE.Records, r.PE.Checksums, r.PE.Embedded}, nil
	case r.PDB != nil:
		return &pdbFacts{r.PDB.ID, r.PDB.V2}, nil
	case r.Portable != nil:
		return &portableFacts{*r.Portable}, nil
	case r.MachO != nil:
		m := &machoFacts{dsym: r.MachO.DSYM}
		for _, sl := range r.MachO.Slices {
			m.slices = append(m.slices, machoSlice{sl.Arch, sl.UUID, sl.DWARF, sl.DebugMap})
		}
		return m, nil
	case r.ELF != nil:
		return r.ELF.thaw(ctx, f)
	}
	return nil, nil
}

func (r *rememberedELF) thaw(ctx context.Context, f File) (any, error) {
	facts := &elfFacts{
		build: r.Build, exe: r.Exe, split: r.Split, debug: r.Debug, dwarf: r.DWARF, empty: r.Empty, link: r.Link, alt: r.Alt,
		units: r.Units, splitUnits: r.SplitUnits, dwo: r.SplitFile, dwp: r.SplitCollected,
	}
	headers, err := reopen(ctx, f, func(in *input) (*elf.File, error) { return elf.Parse(in, f.Size) })
	facts.file = headers
	return facts, err
}
