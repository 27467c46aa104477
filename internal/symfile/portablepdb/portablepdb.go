// Package portablepdb reads portable PDBs, the debug information of managed code:
// their identity, the streams they consist of, and the checksum by which an
// assembly knows its PDB. It gives facts and leaves judgement to its caller.
//
// Opening reads 4 KiB and the head of one stream; Facts reads every table and decodes
// every list of source positions, through windows of a few KiB. A File is safe for
// concurrent use.
//
// Source: .NET runtime, docs/design/specs/PortablePdb-Metadata.md; ECMA-335
// II.24.2 "File headers".
package portablepdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"symkeep/internal/symfile"
	"symkeep/internal/symid"
)

// Kinds of damage, tested with errors.Is. Errors are *symfile.FormatError and
// carry the offset, what was found and what was wanted.
var (
	ErrTruncated = errors.New("portable PDB ends too early")
	ErrRoot      = errors.New("damaged metadata header")
	ErrStreams   = errors.New("metadata that is not a portable PDB")
	ErrTables    = errors.New("damaged portable PDB tables")
)

const (
	maxStreams    = 16
	maxStreamName = 32
	headLen       = 4096 // bytes that hold every root a compiler writes
)

var le = binary.LittleEndian

// An ID is the whole identity of a portable PDB: a GUID as it is on disk and a
// stamp. An assembly records both; debuggers ask a server by the GUID alone.
type ID [20]byte

// GUID returns the part that debuggers ask by.
func (id ID) GUID() symid.GUID { return symid.GUIDFromLE(id[:16]) }

// Stamp returns the rest, which the CodeView entry of the assembly has as its
// timestamp.
func (id ID) Stamp() uint32 { return le.Uint32(id[16:]) }

// A Stream is one row of the stream table.
type Stream struct {
	Name string
	Off  int64 // in the file
	Size int64
}

// A File is one open portable PDB.
type File struct {
	Version string // "PDB v1.0"
	ID      ID
	IDOff   int64 // of ID in the file
	Streams []Stream

	r    io.ReaderAt
	size int64
}

// Open reads r, which holds size bytes. Errors wrap one of the kinds above, or are
// those of r.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f, err := openRoot(r, size)
	if err != nil {
		return nil, err
	}
	for i, s := range f.Streams {
		for _, other := range f.Streams[:i] {
			if other.Name == s.Name {
				return nil, bad(ErrRoot, s.Off, "stream "+s.Name, "a second one", "each name once")
			}
		}
	}
	pdb, ok := f.Stream("#Pdb")
	if _, tables := f.tables(); !ok || !tables || pdb.Size < 24 {
		return nil, bad(ErrStreams, 0, "streams", f.streamNames(), "#Pdb of 24 bytes or more, and #~")
	}
	b, err := symfile.Read(r, size, pdb.Off, 20, "#Pdb stream", ErrTruncated)
	if err != nil {
		return nil, err
	}
	f.ID, f.IDOff = ID(b), pdb.Off
	return f, nil
}

// CheckAssembly reads the root of an assembly's metadata, the size bytes of r: every
// stream lies in it, and tables are among them. Errors wrap one of the kinds above, or
// are those of r.
func CheckAssembly(r io.ReaderAt, size int64) error {
	f, err := openRoot(r, size)
	if err != nil {
		return err
	}
	if _, ok := f.tables(); !ok {
		return bad(ErrStreams, 0, "streams", f.streamNames(), "#~")
	}
	return nil
}

// openRoot reads the root and wants every stream to lie in the file.
func openRoot(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size}
	head, err := symfile.Read(r, size, 0, min(size, headLen), "metadata header", ErrTruncated)
	if err != nil {
		return nil, err
	}
	if err := f.readRoot(head); err != nil {
		return nil, err
	}
	for _, s := range f.Streams {
		if s.Off+s.Size > size {
			return nil, bad(ErrTruncated, s.Off, "stream "+s.Name, fmt.Sprintf("a file of %d bytes", size), fmt.Sprintf("%d bytes, to %d", s.Size, s.Off+s.Size))
		}
	}
	return f, nil
}

// readRoot reads the metadata root and the stream table.
func (f *File) readRoot(head []byte) error {
	if len(head) < 16 {
		return bad(ErrTruncated, 0, "metadata header", fmt.Sprintf("%d bytes", len(head)), "at least 16")
	}
	if string(head[:4]) != "BSJB" {
		return bad(ErrRoot, 0, "magic", fmt.Sprintf("%q", head[:4]), `"BSJB"`)
	}
	n := int64(le.Uint32(head[12:]))
	if n == 0 || n > 256 || n%4 != 0 {
		return bad(ErrRoot, 12, "length of the version", fmt.Sprint(n), "a multiple of 4 up to 256")
	}
	at := 16 + n
	if at+4 > int64(len(head)) {
		return f.short(at)
	}
	version, _, _ := bytes.Cut(head[16:at], []byte{0})
	f.Version = string(version)
	count := int(le.Uint16(head[at+2:]))
	if count > maxStreams {
		return bad(ErrRoot, at+2, "number of streams", fmt.Sprint(count), fmt.Sprintf("at most %d", maxStreams))
	}
	at += 4
	for range count {
		if at+9 > int64(len(head)) {
			return f.short(at)
		}
		name := head[at+8 : min(at+8+maxStreamName, int64(len(head)))]
		end := bytes.IndexByte(name, 0)
		if end < 0 {
			if len(name) < maxStreamName {
				return f.short(at)
			}
			return bad(ErrRoot, at+8, "stream name", fmt.Sprintf("%q", name), fmt.Sprintf("a NUL within %d bytes", maxStreamName))
		}
		f.Streams = append(f.Streams, Stream{string(name[:end]), int64(le.Uint32(head[at:])), int64(le.Uint32(head[at+4:]))})
		at += 8 + (int64(end)+4)&^3
	}
	return nil
}

func (f *File) short(at int64) error {
	return bad(ErrTruncated, at, "stream table", fmt.Sprintf("the end at %d", min(f.size, headLen)), "the whole table")
}

// Stream returns the stream of the given name.
func (f *File) Stream(name string) (Stream, bool) {
	for _, s := range f.Streams {
		if s.Name == name {
			return s, true
		}
	}
	return Stream{}, false
}

// tables returns the stream of metadata tables, compressed or not.
func (f *File) tables() (Stream, bool) {
	if s, ok := f.Stream("#~"); ok {
		return s, true
	}
	return f.Stream("#-")
}

func (f *File) streamNames() string {
	if len(f.Streams) == 0 {
		return "none"
	}
	var names []string
	for _, s := range f.Streams {
		names = append(names, fmt.Sprintf("%s(%d)", s.Name, s.Size))
	}
	return fmt.Sprintf("%q", names)
}

func bad(kind error, off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: kind}
}
