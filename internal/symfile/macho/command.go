package macho

import (
	"bytes"
	"fmt"
)

// Load commands.
const (
	cmdSegment        = 0x1
	cmdSymtab         = 0x2
	cmdDysymtab       = 0xb
	cmdSegment64      = 0x19
	cmdUUID           = 0x1b
	cmdEncryption     = 0x21
	cmdDyldInfo       = 0x22
	cmdDyldInfoOnly   = 0x80000022
	cmdEncryption64   = 0x2c
	commandsAlignment = 4
)

// linkedits are the commands that place a table (linkedit_data_command).
var linkedits = map[uint32]string{0x1d: "code signature", 0x1e: "segment split information", 0x26: "function starts",
	0x29: "data in code", 0x2b: "code signing requirements", 0x2e: "linker optimization hints", 0x80000033: "exports trie", 0x80000034: "chained fixups"}

// dyldInfo are the tables that LC_DYLD_INFO places, in their order.
var dyldInfo = []string{"rebase information", "binding information", "weak binding information", "lazy binding information", "export information"}

// maxTables bounds the tables of a slice that are kept. Each command comes once.
const maxTables = 32

// table takes note of a table whose offset and size b begins with.
func (s *Slice) table(name string, b []byte) {
	if len(b) >= 8 && len(s.tables) < maxTables {
		s.tables = append(s.tables, linkedit{name, s.Order.Uint32(b), s.Order.Uint32(b[4:])})
	}
}

// commands decodes the load commands in b, which start at headLen of the slice.
func (s *Slice) commands(b []byte, count uint32, headLen int64) error {
	at := s.Offset + headLen
	for i := range count {
		if len(b) < 8 {
			return damaged(at, fmt.Sprintf("load command %d", i), fmt.Sprintf("%d bytes left of sizeofcmds", len(b)), "at least 8")
		}
		kind, size := s.Order.Uint32(b), s.Order.Uint32(b[4:])
		switch {
		case size < 8 || size%commandsAlignment != 0:
			return damaged(at+4, fmt.Sprintf("size of load command %d", i), fmt.Sprint(size), "a multiple of 4 from 8")
		case uint64(size) > uint64(len(b)):
			return damaged(at+4, fmt.Sprintf("size of load command %d", i), fmt.Sprint(size),
				fmt.Sprintf("at most the %d bytes left of sizeofcmds", len(b)))
		}
		if err := s.command(kind, b[:size], at); err != nil {
			return err
		}
		b, at = b[size:], at+int64(size)
	}
	return nil
}

// command takes the commands that matter here. Offsets into b include the 8 bytes
// of kind and size.
func (s *Slice) command(kind uint32, b []byte, at int64) error {
	o := s.Order
	need := map[uint32]int{cmdSegment: 56, cmdSegment64: 72, cmdSymtab: 24, cmdDysymtab: 16, cmdUUID: 24, cmdEncryption: 20, cmdEncryption64: 20,
		cmdDyldInfo: 48, cmdDyldInfoOnly: 48}[kind]
	if len(b) < need {
		return damaged(at+4, fmt.Sprintf("size of load command %#x", kind), fmt.Sprint(len(b)), fmt.Sprintf("at least %d", need))
	}
	if name, ok := linkedits[kind]; ok {
		s.table(name, b[8:])
	}
	switch kind {
	case cmdDyldInfo, cmdDyldInfoOnly:
		for i, name := range dyldInfo {
			s.table(name, b[8+8*i:])
		}
	case cmdUUID:
		if !s.HasUUID {
			s.UUID, s.HasUUID = [16]byte(b[8:24]), true
		}
	case cmdSymtab:
		s.symOff, s.symNum, s.strOff, s.strLen = o.Uint32(b[8:]), o.Uint32(b[12:]), o.Uint32(b[16:]), o.Uint32(b[20:])
	case cmdDysymtab:
		s.locals = o.Uint32(b[12:])
	case cmdEncryption, cmdEncryption64:
		s.Encrypted = s.Encrypted || o.Uint32(b[16:]) != 0
	case cmdSegment:
		s.Segments = append(s.Segments, Segment{name16(b[8:]), uint64(o.Uint32(b[24:])), uint64(o.Uint32(b[28:])), uint64(o.Uint32(b[32:])), uint64(o.Uint32(b[36:]))})
		return s.sections(b[56:], o.Uint32(b[48:]), 68, at)
	case cmdSegment64:
		s.Segments = append(s.Segments, Segment{name16(b[8:]), o.Uint64(b[24:]), o.Uint64(b[32:]), o.Uint64(b[40:]), o.Uint64(b[48:])})
		return s.sections(b[72:], o.Uint32(b[64:]), 80, at)
	}
	return nil
}

func (s *Slice) sections(b []byte, count uint32, entry int, at int64) error {
	if uint64(count)*uint64(entry) > uint64(len(b)) {
		return damaged(at, "number of sections", fmt.Sprint(count), fmt.Sprintf("at most the %d that fit the load command", len(b)/entry))
	}
	if len(s.Sections)+int(count) > maxSections || len(s.Segments) > maxSegments {
		return damaged(at, "number of sections and segments", fmt.Sprintf("%d and %d", len(s.Sections)+int(count), len(s.Segments)),
			fmt.Sprintf("at most %d and %d", maxSections, maxSegments))
	}
	o := s.Order
	for ; count > 0; count-- {
		c := Section{Name: name16(b), Segment: name16(b[16:]), in: len(s.Segments) - 1}
		rest := b[48:]
		if entry == 68 {
			c.Address, c.Size, rest = uint64(o.Uint32(b[32:])), uint64(o.Uint32(b[36:])), b[40:]
		} else {
			c.Address, c.Size = o.Uint64(b[32:]), o.Uint64(b[40:])
		}
		c.Offset, c.relocOff, c.relocs, c.kind = uint64(o.Uint32(rest)), o.Uint32(rest[8:]), o.Uint32(rest[12:]), byte(o.Uint32(rest[16:]))
		s.Sections = append(s.Sections, c)
		b = b[entry:]
	}
	return nil
}

// name16 is a name of up to 16 bytes, padded with zero bytes.
func name16(b []byte) string {
	name, _, _ := bytes.Cut(b[:16], []byte{0})
	return string(name)
}
