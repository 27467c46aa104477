package agent_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/agent"
	"symkeep/internal/spool"
)

// BenchmarkScan scans a folder of 10,000 files: found, identified, hashed. Its peer
// reads the same files with as many workers and does nothing with them, which is
// what the disk, or here the page cache, gives.
func BenchmarkScan(b *testing.B) {
	const n, size = 10_000, 16 << 10
	dir := b.TempDir()
	paths := make([]string, n)
	for i := range paths {
		name := fmt.Sprintf("lib%05d", i)
		paths[i] = filepath.Join(dir, name+".sym")
		if err := os.WriteFile(paths[i], sym(name, byte(i), size), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	members := spool.New(b.TempDir(), nil)
	defer members.Close()
	var scan, read time.Duration
	for b.Loop() {
		start := time.Now()
		files, err := agent.Scan(b.Context(), []string{dir}, members, 0, &events{})
		if err != nil || len(files) != n {
			b.Fatalf("Scan = %d files, %v, want %d", len(files), err, n)
		}
		scan += time.Since(start)
		start = time.Now()
		readAll(b, paths)
		read += time.Since(start)
	}
	files := float64(n) * float64(b.N)
	b.ReportMetric(files/scan.Seconds(), "files/s")
	b.ReportMetric(files*size/1e6/scan.Seconds(), "MB/s")
	b.ReportMetric(files/read.Seconds(), "read-files/s")
	b.ReportMetric(scan.Seconds()/read.Seconds(), "times-read")
}

func readAll(b *testing.B, paths []string) {
	var g errgroup.Group
	g.SetLimit(min(runtime.GOMAXPROCS(0), 8))
	for _, path := range paths {
		g.Go(func() error {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.Copy(io.Discard, f)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}
