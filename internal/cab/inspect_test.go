package cab_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/flate"

	"symkeep/internal/cab"
)

// inspect feeds a packed file of size bytes to an Inspector that expects what the file
// says of itself.
func inspect(_ context.Context, r io.ReaderAt, size int64) (cab.Info, error) {
	rd, err := cab.Open(r, size)
	if err != nil {
		return cab.Info{}, err
	}
	return inspectAs(r, rd.Info(), size)
}

// inspectAs feeds a packed file to an Inspector, step bytes at a time.
func inspectAs(r io.ReaderAt, want cab.Info, step int64) (cab.Info, error) {
	i := cab.NewInspectorLimits(r, want, 0, cab.MaxCabFile)
	for end := int64(0); end < want.PackedSize; {
		end = min(end+step, want.PackedSize)
		for more := true; more; {
			var err error
			if more, err = i.Inspect(end, 2); err != nil {
				return cab.Info{}, err
			}
		}
	}
	return i.Close()
}

func TestInspectorTakesWhatAWriterWrites(t *testing.T) {
	for _, in := range inputs() {
		for _, c := range containers {
			f, info := packInput(t, c, in)
			for _, step := range []int64{100_000, info.PackedSize} {
				if got, err := inspectAs(f, info, step); err != nil || got != info {
					t.Errorf("%s %s: Inspector = %+v, %v; want %+v", in.name, c.want, got, err, info)
				}
			}
		}
	}
}

// A file still on its way is not whole, and nothing beyond what is there is read.
func TestInspectorWaits(t *testing.T) {
	f, info := pack(t, containers[0], cab.Options{}, random(3*cab.GroupSize, 1), cab.GroupSize)
	grown := new(memFile)
	i := cab.NewInspector(grown, info)
	for _, end := range []int{0, 40, 59_999, 100_000, cab.GroupSize, 2*cab.GroupSize + 5, len(f.b) - 1} {
		grown.b = f.b[:end]
		for more := true; more; {
			var err error
			if more, err = i.Inspect(int64(end), 1); err != nil {
				t.Fatalf("Inspect of %d of %d bytes = %v, want nil", end, len(f.b), err)
			}
		}
	}
	if _, err := i.Close(); !errors.Is(err, cab.ErrCorrupt) {
		t.Errorf("Close of a file that lacks a byte = %v, want ErrCorrupt", err)
	}
	grown.b = f.b
	if _, err := i.Inspect(info.PackedSize, 9); err != nil {
		t.Fatal(err)
	}
	if got, err := i.Close(); err != nil || got != info {
		t.Errorf("Close = %+v, %v; want %+v", got, err, info)
	}
}

func TestInspectorComparesWithWhatWasAnnounced(t *testing.T) {
	f, info := pack(t, containers[0], cab.Options{}, records(5000, 1), 5000)
	for _, tt := range []struct {
		name  string
		other func(*cab.Info)
	}{
		{"raw SHA-256", func(i *cab.Info) { i.RawSHA256[0]++ }},
		{"raw bytes", func(i *cab.Info) { i.RawSize++ }},
		{"packed SHA-256", func(i *cab.Info) { i.PackedSHA256[0]++ }},
		{"named", func(i *cab.Info) { i.Name = "other.pdb" }},
		{"bytes", func(i *cab.Info) { i.PackedSize-- }},
	} {
		want := info
		tt.other(&want)
		if _, err := inspectAs(f, want, 1<<20); !errors.Is(err, cab.ErrCorrupt) || !strings.Contains(err.Error(), tt.name) {
			t.Errorf("Inspector that was announced other %s = %v, want ErrCorrupt with it", tt.name, err)
		}
	}
	small, info := pack(t, containers[1], cab.Options{}, records(5000, 1), 5000)
	if _, err := inspect(t.Context(), small, info.PackedSize); err != nil {
		t.Fatal(err)
	}
	i := cab.NewInspector(small, info)
	if _, err := i.Inspect(info.PackedSize, 1); !errors.Is(err, cab.ErrCorrupt) || !strings.Contains(err.Error(), "which a cabinet holds") {
		t.Errorf("Inspector of a small gz container = %v, want ErrCorrupt", err)
	}
}

