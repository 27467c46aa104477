package container

import "encoding/binary"

// An lzx decodes the frames of an LZX stream as cabinets hold it ("LZX data
// compression format" of the Cabinet SDK; [MS-PATCH], section 2, describes the
// same blocks). A frame is one data block of up to 32 KiB, at whose start the bits
// begin at a byte; blocks of LZX and the window go on from frame to frame.
type lzx struct {
	window []byte // a ring
	pos    int    // where the next byte goes
	total  int64  // bytes decoded so far

	started bool
	e8      int32 // size of the file for which calls were translated, 0 for none

	kind    uint32 // of the present block
	left    int    // bytes of it that are to come
	padded  bool   // an odd stored block: a byte follows
	recent  [3]int // the last match offsets
	main    *huffman
	lengths *huffman
	aligned *huffman
	pre     *huffman

	bits bitReader
	out  [cabFrame]byte
}

// Kinds of block.
const (
	lzxVerbatim = 1
	lzxAligned  = 2
	lzxStored   = 3
)

const (
	lzxLiterals  = 256
	lzxLengths   = 249
	lzxMinMatch  = 2
	lzxMaxFrames = 32768 // calls are translated in the first GiB only
)

// lzxSlots is the number of position slots by bits of the window, from 15 on.
var lzxSlots = [...]int{30, 32, 34, 36, 38, 42, 50}

// lzxExtra and lzxBase are the extra bits and the smallest offset of each slot.
var lzxExtra, lzxBase = func() (extra [51]uint, base [51]int) {
	for i := range extra {
		if i >= 4 {
			extra[i] = min(uint(i)/2-1, 17)
		}
		if i > 0 {
			base[i] = base[i-1] + 1<<extra[i-1]
		}
	}
	return extra, base
}()

// newLZX returns a decoder with a window of 1<<bits bytes, 15 to 21.
func newLZX(bits int) (*lzx, error) {
	if bits < 15 || bits > 21 {
		return nil, damaged("LZX: a window of %d bits, wanted 15 to 21", bits)
	}
	return &lzx{
		window: make([]byte, 1<<bits), recent: [3]int{1, 1, 1},
		main: newHuffman(lzxLiterals + 8*lzxSlots[bits-15]), lengths: newHuffman(lzxLengths), aligned: newHuffman(8), pre: newHuffman(20),
	}, nil
}

func (z *lzx) decode(packed []byte, raw int) ([]byte, error) {
	z.bits = bitReader{in: packed}
	if !z.started {
		z.started = true
		if z.bits.take(1) == 1 {
			z.e8 = int32(z.bits.take(16)<<16 | z.bits.take(16))
		}
	}
	frame := z.total / cabFrame
	for n := 0; n < raw; {
		if z.left == 0 {
			if err := z.header(); err != nil {
				return nil, err
			}
		}
		run := min(z.left, raw-n)
		var err error
		if z.kind == lzxStored {
			err = z.stored(z.out[n : n+run])
		} else {
			err = z.matches(z.out[n : n+run])
		}
		if err != nil {
			return nil, err
		}
		n += run
		z.left -= run
	}
	if z.bits.overrun() {
		return nil, damaged("LZX: the block of %d bytes ends early", len(packed))
	}
	if z.e8 != 0 && frame < lzxMaxFrames {
		z.translate(z.out[:raw], int32(frame*cabFrame))
	}
	return z.out[:raw], nil
}

// header reads the start of a block.
func (z *lzx) header() error {
	if z.padded {
		z.bits.bytes(1)
		z.padded = false
	}
	z.kind = z.bits.take(3)
	z.left = int(z.bits.take(16)<<8 | z.bits.take(8))
	if z.bits.overrun() || z.left == 0 {
		return damaged("LZX: block of %d bytes", z.left)
	}
	switch z.kind {
	case lzxStored:
		z.bits.align()
		b := z.bits.bytes(12)
		if len(b) < 12 {
			return damaged("LZX: stored block: its header ends early")
		}
		for i := range z.recent {
			z.recent[i] = int(int32(binary.LittleEndian.Uint32(b[4*i:])))
		}
		z.padded = z.left&1 == 1
		return nil
	case lzxAligned:
		for i := range z.aligned.lens {
			z.aligned.lens[i] = byte(z.bits.take(3))
		}
		if err := z.aligned.build(); err != nil {
			return err
		}
	case lzxVerbatim:
	default:
		return damaged("LZX: block of kind %d, wanted 1 to 3", z.kind)
	}
	for _, part := range [][]byte{z.main.lens[:lzxLiterals], z.main.lens[lzxLiterals:], z.lengths.lens} {
		if err := z.readLengths(part); err != nil {
			return err
		}
	}
	if err := z.main.build(); err != nil {
		return err
	}
	return z.lengths.build()
}

