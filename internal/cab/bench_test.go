package cab_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"symkeep/internal/cab"
)

// benchData is the file named by SYMKEEP_BENCH_FILE, or generated.
func benchData(b *testing.B) []byte {
	b.Helper()
	path := os.Getenv("SYMKEEP_BENCH_FILE")
	if path == "" {
		return mixed(16*cab.GroupSize, 1)
	}
	p, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// BenchmarkPack packs on one core, decoding and comparing included, and measures
// the standard library's gzip on the same bytes in the same run.
func BenchmarkPack(b *testing.B) {
	data := benchData(b)
	b.SetBytes(int64(len(data)))
	var ours, std time.Duration
	var packed, gzipped int
	for b.Loop() {
		start := time.Now()
		f, _ := pack(b, containers[0], cab.Options{Workers: 1}, data, len(data))
		ours += time.Since(start)
		packed = len(f.b)

		start = time.Now()
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		if _, err := z.Write(data); err != nil {
			b.Fatal(err)
		}
		if err := z.Close(); err != nil {
			b.Fatal(err)
		}
		std += time.Since(start)
		gzipped = buf.Len()
	}
	mb := float64(len(data)) * float64(b.N) / 1e6
	b.ReportMetric(mb/ours.Seconds(), "pack-MB/s")
	b.ReportMetric(mb/std.Seconds(), "gzip-MB/s")
	b.ReportMetric(100*float64(packed)/float64(len(data)), "pack-%")
	b.ReportMetric(100*float64(gzipped)/float64(len(data)), "gzip-%")
	b.ReportMetric(std.Seconds()/ours.Seconds(), "speed-ratio")
}

func BenchmarkDeflate(b *testing.B) {
	data := benchData(b)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		for _, g := range groups(data) {
			cab.DeflateGroup(g)
		}
	}
}

// BenchmarkServe measures each way out.
func BenchmarkServe(b *testing.B) {
	data := benchData(b)
	f, info := pack(b, containers[0], cab.Options{}, data, len(data))
	r := mustOpen(b, f)
	for _, way := range []struct {
		name string
		open func() io.ReadCloser
	}{
		{"raw", func() io.ReadCloser { return r.Range(0, info.RawSize) }},
		{"gzip", func() io.ReadCloser { s, _ := r.Gzip(); return s }},
		{"cabinet", func() io.ReadCloser { s, _, _ := r.Cabinet(info.Name); return s }},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.SetBytes(info.RawSize)
			for b.Loop() {
				s := way.open()
				if _, err := io.Copy(io.Discard, s); err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
	}
	b.Run("verify", func(b *testing.B) {
		b.SetBytes(info.RawSize)
		for b.Loop() {
			if _, err := cab.Verify(b.Context(), f, info.PackedSize); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("randomread64k", func(b *testing.B) {
		r.SetCache(0)
		p := make([]byte, 64<<10)
		b.SetBytes(int64(len(p)))
		off := int64(0)
		for b.Loop() {
			if _, err := r.ReadAt(p, off%(info.RawSize-int64(len(p)))); err != nil {
				b.Fatal(err)
			}
			off += 7 * cab.GroupSize / 3
		}
	})
}
