package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/klauspost/compress/flate"
	"golang.org/x/sync/errgroup"

	"symkeep/internal/cab"
)

const (
	packBytes  = 96 << 20 // in one round; its first group is filled, and its last one packed, by one processor alone
	packRounds = 7        // two processors that the machine disturbs look like fewer
)

// pack compares the packer on all processors with itself on one, and the size of what
// comes out with the encoder that the size of reference was measured with: level 6, the
// groups and blocks of the packed form. As many packers at once as there are processors,
// which share nothing, show how much of them this machine gives to anybody.
func pack(ctx context.Context, cfg config, t *table) error {
	var raw bytes.Buffer
	if err := code(11)(&raw, packBytes); err != nil {
		return err
	}
	data := raw.Bytes()
	cores := runtime.GOMAXPROCS(0)
	var one, all, apart []float64
	var size int64
	for range packRounds {
		for _, workers := range []int{1, cores} {
			if err := ctx.Err(); err != nil {
				return err
			}
			speed, n, err := packOn(workers, filepath.Join(cfg.dir, "packed"), data)
			if err != nil {
				return err
			}
			if size = n; workers == 1 {
				one = append(one, speed)
			} else {
				all = append(all, speed)
			}
		}
		speed, err := packApart(cores, cfg.dir, data)
		if err != nil {
			return err
		}
		apart = append(apart, speed)
	}
	reference, err := deflatedSize(data)
	if err != nil {
		return err
	}
	single, many := median(one), median(all)
	ratio := float64(size) / float64(reference)
	t.add(line{work: fmt.Sprintf("pack %d MiB of a program, every block decoded again and compared", packBytes>>20),
		values: []value{{"one core", single, "MB/s"}, {"all cores", many, fmt.Sprintf("MB/s on %d", cores)},
			{"no sharing", median(apart), fmt.Sprintf("MB/s of %d packers of their own", cores)},
			{"size", 100 * float64(size) / float64(len(data)), "% of raw"},
			{"level 6", 100 * float64(reference) / float64(len(data)), "% of raw, klauspost flate in the same blocks"}},
		checks: []check{{what: "x cores x one core", got: many / single / float64(cores), bound: 0.9},
			{what: "x the size at level 6", got: ratio, bound: 1.01, atMost: true}}})
	return nil
}

// packOn packs on so many processors and returns raw MB/s and the packed size.
func packOn(cores int, path string, data []byte) (speed float64, size int64, err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	begun := time.Now()
	size, err = packTo(path, data, cores)
	return float64(len(data)) / 1e6 / time.Since(begun).Seconds(), size, err
}

// packApart packs the same bytes several times at once, each on one processor, and
// returns the raw MB/s of all of them.
func packApart(packers int, dir string, data []byte) (speed float64, err error) {
	begun := time.Now()
	var g errgroup.Group
	for i := range packers {
		g.Go(func() error {
			_, err := packTo(filepath.Join(dir, fmt.Sprintf("packed%d", i)), data, 1)
			return err
		})
	}
	err = g.Wait()
	return float64(packers*len(data)) / 1e6 / time.Since(begun).Seconds(), err
}

// packTo packs into a file and returns its size.
func packTo(path string, data []byte, workers int) (int64, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	w, err := cab.NewWriter(f, cab.Options{RawSize: int64(len(data)), Name: "program", Workers: workers})
	if err != nil {
		return 0, err
	}
	if _, err := w.Write(data); err != nil {
		return 0, err
	}
	info, err := w.Close()
	return info.PackedSize, err
}

// deflatedSize is the size of the same groups and blocks by another encoder, framing
// left out.
func deflatedSize(data []byte) (int64, error) {
	const block = 32 << 10
	out := counter{w: io.Discard}
	for len(data) > 0 {
		group := data[:min(len(data), cab.GroupSize)]
		data = data[len(group):]
		z, err := flate.NewWriter(&out, 6)
		if err != nil {
			return 0, err
		}
		for len(group) > 0 {
			p := group[:min(len(group), block)]
			group = group[len(p):]
			if _, err := z.Write(p); err != nil {
				return 0, err
			}
			if err := z.Flush(); err != nil {
				return 0, err
			}
		}
	}
	return out.n, nil
}
