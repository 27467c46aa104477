package symfiletest

import (
	"crypto/sha256"

	"symkeep/internal/symid"
)

// A PortablePDB describes a portable PDB.
type PortablePDB struct {
	GUID       symid.GUID
	Stamp      uint32
	Methods    int // each has source positions, unless NoPositions
	SourceLink bool

	NoPositions bool
}

// PortableIDOff is where the id of a built portable PDB stands.
const PortableIDOff = 32 + 5*20

// The blobs of a built portable PDB, and where some begin.
const (
	blobs = "\x00" + "\x04a.cs" + "\x02/\x01" + "\x06\x00\x00\x00\x05\x0a\x03" + "\x10{\"documents\":{}}"

	blobName      = 6  // a.cs, after a slash
	blobPositions = 9  // line 10, columns 3 to 8
	blobLink      = 16 // which sources to fetch where
)

// Bytes returns the PDB.
func (p PortablePDB) Bytes() []byte {
	id := append(GUIDBytes(p.GUID), le.AppendUint32(nil, p.Stamp)...)
	pdb := append(id, make([]byte, 12)...)
	tables, valid := make([]byte, 24), uint64(1<<0x30|1<<0x31)
	tables[4] = 2
	tables = append(tables, words(1, uint32(p.Methods))...)
	guid := make([]byte, 16)
	if p.SourceLink {
		guid = []byte("\x56\x05\x11\xCC\x91\xA0\x38\x4D\x9F\xEC\x25\xAB\x9A\x35\x1A\x6A")
		valid |= 1 << 0x37
		tables = append(tables, words(1)...)
	}
	le.PutUint64(tables[8:], valid)
	row := func(fields ...uint16) {
		for _, f := range fields {
			tables = le.AppendUint16(tables, f)
		}
	}
	row(blobName, 0, 0, 0) // a document
	for range p.Methods {
		if p.NoPositions {
			row(1, 0)
			continue
		}
		row(1, blobPositions)
	}
	if p.SourceLink {
		row(1<<5|7, 1, blobLink) // of the module
	}
	streams := []struct {
		name string
		data []byte
	}{{"#Pdb", pdb}, {"#~", tables}, {"#GUID", guid}, {"#Blob", []byte(blobs)}, {"#US", make([]byte, 4)}}
	b := []byte("BSJB\x01\x00\x01\x00\x00\x00\x00\x00\x0c\x00\x00\x00PDB v1.0\x00\x00\x00\x00")
	b = append(b, 0, 0, byte(len(streams)), 0)
	at := PortableIDOff
	for _, s := range streams {
		b = le.AppendUint32(b, uint32(at))
		b = le.AppendUint32(b, uint32(len(s.data)))
		b = append(append(b, s.name...), 0)
		b = append(b, make([]byte, -len(b)&3)...)
		at += len(s.data)
	}
	b = append(b, make([]byte, PortableIDOff-len(b))...)
	for _, s := range streams {
		b = append(b, s.data...)
	}
	return b
}

// Checksum returns the digest that an assembly records of p.
func (p PortablePDB) Checksum() []byte {
	b := p.Bytes()
	clear(b[PortableIDOff : PortableIDOff+20])
	sum := sha256.Sum256(b)
	return sum[:]
}
