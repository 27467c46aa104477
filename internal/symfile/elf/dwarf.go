package elf

import (
	"bufio"
	"fmt"

	"symkeep/internal/symfile"
)

// Unit types of DWARF 5, section 7.5.1.
const (
	unitType         = 0x02
	unitSkeleton     = 0x04
	unitSplitCompile = 0x05
	unitSplitType    = 0x06
)

// maxDWOIDs bounds how many ids of split units are kept.
const maxDWOIDs = 1 << 22

// Units are what a walk over all unit headers of one section saw.
type Units struct {
	Count     int
	Skeletons int      // units whose debug information is in another file
	DWOIDs    []uint64 // ids of skeleton or split units, in order; at most maxDWOIDs
}

// A unit is one decoded unit header. Offsets are from the start of the section.
type unit struct {
	off, end  uint64
	head      int // bytes of the header
	version   uint16
	kind      byte // DWARF 5 only
	addrSize  byte
	offSize   int // 4, or 8 for 64-bit DWARF
	abbrevOff uint64
	dwoID     uint64
	hasDWOID  bool
}

// Units walks the units of a .debug_info section, plain or split, compressed or
// not. Every header must be sound and the chain of lengths must end at the end of
// the section; the abbreviation of the first unit's root must exist. Errors wrap
// ErrDWARF, or ErrCompressed if the section does not unpack; then Units holds what
// came before.
func (f *File) Units(s *Section) (Units, error) { return f.units(s, -1) }

// FirstUnit is Units for the first unit alone: a cheap look at what kind of debug
// information the section has.
func (f *File) FirstUnit(s *Section) (Units, error) { return f.units(s, 1) }

func (f *File) units(s *Section, limit int) (Units, error) {
	var u Units
	body, size, err := f.Open(s)
	if err != nil {
		return u, err
	}
	defer body.Close()
	w := walker{f: f, s: s, size: size}
	if w.abbrevs, err = f.openAbbrevs(s); err != nil {
		return u, err
	}
	if s.Compressed() {
		w.in = bufStream{bufio.NewReaderSize(body, 1<<20)}
	} else {
		w.in = &rawStream{r: f.r, off: int64(s.Offset), end: int64(s.Offset + s.Size)}
	}
	for u.Count == 0 || w.size-w.pos > 8 {
		if u.Count == limit {
			return u, nil
		}
		if err := w.next(&u); err != nil {
			return u, err
		}
	}
	return u, w.padding()
}

// A walker is at the start of a unit.
type walker struct {
	f       *File
	s       *Section
	in      stream
	pos     uint64
	size    uint64
	abbrevs *abbrevs
}

// next decodes one unit and moves behind it.
func (w *walker) next(u *Units) error {
	left := w.size - w.pos
	b, err := w.in.Peek(int(min(left, peekSize)))
	if err != nil {
		return err
	}
	un, err := w.header(b)
	if err != nil {
		return err
	}
	root, err := w.root(un, b, u.Count == 0)
	if err != nil {
		return err
	}
	if root.hasDWOID || root.dwoName || un.kind == unitSkeleton {
		if w.s.plainInfo() {
			u.Skeletons++
		}
		if root.hasDWOID && len(u.DWOIDs) < maxDWOIDs {
			u.DWOIDs = append(u.DWOIDs, root.dwoID)
		}
	}
	u.Count++
	n := un.end - un.off
	w.pos += n
	return w.in.Skip(int64(n))
}

// plainInfo reports whether the section holds the units of a linked file, not of
// a .dwo or .dwp.
func (s *Section) plainInfo() bool { return s.Name == ".debug_info" || s.Name == ".zdebug_info" }

// header decodes the unit header at the start of b. DWARF 5, section 7.5.1.
func (w *walker) header(b []byte) (unit, error) {
	o := w.f.Order
	un := unit{off: w.pos, offSize: 4}
	if len(b) < 4 {
		return un, w.bad(fmt.Sprintf("%d bytes left", len(b)), "a unit header")
	}
	length, at := uint64(o.Uint32(b)), 4
	switch {
	case length == 0xffffffff:
		if len(b) < 12 {
			return un, w.bad(fmt.Sprintf("%d bytes left", len(b)), "a 64-bit unit header")
		}
		length, at, un.offSize = o.Uint64(b[4:]), 12, 8
	case length >= 0xfffffff0:
		return un, w.bad(fmt.Sprintf("unit length %#x", length), "below 0xfffffff0")
	}
	if rest := w.size - w.pos - uint64(at); length > rest {
		return un, w.bad(fmt.Sprintf("unit length %#x", length), fmt.Sprintf("at most the %#x bytes left in the section", rest))
	}
	un.end = w.pos + uint64(at) + length
	b = b[:min(uint64(len(b)), un.end-un.off)]
	if len(b) < at+2 {
		return un, w.bad(fmt.Sprintf("unit length %#x", length), "a version")
	}
	un.version = o.Uint16(b[at:])
	at += 2
	if un.version < 2 || un.version > 5 {
		return un, w.bad(fmt.Sprintf("version %d", un.version), "2 to 5")
	}
	return un, w.restOfHeader(b, at, &un)
}

func (w *walker) restOfHeader(b []byte, at int, un *unit) error {
	need := at + un.offSize + 1
	if un.version == 5 {
		need++
	}
	if len(b) < need {
		return w.bad(fmt.Sprintf("a unit of %d bytes", un.end-un.off), fmt.Sprintf("a header of %d", need))
	}
	if un.version == 5 {
		un.kind, un.addrSize = b[at], b[at+1]
		at += 2
		un.abbrevOff = w.offset(b[at:], un.offSize)
		at += un.offSize
	} else {
		un.abbrevOff = w.offset(b[at:], un.offSize)
		at += un.offSize
		un.addrSize = b[at]
		at++
	}
	if a := un.addrSize; a != 2 && a != 4 && a != 8 {
		return w.bad(fmt.Sprintf("address size %d", a), "2, 4 or 8")
	}
	switch un.kind {
	case unitSkeleton, unitSplitCompile:
		if len(b) < at+8 {
			return w.bad(fmt.Sprintf("a unit of %d bytes", un.end-un.off), "an id of 8 bytes in it")
		}
		un.dwoID, un.hasDWOID = w.f.Order.Uint64(b[at:]), true
		at += 8
	case unitType, unitSplitType:
		at += 8 + un.offSize
	}
	if len(b) < at {
		return w.bad(fmt.Sprintf("a unit of %d bytes", un.end-un.off), fmt.Sprintf("a header of %d", at))
	}
	un.head = at
	return nil
}

func (w *walker) offset(b []byte, size int) uint64 {
	if size == 8 {
		return w.f.Order.Uint64(b)
	}
	return uint64(w.f.Order.Uint32(b))
}

// padding accepts up to 8 zero bytes after the last unit.
func (w *walker) padding() error {
	b, err := w.in.Peek(int(w.size - w.pos))
	if err != nil {
		return err
	}
	for _, c := range b {
		if c != 0 {
			return w.bad(fmt.Sprintf("%d bytes left", len(b)), "the end of the section or a unit")
		}
	}
	if err := w.in.Skip(int64(len(b))); err != nil {
		return err
	}
	return w.in.End()
}

// bad makes an error about the unit at pos.
func (w *walker) bad(found, want string) error { return dwarfError(w.s, w.pos, found, want) }

// dwarfError is about a unit at off of s, which may be compressed.
func dwarfError(s *Section, off uint64, found, want string) error {
	return &symfile.FormatError{Off: int64(off), What: "unit in " + s.Name, Found: found, Want: want, Kind: ErrDWARF}
}