// frameOf frames deflate bytes of n raw ones as a cabinet block.
func frameOf(deflated []byte, n int) []byte {
	p := append(make([]byte, 8), "CK"...)
	p = append(p, deflated...)
	binary.LittleEndian.PutUint16(p[4:], uint16(len(p)-8))
	binary.LittleEndian.PutUint16(p[6:], uint16(n))
	binary.LittleEndian.PutUint32(p, cab.FrameChecksum(p))
	return p
}

// foreign makes a cabinet of one group with consistent checksums out of blocks.
func foreign(t *testing.T, raw, blocks []byte) (*memFile, cab.Info) {
	t.Helper()
	f, _ := pack(t, containers[0], cab.Options{}, raw, len(raw))
	body, _ := mustOpen(t, f).Body()
	p := append(bytes.Clone(f.b[:body]), blocks...)
	gzip := uint64(18)
	for rest := blocks; len(rest) >= 10; {
		n, uncomp := int(binary.LittleEndian.Uint16(rest[4:])), int(binary.LittleEndian.Uint16(rest[6:]))
		rest = rest[min(8+n, len(rest)):]
		if gzip += uint64(n - 2); n != uncomp+7 && len(rest) > 0 {
			gzip -= 5
		}
	}
	binary.LittleEndian.PutUint32(p[8:], uint32(len(p)))
	binary.LittleEndian.PutUint64(p[40+32:], uint64(len(p)))
	binary.LittleEndian.PutUint64(p[40+40:], gzip)
	reseal(p, int(body))
	f = &memFile{p}
	return f, mustOpen(t, f).Info()
}

// deflated compresses raw as another encoder does: in one stream that ends in a
// final empty stored block at a byte boundary.
func deflated(t *testing.T, level int, parts ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		z.Write(p)
		z.Flush()
	}
	return append(b.Bytes(), 1, 0, 0, 0xFF, 0xFF)
}

// TestInspectorRefusesForeignBlocks: cabinets with consistent checksums whose blocks
// no Writer makes. Some of them decode to the announced bytes, and VerifyRaw takes
// them; cabextract does not take all of those.
func TestInspectorRefusesForeignBlocks(t *testing.T) {
	text := []byte(strings.Repeat("all debuggers read this. ", 40))
	far := append(random(cab.BlockSize, 3), random(cab.BlockSize, 3)...) // the second is 32768 back
	for _, tt := range []struct {
		name   string
		raw    []byte
		blocks []byte
		want   string
		decode bool // to what was announced, all the same
	}{
		{"one distance code", make([]byte, 9000), frameOf(incompleteTree(), 9000), "distance code fills", true},
		{"two blocks", text, frameOf(deflated(t, 9, text[:500], text[500:]), len(text)), "raw bytes early", true},
		{"blocks cut elsewhere", far[:cab.BlockSize+100], append(frameOf(deflated(t, 9, far[:cab.BlockSize-1]), cab.BlockSize),
			frameOf(deflated(t, 9, far[:101]), 100)...), "", false},
		{"a bomb", text[:1000], frameOf(deflated(t, 9, make([]byte, 16<<20)), 1000), "", false},
		{"stored block in a compressed one", text, frameOf(deflated(t, 0, text[:20]), 20), "", false},
		{"final block first", text, frameOf([]byte{0x03, 0, 1, 0, 0, 0xFF, 0xFF}, len(text)), "not final", false},
		{"type 3", text, frameOf([]byte{0x06, 0, 1, 0, 0, 0xFF, 0xFF}, len(text)), "fixed or dynamic", false},
		{"nothing", text, frameOf([]byte{1, 0, 0, 0xFF, 0xFF}, len(text)), "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, info := foreign(t, tt.raw, tt.blocks)
			if _, err := inspect(t.Context(), f, info.PackedSize); !errors.Is(err, cab.ErrCorrupt) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Inspector = %v, want ErrCorrupt with %q", err, tt.want)
			}
			if _, err := cab.VerifyRaw(t.Context(), f, info.PackedSize); (err == nil) != tt.decode {
				t.Errorf("VerifyRaw = %v, want nil: %v", err, tt.decode)
			}
		})
	}
}

