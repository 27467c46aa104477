package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"symkeep/internal/cab"
)

// firstTime compares the first answer with raw bytes of a packed blob with how fast the
// same blob is unpacked by all processors without any server. Each round has a file of
// its own, since the second answer comes from the cache.
func (s *stage) firstTime(ctx context.Context, t *table) error {
	dir := filepath.Join(s.cfg.dir, "first")
	if err := makeDirs(dir); err != nil {
		return err
	}
	var files []*file
	for i := range s.cfg.rounds {
		f, err := makeFile(filepath.Join(dir, fmt.Sprintf("first%d.debug", i)), 50<<20, code(1000+i))
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	if err := s.node.push(ctx, dir); err != nil {
		return err
	}
	var served, unpacked []float64
	for _, f := range files {
		begun := time.Now()
		n, err := fetch(ctx, "http://"+s.node.addr+f.debuginfo(), "", io.Discard)
		if err != nil {
			return err
		}
		served = append(served, float64(n)/1e6/time.Since(begun).Seconds())
		time.Sleep(time.Second) // meanwhile the node checks what it has put into its cache
		speed, err := unpack(s.node.blobPath(f))
		if err != nil {
			return err
		}
		unpacked = append(unpacked, speed)
	}
	t.add(line{
		work: "hit, 50 MiB raw, first time",
		values: []value{{"symkeep", median(served), "MB/s"},
			{"unpacking", median(unpacked), fmt.Sprintf("MB/s on %d processors", runtime.NumCPU())}},
		checks: []check{{what: "x unpacking", got: median(served) / median(unpacked), bound: 0.9}},
	})
	return nil
}

// unpack returns the raw MB/s at which a blob is unpacked.
func unpack(path string) (float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	r, err := cab.Open(f, info.Size())
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	raw := r.Range(0, r.Info().RawSize)
	defer raw.Close()
	n, err := io.Copy(io.Discard, raw)
	return float64(n) / 1e6 / time.Since(begun).Seconds(), err
}
