package pdb

import (
	"fmt"
	"io"

	"symkeep/internal/symfile"
)

// Versions of a type stream whose records have indexes of 32 bits. Every PDB 7.0 has
// the last one; the others are read alike.
const (
	typesV50 = 19961031
	typesV80 = 20040203
)

const (
	typesHeaderLen = 56
	firstType      = 0x1000 // lower indexes are built-in types
	minTypeBuckets = 0x1000
	maxTypeBuckets = 0x40000
)

// CheckTypes reads the two type streams record by record: the headers make sense, the
// chain of records ends where the header says and has as many as it says, records are
// as long as their kind asks for, and the hash stream exists. A stream that does not
// exist is no error. Errors wrap ErrTypes or are those of the reader.
// Source: LLVM, docs/PDB/TpiStream.rst; microsoft/microsoft-pdb, PDB/dbi/tpi.h.
func (f *File) CheckTypes() error {
	for _, t := range []struct {
		stream int
		name   string
	}{{streamTPI, "type"}, {streamIPI, "id"}} {
		if t.stream == streamIPI && !f.HasIDs() {
			continue
		}
		if err := f.checkTypeStream(f.Stream(t.stream), t.name); err != nil {
			return err
		}
	}
	return nil
}

// HasIDs reports whether stream 4 holds records of ids. Linkers before Visual Studio
// 2010 have none, and the stream may be another one.
func (f *File) HasIDs() bool {
	return f.Info.Has(FeatureVC110) || f.Info.Has(FeatureVC140)
}

type typesHeader struct {
	version, begin, end uint32
	header, records     int64 // bytes
	keyLen, buckets     uint32
	hash                *Stream // nil if there is none
	hashOff, hashLen    int64   // in hash: the bucket of each record
	indexOff, indexLen  int64   // in hash: where some records begin
}

func (f *File) readTypesHeader(s *Stream, name string) (typesHeader, error) {
	b, err := symfile.Read(s, s.Size(), 0, typesHeaderLen, name+" stream header", ErrTypes)
	if err != nil {
		return typesHeader{}, err
	}
	h := typesHeader{
		version: le.Uint32(b), header: int64(le.Uint32(b[4:])), begin: le.Uint32(b[8:]), end: le.Uint32(b[12:]),
		records: int64(le.Uint32(b[16:])), keyLen: le.Uint32(b[24:]), buckets: le.Uint32(b[28:]),
		hashOff: int64(le.Uint32(b[32:])), hashLen: int64(le.Uint32(b[36:])),
		indexOff: int64(le.Uint32(b[40:])), indexLen: int64(le.Uint32(b[44:])),
	}
	field := func(off int64, what, found, want string) error {
		return bad(ErrTypes, off, name+" stream "+what, found, want)
	}
	no := le.Uint16(b[20:])
	switch {
	case h.version < typesV50 || h.version > typesV80 && h.version < 20050000:
		return h, field(0, "version", fmt.Sprint(h.version), fmt.Sprint(typesV80))
	case h.header < typesHeaderLen || h.header > s.Size():
		return h, field(4, "header size", fmt.Sprint(h.header), fmt.Sprint(typesHeaderLen))
	case h.records > s.Size()-h.header:
		return h, field(16, "record bytes", fmt.Sprint(h.records), fmt.Sprintf("at most %d", s.Size()-h.header))
	case h.begin < firstType || h.end < h.begin || int64(h.end-h.begin) > h.records/4:
		return h, field(8, "index range", fmt.Sprintf("%#x to %#x", h.begin, h.end), fmt.Sprintf("from %#x, at most one index per 4 of %d bytes", firstType, h.records))
	case no != NoStream && int(no) >= f.Streams():
		return h, field(20, "hash stream", fmt.Sprint(no), fmt.Sprintf("below %d", f.Streams()))
	case h.keyLen != 2 && h.keyLen != 4:
		return h, field(24, "hash key size", fmt.Sprint(h.keyLen), "2 or 4")
	case h.buckets < minTypeBuckets || h.buckets > maxTypeBuckets:
		return h, field(28, "number of hash buckets", fmt.Sprint(h.buckets), fmt.Sprintf("%d to %d", minTypeBuckets, maxTypeBuckets))
	}
	if no == NoStream {
		return h, nil
	}
	h.hash = f.Stream(int(no))
	if h.hashOff+h.hashLen > h.hash.Size() || h.indexOff+h.indexLen > h.hash.Size() {
		return h, field(32, "hash buffers", fmt.Sprintf("%d bytes at %#x, %d at %#x", h.hashLen, h.hashOff, h.indexLen, h.indexOff), fmt.Sprintf("what fits the %d of stream %d", h.hash.Size(), no))
	}
	return h, nil
}

