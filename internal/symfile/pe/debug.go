package pe

import (
	"bytes"
	"fmt"
	"strings"

	"symkeep/internal/symfile"
	"symkeep/internal/symid"
)

// Types of debug entries.
const (
	DebugCodeView    = 2
	DebugRepro       = 16
	DebugEmbeddedPDB = 17
	DebugPDBChecksum = 19
	DebugLast        = 255 // above what is assigned, with room for more
)

const (
	maxDebugEntries = 1024
	maxPath         = 32 << 10 // bytes of a recorded PDB path
	portableMinor   = 0x504d   // "MP": the entry refers to a portable PDB
)

// A DebugEntry is one row of the debug directory.
type DebugEntry struct {
	Off   int64 // of the row in the file
	Stamp uint32
	Major uint16
	Minor uint16
	Type  uint32
	Size  uint32
	RVA   uint32 // 0 if the data is not loaded
	Ptr   uint32 // file offset of the data
}

// Debug reads the debug directory; an image without one gives none. A .debug file
// whose directory lies in a section without bytes has none either. Errors wrap
// ErrDebug.
// Source: PE format, "Debug Directory (Image Only)".
func (f *File) Debug() ([]DebugEntry, error) {
	d := f.Dirs[DirDebug]
	if d.RVA == 0 || d.Size == 0 {
		return nil, nil
	}
	off, ok := f.offset(d.RVA, d.Size)
	if !ok {
		if f.inEmptySection(d.RVA) {
			return nil, nil
		}
		return nil, f.badDebug(f.HeaderOff, "debug directory", fmt.Sprintf("RVA %#x, %d bytes, in no section", d.RVA, d.Size), "a place in the file")
	}
	count := d.Size / 28
	if count > maxDebugEntries {
		return nil, f.badDebug(f.HeaderOff, "debug directory", fmt.Sprintf("%d entries", count), fmt.Sprintf("at most %d", maxDebugEntries))
	}
	b, err := symfile.Read(f.r, f.size, off, 28*int64(count), "debug directory", ErrDebug)
	if err != nil {
		return nil, err
	}
	es := make([]DebugEntry, count)
	for i := range es {
		h := b[28*i:]
		es[i] = DebugEntry{
			Off: off + 28*int64(i), Stamp: le.Uint32(h[4:]), Major: le.Uint16(h[8:]), Minor: le.Uint16(h[10:]),
			Type: le.Uint32(h[12:]), Size: le.Uint32(h[16:]), RVA: le.Uint32(h[20:]), Ptr: le.Uint32(h[24:]),
		}
	}
	return es, nil
}

func (f *File) inEmptySection(rva uint32) bool {
	for _, s := range f.Sections {
		if rva >= s.VirtualAddress && int64(rva) < int64(s.VirtualAddress)+int64(s.VirtualSize) && s.End() == 0 {
			return true
		}
	}
	return false
}

// data returns where the bytes of e lie. The pointer rules; the RVA is for data
// that has none.
func (f *File) data(e DebugEntry) (int64, error) {
	off := int64(e.Ptr)
	if e.Ptr == 0 {
		var ok bool
		if off, ok = f.offset(e.RVA, e.Size); !ok {
			return 0, f.badDebug(e.Off, "debug entry", fmt.Sprintf("RVA %#x and no file offset", e.RVA), "a place in the file")
		}
	}
	if off+int64(e.Size) > f.size {
		return 0, f.badDebug(e.Off, "debug entry", fmt.Sprintf("data at %#x, %d bytes", off, e.Size), fmt.Sprintf("an end at or before %d", f.size))
	}
	return off, nil
}

// Misplaced reports whether the two places that e names differ: the one a debugger
// reads in memory, and the one a tool reads in the file.
func (f *File) Misplaced(e DebugEntry) bool {
	if e.RVA == 0 || e.Ptr == 0 {
		return false
	}
	off, ok := f.offset(e.RVA, e.Size)
	return ok && off != int64(e.Ptr)
}

// A CodeView is what an image says about its PDB.
type CodeView struct {
	Off        int64  // of the record
	NB10       bool   // PDB 2.0: Signature and Age identify; GUID is zero
	Signature  uint32 // NB10 only
	GUID       symid.GUID
	Age        uint32
	Portable   bool   // the PDB is a portable one; Stamp is the end of its id
	Stamp      uint32 // of the directory entry
	Path       string // as recorded, UTF-8 by convention; may be empty
	Terminated bool   // the path ends with a NUL inside the record
}

