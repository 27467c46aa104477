package portablepdb

import (
	"bytes"
	"fmt"
	"math/bits"

	"symkeep/internal/symfile"
)

// Facts tell how much a PDB gives to a debugger.
type Facts struct {
	Documents      int
	Variables      int
	SequencePoints bool // a method has source positions
	SourceLink     bool // says where to fetch sources
	EmbeddedSource bool
}

// Well-known kinds of custom debug information, as GUIDs on disk.
var (
	kindSourceLink     = []byte("\x56\x05\x11\xCC\x91\xA0\x38\x4D\x9F\xEC\x25\xAB\x9A\x35\x1A\x6A")
	kindEmbeddedSource = []byte("\x1B\x57\x8A\x0E\x26\x69\x6E\x46\xB4\xAD\x8A\xB0\x46\x11\xF5\xFE")
)

// tables are the metadata tables while they are read.
type tables struct {
	f     *File
	s     Stream // #~
	heaps byte   // which heaps have wide offsets
	rows  [tableCount]uint32
	offs  [len(schemas)]int64 // in s
	facts Facts

	strings     Stream
	rowBytes    *window // of s
	guids       *window
	names, text *window // both of #Blob: names of documents, positions of methods
}

// Facts reads all tables: every row refers to rows and heap items that exist, the
// names of documents and the positions of methods can be decoded. The error wraps
// ErrTables, or is one of the reader. A PDB that holds tables of the assembly as well
// is not judged beyond its row counts.
func (f *File) Facts() (Facts, error) {
	t := &tables{f: f}
	t.s, _ = f.tables()
	judged, err := t.readHeader()
	if err == nil && judged {
		err = t.check()
	}
	return t.facts, err
}

// readHeader reads the row counts, of this PDB and of the assembly, and finds where
// each table begins. It is false for a PDB with tables of another kind.
// Source: ECMA-335 II.24.2.6; PortablePdb-Metadata.md, "#Pdb stream".
func (t *tables) readHeader() (judged bool, err error) {
	f := t.f
	head, err := symfile.Read(f.r, f.size, t.s.Off, min(t.s.Size, 24+4*tableCount+4), "metadata tables", ErrTables)
	if err != nil {
		return false, err
	}
	if len(head) < 24 {
		return false, bad(ErrTables, t.s.Off, "metadata tables", fmt.Sprintf("%d bytes", len(head)), "at least 24")
	}
	const extraData = 0x40
	valid := le.Uint64(head[8:])
	t.heaps = head[6]
	at := int64(24 + 4*bits.OnesCount64(valid))
	if t.heaps&extraData != 0 {
		at += 4
	}
	if at > int64(len(head)) {
		return false, bad(ErrTables, t.s.Off+8, "metadata tables", fmt.Sprintf("%d bytes", len(head)), fmt.Sprintf("at least %d", at))
	}
	if err := t.readAssemblyRows(); err != nil {
		return false, err
	}
	for i, next := 0, 24; i < tableCount; i++ {
		if valid>>i&1 != 0 {
			t.rows[i] = le.Uint32(head[next:])
			next += 4
		}
	}
	t.facts.Documents, t.facts.Variables = int(t.rows[tableDocument]), int(t.rows[tableLocalVariable])
	if valid&(1<<tableFirst-1) != 0 || valid>>(tableFirst+len(schemas)) != 0 {
		return false, nil
	}
	for i := range schemas {
		t.offs[i] = at
		at += int64(t.rows[tableFirst+i]) * t.rowWidth(i)
	}
	if at > t.s.Size {
		return false, bad(ErrTables, t.s.Off+24, "metadata tables", fmt.Sprintf("rows of %d bytes", at), fmt.Sprintf("what fits the %d of %s", t.s.Size, t.s.Name))
	}
	return true, nil
}

// maxAssemblyRows is the largest number that a row can have: a token has 24 bits for it.
// ECMA-335, section III.1.9.
const maxAssemblyRows = 1<<24 - 1

// readAssemblyRows reads the row counts of the assembly that the PDB refers to.
func (t *tables) readAssemblyRows() error {
	f := t.f
	s, _ := f.Stream("#Pdb")
	b, err := symfile.Read(f.r, f.size, s.Off, min(s.Size, 32+4*tableCount), "#Pdb stream", ErrTables)
	if err != nil {
		return err
	}
	if len(b) < 32 {
		return bad(ErrTables, s.Off, "#Pdb stream", fmt.Sprintf("%d bytes", len(b)), "at least 32")
	}
	valid := le.Uint64(b[24:])
	if need := 32 + 4*bits.OnesCount64(valid); need > len(b) {
		return bad(ErrTables, s.Off+24, "#Pdb stream", fmt.Sprintf("%d bytes", s.Size), fmt.Sprintf("at least %d", need))
	}
	for i, next := 0, 32; i < tableCount; i++ {
		if valid>>i&1 != 0 {
			t.rows[i] = le.Uint32(b[next:])
			if t.rows[i] > maxAssemblyRows {
				return bad(ErrTables, s.Off+int64(next), fmt.Sprintf("rows of table %#x of the assembly", i), fmt.Sprint(t.rows[i]), fmt.Sprintf("at most %d", maxAssemblyRows))
			}
			next += 4
		}
	}
	return nil
}

