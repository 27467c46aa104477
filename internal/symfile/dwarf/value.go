package dwarf

import (
	"fmt"
	"math"
)

// value passes over one value and compares what it leads to. The entry is at off.
func (w *walker) value(u *unit, o op, off uint64) error {
	r := w.in
	switch o.code {
	case opText:
		r.text()
	case opBlock:
		n := r.number(o.n)
		r.skip(n)
	case opTarget:
		v := r.fixed(int(o.n))
		switch {
		case o.to == toLine:
			w.noteLine(v, o.n)
		case o.to == toLoclists && o.attr != attrLoclistsBase && len(w.locations) < maxOffsets:
			w.locations = append(w.locations, v)
		}
		if l := &w.limits[o.to]; v >= l.end {
			return w.beyond(l, o, v, off)
		}
		if o.to == toRanges || o.to == toLoc {
			w.old.note(u, o.to, v)
		}
	case opIndex:
		v := r.number(o.n)
		if l := &w.limits[toStrOffsets]; v >= l.end/uint64(u.offSize) {
			return w.beyond(l, o, v, off)
		}
	case opRef:
		if v := r.number(o.n); v >= u.end-u.off && r.ok() {
			return w.badEntry(off, fmt.Sprintf("%v to %#x of the unit", o, v), fmt.Sprintf("it below the unit's %#x bytes", u.end-u.off))
		}
	case opDWOID:
		u.dwoID, u.hasDWOID = r.fixed(8), true
	case opIndirect:
		return w.indirect(u, o, off)
	case opSkip:
		r.skip(uint64(o.n))
	case opLEB:
		r.uleb()
	case opUnknown:
		return w.unknownForm(o, off)
	}
	return nil
}

// number reads n bytes, or a LEB128 number if n is 0.
func (r *reader) number(n uint32) uint64 {
	if n == 0 {
		return r.uleb()
	}
	return r.fixed(int(n))
}

// indirect reads the form that the entry itself names, which is never indirect
// again.
func (w *walker) indirect(u *unit, o op, off uint64) error {
	form := w.in.uleb()
	inner := u.compile(uint64(o.attr), form)
	if inner.code == opIndirect || form == 0x21 {
		inner.code = opUnknown
	}
	return w.value(u, inner, off)
}

// unknownForm ends the walk of a unit: the size of the value is not known. Each
// form is reported once.
func (w *walker) unknownForm(o op, off uint64) error {
	w.lost = true
	if w.unknown[o.form] {
		return errSkip
	}
	if w.unknown == nil {
		w.unknown = map[uint32]bool{}
	}
	w.unknown[o.form] = true
	return fault(ErrUnjudged, &w.section, "entry", off, o.String(), "a form that is known here; nothing behind it in its unit was looked at")
}

// beyond reports an offset or index past the end of the section it leads into, or
// once that the file lacks the section. All ones stand for nothing.
func (w *walker) beyond(l *limit, o op, v, off uint64) error {
	none := v == math.MaxUint32 || v == math.MaxUint64
	switch {
	case !w.in.ok() || none && o.to > toInfo:
		return nil
	case l.end > 0:
		return w.badEntry(off, fmt.Sprintf("%v that leads to %#x of %s", o, v, l.name), fmt.Sprintf("it in the section, which ends at %#x", l.end))
	case l.reported:
		return nil
	}
	l.reported = true
	kind := ErrUnjudged
	if o.to == toStr || o.to == toLineStr || o.code == opIndex {
		kind = ErrDamaged // no name can be shown
	}
	return fault(kind, &w.section, "entry", off, fmt.Sprintf("%v that leads into .debug_%s%s", o, l.name, w.suffix), "the file to have that section")
}
