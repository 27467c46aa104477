package cab

import (
	"encoding/binary"
	"math/bits"
)

const (
	endOfBlock    = 256
	lengthSymbols = 257 // symbol of the shortest match
	numLiteral    = maxSymbols
	numDistance   = 30
	codeLimit     = 15 // bits, RFC 1951 section 3.2.7
	headLimit     = 7  // bits of the codes that describe the codes
)

// lengthClass is the symbol and the extra bits of a match length.
type lengthClass struct {
	symbol uint16
	base   uint8 // smallest length-3 of the symbol
	extra  uint8
}

// lengthClasses maps a match length less 3 (RFC 1951 section 3.2.5).
var lengthClasses = func() (t [256]lengthClass) {
	for l := range 255 {
		t[l] = lengthClass{symbol: uint16(lengthSymbols + l), base: uint8(l)}
		if l >= 8 {
			k := bits.Len(uint(l)) - 1
			extra := k - 2
			t[l] = lengthClass{uint16(lengthSymbols + 4*(k-1) + l>>extra&3), uint8(l >> extra << extra), uint8(extra)}
		}
	}
	t[255] = lengthClass{symbol: 285, base: 255}
	return t
}()

// distanceClass returns the symbol of a distance less 1 and its extra bits, the
// number of which is n.
func distanceClass(d uint32) (symbol, n uint32) {
	if d < 4 {
		return d, 0
	}
	n = uint32(bits.Len32(d)) - 2
	return 2*n + d>>n, n
}

// frequencies counts the symbols of one block.
type frequencies struct {
	lit  [numLiteral]uint32
	dist [numDistance]uint32
}

func (f *frequencies) literal(b byte) token {
	f.lit[b]++
	return token(b)
}

func (f *frequencies) match(length, distance int) token {
	f.lit[lengthClasses[length-minMatch].symbol]++
	symbol, _ := distanceClass(uint32(distance - 1))
	f.dist[symbol]++
	return matchFlag | token(length-minMatch)<<16 | token(distance-1)
}

// fixed holds the codes of a block of type 1 (RFC 1951 section 3.2.6).
var fixed = func() (t codeSet) {
	var lens [288]uint8
	for s := range lens {
		switch {
		case s < 144:
			lens[s] = 8
		case s < 256:
			lens[s] = 9
		case s < 280:
			lens[s] = 7
		default:
			lens[s] = 8
		}
	}
	var codes [288]code
	assignCodes(codes[:], lens[:])
	copy(t.lit[:], codes[:])
	for s := range t.dist {
		t.dist[s] = code{bits.Reverse16(uint16(s)) >> 11, 5}
	}
	return t
}()

// codeSet is the two codes a compressed deflate block is written in.
type codeSet struct {
	lit  [numLiteral]code
	dist [numDistance]code
}

// cost returns the bits the counted symbols take, without their extra bits.
func (c *codeSet) cost(f *frequencies) int {
	total := 0
	for s, n := range f.lit {
		total += int(n) * int(c.lit[s].n)
	}
	for s, n := range f.dist {
		total += int(n) * int(c.dist[s].n)
	}
	return total
}

// extraBits returns the extra bits of the counted symbols.
func (f *frequencies) extraBits() int {
	total := 0
	for l, seen := 0, -1; l < 256; l++ {
		if c := lengthClasses[l]; int(c.symbol) != seen {
			seen = int(c.symbol)
			total += int(f.lit[seen]) * int(c.extra)
		}
	}
	for s := 4; s < numDistance; s++ {
		total += int(f.dist[s]) * (s/2 - 1)
	}
	return total
}

// encoder compresses groups. Its output depends on the group alone.
type encoder struct {
	matcher matcher
	tokens  []token
	freq    frequencies
	dynamic codeSet
	head    codeHead
	out     bitWriter
}

// block compresses group[start:end] after the blocks before it into deflate
// blocks that end at a byte boundary in an empty stored block (a sync flush), and
// not in a final one. It returns nil when they would take limit bytes or more.
// The result is valid until the next call.
func (e *encoder) block(group []byte, start, end, limit int) []byte {
	e.freq = frequencies{}
	e.freq.lit[endOfBlock] = 1
	e.tokens = e.matcher.scan(e.tokens[:0], &e.freq, group, start, end)

	e.head.build(&e.freq, &e.dynamic)
	dynamic, plain := e.head.bits+e.dynamic.cost(&e.freq), fixed.cost(&e.freq)
	size := 3 + min(dynamic, plain) + e.freq.extraBits()
	if (size+3+7)/8+4 >= limit {
		return nil
	}
	e.out.reset(size/8 + 32)
	if plain <= dynamic {
		e.out.put(1<<1, 3)
		e.out.tokens(e.tokens, &fixed)
	} else {
		e.out.put(2<<1, 3)
		e.head.write(&e.out)
		e.out.tokens(e.tokens, &e.dynamic)
	}
	return e.out.syncFlush()
}

// bitWriter packs bits into bytes, the first bit lowest (RFC 1951 section 3.1.1).
type bitWriter struct {
	buf  []byte // length is room, n bytes of it are written
	n    int
	acc  uint64
	held uint // bits in acc, below 8 between calls
}

func (w *bitWriter) reset(room int) {
	if len(w.buf) < room {
		w.buf = make([]byte, room+blockSize)
	}
	w.n, w.acc, w.held = 0, 0, 0
}

// put appends the low n bits of v, n at most 48; the others must be zero.
func (w *bitWriter) put(v uint64, n uint) {
	w.acc |= v << w.held
	w.held += n
	binary.LittleEndian.PutUint64(w.buf[w.n:], w.acc)
	w.n += int(w.held >> 3)
	w.acc >>= w.held &^ 7
	w.held &= 7
}

// tokens appends the tokens and the end of the block.
func (w *bitWriter) tokens(tokens []token, c *codeSet) {
	buf, n, acc, held := w.buf, w.n, w.acc, w.held // in registers: this is the inner loop
	for _, t := range tokens {
		if t < matchFlag {
			lit := c.lit[t&255]
			acc |= uint64(lit.bits) << held
			held += uint(lit.n)
		} else {
			l := uint8(t >> 16)
			class := lengthClasses[l]
			lit := c.lit[class.symbol]
			acc |= uint64(lit.bits) << held
			held += uint(lit.n)
			acc |= uint64(l-class.base) << held
			held += uint(class.extra)

			d := uint32(t & 0xFFFF)
			symbol, extra := distanceClass(d)
			dist := c.dist[symbol]
			acc |= uint64(dist.bits) << held
			held += uint(dist.n)
			acc |= uint64(d&(1<<extra-1)) << held
			held += uint(extra)
		}
		binary.LittleEndian.PutUint64(buf[n:], acc)
		n += int(held >> 3)
		acc >>= held &^ 7
		held &= 7
	}
	w.n, w.acc, w.held = n, acc, held
	w.put(uint64(c.lit[endOfBlock].bits), uint(c.lit[endOfBlock].n))
}

// syncFlush appends an empty stored block, which ends at a byte boundary, and
// returns all bytes.
func (w *bitWriter) syncFlush() []byte {
	w.put(0, 3)
	w.put(0, (8-w.held)&7)
	w.put(0xFFFF0000, 32)
	return w.buf[:w.n]
}
