package container

import (
	"bufio"
	"encoding/binary"
	"io"
	"strings"

	"symkeep/internal/symfile"
)

// Layout of a file that Microsoft's COMPRESS.EXE wrote ("SZDD and KWAJ file
// formats" of the libmspack documentation): magic, "A", the last letter of the
// name, the raw size, and LZSS data over a ring of 4 KiB that holds spaces.
const (
	szddHead   = 14
	szddWindow = 4096
)

func (w *walk) szdd() error {
	head, err := symfile.Read(w.in, w.size, 0, szddHead, "header of the SZDD file", ErrDamaged)
	switch {
	case err != nil:
		return w.fault("%s: %v", w.name, err)
	case strings.HasPrefix(string(head), "KWAJ"):
		return unsupported("%s is in KWAJ form: expand it, or pack it again with makecab", w.name)
	case head[8] != 'A':
		return unsupported("%s: SZDD with compression mode %q, wanted A", w.name, head[8])
	}
	size := int64(binary.LittleEndian.Uint32(head[10:]))
	r := &lzss{in: bufio.NewReaderSize(w.section(szddHead), 32<<10), left: size, pos: szddWindow - 16}
	for i := range r.ring {
		r.ring[i] = ' '
	}
	return w.member(wholeName(w.name, head[9]), size, w.metered(r))
}

// An lzss decodes: a byte of flags, lowest bit first, says of the next eight items
// which are literals; the others are 12 bits of position and 4 of length.
type lzss struct {
	in    *bufio.Reader
	left  int64
	ring  [szddWindow]byte
	pos   int
	flags uint // with a bit above those that are left
	from  int  // of the match under way
	match int  // bytes of it that are to come
}

// Read implements io.Reader.
func (z *lzss) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && z.left > 0 {
		c, err := z.next()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return n, err
		}
		p[n] = c
		z.ring[z.pos] = c
		z.pos = (z.pos + 1) % szddWindow
		z.left--
		n++
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (z *lzss) next() (byte, error) {
	if z.match == 0 {
		if z.flags <= 1 {
			c, err := z.in.ReadByte()
			if err != nil {
				return 0, err
			}
			z.flags = uint(c) | 0x100
		}
		literal := z.flags&1 == 1
		z.flags >>= 1
		lo, err := z.in.ReadByte()
		if err != nil || literal {
			return lo, err
		}
		hi, err := z.in.ReadByte()
		if err != nil {
			return 0, err
		}
		z.from, z.match = int(lo)|int(hi&0xf0)<<4, int(hi&0xf)+3
	}
	c := z.ring[z.from]
	z.from = (z.from + 1) % szddWindow
	z.match--
	return c, nil
}
