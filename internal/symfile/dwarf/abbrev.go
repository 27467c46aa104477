package dwarf

import (
	"errors"
	"fmt"
	"io"
)

// Bounds on abbreviation tables. Those of real compilers have a few thousand
// declarations of a few dozen attributes.
const (
	maxDecls     = 1 << 20 // of one table
	maxOps       = 1 << 22 // of one table
	maxTables    = 64      // kept at once; units that share one mostly follow each other
	maxKeptOps   = 1 << 20 // of all tables kept
	abbrevWindow = 64 << 10
	maxReads     = 64 << 20 // bytes of tables read, some of them again; past it and some times the section, units go unjudged
)

// Tags that are looked at: DWARF 5 section 7.5.3.
const tagSubprogram = 0x2e

// typeTags are the tags whose names end in "_type", and of types.
var typeTags = map[uint64]bool{0x01: true, 0x02: true, 0x04: true, 0x0f: true, 0x10: true, 0x12: true, 0x13: true, 0x15: true,
	0x16: true, 0x17: true, 0x1f: true, 0x20: true, 0x21: true, 0x24: true, 0x26: true, 0x29: true, 0x2d: true, 0x35: true,
	0x37: true, 0x38: true, 0x3b: true, 0x40: true, 0x42: true, 0x46: true, 0x47: true, 0x4b: true}

// A decl is one abbreviation declaration, compiled.
type decl struct {
	ops      []op
	tag      uint64
	children bool
	function bool
	typ      bool
	dwoName  bool
}

// A table is one abbreviation table, compiled for units of one shape.
type table struct {
	dense []*decl // by code
	large map[uint64]*decl
	ops   int
}

// find returns the declaration of code, or nil.
func (t *table) find(code uint64) *decl {
	if code < uint64(len(t.dense)) {
		return t.dense[code]
	}
	return t.large[code]
}

// add keeps the first declaration of a code, as debuggers do.
func (t *table) add(code uint64, d *decl) {
	switch {
	case t.find(code) != nil:
	case code == uint64(len(t.dense)):
		t.dense = append(t.dense, d)
	default:
		if t.large == nil {
			t.large = map[uint64]*decl{}
		}
		t.large[code] = d
	}
}

// tableKey is what a compiled table depends on.
type tableKey struct {
	off uint64
	shape
}

// abbrevs keeps the tables that were used last.
type abbrevs struct {
	section Section
	at      io.ReaderAt
	tables  map[tableKey]*table
	order   []tableKey
	ops     int
	read    uint64 // bytes, of all tables
}

// openAbbrevs makes s readable out of order.
func openAbbrevs(s Section) (*abbrevs, error) {
	at, size, err := s.outOfOrder()
	if err != nil {
		return nil, err
	}
	s.Size = size
	return &abbrevs{section: s, at: at, tables: map[tableKey]*table{}}, nil
}

// reader reads from off to the end, by windows of at most so many bytes.
func (a *abbrevs) reader(off, window uint64) *reader {
	n := a.section.Size - off
	return &reader{src: io.NewSectionReader(a.at, int64(off), int64(n)), size: n, buf: make([]byte, 0, min(max(n, 64), window))}
}

// errTable says why a table cannot be used; it is a fault of the unit.
type errTable struct {
	kind        error
	found, want string
}

func (e *errTable) Error() string { return e.found }

