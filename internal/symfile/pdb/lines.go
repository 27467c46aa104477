package pdb

import (
	"fmt"

	"symkeep/internal/symfile"
)

// Kinds of subsection after the symbol records of a module.
// Source: microsoft/microsoft-pdb, include/cvinfo.h, DEBUG_S_SUBSECTION_TYPE.
const (
	subsecLines     = 0xF2
	subsecChecksums = 0xF4
	subsecFrames    = 0xF5
	subsecInlinees  = 0xF6
	subsecIgnore    = 0x80000000 // set: readers skip it
)

// A subsection is one part of the line information of a module.
type subsection struct {
	kind     uint32
	off, end int64 // of its data, in the stream
}

// checkLines reads the n bytes of line information at from in s: the chain of
// subsections ends where it should, and line blocks fit and name source files.
func (c *ModuleCheck) checkLines(s *Stream, from, n int64) error {
	c.files = c.files[:0]
	checksums, err := c.subsections(s, from, n, subsecChecksums, c.checkChecksums)
	if err != nil {
		return err
	}
	if checksums > 1 {
		return bad(ErrLines, from, "source file checksums", fmt.Sprintf("%d tables", checksums), "one at most")
	}
	frames, err := c.subsections(s, from, n, subsecFrames, nil)
	if err != nil {
		return err
	}
	c.Frames = c.Frames || frames > 0
	if _, err := c.subsections(s, from, n, subsecInlinees, c.checkInlinees); err != nil {
		return err
	}
	_, err = c.subsections(s, from, n, subsecLines, c.checkLineTable)
	return err
}

// subsections calls f for those of the wanted kind, and returns how many there are.
func (c *ModuleCheck) subsections(s *Stream, from, n int64, want uint32, f func(*Stream, subsection) error) (int, error) {
	found := 0
	for at, end := from, from+n; at < end; {
		b, err := symfile.Read(s, end, at, 8, "line information", ErrLines)
		if err != nil {
			return found, err
		}
		sub := subsection{le.Uint32(b), at + 8, at + 8 + int64(le.Uint32(b[4:]))}
		if sub.end > end {
			return found, bad(ErrLines, at+4, fmt.Sprintf("size of a subsection of kind %#x", sub.kind), fmt.Sprint(sub.end-sub.off), fmt.Sprintf("at most %d", end-sub.off))
		}
		if sub.kind == want {
			found++
			if f != nil {
				if err := f(s, sub); err != nil {
					return found, err
				}
			}
		}
		at = (sub.end-from+3)&^3 + from
	}
	return found, nil
}

// read returns n bytes of s at off, at most what buf holds; valid until the next call.
func (c *ModuleCheck) read(s *Stream, off, n int64) ([]byte, error) {
	b := c.buf[:min(n, int64(len(c.buf)))]
	if k, err := s.ReadAt(b, off); k < len(b) {
		return nil, fmt.Errorf("line information at %#x: %w", off, err)
	}
	return b, nil
}

// checkChecksums notes where in sub the row of each source file begins: line blocks
// name files by that.
func (c *ModuleCheck) checkChecksums(s *Stream, sub subsection) error {
	size := sub.end - sub.off
	c.files = append(c.files[:0], make([]uint64, size/256+1)...)
	for off := int64(0); off < size; {
		if size-off < 6 {
			return bad(ErrLines, sub.off+off, "source file checksum", fmt.Sprintf("%d bytes", size-off), "at least 6")
		}
		h, err := c.read(s, sub.off+off, 6)
		if err != nil {
			return err
		}
		name, n := int64(le.Uint32(h)), int64(h[4])
		switch {
		case off+6+n > size:
			return bad(ErrLines, sub.off+off+4, "source file checksum", fmt.Sprintf("%d bytes", n), fmt.Sprintf("at most %d", size-off-6))
		case !c.named || name >= c.names.size:
			return bad(ErrLines, sub.off+off, "source file name", fmt.Sprintf("offset %d", name), fmt.Sprintf("below the %d bytes of %s", c.names.size, namesStream))
		}
		c.files[off/256] |= 1 << (off / 4 % 64)
		off = (off + 6 + n + 3) &^ 3
	}
	return nil
}

