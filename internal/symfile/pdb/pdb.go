// Package pdb reads program databases: the MSF container, the identity, and what
// shows whether a PDB is whole and how much it tells. PDB 7.0 is read in full
// breadth, of PDB 2.0 only the identity. It gives facts and leaves judgement to
// its caller.
//
// Opening reads the header, the stream directory and the first bytes of two
// streams; Modules, CheckModules, CheckTypes, CheckTables and CheckGlobals read the
// rest, far enough to know that a debugger can. Streams are read piece by piece; none
// is ever held in memory whole except the info stream, which is bounded. A File is safe
// for concurrent use.
//
// Source: microsoft/microsoft-pdb, PDB/msf/msf.cpp and PDB/dbi/dbi.h; LLVM,
// docs/PDB/MsfFile.rst, PdbStream.rst, DbiStream.rst, ModiStream.rst and TpiStream.rst.
package pdb

import (
	"fmt"
	"io"

	"symkeep/internal/symfile"
	"symkeep/internal/symid"
)

// Numbers of streams with a fixed meaning.
const (
	streamInfo = 1
	streamTPI  = 2
	streamDBI  = 3
	streamIPI  = 4
)

// A File is one open PDB 7.0.
type File struct {
	*MSF
	Info Info
	DBI  DBI // zero if HasDBI is false
	// HasDBI is false if stream 3 does not exist or is empty, as in the PDBs that
	// compilers write. DBIErr says why it is false for a stream that has bytes.
	HasDBI  bool
	InfoErr error // Info is unusable; wraps ErrInfo
	DBIErr  error // DBI is unusable; wraps ErrDBI
}

// Open reads r, which holds size bytes. Damage of the container is an error, see
// OpenMSF; damage of the two identity streams is left in InfoErr and DBIErr, so
// that both can be reported.
func Open(r io.ReaderAt, size int64) (*File, error) {
	m, err := OpenMSF(r, size)
	if err != nil {
		return nil, err
	}
	f := &File{MSF: m}
	f.Info, f.InfoErr = readInfo(m.Stream(streamInfo))
	for name, i := range f.Info.Streams {
		if int64(i) >= int64(m.Streams()) {
			f.Info.NamesErr = bad(ErrDirectory, infoLen, fmt.Sprintf("named stream %.80q", name), fmt.Sprintf("number %d", i), fmt.Sprintf("below %d", m.Streams()))
		}
	}
	if s := m.Stream(streamDBI); s.Size() > 0 {
		f.DBI, f.DBIErr = readDBI(s)
		f.HasDBI = f.DBIErr == nil
	}
	return f, nil
}

// DebugID returns the id that images and debuggers ask by: the GUID of the info
// stream and the age of the DBI stream. Tools that add source indexes raise the
// age of the info stream only; it counts where the DBI stream has none.
func (f *File) DebugID() symid.DebugID {
	age := f.DBI.Age
	if !f.HasDBI || age == 0 {
		age = f.Info.Age
	}
	return symid.DebugID{GUID: f.Info.GUID, Age: age}
}

// Types returns how many type records the PDB holds, and 0 if its type stream
// cannot be read.
// Source: LLVM, docs/PDB/TpiStream.rst, "Stream Header".
func (f *File) Types() uint32 {
	s := f.Stream(streamTPI)
	b, err := symfile.Read(s, s.Size(), 0, 20, "type stream", ErrDirectory)
	if err != nil {
		return 0
	}
	begin, end := le.Uint32(b[8:]), le.Uint32(b[12:])
	if end < begin {
		return 0
	}
	return end - begin
}

// A Hole is a part of a stream that was never written.
type Hole struct {
	Stream int
	Blocks int
	First  int64 // file offset of the first empty block
}

// Holes reads the streams in which no block of zeros can occur (info, module
// table, symbol records, modules) and returns those that have one, by the offset
// of the stream number. The error is one of the reader.
func (f *File) Holes() ([]Hole, error) {
	var holes []Hole
	scan := func(i int, to int64) error {
		n, first, err := f.Stream(i).ZeroBlocks(0, to)
		if n > 0 {
			holes = append(holes, Hole{i, n, first})
		}
		return err
	}
	if err := scan(streamInfo, f.Stream(streamInfo).Size()); err != nil {
		return nil, err
	}
	if !f.HasDBI {
		return holes, scan(streamDBI, int64(f.BlockSize)) // its header at least
	}
	// What follows in the module table are counters, and those may be zero.
	if err := scan(streamDBI, dbiHeaderLen+f.DBI.sizes[subModules]+f.DBI.sizes[subContributions]); err != nil {
		return nil, err
	}
	if i := int(f.DBI.SymbolStream); !f.Nil(i) {
		if err := scan(i, f.Stream(i).Size()); err != nil {
			return nil, err
		}
	}
	for m, err := range f.Modules() {
		if err != nil {
			break // the caller learns of it from Modules
		}
		if m.Stream == NoStream || f.Nil(int(m.Stream)) {
			continue
		}
		if err := scan(int(m.Stream), f.Stream(int(m.Stream)).Size()); err != nil {
			return nil, err
		}
	}
	return holes, nil
}
