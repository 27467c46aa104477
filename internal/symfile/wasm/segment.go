package wasm

import (
	"errors"
	"fmt"
)

// Bits of the number that an element segment begins with. Core Specification 3.0,
// section 5.5.12.
const (
	elementPassive  = 1 << 0 // or, with the next bit, declarative
	elementExplicit = 1 << 1
	elementExprs    = 1 << 2
	elementKnown    = elementPassive | elementExplicit | elementExprs
)

// element reads an element segment: where it goes, what kind its items are of, and
// those as indices of functions or as expressions.
func (c *checker) element(b *body) error {
	c.elements.add()
	flags, err := b.u32("kind of an element segment")
	if err != nil {
		return err
	}
	if flags&^elementKnown != 0 {
		return errUnknown
	}
	if flags&elementPassive == 0 {
		if flags&elementExplicit != 0 {
			if _, err := b.index("table index", &c.tables); err != nil {
				return err
			}
		}
		if err := c.constant(b, anyValue); err != nil {
			return err
		}
	}
	if flags&(elementPassive|elementExplicit) != 0 {
		if err := c.elementKind(b, flags); err != nil {
			return err
		}
	}
	item := func() error { _, err := b.index("function index", &c.functions); return err }
	if flags&elementExprs != 0 {
		item = func() error { return c.constant(b, valueRef) }
	}
	_, err = b.list("element", item)
	return err
}

func (c *checker) elementKind(b *body, flags uint32) error {
	if flags&elementExprs != 0 {
		return c.referenceType(b)
	}
	kind, err := b.byte("kind of elements")
	if err == nil && kind != 0 {
		err = errUnknown
	}
	return err
}

// data reads the data section, which has as many segments as were announced.
func (c *checker) data(b *body) error {
	off, announced := b.at, c.segments
	n, err := b.list("data segment", func() error { return c.segment(b) })
	if err != nil && !errors.Is(err, errUnknown) {
		return err
	}
	c.segments = space{count: int64(n), read: true, lost: err != nil}
	if announced.read && announced.count != int64(n) {
		return damaged(off, "data section", fmt.Sprintf("%d segments", n), fmt.Sprintf("the %d of the data count section", announced.count))
	}
	return err
}

// segment reads a data segment: where it goes, unless it is passive, and its bytes.
// Section 5.5.14.
func (c *checker) segment(b *body) error {
	flags, err := b.u32("kind of a data segment")
	if err != nil {
		return err
	}
	switch flags {
	case 0, 1:
	case 2:
		_, err = b.index("memory index", &c.memories)
	default:
		return errUnknown
	}
	if err == nil && flags != 1 {
		err = c.constant(b, anyValue)
	}
	if err == nil {
		err = b.part("data segment", func() error { return b.skip(b.end-b.at, "data segment") })
	}
	return err
}
