package container

const (
	lzxMaxCode  = 16 // bits
	lzxFastCode = 10 // codes up to this long are looked up at once
)

// A huffman decodes one canonical prefix code. Its code lengths are kept: LZX
// transmits those of a block as differences to the block before.
type huffman struct {
	lens    []byte // of each symbol, 0 to 16
	fast    [1 << lzxFastCode]uint16
	count   [lzxMaxCode + 1]uint16
	symbols []uint16 // in order of their codes
}

func newHuffman(symbols int) *huffman {
	return &huffman{lens: make([]byte, symbols), symbols: make([]uint16, symbols)}
}

// build makes the tables for lens. A code without any symbol is allowed as long as
// nobody decodes with it, and so are unused codes.
func (h *huffman) build() error {
	h.count = [lzxMaxCode + 1]uint16{}
	for _, n := range h.lens {
		h.count[n]++
	}
	h.count[0] = 0
	left := 1
	var next [lzxMaxCode + 2]uint16 // index in symbols of the first code of a length
	for n := 1; n <= lzxMaxCode; n++ {
		if left = left<<1 - int(h.count[n]); left < 0 {
			return damaged("LZX: more codes of %d bits than there can be", n)
		}
		next[n+1] = next[n] + h.count[n]
	}
	for s, n := range h.lens {
		if n > 0 {
			h.symbols[next[n]] = uint16(s)
			next[n]++
		}
	}
	h.fill()
	return nil
}

func (h *huffman) fill() {
	h.fast = [1 << lzxFastCode]uint16{}
	code, index := 0, 0
	for n := 1; n <= lzxFastCode; n++ {
		for range h.count[n] {
			for i := range 1 << (lzxFastCode - n) {
				h.fast[code<<(lzxFastCode-n)+i] = h.symbols[index]<<4 | uint16(n)
			}
			code++
			index++
		}
		code <<= 1
	}
}

// next decodes one symbol.
func (h *huffman) next(b *bitReader) (int, error) {
	v := int(b.peek(lzxMaxCode))
	if e := h.fast[v>>(lzxMaxCode-lzxFastCode)]; e != 0 {
		b.drop(uint(e & 0xf))
		return int(e >> 4), nil
	}
	code, first, index := 0, 0, 0
	for n := 1; n <= lzxMaxCode; n++ {
		code |= v >> (lzxMaxCode - n) & 1
		count := int(h.count[n])
		if code-count < first {
			b.drop(uint(n))
			return int(h.symbols[index+code-first]), nil
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, damaged("LZX: a code that no symbol has")
}

// A bitReader takes bits from 16-bit words, each little-endian, the highest bit
// first. Behind the end it gives zeros; overrun tells.
type bitReader struct {
	in  []byte
	pos int // bytes taken into buf, those behind the end included
	buf uint64
	n   uint // bits in buf
}

func (b *bitReader) peek(n uint) uint32 {
	for b.n < n {
		var word uint64
		if b.pos < len(b.in) {
			word = uint64(b.in[b.pos])
		}
		if b.pos+1 < len(b.in) {
			word |= uint64(b.in[b.pos+1]) << 8
		}
		b.buf, b.n, b.pos = b.buf<<16|word, b.n+16, b.pos+2
	}
	return uint32(b.buf>>(b.n-n)) & (1<<n - 1)
}

func (b *bitReader) drop(n uint) { b.n -= n }

func (b *bitReader) take(n uint) uint32 {
	v := b.peek(n)
	b.drop(n)
	return v
}

// overrun reports whether more bits were taken than there are.
func (b *bitReader) overrun() bool { return b.pos*8-int(b.n) > (len(b.in)+1)/2*16 }

// align passes over 1 to 16 bits, up to a word.
func (b *bitReader) align() {
	taken := b.pos*8 - int(b.n)
	b.pos, b.buf, b.n = (taken/16+1)*2, 0, 0
}

// bytes returns up to n bytes that follow; b is at a word or at a byte.
func (b *bitReader) bytes(n int) []byte {
	start := min(b.pos, len(b.in))
	end := min(start+n, len(b.in))
	b.pos = end
	return b.in[start:end]
}
