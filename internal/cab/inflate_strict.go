package cab

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// strictInflater decodes the deflate bytes that a Writer of version 1 can have
// written, and refuses all others, RFC 1951 or not: the readers of cabinets differ
// in what they bear, and the strictest of them bears what a Writer writes. It
// shares no code with the encoder, nor with the inflater by which a Writer and
// VerifyRaw check: every blob was read by both.
//
// It is reused, not shared; its memory is fixed.
type strictInflater struct {
	lit, dist, head decoder
	lens            [numLengths + numDistances]uint8
}

// Numbers of symbols of RFC 1951 section 3.2.5, those that only a fixed code has
// included.
const (
	numLengths   = 288
	numDistances = 32
	numHead      = 19
)

// strictPadding is how many readable bytes must follow the deflate bytes.
const strictPadding = 16

// An entry of a decoder: bits of the code (4), extra bits (4), kind (2), then from
// bit 16 on the literal, or the length or distance that the extra bits add to.
type entry = uint32

const (
	kindLiteral entry = iota << 8
	kindMatch
	kindEnd
	kindOther // no symbol of version 1, or a code too long for the table
	kindMask  = kindOther
)

// fastBits is the length of the longest code that one look-up decodes.
const fastBits = 10

// decoder decodes one prefix code that is complete.
type decoder struct {
	fast   [1 << fastBits]entry
	sorted [numLengths]entry // in the order of the codes
	count  [codeLimit + 1]int
}

var literalEntries, distanceEntries, headEntries = func() (lit [numLengths]entry, dist [numDistances]entry, head [numHead]entry) {
	for s := range lit {
		switch {
		case s < endOfBlock:
			lit[s] = kindLiteral | entry(s)<<16
		case s == endOfBlock:
			lit[s] = kindEnd
		default:
			lit[s] = kindOther
		}
	}
	for l, c := range lengthClasses {
		if lit[c.symbol] == kindOther {
			lit[c.symbol] = kindMatch | entry(l+minMatch)<<16 | entry(c.extra)<<4
		}
	}
	for s := range dist {
		if s >= numDistance {
			dist[s] = kindOther
			continue
		}
		base, extra := s, 0
		if s >= 4 {
			extra = s/2 - 1
			base = (2 + s&1) << extra
		}
		dist[s] = kindMatch | entry(base+1)<<16 | entry(extra)<<4
	}
	for s := range head {
		head[s] = kindLiteral | entry(s)<<16
	}
	return lit, dist, head
}()

// build makes d decode the canonical code of these lengths (RFC 1951 section
// 3.2.2). A code that is not complete is an error: so is one of a single symbol.
func (d *decoder) build(what string, lens []uint8, entries []entry) error {
	clear(d.count[:])
	space := 0
	for _, n := range lens {
		if n > 0 {
			d.count[n]++
			space += 1 << (codeLimit - n)
		}
	}
	if space != 1<<codeLimit {
		return fmt.Errorf("%w: %s code fills %d of %d, want a complete one", ErrCorrupt, what, space, 1<<codeLimit)
	}
	var code, rank [codeLimit + 2]int // of the next symbol of each length
	for n := 1; n <= codeLimit; n++ {
		code[n+1] = (code[n] + d.count[n]) << 1
		rank[n+1] = rank[n] + d.count[n]
	}
	for s, n := range lens {
		if n == 0 {
			continue
		}
		e := entries[s] | entry(n)
		at := bits.Reverse16(uint16(code[n])) >> (16 - n)
		d.sorted[rank[n]] = e
		code[n]++
		rank[n]++
		if n > fastBits {
			d.fast[at&(1<<fastBits-1)] = kindOther
			continue
		}
		for ; at < 1<<fastBits; at += 1 << n {
			d.fast[at] = e
		}
	}
	return nil
}

// slow decodes the code at the low end of acc, of any length.
func (d *decoder) slow(acc uint64) entry {
	code, first, rank := 0, 0, 0
	for n := 1; n <= codeLimit; n++ {
		code = code<<1 | int(acc>>(n-1)&1)
		if code-first < d.count[n] {
			return d.sorted[rank+code-first]
		}
		rank += d.count[n]
		first = (first + d.count[n]) << 1
	}
	return kindOther // not reached: the code is complete
}

