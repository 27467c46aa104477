package wasm

import (
	"bufio"
	"fmt"
	"io"
	"slices"
)

// Ids of sections that are looked into. Core Specification 2.0, section 5.5.2.
const (
	sectionFunction = 3
	sectionExport   = 7
	sectionCode     = 10
)

// sectionOrder is the order that sections of the standard ids have to stand in, each
// once: the data count before the code, tags before the globals.
var sectionOrder = []byte{1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11}

// maxKnown bounds how many sections of standard ids are kept: more are out of order.
const maxKnown = 64

// A knownSection is a section of a standard id, whose content is [off, end).
type knownSection struct {
	id       byte
	off, end int64
}

// Check reads what every engine and debugger reads whatever the module uses: the order
// of sections, the lists of functions, exports and bodies to their ends, and that there
// is a body for each function. Types and instructions, which proposals extend, are not
// read. Errors wrap ErrHeader, or are those of the reader.
func (m *Module) Check() error {
	place, functions := -1, int64(-1)
	for _, s := range m.known {
		at := slices.Index(sectionOrder, s.id)
		if at <= place {
			return damaged(s.off, "section", fmt.Sprintf("id %d after id %d", s.id, sectionOrder[place]), "each of the standard sections once, in their order")
		}
		place = at
		b := newBody(m.r, s)
		count, err := int64(0), error(nil)
		switch s.id {
		case sectionFunction:
			count, err = b.list("function", b.index)
			functions = count
		case sectionExport:
			_, err = b.list("export", b.export)
		case sectionCode:
			if count, err = b.list("function body", b.sized); err == nil && functions >= 0 && count != functions {
				err = damaged(s.off, "code section", fmt.Sprintf("%d bodies", count), fmt.Sprintf("one for each of %d functions", functions))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A body goes forward through the content of one section.
type body struct {
	in      *bufio.Reader
	at, end int64
}

func newBody(r io.ReaderAt, s knownSection) *body {
	return &body{bufio.NewReader(io.NewSectionReader(r, s.off, s.end-s.off)), s.off, s.end}
}

// list reads a count and so many items, which must fill the section.
func (b *body) list(what string, item func() error) (int64, error) {
	count, err := b.u32("number of items: " + what)
	for i := uint32(0); i < count && err == nil; i++ {
		err = item()
	}
	if err == nil && b.at != b.end {
		err = damaged(b.at, what+" section", fmt.Sprintf("%d bytes behind the last of %d", b.end-b.at, count), "none")
	}
	return int64(count), err
}

func (b *body) index() error {
	_, err := b.u32("index")
	return err
}

// sized passes over an item that begins with its size.
func (b *body) sized() error {
	n, err := b.u32("size")
	if err != nil {
		return err
	}
	return b.skip(int64(n), "item")
}

// export is a name, a kind (a function, table, memory, global or tag) and an index.
func (b *body) export() error {
	if err := b.sized(); err != nil {
		return err
	}
	at := b.at
	kind, err := b.byte("kind of an export")
	if err == nil && kind > 4 {
		err = damaged(at, "kind of an export", fmt.Sprint(kind), "0 to 4")
	}
	if err != nil {
		return err
	}
	return b.index()
}

func (b *body) byte(what string) (byte, error) {
	if b.at == b.end {
		return 0, damaged(b.at, what, "the end of the section", "more bytes")
	}
	c, err := b.in.ReadByte()
	b.at++
	return c, err
}

// u32 reads an unsigned LEB128 number of at most 32 bits.
func (b *body) u32(what string) (uint32, error) {
	start := b.at
	var raw []byte
	for len(raw) < 5 {
		c, err := b.byte(what)
		if err != nil {
			return 0, err
		}
		if raw = append(raw, c); c < 0x80 {
			break
		}
	}
	v, _, ok := uleb32(raw)
	if !ok {
		return 0, damaged(start, what, fmt.Sprintf("% x", raw), "an LEB128 number of 32 bits")
	}
	return v, nil
}

func (b *body) skip(n int64, what string) error {
	if n > b.end-b.at {
		return damaged(b.at, what, fmt.Sprintf("%d bytes", n), fmt.Sprintf("at most the %d left in the section", b.end-b.at))
	}
	k, err := b.in.Discard(int(n))
	b.at += int64(k)
	return err
}
