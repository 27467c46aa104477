package dwarf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// A walker is between two units of one section.
type walker struct {
	file   File
	order  binary.ByteOrder
	suffix string
	facts  Facts

	section   Section
	types     bool // the section is .debug_types
	in        *reader
	abbrevs   *abbrevs
	index     []contribution // of a package, in the order of the units
	limits    [targets]limit
	unknown   map[uint32]bool // forms that were reported
	lost      bool            // a value of such a form was met, whose end is not known
	lines     []uint64        // line tables that units name
	locations []uint64        // location lists that entries name, of version 5
	old       oldLists
	oldest    uint16 // version of any unit
}

// A limit is where offsets into a section must stay below. It is 0 for a section
// that the file lacks, and past any offset for one that cannot be judged.
type limit struct {
	end      uint64
	name     string
	reported bool // that the section is lacking
}

// units walks one section of units.
func (w *walker) units(name string, s Section) error {
	w.section, w.types = s, name == "types"
	if err := w.prepare(name); isFault(err) {
		w.facts.fault(err)
		return nil
	} else if err != nil {
		return err
	}
	return w.through(s, func() error {
		if err := w.chain(); err != nil {
			return err
		}
		return w.in.finish()
	})
}

// through reads s, from its start, by read. A fault that read returns is kept among
// the facts; an error of the section itself goes before anything that read made of it.
func (w *walker) through(s Section, read func() error) error {
	w.section = s
	var err error
	if w.in, err = newReader(&s, w.order, bufferSize); err != nil {
		return err
	}
	defer w.in.close()
	err = read()
	switch {
	case w.in.err != nil:
		return w.in.err
	case isFault(err):
		w.facts.fault(err)
		return nil
	}
	return err
}

// chain walks unit after unit. A fault is one of the chain itself.
func (w *walker) chain() error {
	for n := 0; ; n++ {
		more, err := w.padding()
		switch {
		case err != nil:
			return err
		case !more && n == 0:
			return w.bad(0, "no unit", "at least one")
		case !more:
			return nil
		}
		if err := w.next(); err != nil {
			return err
		}
	}
}

// prepare finds the sections that the units lead to. Abbreviations stay unread
// where their offsets are not in place.
func (w *walker) prepare(name string) error {
	for to := range targets {
		w.limits[to] = w.limit(to)
	}
	if w.section.Unrelocated {
		return nil
	}
	s, ok := w.find("abbrev" + w.suffix)
	if !ok {
		return w.bad(0, "no abbreviations beside it", "the section that describes the entries")
	}
	var err error
	if w.abbrevs == nil {
		if w.abbrevs, err = openAbbrevs(s); err != nil {
			return err
		}
	}
	if w.suffix != "" {
		w.index, err = w.contributions(name)
	}
	return err
}

// limit looks up one target. What split units share with their skeletons is not
// there to be compared.
func (w *walker) limit(to target) limit {
	l := limit{end: math.MaxUint64, name: targetNames[to]}
	if w.suffix != "" && (to == toLineStr || to == toRanges || to == toAddr) {
		return l
	}
	s, ok := w.find(l.name + w.suffix)
	switch {
	case !ok:
		l.end = 0
	case to == toStr || to == toLineStr || to == toInfo || to == toLine || to == toStrOffsets && w.suffix != "":
		l.end, l.name = s.Size, s.Name
	default: // an empty list may end the section
		l.end, l.name = s.Size+1, s.Name
	}
	return l
}

// next walks one unit and moves behind it. Faults inside it are noted; the error is
// of the chain of units, or the reader's.
func (w *walker) next() error {
	u, err := w.header()
	if err != nil {
		return err
	}
	w.facts.Units++
	w.oldest = min(w.oldest, u.version)
	if w.abbrevs != nil && u.offSize != 0 {
		switch err := w.inside(&u); {
		case isFault(err):
			w.facts.fault(err)
		case err != nil && err != errSkip:
			return err
		}
	}
	w.noteSplit(&u)
	if w.in.err == nil && !w.in.move(u.end) && w.in.err == nil {
		return fault(ErrUnjudged, &w.section, "unit", u.off, "an entry that runs far past the unit", "to be able to go back")
	}
	return w.in.err
}