// DebugID returns the id by which debuggers ask for the PDB: a portable one has
// the age symid.PortableAge.
func (c CodeView) DebugID() symid.DebugID {
	if c.Portable {
		return symid.DebugID{GUID: c.GUID, Age: symid.PortableAge}
	}
	return symid.DebugID{GUID: c.GUID, Age: c.Age}
}

// Name returns the base name of Path, cut at slashes of both kinds.
func (c CodeView) Name() string { return symid.BaseName(c.Path) }

// CodeView reads the record of e, whose type must be DebugCodeView. Errors wrap
// ErrDebug.
func (f *File) CodeView(e DebugEntry) (CodeView, error) {
	off, err := f.data(e)
	if err != nil {
		return CodeView{}, err
	}
	b, err := symfile.Read(f.r, f.size, off, min(int64(e.Size), 24+maxPath), "CodeView record", ErrDebug)
	if err != nil {
		return CodeView{}, err
	}
	c := CodeView{Off: off, Portable: e.Minor == portableMinor, Stamp: e.Stamp}
	var path []byte
	switch {
	case len(b) >= 25 && string(b[:4]) == "RSDS":
		c.GUID, c.Age, path = symid.GUIDFromLE(b[4:20]), le.Uint32(b[20:]), b[24:]
	case len(b) >= 17 && string(b[:4]) == "NB10":
		c.NB10, c.Signature, c.Age, path = true, le.Uint32(b[8:]), le.Uint32(b[12:]), b[16:]
	case len(b) < 25:
		return CodeView{}, f.badDebug(off, "CodeView record", fmt.Sprintf("%d bytes", len(b)), "at least 25")
	default:
		return CodeView{}, f.badDebug(off, "CodeView signature", fmt.Sprintf("%q", b[:4]), `"RSDS" or "NB10"`)
	}
	p, _, terminated := strings.Cut(string(path), "\x00")
	c.Path, c.Terminated = strings.ToValidUTF8(p, "\uFFFD"), terminated
	return c, nil
}

// A Checksum is the digest of a portable PDB, computed with its 20-byte id zeroed.
type Checksum struct {
	Off       int64
	Algorithm string // SHA256, SHA384 or SHA512
	Digest    []byte
}

// Checksum reads the record of e, whose type must be DebugPDBChecksum. Errors wrap
// ErrDebug.
// Source: .NET runtime, docs/design/specs/PE-COFF.md, "PDB Checksum Debug Directory Entry".
func (f *File) Checksum(e DebugEntry) (Checksum, error) {
	off, err := f.data(e)
	if err != nil {
		return Checksum{}, err
	}
	b, err := symfile.Read(f.r, f.size, off, min(int64(e.Size), 256), "PDB checksum record", ErrDebug)
	if err != nil {
		return Checksum{}, err
	}
	alg, digest, ok := bytes.Cut(b, []byte{0})
	want := map[string]int{"SHA256": 32, "SHA384": 48, "SHA512": 64}[string(alg)]
	if !ok || want == 0 || len(digest) != want {
		return Checksum{}, f.badDebug(off, "PDB checksum", fmt.Sprintf("%.20q and %d bytes", alg, len(digest)), "SHA256, SHA384 or SHA512 and its digest")
	}
	return Checksum{off, string(alg), digest}, nil
}

// A DebugLink names the file that objcopy split the DWARF data into.
type DebugLink struct {
	Name  string
	CRC32 uint32 // of the whole file
}

// DebugLink reads .gnu_debuglink, and is false if there is none or it is damaged.
// Source: GDB manual, "Debugging Information in Separate Files".
func (f *File) DebugLink() (DebugLink, bool) {
	s := f.Section(".gnu_debuglink")
	if s == nil || s.End() == 0 || s.End() > f.size {
		return DebugLink{}, false
	}
	b := make([]byte, min(s.RawSize, 4096))
	if n, _ := f.r.ReadAt(b, int64(s.RawOffset)); n < len(b) {
		return DebugLink{}, false
	}
	i := bytes.IndexByte(b, 0)
	at := (i + 4) &^ 3
	if i <= 0 || at+4 > len(b) {
		return DebugLink{}, false
	}
	return DebugLink{strings.ToValidUTF8(string(b[:i]), "\uFFFD"), le.Uint32(b[at:])}, true
}

func (f *File) badDebug(off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: ErrDebug}
}
