package elf

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"symkeep/internal/symfile"
	"symkeep/internal/symid"
)

// ErrCore is wrapped by errors about what a core dump lacks.
var ErrCore = errors.New("not a core dump that names its files")

// errAbsent says that the core dump does not hold a piece of a mapped file.
var errAbsent = errors.New("not in the core dump")

// Bounds of a core dump. A process maps a few thousand files.
const (
	maxFileNote      = 64 << 20 // bytes of the note that lists them
	maxImages        = 100_000
	maxImageSegments = 1024
	noteFile         = 0x46494c45 // NT_FILE, "FILE"
)

// A Mapped is an ELF file that a process had mapped.
type Mapped struct {
	Path     string // as the kernel knew it, without " (deleted)"
	Start    uint64 // address of its first byte
	BuildIDs []symid.BuildID
	Absent   bool // its first page or its notes were not dumped: there may be an id
}

// Core returns the ELF files that the process had mapped when it was dumped, by the
// note that lists mapped files (NT_FILE, linux/fs/binfmt_elf.c; gdb writes it too) and
// by the first pages of those files, which Linux dumps by default. Each file and id
// is listed once. Nothing else of the dump is read, so its size does not matter.
// Errors wrap ErrCore, ErrNote or are the reader's.
func (f *File) Core() ([]Mapped, error) {
	if f.Type != TypeCore {
		return nil, coreError(16, fmt.Sprintf("a file of type %d", f.Type), "type 4, a core dump")
	}
	areas, err := f.mappings()
	if err != nil {
		return nil, err
	}
	c := &coreReader{f: f}
	for _, s := range f.Segments {
		if s.Type == segLoad && s.FileSize > 0 && s.Addr+s.FileSize > s.Addr {
			c.loads = append(c.loads, s)
		}
	}
	slices.SortFunc(c.loads, func(a, b Segment) int { return cmp.Compare(a.Addr, b.Addr) })
	return c.images(areas)
}

// A mapping is one row of NT_FILE.
type mapping struct {
	path       string
	start, end uint64 // addresses
	off        uint64 // in the file, in bytes
}

// mappings reads the first NT_FILE note: u count, u page size, count rows of start, end
// and offset in pages, each as wide as an address; then count names, each with a NUL.
func (f *File) mappings() ([]mapping, error) {
	desc, off, err := f.fileNote()
	if err != nil {
		return nil, err
	}
	word := 8
	if f.Class == Class32 {
		word = 4
	}
	next := func() (v uint64) {
		if word == 4 {
			v = uint64(f.Order.Uint32(desc))
		} else {
			v = f.Order.Uint64(desc)
		}
		desc = desc[word:]
		return v
	}
	if len(desc) < 2*word {
		return nil, coreError(off, fmt.Sprintf("a list of mapped files of %d bytes", len(desc)), "a count and a page size")
	}
	count, page := next(), next()
	if count > uint64(len(desc)/(3*word)) {
		return nil, coreError(off, fmt.Sprintf("%d mapped files in %d bytes", count, len(desc)), "all of them in the note")
	}
	rows := make([]mapping, count)
	for i := range rows {
		rows[i] = mapping{start: next(), end: next(), off: next() * page}
	}
	for i := range rows {
		n := bytes.IndexByte(desc, 0)
		if n < 0 {
			return nil, coreError(off, fmt.Sprintf("%d names of %d", i, count), "all of them in the note")
		}
		rows[i].path, desc = strings.ToValidUTF8(string(desc[:n]), "\uFFFD"), desc[n+1:]
	}
	return rows, nil
}

// fileNote returns the content of the NT_FILE note and its place.
func (f *File) fileNote() ([]byte, int64, error) {
	for _, s := range f.Segments {
		if s.Type != segNote || s.FileSize == 0 {
			continue
		}
		if !f.fits(s.Offset, s.FileSize) {
			return nil, 0, truncated("note segment", s.Offset, s.FileSize, f.size)
		}
		off, size, err := f.findNote(s.Offset, s.Offset+s.FileSize)
		if err != nil || size == 0 {
			if err != nil {
				return nil, 0, err
			}
			continue
		}
		if size > maxFileNote {
			return nil, 0, coreError(int64(off), fmt.Sprintf("a list of mapped files of %d bytes", size), fmt.Sprintf("at most %d", maxFileNote))
		}
		b, err := symfile.Read(f.r, f.size, int64(off), int64(size), "list of mapped files", ErrCore)
		return b, int64(off), err
	}
	return nil, 0, coreError(0, "no list of mapped files (NT_FILE)", "one, as Linux since 3.7 and gdb write it")
}

