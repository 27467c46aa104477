package validate_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
)

// A specimen is a valid file that mutants are made of.
type specimen struct {
	family string // the parser that claims it: pe, pdb, ppdb, elf, macho, sym, wasm
	path   string // as its package names it
	origin string // where a person finds it
	data   []byte
}

// A mutant is a damaged copy of a specimen. Seed, number and specimens decide it,
// so that a finding is repeated by naming them.
type mutant struct {
	no   int
	of   *specimen
	kind string // one of mutations
	what string // the damage in words; offsets and lengths in bytes
	data []byte
}

// mutations are the ways in which files are damaged: cut short, bits that flipped,
// parts that never arrived, and parts of other files where they do not belong.
var mutations = []struct {
	kind string
	do   func(r *rand.Rand, b, other []byte) ([]byte, string)
}{
	{"truncate", truncate},
	{"flip", flip},
	{"hole", hole},
	{"overwrite", overwrite},
	{"insert", insert},
	{"delete", remove},
}

// newMutant makes mutant number no. Families come equally often, whatever the
// number of their specimens.
func newMutant(seed uint64, no int, pool map[string][]specimen) mutant {
	r := rand.New(rand.NewPCG(seed, uint64(no)))
	pick := func() *specimen {
		families := make([]string, 0, len(pool))
		for f := range pool {
			families = append(families, f)
		}
		slices.Sort(families)
		s := pool[families[r.IntN(len(families))]]
		return &s[r.IntN(len(s))]
	}
	of, other := pick(), pick()
	m := mutant{no: no, of: of}
	for m.data == nil || bytes.Equal(m.data, of.data) {
		way := mutations[r.IntN(len(mutations))]
		m.kind = way.kind
		m.data, m.what = way.do(r, of.data, other.data)
	}
	return m
}

// place gives an offset below n: anywhere, near the start where headers are, or at
// the start of a page or of a part of an upload.
func place(r *rand.Rand, n int) int {
	off := r.IntN(n)
	switch r.IntN(4) {
	case 0:
		off = r.IntN(min(n, 4096))
	case 1:
		off &^= 4095
	}
	return off
}

// stretch gives an offset and a length of at most limit bytes within n.
func stretch(r *rand.Rand, n, limit int) (off, length int) {
	off = place(r, n)
	length = 1 + r.IntN(limit)
	if r.IntN(2) == 0 {
		length = 1 + r.IntN(16)
	}
	return off, min(length, n-off)
}

// truncate ends a file early: anywhere, within its last page, or at a page.
func truncate(r *rand.Rand, b, _ []byte) ([]byte, string) {
	n := place(r, len(b))
	if r.IntN(3) == 0 {
		n = len(b) - 1 - r.IntN(min(len(b), 4096))
	}
	return slices.Clone(b[:n]), fmt.Sprintf("cut at %d of %d", n, len(b))
}

// flip changes up to 8 bits, in half of the cases close to each other.
func flip(r *rand.Rand, b, _ []byte) ([]byte, string) {
	b = slices.Clone(b)
	what, near := "bits", place(r, len(b))
	together := r.IntN(2) == 0
	for range 1 + r.IntN(8) {
		off := place(r, len(b))
		if together {
			off = min(near+r.IntN(64), len(b)-1)
		}
		bit := r.IntN(8)
		b[off] ^= 1 << bit
		what += fmt.Sprintf(" %#x.%d", off, bit)
	}
	return b, what
}

// hole zeroes a stretch: a part of a parallel copy, or blocks of a full disk.
func hole(r *rand.Rand, b, _ []byte) ([]byte, string) {
	b = slices.Clone(b)
	off, n := stretch(r, len(b), 64<<10)
	clear(b[off : off+n])
	return b, fmt.Sprintf("zeros at %#x for %d", off, n)
}

// overwrite puts a stretch of another file, or of this one, over a part.
func overwrite(r *rand.Rand, b, other []byte) ([]byte, string) {
	from, n := stretch(r, len(other), 4<<10)
	b = slices.Clone(b)
	off := place(r, len(b))
	n = copy(b[off:], other[from:from+n])
	return b, fmt.Sprintf("foreign bytes over %#x for %d", off, n)
}

// insert shifts the rest of a file, as text modes and broken resumes do.
func insert(r *rand.Rand, b, other []byte) ([]byte, string) {
	from, n := stretch(r, len(other), 4<<10)
	off := place(r, len(b))
	return slices.Insert(slices.Clone(b), off, other[from:from+n]...), fmt.Sprintf("%d foreign bytes inserted at %#x", n, off)
}

// remove drops a stretch from the middle.
func remove(r *rand.Rand, b, _ []byte) ([]byte, string) {
	off, n := stretch(r, len(b), 4<<10)
	return slices.Delete(slices.Clone(b), off, off+n), fmt.Sprintf("%d bytes lost at %#x", n, off)
}
