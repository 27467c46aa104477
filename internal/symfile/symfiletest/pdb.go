package symfiletest

import (
	"bytes"

	"symkeep/internal/symid"
)

// A PDB describes a PDB 7.0 in which every stream is well formed.
type PDB struct {
	BlockSize int // default 4096
	GUID      symid.GUID
	Age       uint32 // of the DBI stream
	InfoAge   uint32 // default Age
	Machine   uint16 // default x64
	Flags     uint16 // 1 incremental, 2 stripped
	Features  []uint32
	Modules   []Module
	Types     uint32   // type records
	Named     []string // named streams beside /names; each holds its name
	NoDBI     bool
	Unused    int // free blocks at the end
}

// A Module describes one compiland.
type Module struct {
	Name    string
	Symbols int  // bytes of symbol records, rounded up to what they take; 0 means none
	Lines   bool // has line numbers
}

// Numbers of the streams of a built PDB. The modules that have a stream come next, in
// order, then the named streams.
const (
	PDBTypes    = 2
	PDBDBI      = 3
	PDBIDs      = 4
	PDBNames    = 5
	PDBRecords  = 6
	PDBPublics  = 7
	PDBGlobals  = 8
	PDBSections = 9
	PDBTypeHash = 10
	PDBModules  = 11
)

// Bytes returns the PDB.
func (p PDB) Bytes() []byte {
	return MSF{BlockSize: p.BlockSize, Streams: p.Streams(), Unused: p.Unused}.Bytes()
}

// Streams returns the contents of the streams, by number.
func (p PDB) Streams() [][]byte {
	if p.InfoAge == 0 {
		p.InfoAge = p.Age
	}
	if p.Machine == 0 {
		p.Machine = 0x8664
	}
	records, publics, globals := sharedSymbols()
	streams := [][]byte{{}, nil, typeStream(p.Types, PDBTypeHash), nil, typeStream(0, 0xFFFF), stringTable("src\\a.c"), records, publics, globals, sectionHeader(), typeHash(p.Types)}
	if !p.NoDBI {
		var rows []byte
		for _, m := range p.Modules {
			row, data := m.bytes(len(streams))
			rows = append(rows, row...)
			if data != nil {
				streams = append(streams, data)
			}
		}
		streams[PDBDBI] = p.dbi(rows, sourceFiles(p.Modules))
	}
	streams[1] = p.info(len(streams))
	for _, name := range p.Named {
		streams = append(streams, []byte(name))
	}
	return streams
}

// info is the identity; first is the number of the first stream of Named.
func (p PDB) info(first int) []byte {
	b := words(20000404, 0x5f000000, p.InfoAge)
	b = append(b, GUIDBytes(p.GUID)...)
	names, rows := "/names\x00", words(0, PDBNames)
	for i, name := range p.Named {
		rows = append(rows, words(uint32(len(names)), uint32(first+i))...)
		names += name + "\x00"
	}
	b = append(append(b, words(uint32(len(names)))...), names...)
	n := uint32(len(rows) / 8)
	b = append(append(b, words(n, n, 1, 1<<n-1, 0)...), rows...)
	return append(b, words(p.Features...)...)
}

func (p PDB) dbi(modules, files []byte) []byte {
	b := make([]byte, 64)
	copy(b, words(0xFFFFFFFF, 19990903, p.Age))
	le.PutUint16(b[12:], PDBGlobals)
	le.PutUint16(b[16:], PDBPublics)
	le.PutUint16(b[20:], PDBRecords)
	le.PutUint32(b[24:], uint32(len(modules)))
	le.PutUint32(b[28:], 4) // contributions of no module
	le.PutUint32(b[32:], 4) // a map of no sections
	le.PutUint32(b[36:], uint32(len(files)))
	le.PutUint32(b[48:], 2*11)
	le.PutUint16(b[56:], p.Flags)
	le.PutUint16(b[58:], p.Machine)
	b = append(append(b, modules...), words(0xf12eba2d, 0)...)
	further := bytes.Repeat([]byte{0xFF}, 2*11) // streams that other PDBs have
	le.PutUint16(further[2*5:], PDBSections)
	return append(append(b, files...), further...)
}

// sectionHeader is the only row of the image's section table.
func sectionHeader() []byte {
	return append([]byte(".text\x00\x00\x00"), words(0x200, 0x1000, 0x200, 0x400, 0, 0, 0, 0x60000020)...)
}

