package symfile

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"
)

// A Format is what the first bytes of a file say it is.
type Format int

// Formats. The comments give the bytes that decide.
const (
	Unknown      Format = iota
	Empty               // no bytes at all
	PE                  // MZ, and PE\0\0 where it points, or nothing else that fits
	DOS                 // MZ with an NE, LE or LX header: 16-bit or VxD
	PDB7                // Microsoft C/C++ MSF 7.00
	PDB2                // Microsoft C/C++ program database 2.00
	MangledPDB          // the MSF magic with a CR removed or added
	MSFZ                // Microsoft MSFZ Container: a compressed PDB
	Metadata            // BSJB: ECMA-335 metadata, a portable PDB
	MonoMDB             // Mono debug symbols
	ELF                 // \x7fELF
	MachO               // a thin Mach-O of either byte order
	FatMachO            // fat and fat64
	Breakpad            // MODULE
	Wasm                // \0asm
	DBG                 // DI
	BareCodeView        // NB02 to NB11
	ObjectCOFF          // COFF object, import object, bigobj
	Archive             // !<arch>: static or import library
	Bitcode             // LLVM bitcode
	Deb                 // !<arch> with debian-binary first
	RPM
	Zip
	SevenZip
	Tar
	Cabinet // MSCF
	SZDD    // MS compress, KWAJ as well
	Gzip
	Zstd
	XZ
	Bzip2
	LFSPointer
	Minidump
	Markup       // HTML, XML or JSON
	BitcodeMap   // BCSymbolMap: names that were taken out of bitcode
	LinkerScript // text that ld reads in place of a shared object
	PerfMap      // the header of a map of ReadyToRun code
	SymbolIndex  // symbol_index.json; by its name, since JSON says nothing of itself
)

// SniffLen is how many bytes from the start of a file Sniff looks at, at most; it
// reads a few more where those point.
const SniffLen = 1024

const (
	moduleRecord = "MODULE "

	pdb7Magic = "Microsoft C/C++ MSF 7.00\r\n\x1aDS\x00\x00\x00"
	pdb2Magic = "Microsoft C/C++ program database 2.00\r\n\x1aJG\x00\x00"
	msfzMagic = "Microsoft MSFZ Container\r\n\x1aALD\x00\x00"
)

var magics = []struct {
	prefix string
	format Format
}{
	{pdb7Magic, PDB7},
	{pdb2Magic, PDB2},
	{"Microsoft C/C++ MSF 7.00\n\x1aDS", MangledPDB},
	{"Microsoft C/C++ MSF 7.00\r\r\n\x1aDS", MangledPDB},
	{"Microsoft C/C++ program database 2.00\n\x1aJG", MangledPDB},
	{msfzMagic[:24], MSFZ},
	{"BSJB", Metadata},
	{"\x14\xa6\x7f\xfd\x23\x26\xe8\x45", MonoMDB},
	{"\x7fELF", ELF},
	{"\xfe\xed\xfa\xce", MachO}, {"\xfe\xed\xfa\xcf", MachO}, {"\xce\xfa\xed\xfe", MachO}, {"\xcf\xfa\xed\xfe", MachO},
	{"\xca\xfe\xba\xbf", FatMachO},
	{moduleRecord, Breakpad},
	{"\xef\xbb\xbfMODULE ", Breakpad},
	{"\xff\xfeM\x00O\x00D\x00U\x00L\x00E\x00", Breakpad},
	{"\xfe\xff\x00M\x00O\x00D\x00U\x00L\x00E", Breakpad},
	{"\x00asm", Wasm},
	{"NB02", BareCodeView}, {"NB05", BareCodeView}, {"NB07", BareCodeView}, {"NB08", BareCodeView},
	{"NB09", BareCodeView}, {"NB10", BareCodeView}, {"NB11", BareCodeView},
	{"BC\xc0\xde", Bitcode},
	{"BCSymbolMap Version:", BitcodeMap},
	{"MSCF\x00\x00\x00\x00", Cabinet},
	{"SZDD\x88\xf0\x27\x33", SZDD}, {"KWAJ\x88\xf0\x27\xd1", SZDD},
	{"\x1f\x8b", Gzip}, {"\x28\xb5\x2f\xfd", Zstd}, {"\xfd7zXZ\x00", XZ}, {"BZh", Bzip2},
	{"PK\x03\x04", Zip}, {"PK\x05\x06", Zip}, {"\xed\xab\xee\xdb", RPM}, {"7z\xbc\xaf\x27\x1c", SevenZip},
	{"version https://git-lfs.github.com/spec/", LFSPointer},
	{"MDMP", Minidump},
}

// heads keeps the memory that Sniff reads into: it is called for every file of a tree.
var heads = sync.Pool{New: func() any { return new([SniffLen]byte) }}

