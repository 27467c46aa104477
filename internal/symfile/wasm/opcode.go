package wasm

// Opcodes that are more than their shape. Core Specification 3.0, section 5.4; the
// older form of exception handling has 0x06, 0x07, 0x09, 0x18 and 0x19.
const (
	opIf        = 0x04
	opElse      = 0x05
	opTry       = 0x06
	opCatch     = 0x07
	opEnd       = 0x0b
	opDelegate  = 0x18
	opCatchAll  = 0x19
	opTryTable  = 0x1f
	opGlobalGet = 0x23
	opI32Const  = 0x41
	opI64Const  = 0x42
	opF32Const  = 0x43
	opF64Const  = 0x44
	opI32Add    = 0x6a
	opI32Sub    = 0x6b
	opI32Mul    = 0x6c
	opI64Add    = 0x7c
	opI64Sub    = 0x7d
	opI64Mul    = 0x7e
	opRefNull   = 0xd0
	opRefFunc   = 0xd2
	opGC        = 0xfb
	opMisc      = 0xfc
	opVector    = 0xfd
	opAtomic    = 0xfe

	vectorConst = 12
)

// A shape is what follows an opcode, a letter for each thing in their order:
//
//	b  block type       l  label       L  list of labels and one more
//	f  function index   t  type index  y  index of a function type
//	v  local index      g  global      T  table    m  memory    x  tag
//	e  element segment  d  data segment
//	0..4  a memory address whose alignment is a power of two up to this
//	i  i32   I  i64   4  see above   w  4 bytes   W  8 bytes   V  16 bytes
//	n  lane or other byte   u  a count   s  list of value types
//	h  heap type   c  list of catch clauses
//
// A dot stands for nothing. No shape is an opcode that is not known here.
type shape string

const nothing shape = "."

// plainShapes are those of the opcodes of one byte.
var plainShapes = func() [256]shape {
	all := [256]shape{
		0x02: "b", 0x03: "b", opIf: "b", opTry: "b", opCatch: "x", 0x08: "x", 0x09: "l", 0x0c: "l", 0x0d: "l", 0x0e: "L",
		0x10: "f", 0x11: "yT", 0x12: "f", 0x13: "yT", 0x14: "y", 0x15: "y", opDelegate: "l", 0x1c: "s", opTryTable: "bc",
		0x20: "v", 0x21: "v", 0x22: "v", opGlobalGet: "g", 0x24: "g", 0x25: "T", 0x26: "T", 0x3f: "m", 0x40: "m",
		opI32Const: "i", opI64Const: "I", opF32Const: "w", opF64Const: "W",
		opRefNull: "h", opRefFunc: "f", 0xd5: "l", 0xd6: "l",
	}
	for _, op := range []byte{0x00, 0x01, opElse, 0x0a, opEnd, 0x0f, opCatchAll, 0x1a, 0x1b, 0xd1, 0xd3, 0xd4} {
		all[op] = nothing
	}
	for i, align := range "23230011001122232301012" { // loads and stores, in the order of their opcodes
		all[0x28+i] = shape(align)
	}
	for op := 0x45; op <= 0xc4; op++ {
		all[op] = nothing
	}
	return all
}()

// gcShapes are those of structs, arrays and casts.
var gcShapes = []shape{
	"t", "t", "tu", "tu", "tu", "tu", "t", "t", "tu", "td", "te", "t", "t", "t", "t", nothing, "t", "tt", "td", "te",
	"h", "h", "h", "h", "nlhh", "nlhh", nothing, nothing, nothing, nothing, nothing,
}

// miscShapes are those of saturating conversions and of bulk operations.
var miscShapes = []shape{
	nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing,
	"dm", "d", "mm", "m", "eT", "e", "TT", "T", "T", "T",
}

// vectorShapes are those of vector instructions, the relaxed ones included.
var vectorShapes = func() []shape {
	all := make([]shape, 0x114)
	for op := range all {
		switch {
		case op == vectorConst || op == 13:
			all[op] = "V"
		case 21 <= op && op <= 34:
			all[op] = "n"
		case 84 <= op && op <= 91:
			all[op] = []shape{"0n", "1n", "2n", "3n"}[op%4]
		default:
			all[op] = nothing
		}
	}
	for i, align := range "433333301234" {
		all[i] = shape(align)
	}
	all[92], all[93] = "2", "3"
	return all
}()

// atomicShapes are those of the threads proposal: from 0x10 on, each operation has
// seven widths.
var atomicShapes = func() []shape {
	all := make([]shape, 0x4f)
	all[0], all[1], all[2], all[3] = "2", "2", "3", "n"
	for op := 0x10; op < len(all); op++ {
		all[op] = []shape{"2", "3", "0", "1", "0", "1", "2"}[(op-0x10)%7]
	}
	return all
}()

// prefixed are the opcodes that a number follows, which chooses among shapes.
func prefixed(op byte) ([]shape, bool) {
	switch op {
	case opGC:
		return gcShapes, true
	case opMisc:
		return miscShapes, true
	case opVector:
		return vectorShapes, true
	case opAtomic:
		return atomicShapes, true
	}
	return nil, false
}