// findNote walks 4-aligned notes and returns where the content of NT_FILE lies; a
// size of 0 says that there is none. Contents are passed over unread: registers of
// thousands of threads come first.
func (f *File) findNote(pos, end uint64) (off, size uint64, err error) {
	w := newWindow(f.r, int64(pos), int64(end), 4<<10)
	for n := 0; n < maxNotes && end-pos >= 12; n++ {
		b, err := w.at(int64(pos), 12)
		if err != nil {
			return 0, 0, err
		}
		nameSize, descSize, kind := uint64(f.Order.Uint32(b)), uint64(f.Order.Uint32(b[4:])), f.Order.Uint32(b[8:])
		off := pos + alignUp(12+nameSize, 4)
		if off+descSize > end {
			return 0, 0, &symfile.FormatError{Off: int64(pos), What: "note", Found: fmt.Sprintf("%d+%d bytes", nameSize, descSize),
				Want: fmt.Sprintf("it before %#x", end), Kind: ErrNote}
		}
		if kind == noteFile {
			return off, descSize, nil
		}
		pos = min(off+alignUp(descSize, 4), end)
	}
	return 0, 0, nil
}

func coreError(off int64, found, want string) error {
	return &symfile.FormatError{Off: off, What: "core dump", Found: found, Want: want, Kind: ErrCore}
}

// A coreReader reads memory of the process.
type coreReader struct {
	f     *File
	loads []Segment // with content, by address
}

// images looks at every mapping of a file's begin. Those behind it that are of the
// same file belong to it.
func (c *coreReader) images(rows []mapping) ([]Mapped, error) {
	var found []Mapped
	seen := map[string]bool{}
	for i := 0; i < len(rows) && len(found) < maxImages; {
		n := i + 1
		for n < len(rows) && rows[n].path == rows[i].path && rows[n].off > 0 {
			n++
		}
		m, ok, err := c.image(rows[i:n])
		if err != nil {
			return nil, err
		}
		if key := fmt.Sprintf("%s\x00%x", m.Path, m.BuildIDs); ok && !seen[key] {
			seen[key] = true
			found = append(found, m)
		}
		i = n
	}
	return found, nil
}

// image identifies one mapped file; false if it is none that is run. Without its
// first page, whoever maps code is taken for one.
func (c *coreReader) image(rows []mapping) (Mapped, bool, error) {
	m := Mapped{Path: strings.TrimSuffix(rows[0].path, " (deleted)"), Start: rows[0].start}
	if rows[0].off != 0 {
		return m, false, nil
	}
	in := &mappedFile{c, rows}
	g := &File{r: in, size: in.size()}
	h, err := g.readHeader()
	if err == nil && h.phnum > maxImageSegments {
		return m, false, nil
	}
	if err == nil {
		err = g.readSegments(h, Section{})
	}
	var id Identity
	if err == nil {
		id, err = g.Identity()
	}
	switch {
	case errors.Is(err, errAbsent):
		m.Absent = true
		return m, g.Order != nil || c.runs(rows), nil
	case errors.Is(err, ErrHeader) || errors.Is(err, ErrTruncated):
		return m, false, nil // a font, an archive of locales, whatever is mapped
	case err != nil:
		return m, false, err
	}
	m.BuildIDs = id.BuildIDs
	return m, true, nil
}

// runs reports whether any of the mappings holds code.
func (c *coreReader) runs(rows []mapping) bool {
	return slices.ContainsFunc(c.f.Segments, func(s Segment) bool {
		return s.Type == segLoad && s.Flags&1 != 0 && slices.ContainsFunc(rows, func(r mapping) bool { return r.start <= s.Addr && s.Addr < r.end })
	})
}