func (f *File) checkTypeStream(s *Stream, name string) error {
	if s.Size() == 0 {
		return nil
	}
	h, err := f.readTypesHeader(s, name)
	if err != nil {
		return err
	}
	q := newRecordReader(name+" record", ErrTypes)
	q.start(s, h.header, h.header+h.records)
	starts := h.starts(name)
	count := uint32(0)
	for {
		r, err := q.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = checkType(r, name)
		}
		if err == nil {
			err = starts.check(h.begin+count, r.off-h.header)
		}
		if err != nil {
			return err
		}
		count++
	}
	if want := h.end - h.begin; count != want {
		return bad(ErrTypes, 8, name+" records", fmt.Sprint(count), fmt.Sprintf("%d by the index range", want))
	}
	if err := starts.end(); err != nil {
		return err
	}
	return h.checkBuckets(name)
}

// checkBuckets wants the hash buffer to hold a bucket for each record.
func (h typesHeader) checkBuckets(name string) error {
	if h.hash == nil || h.hashLen == 0 || h.keyLen != 4 {
		return nil
	}
	if want := 4 * int64(h.end-h.begin); h.hashLen != want {
		return bad(ErrTypes, 36, name+" stream hash buffer", fmt.Sprintf("%d bytes", h.hashLen), fmt.Sprintf("%d, 4 for each record", want))
	}
	buf := make([]byte, min(h.hashLen, 64<<10))
	for off := int64(0); off < h.hashLen; off += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), h.hashLen-off)]
		if k, err := h.hash.ReadAt(b, h.hashOff+off); k < len(b) {
			return fmt.Errorf("%s stream hash buffer at %#x: %w", name, h.hashOff+off, err)
		}
		for i := 0; i < len(b); i += 4 {
			if v := le.Uint32(b[i:]); v >= h.buckets {
				return bad(ErrTypes, h.hashOff+off+int64(i), name+" hash bucket", fmt.Sprint(v), fmt.Sprintf("below %d", h.buckets))
			}
		}
	}
	return nil
}

// checkType wants a type record of a known kind to hold its fixed fields.
func checkType(r record, name string) error {
	if n, ok := typeLens[r.kind]; ok && len(r.body) < n {
		return bad(ErrTypes, r.off, fmt.Sprintf("%s record of kind %#x", name, r.kind), fmt.Sprintf("%d bytes", len(r.body)), fmt.Sprintf("at least %d", n))
	}
	var count, width int
	switch {
	case r.kind == leafArgList || r.kind == leafSubstrList:
		count, width = int(le.Uint32(r.body)), 4
	case r.kind == leafBuildInfo:
		count, width = int(le.Uint16(r.body)), 4
	default:
		return nil
	}
	if count > len(r.body)/width {
		return bad(ErrTypes, r.off, fmt.Sprintf("%s record of kind %#x", name, r.kind), fmt.Sprintf("%d elements in %d bytes", count, len(r.body)), "what fits")
	}
	return nil
}

const (
	leafArgList    = 0x1201
	leafSubstrList = 0x1604
	leafBuildInfo  = 0x1603
)

// typeLens gives the bytes that the fixed fields of a kind take; others are unknown
// or of no fixed form. Source: microsoft/microsoft-pdb, include/cvinfo.h, lf*.
var typeLens = map[uint16]int{
	0x000a:         2,  // LF_VTSHAPE
	0x1001:         6,  // LF_MODIFIER
	0x1002:         8,  // LF_POINTER
	0x1008:         12, // LF_PROCEDURE
	0x1009:         24, // LF_MFUNCTION
	leafArgList:    4,
	0x1205:         6,  // LF_BITFIELD
	0x1503:         11, // LF_ARRAY
	0x1504:         19, // LF_CLASS
	0x1505:         19, // LF_STRUCTURE
	0x1506:         11, // LF_UNION
	0x1507:         13, // LF_ENUM
	0x1519:         19, // LF_INTERFACE
	0x1601:         9,  // LF_FUNC_ID
	0x1602:         9,  // LF_MFUNC_ID
	leafBuildInfo:  2,
	leafSubstrList: 4,
	0x1605:         5,  // LF_STRING_ID
	0x1606:         12, // LF_UDT_SRC_LINE
	0x1607:         14, // LF_UDT_MOD_SRC_LINE
}
