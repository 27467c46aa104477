package validate

import (
	"io"
	"slices"

	"symkeep/internal/symfile/dwarf"
	"symkeep/internal/symfile/elf"
)

// checkDWARF is ELF-DWARF, ELF-COMP and ELF-COMP-UNSUP: the debug information is
// walked, and every compressed section is unpacked.
func (s *subject) checkDWARF(f *elf.File, facts *elfFacts) {
	facts.units = s.walkDWARF("ELF-DWARF", f, "")
	if f.SplitUnits() != nil {
		facts.splitUnits = s.walkDWARF("ELF-DWARF", f, ".dwo").DWOIDs
	}
	if facts.dwp {
		ids, err := dwarf.PackageIDs(f)
		s.faultDWARF("ELF-DWARF", err)
		facts.splitUnits = append(facts.splitUnits, ids...)
		slices.Sort(facts.splitUnits) // the index names the units that were walked
		facts.splitUnits = slices.Compact(facts.splitUnits)
	}
	s.checkCompressed(f)
}

// checkCompressed unpacks what is compressed and was not all read by the walk before,
// and throws it away.
func (s *subject) checkCompressed(f *elf.File) {
	zstd := 0
	for i := range f.Sections {
		sec := &f.Sections[i]
		if !sec.Compressed() {
			continue
		}
		how, _, err := f.Compression(sec)
		if how == elf.Zstd {
			zstd++
		}
		if err == nil && !f.Sound(sec) {
			err = unpack(f, sec)
		}
		if err != nil {
			s.damaged("ELF-COMP", err)
		}
	}
	if zstd > 0 {
		s.add("ELF-COMP-UNSUP", 0, "%d sections are compressed with zstd", zstd)
	}
}

// unpack reads a compressed section to its end.
func unpack(f *elf.File, sec *elf.Section) error {
	r, _, err := f.Open(sec)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}
