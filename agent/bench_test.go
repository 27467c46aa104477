package agent_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
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

// BenchmarkScanCold scans the folder that SYMKEEP_BENCH_SCAN names, such as a build tree,
// with nothing of it in memory, and as its peer only reads the same files with as many
// workers: cold, that is what the disk gives. The two take turns; medians count. Only
// root can empty the page cache.
func BenchmarkScanCold(b *testing.B) {
	dir := os.Getenv("SYMKEEP_BENCH_SCAN")
	if dir == "" {
		b.Skip("SYMKEEP_BENCH_SCAN names no folder")
	}
	members := spool.New(b.TempDir(), nil)
	defer members.Close()
	var paths []string
	bytes := int64(0)
	var scan, read, ratio []float64
	for b.Loop() {
		dropCaches(b)
		start := time.Now()
		files, err := agent.Scan(b.Context(), []string{dir}, members, 0, &events{})
		if err != nil {
			b.Fatal(err)
		}
		ours := time.Since(start).Seconds()
		paths, bytes = paths[:0], 0
		for _, f := range files {
			if strings.HasPrefix(f.Local, dir) { // not a member of an archive
				paths, bytes = append(paths, f.Local), bytes+f.Size
			}
		}
		dropCaches(b)
		start = time.Now()
		readAll(b, paths)
		plain := time.Since(start).Seconds()
		scan, read, ratio = append(scan, ours), append(read, plain), append(ratio, ours/plain)
	}
	b.ReportMetric(float64(len(paths))/median(scan), "files/s")
	b.ReportMetric(float64(bytes)/1e6/median(scan), "MB/s")
	b.ReportMetric(float64(bytes)/1e6/median(read), "read-MB/s")
	b.ReportMetric(median(ratio), "times-read")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// dropCaches has the system forget what it read of disks.
func dropCaches(b *testing.B) {
	err := exec.Command("sync").Run()
	if err == nil {
		err = os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
	}
	if err != nil {
		b.Skipf("the page cache cannot be emptied: %v", err)
	}
}

// readAll reads files as cat does, as many at once as a scan.
func readAll(b *testing.B, paths []string) {
	var g errgroup.Group
	g.SetLimit(min(4*runtime.GOMAXPROCS(0), 16))
	for _, path := range paths {
		g.Go(func() error {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			buf := make([]byte, 128<<10)
			for err == nil {
				_, err = f.Read(buf)
			}
			if err == io.EOF {
				err = nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}