// bitReader reads p, bits counted from the lowest of the first byte. It reads up
// to strictPadding bytes beyond size: those who use what it gives out compare
// used with size.
type bitReader struct {
	p    []byte
	size int // bytes that count
	pos  int // of the next byte to load
	acc  uint64
	held uint // bits in acc
}

// refill makes at least 56 bits available. It is false beyond the end.
func (b *bitReader) refill() bool {
	if b.pos > b.size+7 {
		return false
	}
	b.acc |= binary.LittleEndian.Uint64(b.p[b.pos:]) << (b.held & 63)
	b.pos += int(63-b.held) >> 3
	b.held |= 56
	return true
}

// take returns the next n bits, of those available.
func (b *bitReader) take(n uint) int {
	v := b.acc & (1<<n - 1)
	b.acc >>= n
	b.held -= n
	return int(v)
}

// used returns how many bits were taken.
func (b *bitReader) used() int { return b.pos*8 - int(b.held) }

// block decodes group[start:end], with the bytes before as history, from the front
// of p: one deflate block of type 1 or 2 that is not final, and an empty stored block
// that ends at a byte boundary. size bytes of p count, strictPadding more are there.
// It returns how many were read. Errors wrap ErrCorrupt.
func (z *strictInflater) block(group []byte, start, end int, p []byte, size int) (int, error) {
	b := bitReader{p: p, size: size}
	b.refill()
	switch kind := b.take(3); kind {
	case 1 << 1:
		z.fixed()
	case 2 << 1:
		if err := z.dynamic(&b); err != nil {
			return 0, err
		}
	default:
		return 0, fmt.Errorf("%w: block starts with the bits %03b, want one that is not final with a fixed or dynamic code", ErrCorrupt, kind)
	}
	if err := z.tokens(&b, group, start, end); err != nil {
		return 0, err
	}
	return b.syncFlush()
}

// syncFlush reads the empty stored block and returns the bytes up to its end.
func (b *bitReader) syncFlush() (int, error) {
	n := 3 + (5-b.used()%8+8)%8
	if b.take(uint(n)) != 0 {
		return 0, fmt.Errorf("%w: more than one block, want an empty stored one after the first", ErrCorrupt)
	}
	at := b.used() / 8
	if at+4 > b.size || binary.LittleEndian.Uint32(b.p[at:]) != 0xFFFF0000 {
		return 0, fmt.Errorf("%w: no empty stored block at %d of %d bytes", ErrCorrupt, at, b.size)
	}
	return at + 4, nil
}

// fixed sets the codes of RFC 1951 section 3.2.6.
func (z *strictInflater) fixed() {
	lens := z.lens[:numLengths]
	for s := range lens {
		switch {
		case s < 144 || s >= 280:
			lens[s] = 8
		case s < 256:
			lens[s] = 9
		default:
			lens[s] = 7
		}
	}
	five := z.lens[numLengths:]
	for s := range five {
		five[s] = 5
	}
	if z.lit.build("literal", lens, literalEntries[:]) != nil || z.dist.build("distance", five, distanceEntries[:]) != nil {
		panic("cab: the fixed codes are not complete")
	}
}

// dynamic reads the codes of a block (RFC 1951 section 3.2.7).
func (z *strictInflater) dynamic(b *bitReader) error {
	nlit, ndist, nhead := 257+b.take(5), 1+b.take(5), 4+b.take(4)
	if nlit > numLiteral || ndist > numDistance {
		return fmt.Errorf("%w: %d literal and %d distance codes, want at most %d and %d", ErrCorrupt, nlit, ndist, numLiteral, numDistance)
	}
	var head [numHead]uint8
	for _, s := range headOrder[:nhead] {
		if b.held < 3 && !b.refill() {
			return errCut
		}
		head[s] = uint8(b.take(3))
	}
	if err := z.head.build("code length", head[:], headEntries[:]); err != nil {
		return err
	}
	if err := z.lengths(b, nlit, nlit+ndist); err != nil {
		return err
	}
	if z.lens[endOfBlock] == 0 {
		return fmt.Errorf("%w: block without a code for its end", ErrCorrupt)
	}
	if err := z.lit.build("literal", z.lens[:nlit], literalEntries[:]); err != nil {
		return err
	}
	return z.dist.build("distance", z.lens[nlit:nlit+ndist], distanceEntries[:])
}