// table returns the table at off. An *errTable is about the bytes; any other error
// is the reader's.
func (a *abbrevs) table(off uint64, sh shape) (*table, error) {
	key := tableKey{off, sh}
	if t := a.tables[key]; t != nil {
		return t, nil
	}
	switch {
	case a.at == nil:
		return nil, &errTable{ErrUnjudged, bytesText(a.section.Size) + " of compressed abbreviations", fmt.Sprintf("at most %d", maxMemory)}
	case off >= a.section.Size:
		return nil, &errTable{ErrDamaged, fmt.Sprintf("abbreviation offset %#x", off), fmt.Sprintf("below the %#x bytes of %s", a.section.Size, a.section.Name)}
	}
	if a.read > maxReads+8*a.section.Size {
		return nil, &errTable{ErrUnjudged, "abbreviation tables that overlap", "tables apart from each other"}
	}
	r := a.reader(off, abbrevWindow)
	t, err := readTable(r, sh)
	a.read += r.at()
	switch {
	case r.err != nil:
		return nil, r.err
	case errors.Is(err, errLarge):
		return nil, &errTable{ErrUnjudged, fmt.Sprintf("a table of more than %d declarations or %d attributes at %#x of %s", maxDecls, maxOps, off, a.section.Name), "fewer"}
	case err != nil:
		return nil, &errTable{ErrDamaged, fmt.Sprintf("%v at %#x of %s", err, off+r.at(), a.section.Name), "an abbreviation declaration"}
	}
	a.keep(key, t)
	return t, nil
}

// keep forgets the oldest tables where there are too many.
func (a *abbrevs) keep(key tableKey, t *table) {
	for len(a.order) > 0 && (len(a.order) == maxTables || a.ops+t.ops > maxKeptOps) {
		a.ops -= a.tables[a.order[0]].ops
		delete(a.tables, a.order[0])
		a.order = a.order[1:]
	}
	a.tables[key], a.order, a.ops = t, append(a.order, key), a.ops+t.ops
}

var errLarge = errors.New("too large")

// readTable reads declarations up to the code 0, or to the end of the section:
// some assemblers leave the last zero out.
func readTable(r *reader, sh shape) (*table, error) {
	t := &table{dense: []*decl{nil}}
	for n := 0; ; n++ {
		r.fill(1)
		if r.pos == len(r.buf) {
			return t, nil
		}
		code := r.uleb()
		if code == 0 {
			return t, nil
		}
		if n == maxDecls || t.ops > maxOps {
			return nil, errLarge
		}
		d, err := readDecl(r, sh)
		if err != nil {
			return nil, err
		}
		t.ops += len(d.ops) + 1
		t.add(code, d)
	}
}

// readDecl reads a declaration past its code. Values that nobody looks at and
// whose sizes are known are passed over together. A declaration that is none damages
// the table even if no entry has its code: LLVM takes it for the end of the table.
func readDecl(r *reader, sh shape) (*decl, error) {
	tag := r.uleb()
	children := r.u8()
	d := &decl{tag: tag, children: children == 1, function: tag == tagSubprogram, typ: typeTags[tag]}
	for {
		attr, form := r.uleb(), r.uleb()
		wide := r.wide
		if form == 0x21 { // implicit_const: its value is here, and has a sign
			r.uleb()
		}
		r.wide = false
		switch {
		case r.short:
			return nil, errors.New("the end of the section inside a declaration")
		case children > 1:
			return nil, fmt.Errorf("a children flag of %d", children)
		case tag == 0:
			return nil, errors.New("a tag of 0")
		case wide:
			return nil, errors.New("a number of more than 64 bits")
		case attr == 0 && form == 0:
			return d, nil
		case attr == 0 || form == 0:
			return nil, fmt.Errorf("attribute %#x of form %#x", attr, form)
		case len(d.ops) > maxOps:
			return nil, errLarge
		}
		d.dwoName = d.dwoName || attr == attrDWOName || attr == attrGNUDWOName
		d.push(sh.compile(attr, form))
	}
}

// push adds a step, or lengthens the last one.
func (d *decl) push(o op) {
	if o.code == opSkip {
		if o.n == 0 {
			return
		}
		if n := len(d.ops); n > 0 && d.ops[n-1].code == opSkip && d.ops[n-1].n < ahead {
			d.ops[n-1].n += o.n
			return
		}
	}
	d.ops = append(d.ops, o)
}
