package cab

import (
	"encoding/binary"
	"math/bits"
)

const (
	minMatch = 3
	maxMatch = 258
	// maxDistance is the farthest zlib reaches. Deflate allows 262 bytes more;
	// readers in the field have met cabinets made with zlib for decades.
	maxDistance = 32768 - 262
	// farThree is the distance beyond which three literals are usually cheaper
	// than a match of length three.
	farThree = 4096

	windowMask = 32768 - 1
	hashBits   = 16
	hash3Bits  = 14
)

// Effort of the search. Changing any of these changes packed bytes.
const (
	maxChain   = 24 // candidates tried at a position
	lazyChain  = 12 // candidates tried at the position after a match
	goodMatch  = 96 // a match this long is taken at once
	lazyMatch  = 40 // after a match this long the next position is not tried
	skipFactor = 6  // log2 of the misses in a row that widen the step by one
	maxSkip    = 16 // widest step in bytes
	posBase    = 1 << 15
)

// token is a literal byte, or a match: matchFlag | (length-3)<<16 | distance-1.
type token uint32

const matchFlag token = 1 << 31

// matcher finds repetitions within one group. Positions in the tables are
// offset by posBase, so that a zero entry is always out of reach.
type matcher struct {
	head  [1 << hashBits]int32  // hash of four bytes -> latest position
	head3 [1 << hash3Bits]int32 // hash of three bytes -> latest position
	prev  [windowMask + 1]int32 // position -> earlier one of the same hash
}

func (m *matcher) reset() {
	clear(m.head[:])
	clear(m.head3[:])
}

func load32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[i:]) }

func hash4(v uint32) uint32 { return v * 0x9E3779B1 >> (32 - hashBits) }
func hash3(v uint32) uint32 { return v << 8 * 0x9E3779B1 >> (32 - hash3Bits) }

// insert adds the position to the tables; its four bytes must exist.
func (m *matcher) insert(group []byte, pos int) {
	v := load32(group, pos)
	h := hash4(v)
	m.prev[pos&windowMask] = m.head[h]
	m.head[h] = int32(pos + posBase)
	m.head3[hash3(v)] = int32(pos + posBase)
}

// find adds pos to the tables and returns the longest match there that ends at
// or before end and is longer than best, or length 0. The four bytes at pos must
// exist in the group, though not before end.
func (m *matcher) find(group []byte, pos, end, best, chain int) (length, distance int) {
	v := load32(group, pos)
	h, h3 := hash4(v), hash3(v)
	cand, cand3 := int(m.head[h]), int(m.head3[h3])
	m.prev[pos&windowMask] = int32(cand)
	m.head[h] = int32(pos + posBase)
	m.head3[h3] = int32(pos + posBase)

	limit := min(end-pos, maxMatch)
	if limit <= best {
		return 0, 0
	}
	nearest := pos + posBase - maxDistance
	if best < minMatch && limit >= minMatch && cand3 >= max(nearest, pos+posBase-farThree) {
		if at := cand3 - posBase; (load32(group, at)^v)<<8 == 0 {
			best, length, distance = minMatch, minMatch, pos-at
		}
	}
	best = max(best, minMatch)
	if limit <= best {
		return length, distance
	}
	tail := load32(group, pos+best-3)
	for ; chain > 0 && cand >= nearest; chain-- {
		at := cand - posBase
		if load32(group, at+best-3) == tail && load32(group, at) == v {
			if n := 4 + equal(group[at+4:], group[pos+4:pos+limit]); n > best {
				best, length, distance = n, n, pos-at
				if n == limit || n >= goodMatch {
					break
				}
				tail = load32(group, pos+best-3)
			}
		}
		cand = int(m.prev[at&windowMask])
	}
	return length, distance
}

// equal returns how many leading bytes of b a repeats. a is not shorter than b.
func equal(a, b []byte) int {
	n := 0
	for len(b)-n >= 8 {
		x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:])
		if x != 0 {
			return n + bits.TrailingZeros64(x)>>3
		}
		n += 8
	}
	for n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// scan appends to tokens those of group[start:end], one block, and counts their
// symbols in f. It must see the blocks of a group in order, from the first, after
// a reset.
func (m *matcher) scan(tokens []token, f *frequencies, group []byte, start, end int) []token {
	pos, misses := start, 0
	last := len(group) - 4 // the last position with four bytes to hash
	for pos < end {
		var length, distance int
		if pos <= last {
			length, distance = m.find(group, pos, end, 0, maxChain)
		}
		if length == 0 {
			// Where nothing repeats, as in compressed sections, look less often.
			for n := min(1+misses>>skipFactor, maxSkip, end-pos); n > 0; n-- {
				tokens = append(tokens, f.literal(group[pos]))
				pos++
			}
			misses++
			continue
		}
		misses = 0
		inserted := pos + 1
		for length < lazyMatch && pos+1 < end && pos+1 <= last {
			n, d := m.find(group, pos+1, end, length-1, lazyChain)
			inserted = pos + 2
			if !better(n, d, length, distance) {
				break
			}
			tokens = append(tokens, f.literal(group[pos]))
			pos++
			length, distance = n, d
		}
		tokens = append(tokens, f.match(length, distance))
		pos += length
		for ; inserted < min(pos, last+1); inserted++ {
			m.insert(group, inserted)
		}
	}
	return tokens
}

// better reports whether a match of length n at distance d, one byte later, is
// worth a literal. A byte more weighs as much as four bits of distance.
func better(n, d, length, distance int) bool {
	return n > 0 && 4*(n-length)+bits.Len(uint(distance))-bits.Len(uint(d)) > 2
}
