package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"time"
)

const (
	rangedSize = 1 << 30
	rangeBytes = 64 << 10
	rangeCount = 300
)

// ranges reads parts of a blob of 1 GiB, each at another place, one after the other.
func ranges(ctx context.Context, cfg config, t *table) error {
	n, err := newNode(cfg, "ranged", "")
	if err != nil {
		return err
	}
	if err := n.start(ctx); err != nil {
		return err
	}
	defer n.stop()
	dir := filepath.Join(cfg.dir, "ranged-files")
	if err := makeDirs(dir); err != nil {
		return err
	}
	f, err := makeFile(filepath.Join(dir, "gib.debug"), rangedSize, code(5))
	if err != nil {
		return err
	}
	if err := n.push(ctx, f.path); err != nil {
		return err
	}
	c, err := dial(n.addr)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	r := rand.New(rand.NewPCG(1, 1))
	var took []float64
	for range rangeCount {
		off := r.Int64N(rangedSize - rangeBytes)
		begun := time.Now()
		got, err := c.get(f.debuginfo(), fmt.Sprintf("Range: bytes=%d-%d\r\n", off, off+rangeBytes-1), 206)
		if err != nil || got != rangeBytes {
			return fmt.Errorf("range at %d: %d bytes: %v", off, got, err)
		}
		took = append(took, float64(time.Since(begun).Microseconds())/1000)
	}
	m := median(took)
	t.add(line{work: "range of 64 KiB at a random place of a blob of 1 GiB",
		values: []value{{"median", m, "ms"}, {"p99", quantile(took, 0.99), "ms"}},
		checks: []check{{what: "ms", got: m, bound: 5, atMost: true}}})
	return nil
}

// zeros fills with zeros, but for some bytes of each MiB that nothing shrinks, in
// steps of it.
func zeros(w io.Writer, n int64) error {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, 1<<20)
	for n > 0 {
		r.Read(b[:4<<10])
		p := b[:min(int64(len(b)), n)]
		if _, err := w.Write(p); err != nil {
			return err
		}
		n -= int64(len(p))
	}
	return nil
}
