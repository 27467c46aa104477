package wasm

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// errUnknown ends the reading of a list or of a function without a finding: there is
// something that no finished proposal says, so nobody here knows where it ends.
var errUnknown = errors.New("beyond the specification")

// Bounds of what reading holds in memory.
const (
	maxBuffer = 32 << 10 // bytes of a section that are read at once
	maxText   = 4 << 10  // bytes of a name that are looked at
)

// A body goes forward through the content of one section, or of one item in it.
type body struct {
	in      io.ReaderAt
	section int64  // where the section ends
	of      string // what ends at end, for messages
	at, end int64
	buffer  []byte
	next    int    // place of at in buffer
	filled  int    // bytes of buffer that were read
	text    []byte // for names, used again
}

func newBody(r io.ReaderAt, off, end int64) *body {
	return &body{in: r, section: end, of: "section", at: off, end: end, buffer: make([]byte, min(end-off, maxBuffer))}
}

// list reads a count and so many items, and returns the count.
func (b *body) list(what string, item func() error) (uint32, error) {
	count, err := b.u32("number of items: " + what)
	for i := uint32(0); i < count && err == nil; i++ {
		err = item()
	}
	return count, err
}

// part reads an item that begins with its size. What item leaves because it does not
// know how to go on is passed over; what it leaves otherwise is damage.
func (b *body) part(what string, item func() error) error {
	size, err := b.u32("size: " + what)
	if err != nil {
		return err
	}
	if err := b.room(int64(size), what); err != nil {
		return err
	}
	of, end := b.of, b.end
	b.of, b.end = what, b.at+int64(size)
	err = item()
	switch {
	case errors.Is(err, errUnknown):
		err = b.skip(b.end-b.at, what)
	case err == nil:
		err = b.done()
	}
	b.of, b.end = of, end
	return err
}

// done wants nothing to be left.
func (b *body) done() error {
	if b.at == b.end {
		return nil
	}
	return damaged(b.at, b.of, fmt.Sprintf("%d bytes behind its content", b.end-b.at), "none")
}

// room wants n bytes to be left.
func (b *body) room(n int64, what string) error {
	if n > b.end-b.at {
		return damaged(b.at, what, fmt.Sprintf("%d bytes", n), fmt.Sprintf("at most the %d left of the %s", b.end-b.at, b.of))
	}
	return nil
}

func (b *body) skip(n int64, what string) error {
	if err := b.room(n, what); err != nil {
		return err
	}
	b.at += n
	b.next += int(min(n, int64(b.filled-b.next)))
	return nil
}

func (b *body) byte(what string) (byte, error) {
	c, err := b.peek(what)
	if err == nil {
		b.at++
		b.next++
	}
	return c, err
}

// peek returns the next byte without passing over it.
func (b *body) peek(what string) (byte, error) {
	if b.at == b.end {
		return 0, damaged(b.at, what, "the end of the "+b.of, "more bytes")
	}
	if b.next == b.filled {
		if err := b.fill(); err != nil {
			return 0, err
		}
	}
	return b.buffer[b.next], nil
}

// fill reads what follows of the section, at least a byte of which is left.
func (b *body) fill() error {
	n := min(int64(len(b.buffer)), b.section-b.at)
	if k, err := b.in.ReadAt(b.buffer[:n], b.at); int64(k) < n {
		return err
	}
	b.next, b.filled = 0, int(n)
	return nil
}

// u32 reads an unsigned LEB128 number of at most 32 bits.
func (b *body) u32(what string) (uint32, error) {
	v, err := b.unsigned(what, 32)
	return uint32(v), err
}

// unsigned reads an unsigned LEB128 number of at most so many bits, in as many bytes as
// those need and no more. Section 5.2.2.
func (b *body) unsigned(what string, bits int) (uint64, error) {
	var v uint64
	for shift := 0; ; shift += 7 {
		c, err := b.byte(what)
		if err != nil {
			return 0, err
		}
		if left := bits - shift; left < 7 && c>>left != 0 {
			return 0, damaged(b.at-1, what, fmt.Sprintf("byte %#02x", c), fmt.Sprintf("the end of an LEB128 number of %d bits", bits))
		}
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v, nil
		}
	}
}

// signed reads a signed LEB128 number of at most so many bits.
func (b *body) signed(what string, bits int) (int64, error) {
	var v int64
	for shift := 0; ; shift += 7 {
		c, err := b.byte(what)
		if err != nil {
			return 0, err
		}
		group := int64(int8(c<<1) >> 1) // the sign of the last group is that of the number
		if left := bits - shift; left < 7 {
			if sign := group >> (left - 1); c >= 0x80 || sign != 0 && sign != -1 {
				return 0, damaged(b.at-1, what, fmt.Sprintf("byte %#02x", c), fmt.Sprintf("the end of a signed LEB128 number of %d bits", bits))
			}
		}
		if c < 0x80 {
			return v | group<<shift, nil
		}
		v |= int64(c&0x7f) << shift
	}
}

// name reads a name, of which at most maxText bytes are returned. It is valid until
// the next call.
func (b *body) name(what string) ([]byte, error) {
	n, err := b.u32("length of the " + what)
	if err != nil {
		return nil, err
	}
	if err := b.room(int64(n), what); err != nil {
		return nil, err
	}
	if b.text == nil {
		b.text = make([]byte, maxText)
	}
	text := b.text[:min(n, maxText)]
	for read := 0; read < len(text); {
		if b.next == b.filled {
			if err := b.fill(); err != nil {
				return nil, err
			}
		}
		k := copy(text[read:], b.buffer[b.next:b.filled])
		b.next, b.at, read = b.next+k, b.at+int64(k), read+k
	}
	return text, b.skip(int64(n)-int64(len(text)), what)
}

// utf8Name passes over a name that the specification wants in UTF-8. Section 5.2.4.
func (b *body) utf8Name(what string) error {
	at := b.at
	text, err := b.name(what)
	if err == nil && len(text) < maxText && !utf8.Valid(text) {
		err = damaged(at, what, fmt.Sprintf("%.40q", text), "UTF-8")
	}
	return err
}
