package pdb

import (
	"fmt"

	"symkeep/internal/symfile"
)

// namesStream is the name of the stream that holds the names of source files.
const namesStream = "/names"

const (
	namesHeaderLen = 12
	namesSignature = 0xEFFEEFFE
)

// stringTable is where the strings of a table lie in its stream.
type stringTable struct {
	size int64 // bytes of strings; offsets count from the first
}

// readStringTable reads the table of strings that fills the n bytes of s at off: a
// header, the strings, a hash table of their offsets, and their number. Errors are of
// the given kind.
// Source: LLVM, docs/PDB/PdbStream.rst, "The PDB string table"; microsoft/microsoft-pdb,
// PDB/include/nmt.h.
func readStringTable(s *Stream, off, n int64, what string, kind error) (stringTable, error) {
	b, err := symfile.Read(s, off+n, off, namesHeaderLen, what, kind)
	if err != nil {
		return stringTable{}, err
	}
	t := stringTable{size: int64(le.Uint32(b[8:]))}
	switch version := le.Uint32(b[4:]); {
	case le.Uint32(b) != namesSignature:
		return t, bad(kind, off, what+" signature", fmt.Sprintf("%#x", le.Uint32(b)), fmt.Sprintf("%#x", namesSignature))
	case version != 1 && version != 2:
		return t, bad(kind, off+4, what+" hash version", fmt.Sprint(version), "1 or 2")
	case t.size > n-namesHeaderLen-4:
		return t, bad(kind, off+8, what+" size", fmt.Sprint(t.size), fmt.Sprintf("at most %d", n-namesHeaderLen-4))
	}
	end := off + namesHeaderLen + t.size
	if t.size > 0 {
		last, err := symfile.Read(s, off+n, end-1, 1, what, kind)
		if err != nil {
			return t, err
		}
		if last[0] != 0 {
			return t, bad(kind, end-1, what+" end", fmt.Sprintf("%#x", last[0]), "a NUL after the last string")
		}
	}
	b, err = symfile.Read(s, off+n, end, 4, what+" hash table", kind)
	if err != nil {
		return t, err
	}
	if buckets := int64(le.Uint32(b)); end+4+4*buckets+4 > off+n {
		return t, bad(kind, end, what+" hash table", fmt.Sprintf("%d buckets", buckets), fmt.Sprintf("what fits the %d bytes left", off+n-end))
	}
	return t, nil
}

// readNames reads the table of source file names. A PDB without line numbers may have
// none: ok is false then.
func (f *File) readNames() (t stringTable, ok bool, err error) {
	i, ok := f.Info.Streams[namesStream]
	if !ok {
		return t, false, nil
	}
	if f.Nil(int(i)) {
		return t, false, bad(ErrLines, 0, "stream "+namesStream, fmt.Sprintf("number %d", i), "one that exists")
	}
	s := f.Stream(int(i))
	t, err = readStringTable(s, 0, s.Size(), namesStream, ErrLines)
	return t, err == nil, err
}
