package cab_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"symkeep/internal/cab"
)

// FuzzOpen feeds anything to Open and to all that a Reader gives out.
func FuzzOpen(f *testing.F) {
	for _, c := range containers {
		for _, data := range [][]byte{{1}, records(3000, 1), make([]byte, cab.BlockSize+1), mixed(cab.GroupSize+1, 1)} {
			p, _ := pack(f, c, cab.Options{}, data, len(data))
			f.Add(p.b)
		}
	}
	f.Add([]byte("MSCF"))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Fuzz(func(t *testing.T, p []byte) { useAll(t, p) })
}

// FuzzBody puts anything behind a head whose checksums match it, to reach what
// they otherwise keep out.
func FuzzBody(f *testing.F) {
	for _, data := range [][]byte{{1}, records(3000, 1), make([]byte, cab.BlockSize+1), random(cab.BlockSize+9, 1)} {
		f.Add(cab.DeflateGroup(data), uint32(len(data)))
	}
	f.Add([]byte{0}, uint32(2988))                                 // no block
	f.Add(append(cab.DeflateGroup([]byte{1}), 0, 0, 0), uint32(0)) // bytes after the last one
	valid, _ := pack(f, containers[0], cab.Options{}, []byte{1}, 1)
	start, _ := mustOpen(f, valid).Body()
	head := valid.b[:start]
	f.Fuzz(func(t *testing.T, body []byte, rawSize uint32) {
		p := append(bytes.Clone(head), body...)
		rawSize = rawSize%cab.GroupSize + 1
		le := binary.LittleEndian
		le.PutUint32(p[8:], uint32(len(p)))
		le.PutUint64(p[40+24:], uint64(rawSize))
		le.PutUint64(p[40+32:], uint64(len(p)))
		le.PutUint16(p[40+164+4:], uint16((rawSize+cab.BlockSize-1)/cab.BlockSize))
		le.PutUint32(p[40+164+8:], rawSize)
		reseal(p, len(head))
		if _, err := cab.Open(bytes.NewReader(p), int64(len(p))); err != nil && 0 < len(body) && len(body) < 1<<20 {
			t.Fatalf("Open: %v; the checksums of this test are wrong", err)
		}
		useAll(t, p)
	})
}

// useAll opens p and takes all out of it: no panic, and every stream that ends
// well has the promised length.
func useAll(t *testing.T, p []byte) {
	r, err := cab.Open(bytes.NewReader(p), int64(len(p)))
	if err != nil {
		return
	}
	info := r.Info()
	if groups := (info.RawSize + cab.GroupSize - 1) / cab.GroupSize; info.PackedSize != int64(len(p)) || 12*groups > info.PackedSize {
		t.Fatalf("Open of %d bytes: %+v", len(p), info)
	}
	s := r.Range(0, info.RawSize)
	raw, rawErr := io.ReadAll(s)
	s.Close()
	s = r.Range(0, info.RawSize)
	if n, err := io.Copy(io.Discard, s); (err == nil) != (rawErr == nil) || n != int64(len(raw)) {
		t.Fatalf("%d bytes read, %v, and %d written, %v", len(raw), rawErr, n, err)
	}
	s.Close()
	s, n := r.Gzip()
	gz, gzErr := io.ReadAll(s)
	s.Close()
	if rawErr == nil && int64(len(raw)) != info.RawSize || gzErr == nil && int64(len(gz)) != n {
		t.Fatalf("raw %d of %d bytes, gzip %d of %d", len(raw), info.RawSize, len(gz), n)
	}
	if s, n, err := r.Cabinet("other"); err == nil {
		if m, err := io.Copy(io.Discard, s); err == nil && m != n {
			t.Fatalf("cabinet of %d bytes, promised %d", m, n)
		}
		s.Close()
	}
	for _, v := range verifiers {
		v.f(t.Context(), bytes.NewReader(p), int64(len(p)))
	}
}

// FuzzRoundTrip packs anything, repeated to reach block and group edges, and takes
// it apart again in every form.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte{0}, uint32(1), uint16(1), false)
	f.Add([]byte("abcabcabd"), uint32(32769), uint16(4096), true)
	f.Add(random(3000, 1), uint32(2*cab.BlockSize), uint16(65535), false)
	f.Add(records(3000, 1), uint32(100000), uint16(777), true)
	f.Fuzz(func(t *testing.T, seed []byte, size uint32, chunk uint16, gz bool) {
		size %= 4 * cab.BlockSize // TestRoundTrip has the edges of groups
		if len(seed) == 0 || size == 0 || chunk == 0 {
			return
		}
		data := bytes.Repeat(seed, int(size)/len(seed)+1)[:size]
		c := containers[0]
		if gz {
			c = containers[1]
		}
		file, info := pack(t, c, cab.Options{}, data, int(chunk)+int(size)/64)
		if got, err := cab.VerifyRaw(t.Context(), file, info.PackedSize); err != nil || got != info {
			t.Fatalf("VerifyRaw = %+v, %v; want %+v", got, err, info)
		}
		r := mustOpen(t, file)
		if got := readAll(t, r.Range(0, info.RawSize), info.RawSize); !bytes.Equal(got, data) {
			t.Fatal("raw bytes differ")
		}
		s, n := r.Gzip()
		if got := gunzip(t, readAll(t, s, n)); !bytes.Equal(got, data) {
			t.Fatal("gzip answer decodes to other bytes")
		}
	})
}

// fuzzGroup is enough to have history before a block and one after it.
const fuzzGroup = 2*cab.BlockSize + 999

// FuzzDeflate compresses anything and takes it to the strictest reader.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte{0}, []byte{1}, uint16(1))
	f.Add(records(2000, 1), random(100, 1), uint16(9))
	f.Add(noMatch(3000), make([]byte, 300), uint16(300))
	f.Fuzz(func(t *testing.T, a, b []byte, repeat uint16) {
		group := append([]byte{}, a...)
		for range repeat {
			if group = append(append(group, b...), a[:min(len(a), 7)]...); len(group) > fuzzGroup {
				break
			}
		}
		group = group[:min(len(group), fuzzGroup)]
		framed := cab.DeflateGroup(group)
		var s strictInflater
		if err := s.inflateBlocks(framed); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.out, group) {
			t.Fatal("blocks decode to other bytes")
		}
	})
}