// readLengths updates code lengths, which are themselves coded.
func (z *lzx) readLengths(lens []byte) error {
	for i := range z.pre.lens {
		z.pre.lens[i] = byte(z.bits.take(4))
	}
	if err := z.pre.build(); err != nil {
		return err
	}
	for i := 0; i < len(lens); {
		s, err := z.pre.next(&z.bits)
		if err != nil {
			return err
		}
		run, delta := 1, s
		switch s {
		case 17:
			run = int(z.bits.take(4)) + 4
		case 18:
			run = int(z.bits.take(5)) + 20
		case 19:
			run = int(z.bits.take(1)) + 4
			if delta, err = z.pre.next(&z.bits); err != nil {
				return err
			}
		}
		if s == 19 && delta > 16 {
			return damaged("LZX: code length %d repeated, wanted 0 to 16", delta)
		}
		run = min(run, len(lens)-i) // other decoders let a run go past the end
		length := byte(0)
		if s != 17 && s != 18 {
			length = byte((int(lens[i]) - delta + 17) % 17)
		}
		for range run {
			lens[i] = length
			i++
		}
	}
	return nil
}

func (z *lzx) stored(out []byte) error {
	b := z.bits.bytes(len(out))
	if len(b) < len(out) {
		return damaged("LZX: stored block: %d bytes are there, %d were announced", len(b), len(out))
	}
	for i, c := range b {
		out[i] = c
		z.put(c)
	}
	if z.padded && len(out) == z.left {
		z.bits.bytes(1)
		z.padded = false
	}
	return nil
}

func (z *lzx) put(c byte) {
	z.window[z.pos] = c
	z.pos = (z.pos + 1) & (len(z.window) - 1)
	z.total++
}

// matches decodes literals and matches until out is full.
func (z *lzx) matches(out []byte) error {
	for n := 0; n < len(out); {
		s, err := z.main.next(&z.bits)
		if err != nil {
			return err
		}
		if s < lzxLiterals {
			out[n] = byte(s)
			z.put(byte(s))
			n++
			continue
		}
		length, offset, err := z.match(s - lzxLiterals)
		if err != nil {
			return err
		}
		if length > len(out)-n || offset <= 0 || int64(offset) > z.total || offset > len(z.window) {
			return damaged("LZX: match of %d bytes from %d back, %d bytes after the start, %d before the end of the block", length, offset, z.total, len(out)-n)
		}
		for from := z.pos - offset; length > 0; length-- {
			c := z.window[from&(len(z.window)-1)]
			out[n] = c
			z.put(c)
			from++
			n++
		}
		if z.bits.overrun() {
			return damaged("LZX: the data ends early")
		}
	}
	return nil
}

// match reads the rest of a match, whose symbol holds a length and a slot.
func (z *lzx) match(s int) (length, offset int, err error) {
	if length = s & 7; length == 7 {
		more, err := z.lengths.next(&z.bits)
		if err != nil {
			return 0, 0, err
		}
		length += more
	}
	length += lzxMinMatch
	slot := s >> 3
	if slot < len(z.recent) {
		offset = z.recent[slot]
		z.recent[slot] = z.recent[0]
		z.recent[0] = offset
		return length, offset, nil
	}
	extra := lzxExtra[slot]
	offset = lzxBase[slot] - 2
	if z.kind == lzxAligned && extra >= 3 {
		offset += int(z.bits.take(extra-3)) << 3
		low, err := z.aligned.next(&z.bits)
		if err != nil {
			return 0, 0, err
		}
		offset += low
	} else {
		offset += int(z.bits.take(extra))
	}
	z.recent = [3]int{offset, z.recent[0], z.recent[1]}
	return length, offset, nil
}

// translate turns the absolute targets of x86 calls back into relative ones. The
// last ten bytes of a frame are left alone.
func (z *lzx) translate(out []byte, at int32) {
	for i := 0; i < len(out)-10; i++ {
		if out[i] != 0xe8 {
			continue
		}
		target, pos := int32(binary.LittleEndian.Uint32(out[i+1:])), at+int32(i)
		if target >= -pos && target < z.e8 {
			if target >= 0 {
				target -= pos
			} else {
				target += z.e8
			}
			binary.LittleEndian.PutUint32(out[i+1:], uint32(target))
		}
		i += 4
	}
}
