package elf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// DWPUnits returns the ids of the units a .dwp file holds, from its
// .debug_cu_index: DWARF 5, section 7.3.5.3, and the GNU form, version 2. Errors
// wrap ErrDWARF or ErrCompressed.
func (f *File) DWPUnits() ([]uint64, error) {
	s := f.content(".debug_cu_index")
	if s == nil {
		return nil, nil
	}
	body, size, err := f.Open(s)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	in := bufio.NewReaderSize(body, readChunk(size))
	head := make([]byte, 16)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, dwarfError(s, 0, fmt.Sprintf("%d bytes", size), "an index header of 16")
	}
	o := f.Order
	if v, v5 := o.Uint32(head), o.Uint16(head); v != 2 && v5 != 5 {
		return nil, dwarfError(s, 0, fmt.Sprintf("index version %d", v), "2 or 5")
	}
	columns, slots := uint64(o.Uint32(head[4:])), uint64(o.Uint32(head[12:]))
	if columns > 8+1 || slots*12+16 > size {
		return nil, dwarfError(s, 4, fmt.Sprintf("%d columns and %d slots", columns, slots), fmt.Sprintf("at most 9, and slots that fit %d bytes", size))
	}
	return readSlots(in, o, s, min(slots, maxDWOIDs))
}

// readSlots reads the hash table: ids, zero where a slot is empty.
func readSlots(in io.Reader, o binary.ByteOrder, s *Section, slots uint64) ([]uint64, error) {
	var ids []uint64
	b := make([]byte, 8)
	for i := range slots {
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, dwarfError(s, 16+8*i, err.Error(), "an id")
		}
		if id := o.Uint64(b); id != 0 {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
