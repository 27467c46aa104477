package symhttp_test

import (
	"fmt"
	"testing"
	"time"
)

// TestSmallParts: a small part of a cached file goes out at once. What is told to wait
// for more goes out after 200 ms when nothing comes.
func TestSmallParts(t *testing.T) {
	w := newWorld(t)
	content := noise(3<<20, 1)
	w.add(t, "foo.pdb", content, pdbKey)
	p := w.public(t)
	p.Cache = newCache(t, 64<<20)
	addr := start(t, testConfig(), p)
	ask(t, addr, "GET", pdbPath)
	eventually(t, "the file is cached", func() bool { return p.Cache.Bytes() == int64(len(content)) })
	ask(t, addr, "GET", pdbPath)
	c := dial(t, addr)
	for _, n := range []int{1, 1000, 8<<10 - 1, 8 << 10, 8<<10 + 1, 20_000} {
		best := time.Hour
		for range 5 {
			begun := time.Now()
			c.send(t, request("GET", pdbPath, fmt.Sprintf("Range: bytes=100-%d", 99+n)))
			a, err := c.receive("GET")
			if err != nil || string(a.body) != string(content[100:100+n]) {
				t.Fatalf("range of %d: %d bytes, %v", n, len(a.body), err)
			}
			best = min(best, time.Since(begun))
		}
		if best > 150*time.Millisecond {
			t.Errorf("range of %d: %v at best, want no wait", n, best)
		}
	}
}
