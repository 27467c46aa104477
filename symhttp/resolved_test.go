package symhttp_test

import (
	"testing"

	"symkeep/internal/catalog"
)

// TestResolved: a path is looked up once for each state of the catalog, hit or miss, and
// what changes the catalog changes the next answer.
func TestResolved(t *testing.T) {
	w := newWorld(t)
	content := noise(20_000, 1)
	c := w.add(t, "foo.pdb", content, pdbKey)
	addr := start(t, testConfig(), w.public(t))
	looks := func() (n int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.looks
	}
	warm := func() {
		for range 2 {
			ask(t, addr, "GET", pdbPath).want(t, 200, content, nil)
			ask(t, addr, "GET", exePath).want(t, 404, nil, nil)
		}
	}
	warm()
	before := looks()
	warm()
	ask(t, addr, "HEAD", pdbPath).want(t, 200, nil, nil)
	ask(t, addr, "GET", pdbPath, "Range: bytes=1-2").want(t, 206, content[1:3], nil)
	if n := looks(); n != before {
		t.Errorf("%d looks for what was resolved before, want 0", n-before)
	}
	w.set(func() { w.slow = true })
	ask(t, addr, "GET", exePath).want(t, 404, nil, nil)
	if n := looks(); n != before+2 {
		t.Errorf("%d looks for a miss that is not to be stated any more, want 2: at once, and by waiting", n-before)
	}
	w.set(func() {
		w.slow = false
		w.files[exeKey.Index()] = c
		delete(w.files, pdbKey.Index())
	})
	ask(t, addr, "GET", exePath).want(t, 200, content, nil)
	ask(t, addr, "GET", pdbPath).want(t, 404, nil, nil)
	w.set(func() { w.locateErr = catalog.ErrUnavailable })
	wantReset(t, addr, "GET", pdbPath)
}
