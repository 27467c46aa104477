package dwarf

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"strings"
)

// Bounds on what a look for source files remembers. Names over maxName bytes are no
// paths of any system; units beyond maxUnits go without their line tables.
const (
	maxName   = 4 << 10
	maxUnits  = 1 << 20
	maxRoots  = 1 << 12 // kinds of root entry kept
	maxFolder = 64 << 20

	rootWindow = 1 << 10 // read of a table at a time: most roots have a code early in theirs
)

// Attributes of a root entry that lead to names. DWARF 5, section 7.5.4.
const (
	attrName    = 0x03
	attrCompDir = 0x1b
)

// A SourceFile is a file that code was compiled from.
type SourceFile struct {
	// Path is the name as debuggers make it absolute: it follows the folder of the line
	// table, and that the folder of the compilation, where it does not begin at a root
	// itself. Dots and doubled slashes stay. It is relative where all three are.
	Path string
	MD5  string // of the content, 16 bytes; empty where the line table does not say
}

// SourceFiles calls visit for every name of the line tables that the units of a file
// have, then for the units themselves; the same file comes once for each of them. What
// cannot be read is passed over: Walk says what is wrong with it. The error is visit's, or
// of a section's reader.
func SourceFiles(f File, visit func(SourceFile) error) error {
	l := &lister{walker: walker{file: f, order: f.ByteOrder()}, visit: visit, texts: textSections{}, roots: map[rootKey][]rootAttr{}}
	for _, name := range []string{"str", "line_str", "str_offsets"} {
		var err error
		if l.texts[name], err = l.openText(name); err != nil {
			return err
		}
	}
	for _, s := range f.DebugSections("info") {
		if err := l.units(s); err != nil {
			return err
		}
	}
	if err := l.lines(); err != nil {
		return err
	}
	for _, name := range l.own {
		if err := visit(SourceFile{Path: name}); err != nil {
			return err
		}
	}
	return nil
}

// A lister walks the roots of units, then the heads of their line tables.
type lister struct {
	walker
	visit func(SourceFile) error
	texts textSections
	roots map[rootKey][]rootAttr
	uses  []lineUse
	own   []string // names of the units
}

type textSections = map[string]io.ReaderAt

// A lineUse is a line table, and the folder that its names are relative to.
type lineUse struct {
	off    uint64
	folder string
}

// openText makes a section readable out of order; nil where it cannot be had.
func (l *lister) openText(name string) (io.ReaderAt, error) {
	s, ok := l.find(name)
	if !ok {
		return nil, nil
	}
	at, size, err := s.outOfOrder()
	if at == nil || err != nil {
		return nil, err
	}
	return io.NewSectionReader(at, 0, int64(size)), nil
}

// text returns the text at off of a section, up to its zero byte; empty where there is
// none, or a longer one than maxName.
func (l *lister) text(section string, off uint64) string {
	at := l.texts[section]
	if at == nil || off > 1<<62 {
		return ""
	}
	var b []byte
	for len(b) <= maxName {
		chunk := make([]byte, 256)
		n, _ := at.ReadAt(chunk, int64(off)+int64(len(b)))
		if i := bytes.IndexByte(chunk[:n], 0); i >= 0 {
			return string(append(b, chunk[:i]...))
		}
		if n < len(chunk) {
			return ""
		}
		b = append(b, chunk...)
	}
	return ""
}

// indexed returns the text that number of a unit's string offsets leads to.
func (l *lister) indexed(u *unit, base, number uint64) string {
	at := l.texts["str_offsets"]
	if at == nil || number > 1<<40 || base > 1<<62 {
		return ""
	}
	b := make([]byte, u.offSize)
	if _, err := at.ReadAt(b, int64(base+number*uint64(u.offSize))); err != nil {
		return ""
	}
	if u.offSize == 8 {
		return l.text("str", l.order.Uint64(b))
	}
	return l.text("str", uint64(l.order.Uint32(b)))
}

// units looks at the root of every unit of a section.
func (l *lister) units(s Section) error {
	l.section = s
	if err := l.prepare("info"); err != nil && !isFault(err) {
		return err
	}
	if l.abbrevs == nil {
		return nil
	}
	return l.through(s, func() error {
		for {
			more, err := l.padding()
			if err != nil || !more {
				return err
			}
			u, err := l.header()
			if err != nil {
				return err
			}
			l.root(&u)
			if !l.in.move(u.end) {
				return nil
			}
		}
	})
}

// A root is what the root entry of a unit says.
type root struct {
	name, folder label
	line         uint64
	hasLine      bool
	base         uint64 // of its string offsets
}

// A label is a text, or its number among the string offsets.
type label struct {
	text    string
	number  uint64
	indexed bool
}

