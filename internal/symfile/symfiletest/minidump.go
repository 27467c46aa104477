package symfiletest

import (
	"unicode/utf16"

	"symkeep/internal/symid"
)

// Platforms of a Minidump.
const (
	PlatformWindows = 2
	PlatformMacOS   = 0x8101
	PlatformLinux   = 0x8201
)

// A Minidump describes a dump to build: 64-bit Intel, one module list.
type Minidump struct {
	Platform uint32 // no description of the system if 0
	Modules  []MinidumpModule
	Pad      bool // 4 bytes before the modules, as some writers align them
}

// A MinidumpModule is one loaded image.
type MinidumpModule struct {
	Name   string
	Code   symid.CodeID
	Record []byte // CodeView, see RSDS and BuildIDRecord; none if empty
}

// RSDS is a CodeView record of a PDB 7.0.
func RSDS(id symid.DebugID, path string) []byte {
	g := id.GUID
	b := append([]byte("RSDS"), g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6])
	b = append(b, g[8:]...)
	return append(append(le.AppendUint32(b, id.Age), path...), 0)
}

// BuildIDRecord is Breakpad's CodeView record of an ELF build id.
func BuildIDRecord(id symid.BuildID) []byte { return append([]byte("LEpB"), id...) }

// Bytes lays the dump out: header, directory, system, modules, names and records.
func (d Minidump) Bytes() []byte {
	pad := 0
	if d.Pad {
		pad = 4
	}
	type stream struct{ kind, size, off int }
	list := stream{4, 4 + pad + 108*len(d.Modules), 32 + 2*12 + 56}
	b := append([]byte("MDMP"), 0x93, 0xa7, 0, 0)
	for _, v := range []uint32{2, 32, 0, 0, 0, 0} {
		b = le.AppendUint32(b, v)
	}
	system := stream{7, 56, 32 + 2*12}
	if d.Platform == 0 {
		system.kind = 0
	}
	for _, s := range []stream{system, list} {
		b = le.AppendUint32(le.AppendUint32(le.AppendUint32(b, uint32(s.kind)), uint32(s.size)), uint32(s.off))
	}
	info := make([]byte, 56)
	le.PutUint16(info, 9)
	le.PutUint32(info[20:], d.Platform)
	b = le.AppendUint32(append(b, info...), uint32(len(d.Modules)))
	b = append(b, make([]byte, pad)...)
	at := uint32(list.off + list.size)
	var texts []byte
	place := func(p []byte) uint32 {
		off := at + uint32(len(texts))
		texts = append(texts, p...)
		return off
	}
	for i, m := range d.Modules {
		row := make([]byte, 108)
		le.PutUint64(row, uint64(i+1)<<32)
		le.PutUint32(row[8:], m.Code.ImageSize)
		le.PutUint32(row[16:], m.Code.Timestamp)
		le.PutUint32(row[20:], place(minidumpString(m.Name)))
		if len(m.Record) > 0 {
			le.PutUint32(row[76:], uint32(len(m.Record)))
			le.PutUint32(row[80:], place(m.Record))
		}
		b = append(b, row...)
	}
	return append(b, texts...)
}

// minidumpString is the length in bytes, UTF-16 and a NUL that does not count.
func minidumpString(s string) []byte {
	units := utf16.Encode([]rune(s))
	b := le.AppendUint32(nil, uint32(2*len(units)))
	for _, u := range append(units, 0) {
		b = le.AppendUint16(b, u)
	}
	return b
}
