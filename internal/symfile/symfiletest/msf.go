package symfiletest

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