// inside walks the entries of u.
func (w *walker) inside(u *unit) error {
	off, err := w.abbrevOffset(u)
	if err != nil {
		return err
	}
	t, err := w.abbrevs.table(off, u.shape)
	var te *errTable
	switch {
	case errors.As(err, &te):
		return fault(te.kind, &w.section, "unit", u.off, te.found, te.want)
	case err != nil:
		return err
	}
	return w.entries(u, t)
}

// noteSplit counts skeletons and split units. Only plain sections hold skeletons.
func (w *walker) noteSplit(u *unit) {
	if (u.hasDWOID || u.dwoName || u.kind == unitSkeleton) && w.suffix == "" {
		w.facts.Skeletons++
	}
	if u.hasDWOID && len(w.facts.DWOIDs) < maxOffsets {
		w.facts.DWOIDs = append(w.facts.DWOIDs, u.dwoID)
	}
}

// entries walks the tree of entries at the reader: every attribute is passed over
// by its form, every list of children must end, and the root's end is the unit's.
// What follows it must be zero. The error is the first fault.
func (w *walker) entries(u *unit, t *table) error {
	r := w.in
	depth := 0
	for n := 0; r.at() < u.end; n++ {
		r.fill(ahead)
		off := r.at()
		code := r.uleb()
		if code == 0 {
			if depth--; depth <= 0 {
				return w.rest(u)
			}
			continue
		}
		d := t.find(code)
		if d == nil {
			return w.badEntry(off, fmt.Sprintf("abbreviation code %d", code), fmt.Sprintf("one that the table of the unit at %#x declares", u.off))
		}
		if err := w.attributes(u, d, off); err != nil {
			return err
		}
		w.facts.Entries++
		w.facts.Functions = w.facts.Functions || d.function
		w.facts.Types = w.facts.Types || d.typ
		if n == 0 {
			u.dwoName = d.dwoName
			if !d.children {
				return w.rest(u)
			}
		}
		if d.children {
			depth++
		}
	}
	if depth == 0 {
		return w.bad(u.off, "no entry", "a root entry after the unit header")
	}
	return fault(ErrUnjudged, &w.section, "unit", u.off, fmt.Sprintf("%d open lists of children at its end", depth), "the zero bytes that close them")
}

// attributes passes over the values of one entry at off.
func (w *walker) attributes(u *unit, d *decl, off uint64) error {
	r := w.in
	var wrong error
	for i := range d.ops {
		o := &d.ops[i]
		switch o.code {
		case opSkip:
			if int(o.n) <= len(r.buf)-r.pos {
				r.pos += int(o.n)
				continue
			}
			r.skip(uint64(o.n))
		case opLEB:
			r.uleb()
		default:
			if err := w.value(u, *o, off); err != nil && wrong == nil {
				wrong = err
			}
			if w.lost {
				w.lost = false
				return wrong
			}
		}
	}
	switch {
	case r.err != nil:
		return r.err
	case r.short || r.at() > u.end:
		return w.badEntry(off, fmt.Sprintf("an entry of tag %#x that ends at %#x", d.tag, r.at()), fmt.Sprintf("an end within its unit, at %#x", u.end))
	}
	return wrong
}

// rest passes over what follows the root's last child.
func (w *walker) rest(u *unit) error {
	r := w.in
	for r.at() < u.end {
		r.fill(1)
		b := r.buf[r.pos:]
		b = b[:min(uint64(len(b)), u.end-r.at())]
		if i := slices.IndexFunc(b, func(c byte) bool { return c != 0 }); i >= 0 {
			return w.badEntry(r.at()+uint64(i), "bytes behind the last entry of the unit", fmt.Sprintf("the unit to end at %#x", u.end))
		}
		if len(b) == 0 {
			return r.err
		}
		r.pos += len(b)
	}
	return nil
}

func (w *walker) badEntry(off uint64, found, want string) error {
	return fault(ErrDamaged, &w.section, "entry", off, found, want)
}

// noteLine remembers the line table at off, unless it stands for none.
func (w *walker) noteLine(off uint64, size uint32) {
	if w.index != nil || off == 1<<(8*size)-1 || len(w.lines) == maxOffsets {
		return
	}
	if n := len(w.lines); n == 0 || w.lines[n-1] != off {
		w.lines = append(w.lines, off)
	}
}

// errSkip leaves a unit without another fault.
var errSkip = errors.New("reported before")

func isFault(err error) bool { return errors.Is(err, ErrDamaged) || errors.Is(err, ErrUnjudged) }