func (t *tables) rowWidth(i int) int64 {
	n := 0
	for _, c := range schemas[i] {
		n += t.width(c)
	}
	return int64(n)
}

// check reads every row.
func (t *tables) check() error {
	open := func(s Stream) *window { return &window{r: t.f.r, s: s} }
	t.strings, _ = t.f.Stream("#Strings")
	guids, _ := t.f.Stream("#GUID")
	blobs, _ := t.f.Stream("#Blob")
	t.rowBytes, t.guids, t.names, t.text = open(t.s), open(guids), open(blobs), open(blobs)
	for i := range schemas {
		width := t.rowWidth(i)
		for no := range t.rows[tableFirst+i] {
			row, err := t.row(i, t.offs[i]+int64(no)*width)
			if err != nil {
				return err
			}
			if err := t.checkRow(tableFirst+i, row); err != nil {
				return err
			}
		}
	}
	return nil
}

// row returns the fields of the row of the i-th table at off, bounds checked.
func (t *tables) row(i int, off int64) (fields [6]uint32, err error) {
	b, err := t.rowBytes.bytes(off, t.rowWidth(i))
	if err != nil {
		return fields, err
	}
	for k, c := range schemas[i] {
		v, n := uint32(le.Uint16(b)), t.width(c)
		if n == 4 {
			v = le.Uint32(b)
		}
		if limit, bounded := t.limit(c, v); bounded && int64(v) > limit {
			return fields, bad(ErrTables, t.s.Off+off, fmt.Sprintf("column %d of a row of table %#x", k, tableFirst+i), fmt.Sprint(v), fmt.Sprintf("at most %d", limit))
		}
		fields[k], b = v, b[n:]
	}
	return fields, nil
}

// limit returns the highest value that c may have; v is its value.
func (t *tables) limit(c column, v uint32) (limit int64, bounded bool) {
	switch c.kind {
	case columnString:
		return max(t.strings.Size-1, 0), true
	case columnGUID:
		return t.guids.s.Size / 16, true
	case columnBlob:
		return max(t.names.s.Size-1, 0), true
	case columnRow:
		return int64(t.rows[c.table]), c.table >= tableFirst || t.rows[c.table] > 0
	case columnList:
		return int64(t.rows[c.table]) + 1, true
	case columnParent:
		tag := v & (1<<parentTagBits - 1)
		if int(tag) >= len(parentTables) {
			return 0, true
		}
		rows := int64(t.rows[parentTables[tag]])
		return rows<<parentTagBits | int64(tag), rows > 0
	}
	return 0, false
}

// checkRow looks behind the fields of the tables that tell something.
func (t *tables) checkRow(table int, row [6]uint32) error {
	switch table {
	case tableDocument:
		return t.checkName(row[0])
	case tableMethodDebug:
		if row[1] == 0 {
			return nil
		}
		t.facts.SequencePoints = true
		return t.checkPositions(row[1], row[0])
	case tableLocalConstant, tableImportScope:
		_, _, err := t.text.blob(row[1])
		return err
	case tableCustomDebug:
		return t.checkCustom(row[1], row[2])
	}
	return nil
}

// checkName decodes the name of a document: a separator, then a blob for each part.
// Source: PortablePdb-Metadata.md, "Document Name Blob".
func (t *tables) checkName(index uint32) error {
	off, n, err := t.names.blob(index)
	if err != nil || n == 0 {
		return err
	}
	b, err := t.names.bytes(off, n)
	if err != nil {
		return err
	}
	for parts := b[1:]; len(parts) > 0; {
		part, k := compressed(parts)
		if k == 0 {
			return bad(ErrTables, t.names.s.Off+off, "name of a document", fmt.Sprintf("%.40x", b), "a list of numbers")
		}
		if _, _, err := t.text.blob(part); err != nil {
			return err
		}
		parts = parts[k:]
	}
	return nil
}

// checkCustom notes the kinds that lead to sources.
func (t *tables) checkCustom(kind, value uint32) error {
	if _, _, err := t.text.blob(value); err != nil || kind == 0 {
		return err
	}
	g, err := t.guids.bytes(16*int64(kind-1), 16)
	if err != nil {
		return err
	}
	t.facts.SourceLink = t.facts.SourceLink || bytes.Equal(g, kindSourceLink)
	t.facts.EmbeddedSource = t.facts.EmbeddedSource || bytes.Equal(g, kindEmbeddedSource)
	return nil
}
