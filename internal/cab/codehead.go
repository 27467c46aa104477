package cab

// headOrder is the order in which code length code lengths are sent (RFC 1951
// section 3.2.7).
var headOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// headExtra is the number of extra bits of the repeat symbols.
var headExtra = [19]uint8{16: 2, 17: 3, 18: 7}

// headItem is one code length, or a run of them, and its extra bits.
type headItem struct{ symbol, extra uint8 }

// codeHead is the description of its codes that a dynamic deflate block starts
// with.
type codeHead struct {
	lit   [numLiteral]uint8 // code lengths
	dist  [numDistance]uint8
	nlit  int // lengths sent, trailing zeros left out
	ndist int
	items []headItem
	codes [19]code
	ncode int // code length codes sent
	bits  int // size of all this, without the three bits of the block type
}

// build finds complete codes for the frequencies, sets them in c and describes
// them.
func (h *codeHead) build(f *frequencies, c *codeSet) {
	codeLengths(h.lit[:], f.lit[:], codeLimit)
	codeLengths(h.dist[:], f.dist[:], codeLimit)
	assignCodes(c.lit[:], h.lit[:])
	assignCodes(c.dist[:], h.dist[:])

	for h.nlit = numLiteral; h.lit[h.nlit-1] == 0; h.nlit-- {
	}
	for h.ndist = numDistance; h.dist[h.ndist-1] == 0; h.ndist-- {
	}
	// Runs do not cross from one code to the other: allowed, but zlib never did.
	h.items = appendRuns(h.items[:0], h.lit[:h.nlit])
	h.items = appendRuns(h.items, h.dist[:h.ndist])

	var freq [19]uint32
	var lens [19]uint8
	for _, it := range h.items {
		freq[it.symbol]++
	}
	codeLengths(lens[:], freq[:], headLimit)
	assignCodes(h.codes[:], lens[:])
	for h.ncode = 19; h.ncode > 4 && lens[headOrder[h.ncode-1]] == 0; h.ncode-- {
	}
	h.bits = 5 + 5 + 4 + 3*h.ncode
	for s, n := range freq {
		h.bits += int(n) * int(lens[s]+headExtra[s])
	}
}

// appendRuns appends the lengths, repeats replaced by the symbols 16 (the
// previous length 3 to 6 times), 17 (zero, 3 to 10 times) and 18 (zero, 11 to 138
// times).
func appendRuns(items []headItem, lens []uint8) []headItem {
	for i := 0; i < len(lens); {
		n := 1
		for i+n < len(lens) && lens[i+n] == lens[i] {
			n++
		}
		v := lens[i]
		i += n
		if v > 0 {
			items = append(items, headItem{symbol: v})
			n--
		}
		for n >= 3 {
			var it headItem
			var run int
			switch {
			case v > 0:
				run = min(n, 6)
				it = headItem{16, uint8(run - 3)}
			case n <= 10:
				run = n
				it = headItem{17, uint8(run - 3)}
			default:
				run = min(n, 138)
				it = headItem{18, uint8(run - 11)}
			}
			items = append(items, it)
			n -= run
		}
		for ; n > 0; n-- {
			items = append(items, headItem{symbol: v})
		}
	}
	return items
}

// write appends the description.
func (h *codeHead) write(w *bitWriter) {
	w.put(uint64(h.nlit-257), 5)
	w.put(uint64(h.ndist-1), 5)
	w.put(uint64(h.ncode-4), 4)
	for _, s := range headOrder[:h.ncode] {
		w.put(uint64(h.codes[s].n), 3)
	}
	for _, it := range h.items {
		c := h.codes[it.symbol]
		w.put(uint64(c.bits), uint(c.n))
		w.put(uint64(it.extra), uint(headExtra[it.symbol]))
	}
}
