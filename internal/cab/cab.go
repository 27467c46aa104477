// Package cab packs one symbol file into the stored form all answers are cut
// from, and unpacks all of it or any range. A packed file is written once and
// never changed.
//
// Up to MaxCabRaw raw bytes that form is a standard cabinet with one folder and
// one MSZIP file, so it can be sent to a debugger as it is. Above, it is a gzip
// member followed by an index. Both hold the same deflate bytes: groups of
// GroupSize raw bytes with a history of their own, cut into blocks of 32 KiB.
// A group is the unit of parallel packing, of random access and of checking:
// its CRC32C is compared before any of its bytes are released. Both containers
// describe themselves: sizes, hashes, groups and name are inside.
//
// FORMAT.md specifies version 1. The cabinet follows [MS-CAB], the blocks
// [MS-MCI] and RFC 1951, the gzip member RFC 1952. Offsets count bytes from the
// start of the file unless said otherwise; integers are little-endian.
//
// A Reader is safe for concurrent use, a Writer is not. Files, their names on
// disk, fsync and removal are left to the caller.
package cab

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// GroupSize is the number of raw bytes in a group; only the last group of a
	// file may hold fewer.
	GroupSize = 1 << 20
	// MaxCabRaw is the largest raw size of a cabinet: 65535 blocks of 32 KiB.
	MaxCabRaw = 0x7FFF8000
	// MaxCabFile is the largest cabinet: readers keep its size in a signed 32-bit
	// integer.
	MaxCabFile = 0x7FFFFFFF
	// MaxRaw is the largest raw size of any packed file, 4 TiB. It bounds the
	// index a Reader keeps in memory to 64 MiB.
	MaxRaw = 1 << 42
	// MaxName is the largest length of a member name in bytes.
	MaxName = 255

	blockSize = 32768 // raw bytes in a block, by [MS-MCI]; the last may hold fewer
)

// Errors callers may test with errors.Is.
var (
	ErrEmpty     = errors.New("empty file")                    // nothing to pack
	ErrTooLarge  = errors.New("file too large to pack")        // over MaxRaw
	ErrName      = errors.New("bad member name")               // see CheckName
	ErrSize      = errors.New("raw size differs")              // other than Options.RawSize
	ErrVerify    = errors.New("packed group decodes wrongly")  // a defect of ours or of the machine
	ErrClosed    = errors.New("writer is closed")              // Write or Close after Close or Abort
	ErrFormat    = errors.New("not a packed file")             // no file of ours, or a newer version
	ErrCorrupt   = errors.New("packed file is corrupt")        // ours once, now damaged
	ErrNoCabinet = errors.New("too large for a cabinet")       // only gzip and raw bytes are on offer
	ErrRange     = errors.New("range outside of the raw file") // offset or length out of bounds
)

// Container names the file format around the deflate bytes.
type Container string

// The two containers.
const (
	Cab Container = "cab" // a cabinet, servable as .pd_
	GZ  Container = "gz"  // a gzip member and an index
)

// Info is what a packed file says of itself.
type Info struct {
	Container    Container
	RawSize      int64    // bytes
	RawSHA256    [32]byte // of the raw bytes; the identity of the blob
	RawCRC32     uint32   // IEEE, as in the gzip trailer
	PackedSize   int64    // bytes of the file
	PackedSHA256 [32]byte // names the packed bytes; FORMAT.md has its definition
	GzipSize     int64    // bytes of the gzip answer
	Name         string   // member name, the base name of the raw file
}

// CheckName reports whether name can be the member name of a packed file: 1 to
// MaxName bytes of UTF-8, no separator of any system, no NUL, neither "." nor
// "..". Readers of cabinets take it as the name of the output file. Errors wrap
// ErrName.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty, want a base name", ErrName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: %q has %d bytes, want at most %d", ErrName, name, len(name), MaxName)
	case name == "." || name == "..":
		return fmt.Errorf("%w: %q is a directory, want a base name", ErrName, name)
	case strings.ContainsAny(name, "/\\\x00"):
		return fmt.Errorf("%w: %q holds a separator or NUL, want a base name", ErrName, name)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %q is not UTF-8", ErrName, name)
	}
	return nil
}

// MaxPacked returns how large the packed file of that many raw bytes can become, or a
// little more.
func MaxPacked(raw int64) int64 { return raw + raw/256 + 64<<10 }

// groupCount returns the number of groups of size raw bytes.
func groupCount(size int64) int { return int((size + GroupSize - 1) / GroupSize) }
