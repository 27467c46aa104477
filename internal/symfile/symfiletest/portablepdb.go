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

// Bytes returns the PDB.
func (p PortablePDB) Bytes() []byte {
	id := append(GUIDBytes(p.GUID), le.AppendUint32(nil, p.Stamp)...)
	pdb := append(id, make([]byte, 12)...)
	tables := make([]byte, 24)
	tables[4] = 2
	le.PutUint64(tables[8:], 1<<0x30|1<<0x31)
	tables = le.AppendUint32(tables, 1)
	tables = le.AppendUint32(tables, uint32(p.Methods))
	tables = append(tables, 1, 0, 1, 0, 1, 0, 1, 0) // one document
	for range p.Methods {
		if p.NoPositions {
			tables = append(tables, 0, 0, 0, 0)
			continue
		}
		tables = append(tables, 1, 0, 1, 0)
	}
	guid := make([]byte, 16)
	if p.SourceLink {
		guid = []byte("\x56\x05\x11\xCC\x91\xA0\x38\x4D\x9F\xEC\x25\xAB\x9A\x35\x1A\x6A")
	}
	streams := []struct {
		name string
		data []byte
	}{{"#Pdb", pdb}, {"#~", tables}, {"#GUID", guid}, {"#Blob", fill(16)}, {"#US", make([]byte, 4)}}
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
