package wasm

import (
	"errors"
	"fmt"
	"strings"
)

// Custom sections that readers built on LLVM take apart when they open a module.
const (
	nameSection      = "name"
	producersSection = "producers"
	featuresSection  = "target_features"
)

// Subsections of the name section that hold a map of names, and are of use to a
// debugger. Core Specification 3.0, appendix 7.4; 7 and 9 are of the proposal for more.
const (
	namesFunctions = 1
	namesGlobals   = 7
	namesSegments  = 9
)

// customSections reads what the conventions for custom sections pin down. Order is not
// among that: linkers differ in it.
func (c *checker) customSections() []error {
	var all []error
	for _, s := range c.m.conventions {
		b := newBody(c.m.r, s.off, s.end)
		err := error(nil)
		switch s.name {
		case nameSection:
			err = c.names(b)
		case producersSection:
			_, err = b.list("field of the producers section", func() error { return producersField(b) })
		case featuresSection:
			_, err = b.list("target feature", func() error { return feature(b) })
		}
		if err == nil {
			err = b.done()
		}
		if err != nil && !errors.Is(err, errUnknown) {
			all = append(all, err)
		}
	}
	return all
}

// names reads the subsections of the name section.
func (c *checker) names(b *body) error {
	for b.at < b.end {
		id, err := b.byte("subsection of the name section")
		if err != nil {
			return err
		}
		item := func() error { return errUnknown }
		switch id {
		case namesFunctions:
			item = func() error { return nameMap(b, "function index", &c.functions) }
		case namesGlobals:
			item = func() error { return nameMap(b, "global index", &c.globals) }
		case namesSegments:
			item = func() error { return nameMap(b, "data segment index", &c.segments) }
		}
		if err := b.part("subsection of the name section", item); err != nil {
			return err
		}
	}
	return nil
}

// nameMap reads names by index, each of which refers to something and has one name; of
// indices from maxKept on nobody keeps count.
func nameMap(b *body, what string, of *space) error {
	var named bits
	_, err := b.list("name", func() error {
		at := b.at
		i, err := b.index(what, of)
		if err != nil {
			return err
		}
		if of.whole() && i < maxKept && !named.set(i) {
			return damaged(at, "names", fmt.Sprintf("%s %d again", what, i), "each once")
		}
		_, err = b.name("name")
		return err
	})
	return err
}

// bits are the numbers that were set. It is as large as the largest of them.
type bits []uint64

// set reports whether n is new.
func (s *bits) set(n uint32) bool {
	for int(n/64) >= len(*s) {
		*s = append(*s, 0)
	}
	word, bit := &(*s)[n/64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

// producersField reads one field: what it lists, and names with versions. Tool
// Conventions, "Producers Section".
func producersField(b *body) error {
	at := b.at
	field, err := b.name("field of the producers section")
	if err != nil {
		return err
	}
	switch string(field) {
	case "language", "processed-by", "sdk":
	default:
		return damaged(at, "field of the producers section", fmt.Sprintf("%.40q", field), "language, processed-by or sdk")
	}
	_, err = b.list("producer", func() error {
		if _, err := b.name("name of a producer"); err != nil {
			return err
		}
		_, err := b.name("version of a producer")
		return err
	})
	return err
}

// feature reads one target feature: how it is used, and its name. Tool Conventions,
// "Target Features Section".
func feature(b *body) error {
	at := b.at
	prefix, err := b.byte("use of a target feature")
	if err == nil && !strings.ContainsRune("+-=", rune(prefix)) {
		err = damaged(at, "use of a target feature", fmt.Sprintf("byte %#02x", prefix), "+, - or =")
	}
	if err == nil {
		_, err = b.name("name of a target feature")
	}
	return err
}
