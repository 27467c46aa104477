package wasm

import "fmt"

// maxOperands bounds the operands of a constant expression that are kept.
const maxOperands = 1 << 10

// constant reads a constant expression that has to give one value of a kind. Those that
// make structs and arrays are not followed. Core Specification 3.0, sections 3.4.13 and
// 5.4.10.
func (c *checker) constant(b *body, want value) error {
	e := expression{c: c, b: b, start: b.at}
	for {
		at := b.at
		op, err := b.byte("constant expression")
		if err != nil {
			return err
		}
		if op == opEnd {
			return e.gives(want)
		}
		if err := e.step(at, op); err != nil {
			return err
		}
	}
}

// An expression is a constant one that is being read.
type expression struct {
	c        *checker
	b        *body
	start    int64
	operands []value
}

func (e *expression) step(at int64, op byte) error {
	switch op {
	case opI32Const:
		_, err := e.b.signed("i32 constant", 32)
		return e.push(valueI32, err)
	case opI64Const:
		_, err := e.b.signed("i64 constant", 64)
		return e.push(valueI64, err)
	case opF32Const:
		return e.push(valueF32, e.b.skip(4, "f32 constant"))
	case opF64Const:
		return e.push(valueF64, e.b.skip(8, "f64 constant"))
	case opGlobalGet:
		return e.global()
	case opRefNull:
		return e.push(valueRef, e.c.heapType(e.b))
	case opRefFunc:
		_, err := e.b.index("function index", &e.c.functions)
		return e.push(valueRef, err)
	case opI32Add, opI32Sub, opI32Mul:
		return e.binary(valueI32)
	case opI64Add, opI64Sub, opI64Mul:
		return e.binary(valueI64)
	case opVector:
		if n, err := e.b.u32("vector instruction"); err != nil || n != vectorConst {
			return orUnknown(err)
		}
		return e.push(valueV128, e.b.skip(16, "v128 constant"))
	}
	if plainShapes[op] != "" && op < opRefNull { // of control, variables, memory, and other arithmetic
		return damaged(at, "constant expression", fmt.Sprintf("opcode %#02x", op), "constants, and sums and products of them")
	}
	return errUnknown
}

// orUnknown gives way to an error.
func orUnknown(err error) error {
	if err != nil {
		return err
	}
	return errUnknown
}

func (e *expression) global() error {
	i, err := e.b.index("global index", &e.c.globals)
	kind := anyValue
	if int64(i) < int64(len(e.c.kinds)) {
		kind = e.c.kinds[i]
	}
	return e.push(kind, err)
}

func (e *expression) push(v value, err error) error {
	if err == nil && len(e.operands) == maxOperands {
		err = errUnknown
	}
	e.operands = append(e.operands, v)
	return err
}

// binary takes two operands of a kind and gives one.
func (e *expression) binary(kind value) error {
	n := len(e.operands)
	if n < 2 || !e.operands[n-1].fits(kind) || !e.operands[n-2].fits(kind) {
		return damaged(e.start, "constant expression", fmt.Sprintf("operands %v", e.operands), "two of kind "+kind.String())
	}
	e.operands = append(e.operands[:n-2], kind)
	return nil
}

func (e *expression) gives(want value) error {
	if len(e.operands) != 1 || !e.operands[0].fits(want) {
		return damaged(e.start, "constant expression", fmt.Sprintf("values %v", e.operands), want.String())
	}
	return nil
}

// fits reports whether one kind may stand for the other.
func (v value) fits(want value) bool { return v == want || v == anyValue || want == anyValue }
