package pdb

import "symkeep/internal/symfile"

// MarkedFree counts the blocks that streams or the directory use and the free block map
// offers to the next writer, and returns the file offset of the first. Such a PDB reads
// well; a tool that adds to it, as source indexing does, overwrites them. The error is
// one of the reader.
// Source: LLVM, docs/PDB/MsfFile.rst, "The Free Block Map".
func (m *MSF) MarkedFree() (count int, first int64, err error) {
	free, err := m.readFreeMap()
	if err != nil {
		return 0, 0, err
	}
	note := func(list []byte) {
		for ; len(list) > 0; list = list[4:] {
			if b := le.Uint32(list); free[b/8]&(1<<(b%8)) != 0 {
				if at := int64(b) * int64(m.BlockSize); count == 0 || at < first {
					first = at
				}
				count++
			}
		}
	}
	for i := range m.lists {
		if i > 0 { // stream 0 is the directory before the last commit
			note(m.Stream(i).blocks)
		}
	}
	return count, first, nil
}

// readFreeMap returns a bit for every block, 1 for a free one. A part of the map stands
// in each run of BlockSize blocks and describes eight times as many.
func (m *MSF) readFreeMap() ([]byte, error) {
	n := (int64(m.NumBlocks) + 7) / 8
	bs := int64(m.BlockSize)
	free := make([]byte, 0, n)
	for block := int64(m.FreeMap); int64(len(free)) < n; block += bs {
		if block >= int64(m.NumBlocks) {
			return append(free, make([]byte, n-int64(len(free)))...), nil // the rest was never written
		}
		part, err := symfile.Read(m.r, m.size, block*bs, min(bs, n-int64(len(free))), "free block map", ErrDirectory)
		if err != nil {
			return nil, err
		}
		free = append(free, part...)
	}
	return free, nil
}
