package symhttp_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"symkeep/internal/catalog"
)

// opened returns how often a blob was opened so far.
func (w *world) opened() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.opens
}

// TestSmallAnswers: what is small is opened once for each of its forms, and answered
// from memory as it was from the disk.
func TestSmallAnswers(t *testing.T) {
	w := newWorld(t)
	content := noise(20_000, 1)
	c := w.add(t, "foo.pdb", content, pdbKey)
	packed := must(os.ReadFile(w.path(c.Digest)))
	addr := start(t, testConfig(), w.public(t))
	for range 3 {
		raw := ask(t, addr, "GET", pdbPath)
		raw.want(t, 200, content, map[string]string{"Content-Length": "20000", "Accept-Ranges": "bytes"})
		ask(t, addr, "HEAD", pdbPath).want(t, 200, nil, map[string]string{"Content-Length": "20000"})
		ask(t, addr, "GET", pdbPath, "Range: bytes=19990-").want(t, 206, content[19990:], map[string]string{"Content-Range": "bytes 19990-19999/20000"})
		ask(t, addr, "GET", pdbPath, "If-None-Match: "+raw.Header.Get("ETag")).want(t, 304, nil, nil)
		ask(t, addr, "GET", pdbPath, "Range: bytes=0-9", `If-Range: "other"`).want(t, 200, content, nil)
		ask(t, addr, "GET", pdbCab).want(t, 200, packed, map[string]string{"Content-Length": strconv.Itoa(len(packed))})
		zipped := ask(t, addr, "GET", pdbPath, "Accept-Encoding: gzip")
		if got := must(io.ReadAll(must(gzip.NewReader(bytes.NewReader(zipped.body))))); !bytes.Equal(got, content) {
			t.Error("gzip answer holds other bytes")
		}
	}
	if n := w.opened(); n != 3 {
		t.Errorf("blob opened %d times, want once for each of three forms", n)
	}
}

// TestColdOnce: requests for the same cold blob wait for one of them.
func TestColdOnce(t *testing.T) {
	w := newWorld(t)
	content := noise(20_000, 1)
	w.add(t, "foo.pdb", content, pdbKey)
	begun := make(chan struct{})
	w.openErr = func(n int) error {
		if n == 1 {
			close(begun)
			time.Sleep(50 * time.Millisecond) // the others arrive; those that do not find the answer
		}
		return nil
	}
	addr := start(t, testConfig(), w.public(t))
	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() { ask(t, addr, "GET", pdbPath).want(t, 200, content, nil) })
	}
	<-begun
	asking.Wait()
	if n := w.opened(); n != 1 {
		t.Errorf("blob opened %d times for 20 requests at once, want 1", n)
	}
}

// TestFileAnswers: a cabinet that was sent whole is sent from the open file from then
// on, until the file is not the one that was checked.
func TestFileAnswers(t *testing.T) {
	w := newWorld(t)
	content := noise(3<<20, 1)
	c := w.add(t, "foo.pdb", content, pdbKey)
	packed := must(os.ReadFile(w.path(c.Digest)))
	addr := start(t, testConfig(), w.public(t))
	for range 4 {
		ask(t, addr, "GET", pdbCab).want(t, 200, packed, nil)
		ask(t, addr, "GET", pdbCab, "Range: bytes=70000-70009").want(t, 206, packed[70000:70010], nil)
	}
	if n := w.opened(); n > 4 { // the first request and its range, then one that makes the answer
		t.Errorf("blob opened %d times, want at most 4", n)
	}

	other := t.TempDir() + "/good"
	if err := os.WriteFile(other, packed, 0o600); err != nil {
		t.Fatal(err)
	}
	w.set(func() { w.other[c.Digest] = other })
	damage(t, w.path(c.Digest), -20_000)
	for range 8 { // the answer under way when the damage is met is cut
		if a, err := attempt(t, addr, "GET", pdbCab); err == nil && !bytes.Equal(a.body, packed) {
			t.Fatal("damaged bytes were sent")
		}
	}
	if got := w.suspected(); len(got) == 0 || got[0] != c.Digest {
		t.Errorf("suspects = %v, want the damaged copy", got)
	}
	ask(t, addr, "GET", pdbCab).want(t, 200, packed, nil)
}

// TestForeignNames: a cabinet asked for under another name is the file with another
// head, from the disk as well.
func TestForeignNames(t *testing.T) {
	w := newWorld(t)
	w.add(t, "stored.pdb", noise(2<<20, 3), pdbKey)
	addr := start(t, testConfig(), w.public(t))
	first := ask(t, addr, "GET", pdbCab)
	for range 3 {
		again := ask(t, addr, "GET", pdbCab)
		again.want(t, 200, first.body, map[string]string{"ETag": first.Header.Get("ETag")})
		ask(t, addr, "GET", pdbCab, "Range: bytes=10-299").want(t, 206, first.body[10:300], nil)
	}
}

// TestSlowMiss: where a node may not state a miss by itself, it asks before it does.
func TestSlowMiss(t *testing.T) {
	w := newWorld(t)
	w.slow = true
	addr := start(t, testConfig(), w.public(t))
	ask(t, addr, "GET", pdbPath).want(t, 404, nil, map[string]string{"Cache-Control": "no-store"})
	w.set(func() { w.locateErr = catalog.ErrUnavailable })
	wantReset(t, addr, "GET", pdbPath)
}
