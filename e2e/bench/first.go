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

// firstFiles is how many files are asked for for the first time, in rounds of their own: an
// answer takes so short that one which the machine disturbs is not rare.
const firstFiles = 9

// firstTime compares the first answer with raw bytes of a packed blob with how fast the
// same blob is unpacked by all processors without any server. Each round has a file of
// its own, since the second answer comes from the cache. What nginx takes to send a file of
// that size to the same client shows how much of the processors that alone needs.
func (s *stage) firstTime(ctx context.Context, t *table) error {
	dir := filepath.Join(s.cfg.dir, "first")
	if err := makeDirs(dir); err != nil {
		return err
	}
	var files []*file
	for i := range firstFiles {
		f, err := makeFile(filepath.Join(dir, fmt.Sprintf("first%d.debug", i)), plainSize, code(1000+i))
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	if err := s.node.push(ctx, dir); err != nil {
		return err
	}
	var served, unpacked, sent, inTurn []float64
	for _, f := range files {
		answered, err := fetchTime(ctx, "http://"+s.node.addr+f.debuginfo())
		if err != nil {
			return err
		}
		time.Sleep(time.Second) // meanwhile the node checks what it has put into its cache
		inflated, err := unpackTime(s.node.blobPath(f))
		if err != nil {
			return err
		}
		fromNginx, err := fetchTime(ctx, "http://"+s.nginx.addr+s.plainCopy())
		if err != nil {
			return err
		}
		served, unpacked = append(served, speed(answered)), append(unpacked, speed(inflated))
		sent, inTurn = append(sent, speed(fromNginx)), append(inTurn, speed(inflated+fromNginx))
	}
	t.add(line{
		work: "hit, 50 MiB raw, first time",
		values: []value{{"symkeep", median(served), "MB/s"},
			{"unpacking", median(unpacked), fmt.Sprintf("MB/s on %d processors", runtime.NumCPU())},
			{"nginx", median(sent), "MB/s, as many bytes that are there"},
			{"in turn", median(inTurn), "MB/s if first they are unpacked, then sent by nginx"}},
		checks: []check{{what: "x unpacking", got: median(served) / median(unpacked), bound: 0.9}},
	})
	return nil
}

// speed is in MB/s of a file of plainSize.
func speed(d time.Duration) float64 { return plainSize / 1e6 / d.Seconds() }

// fetchTime is how long a client takes to get all of a file of plainSize.
func fetchTime(ctx context.Context, url string) (time.Duration, error) {
	begun := time.Now()
	n, err := fetch(ctx, url, "", io.Discard)
	if err == nil && n != plainSize {
		err = fmt.Errorf("GET %s: %d bytes, wanted %d", url, n, plainSize)
	}
	return time.Since(begun), err
}

// unpackTime is how long a blob takes to be unpacked.
func unpackTime(path string) (time.Duration, error) {
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
	_, err = io.Copy(io.Discard, raw)
	return time.Since(begun), err
}
