package elf

import (
	"cmp"
	"fmt"
	"slices"
)

// A mappedFile reads a file where the process had it mapped.
type mappedFile struct {
	c    *coreReader
	rows []mapping
}

// size is where the last mapped byte of the file is.
func (m *mappedFile) size() int64 {
	end := uint64(0)
	for _, r := range m.rows {
		if r.end > r.start && r.off < 1<<62 && r.end-r.start < 1<<62 {
			end = max(end, r.off+r.end-r.start)
		}
	}
	return int64(min(end, 1<<62))
}

// ReadAt implements io.ReaderAt; off is one of the file. What was not dumped is an
// error that wraps errAbsent.
func (m *mappedFile) ReadAt(b []byte, off int64) (int, error) {
	done := 0
	for done < len(b) {
		addr, left, ok := m.address(uint64(off) + uint64(done))
		if !ok {
			return done, fmt.Errorf("%s at %#x: not mapped: %w", m.rows[0].path, off+int64(done), errAbsent)
		}
		n, err := m.c.readMemory(b[done:min(uint64(len(b)), uint64(done)+left)], addr)
		if done += n; err != nil {
			return done, fmt.Errorf("%s at %#x: %w", m.rows[0].path, off+int64(done), err)
		}
	}
	return done, nil
}

// address returns where a byte of the file is mapped, and how many from it on.
func (m *mappedFile) address(off uint64) (addr, left uint64, ok bool) {
	for _, r := range m.rows {
		if r.end > r.start && off >= r.off && off-r.off < r.end-r.start {
			at := off - r.off
			return r.start + at, r.end - r.start - at, true
		}
	}
	return 0, 0, false
}

// readMemory reads at most len(b) bytes at an address, at least one.
func (c *coreReader) readMemory(b []byte, addr uint64) (int, error) {
	i, exact := slices.BinarySearchFunc(c.loads, addr, func(s Segment, a uint64) int { return cmp.Compare(s.Addr, a) })
	if !exact {
		i--
	}
	if i < 0 || addr-c.loads[i].Addr >= c.loads[i].FileSize {
		return 0, errAbsent
	}
	s := c.loads[i]
	at := addr - s.Addr
	b = b[:min(uint64(len(b)), s.FileSize-at)]
	if s.Offset+at < s.Offset || !c.f.fits(s.Offset+at, uint64(len(b))) {
		return 0, errAbsent // the dump was cut
	}
	return readFull(c.f.r, b, int64(s.Offset+at))
}