// sourceFiles lists one file for each module with lines.
func sourceFiles(modules []Module) []byte {
	head, counts, offsets := le.AppendUint16(nil, uint16(len(modules))), []byte{}, []byte{}
	head = le.AppendUint16(head, 0)
	for _, m := range modules {
		head = le.AppendUint16(head, uint16(len(offsets)/4))
		if !m.Lines {
			counts = append(counts, 0, 0)
			continue
		}
		counts, offsets = append(counts, 1, 0), append(offsets, words(0)...)
	}
	le.PutUint16(head[2:], uint16(len(offsets)/4))
	b := append(append(append(head, counts...), offsets...), "src\\a.c\x00"...)
	return append(b, make([]byte, -len(b)&3)...)
}

// typeStream holds n pointers to integers; the hash stream belongs to them.
func typeStream(n uint32, hash uint16) []byte {
	b := append(words(20040203, 56, 0x1000, 0x1000+n, 12*n), make([]byte, 36)...)
	le.PutUint16(b[20:], hash)
	le.PutUint16(b[22:], 0xFFFF)
	le.PutUint32(b[24:], 4)
	le.PutUint32(b[28:], 0x3FFFF)
	if hash != 0xFFFF && n > 0 {
		copy(b[32:], words(0, 4*n, 4*n, 8))
	}
	for range n {
		b = append(b, words(0x1002000a, 0x74, 0x1000c)...)
	}
	return b
}

// typeHash holds a bucket for each of n type records, and where the first begins.
func typeHash(n uint32) []byte {
	return append(make([]byte, 4*n), words(0x1000, 0)...)
}

// stringTable holds an empty string and s.
func stringTable(s string) []byte {
	b := words(0xEFFEEFFE, 1, uint32(len(s)+2))
	b = append(append(b, 0), s...)
	return append(append(b, 0), words(1, 1, 1)...)
}

// sharedSymbols holds one public symbol, main, and one reference to a function.
func sharedSymbols() (records, publics, globals []byte) {
	public := symbol(0x110e, words(2, 0x10), []byte("\x01\x00main\x00"))
	records = append(public, symbol(0x1125, words(0, 4), []byte("\x01\x00main\x00"))...)
	hash := func(off int) []byte {
		bitmap := make([]byte, 516)
		bitmap[0] = 1
		b := words(0xFFFFFFFF, 0xEFFE0000+19990810, 8, 520, uint32(off+1), 1)
		return append(append(b, bitmap...), words(0)...)
	}
	h := hash(0)
	publics = append(words(uint32(len(h)), 4, 0, 0, 0, 0, 0), h...)
	return records, append(publics, words(0)...), hash(len(public))
}

// symbol is one record, padded to 4 bytes.
func symbol(kind uint16, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	body = append(body, make([]byte, -len(body)&3)...)
	b := le.AppendUint16(nil, uint16(2+len(body)))
	return append(le.AppendUint16(b, kind), body...)
}

// bytes returns the row of the module table and the stream it names; a module without
// symbols and lines has none.
func (m Module) bytes(stream int) (row, data []byte) {
	row = make([]byte, 64)
	le.PutUint16(row[34:], 0xFFFF)
	if m.Symbols > 0 || m.Lines {
		symbols := append(words(4), m.symbols()...)
		var lines []byte
		if m.Lines {
			lines = append(lines, words(0xF4, 8, 1, 0)...)                                    // one file without a checksum
			lines = append(lines, words(0xF2, 32, 0x10, 1, 0x20, 0, 1, 20, 0, 0x80000001)...) // one block of one line
		}
		le.PutUint16(row[34:], uint16(stream))
		le.PutUint32(row[36:], uint32(len(symbols)))
		le.PutUint32(row[44:], uint32(len(lines)))
		data = append(append(symbols, lines...), words(0)...)
	}
	row = append(append(row, m.Name...), 0)
	row = append(append(row, m.Name...), 0)
	return append(row, make([]byte, -len(row)&3)...), data
}

// symbols is a function with a variable, and then names of types until there are enough bytes.
func (m Module) symbols() []byte {
	if m.Symbols == 0 {
		return nil
	}
	const head = 4 // the signature before the records: scopes count from there
	name := []byte("main\x00")
	local := symbol(0x113e, words(0x74), []byte("\x00\x00x\x00"))
	end := uint32(head + len(symbol(0x1110, make([]byte, 35), name)) + len(local))
	b := symbol(0x1110, words(0, end, 0, 0x20, 4, 0x1c, 0x1000, 0x10), []byte{1, 0, 0}, name)
	b = append(append(b, local...), symbol(0x0006)...)
	for len(b) < m.Symbols {
		b = append(b, symbol(0x1108, words(0x74), fill(min(m.Symbols-len(b), 200)), []byte{0})...)
	}
	return b
}

// words returns vs as little-endian 32-bit numbers.
func words(vs ...uint32) []byte {
	var b []byte
	for _, v := range vs {
		b = le.AppendUint32(b, v)
	}
	return b
}

func fill(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i%250 + 1)
	}
	return b
}
