// Package symfiletest builds small symbol files from a description, for tests:
// each is one that a linker could have written, unless the description says
// otherwise. It is imported by tests only and panics on a description it cannot
// build.
package symfiletest

import (
	"bytes"
	"compress/flate"
	"encoding/binary"

	"symkeep/internal/symid"
)

var le = binary.LittleEndian

// A PE describes an image of two sections, .text and .rdata.
type PE struct {
	Machine     uint16 // default x64
	Timestamp   uint32
	SizeOfImage uint32 // default 0x3000
	CheckSum    uint32
	PE32        bool
	Records     []CodeView
	Repro       bool
	Embedded    []byte // a portable PDB to embed
	Checksum    []byte // SHA-256 of the portable PDB, its id zeroed
	ILOnly      bool
	TextName    string // default .text
	Certificate []byte // appended
	Unwind      bool   // has an unwind table of one function
}

// A CodeView describes one debug record.
type CodeView struct {
	GUID     symid.GUID
	Age      uint32
	Path     string
	Portable bool
	Stamp    uint32
	NB10     bool // Stamp is the signature
}

// Offsets of fields that tests damage.
const (
	PEHeaderOff   = 0x80
	PESectionsOff = PEHeaderOff + 24 + 240 // PE32+
	PETextOff     = 0x400
	PERdataOff    = 0x600
)

const rdataRVA = 0x2000

// Bytes returns the image.
func (p PE) Bytes() []byte {
	def := func(v *uint32, d uint32) {
		if *v == 0 {
			*v = d
		}
	}
	def(&p.SizeOfImage, 0x3000)
	if p.Machine == 0 {
		p.Machine = 0x8664
	}
	if p.TextName == "" {
		p.TextName = ".text"
	}
	rdata, debugSize, clrRVA, unwindRVA := p.rdata()
	optSize, dirs := 240, 108
	if p.PE32 {
		optSize, dirs = 224, 92
	}
	b := make([]byte, PERdataOff)
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], PEHeaderOff)
	h := b[PEHeaderOff:]
	copy(h, "PE\x00\x00")
	le.PutUint16(h[4:], p.Machine)
	le.PutUint16(h[6:], 2)
	le.PutUint32(h[8:], p.Timestamp)
	le.PutUint16(h[20:], uint16(optSize))
	le.PutUint16(h[22:], 0x22)
	o := h[24:]
	le.PutUint16(o, 0x20b)
	if p.PE32 {
		le.PutUint16(o, 0x10b)
	}
	le.PutUint32(o[56:], p.SizeOfImage)
	le.PutUint32(o[60:], 0x400)
	le.PutUint32(o[64:], p.CheckSum)
	le.PutUint16(o[68:], 3)
	le.PutUint32(o[dirs:], 16)
	dir := func(i int, at, n uint32) {
		le.PutUint32(o[dirs+4+8*i:], at)
		le.PutUint32(o[dirs+8+8*i:], n)
	}
	if debugSize > 0 {
		dir(6, rdataRVA, debugSize)
	}
	if p.Unwind {
		dir(3, unwindRVA, 12)
	}
	if p.ILOnly {
		dir(14, clrRVA, 72)
	}
	if len(p.Certificate) > 0 {
		dir(4, uint32(PERdataOff+len(rdata)), uint32(len(p.Certificate)))
	}
	section := func(at int, name string, rva, off, size, flags uint32) {
		copy(o[optSize+at:], name)
		for i, v := range []uint32{size, rva, size, off} {
			le.PutUint32(o[optSize+at+8+4*i:], v)
		}
		le.PutUint32(o[optSize+at+36:], flags)
	}
	section(0, p.TextName, 0x1000, PETextOff, 0x200, 0x60000020)
	section(40, ".rdata", rdataRVA, PERdataOff, uint32(len(rdata)), 0x40000040)
	b[PETextOff] = 0xc3
	return append(append(b, rdata...), p.Certificate...)
}

// rdata lays out the debug directory, its records, the managed header with metadata, and
// the unwind table.
func (p PE) rdata() (b []byte, debugSize, clrRVA, unwindRVA uint32) {
	type entry struct {
		typ, stamp, version uint32
		data                []byte
	}
	var entries []entry
	for _, cv := range p.Records {
		entries = append(entries, entry{2, cv.Stamp, cv.version(), cv.bytes()})
	}
	if p.Checksum != nil {
		entries = append(entries, entry{19, 0, 1, append([]byte("SHA256\x00"), p.Checksum...)})
	}
	if p.Repro {
		entries = append(entries, entry{typ: 16})
	}
	if p.Embedded != nil {
		var z bytes.Buffer
		z.WriteString("MPDB")
		z.Write(le.AppendUint32(nil, uint32(len(p.Embedded))))
		w, _ := flate.NewWriter(&z, flate.BestSpeed)
		w.Write(p.Embedded)
		w.Close()
		entries = append(entries, entry{17, 0, 0x01000100, z.Bytes()})
	}
	debugSize = uint32(28 * len(entries))
	b = make([]byte, debugSize)
	for i, e := range entries {
		h := b[28*i:]
		le.PutUint32(h[4:], e.stamp)
		le.PutUint32(h[8:], e.version)
		le.PutUint32(h[12:], e.typ)
		le.PutUint32(h[16:], uint32(len(e.data)))
		if len(e.data) > 0 {
			le.PutUint32(h[20:], uint32(rdataRVA+len(b)))
			le.PutUint32(h[24:], uint32(PERdataOff+len(b)))
		}
		b = append(b, e.data...)
		b = append(b, make([]byte, -len(b)&3)...)
	}
	if p.ILOnly {
		clrRVA = uint32(rdataRVA + len(b))
		clr := make([]byte, 72)
		le.PutUint32(clr, 72)
		metadata := []byte("BSJB\x01\x00\x01\x00\x00\x00\x00\x00\x0c\x00\x00\x00v4.0.30319\x00\x00\x00\x00\x01\x00\x2c\x00\x00\x00\x18\x00\x00\x00#~\x00\x00")
		metadata = append(metadata, make([]byte, 24)...)
		le.PutUint32(clr[8:], clrRVA+72)
		le.PutUint32(clr[12:], uint32(len(metadata)))
		le.PutUint32(clr[16:], 1)
		b = append(append(b, clr...), metadata...)
	}
	if p.Unwind {
		unwindRVA = uint32(rdataRVA + len(b))
		b = append(b, words(0x1000, 0x1010, rdataRVA)...)
	}
	return append(b, make([]byte, 0x200-len(b)%0x200)...), debugSize, clrRVA, unwindRVA
}

func (c CodeView) version() uint32 {
	if c.Portable {
		return 0x504d0100
	}
	return 0
}

func (c CodeView) bytes() []byte {
	var b []byte
	if c.NB10 {
		b = append(b, "NB10\x00\x00\x00\x00"...)
		b = le.AppendUint32(b, c.Stamp)
	} else {
		b = append(b, "RSDS"...)
		b = append(b, GUIDBytes(c.GUID)...)
	}
	b = le.AppendUint32(b, c.Age)
	return append(append(b, c.Path...), 0)
}

// GUIDBytes returns the on-disk form of g.
func GUIDBytes(g symid.GUID) []byte {
	swapped := symid.GUIDFromLE(g[:]) // the swap is its own inverse
	return swapped[:]
}
