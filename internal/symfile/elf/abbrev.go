package elf

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds on reading abbreviations.
const (
	maxAbbrev      = 64 << 20 // bytes of a compressed section that are unpacked into memory
	maxAbbrevWork  = 1 << 30  // bytes looked at over all units; past it, roots go unread
	maxDeclaration = 4 << 10  // attributes of one declaration
)

// DWARF attributes and forms that matter here: DWARF 5 section 7.5, GNU Fission.
const (
	attrDWOName    = 0x76
	attrGNUDWOName = 0x2130
	attrGNUDWOID   = 0x2131
)

// Why a declaration was not found.
var (
	errAbbrev   = errors.New("abbreviation table damaged")
	errUnlooked = errors.New("not looked for, it would take too long or too much memory")
)

// abbrevs gives access to the section that the units' roots are described in.
type abbrevs struct {
	name string // of the section, for messages
	size uint64
	at   func(off uint64, n int) ([]byte, error) // fewer than n bytes only at the end

	work    uint64
	lastOff uint64 // the table and code decl belongs to
	last    decl
}

// A decl is one abbreviation declaration.
type decl struct {
	code  uint64
	attrs []attr
}

type attr struct{ name, form uint64 }

// openAbbrevs finds the abbreviations that belong to info. It is nil where their
// offsets cannot be followed: in an object, whose relocations are not applied,
// and in a .dwp, whose offsets count from a contribution.
func (f *File) openAbbrevs(info *Section) (*abbrevs, error) {
	suffix := ""
	if strings.HasSuffix(info.Name, ".dwo") {
		suffix = ".dwo"
	}
	if f.DWP() && suffix != "" {
		return nil, nil
	}
	if f.Type == TypeRel && (f.Section(".rela"+info.Name) != nil || f.Section(".rel"+info.Name) != nil) {
		return nil, nil
	}
	s := f.content(".debug_abbrev"+suffix, ".zdebug_abbrev"+suffix)
	if s == nil {
		return nil, dwarfError(info, 0, "no .debug_abbrev"+suffix, "the section that describes the units")
	}
	a := &abbrevs{name: s.Name}
	if s.Compressed() {
		return a, f.unpackAbbrevs(s, a)
	}
	if !f.fits(s.Offset, s.Size) {
		return nil, truncated("section "+s.Name, s.Offset, s.Size, f.size)
	}
	w := newWindow(f.r, int64(s.Offset), int64(s.Offset+s.Size), 64<<10)
	a.size = s.Size
	a.at = func(off uint64, n int) ([]byte, error) {
		return w.at(int64(s.Offset+off), int(min(uint64(n), s.Size-off)))
	}
	return a, nil
}

func (f *File) unpackAbbrevs(s *Section, a *abbrevs) error {
	body, size, err := f.Open(s)
	if err != nil {
		return err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxAbbrev))
	if err != nil {
		return err
	}
	a.size = size
	a.at = func(off uint64, n int) ([]byte, error) {
		if off >= uint64(len(b)) {
			return nil, errUnlooked
		}
		return b[off:min(off+uint64(n), uint64(len(b)))], nil
	}
	return nil
}

// root reads the root entry of un, whose bytes from the header on are b. Trouble
// with it is an error in the first unit only: that is enough to tell damage, and
// later units may use forms that are not known here.
func (w *walker) root(un unit, b []byte, first bool) (rootFacts, error) {
	r := rootFacts{dwoID: un.dwoID, hasDWOID: un.hasDWOID}
	if w.abbrevs == nil {
		return r, nil
	}
	if un.abbrevOff >= w.abbrevs.size {
		return r, w.bad(fmt.Sprintf("abbreviation offset %#x", un.abbrevOff), fmt.Sprintf("below the %#x bytes of %s", w.abbrevs.size, w.abbrevs.name))
	}
	if un.version >= 5 && !first {
		return r, nil // the header says all
	}
	b = b[:min(uint64(len(b)), un.end-un.off)]
	c := cursor{b: b[un.head:]}
	code := c.uleb()
	switch {
	case c.short && first:
		return r, w.bad("no entry", "a root entry after the unit header")
	case c.short:
		return r, nil
	}
	d, ok, err := w.abbrevs.find(un.abbrevOff, code)
	switch {
	case err == errUnlooked:
		return r, nil
	case err != nil && err != errAbbrev:
		return r, err
	case (err != nil || !ok) && first:
		return r, w.bad(fmt.Sprintf("abbreviation code %d", code), fmt.Sprintf("one that the table at %#x of %s declares", un.abbrevOff, w.abbrevs.name))
	case err == nil && ok && un.version < 5:
		w.rootAttributes(un, d, &c, &r)
	}
	return r, nil
}

// rootFacts are what the root entry of a unit says about split DWARF.
type rootFacts struct {
	dwoID    uint64
	hasDWOID bool
	dwoName  bool
}

