package pdb

import (
	"fmt"
	"slices"

	"symkeep/internal/symfile"
	"symkeep/internal/symid"
)

// Feature codes at the end of the info stream.
const (
	FeatureVC110       = 20091201
	FeatureVC140       = 20140508
	FeatureNoTypeMerge = 0x4D544F4E // NOTM
	FeatureFastLink    = 0x494E494D // MINI: the symbols stay in object files
)

const (
	versionVC70   = 19990604 // the first with a GUID
	versionNewest = 20140508 // what comes after it is not known
	infoLen       = 28
	maxInfo       = 16 << 20 // bytes of the info stream that are read
)

// infoVersions are all that were given to info streams with a GUID.
var infoVersions = []uint32{versionVC70, 20000404, 20030901, 20091201, versionNewest}

// Info is the identity stream.
type Info struct {
	Version   uint32
	Signature uint32
	Age       uint32 // raised by every tool that writes to the PDB
	GUID      symid.GUID
	Streams   map[string]uint32 // named streams: name to number
	Features  []uint32

	// NamesErr says why Streams and Features are not whole; it wraps ErrDirectory.
	NamesErr error
}

// Has reports whether a feature code is set.
func (i Info) Has(feature uint32) bool {
	for _, f := range i.Features {
		if f == feature {
			return true
		}
	}
	return false
}

// readInfo reads stream 1. A damaged table of names costs the features that
// follow it but not the identity.
// Source: LLVM, docs/PDB/PdbStream.rst; NamedStreamMap.cpp, HashTable.h.
func readInfo(s *Stream) (Info, error) {
	if s.Size() < infoLen {
		return Info{}, bad(ErrInfo, 0, "info stream", fmt.Sprintf("%d bytes", s.Size()), fmt.Sprintf("at least %d", infoLen))
	}
	b, err := symfile.Read(s, s.Size(), 0, min(s.Size(), maxInfo), "info stream", ErrInfo)
	if err != nil {
		return Info{}, err
	}
	i := Info{Version: le.Uint32(b), Signature: le.Uint32(b[4:]), Age: le.Uint32(b[8:]), GUID: symid.GUIDFromLE(b[12:])}
	if i.Version < versionVC70 {
		return i, bad(ErrInfo, 0, "info stream version", fmt.Sprint(i.Version), fmt.Sprintf("%d or later, which has a GUID", versionVC70))
	}
	if i.Version < versionNewest && !slices.Contains(infoVersions, i.Version) {
		return i, bad(ErrInfo, 0, "info stream version", fmt.Sprint(i.Version), fmt.Sprintf("one of %v", infoVersions))
	}
	d := cursor{b: b[infoLen:]}
	i.Streams = d.namedStreams()
	if d.bad {
		i.NamesErr = bad(ErrDirectory, infoLen, "named streams", fmt.Sprintf("a table that does not fit the %d bytes of the info stream", s.Size()), "names, a count, two bitmaps and a row for each name")
	}
	for !d.bad && len(d.b) >= 4 {
		f := d.u32()
		i.Features = append(i.Features, f)
		if f == FeatureVC110 {
			break // such files end here, with or without other bytes
		}
	}
	return i, nil
}

// A cursor reads little-endian fields; past the end it gives zeros and turns bad.
type cursor struct {
	b   []byte
	bad bool
}

func (d *cursor) take(n uint32) []byte {
	if uint64(n) > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *cursor) u32() uint32 {
	if p := d.take(4); p != nil {
		return le.Uint32(p)
	}
	return 0
}

// bitmap reads a word count and words, and returns the number of bits set.
func (d *cursor) bitmap() int {
	words := d.u32()
	if uint64(words)*4 > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return 0
	}
	set := 0
	for range words {
		for w := d.u32(); w != 0; w &= w - 1 {
			set++
		}
	}
	return set
}

// namedStreams reads the table that maps names to stream numbers.
func (d *cursor) namedStreams() map[string]uint32 {
	names := d.take(d.u32())
	count, _ := d.u32(), d.u32() // entries, capacity
	present := d.bitmap()
	d.bitmap() // deleted
	if d.bad || uint32(present) != count || uint64(count)*8 > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	m := make(map[string]uint32, count)
	for range count {
		off, stream := d.u32(), d.u32()
		if uint64(off) >= uint64(len(names)) {
			continue
		}
		name := names[off:]
		for k, c := range name {
			if c == 0 {
				name = name[:k]
				break
			}
		}
		m[string(name)] = stream
	}
	return m
}
