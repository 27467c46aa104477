package wasm

import "fmt"

// Encodings of types. Core Specification 3.0, section 5.3; the table of all of them is
// its appendix "Index of Types". They share one range, 0x40 to 0x7f, so that what one
// kind of type is known by is no other kind.
const (
	typeFunc     = 0x60
	typeStruct   = 0x5f
	typeArray    = 0x5e
	typeSub      = 0x50
	typeSubFinal = 0x4f
	typeRec      = 0x4e
	typeNonNull  = 0x64
	typeNull     = 0x63
	typeEmpty    = 0x40 // the block type without a result
	typeI16      = 0x77
	typeI8       = 0x78
)

// A value is what a value type is as an operand of a constant expression. References
// are of one kind: which of them fit is not judged.
type value byte

const (
	anyValue value = iota // not known
	valueI32
	valueI64
	valueF32
	valueF64
	valueV128
	valueRef
)

func (v value) String() string {
	return [...]string{"a value", "i32", "i64", "f32", "f64", "v128", "a reference"}[v]
}

// abstractHeap reports whether a type is one of the heap types without an index.
func abstractHeap(c byte) bool { return 0x69 <= c && c <= 0x74 }

// recursive reads one type or a group of them, which may refer to each other. Section
// 5.5.4.
func (c *checker) recursive(b *body) error {
	op, err := b.peek("type")
	if err != nil {
		return err
	}
	if op != typeRec {
		return c.subtype(b)
	}
	if _, err := b.byte("type"); err != nil {
		return err
	}
	_, err = b.list("type of a group", func() error { return c.subtype(b) })
	return err
}

func (c *checker) subtype(b *body) error {
	at := b.at
	op, err := b.byte("type")
	if err == nil && (op == typeSub || op == typeSubFinal) {
		if _, err = b.list("supertype", func() error { _, err := b.u32("supertype"); return err }); err == nil {
			at = b.at
			op, err = b.byte("type")
		}
	}
	if err != nil {
		return err
	}
	switch op {
	case typeFunc:
		return c.functionShape(b)
	case typeStruct:
		c.addType(notFunction)
		_, err = b.list("field", func() error { return c.field(b) })
		return err
	case typeArray:
		c.addType(notFunction)
		return c.field(b)
	}
	return unassigned(at, op, "a function, struct or array type")
}

// functionShape reads the parameters and results of a function type.
func (c *checker) functionShape(b *body) error {
	item := func() error { _, err := c.valueType(b); return err }
	n, err := b.list("parameter", item)
	if err != nil {
		return err
	}
	c.addType(int64(n))
	_, err = b.list("result", item)
	return err
}

func (c *checker) field(b *body) error {
	op, err := b.peek("field type")
	if err != nil {
		return err
	}
	if op == typeI8 || op == typeI16 {
		_, err = b.byte("field type")
	} else {
		_, err = c.valueType(b)
	}
	if err != nil {
		return err
	}
	return c.mutable(b)
}

// mutable passes over the byte that says whether something can change: 0 or 1, and for
// what threads share, of which the proposal is not finished, 2 or 3.
func (c *checker) mutable(b *body) error {
	at := b.at
	flag, err := b.byte("mutability")
	switch {
	case err != nil || flag <= 1:
		return err
	case flag <= 3:
		return errUnknown
	}
	return damaged(at, "mutability", fmt.Sprint(flag), "0 or 1")
}

// valueType reads a value type.
func (c *checker) valueType(b *body) (value, error) {
	at := b.at
	op, err := b.byte("value type")
	switch {
	case err != nil:
		return anyValue, err
	case 0x7b <= op && op <= 0x7f:
		return [...]value{valueV128, valueF64, valueF32, valueI64, valueI32}[op-0x7b], nil
	case abstractHeap(op):
		return valueRef, nil
	case op == typeNull || op == typeNonNull:
		return valueRef, c.heapType(b)
	}
	return anyValue, unassigned(at, op, "a value type")
}

// referenceType reads a type that tables and elements have.
func (c *checker) referenceType(b *body) error {
	at := b.at
	v, err := c.valueType(b)
	if err == nil && v != valueRef {
		err = damaged(at, "reference type", v.String(), "a reference")
	}
	return err
}

// heapType reads an abstract heap type or the index of a type.
func (c *checker) heapType(b *body) error {
	op, err := b.peek("heap type")
	switch {
	case err != nil:
		return err
	case abstractHeap(op):
		_, err = b.byte("heap type")
		return err
	case 0x40 <= op && op < 0x80:
		return errUnknown
	}
	_, err = c.typeIndex(b)
	return err
}

// blockType reads what a block takes and gives: nothing, one value, or as the function
// type of an index says. Section 5.4.1.
func (c *checker) blockType(b *body) error {
	op, err := b.peek("block type")
	switch {
	case err != nil:
		return err
	case op == typeEmpty:
		_, err = b.byte("block type")
		return err
	case 0x40 < op && op < 0x80:
		_, err = c.valueType(b)
		return err
	}
	at := b.at
	i, err := c.typeIndex(b)
	if err == nil && c.types.whole() && c.parameters[i] == notFunction {
		err = damaged(at, "block type", fmt.Sprintf("type %d, a struct or array", i), "a function type")
	}
	return err
}

// typeIndex reads an index where a type may stand as well: a number of 33 bits with a
// sign, negative for what proposals may add.
func (c *checker) typeIndex(b *body) (uint32, error) {
	at := b.at
	i, err := b.signed("type index", 33)
	switch {
	case err != nil:
		return 0, err
	case i < 0:
		return 0, errUnknown
	case !c.types.has(uint32(i)):
		return 0, damaged(at, "type index", fmt.Sprint(i), fmt.Sprintf("less than the %d there are", c.types.count))
	}
	return uint32(i), nil
}

// unassigned judges a byte that is not what was wanted: damage if it is known to be
// something else, or can be no type, else a proposal may have given it a meaning.
func unassigned(at int64, op byte, want string) error {
	switch op {
	case typeFunc, typeStruct, typeArray, typeSub, typeSubFinal, typeRec, typeNull, typeNonNull, typeEmpty, typeI8, typeI16:
	default:
		if 0x40 <= op && op < 0x7b && !abstractHeap(op) {
			return errUnknown
		}
	}
	return damaged(at, "type", fmt.Sprintf("byte %#02x", op), want)
}