// rootAttributes walks the attributes of the root up to the id of the split unit.
// It stops at a form it does not know or past the bytes at hand.
func (w *walker) rootAttributes(un unit, d decl, c *cursor, r *rootFacts) {
	for _, at := range d.attrs {
		if at.name == attrGNUDWOName || at.name == attrDWOName {
			r.dwoName = true
		}
		if at.name == attrGNUDWOID && at.form == 0x07 {
			if p := c.take(8); p != nil {
				r.dwoID, r.hasDWOID = w.f.Order.Uint64(p), true
			}
			return
		}
		if !c.skipForm(at.form, un, w.f.Order.Uint16, w.f.Order.Uint32) {
			return
		}
	}
}

// find returns the declaration of code in the table at off; false if the table
// ends without it.
func (a *abbrevs) find(off, code uint64) (decl, bool, error) {
	if a.lastOff == off && a.last.code == code && code != 0 {
		return a.last, true, nil
	}
	for pos := off; pos < a.size && code != 0; {
		if a.work > maxAbbrevWork {
			return decl{}, false, errUnlooked
		}
		b, err := a.at(pos, maxDeclaration*4)
		if err != nil {
			return decl{}, false, err
		}
		c := cursor{b: b}
		d, ok := c.declaration()
		if !ok || c.short {
			return decl{}, false, errAbbrev
		}
		if d.code == 0 {
			return decl{}, false, nil
		}
		if d.code == code {
			a.lastOff, a.last = off, d
			return d, true, nil
		}
		used := uint64(len(b) - len(c.b))
		pos, a.work = pos+used, a.work+used
	}
	return decl{}, false, nil
}

// A cursor reads forward; short is set once it ran out.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.b, c.short = nil, true
		return nil
	}
	p := c.b[:n]
	c.b = c.b[n:]
	return p
}

// uleb reads an unsigned LEB128 number; bits past 64 are dropped.
func (c *cursor) uleb() uint64 {
	var v uint64
	for shift := uint(0); ; shift += 7 {
		p := c.take(1)
		if p == nil {
			return 0
		}
		if shift < 64 {
			v |= uint64(p[0]&0x7f) << shift
		}
		if p[0] < 0x80 {
			return v
		}
	}
}

// declaration reads a code, and unless it is 0 a tag, the children flag and the
// attributes. A form of implicit_const has its value here.
func (c *cursor) declaration() (decl, bool) {
	d := decl{code: c.uleb()}
	if d.code == 0 {
		return d, !c.short
	}
	c.uleb()
	c.take(1)
	for !c.short && len(d.attrs) <= maxDeclaration {
		at := attr{name: c.uleb(), form: c.uleb()}
		if at.form == 0x21 {
			c.uleb()
		}
		if at.name == 0 && at.form == 0 {
			return d, !c.short
		}
		d.attrs = append(d.attrs, at)
	}
	return d, false
}

// skipForm passes over one value. It reports false for an unknown form and at the
// end of the bytes. DWARF 5, section 7.5.6.
func (c *cursor) skipForm(form uint64, un unit, u16 func([]byte) uint16, u32 func([]byte) uint32) bool {
	n := uint64(0)
	switch form {
	case 0x19, 0x21: // flag_present, implicit_const
	case 0x0b, 0x0c, 0x11, 0x25, 0x29: // data1, flag, ref1, strx1, addrx1
		n = 1
	case 0x05, 0x12, 0x26, 0x2a:
		n = 2
	case 0x27, 0x2b:
		n = 3
	case 0x06, 0x13, 0x28, 0x2c, 0x1c:
		n = 4
	case 0x07, 0x14, 0x20, 0x24: // data8, ref8, ref_sig8, ref_sup8
		n = 8
	case 0x1e:
		n = 16
	case 0x01:
		n = uint64(un.addrSize)
	case 0x0e, 0x17, 0x1d, 0x1f, 0x1f20, 0x1f21: // strp, sec_offset, strp_sup, line_strp, GNU_ref_alt, GNU_strp_alt
		n = uint64(un.offSize)
	case 0x10: // ref_addr
		n = uint64(un.offSize)
		if un.version == 2 {
			n = uint64(un.addrSize)
		}
	case 0x0d, 0x0f, 0x15, 0x1a, 0x1b, 0x22, 0x23, 0x1f01, 0x1f02: // LEB128 numbers
		c.uleb()
	case 0x08:
		i := strings.IndexByte(string(c.b), 0)
		n = uint64(i) + 1
		if i < 0 {
			n = uint64(len(c.b)) + 1
		}
	case 0x0a:
		if p := c.take(1); p != nil {
			n = uint64(p[0])
		}
	case 0x03:
		if p := c.take(2); p != nil {
			n = uint64(u16(p))
		}
	case 0x04:
		if p := c.take(4); p != nil {
			n = uint64(u32(p))
		}
	case 0x09, 0x18: // block, exprloc
		n = c.uleb()
	case 0x16: // indirect
		if inner := c.uleb(); inner != 0x16 {
			return c.skipForm(inner, un, u16, u32)
		}
		return false
	default:
		return false
	}
	c.take(n)
	return !c.short
}
