package cab_test

import (
	"encoding/binary"
	"fmt"
)

// strictInflater decodes deflate streams as the strictest readers do and reports
// what they refuse: any Huffman tree that is not complete. It shares no code with
// the encoder, nor with any library.
type strictInflater struct {
	p       []byte
	bit     int
	out     []byte // history and output
	floor   int    // no distance may reach below it
	stored  int    // blocks seen, by type
	fixed   int
	dynamic int
	literal int // tokens seen, by kind
	match   int
}

func (s *strictInflater) bits(n int) (int, error) {
	v := 0
	for i := range n {
		if s.bit>>3 >= len(s.p) {
			return 0, fmt.Errorf("stream ends at bit %d", s.bit)
		}
		v |= int(s.p[s.bit>>3]>>(s.bit&7)&1) << i
		s.bit++
	}
	return v, nil
}

// tree is a canonical Huffman code: symbols by length.
type tree struct {
	count   [16]int
	symbols []int
}

func newTree(what string, lens []int) (*tree, error) {
	t := new(tree)
	kraft := 0
	for _, n := range lens {
		if n > 0 {
			t.count[n]++
			kraft += 1 << (15 - n)
		}
	}
	if kraft != 1<<15 {
		return nil, fmt.Errorf("%s tree is not complete: %d of %d", what, kraft, 1<<15)
	}
	for n := 1; n < 16; n++ {
		for sym, l := range lens {
			if l == n {
				t.symbols = append(t.symbols, sym)
			}
		}
	}
	return t, nil
}

func (s *strictInflater) symbol(t *tree) (int, error) {
	code, first, index := 0, 0, 0
	for n := 1; n < 16; n++ {
		b, err := s.bits(1)
		if err != nil {
			return 0, err
		}
		code = code<<1 | b
		if code-first < t.count[n] {
			return t.symbols[index+code-first], nil
		}
		index += t.count[n]
		first = (first + t.count[n]) << 1
	}
	return 0, fmt.Errorf("code of more than 15 bits")
}

// stream decodes one deflate stream that must fill p exactly.
func (s *strictInflater) stream(p []byte) error {
	s.p, s.bit = p, 0
	for {
		final, err := s.bits(1)
		if err != nil {
			return err
		}
		kind, err := s.bits(2)
		if err != nil {
			return err
		}
		switch kind {
		case 0:
			s.stored++
			err = s.storedBlock()
		case 1:
			s.fixed++
			err = s.fixedBlock()
		case 2:
			s.dynamic++
			err = s.dynamicBlock()
		default:
			err = fmt.Errorf("block of type 3")
		}
		if err != nil {
			return err
		}
		if final == 1 {
			if used := (s.bit + 7) >> 3; used != len(p) {
				return fmt.Errorf("stream ends after %d of %d bytes", used, len(p))
			}
			return nil
		}
	}
}

func (s *strictInflater) storedBlock() error {
	for s.bit&7 != 0 {
		if b, _ := s.bits(1); b != 0 {
			return fmt.Errorf("padding bit set at %d", s.bit)
		}
	}
	at := s.bit >> 3
	if len(s.p)-at < 4 {
		return fmt.Errorf("stored block cut short")
	}
	n := int(binary.LittleEndian.Uint16(s.p[at:]))
	if int(binary.LittleEndian.Uint16(s.p[at+2:])) != n^0xFFFF || len(s.p)-at-4 < n {
		return fmt.Errorf("stored block of %d bytes at %d", n, at)
	}
	s.out = append(s.out, s.p[at+4:at+4+n]...)
	s.bit = (at + 4 + n) * 8
	return nil
}

func (s *strictInflater) fixedBlock() error {
	lens := make([]int, 288)
	for i := range lens {
		switch {
		case i < 144:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		case i < 280:
			lens[i] = 7
		default:
			lens[i] = 8
		}
	}
	lit, err := newTree("fixed literal", lens)
	if err != nil {
		return err
	}
	lens = lens[:32]
	for i := range lens {
		lens[i] = 5
	}
	dist, err := newTree("fixed distance", lens)
	if err != nil {
		return err
	}
	return s.tokens(lit, dist)
}

