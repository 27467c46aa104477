package wasm

import (
	"errors"
	"fmt"
	"slices"
)

// Ids of sections. Core Specification 3.0, section 5.5.2.
const (
	sectionType      = 1
	sectionImport    = 2
	sectionFunction  = 3
	sectionTable     = 4
	sectionMemory    = 5
	sectionGlobal    = 6
	sectionExport    = 7
	sectionStart     = 8
	sectionElement   = 9
	sectionCode      = 10
	sectionData      = 11
	sectionDataCount = 12
	sectionTag       = 13
)

// sectionOrder is the order that sections of the standard ids have to stand in, each
// once: the data count before the code, tags before the globals. Nothing refers to what
// a later section holds, but for bodies of functions to data, which are counted before.
var sectionOrder = []byte{
	sectionType, sectionImport, sectionFunction, sectionTable, sectionMemory, sectionTag, sectionGlobal,
	sectionExport, sectionStart, sectionElement, sectionDataCount, sectionCode, sectionData,
}

// maxKnown bounds how many sections of standard ids are kept: more are out of order.
const maxKnown = 64

// A knownSection is a section of a standard id, whose content is [off, end).
type knownSection struct {
	id       byte
	off, end int64
}

// Damage is what Check found; the zero value is none.
type Damage struct {
	// Module is why no engine takes the module, and no debugger that reads it whole.
	Module error
	// Custom is why readers built on LLVM, LLDB among them, do not open it: a custom
	// section that engines pass over is not what its convention says. One per section,
	// and none if the module itself is damaged.
	Custom []error
}

// Check reads the module as engines do when they decode it: sections in their order,
// all lists to their ends, constant expressions, the instructions of functions one by
// one, and indices that refer to something. Operands in functions are not typed. What
// the Core Specification 3.0 with threads and the older form of exception handling does
// not say, a proposal may have added: reading goes on behind it, where it can. Errors
// wrap ErrHeader, or are those of the reader.
func (m *Module) Check() Damage {
	c := &checker{m: m}
	if err := c.sections(); err != nil {
		return Damage{Module: err}
	}
	return Damage{Custom: c.customSections()}
}

// A checker goes through the sections of one module.
type checker struct {
	spaces
	m        *Module
	declared *knownSection // the function section, which is read again beside the bodies
	defined  int64         // functions in it
}

func (c *checker) sections() error {
	place := -1
	for _, s := range c.m.known {
		at := slices.Index(sectionOrder, s.id)
		if at <= place {
			return damaged(s.off, "section", fmt.Sprintf("id %d after id %d", s.id, sectionOrder[place]), "each of the standard sections once, in their order")
		}
		place = at
		b := newBody(c.m.r, s.off, s.end)
		err := c.section(b, s)
		if errors.Is(err, errUnknown) {
			continue
		}
		if err == nil {
			err = b.done()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// section reads the content of one section.
func (c *checker) section(b *body, s knownSection) error {
	switch s.id {
	case sectionType:
		return c.items(b, "type", c.recursive, &c.types)
	case sectionImport:
		all := c.imported()
		return c.items(b, "import", c.importEntry, all[:]...)
	case sectionFunction:
		imports := c.functions.count
		err := c.items(b, "function", c.declaration, &c.functions)
		c.declared, c.defined = &s, c.functions.count-imports
		return err
	case sectionTable:
		return c.items(b, "table", c.table, &c.tables)
	case sectionMemory:
		return c.items(b, "memory", c.memory, &c.memories)
	case sectionTag:
		return c.items(b, "tag", c.tag, &c.tags)
	case sectionGlobal:
		return c.items(b, "global", c.global, &c.globals)
	case sectionExport:
		return c.items(b, "export", c.export)
	case sectionStart:
		_, err := b.index("function index", &c.functions)
		return err
	case sectionElement:
		return c.items(b, "element segment", c.element, &c.elements)
	case sectionDataCount:
		n, err := b.u32("number of data segments")
		c.segments = space{count: int64(n), read: err == nil}
		return err
	case sectionCode:
		return c.code(b)
	}
	return c.data(b)
}

// items reads a list. The spaces that it fills are complete then, unless it holds what
// nobody here knows.
func (c *checker) items(b *body, what string, item func(*body) error, fills ...*space) error {
	_, err := b.list(what, func() error { return item(b) })
	for _, s := range fills {
		s.read = true
		s.lost = s.lost || err != nil
	}
	return err
}
