package pdb

import (
	"fmt"

	"symkeep/internal/symfile"
)

// Versions of the section contributions, and the length of a row of each.
const (
	contributionsV60 = 0xF12EBA2D
	contributionsV2  = 0xF13151E4
)

// Streams that the debug header of the DBI stream numbers, in its order.
const (
	debugFPO = iota
	debugException
	debugFixup
	debugOmapTo
	debugOmapFrom
	debugSections
	debugTokens
	debugXData
	debugPData
	debugNewFPO
	debugOldSections
	debugCount
)

// debugRow is the length of a row of the debug streams that have rows.
var debugRow = map[int]int64{debugOmapTo: 8, debugOmapFrom: 8, debugSections: 40, debugOldSections: 40, debugFPO: 16}

// substream returns where the i-th substream of the DBI stream begins.
func (d DBI) substream(i int) int64 {
	off := int64(dbiHeaderLen)
	for _, n := range d.sizes[:i] {
		off += n
	}
	return off
}

// CheckTables checks what the DBI stream holds after its modules, of which there are
// count: contributions of modules to sections, the map of sections, the source files
// of modules, names, and the numbers of further streams. Errors wrap ErrDBI or are
// those of the reader.
// Source: LLVM, docs/PDB/DbiStream.rst; microsoft/microsoft-pdb, PDB/dbi/dbi.cpp.
func (f *File) CheckTables(count int) error {
	if !f.HasDBI {
		return nil
	}
	for _, check := range []func() error{f.checkContributions, f.checkSectionMap, f.checkEC, f.checkDebugHeader} {
		if err := check(); err != nil {
			return err
		}
	}
	return f.checkFiles(count)
}

func (f *File) checkContributions() error {
	n, off := f.DBI.sizes[subContributions], f.DBI.substream(subContributions)
	if n == 0 {
		return nil
	}
	s := f.Stream(streamDBI)
	b, err := symfile.Read(s, off+n, off, 4, "section contributions", ErrDBI)
	if err != nil {
		return err
	}
	row := int64(28)
	switch version := le.Uint32(b); version {
	case contributionsV60:
	case contributionsV2:
		row = 32
	default:
		return bad(ErrDBI, off, "section contributions version", fmt.Sprintf("%#x", version), fmt.Sprintf("%#x or %#x", contributionsV60, contributionsV2))
	}
	if (n-4)%row != 0 {
		return bad(ErrDBI, off, "section contributions", fmt.Sprintf("%d bytes", n), fmt.Sprintf("4 and a multiple of %d", row))
	}
	return nil
}

func (f *File) checkSectionMap() error {
	n, off := f.DBI.sizes[subSectionMap], f.DBI.substream(subSectionMap)
	if n == 0 {
		return nil
	}
	b, err := symfile.Read(f.Stream(streamDBI), off+n, off, 4, "section map", ErrDBI)
	if err != nil {
		return err
	}
	if rows := int64(le.Uint16(b)); 4+20*rows > n {
		return bad(ErrDBI, off, "section map", fmt.Sprintf("%d rows", rows), fmt.Sprintf("at most the %d of its %d bytes", (n-4)/20, n))
	}
	return nil
}

// checkEC reads the names that edit-and-continue uses.
func (f *File) checkEC() error {
	n := f.DBI.sizes[subEC]
	if n == 0 {
		return nil
	}
	_, err := readStringTable(f.Stream(streamDBI), f.DBI.substream(subEC), n, "edit-and-continue names", ErrDBI)
	return err
}

// checkFiles checks the table of each module's source files.
func (f *File) checkFiles(modules int) error {
	n, off := f.DBI.sizes[subFiles], f.DBI.substream(subFiles)
	if n == 0 {
		return nil
	}
	s := f.Stream(streamDBI)
	b, err := symfile.Read(s, off+n, off, 4, "source file table", ErrDBI)
	if err != nil {
		return err
	}
	have := int64(le.Uint16(b)) // of the number of modules, its low 16 bits
	if have != int64(modules&0xffff) {
		return bad(ErrDBI, off, "modules of the source file table", fmt.Sprint(have), fmt.Sprint(modules))
	}
	counts, err := symfile.Read(s, off+n, off+4+2*have, 2*have, "source file counts", ErrDBI)
	if err != nil {
		return err
	}
	files := int64(0)
	for i := 0; i < len(counts); i += 2 {
		files += int64(le.Uint16(counts[i:]))
	}
	at := off + 4 + 4*have
	if at+4*files > off+n {
		return bad(ErrDBI, off, "source file table", fmt.Sprintf("%d files", files), fmt.Sprintf("what fits its %d bytes", n))
	}
	return f.checkFileNames(s, at, files, off+n)
}

// checkFileNames wants the offsets of count names at at to lie in the names, which
// follow them up to end.
func (f *File) checkFileNames(s *Stream, at, count, end int64) error {
	size := end - at - 4*count
	const step = 16 << 10 // names
	for first := int64(0); first < count; first += step {
		b, err := symfile.Read(s, end, at+4*first, 4*min(step, count-first), "source file names", ErrDBI)
		if err != nil {
			return err
		}
		for i := 0; i < len(b); i += 4 {
			if name := int64(le.Uint32(b[i:])); name >= size {
				return bad(ErrDBI, at+4*first+int64(i), "source file name", fmt.Sprintf("offset %d", name), fmt.Sprintf("below %d", size))
			}
		}
	}
	return nil
}

// debugStreams returns the streams of the debug header; those it does not number are
// NoStream.
func (f *File) debugStreams() ([debugCount]uint16, error) {
	var all [debugCount]uint16
	for i := range all {
		all[i] = NoStream
	}
	n, off := f.DBI.sizes[subDebugHeader], f.DBI.substream(subDebugHeader)
	b, err := symfile.Read(f.Stream(streamDBI), off+n, off, min(n, 2*debugCount)&^1, "debug header", ErrDBI)
	for i := 0; i < len(b); i += 2 {
		all[i/2] = le.Uint16(b[i:])
	}
	return all, err
}

func (f *File) checkDebugHeader() error {
	streams, err := f.debugStreams()
	if err != nil {
		return err
	}
	off := f.DBI.substream(subDebugHeader)
	for i, no := range streams {
		if no == NoStream {
			continue
		}
		at := off + 2*int64(i)
		if int(no) >= f.Streams() {
			return bad(ErrDBI, at, fmt.Sprintf("debug stream %d", i), fmt.Sprint(no), fmt.Sprintf("below %d", f.Streams()))
		}
		if row, size := debugRow[i], f.Stream(int(no)).Size(); row > 0 && size%row != 0 {
			return bad(ErrDBI, at, fmt.Sprintf("debug stream %d", no), fmt.Sprintf("%d bytes", size), fmt.Sprintf("a multiple of %d", row))
		}
	}
	return nil
}

// HasUnwind reports whether the PDB says how to walk the stack: frame data of x86, or
// copies of an image's unwind tables.
func (f *File) HasUnwind() bool {
	if !f.HasDBI {
		return false
	}
	streams, _ := f.debugStreams()
	for _, i := range []int{debugFPO, debugNewFPO, debugXData, debugPData} {
		if no := streams[i]; no != NoStream && f.Stream(int(no)).Size() > 0 {
			return true
		}
	}
	return false
}