func (s *strictInflater) dynamicBlock() error {
	var head [3]int
	for i, n := range []int{5, 5, 4} {
		v, err := s.bits(n)
		if err != nil {
			return err
		}
		head[i] = v
	}
	nlit, ndist, ncode := head[0]+257, head[1]+1, head[2]+4
	if nlit > 286 || ndist > 30 {
		return fmt.Errorf("%d literal and %d distance codes", nlit, ndist)
	}
	order := []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	codeLens := make([]int, 19)
	for _, sym := range order[:ncode] {
		v, err := s.bits(3)
		if err != nil {
			return err
		}
		codeLens[sym] = v
	}
	codes, err := newTree("code length", codeLens)
	if err != nil {
		return err
	}
	var lens []int
	for len(lens) < nlit+ndist {
		sym, err := s.symbol(codes)
		if err != nil {
			return err
		}
		value, base, extra := sym, 1, 0
		switch sym {
		case 16:
			if len(lens) == 0 {
				return fmt.Errorf("repeat of nothing")
			}
			value, base, extra = lens[len(lens)-1], 3, 2
		case 17:
			value, base, extra = 0, 3, 3
		case 18:
			value, base, extra = 0, 11, 7
		}
		more, err := s.bits(extra)
		if err != nil {
			return err
		}
		before := len(lens)
		for range base + more {
			lens = append(lens, value)
		}
		if before < nlit && len(lens) > nlit {
			return fmt.Errorf("run of lengths crosses from one code to the other")
		}
	}
	if len(lens) != nlit+ndist {
		return fmt.Errorf("%d code lengths, want %d", len(lens), nlit+ndist)
	}
	lit, err := newTree("literal", lens[:nlit])
	if err != nil {
		return err
	}
	dist, err := newTree("distance", lens[nlit:])
	if err != nil {
		return err
	}
	return s.tokens(lit, dist)
}

var (
	lengthBase = []int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115,
		131, 163, 195, 227, 258}
	lengthExtra = []int{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase    = []int{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
		2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distExtra = []int{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

func (s *strictInflater) tokens(lit, dist *tree) error {
	for {
		sym, err := s.symbol(lit)
		if err != nil {
			return err
		}
		if sym < 256 {
			s.literal++
			s.out = append(s.out, byte(sym))
			continue
		}
		if sym == 256 {
			return nil
		}
		if sym > 285 {
			return fmt.Errorf("length symbol %d", sym)
		}
		s.match++
		extra, err := s.bits(lengthExtra[sym-257])
		if err != nil {
			return err
		}
		length := lengthBase[sym-257] + extra
		dsym, err := s.symbol(dist)
		if err != nil {
			return err
		}
		if dsym > 29 {
			return fmt.Errorf("distance symbol %d", dsym)
		}
		extra, err = s.bits(distExtra[dsym])
		if err != nil {
			return err
		}
		from := len(s.out) - distBase[dsym] - extra
		if from < s.floor {
			return fmt.Errorf("distance reaches %d bytes before its history", s.floor-from)
		}
		for i := range length {
			s.out = append(s.out, s.out[from+i])
		}
	}
}

// inflateBlocks decodes the framed blocks of one group, each as a deflate stream
// of its own with the 32 KiB before it as history, and checks their frames.
func (s *strictInflater) inflateBlocks(framed []byte) error {
	s.out = nil
	for n := 0; len(framed) > 0; n++ {
		if len(framed) < 10 {
			return fmt.Errorf("block %d: frame of %d bytes", n, len(framed))
		}
		size, raw := int(binary.LittleEndian.Uint16(framed[4:])), int(binary.LittleEndian.Uint16(framed[6:]))
		if size > len(framed)-8 || size > 32768+12 || string(framed[8:10]) != "CK" {
			return fmt.Errorf("block %d: %d bytes of data, starts with %q", n, size, framed[8:10])
		}
		if raw > 32768 || raw < 32768 && size+8 != len(framed) {
			return fmt.Errorf("block %d: %d raw bytes, and it is not the last", n, raw)
		}
		if got, want := wordXOR(framed[4:8+size]), binary.LittleEndian.Uint32(framed); got != want {
			return fmt.Errorf("block %d: checksum %08x, want %08x", n, want, got)
		}
		before := len(s.out)
		s.floor = max(0, before-32768)
		if err := s.stream(framed[10 : 8+size]); err != nil {
			return fmt.Errorf("block %d: %w", n, err)
		}
		if got := len(s.out) - before; got != raw {
			return fmt.Errorf("block %d: %d raw bytes, frame says %d", n, got, raw)
		}
		framed = framed[8+size:]
	}
	return nil
}

// wordXOR is the checksum of [MS-CAB] over data that follows its two sizes, one
// byte at a time.
func wordXOR(sizesAndData []byte) uint32 {
	data := sizesAndData[4:]
	sum := binary.LittleEndian.Uint32(sizesAndData)
	whole := len(data) &^ 3
	for i, b := range data[:whole] {
		sum ^= uint32(b) << (8 * (i & 3))
	}
	rest := data[whole:]
	for i, b := range rest {
		sum ^= uint32(b) << (8 * (len(rest) - 1 - i))
	}
	return sum
}
