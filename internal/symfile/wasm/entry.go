package wasm

import "fmt"

// Kinds of imports and exports, in this order in spaces.imported. Core Specification
// 3.0, sections 5.5.5 and 5.5.10.
const (
	kindFunction = iota
	kindTable
	kindMemory
	kindGlobal
	kindTag
)

// Flags of limits. Section 5.3.12; shared is of the threads proposal.
const (
	limitsMax    = 1 << 0
	limitsShared = 1 << 1
	limits64     = 1 << 2
	limitsKnown  = limitsMax | limitsShared | limits64
)

// maxPages is how many pages of 64 KiB a memory with addresses of 32 bits has at most.
const maxPages = 1 << 16

// importEntry reads one import: the names of a module and of what it gives, and what that is.
func (c *checker) importEntry(b *body) error {
	for _, what := range []string{"module of an import", "name of an import"} {
		if err := b.utf8Name(what); err != nil {
			return err
		}
	}
	kind, err := b.byte("kind of an import")
	if err != nil {
		return err
	}
	switch kind {
	case kindFunction:
		return c.declaration(b)
	case kindTable:
		return c.tableType(b)
	case kindMemory:
		return c.memory(b)
	case kindGlobal:
		_, err = c.globalType(b)
		return err
	case kindTag:
		return c.tag(b)
	}
	return errUnknown
}

// declaration reads the type of a function.
func (c *checker) declaration(b *body) error {
	c.functions.add()
	_, err := c.functionType(b)
	return err
}

// table reads a table of the table section, which may say what to fill it with.
func (c *checker) table(b *body) error {
	first, err := b.peek("table")
	if err != nil || first != typeEmpty {
		return c.tableType(b)
	}
	if _, err := b.byte("table"); err != nil {
		return err
	}
	reserved, err := b.byte("reserved byte of a table")
	if err == nil && reserved != 0 {
		err = errUnknown
	}
	if err == nil {
		err = c.tableType(b)
	}
	if err != nil {
		return err
	}
	read := c.globals.read
	c.globals.read = false // whether it may use those that follow is not judged
	err = c.constant(b, valueRef)
	c.globals.read = read
	return err
}

func (c *checker) tableType(b *body) error {
	c.tables.add()
	if err := c.referenceType(b); err != nil {
		return err
	}
	_, _, err := c.limits(b, "table")
	return err
}

func (c *checker) memory(b *body) error {
	c.memories.add()
	at := b.at
	flags, most, err := c.limits(b, "memory")
	if flags&limits64 != 0 {
		c.memory64 = true
	} else if err == nil && most > maxPages {
		err = damaged(at, "limits of a memory", fmt.Sprintf("%d pages", most), fmt.Sprintf("at most %d", maxPages))
	}
	return err
}

// limits reads a size, and the size it may grow to, of which it returns the larger.
func (c *checker) limits(b *body, what string) (flags byte, most uint64, err error) {
	at := b.at
	if flags, err = b.byte("limits of a " + what); err != nil {
		return 0, 0, err
	}
	if flags&^limitsKnown != 0 {
		return 0, 0, errUnknown
	}
	bits := 32
	if flags&limits64 != 0 {
		bits = 64
	}
	least, err := b.unsigned("size of a "+what, bits)
	if err != nil || flags&limitsMax == 0 {
		return flags, least, err
	}
	most, err = b.unsigned("largest size of a "+what, bits)
	if err == nil && most < least {
		err = damaged(at, "limits of a "+what, fmt.Sprintf("%d to %d", least, most), "the smaller first")
	}
	return flags, most, err
}

func (c *checker) tag(b *body) error {
	c.tags.add()
	attribute, err := b.byte("attribute of a tag")
	if err == nil && attribute != 0 {
		err = errUnknown
	}
	if err == nil {
		_, err = c.functionType(b)
	}
	return err
}

// global reads a global of the global section. Its first value may use globals before.
func (c *checker) global(b *body) error {
	kind, err := c.globalType(b)
	if err != nil {
		return err
	}
	return c.constant(b, kind)
}

func (c *checker) globalType(b *body) (value, error) {
	kind, err := c.valueType(b)
	if err == nil {
		err = c.mutable(b)
	}
	c.addGlobal(kind)
	return kind, err
}

// export reads a name, a kind and an index of that kind.
func (c *checker) export(b *body) error {
	if err := b.utf8Name("name of an export"); err != nil {
		return err
	}
	at := b.at
	kind, err := b.byte("kind of an export")
	if err == nil && kind > kindTag {
		err = damaged(at, "kind of an export", fmt.Sprint(kind), fmt.Sprintf("0 to %d", kindTag))
	}
	if err != nil {
		return err
	}
	_, err = b.index([...]string{"function index", "table index", "memory index", "global index", "tag index"}[kind], c.imported()[kind])
	return err
}
