// Package symid holds the identities debuggers ask by, and the lookup paths they
// ask with. It parses, prints and compares; it does no I/O and knows no policy.
//
// Four identities are distinct types: a debug id (signature and age), a code id
// (PE timestamp and image size), a build id (an ELF note), and a symstore key
// (name/id/name, here a Key). A bare string is never an id. All values are
// immutable and safe for concurrent use.
//
// Sources: SSQP key conventions of dotnet/symstore, the SymStore folder tree,
// the debuginfod web API of elfutils, and Breakpad's symbol file layout.
package symid

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrBadID is wrapped by every error that reports malformed id text.
var ErrBadID = errors.New("malformed id")

// A GUID is 16 bytes in print order: hex of the bytes is the printed form.
// Mach-O UUIDs are GUIDs too.
type GUID [16]byte

// GUIDFromLE converts the on-disk form of PE, PDB and CodeView, whose first three
// fields are little-endian, to print order. It panics if b is shorter than 16.
func GUIDFromLE(b []byte) GUID {
	_ = b[15]
	return GUID{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6],
		b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]}
}

// ParseGUID parses 32 hex digits of either case.
func ParseGUID(s string) (GUID, error) {
	var g GUID
	if len(s) != 32 {
		return g, fmt.Errorf("guid %q: %d characters, wanted 32 hex digits: %w", s, len(s), ErrBadID)
	}
	if _, err := hex.Decode(g[:], []byte(s)); err != nil {
		return g, fmt.Errorf("guid %q: not hex: %w", s, ErrBadID)
	}
	return g, nil
}

// String returns 32 upper-case hex digits.
func (g GUID) String() string { return strings.ToUpper(hex.EncodeToString(g[:])) }

// IsZero reports whether every byte is zero, which no real file has.
func (g GUID) IsZero() bool { return g == GUID{} }

// A DebugID is a signature and an age, as a PDB, a CodeView record and a Breakpad
// file carry it. A Mach-O UUID and an ELF build id become one with age 0.
type DebugID struct {
	GUID GUID
	Age  uint32
}

// Lengths of a debug id and of a code id, in hex digits.
const (
	minDebugID, maxDebugID = 33, 40
	minCodeID, maxCodeID   = 9, 16
)

// ParseDebugID parses a debug id in Breakpad form: 32 hex digits of signature,
// then 1 to 8 hex digits of age, no separators, either case. Errors wrap ErrBadID
// and quote the input.
func ParseDebugID(s string) (DebugID, error) {
	if len(s) < minDebugID || len(s) > maxDebugID {
		return DebugID{}, fmt.Errorf("debug id %q: %d characters, wanted 33 to 40 hex digits: %w", s, len(s), ErrBadID)
	}
	g, err := ParseGUID(s[:32])
	if err != nil {
		return DebugID{}, fmt.Errorf("debug id %q: not hex: %w", s, ErrBadID)
	}
	age, err := parseHex32(s[32:])
	if err != nil {
		return DebugID{}, fmt.Errorf("debug id %q: age %q is not hex: %w", s, s[32:], ErrBadID)
	}
	return DebugID{GUID: g, Age: age}, nil
}

// String returns the Breakpad form in upper case.
func (d DebugID) String() string { return fmt.Sprintf("%s%X", d.GUID, d.Age) }

// A CodeID identifies a PE image: COFF TimeDateStamp and SizeOfImage.
type CodeID struct {
	Timestamp uint32
	ImageSize uint32
}

// ParseCodeID parses 8 hex digits of timestamp and 1 to 8 of size, either case.
func ParseCodeID(s string) (CodeID, error) {
	if len(s) < minCodeID || len(s) > maxCodeID {
		return CodeID{}, fmt.Errorf("code id %q: %d characters, wanted 9 to 16 hex digits: %w", s, len(s), ErrBadID)
	}
	ts, err := parseHex32(s[:8])
	if err != nil {
		return CodeID{}, fmt.Errorf("code id %q: not hex: %w", s, ErrBadID)
	}
	size, err := parseHex32(s[8:])
	if err != nil {
		return CodeID{}, fmt.Errorf("code id %q: not hex: %w", s, ErrBadID)
	}
	return CodeID{Timestamp: ts, ImageSize: size}, nil
}

// String returns the timestamp as 8 upper-case digits, then the size in lower
// case without padding.
func (c CodeID) String() string { return fmt.Sprintf("%08X%x", c.Timestamp, c.ImageSize) }

// MaxBuildID is the longest build id, in bytes, that any known client sends.
const MaxBuildID = 64

// A BuildID holds the raw bytes of an ELF GNU build id in its own length, 1 to
// MaxBuildID bytes, unpadded. The zero value is no id.
type BuildID string

// ParseBuildID parses hex digits of either case.
func ParseBuildID(s string) (BuildID, error) {
	if len(s) == 0 || len(s) > 2*MaxBuildID || len(s)%2 != 0 {
		return "", fmt.Errorf("build id %q: %d characters, wanted an even number of hex digits up to %d: %w",
			s, len(s), 2*MaxBuildID, ErrBadID)
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return "", fmt.Errorf("build id %q: not hex: %w", s, ErrBadID)
	}
	return BuildID(b), nil
}

// String returns lower-case hex.
func (b BuildID) String() string { return hex.EncodeToString([]byte(b)) }

// Padded returns the lower-case hex of SSQP keys: zero bytes are appended up to
// 20 bytes; a longer id stays as it is.
func (b BuildID) Padded() string {
	s := b.String()
	if len(s) < 40 {
		s += strings.Repeat("0", 40-len(s))
	}
	return s
}

// DebugID returns the Breakpad debug id of an ELF file: the first 16 bytes, zero
// padded, the first three fields byte-swapped unless the file is big-endian.
func (b BuildID) DebugID(order binary.ByteOrder) DebugID {
	var raw [16]byte
	copy(raw[:], b)
	if order == binary.BigEndian {
		return DebugID{GUID: GUID(raw)}
	}
	return DebugID{GUID: GUIDFromLE(raw[:])}
}

func parseHex32(s string) (uint32, error) {
	v, err := strconv.ParseUint(s, 16, 32)
	if err != nil || s[0] == '+' || s[0] == '-' {
		return 0, ErrBadID
	}
	return uint32(v), nil
}
