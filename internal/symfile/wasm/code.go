package wasm

import (
	"fmt"
	"math"
)

// maxNesting bounds the blocks inside each other that are kept.
const maxNesting = 1 << 16

// code reads the bodies of all functions, beside the section that says their types.
// Core Specification 3.0, section 5.5.13.
func (c *checker) code(b *body) error {
	off := b.at
	types, err := c.bodyTypes()
	if err != nil {
		return err
	}
	n, err := b.list("function body", func() error {
		f := function{c: c, b: b, locals: math.MaxUint64}
		if types != nil && types.at < types.end {
			parameters, err := c.functionType(types)
			if err != nil {
				return err
			}
			if parameters != notFunction {
				f.locals = uint64(parameters)
			}
		}
		return b.part("function body", f.read)
	})
	if err == nil && c.declared != nil && c.functions.whole() && int64(n) != c.defined {
		err = damaged(off, "code section", fmt.Sprintf("%d bodies", n), fmt.Sprintf("one for each of %d functions", c.defined))
	}
	return err
}

// bodyTypes is where the types of the functions stand that have bodies, or nil.
func (c *checker) bodyTypes() (*body, error) {
	if c.declared == nil || c.functions.lost {
		return nil, nil
	}
	b := newBody(c.m.r, c.declared.off, c.declared.end)
	_, err := b.u32("number of functions")
	return b, err
}

// A function is the body of one that is being read.
type function struct {
	c      *checker
	b      *body
	locals uint64  // parameters and local variables; math.MaxUint64 if not known
	open   []block // that have no end yet; the first is the body itself
}

// A block is the opcode that began it, or its part that is being read.
type block byte

// read goes through the local variables and the instructions, up to the end of the
// outermost block, which is the end of the body. Section 5.4.
func (f *function) read() error {
	known := f.locals != math.MaxUint64
	total := uint64(0)
	_, err := f.b.list("group of locals", func() error {
		at := f.b.at
		n, err := f.b.u32("number of locals")
		if err != nil {
			return err
		}
		if total += uint64(n); total > math.MaxUint32 {
			return damaged(at, "number of locals", fmt.Sprint(total), "at most 4294967295")
		}
		_, err = f.c.valueType(f.b)
		return err
	})
	if known {
		f.locals += total
	}
	for f.open = append(f.open, 0); len(f.open) > 0 && err == nil; {
		err = f.instruction()
	}
	return err
}

func (f *function) instruction() error {
	at := f.b.at
	op, err := f.b.byte("instruction")
	if err != nil {
		return err
	}
	what := plainShapes[op]
	if all, ok := prefixed(op); ok {
		n, err := f.b.u32("instruction")
		if err != nil {
			return err
		}
		if int64(n) < int64(len(all)) {
			what = all[n]
		}
	}
	if what == "" {
		return errUnknown
	}
	for i := 0; what != nothing && i < len(what); i++ {
		if err := f.operand(what[i]); err != nil {
			return err
		}
	}
	return f.nest(at, op)
}

// nest opens and closes blocks.
func (f *function) nest(at int64, op byte) error {
	top := &f.open[len(f.open)-1]
	ok := true
	switch op {
	case 0x02, 0x03, opIf, opTry, opTryTable:
		if len(f.open) == maxNesting {
			return errUnknown
		}
		f.open = append(f.open, block(op))
	case opElse:
		ok = *top == opIf
		*top = opElse
	case opCatch, opCatchAll:
		ok = *top == opTry || *top == opCatch
		*top = block(op)
	case opDelegate:
		ok = *top == opTry
		f.open = f.open[:len(f.open)-1]
	case opEnd:
		f.open = f.open[:len(f.open)-1]
	}
	if !ok {
		return damaged(at, "instruction", fmt.Sprintf("opcode %#02x", op), "it in the block that it is a part of")
	}
	return nil
}

