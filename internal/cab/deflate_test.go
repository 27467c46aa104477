package cab_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"symkeep/internal/cab"
)

// groups cuts data as the Writer does.
func groups(data []byte) [][]byte {
	var g [][]byte
	for len(data) > 0 {
		n := min(cab.GroupSize, len(data))
		g, data = append(g, data[:n]), data[n:]
	}
	return g
}

// Every block must decode on its own, with only complete trees, to what went in:
// cabextract refuses incomplete ones.
func TestBlocksAreStrict(t *testing.T) {
	var total strictInflater
	for _, in := range inputs() {
		for i, g := range groups(in.data) {
			var s strictInflater
			if err := s.inflateBlocks(cab.DeflateGroup(g)); err != nil {
				t.Errorf("%s: group %d: %v", in.name, i, err)
				continue
			}
			if !bytes.Equal(s.out, g) {
				t.Errorf("%s: group %d decodes to other bytes", in.name, i)
			}
			total.fixed += s.fixed
			total.dynamic += s.dynamic
			total.literal += s.literal
			total.match += s.match
		}
	}
	if total.fixed == 0 || total.dynamic == 0 || total.literal == 0 || total.match == 0 {
		t.Errorf("%d fixed, %d dynamic blocks, %d literals, %d matches; want some of each",
			total.fixed, total.dynamic, total.literal, total.match)
	}
}

func TestStoredWhenNothingIsGained(t *testing.T) {
	for _, n := range []int{1, 2, 9, 1000, cab.BlockSize, cab.BlockSize + 1, cab.GroupSize} {
		g := random(n, 3)
		blocks := (n + cab.BlockSize - 1) / cab.BlockSize
		if got, want := len(cab.DeflateGroup(g)), n+15*blocks; got != want {
			t.Errorf("DeflateGroup of %d random bytes has %d bytes, want %d", n, got, want)
		}
	}
}

// Few values, so that blocks end up near the border between stored and compressed.
func TestStoredBorder(t *testing.T) {
	for n := 1; n < 200; n++ {
		for values := 2; values < 256; values *= 2 {
			r := rand.New(rand.NewPCG(uint64(n), uint64(values)))
			g := make([]byte, n)
			for i := range g {
				g[i] = byte(r.IntN(values))
			}
			framed := cab.DeflateGroup(g)
			var s strictInflater
			if err := s.inflateBlocks(framed); err != nil || !bytes.Equal(s.out, g) {
				t.Fatalf("%d bytes of %d values: %v", n, values, err)
			}
			if len(framed) > n+15 {
				t.Fatalf("%d bytes of %d values take %d, want at most %d", n, values, len(framed), n+15)
			}
			if compressed := s.fixed+s.dynamic > 0; compressed && len(framed) == n+15 {
				t.Fatalf("%d bytes of %d values: a compressed block as long as the stored form", n, values)
			}
		}
	}
}

func TestCodeLengths(t *testing.T) {
	fibonacci := make([]uint32, 30) // the deepest tree there is
	fibonacci[0], fibonacci[1] = 1, 1
	for i := 2; i < len(fibonacci); i++ {
		fibonacci[i] = min(fibonacci[i-1]+fibonacci[i-2], 1<<20)
	}
	flat := make([]uint32, 286)
	for i := range flat {
		flat[i] = 1
	}
	for _, tt := range []struct {
		name  string
		freq  []uint32
		limit int
	}{
		{"none used", make([]uint32, 30), 15},
		{"first used", append([]uint32{9}, make([]uint32, 29)...), 15},
		{"last used", append(make([]uint32, 29), 9), 15},
		{"two used", append([]uint32{9}, append(make([]uint32, 28), 1)...), 15},
		{"fibonacci", fibonacci, 15},
		{"fibonacci in 7 bits", fibonacci[:19], 7},
		{"flat", flat, 15},
	} {
		lens := make([]uint8, len(tt.freq))
		cab.CodeLengths(lens, tt.freq, tt.limit)
		kraft := 0
		for s, n := range lens {
			if int(n) > tt.limit || n == 0 && tt.freq[s] > 0 {
				t.Errorf("%s: symbol %d has %d bits, want 1 to %d", tt.name, s, n, tt.limit)
			}
			if n > 0 {
				kraft += 1 << (tt.limit - int(n))
			}
		}
		if kraft != 1<<tt.limit {
			t.Errorf("%s: code takes %d of %d, want all", tt.name, kraft, 1<<tt.limit)
		}
		for a := range lens {
			for b := range lens {
				if tt.freq[a] > tt.freq[b] && tt.freq[b] > 0 && lens[a] > lens[b] {
					t.Fatalf("%s: symbol %d is more frequent than %d and longer", tt.name, a, b)
				}
			}
		}
	}
}

// The check every group passes after packing finds any changed bit.
func TestVerifyGroupFindsEveryFlip(t *testing.T) {
	raw := append(records(3000, 1), make([]byte, cab.BlockSize)...)
	framed := cab.DeflateGroup(raw)
	if err := cab.VerifyGroup(framed, raw); err != nil {
		t.Fatalf("VerifyGroup: %v", err)
	}
	for i := range framed {
		for bit := range 8 {
			framed[i] ^= 1 << bit
			if err := cab.VerifyGroup(framed, raw); !errors.Is(err, cab.ErrVerify) {
				t.Fatalf("VerifyGroup with bit %d of byte %d flipped = %v, want ErrVerify", bit, i, err)
			}
			framed[i] ^= 1 << bit
		}
	}
	for n := range framed {
		if err := cab.VerifyGroup(framed[:n], raw); !errors.Is(err, cab.ErrVerify) {
			t.Fatalf("VerifyGroup of %d bytes = %v, want ErrVerify", n, err)
		}
	}
	if err := cab.VerifyGroup(append(framed, 0), raw); !errors.Is(err, cab.ErrVerify) {
		t.Errorf("VerifyGroup with a byte more = %v, want ErrVerify", err)
	}
	other := bytes.Clone(raw)
	other[len(other)-1]++
	if err := cab.VerifyGroup(framed, other); !errors.Is(err, cab.ErrVerify) {
		t.Errorf("VerifyGroup of other bytes = %v, want ErrVerify", err)
	}
}

func TestFrameChecksum(t *testing.T) {
	for n := range 40 {
		frame := random(8+n, uint64(n))
		if got, want := cab.FrameChecksum(frame), wordXOR(frame[4:]); got != want {
			t.Errorf("FrameChecksum of %d bytes = %08x, want %08x", n, got, want)
		}
	}
}
