package validate

import (
	"errors"
	"io"
	"slices"

	"symkeep/internal/symfile"
	"symkeep/internal/symfile/elf"
)

// checkDWARF is ELF-DWARF, ELF-COMP and ELF-COMP-UNSUP: the units are walked, and
// every compressed section is unpacked once.
func (s *subject) checkDWARF(f *elf.File, facts *elfFacts) {
	unpacked := map[*elf.Section]bool{} // already, by the walk
	if info := f.DebugInfo(); info != nil {
		facts.units = s.walkUnits(f, info, unpacked)
	}
	if info := f.SplitUnits(); info != nil {
		facts.splitUnits = s.walkUnits(f, info, unpacked).DWOIDs
	}
	if facts.dwp {
		ids, err := f.DWPUnits()
		if err != nil {
			s.damagedDWARF(err)
		}
		facts.splitUnits = append(facts.splitUnits, ids...)
		slices.Sort(facts.splitUnits) // the index names the units that were walked
		facts.splitUnits = slices.Compact(facts.splitUnits)
	}
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
		if err == nil && !unpacked[sec] {
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

// walkUnits reports what is wrong with the units of info. A walk that reached the
// end has unpacked all of it.
func (s *subject) walkUnits(f *elf.File, info *elf.Section, unpacked map[*elf.Section]bool) elf.Units {
	u, err := f.Units(info)
	switch {
	case err == nil:
		unpacked[info] = true
	case errors.Is(err, elf.ErrDWARF):
		s.damaged("ELF-DWARF", err)
	}
	return u // a section that does not unpack is found again below
}

// damagedDWARF reports an error of an index under the code that fits.
func (s *subject) damagedDWARF(err error) {
	var fe *symfile.FormatError
	if errors.As(err, &fe) && !errors.Is(err, elf.ErrCompressed) {
		s.damaged("ELF-DWARF", err)
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
