package dwarf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// bufferSize is how much of a section is in memory: large files come from storage
// that unpacks 1 MiB at a time. No value that is looked at is longer than ahead.
const (
	bufferSize = 1 << 20
	ahead      = 4 << 10
)

// A reader goes forward through one section. Running out of it sets short, and
// failing to read sets err; either makes everything after it zero.
type reader struct {
	src   io.Reader
	close func() error
	order binary.ByteOrder
	buf   []byte
	pos   int    // of the next byte in buf
	off   uint64 // of buf[0] in the section
	size  uint64 // of the section
	short bool
	wide  bool // a number of more than 64 bits was met; whoever cares clears it
	err   error
}

// newReader opens s and keeps up to room bytes of it in memory, at least ahead. The
// caller closes the reader.
func newReader(s *Section, order binary.ByteOrder, room uint64) (*reader, error) {
	r := &reader{order: order, size: s.Size, close: func() error { return nil }}
	r.buf = make([]byte, 0, min(max(s.Size, 64), room))
	if s.At != nil {
		r.src = io.NewSectionReader(s.At, 0, int64(s.Size))
		return r, nil
	}
	body, err := s.Open()
	if err != nil {
		return nil, err
	}
	r.src, r.close = body, body.Close
	return r, nil
}

// at returns the offset of the next byte in the section.
func (r *reader) at() uint64 { return r.off + uint64(r.pos) }

// ok reports whether everything so far was there.
func (r *reader) ok() bool { return !r.short && r.err == nil }

// fill makes the next n bytes available, or as many as the section has; n is at
// most the capacity of the buffer.
func (r *reader) fill(n int) {
	if len(r.buf)-r.pos >= n || r.err != nil || r.off+uint64(len(r.buf)) >= r.size {
		return
	}
	r.off += uint64(r.pos)
	kept := copy(r.buf[:cap(r.buf)], r.buf[r.pos:])
	r.buf, r.pos = r.buf[:kept], 0
	room := min(uint64(cap(r.buf)-kept), r.size-r.off-uint64(kept))
	got, err := io.ReadFull(r.src, r.buf[kept:kept+int(room)])
	r.buf = r.buf[:kept+got]
	if err != nil && room > 0 {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		r.err = err
	}
}

// take returns the next n bytes, valid until the next call; n is at most ahead.
// It returns nil at the end.
func (r *reader) take(n int) []byte {
	if len(r.buf)-r.pos < n {
		r.fill(n)
		if len(r.buf)-r.pos < n {
			r.end()
			return nil
		}
	}
	p := r.buf[r.pos : r.pos+n]
	r.pos += n
	return p
}

// end goes to the end of what is in memory, for want of more.
func (r *reader) end() { r.pos, r.short = len(r.buf), true }

// skip passes over n bytes, unread where the section is stored as it is.
func (r *reader) skip(n uint64) {
	have := uint64(len(r.buf) - r.pos)
	if n <= have {
		r.pos += int(n)
		return
	}
	if n > r.size-r.at() {
		r.end()
		return
	}
	n -= have
	r.off += uint64(len(r.buf)) + n
	r.buf, r.pos = r.buf[:0], 0
	if s, ok := r.src.(io.Seeker); ok {
		_, r.err = s.Seek(int64(r.off), io.SeekStart)
		return
	}
	if _, err := io.CopyN(io.Discard, r.src, int64(n)); err != nil {
		r.err = err
		if errors.Is(err, io.EOF) {
			r.err = io.ErrUnexpectedEOF
		}
	}
}

// move goes to off, forward, or back as far as the bytes can still be had, which it
// reports. It forgets that the section was too short.
func (r *reader) move(off uint64) bool {
	r.short = false
	switch {
	case off >= r.at():
		r.skip(off - r.at())
		return r.ok()
	case off >= r.off:
		r.pos = int(off - r.off)
		return true
	}
	s, ok := r.src.(io.Seeker)
	if ok && r.err == nil {
		_, r.err = s.Seek(int64(off), io.SeekStart)
		r.buf, r.pos, r.off = r.buf[:0], 0, off
	}
	return ok && r.err == nil
}

// finish reads to the end of a section that must be unpacked, so that its checksum
// is compared.
func (r *reader) finish() error {
	if r.err != nil {
		return r.err
	}
	if _, ok := r.src.(io.Seeker); ok {
		return nil
	}
	_, err := io.Copy(io.Discard, r.src)
	return err
}

func (r *reader) u8() byte {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if p := r.take(2); p != nil {
		return r.order.Uint16(p)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if p := r.take(4); p != nil {
		return r.order.Uint32(p)
	}
	return 0
}

// fixed reads an unsigned number of 1, 2, 3, 4 or 8 bytes.
func (r *reader) fixed(n int) uint64 {
	p := r.take(n)
	if p == nil {
		return 0
	}
	switch n {
	case 1:
		return uint64(p[0])
	case 2:
		return uint64(r.order.Uint16(p))
	case 3:
		lo, hi := p[0], p[2] // binary.ByteOrder has no numbers of 3 bytes
		if r.order.Uint16([]byte{1, 0}) != 1 {
			lo, hi = hi, lo
		}
		return uint64(lo) | uint64(p[1])<<8 | uint64(hi)<<16
	case 4:
		return uint64(r.order.Uint32(p))
	}
	return r.order.Uint64(p)
}

// uleb reads an unsigned LEB128 number; bits past 64 are dropped.
func (r *reader) uleb() uint64 {
	if r.pos < len(r.buf) && r.buf[r.pos] < 0x80 {
		r.pos++
		return uint64(r.buf[r.pos-1])
	}
	var v uint64
	for shift := uint(0); ; shift += 7 {
		p := r.take(1)
		if p == nil {
			return 0
		}
		bits := uint64(p[0] & 0x7f)
		if shift < 64 {
			v |= bits << shift
		}
		r.wide = r.wide || bits != 0 && (shift > 63 || shift == 63 && bits > 1)
		if p[0] < 0x80 {
			return v
		}
	}
}

// text passes over bytes up to a zero byte, and it.
func (r *reader) text() {
	for r.err == nil {
		if i := bytes.IndexByte(r.buf[r.pos:], 0); i >= 0 {
			r.pos += i + 1
			return
		}
		r.pos = len(r.buf)
		r.fill(1)
		if len(r.buf) == r.pos {
			r.end()
			return
		}
	}
}

// length reads a unit's initial length, DWARF 5 section 7.4: the size of what
// follows, and how large offsets in it are. A reserved value gives size 0.
func (r *reader) length() (n uint64, offSize int) {
	switch v := r.u32(); {
	case v == 0xffffffff:
		return r.fixed(8), 8
	case v >= 0xfffffff0:
		return uint64(v), 0
	default:
		return uint64(v), 4
	}
}
