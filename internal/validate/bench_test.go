package validate_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"symkeep/internal/validate"
)

// benchFiles is a build tree of n files: copies of what the repository builds or holds.
func benchFiles(b *testing.B, n int) []string {
	dir := b.TempDir()
	pool := builtSpecimens(b)
	families := slices.Sorted(maps.Keys(pool))
	paths := make([]string, n)
	for i := range paths {
		of := pool[families[i%len(families)]]
		s := of[i/len(families)%len(of)]
		paths[i] = filepath.Join(dir, fmt.Sprintf("%05d-%s", i, filepath.Base(s.path)))
		if err := os.WriteFile(paths[i], s.data, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return paths
}

// BenchmarkIdentify opens and identifies 10,000 files on disk, one after another, and as
// its peer opens the same files and reads their first 4 KiB, which nobody who looks at
// contents can go below. The two take turns, a hundred files at a time, and medians of
// those count: whatever else runs on the machine meets both.
func BenchmarkIdentify(b *testing.B) {
	paths := benchFiles(b, 10_000)
	identify := func(f *os.File, size int64, name string) error {
		_, err := validate.Identify(f, size, name)
		return err
	}
	head := make([]byte, 4096)
	glance := func(f *os.File, _ int64, _ string) error {
		if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		return nil
	}
	each := func(paths []string, read func(f *os.File, size int64, name string) error) float64 {
		start := time.Now()
		for _, path := range paths {
			if err := withFile(path, read); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(start).Seconds() / float64(len(paths))
	}
	each(paths, glance) // into the page cache
	var ours, floor, ratio []float64
	for b.Loop() {
		for some := range slices.Chunk(paths, 100) {
			a, f := each(some, identify), each(some, glance)
			ours, floor, ratio = append(ours, a), append(floor, f), append(ratio, a/f)
		}
	}
	b.ReportMetric(1/median(ours), "files/s")
	b.ReportMetric(1/median(floor), "floor-files/s")
	b.ReportMetric(median(ratio), "times-floor")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func withFile(path string, read func(f *os.File, size int64, name string) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	return read(f, fi.Size(), fi.Name())
}

// BenchmarkCheck runs every check on one file in memory, on one core. SYMKEEP_BENCH_FILE
// adds a file of one's own. The peer for ELF is the walk of all entries with the
// standard library's debug/dwarf.
func BenchmarkCheck(b *testing.B) {
	pool := builtSpecimens(b)
	if path := os.Getenv("SYMKEEP_BENCH_FILE"); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		pool["own"] = []specimen{{"own", filepath.Base(path), path, data}}
	}
	for _, family := range slices.Sorted(maps.Keys(pool)) {
		s := slices.MaxFunc(pool[family], func(a, b specimen) int { return len(a.data) - len(b.data) })
		b.Run(family, func(b *testing.B) {
			b.SetBytes(int64(len(s.data)))
			var ours, std time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := validate.Package(b.Context(), []validate.File{named(file(s.path, s.data))}, validate.Options{Workers: 1}); err != nil {
					b.Fatal(err)
				}
				ours += time.Since(start)
				start = time.Now()
				if walkDWARF(s.data) {
					std += time.Since(start)
				}
			}
			mb := float64(len(s.data)) * float64(b.N) / 1e6
			b.ReportMetric(mb/ours.Seconds(), "check-MB/s")
			if std > 0 {
				b.ReportMetric(mb/std.Seconds(), "debug/dwarf-MB/s")
				b.ReportMetric(std.Seconds()/ours.Seconds(), "speed-ratio")
			}
		})
	}
}

// walkDWARF reads every entry with debug/dwarf and reports whether it could.
func walkDWARF(data []byte) bool {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return false
	}
	d, err := f.DWARF()
	if err != nil {
		return false
	}
	r := d.Reader()
	n := 0
	for e, err := r.Next(); e != nil; e, err = r.Next() {
		if err != nil {
			return false
		}
		n++
	}
	return n > 0
}
