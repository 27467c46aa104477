package cab

import (
	"math/bits"
	"slices"
)

// code is one Huffman code, its bits already in the order deflate sends them.
type code struct {
	bits uint16
	n    uint8 // 0 when the symbol is unused
}

const maxSymbols = 286 // literal and length symbols; the largest alphabet

// codeLengths sets lens[s] to the code length of each symbol s, at most limit,
// for symbols that occur freq[s] times. The code is always complete and has at
// least two symbols: RFC 1951 allows a single distance code of one bit, but
// libmspack and others refuse an incomplete tree, so unused symbols are added.
// Each frequency is below 2^23.
func codeLengths(lens []uint8, freq []uint32, limit int) {
	var keys [maxSymbols]uint32 // frequency << 9 | symbol: ties have one order
	m := 0
	for s, f := range freq {
		if f > 0 {
			keys[m] = f<<9 | uint32(s)
			m++
		}
	}
	for s := 0; m < 2; s++ {
		if freq[s] == 0 {
			keys[m] = 1<<9 | uint32(s)
			m++
		}
	}
	leaves := keys[:m]
	slices.Sort(leaves)

	clear(lens)
	counts := lengthCounts(leaves, limit)
	next := 0
	for n := limit; n > 0; n-- {
		for range counts[n] {
			lens[leaves[next]&511] = uint8(n)
			next++
		}
	}
}

// lengthCounts builds the Huffman tree of the sorted leaves and returns how many
// codes have each length. Codes longer than limit are shortened, paid for by
// the longest of the shorter ones, so that the sum of 2^-length stays 1.
func lengthCounts(leaves []uint32, limit int) [16]int {
	var weight [2 * maxSymbols]uint32
	var parent, depth [2 * maxSymbols]uint16
	m := len(leaves)
	for i, k := range leaves {
		weight[i] = k >> 9
	}
	leaf, inner := 0, m // the least of both queues comes next; inner nodes arise in order
	for node := m; node < 2*m-1; node++ {
		for range 2 {
			least := inner
			if leaf < m && (inner >= node || weight[leaf] <= weight[inner]) {
				least = leaf
				leaf++
			} else {
				inner++
			}
			weight[node] += weight[least]
			parent[least] = uint16(node)
		}
	}

	var counts [16]int
	total := 0
	for node := 2*m - 3; node >= 0; node-- {
		depth[node] = depth[parent[node]] + 1
		if node < m {
			n := min(int(depth[node]), limit)
			counts[n]++
			total += 1 << (limit - n)
		}
	}
	for ; total > 1<<limit; total-- {
		n := limit - 1
		for counts[n] == 0 {
			n--
		}
		counts[n]--
		counts[n+1] += 2
		counts[limit]--
	}
	return counts
}

// assignCodes sets the canonical codes (RFC 1951 section 3.2.2) of the lengths.
func assignCodes(codes []code, lens []uint8) {
	var count, next [16]uint16
	for _, n := range lens {
		count[n]++
	}
	count[0] = 0
	for n := 1; n < 16; n++ {
		next[n] = (next[n-1] + count[n-1]) << 1
	}
	for s, n := range lens {
		codes[s] = code{n: n}
		if n > 0 {
			codes[s].bits = bits.Reverse16(next[n]) >> (16 - n)
			next[n]++
		}
	}
}
