package elf

import (
	"bufio"
	"encoding/binary"
	"io"
)

// maxSymbols bounds the values of symbols that are kept while a section is relocated.
const maxSymbols = 1 << 22

// sectionRela holds relocations with addends; sh_info is the section they apply to.
const sectionRela SectionType = 4

// dataRelocs gives, by machine, the relocation types that put symbol plus addend into
// 4 or 8 bytes: what the debug sections of kernel modules have. Machines whose debug
// sections need sums of several relocations are not listed. Sources: the psABI of each.
var dataRelocs = map[uint16]map[uint32]int{
	62:  {1: 8, 10: 4, 11: 4}, // x86-64: R_X86_64_64, _32, _32S
	183: {257: 8, 258: 4},     // AArch64: R_AARCH64_ABS64, _ABS32
	22:  {4: 4, 22: 8},        // s390: R_390_32, _64
	21:  {1: 4, 38: 8},        // PowerPC 64: R_PPC64_ADDR32, _ADDR64
}

// relas returns the relocations with addends of s, or nil. Those without keep the
// addend in place, and the symbols that debug sections refer to are sections, whose
// value is 0: what is in place is right already.
func (f *File) relas(s *Section) *Section {
	if f.Type != TypeRel {
		return nil
	}
	for i := range f.Sections {
		if r := &f.Sections[i]; r.Type == sectionRela && r.Size > 0 && int(r.info) < len(f.Sections) && &f.Sections[r.info] == s {
			return r
		}
	}
	return nil
}

// sorted reports whether every relocation in relas is of a known type and behind the
// one before it, so that they can be applied to a stream.
func (f *File) sorted(relas *Section) bool {
	types := dataRelocs[f.Machine]
	if types == nil || f.Class != Class64 || !f.fits(relas.Offset, relas.Size) {
		return false
	}
	ok, end := true, uint64(0)
	err := f.table("relocations", relas.Offset, relas.Size/24, 24, func(b []byte) {
		off, kind := f.Order.Uint64(b), uint32(f.Order.Uint64(b[8:]))
		ok = ok && (kind == 0 || off >= end && types[kind] > 0)
		end = off + uint64(types[kind])
	})
	return ok && err == nil
}

// symbolValues returns the values of the symbols that relas refers to.
func (f *File) symbolValues(relas *Section) []uint64 {
	if int(relas.link) >= len(f.Sections) {
		return nil
	}
	s := &f.Sections[relas.link]
	if s.Type != SectionSymtab || s.Size/24 > maxSymbols {
		return nil
	}
	var values []uint64
	if err := f.table("symbol table", s.Offset, s.Size/24, 24, func(b []byte) { values = append(values, f.Order.Uint64(b[8:])) }); err != nil {
		return nil
	}
	return values
}

// relocated applies relas to body, the unpacked content of the section they belong to.
func (f *File) relocated(body io.ReadCloser, relas *Section) io.ReadCloser {
	return &relocator{
		body: body, order: f.Order, types: dataRelocs[f.Machine], values: f.symbolValues(relas),
		relas: bufio.NewReaderSize(f.Raw(relas), readChunk(relas.Size)), buf: make([]byte, 0, 64<<10),
	}
}

// A relocator reads a section and fills in offsets on the way.
type relocator struct {
	body   io.ReadCloser
	order  binary.ByteOrder
	types  map[uint32]int
	values []uint64
	relas  io.Reader
	rela   [24]byte // the next one, if held
	held   bool

	buf  []byte // from off on, relocated up to done
	off  uint64
	done int
	err  error // of body
}

// Close implements io.Closer.
func (r *relocator) Close() error { return r.body.Close() }

// Read implements io.Reader.
func (r *relocator) Read(p []byte) (int, error) {
	if r.done == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[:r.done])
	r.buf = r.buf[:copy(r.buf, r.buf[n:])]
	r.off, r.done = r.off+uint64(n), r.done-n
	return n, nil
}

// fill reads on and relocates all but the last 7 bytes, which the next relocation may
// share with what follows.
func (r *relocator) fill() error {
	have := len(r.buf)
	n, err := io.ReadFull(r.body, r.buf[have:cap(r.buf)])
	r.buf = r.buf[:have+n]
	r.done = max(0, len(r.buf)-7)
	if err != nil {
		if err == io.ErrUnexpectedEOF {
			err = io.EOF
		}
		if r.done = len(r.buf); r.done == 0 || err != io.EOF {
			return err
		}
	}
	r.apply()
	return nil
}

// apply fills in what starts before done.
func (r *relocator) apply() {
	for {
		if !r.held {
			if _, err := io.ReadFull(r.relas, r.rela[:]); err != nil {
				return
			}
			r.held = true
		}
		off, info, addend := r.order.Uint64(r.rela[:]), r.order.Uint64(r.rela[8:]), r.order.Uint64(r.rela[16:])
		if off >= r.off+uint64(r.done) {
			return
		}
		r.held = false
		if i := info >> 32; i < uint64(len(r.values)) {
			addend += r.values[i]
		}
		r.put(int64(off-r.off), r.types[uint32(info)], addend)
	}
}

func (r *relocator) put(at int64, size int, v uint64) {
	switch {
	case at < 0 || at+int64(size) > int64(len(r.buf)):
	case size == 4:
		r.order.PutUint32(r.buf[at:], uint32(v))
	case size == 8:
		r.order.PutUint64(r.buf[at:], v)
	}
}
