package validate

import (
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/elf"
	"symkeep/internal/symid"
)

// elfPairs pairs images with debug files by build id; names only detect what
// should have been a pair.
type elfPairs struct {
	p      *pkg
	byID   map[symid.BuildID][]*subject
	byName map[string][]*subject // by folded base name, readable or not
	crcs   map[*subject]uint32
}

// checkELFPairs is what ELF files say about each other: ELF-PAIR, ELF-LAYOUT,
// ELF-DLINK-MISSING, ELF-DLINK-CRC, ELF-ALTLINK, ELF-DWO, and ELF-NODEBUG for
// images.
func checkELFPairs(p *pkg) error {
	q := &elfPairs{p: p, byID: map[symid.BuildID][]*subject{}, byName: map[string][]*subject{}, crcs: map[*subject]uint32{}}
	for _, s := range p.subjects {
		if s.Kind == catalog.KindELF && !s.ignored {
			q.byName[symid.Fold(s.name)] = append(q.byName[symid.Fold(s.name)], s)
		}
	}
	factsOf(p, func(s *subject, f *elfFacts) {
		if f.build != "" {
			q.byID[f.build] = append(q.byID[f.build], s)
		}
	})
	var err error
	factsOf(p, func(s *subject, f *elfFacts) {
		if err == nil {
			err = q.checkImage(s, f)
		}
		q.checkAltLink(s, f)
	})
	if err != nil {
		return err
	}
	q.checkSplitDWARF()
	return nil
}

// checkImage judges one image with the debug files of its build id and the one its
// link names.
func (q *elfPairs) checkImage(s *subject, f *elfFacts) error {
	if !f.exe || f.build == "" {
		return nil
	}
	var partners []*subject
	for _, d := range q.byID[f.build] {
		if g := d.facts.(*elfFacts); d != s && g.split {
			q.compareHalves(s, f, d, g)
			partners = append(partners, d)
		}
	}
	switch {
	case f.link != nil:
		return q.checkLink(s, f, partners)
	case !f.debug && !f.empty && len(partners) == 0 && !f.file.MiniDebugInfo() && !q.hasDebug(f.build):
		s.add("ELF-NODEBUG", 0, "an image without .debug_info and .symtab, and no debug file for %s is in the package", f)
	}
	return nil
}

// hasDebug reports whether any file of the build id has debug data.
func (q *elfPairs) hasDebug(b symid.BuildID) bool {
	return slices.ContainsFunc(q.byID[b], func(s *subject) bool { return s.facts.(*elfFacts).debug })
}

// compareHalves reports when two files of one build id cannot be halves of one
// link.
func (q *elfPairs) compareHalves(s *subject, f *elfFacts, d *subject, g *elfFacts) {
	a, b := f.file, g.file
	if a.Class != b.Class || a.Machine != b.Machine || a.Order != b.Order {
		d.add("ELF-PAIR", 18, "has the build id of %s but is for %s, which is for %s", s.Path, describeMachine(b), describeMachine(a))
		return
	}
	ta, tb := a.Section(".text"), b.Section(".text")
	if ta != nil && tb != nil && (ta.Addr != tb.Addr || ta.Size != tb.Size) {
		d.add("ELF-LAYOUT", 0, "its .text is %d bytes at %#x, that of %s with the same build id %d bytes at %#x", tb.Size, tb.Addr, s.Path, ta.Size, ta.Addr)
	}
}

func describeMachine(f *elf.File) string {
	order := "little-endian"
	if f.BigEndian() {
		order = "big-endian"
	}
	return fmt.Sprintf("%s (%d-bit %s)", f.Arch(), 32*int(f.Class), order)
}

// checkLink judges the debug link of an image. A debug file of the right build id
// counts under any name; the checksum can be judged only under the one linked.
func (q *elfPairs) checkLink(s *subject, f *elfFacts, partners []*subject) error {
	name := symid.BaseName(f.link.Name)
	var others []string
	var match *subject
	unreadable := false
	for _, d := range q.byName[symid.Fold(name)] {
		g, ok := d.facts.(*elfFacts)
		switch {
		case d == s:
		case !ok:
			unreadable = true // its own findings say why
		case g.build == f.build:
			match = d
		default:
			others = append(others, fmt.Sprintf("%s (%s)", d.Path, g))
		}
	}
	switch {
	case match != nil:
		return q.checkLinkCRC(s, f, match)
	case len(partners) > 0 || unreadable:
	case len(others) > 0:
		s.add("ELF-PAIR", 0, "has %s and its debug link names %q, but the package has %s", f, name, strings.Join(others, ", "))
	case !f.dwarf:
		s.add("ELF-DLINK-MISSING", 0, "needs %q with %s, which is not in the package", name, f)
	}
	return nil
}

func (q *elfPairs) checkLinkCRC(s *subject, f *elfFacts, d *subject) error {
	sum, ok := q.crcs[d]
	if !ok {
		in, c, err := q.p.open(d)
		if err != nil {
			return err
		}
		defer c.Close()
		h := crc32.NewIEEE()
		if _, err := io.CopyBuffer(h, onlyReader{io.NewSectionReader(in, 0, d.size)}, make([]byte, 1<<20)); err != nil {
			return fmt.Errorf("check %q: %w", d.Path, err)
		}
		sum = h.Sum32()
		q.crcs[d] = sum
	}
	if sum != f.link.CRC {
		s.add("ELF-DLINK-CRC", 0, "its debug link says %08x for %q, the file %s has %08x", f.link.CRC, f.link.Name, d.Path, sum)
	}
	return nil
}

// onlyReader hides other methods of a reader, so that io.CopyBuffer uses the
// buffer.
type onlyReader struct{ io.Reader }

// checkAltLink judges files with DWARF only: strip leaves the link in images.
func (q *elfPairs) checkAltLink(s *subject, f *elfFacts) {
	if f.alt == nil || !f.dwarf || q.hasDebug(f.alt.BuildID) {
		return
	}
	s.add("ELF-ALTLINK", 0, "needs the dwz file %q with build id %s, which is not in the package", f.alt.Name, f.alt.BuildID)
}
