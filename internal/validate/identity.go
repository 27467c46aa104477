package validate

import (
	"context"
	"io"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile"
	"symkeep/internal/symfile/symindex"
	"symkeep/internal/symid"
)

// A Class is what policy does with a file.
type Class int

// Classes.
const (
	ClassUnknown    Class = iota // nobody recognises it
	ClassSymbol                  // an executable or symbol file: kept and served
	ClassObject                  // an object file or a library: of no use to a debugger
	ClassDump                    // a crash dump
	ClassCompressed              // one file inside compression
	ClassContainer               // an archive of files
	ClassDisguise                // empty, an LFS pointer or a web page: never what the name says
	ClassSource                  // a source file that debug information names: nothing in it can be wrong
	ClassIndex                   // it gives keys to other files of the package: kept, not served
)

// An Identity is what the headers of a file tell.
type Identity struct {
	Format symfile.Format
	Kind   catalog.FileKind
	Class  Class
	Arch   string // of all slices, joined by +
	IDs    []catalog.IDs
	Keys   []catalog.RankedKey
	Refs   []Ref

	Embedded bool // a managed image says that its portable PDB is inside
}

// A Ref is what a file says about its other half.
type Ref struct {
	Kind  RefKind
	Name  string           // base name the file records; may be empty
	Debug symid.DebugID    // RefPDB, RefPortablePDB, RefDSYM
	Stamp uint32           // RefPortablePDB: the last four bytes of the PDB's id
	Build symid.BuildID    // RefDebugLink, RefDWO: of the file itself; RefAltLink: of the target
	CRC32 uint32           // RefDebugLink: of the whole target
	Keys  []symid.IndexKey // under which the target is looked up, if the reference tells
}

// A RefKind says how a file names its other half.
type RefKind int

// Kinds of reference.
const (
	RefPDB         RefKind = iota + 1 // RSDS record
	RefPortablePDB                    // RSDS record of a managed image
	RefPDB2                           // NB10 record
	RefDebugLink                      // .gnu_debuglink
	RefAltLink                        // .gnu_debugaltlink
	RefDWO                            // skeleton units
	RefDSYM                           // a Mach-O image; the dSYM has the same UUID
)

// Ranks order files that answer the same key: the higher is served, and equal
// ranks with different bytes are a conflict. Formats use these, so that ranks
// compare across them; debug data inside an image ranks rankInside lower.
const (
	RankBare   = 10 // no symbols beyond exports: a stripped image
	RankPublic = 20 // function names: a public PDB, an ELF symbol table
	RankFull   = 30 // debug information: a private PDB, DWARF
)

// addKey adds a key if its name can stand in a lookup path.
func (id *Identity) addKey(k symid.Key, rank int) {
	if k.Valid() == nil {
		id.Keys = append(id.Keys, catalog.RankedKey{Key: k, Rank: rank})
	}
}

// Identify reads the headers of r, which holds size bytes and is called name (a
// base name), and returns what they tell. The error is one of r's.
func Identify(r io.ReaderAt, size int64, name string) (Identity, error) {
	h := newHeaderReader(r, size)
	defer h.release()
	in := newInput(context.Background(), h, size)
	id, err := identify(in, name)
	if err == nil {
		err = in.failure()
	}
	return id, err
}

func identify(in *input, name string) (Identity, error) {
	f, err := symfile.Sniff(in, in.size)
	if err != nil {
		return Identity{}, err
	}
	if f == symfile.Unknown && textNamedSym(in, name) {
		f = symfile.Breakpad
	}
	if (f == symfile.Unknown || f == symfile.Markup) && symindex.Named(name) {
		f = symfile.SymbolIndex
	}
	id := Identity{}
	if fm, ok := formats[f]; ok {
		id = fm.identify(in, in.size, name)
	} else {
		id.Class, id.Kind = classOf(f)
	}
	id.Format = f
	return id, nil
}

// classOf judges the formats that have no checks of their own.
func classOf(f symfile.Format) (Class, catalog.FileKind) {
	switch f {
	case symfile.PE:
		return ClassSymbol, catalog.KindPE
	case symfile.PDB7, symfile.PDB2, symfile.MSFZ, symfile.MangledPDB:
		return ClassSymbol, catalog.KindPDB
	case symfile.Metadata:
		return ClassSymbol, catalog.KindPortablePDB
	case symfile.ELF:
		return ClassSymbol, catalog.KindELF
	case symfile.MachO, symfile.FatMachO:
		return ClassSymbol, catalog.KindMachO
	case symfile.Breakpad:
		return ClassSymbol, catalog.KindBreakpad
	case symfile.Wasm:
		return ClassSymbol, catalog.KindWasm
	case symfile.DBG:
		return ClassSymbol, catalog.KindDBG
	case symfile.ObjectCOFF, symfile.Archive, symfile.Bitcode, symfile.LinkerScript:
		return ClassObject, catalog.KindUnknown
	case symfile.Minidump:
		return ClassDump, catalog.KindUnknown
	case symfile.Cabinet, symfile.SZDD, symfile.Gzip, symfile.Zstd, symfile.XZ, symfile.Bzip2:
		return ClassCompressed, catalog.KindContainer
	case symfile.Deb, symfile.RPM, symfile.Zip, symfile.SevenZip, symfile.Tar:
		return ClassContainer, catalog.KindContainer
	case symfile.Empty, symfile.LFSPointer, symfile.Markup:
		return ClassDisguise, catalog.KindUnknown
	}
	return ClassUnknown, catalog.KindUnknown
}