var errCut = fmt.Errorf("%w: deflate bytes end within a block", ErrCorrupt)

// lengths reads the lengths of both codes into z.lens. No run crosses from the
// first nlit to the others.
func (z *strictInflater) lengths(b *bitReader, nlit, total int) error {
	for n := 0; n < total; {
		if !b.refill() {
			return errCut
		}
		e := z.head.fast[b.acc&(1<<fastBits-1)]
		b.take(uint(e & 15))
		value, run := uint8(e>>16), 1
		switch e >> 16 {
		case 16:
			if n == 0 {
				return fmt.Errorf("%w: code lengths start with a repetition", ErrCorrupt)
			}
			value, run = z.lens[n-1], 3+b.take(2)
		case 17:
			value, run = 0, 3+b.take(3)
		case 18:
			value, run = 0, 11+b.take(7)
		}
		if n+run > total || n < nlit && n+run > nlit {
			return fmt.Errorf("%w: run of %d code lengths at %d of %d and %d", ErrCorrupt, run, n, nlit, total-nlit)
		}
		for range run {
			z.lens[n] = value
			n++
		}
	}
	return nil
}

// tokens decodes group[out:end] up to the end of the block.
func (z *strictInflater) tokens(b *bitReader, group []byte, out, end int) error {
	p, pos, acc, held := b.p, b.pos, b.acc, b.held // in registers: this is the inner loop
	last := b.size + 7
	for {
		if pos > last {
			return errCut
		}
		acc |= binary.LittleEndian.Uint64(p[pos:]) << (held & 63)
		pos += int(63-held) >> 3
		held |= 56
		e := z.lit.fast[acc&(1<<fastBits-1)]
		if e&kindMask == kindLiteral && end-out >= 4 { // four of fastBits are there
			for range 4 {
				group[out] = byte(e >> 16)
				out++
				acc >>= e & 15
				held -= uint(e & 15)
				if e = z.lit.fast[acc&(1<<fastBits-1)]; e&kindMask != kindLiteral {
					break
				}
			}
			continue
		}
		if e&15 == 0 {
			e = z.lit.slow(acc)
		}
		acc >>= e & 15
		held -= uint(e & 15)
		if e&kindMask == kindLiteral {
			if out >= end {
				return errLong
			}
			group[out] = byte(e >> 16)
			out++
			continue
		}
		if e&kindMask != kindMatch {
			if e&kindMask != kindEnd || out != end {
				return fmt.Errorf("%w: block ends, or has a symbol that does not exist, %d raw bytes early", ErrCorrupt, end-out)
			}
			b.pos, b.acc, b.held = pos, acc, held
			return nil
		}
		extra := e >> 4 & 15
		length := int(e>>16) + int(acc&(1<<extra-1))
		acc >>= extra
		d := z.dist.fast[acc&(1<<fastBits-1)]
		if d&15 == 0 {
			d = z.dist.slow(acc)
		}
		acc >>= d & 15
		held -= uint(extra + d&15)
		extra = d >> 4 & 15
		distance := int(d>>16) + int(acc&(1<<extra-1))
		acc >>= extra
		held -= uint(extra)
		if length > end-out {
			return errLong
		}
		from := out - distance
		if d&kindMask != kindMatch || distance > maxDistance || from < 0 {
			return fmt.Errorf("%w: match %d bytes back at %d of a group, want at most %d and within the group", ErrCorrupt, distance, out, maxDistance)
		}
		repeat(group, from, out, length, end)
		out += length
	}
}

var errLong = fmt.Errorf("%w: block holds more raw bytes than it says", ErrCorrupt)

// repeat copies n bytes from from on to out; they may be among those it writes. It may
// change what comes after them, up to end.
func repeat(group []byte, from, out, n, end int) {
	distance := out - from
	if distance < 8 || end-out < n+8 {
		for done := 0; done < n; { // the bytes that repeat get more each time
			done += copy(group[out+done:out+n], group[from:out+done])
		}
		return
	}
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(group[out+i:], binary.LittleEndian.Uint64(group[from+i:]))
	}
}
