package dwarf

import (
	"bytes"
	"fmt"
)

// Unit types of DWARF 5, section 7.5.1.
const (
	unitType         = 0x02
	unitSkeleton     = 0x04
	unitSplitCompile = 0x05
	unitSplitType    = 0x06
	unitLast         = 0x06
	unitVendor       = 0x80 // and above: of a layout that only its maker knows
)

// A unit is one decoded unit header. Offsets are from the start of the section.
type unit struct {
	shape
	off, end  uint64
	kind      byte // DWARF 5 only
	abbrevOff uint64
	dwoID     uint64
	hasDWOID  bool
	dwoName   bool
}

// header decodes the unit header at the reader. DWARF 5, section 7.5.1; DWARF 4
// sections 7.5.1.1 and 7.5.1.2. An error is a fault of the chain of units, behind
// which nothing can be found; a unit of a type that is not known has an offSize of
// 0. DWARF 4 has a section of its own for type units.
func (w *walker) header() (unit, error) {
	r := w.in
	u := unit{off: r.at()}
	length, offSize := r.length()
	u.end = r.at() + length
	switch {
	case !r.ok():
		return u, w.bad(u.off, bytesText(r.size-u.off)+" left", "a unit header")
	case offSize == 0:
		return u, w.bad(u.off, fmt.Sprintf("unit length %#x", length), "below 0xfffffff0")
	case length > r.size-r.at():
		return u, w.bad(u.off, fmt.Sprintf("unit length %#x", length), fmt.Sprintf("at most the %#x bytes left in the section", r.size-r.at()))
	}
	u.version = r.u16()
	if u.version < 2 || u.version > 5 {
		return u, w.bad(u.off, fmt.Sprintf("version %d", u.version), "2 to 5")
	}
	if u.version == 5 {
		u.kind = r.u8()
		if u.kind >= unitVendor {
			return u, nil
		}
		u.addrSize = r.u8()
		u.abbrevOff = r.fixed(offSize)
	} else {
		u.abbrevOff = r.fixed(offSize)
		u.addrSize = r.u8()
	}
	u.offSize = byte(offSize)
	return u, w.restOfHeader(&u)
}

func (w *walker) restOfHeader(u *unit) error {
	r := w.in
	switch {
	case u.version == 5 && (u.kind == 0 || u.kind > unitLast):
		return w.bad(u.off, fmt.Sprintf("unit type %d", u.kind), fmt.Sprintf("1 to %d, or from %d", unitLast, unitVendor))
	case u.addrSize != 2 && u.addrSize != 4 && u.addrSize != 8:
		return w.bad(u.off, fmt.Sprintf("address size %d", u.addrSize), "2, 4 or 8")
	}
	switch {
	case u.kind == unitSkeleton || u.kind == unitSplitCompile:
		u.dwoID, u.hasDWOID = r.fixed(8), true
	case u.kind == unitType || u.kind == unitSplitType || u.version < 5 && w.types:
		r.fixed(8)
		if at := r.fixed(int(u.offSize)); at >= u.end-u.off {
			return w.bad(u.off, fmt.Sprintf("a type at %#x of the unit", at), fmt.Sprintf("it below the unit's %#x bytes", u.end-u.off))
		}
	}
	if !r.ok() || r.at() > u.end {
		return w.bad(u.off, fmt.Sprintf("a unit of %s", bytesText(u.end-u.off)), fmt.Sprintf("a header of %d", r.at()-u.off))
	}
	return nil
}

// padding passes over zero bytes before the next unit, which linkers leave to align
// it, and reports whether there is one. Fewer than 4 bytes hold no unit.
func (w *walker) padding() (bool, error) {
	r := w.in
	start := r.at()
	for r.at()-start < maxPadding {
		r.fill(4)
		b := r.buf[r.pos:]
		switch {
		case r.err != nil:
			return false, r.err
		case len(b) < 4 && len(bytes.Trim(b, "\x00")) > 0:
			return false, w.bad(r.at(), bytesText(uint64(len(b)))+" left", "the end of the section or a unit")
		case len(b) < 4:
			r.pos = len(r.buf)
			return false, nil
		case r.order.Uint32(b) != 0:
			return true, nil
		}
		r.pos += 4
	}
	return false, w.bad(start, fmt.Sprintf("%d zero bytes and more", maxPadding), "a unit: a part of the file was lost")
}

// bad is damage at off of the section of units.
func (w *walker) bad(off uint64, found, want string) error {
	return fault(ErrDamaged, &w.section, "unit", off, found, want)
}