// operand reads what a letter of a shape stands for.
func (f *function) operand(letter byte) error {
	c, b := f.c, f.b
	var err error
	switch letter {
	case 'b':
		return c.blockType(b)
	case 'l':
		return f.label()
	case 'L':
		if _, err = b.list("label", f.label); err == nil {
			err = f.label()
		}
	case 'c':
		_, err = b.list("catch clause", f.clause)
	case 'v':
		return f.local()
	case 'f':
		_, err = b.index("function index", &c.functions)
	case 't':
		_, err = b.index("type index", &c.types)
	case 'y':
		_, err = c.functionType(b)
	case 'g':
		_, err = b.index("global index", &c.globals)
	case 'T':
		_, err = b.index("table index", &c.tables)
	case 'm':
		_, err = b.index("memory index", &c.memories)
	case 'x':
		_, err = b.index("tag index", &c.tags)
	case 'e':
		_, err = b.index("element segment index", &c.elements)
	case 'd':
		_, err = b.index("data segment index", &c.segments)
	case 'h':
		return c.heapType(b)
	case 's':
		_, err = b.list("type of a value", func() error { _, err := c.valueType(b); return err })
	default:
		return f.number(letter)
	}
	return err
}

// number reads the operands that are no indices.
func (f *function) number(letter byte) error {
	var err error
	switch letter {
	case 'i':
		_, err = f.b.signed("i32 constant", 32)
	case 'I':
		_, err = f.b.signed("i64 constant", 64)
	case 'w':
		err = f.b.skip(4, "f32 constant")
	case 'W':
		err = f.b.skip(8, "f64 constant")
	case 'V':
		err = f.b.skip(16, "v128 operand")
	case 'n':
		_, err = f.b.byte("operand of one byte")
	case 'u':
		_, err = f.b.u32("number of fields or elements")
	default:
		err = f.address(uint32(letter - '0'))
	}
	return err
}

// label reads how many blocks to leave.
func (f *function) label() error {
	at := f.b.at
	n, err := f.b.u32("label")
	if err == nil && int64(n) >= int64(len(f.open)) {
		err = damaged(at, "label", fmt.Sprint(n), fmt.Sprintf("less than the %d blocks it is in", len(f.open)))
	}
	return err
}

// clause reads a catch clause of try_table.
func (f *function) clause() error {
	kind, err := f.b.byte("catch clause")
	switch {
	case err != nil:
		return err
	case kind > 3:
		return errUnknown
	case kind < 2: // the others catch all
		if _, err := f.b.index("tag index", &f.c.tags); err != nil {
			return err
		}
	}
	return f.label()
}

func (f *function) local() error {
	at := f.b.at
	n, err := f.b.u32("local index")
	if err == nil && uint64(n) >= f.locals {
		err = damaged(at, "local index", fmt.Sprint(n), fmt.Sprintf("less than the %d there are", f.locals))
	}
	return err
}

// Bits of what an address begins with. Those above the alignment are for proposals.
const (
	addressAlign  = 1<<4 - 1
	addressMemory = 1 << 6 // the index of a memory follows
)

// address reads an alignment of at most natural, as a power of two, and an offset.
// Section 5.4.6.
func (f *function) address(natural uint32) error {
	at := f.b.at
	flags, err := f.b.u32("alignment")
	if err != nil {
		return err
	}
	align := flags & addressAlign
	switch {
	case flags&^(addressAlign|addressMemory) != 0:
		return errUnknown
	case align > natural:
		return damaged(at, "alignment", fmt.Sprintf("2^%d", align), fmt.Sprintf("at most 2^%d", natural))
	case flags&addressMemory != 0:
		_, err = f.b.index("memory index", &f.c.memories)
	case !f.c.memories.has(0):
		err = damaged(at, "address", "one in memory", "no access to memory, of which the module has none")
	}
	if err != nil {
		return err
	}
	bits := 64
	if f.c.memories.whole() && !f.c.memory64 {
		bits = 32
	}
	_, err = f.b.unsigned("offset", bits)
	return err
}