// incompleteTree is a block of 9000 zeros with a single distance code, which RFC 1951
// allows and libmspack does not.
func incompleteTree() []byte {
	var w bits
	w.put(2<<1, 3)
	w.put(286-257, 5) // all lengths
	w.put(0, 5)       // one distance
	w.put(14, 4)      // code lengths of 18 symbols
	for _, s := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1} {
		n := map[int]uint64{18: 1, 1: 2, 2: 2}[s]
		w.put(n, 3)
	}
	// Canonical: 18 is 0, 1 is 10, 2 is 11; sent from the high bit.
	zeros := func(n int) {
		for ; n > 0; n -= min(n, 138) {
			w.put(0, 1)
			w.put(uint64(min(n, 138)-11), 7)
		}
	}
	one, two := func() { w.put(1, 2) }, func() { w.put(3, 2) }
	two() // literal 0: 10
	zeros(255)
	two() // end: 11
	zeros(28)
	one() // length 258: 0
	one() // distance 1: 0
	w.put(1, 2)
	left := 9000 - 1
	for ; left >= 258; left -= 258 {
		w.put(0, 2)
	}
	for range left {
		w.put(1, 2)
	}
	w.put(3, 2)
	w.put(0, 3)
	w.align()
	return append(w.b, 0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF)
}

// bits writes bits, the lowest first.
type bits struct {
	b []byte
	n int
}

func (w *bits) put(v uint64, n int) {
	for i := range n {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[len(w.b)-1] |= byte(v>>i&1) << (w.n % 8)
		w.n++
	}
}

func (w *bits) align() { w.n = 8 * len(w.b) }