// root reads the root entry of u.
func (l *lister) root(u *unit) {
	if u.offSize == 0 || len(l.own) >= maxUnits {
		return
	}
	r := root{base: 2 * uint64(u.offSize)} // past the head of the first contribution
	for _, a := range l.rootAttrs(u, l.in.uleb()) {
		if err := l.rootValue(u, a, &r); err != nil || l.lost || !l.in.ok() {
			l.lost = false
			break
		}
	}
	folder := l.label(u, r.base, r.folder)
	if n := len(l.uses); n > 0 && l.uses[n-1].folder == folder {
		folder = l.uses[n-1].folder // one copy
	}
	if r.hasLine {
		l.uses = append(l.uses, lineUse{r.line, folder})
	}
	if name := l.label(u, r.base, r.name); name != "" {
		l.own = append(l.own, under(folder, name))
	}
}

func (l *lister) label(u *unit, base uint64, t label) string {
	if t.indexed {
		return l.indexed(u, base, t.number)
	}
	return t.text
}

// rootValue reads one value of a root entry. What it leads to beyond the end of a
// section is no error here.
func (l *lister) rootValue(u *unit, a rootAttr, r *root) error {
	o := u.compile(a.attr, a.form)
	switch {
	case a.attr == attrName:
		return l.labelValue(u, o, &r.name)
	case a.attr == attrCompDir:
		return l.labelValue(u, o, &r.folder)
	case a.attr == attrStmtList && o.plain():
		r.line, r.hasLine = l.in.fixed(int(o.n)), true
		return nil
	case a.attr == attrStrOffsetsBase && o.plain():
		r.base = l.in.fixed(int(o.n))
		return nil
	}
	return l.pass(u, o)
}

// plain reports whether a value is a number that reader.fixed reads.
func (o op) plain() bool {
	return (o.code == opTarget || o.code == opSkip) && (o.n >= 1 && o.n <= 4 || o.n == 8)
}

// pass passes over a value.
func (l *lister) pass(u *unit, o op) error {
	if err := l.value(u, o, l.in.at()); err != nil && !isFault(err) {
		return err
	}
	return nil
}

// labelValue reads a value of the class of strings. Texts of another file are not had.
func (l *lister) labelValue(u *unit, o op, t *label) error {
	switch {
	case o.code == opText:
		t.text = l.in.name()
	case o.code == opTarget && o.to == toStr:
		t.text = l.text("str", l.in.fixed(int(o.n)))
	case o.code == opTarget && o.to == toLineStr:
		t.text = l.text("line_str", l.in.fixed(int(o.n)))
	case o.code == opIndex:
		t.number, t.indexed = l.in.number(o.n), true
	default:
		return l.pass(u, o)
	}
	return nil
}

// A rootKey names a declaration that root entries use.
type rootKey struct{ off, code uint64 }

// A rootAttr is one attribute of such a declaration.
type rootAttr struct{ attr, form uint64 }

// rootAttrs returns the attributes that the table of u declares for code; none where
// they cannot be read.
func (l *lister) rootAttrs(u *unit, code uint64) []rootAttr {
	key := rootKey{u.abbrevOff, code}
	if attrs, ok := l.roots[key]; ok {
		return attrs
	}
	a := l.abbrevs
	if a.at == nil || u.abbrevOff >= a.section.Size || a.read > maxReads+8*a.section.Size || len(l.roots) >= maxRoots {
		clear(l.roots)
		return nil
	}
	r := a.reader(u.abbrevOff, rootWindow)
	attrs := declared(r, code)
	a.read += r.at()
	l.roots[key] = attrs
	return attrs
}

// declared reads declarations up to that of code.
func declared(r *reader, code uint64) []rootAttr {
	for r.ok() {
		have := r.uleb()
		if have == 0 {
			return nil
		}
		r.uleb() // tag
		r.u8()
		var attrs []rootAttr
		for {
			a := rootAttr{r.uleb(), r.uleb()}
			if a.form == 0x21 { // implicit_const: its value is here
				r.uleb()
			}
			if a == (rootAttr{}) || !r.ok() {
				break
			}
			if have == code && len(attrs) < maxRoots {
				attrs = append(attrs, a)
			}
		}
		if have == code && r.ok() {
			return attrs
		}
	}
	return nil
}

// name reads a text and its zero byte; empty where it is longer than maxName.
func (r *reader) name() string {
	if r.fill(maxName + 1); r.pos < len(r.buf) {
		if i := bytes.IndexByte(r.buf[r.pos:min(len(r.buf), r.pos+maxName+1)], 0); i >= 0 {
			s := string(r.buf[r.pos : r.pos+i])
			r.pos += i + 1
			return s
		}
	}
	r.text()
	return ""
}

// rooted reports whether a name begins at a root of POSIX or of Windows.
func rooted(name string) bool {
	return strings.HasPrefix(name, "/") || strings.HasPrefix(name, `\`) || len(name) > 1 && name[1] == ':'
}

// under is name, relative to folder unless it is rooted.
func under(folder, name string) string {
	switch {
	case rooted(name) || folder == "":
		return name
	case name == "":
		return folder
	}
	return folder + "/" + name
}

// sortedUses orders line tables as the section has them, each once.
func (l *lister) sortedUses() []lineUse {
	slices.SortStableFunc(l.uses, func(a, b lineUse) int { return cmp.Compare(a.off, b.off) })
	return slices.CompactFunc(l.uses, func(a, b lineUse) bool { return a.off == b.off })
}
