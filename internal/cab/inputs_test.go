package cab_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"symkeep/internal/cab"
)

// memFile is a File in memory.
type memFile struct{ b []byte }

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f.b).ReadAt(p, off)
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p); need > len(f.b) {
		f.b = append(f.b, make([]byte, need-len(f.b))...)
	}
	return copy(f.b[off:], p), nil
}

func (f *memFile) Truncate(size int64) error {
	if size > int64(len(f.b)) {
		return errors.New("truncate grows the file")
	}
	f.b = f.b[:size]
	return nil
}

// random returns n bytes without pattern, the same on every run.
func random(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	p := make([]byte, n+7)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(p[i:], r.Uint64())
	}
	return p[:n]
}

// records returns n bytes that look like debug information: small structures of
// slowly changing numbers and repeated words, among zero runs.
func records(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	words := []string{"std::", "basic_string", "operator", "vector", "allocator", "_M_", "iterator", "const&", "char"}
	var p []byte
	for addr := uint32(0x1000); len(p) < n; addr += r.Uint32N(64) {
		p = binary.LittleEndian.AppendUint32(p, addr)
		p = binary.LittleEndian.AppendUint16(p, uint16(r.Uint32N(300)))
		for range r.IntN(5) {
			p = append(p, words[r.IntN(len(words))]...)
		}
		p = append(p, 0)
		if r.IntN(100) == 0 {
			p = append(p, make([]byte, r.IntN(9000))...)
		}
	}
	return p[:n]
}

// mixed returns n bytes of changing nature, in pieces of about 20000 bytes.
func mixed(n int, seed uint64) []byte {
	var p []byte
	for i := seed; len(p) < n; i++ {
		switch i % 4 {
		case 0:
			p = append(p, records(30000, i)...)
		case 1:
			p = append(p, random(20000, i)...)
		case 2:
			p = append(p, make([]byte, 17000)...)
		default:
			p = append(p, noMatch(9000)...)
		}
	}
	return p[:n]
}

// noMatch returns n bytes with a skewed distribution and hardly a repetition: a
// block of literals only, whose distance tree has nothing in it.
func noMatch(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 3))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(min(r.Uint32N(256), r.Uint32N(256), r.Uint32N(256)))
	}
	return p
}

// input is one test file.
type input struct {
	name string
	data []byte
}

// inputs returns files of every kind at every size that has an edge. Nobody changes them.
var inputs = sync.OnceValue(func() []input {
	kinds := []struct {
		name string
		make func(n int) []byte
	}{
		{"mixed", func(n int) []byte { return mixed(n, 7) }},
		{"zeros", func(n int) []byte { return make([]byte, n) }},
		{"random", func(n int) []byte { return random(n, 7) }},
		{"nomatch", noMatch},
		{"records", func(n int) []byte { return records(n, 7) }},
	}
	var all []input
	for _, size := range []struct {
		name  string
		n     int
		kinds int // the first of them
	}{
		{"1", 1, 5}, {"2", 2, 5}, {"9", 9, 5}, {"100", 100, 5}, {"32767", 32767, 5}, {"32768", 32768, 5},
		{"32769", 32769, 5}, {"65536", 65536, 5}, {"1m-1", cab.GroupSize - 1, 1}, {"1m", cab.GroupSize, 2},
		{"1m+1", cab.GroupSize + 1, 3}, {"3m+777", 3*cab.GroupSize + 777, 1},
	} {
		for _, k := range kinds[:size.kinds] {
			all = append(all, input{k.name + "-" + size.name, k.make(size.n)})
		}
	}
	// A period just inside, at and beyond the longest distance and the window.
	for _, period := range []int{1, 3, 258, 259, cab.MaxDistance, cab.MaxDistance + 1, 32768, 32769} {
		all = append(all, input{"period-" + itoa(period), bytes.Repeat(random(period, 9), 200000/period+1)})
	}
	return all
})

// sevenGroups is one more input, for tests that read at many places.
var sevenGroups = sync.OnceValue(func() input {
	return input{"seven groups", mixed(6*cab.GroupSize+17, 2)}
})

func itoa(n int) string {
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

// container says how to make a test pack into one.
type container struct {
	want            cab.Container
	cabRaw, cabFile int64
}

var containers = []container{
	{cab.Cab, cab.MaxCabRaw, cab.MaxCabFile},
	{cab.GZ, 0, cab.MaxCabFile},
}

// pack packs data in writes of at most chunk bytes.
func pack(t testing.TB, c container, o cab.Options, data []byte, chunk int) (*memFile, cab.Info) {
	t.Helper()
	o.RawSize = int64(len(data))
	if o.Name == "" {
		o.Name = "test.pdb"
	}
	f := new(memFile)
	w, err := cab.NewWriterLimits(f, o, c.cabRaw, c.cabFile)
	if err != nil {
		t.Fatalf("NewWriter(%+v): %v", o, err)
	}
	defer w.Abort()
	for p := data; len(p) > 0; {
		n := min(chunk, len(p))
		if got, err := w.Write(p[:n]); got != n || err != nil {
			t.Fatalf("Write of %d bytes = %d, %v", n, got, err)
		}
		p = p[n:]
	}
	info, err := w.Close()
	if err != nil {
		t.Fatalf("Close: %v", err)
	}
	if info.Container != c.want {
		t.Fatalf("container %q, want %q", info.Container, c.want)
	}
	return f, info
}

// A form is what pack makes of an input.
type form struct {
	f    *memFile
	info cab.Info
}

var forms = map[string]form{}

// packInput is pack of an input, once for all tests that only read the packed file: the
// race detector makes packing slow.
func packInput(t testing.TB, c container, in input) (*memFile, cab.Info) {
	t.Helper()
	key := string(c.want) + in.name
	made, ok := forms[key]
	if !ok {
		made.f, made.info = pack(t, c, cab.Options{}, in.data, len(in.data))
		forms[key] = made
	}
	return made.f, made.info
}

// mustOpen opens a packed file.
func mustOpen(t testing.TB, f *memFile) *cab.Reader {
	t.Helper()
	r, err := cab.Open(f, int64(len(f.b)))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return r
}

// readAll reads a stream of a promised length and closes it.
func readAll(t testing.TB, s io.ReadCloser, want int64) []byte {
	t.Helper()
	defer s.Close()
	p, err := io.ReadAll(s)
	if err != nil || int64(len(p)) != want {
		t.Fatalf("stream of %d bytes, %v; want %d", len(p), err, want)
	}
	return p
}

func sha(p []byte) []byte {
	sum := sha256.Sum256(p)
	return sum[:]
}