// TestInspectorIsAsStrictAsCabextract: the reason for being strict is real.
func TestInspectorIsAsStrictAsCabextract(t *testing.T) {
	needTool(t, "cabextract")
	f, info := foreign(t, make([]byte, 9000), frameOf(incompleteTree(), 9000))
	path := filepath.Join(t.TempDir(), "a.pd_")
	if err := os.WriteFile(path, f.b, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := unpack(t, cabinetReaders[0], path, info.Name); err == nil {
		t.Errorf("cabextract unpacked %d bytes, want an error: is being strict still needed?", len(got))
	}
}

// TestInspectorRefusesForeignMembers: gz containers with consistent checksums whose index
// or blocks no Writer makes.
func TestInspectorRefusesForeignMembers(t *testing.T) {
	raw := records(cab.GroupSize+5000, 1)
	f, info := pack(t, containers[1], cab.Options{}, raw, len(raw))
	first := int(binary.LittleEndian.Uint64(f.b[info.GzipSize+152+12:]))
	one, two := f.b[10:first], f.b[first:info.GzipSize-8]
	if !bytes.Equal(cab.GZOf(raw, info.Name, one, two), f.b) {
		t.Fatal("GZOf makes another file of what a Writer wrote")
	}
	whole := deflated(t, 9, raw[:cab.GroupSize])
	for _, tt := range []struct {
		name   string
		groups [][]byte
	}{
		{"index off by a byte", [][]byte{one[:len(one)-1], append([]byte{one[len(one)-1]}, two...)}},
		{"index a block early", [][]byte{one[:len(one)-5], append(bytes.Clone(one[len(one)-5:]), two...)}},
		{"groups swapped", [][]byte{two, one}},
		{"final block within", [][]byte{append(bytes.Clone(one), 1, 0, 0, 0xFF, 0xFF), two}},
		{"no final block", [][]byte{one, two[:len(two)-5]}},
		{"something behind", [][]byte{one, append(bytes.Clone(two), 0)}},
		{"one block for a group", [][]byte{whole[:len(whole)-5], two}},
	} {
		p := cab.GZOf(raw, info.Name, tt.groups...)
		if _, err := cab.Verify(t.Context(), bytes.NewReader(p), int64(len(p))); err != nil {
			t.Errorf("%s: Verify = %v; the checksums of this test are wrong", tt.name, err)
		}
		if _, err := inspect(t.Context(), bytes.NewReader(p), int64(len(p))); !errors.Is(err, cab.ErrCorrupt) {
			t.Errorf("%s: Inspector = %v, want ErrCorrupt", tt.name, err)
		}
	}
}

// FuzzInspectorGZ feeds anything as the only group of a gz container. What the Inspector
// takes, the inflater that serves it takes too, to the same bytes.
func FuzzInspectorGZ(f *testing.F) {
	for _, data := range [][]byte{{1}, records(3000, 1), make([]byte, cab.BlockSize+1), random(cab.BlockSize+9, 1)} {
		p, info := pack(f, containers[1], cab.Options{}, data, len(data))
		f.Add(p.b[10:info.GzipSize-8], uint32(len(data)-1))
	}
	f.Fuzz(func(t *testing.T, group []byte, rawSize uint32) {
		raw, err := cab.InspectGZGroup(group, int(rawSize%(4*cab.BlockSize)+1))
		if err != nil {
			return
		}
		p := cab.GZOf(raw, "a", group)
		if _, err := cab.VerifyRaw(t.Context(), bytes.NewReader(p), int64(len(p))); err != nil {
			t.Fatal(err)
		}
		if _, err := inspect(t.Context(), bytes.NewReader(p), int64(len(p))); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzInspector puts anything behind a head whose checksums match it. Whatever the
// Inspector takes, the strictest reader and the inflater that serves it take too, and
// all of them to the same bytes.
func FuzzInspector(f *testing.F) {
	for _, data := range [][]byte{{1}, records(3000, 1), make([]byte, cab.BlockSize+1), random(cab.BlockSize+9, 1), noMatch(700)} {
		f.Add(cab.DeflateGroup(data), uint32(len(data)-1))
	}
	f.Add(frameOf(incompleteTree(), 9000), uint32(8999))
	f.Fuzz(func(t *testing.T, blocks []byte, rawSize uint32) {
		rawSize = rawSize%(4*cab.BlockSize) + 1
		for p := blocks; len(p) >= 10; { // a wrong checksum is soon found: take it out of the way
			n := 8 + int(binary.LittleEndian.Uint16(p[4:]))
			if n > len(p) {
				break
			}
			binary.LittleEndian.PutUint32(p, cab.FrameChecksum(p[:n]))
			p = p[n:]
		}
		got, err := cab.InspectGroup(blocks, int(rawSize))
		if err != nil {
			return
		}
		var s strictInflater
		if err := s.inflateBlocks(blocks); err != nil || !bytes.Equal(s.out, got) {
			t.Fatalf("Inspector took %d blocks' bytes that the strictest reader refuses: %v", len(blocks), err)
		}
		if err := cab.VerifyGroup(blocks, got); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkInspect measures the Inspector beside VerifyRaw and beside packing, one core
// each, on the same bytes in the same run.
func BenchmarkInspect(b *testing.B) {
	data := benchData(b)
	f, info := pack(b, containers[0], cab.Options{}, data, len(data))
	b.SetBytes(int64(len(data)))
	var packing, inspecting time.Duration
	for b.Loop() {
		start := time.Now()
		pack(b, containers[0], cab.Options{Workers: 1}, data, len(data))
		packing += time.Since(start)
		start = time.Now()
		if _, err := inspectAs(f, info, 1<<20); err != nil {
			b.Fatal(err)
		}
		inspecting += time.Since(start)
	}
	mb := float64(len(data)) * float64(b.N) / 1e6
	b.ReportMetric(mb/packing.Seconds(), "pack-MB/s")
	b.ReportMetric(mb/inspecting.Seconds(), "inspect-MB/s")
	b.ReportMetric(inspecting.Seconds()/packing.Seconds(), "of-packing")
}
