package elf_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"symkeep/internal/symfile/elf"
)

// A byteOrder reads and appends; both of encoding/binary's are one.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// sect is one section of an image under construction.
type sect struct {
	name  string
	kind  uint32 // SHT_PROGBITS if 0
	flags uint64
	addr  uint64
	align uint64
	data  []byte
	size  uint64 // of a section without content
}

// image describes an ELF file to build: header, program headers, contents,
// section name table, section headers.
type image struct {
	class   byte // 64-bit if 0
	order   byteOrder
	kind    uint16 // ET_DYN if 0
	machine uint16
	sects   []sect
	// notes adds a PT_NOTE segment over the section of this name; align is its
	// p_align.
	notes      string
	notesAlign uint64
}

func (im image) bytes() []byte {
	var o byteOrder = binary.LittleEndian
	if im.order != nil {
		o = im.order
	}
	is32 := im.class == 1
	eh, ph, sh := 64, 56, 64
	if is32 {
		eh, ph, sh = 52, 32, 40
	}
	word := func(b []byte, v uint64) []byte {
		if is32 {
			return o.AppendUint32(b, uint32(v))
		}
		return o.AppendUint64(b, v)
	}
	phnum := 0
	if im.notes != "" {
		phnum = 1
	}
	names := []byte{0}
	var body []byte
	at := eh + phnum*ph
	type placed struct {
		sect
		nameOff, off int
	}
	var all []placed
	for _, s := range im.sects {
		if s.kind == 0 {
			s.kind = 1
		}
		for (at+len(body))%8 != 0 {
			body = append(body, 0)
		}
		p := placed{s, len(names), at + len(body)}
		names = append(append(names, s.name...), 0)
		if s.size == 0 {
			p.size = uint64(len(s.data))
		}
		body = append(body, s.data...)
		all = append(all, p)
	}
	strOff := at + len(body)
	strName := len(names)
	names = append(names, ".shstrtab\x00"...)
	body = append(body, names...)
	shoff := at + len(body)

	kind := im.kind
	if kind == 0 {
		kind = 3
	}
	class := byte(2)
	if is32 {
		class = 1
	}
	data := byte(1)
	if o == binary.BigEndian {
		data = 2
	}
	b := append([]byte{0x7f, 'E', 'L', 'F', class, data, 1}, make([]byte, 9)...)
	b = o.AppendUint16(b, kind)
	b = o.AppendUint16(b, im.machine)
	b = o.AppendUint32(b, 1)
	b = word(b, 0)
	if phnum > 0 {
		b = word(b, uint64(eh))
	} else {
		b = word(b, 0)
	}
	b = word(b, uint64(shoff))
	b = o.AppendUint32(b, 0)
	for _, v := range []int{eh, ph, phnum, sh, len(all) + 2, len(all) + 1} {
		b = o.AppendUint16(b, uint16(v))
	}
	for _, p := range all {
		if im.notes != p.name || phnum == 0 {
			continue
		}
		b = o.AppendUint32(b, 4)
		if !is32 {
			b = o.AppendUint32(b, 4)
		}
		for _, v := range []uint64{uint64(p.off), 0, 0, p.size, p.size} {
			b = word(b, v)
		}
		if is32 {
			b = o.AppendUint32(b, 4)
		}
		b = word(b, im.notesAlign)
	}
	b = append(b, body...)
	header := func(name int, kind uint32, flags, addr uint64, off int, size, align uint64) {
		b = o.AppendUint32(b, uint32(name))
		b = o.AppendUint32(b, kind)
		b = word(b, flags)
		b = word(b, addr)
		b = word(b, uint64(off))
		b = word(b, size)
		b = o.AppendUint32(b, 0)
		b = o.AppendUint32(b, 0)
		b = word(b, align)
		b = word(b, 0)
	}
	header(0, 0, 0, 0, 0, 0, 0)
	for _, p := range all {
		header(p.nameOff, p.kind, p.flags, p.addr, p.off, p.size, p.align)
	}
	header(strName, 3, 0, 0, strOff, uint64(len(names)), 1)
	return b
}

// note builds one note, padded to align.
func note(o byteOrder, owner string, kind uint32, desc []byte, align int) []byte {
	b := o.AppendUint32(nil, uint32(len(owner)))
	b = o.AppendUint32(b, uint32(len(desc)))
	b = o.AppendUint32(b, kind)
	for _, part := range [][]byte{[]byte(owner), desc} {
		b = append(b, part...)
		for len(b)%align != 0 {
			b = append(b, 0)
		}
	}
	return b
}

func parse(t testing.TB, b []byte) *elf.File {
	t.Helper()
	f, err := elf.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return f
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