// hasFile reports whether the row of a source file begins at off.
func (c *ModuleCheck) hasFile(off uint32) bool {
	i := int(off / 256)
	return off%4 == 0 && i < len(c.files) && c.files[i]&(1<<(off/4%64)) != 0
}

// checkLineTable walks the blocks of line numbers of one piece of code.
func (c *ModuleCheck) checkLineTable(s *Stream, sub subsection) error {
	const haveColumns, headerLen, blockLen = 1, 12, 12
	if sub.end-sub.off < headerLen {
		return bad(ErrLines, sub.off, "line numbers", fmt.Sprintf("%d bytes", sub.end-sub.off), fmt.Sprintf("at least %d", headerLen))
	}
	h, err := c.read(s, sub.off, headerLen)
	if err != nil {
		return err
	}
	perLine := int64(8)
	if le.Uint16(h[6:])&haveColumns != 0 {
		perLine = 12
	}
	for at := sub.off + headerLen; at < sub.end; {
		if sub.end-at < blockLen {
			return bad(ErrLines, at, "block of line numbers", fmt.Sprintf("%d bytes", sub.end-at), fmt.Sprintf("at least %d", blockLen))
		}
		b, err := c.read(s, at, blockLen)
		if err != nil {
			return err
		}
		file, lines, size := le.Uint32(b), int64(le.Uint32(b[4:])), int64(le.Uint32(b[8:]))
		switch {
		case size < blockLen || at+size > sub.end || blockLen+lines*perLine > size:
			return bad(ErrLines, at, "block of line numbers", fmt.Sprintf("%d lines in %d bytes", lines, size), fmt.Sprintf("what fits the %d left", sub.end-at))
		case !c.hasFile(file):
			return bad(ErrLines, at, "source file of a block of line numbers", fmt.Sprintf("%#x", file), "the offset of a checksum")
		}
		c.Lines = c.Lines || lines > 0
		at += size
	}
	return nil
}

// checkInlinees walks the list of functions that were inlined, each with the place of
// its source.
func (c *ModuleCheck) checkInlinees(s *Stream, sub subsection) error {
	const extraFiles = 1
	size := sub.end - sub.off
	if size < 4 {
		return bad(ErrLines, sub.off, "inlined functions", fmt.Sprintf("%d bytes", size), "at least 4")
	}
	h, err := c.read(s, sub.off, 4)
	if err != nil {
		return err
	}
	extra := le.Uint32(h) == extraFiles
	if !extra && le.Uint32(h) != 0 {
		return bad(ErrLines, sub.off, "inlined functions signature", fmt.Sprint(le.Uint32(h)), "0 or 1")
	}
	row := int64(12)
	if extra {
		row = 16
	}
	for at := sub.off + 4; at < sub.end; {
		if sub.end-at < row {
			return bad(ErrLines, at, "inlined function", fmt.Sprintf("%d bytes", sub.end-at), fmt.Sprintf("at least %d", row))
		}
		b, err := c.read(s, at, row)
		if err != nil {
			return err
		}
		if file := le.Uint32(b[4:]); !c.hasFile(file) {
			return bad(ErrLines, at+4, "source file of an inlined function", fmt.Sprintf("%#x", file), "the offset of a checksum")
		}
		at += row
		if extra {
			if more := 4 * int64(le.Uint32(b[12:])); more > sub.end-at {
				return bad(ErrLines, at-4, "further files of an inlined function", fmt.Sprint(more/4), fmt.Sprintf("at most %d", (sub.end-at)/4))
			} else {
				at += more
			}
		}
	}
	return nil
}
