package symfiletest

import "symkeep/internal/symid"

// A PDB describes a PDB 7.0.
type PDB struct {
	BlockSize int // default 4096
	GUID      symid.GUID
	Age       uint32 // of the DBI stream
	InfoAge   uint32 // default Age
	Machine   uint16 // default x64
	Flags     uint16 // 1 incremental, 2 stripped
	Features  []uint32
	Modules   []Module
	Types     uint32 // records announced by the type stream
	NoDBI     bool
	Unused    int // free blocks at the end
}

// A Module describes one compiland.
type Module struct {
	Name    string
	Symbols int  // bytes of symbol records
	Lines   bool // has line numbers
}

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
	info := le.AppendUint32(nil, 20000404)
	info = le.AppendUint32(info, 0x5f000000)
	info = le.AppendUint32(info, p.InfoAge)
	info = append(info, GUIDBytes(p.GUID)...)
	info = le.AppendUint32(info, 7)
	info = append(info, "/names\x00"...)
	for _, v := range []uint32{1, 1, 1, 1, 0, 0, 5} { // one entry, its bitmaps, offset 0, stream 5
		info = le.AppendUint32(info, v)
	}
	for _, f := range p.Features {
		info = le.AppendUint32(info, f)
	}
	tpi := make([]byte, 56)
	le.PutUint32(tpi, 20040203)
	le.PutUint32(tpi[4:], 56)
	le.PutUint32(tpi[8:], 0x1000)
	le.PutUint32(tpi[12:], 0x1000+p.Types)
	streams := [][]byte{{}, info, tpi, nil, append([]byte(nil), tpi...), []byte("names"), fill(100)}
	if p.NoDBI {
		return streams
	}
	var mods []byte
	for _, m := range p.Modules {
		row := make([]byte, 64)
		le.PutUint16(row[34:], uint16(len(streams)))
		le.PutUint32(row[36:], uint32(4+m.Symbols))
		data := append(le.AppendUint32(nil, 4), fill(m.Symbols)...)
		if m.Lines {
			lines := le.AppendUint32(nil, 0xF4) // checksums come first, as linkers write them
			lines = le.AppendUint32(lines, 4)
			lines = le.AppendUint32(lines, 1)
			lines = le.AppendUint32(lines, 0xF2)
			lines = le.AppendUint32(lines, 12)
			lines = append(lines, fill(12)...)
			le.PutUint32(row[44:], uint32(len(lines)))
			data = append(data, lines...)
		}
		row = append(append(row, m.Name...), 0)
		row = append(append(row, m.Name...), 0)
		mods = append(append(mods, row...), make([]byte, -len(row)&3)...)
		streams = append(streams, data)
	}
	dbi := make([]byte, 64)
	le.PutUint32(dbi, 0xFFFFFFFF)
	le.PutUint32(dbi[4:], 19990903)
	le.PutUint32(dbi[8:], p.Age)
	le.PutUint16(dbi[20:], 6)
	le.PutUint32(dbi[24:], uint32(len(mods)))
	le.PutUint32(dbi[28:], 4)
	le.PutUint16(dbi[56:], p.Flags)
	le.PutUint16(dbi[58:], p.Machine)
	streams[3] = append(append(dbi, mods...), 0x2d, 0xba, 0x2e, 0xf1)
	return streams
}

func fill(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i%250 + 1)
	}
	return b
}

// An MSF describes the container of a PDB.
type MSF struct {
	BlockSize int // default 4096
	Streams   [][]byte
	Unused    int
}

// Bytes lays the streams out one after the other, then the directory, then the
// blocks that list the directory's blocks.
func (m MSF) Bytes() []byte {
	if m.BlockSize == 0 {
		m.BlockSize = 4096
	}
	bs := m.BlockSize
	b := make([]byte, 3*bs)
	put := func(data []byte) (blocks []byte) {
		for len(data) > 0 {
			for len(b)/bs%bs == 1 || len(b)/bs%bs == 2 {
				b = append(b, make([]byte, bs)...) // the free block maps of this interval
			}
			blocks = le.AppendUint32(blocks, uint32(len(b)/bs))
			n := min(bs, len(data))
			b = append(append(b, data[:n]...), make([]byte, bs-n)...)
			data = data[n:]
		}
		return blocks
	}
	dir := le.AppendUint32(nil, uint32(len(m.Streams)))
	var lists []byte
	for _, s := range m.Streams {
		if s == nil {
			dir = le.AppendUint32(dir, 0xFFFFFFFF)
			continue
		}
		dir = le.AppendUint32(dir, uint32(len(s)))
		lists = append(lists, put(s)...)
	}
	dir = append(dir, lists...)
	list := put(dir)
	blockMap := len(b) / bs
	for i := range (len(list) + bs - 1) / bs { // the map needs blocks in a row
		if at := (blockMap + i) % bs; at == 1 || at == 2 {
			panic("symfiletest: the block map meets a free block map; change the sizes")
		}
	}
	put(list)
	b = append(b, make([]byte, m.Unused*bs)...)
	copy(b, "Microsoft C/C++ MSF 7.00\r\n\x1aDS\x00\x00\x00")
	for i, v := range []int{bs, 1, len(b) / bs, len(dir), 0, blockMap} {
		le.PutUint32(b[32+4*i:], uint32(v))
	}
	return b
}

// PDB2 returns a PDB 2.0 with the given identity.
func PDB2(signature, age uint32) []byte {
	const page = 1024
	b := make([]byte, 4*page)
	copy(b, "Microsoft C/C++ program database 2.00\r\n\x1aJG\x00\x00")
	le.PutUint32(b[44:], page)
	le.PutUint16(b[48:], 1)
	le.PutUint16(b[50:], 4)
	le.PutUint32(b[52:], 22)
	le.PutUint16(b[60:], 2) // the directory is page 2
	root := b[2*page:]
	le.PutUint16(root, 2)
	le.PutUint32(root[12:], 12) // stream 1; stream 0 is empty
	le.PutUint16(root[20:], 3)
	info := b[3*page:]
	le.PutUint32(info, 19970604)
	le.PutUint32(info[4:], signature)
	le.PutUint32(info[8:], age)
	return b
}
