package dwarf

import "fmt"

// Attributes that are looked at: DWARF 5 section 7.5.4, and the GNU Fission pages.
const (
	attrLocation       = 0x02
	attrStmtList       = 0x10
	attrStringLength   = 0x19
	attrReturnAddr     = 0x2a
	attrFrameBase      = 0x40
	attrMacroInfo      = 0x43
	attrStaticLink     = 0x48
	attrUseLocation    = 0x4a
	attrRanges         = 0x55
	attrStrOffsetsBase = 0x72
	attrAddrBase       = 0x73
	attrRnglistsBase   = 0x74
	attrDWOName        = 0x76
	attrMacros         = 0x79
	attrLoclistsBase   = 0x8c
	attrGNUMacros      = 0x2119
	attrGNUDWOName     = 0x2130
	attrGNUDWOID       = 0x2131
)

// An opcode says how to pass over one value, or several.
type opcode byte

const (
	opSkip     opcode = iota // n bytes
	opLEB                    // a LEB128 number
	opText                   // up to a zero byte
	opBlock                  // a size of n bytes (0: LEB128), and so many bytes
	opTarget                 // an offset of n bytes into another section
	opIndex                  // n bytes (0: LEB128): an entry of the string offsets
	opRef                    // n bytes (0: LEB128): an entry of the same unit
	opDWOID                  // 8 bytes, the id of the split unit
	opIndirect               // a form, then a value of it
	opUnknown                // nothing that is known here
)

// A target is the section that an offset leads to.
type target byte

const (
	toStr target = iota
	toLineStr
	toInfo
	toLine
	toRanges
	toLoc
	toMacinfo
	toMacro
	toStrOffsets
	toAddr
	toRnglists
	toLoclists
	targets // their number
)

// names of the targets' sections, without what is split.
var targetNames = [targets]string{"str", "line_str", "info", "line", "ranges", "loc", "macinfo", "macro", "str_offsets", "addr", "rnglists", "loclists"}

// An op is one step over the attributes of an entry.
type op struct {
	code opcode
	to   target
	n    uint32
	attr uint32 // for messages
	form uint32
}

// A shape is what the size of a form depends on.
type shape struct {
	version  uint16
	addrSize byte
	offSize  byte
}

// compile says how to pass over a value of form. DWARF 5, section 7.5.6.
func (sh shape) compile(attr, form uint64) op {
	o := op{attr: uint32(attr), form: uint32(form)}
	off := uint32(sh.offSize)
	switch form {
	case 0x19, 0x21: // flag_present, implicit_const: nothing in the entry
	case 0x0b, 0x0c, 0x29: // data1, flag, addrx1
		o.n = 1
	case 0x05, 0x2a: // data2, addrx2
		o.n = 2
	case 0x2b: // addrx3
		o.n = 3
	case 0x2c, 0x1c: // addrx4, ref_sup4
		o.n = 4
	case 0x20, 0x24: // ref_sig8, ref_sup8
		o.n = 8
	case 0x1e: // data16
		o.n = 16
	case 0x06, 0x07: // data4, data8
		o.n = uint32(form-5) * 4
		return sh.number(o)
	case 0x01: // addr
		o.n = uint32(sh.addrSize)
	case 0x1d, 0x1f20, 0x1f21: // strp_sup, GNU_ref_alt, GNU_strp_alt: into another file
		o.n = off
	case 0x0e: // strp
		o.code, o.to, o.n = opTarget, toStr, off
	case 0x1f: // line_strp
		o.code, o.to, o.n = opTarget, toLineStr, off
	case 0x10: // ref_addr
		o.code, o.to, o.n = opTarget, toInfo, off
		if sh.version == 2 {
			o.n = uint32(sh.addrSize)
		}
	case 0x17: // sec_offset
		o.n = off
		return sh.offset(o)
	case 0x11, 0x12, 0x13, 0x14: // ref1 to ref8
		o.code, o.n = opRef, 1<<(form-0x11)
	case 0x15: // ref_udata
		o.code = opRef
	case 0x25, 0x26, 0x27, 0x28: // strx1 to strx4
		o.code, o.n = opIndex, uint32(form-0x24)
	case 0x1a, 0x1f02: // strx, GNU_str_index
		o.code = opIndex
	case 0x0d, 0x0f, 0x1b, 0x22, 0x23, 0x1f01: // sdata, udata, addrx, loclistx, rnglistx, GNU_addr_index
		o.code = opLEB
	case 0x08: // string
		o.code = opText
	case 0x0a: // block1
		o.code, o.n = opBlock, 1
	case 0x03: // block2
		o.code, o.n = opBlock, 2
	case 0x04: // block4
		o.code, o.n = opBlock, 4
	case 0x09, 0x18: // block, exprloc
		o.code = opBlock
	case 0x16: // indirect
		o.code = opIndirect
	default:
		o.code = opUnknown
	}
	return o
}

// number is data4 or data8: an offset, for some attributes, before version 4.
func (sh shape) number(o op) op {
	switch {
	case o.attr == attrGNUDWOID && o.n == 8:
		o.code = opDWOID
	case sh.version < 4 && o.n == uint32(sh.offSize) && (o.attr == attrStmtList || o.attr == attrRanges || o.attr == attrMacroInfo):
		return sh.offset(o)
	}
	return o
}

// offset is a value that leads into the section the attribute says.
func (sh shape) offset(o op) op {
	to := target(targets)
	switch o.attr {
	case attrStmtList:
		to = toLine
	case attrRanges:
		to = toRanges
		if sh.version >= 5 {
			to = toRnglists
		}
	case attrLocation, attrStringLength, attrReturnAddr, attrFrameBase, attrStaticLink, attrUseLocation:
		to = toLoc
		if sh.version >= 5 {
			to = toLoclists
		}
	case attrMacroInfo:
		to = toMacinfo
	case attrMacros, attrGNUMacros:
		to = toMacro
	case attrStrOffsetsBase:
		to = toStrOffsets
	case attrAddrBase:
		to = toAddr
	case attrRnglistsBase:
		to = toRnglists
	case attrLoclistsBase:
		to = toLoclists
	}
	if to < targets {
		o.code, o.to = opTarget, to
	}
	return o
}

// String names the attribute as readelf does where it does not know it.
func (o op) String() string { return fmt.Sprintf("attribute %#x of form %#x", o.attr, o.form) }