// Sniff returns the format of r, which holds size bytes. Content alone decides,
// never a name. A damaged file keeps the format its magic announces, so that the
// parser of that format can say what is wrong. The error is that of r.
//
// Sources: PE format, "COFF File Header" and "Import Library Format"; mach-o/fat.h;
// file(1) magic for archives and compression; git-lfs docs/spec.md.
func Sniff(r io.ReaderAt, size int64) (Format, error) {
	if size == 0 {
		return Empty, nil
	}
	head := heads.Get().(*[SniffLen]byte)
	defer heads.Put(head)
	b := head[:min(size, SniffLen)]
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return Unknown, err
	}
	for _, m := range magics {
		if bytes.HasPrefix(b, []byte(m.prefix)) && (m.prefix != moduleRecord || isModuleRecord(b)) {
			return m.format, nil
		}
	}
	switch {
	case bytes.HasPrefix(b, []byte("MZ")):
		return sniffMZ(r, size, b)
	case bytes.HasPrefix(b, []byte("\xca\xfe\xba\xbe")):
		return sniffFat(b), nil
	case bytes.HasPrefix(b, []byte("!<arch>\n")):
		if bytes.HasPrefix(b[8:], []byte("debian-binary")) {
			return Deb, nil
		}
		return Archive, nil
	case bytes.HasPrefix(b, []byte("!<thin>\n")):
		return Archive, nil
	case bytes.HasPrefix(b, []byte("DI")) && len(b) >= 6 && coffMachine(binary.LittleEndian.Uint16(b[4:])):
		return DBG, nil
	case len(b) >= 262 && string(b[257:262]) == "ustar":
		return Tar, nil
	case isMarkup(b):
		return Markup, nil
	case isPerfMap(b):
		return PerfMap, nil
	case isLinkerScript(b):
		return LinkerScript, nil
	case isObject(b, size):
		return ObjectCOFF, nil
	}
	return Unknown, nil
}

// sniffMZ tells 16-bit programs from the rest; whatever else starts with MZ is for
// the PE parser to judge.
func sniffMZ(r io.ReaderAt, size int64, b []byte) (Format, error) {
	if len(b) < 0x40 {
		return PE, nil
	}
	off := int64(binary.LittleEndian.Uint32(b[0x3c:]))
	if off+2 > size {
		return PE, nil
	}
	var sig [2]byte
	if n, err := r.ReadAt(sig[:], off); n < len(sig) {
		return Unknown, err
	}
	switch string(sig[:]) {
	case "NE", "LE", "LX":
		return DOS, nil
	}
	return PE, nil
}

// sniffFat tells a fat Mach-O from a Java class file, whose version stands where
// the number of slices does and is at least 45. A count that no fat file has is
// left to the Mach-O parser unless the bytes can be a class file.
func sniffFat(b []byte) Format {
	if len(b) < 8 {
		return Unknown
	}
	minor, major := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	if minor <= 3 && major >= 45 && major < 200 || minor == 0xffff && major >= 56 && major < 200 {
		return Unknown
	}
	return FatMachO
}

func isMarkup(b []byte) bool {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && (b[0] == '<' || b[0] == '{')
}

// isModuleRecord reports whether the first line of b is made as the record that
// Breakpad files begin with: an id of hex digits is its fourth field. Fortran modules
// begin with the same word.
func isModuleRecord(b []byte) bool {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	fields := bytes.Fields(line)
	return len(fields) >= 4 && len(bytes.Trim(fields[3], "0123456789abcdefABCDEF")) == 0
}

// isPerfMap reports whether b starts as the map of methods does that crossgen2 writes: the
// signature stands at the last RVA there is. Package perfmap has the sources.
func isPerfMap(b []byte) bool {
	const start = "FFFFFFFF 00 "
	return len(b) > len(start) && bytes.EqualFold(b[:len(start)], []byte(start))
}

// isLinkerScript reports whether b starts with a command that stands in the place of
// a shared object, behind comments. Source: ld manual, "Commands Dealing with Files".
func isLinkerScript(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	for bytes.HasPrefix(b, []byte("/*")) {
		_, rest, _ := bytes.Cut(b, []byte("*/"))
		b = bytes.TrimLeft(rest, " \t\r\n")
	}
	for _, command := range []string{"INPUT", "GROUP", "OUTPUT_FORMAT", "SEARCH_DIR"} {
		if rest, ok := bytes.CutPrefix(b, []byte(command)); ok && bytes.HasPrefix(bytes.TrimLeft(rest, " "), []byte("(")) {
			return true
		}
	}
	return false
}

// isObject reports whether b starts a COFF object, a short import object or a
// bigobj. Source: PE format, sections "COFF File Header" and "Import Library Format".
func isObject(b []byte, size int64) bool {
	if len(b) < 20 {
		return false
	}
	le := binary.LittleEndian
	if le.Uint16(b) == 0 && le.Uint16(b[2:]) == 0xffff {
		return coffMachine(le.Uint16(b[6:])) || le.Uint16(b[6:]) == 0
	}
	sections, symOff, symCount := int64(le.Uint16(b[2:])), int64(le.Uint32(b[8:])), int64(le.Uint32(b[12:]))
	return coffMachine(le.Uint16(b)) && sections > 0 && le.Uint16(b[16:]) == 0 &&
		20+40*sections <= size && symOff <= size && symOff+18*symCount <= size
}

func coffMachine(m uint16) bool {
	_, ok := COFFArch(m)
	return ok
}
