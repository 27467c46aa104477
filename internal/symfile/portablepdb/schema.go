package portablepdb

// Numbers of the tables that portable PDBs have, and of one table of the assembly.
const (
	tableMethodDef = 0x06
	tableDocument  = 0x30 + iota - 1
	tableMethodDebug
	tableLocalScope
	tableLocalVariable
	tableLocalConstant
	tableImportScope
	tableStateMachine
	tableCustomDebug
	tableFirst = tableDocument
	tableCount = 64
)

// A column says what a field of a row is: how wide, and what it may hold.
type column struct {
	kind  columnKind
	table int // columnRow, columnList: the table whose rows it numbers
}

type columnKind int

const (
	columnU16    columnKind = iota
	columnU32               // of 4 bytes whatever the tables hold
	columnString            // an offset in #Strings
	columnGUID              // a number in #GUID, from 1; 0 is none
	columnBlob              // an offset in #Blob
	columnRow               // a row number, from 1; 0 is none
	columnList              // the first row of a list: one past the last row if it is empty
	columnParent            // a row of one of parentTables, and which
)

// schemas gives the columns of each table from tableFirst on.
// Source: PortablePdb-Metadata.md, "Document Table: 0x30" to "CustomDebugInformation
// Table: 0x37".
var schemas = [...][]column{
	tableDocument - tableFirst:      {{kind: columnBlob}, {kind: columnGUID}, {kind: columnBlob}, {kind: columnGUID}},
	tableMethodDebug - tableFirst:   {{columnRow, tableDocument}, {kind: columnBlob}},
	tableLocalScope - tableFirst:    {{columnRow, tableMethodDef}, {columnRow, tableImportScope}, {columnList, tableLocalVariable}, {columnList, tableLocalConstant}, {kind: columnU32}, {kind: columnU32}},
	tableLocalVariable - tableFirst: {{kind: columnU16}, {kind: columnU16}, {kind: columnString}},
	tableLocalConstant - tableFirst: {{kind: columnString}, {kind: columnBlob}},
	tableImportScope - tableFirst:   {{columnRow, tableImportScope}, {kind: columnBlob}},
	tableStateMachine - tableFirst:  {{columnRow, tableMethodDef}, {columnRow, tableMethodDef}},
	tableCustomDebug - tableFirst:   {{kind: columnParent}, {kind: columnGUID}, {kind: columnBlob}},
}

// parentTables are the tables whose rows custom debug information belongs to, by the
// tag in the low five bits. Source: PortablePdb-Metadata.md, "HasCustomDebugInformation".
var parentTables = [...]int{
	0x06, 0x04, 0x01, 0x02, 0x08, 0x09, 0x0a, 0x00, 0x0e, 0x11, 0x14, 0x17, 0x1a, 0x1b, 0x20, 0x23,
	0x26, 0x27, 0x28, 0x2a, 0x2c, 0x2b, tableDocument, tableLocalScope, tableLocalVariable, tableLocalConstant, tableImportScope,
}

const parentTagBits = 5

// width returns the bytes that c takes.
func (t *tables) width(c column) int {
	wide := false
	switch c.kind {
	case columnU16:
	case columnU32:
		wide = true
	case columnString:
		wide = t.heaps&1 != 0
	case columnGUID:
		wide = t.heaps&2 != 0
	case columnBlob:
		wide = t.heaps&4 != 0
	case columnRow, columnList:
		wide = t.rows[c.table] > 0xFFFF
	case columnParent:
		for _, table := range parentTables {
			wide = wide || t.rows[table] >= 1<<(16-parentTagBits)
		}
	}
	if wide {
		return 4
	}
	return 2
}
